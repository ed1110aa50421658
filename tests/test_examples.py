"""The examples run and reach what they say."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(name, *arguments, cwd):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def percent(text):
    return float(re.search(r"accuracy ([\d.]+) %", text).group(1))


def test_first_gradient(tmp_path):
    text = run("first_gradient.py", cwd=tmp_path)
    assert "tensor(19.6667, grad_fn=<MeanBackward0>)" in text
    assert "tensor([2.0000, 2.6667, 3.3333])" in text
    assert "first_gradient.py:7" in text


def test_xor_mlp(tmp_path):
    assert percent(run("xor_mlp.py", cwd=tmp_path)) >= 99


def test_xor_mlp_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    assert percent(run("xor_mlp.py", tmp_path / "runs", cwd=tmp_path)) >= 99
    assert list((tmp_path / "runs").glob("events.out.tfevents.*"))


def test_digits_classifier(tmp_path):
    pytest.importorskip("sklearn")
    text = run("digits_classifier.py", cwd=tmp_path)
    assert percent(text) >= 96.5
    assert "predicts the same: True" in text


def test_mnist_cnn(tmp_path):
    """On scikit-learn's digits, and on files in MNIST's format."""
    pytest.importorskip("sklearn")
    assert percent(run("mnist_cnn.py", cwd=tmp_path).splitlines()[-1]) >= 96
    rng = np.random.default_rng(0)
    for part, n in (("train", 70), ("t10k", 20)):
        for name, shape in ((f"{part}-images-idx3-ubyte", (n, 28, 28)), (f"{part}-labels-idx1-ubyte", (n,))):
            head = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
            data = rng.integers(0, 10, shape).astype(np.uint8).tobytes()
            with gzip.open(tmp_path / (name + ".gz"), "wb") as file:
                file.write(head + data)
    assert 0 <= percent(run("mnist_cnn.py", "--data", tmp_path, "--epochs", 1, cwd=tmp_path)) <= 100


def test_every_example_is_tested():
    tests = Path(__file__).read_text(encoding="utf-8")
    for example in EXAMPLES.glob("*.py"):
        assert f'"{example.name}"' in tests, example.name
