"""``livegrad bench matmul``: what it measures, shows and refuses."""

import re

import pytest
import stand_in

from livegrad.cli import main
from livegrad.cli.bench import products

FAST = ("bench", "matmul", "--sizes", "16,8", "--seconds", "0.001")


def shown(capsys, *arguments):
    assert main([*FAST, *map(str, arguments)]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    assert main([*map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("livegrad: ")
    return err


def rows(text, name):
    return re.findall(rf"^  {re.escape(name)} +(\S+) +(\S+)$", text, re.MULTILINE)


def test_without_a_gpu_the_cpu_is_measured_beside_numpy(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    text = shown(capsys, "--out", tmp_path / "new" / "folder")
    if not products.livegrad.cuda.is_available():
        assert re.search("^Devices: cpu alone, as there is no CUDA device", text, re.MULTILINE)
    assert "8 × 8  16 × 16" in text
    for name in ("livegrad, cpu", "NumPy"):
        (rates,) = rows(text, name)
        assert all(float(rate) > 0 for rate in rates)
    assert (tmp_path / "new" / "folder" / "matmul.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_every_dtype_has_a_table(capsys, tmp_path):
    text = shown(capsys, "--dtypes", "float64,bfloat16", "--no-plot", "--out", tmp_path / "none")
    assert len(rows(text, "livegrad, cpu")) == 2 and len(rows(text, "NumPy")) == 1
    assert "float64, GFLOP/s" in text and "bfloat16, GFLOP/s" in text
    assert not (tmp_path / "none").exists()


def test_each_gpu_is_compared_with_the_cpu(capsys, tmp_path):
    with stand_in.in_use():
        text = shown(capsys, "--no-plot")
        assert f"Devices: cpu, {', '.join(f'cuda:{i} (stand-in)' for i in range(stand_in.COUNT))}." in text
        for i in range(stand_in.COUNT):
            ((first, _),) = rows(text, f"livegrad, cuda:{i}")
            ((base, _),) = rows(text, "livegrad, cpu")
            ratio = re.search(rf"^  cuda:{i} over cpu +([\d.]+) ×", text, re.MULTILINE).group(1)
            assert float(ratio) == pytest.approx(float(first) / float(base), rel=0.2, abs=0.1)
        assert "cuda:1" not in shown(capsys, "--no-plot", "--devices", "cuda:0")


def test_rates_are_of_2_n_cubed(monkeypatch):
    monkeypatch.setattr(products, "_best_time", lambda contender, n, seconds: 1e-3)
    speeds = products.measure(products.Console(), [products.Contender("cpu", "float32")], [10, 100], 1)
    assert list(speeds.values()) == [[pytest.approx(0.002), pytest.approx(2.0)]]


def test_what_does_not_fit_into_memory(capsys, monkeypatch):
    def no(*args):
        raise MemoryError

    monkeypatch.setattr(products, "_product", no)
    assert main([*FAST, "--no-plot"]) == 2
    assert "three float32 matrices of 8 × 8 do not fit into the memory of cpu" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "says"),
    [(("--sizes", "0"), "a size is"), (("--sizes", "12,x"), "a size is"), (("--sizes", ""), "a size is"),
     (("--dtypes", "int8"), "a dtype is"), (("--seconds", "0"), "seconds are"), (("--seconds", "nan"), "seconds are"),
     (("--devices", "tpu"), "Expected one of cpu, cuda"), (("--devices", "cuda:99"), "cuda"), (("--more",), "--more")],
)  # fmt: skip
def test_options_that_are_wrong(capsys, option, says):
    assert says in refused(capsys, *FAST, "--no-plot", *option)


def test_a_folder_that_cannot_be_written_to(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    line = refused(capsys, *FAST, "--out", tmp_path / "file" / "inside")
    assert "cannot write to the folder" in line and "--out DIR" in line


def test_without_matplotlib(capsys, monkeypatch, tmp_path):
    from livegrad.cli import problem

    monkeypatch.setattr(problem, "found", lambda module: False)
    assert "pip install matplotlib, or leave it out with --no-plot" in refused(capsys, *FAST, "--out", tmp_path)


def test_bench_alone_says_what_there_is(capsys):
    assert main(["bench"]) == 0
    assert "matmul" in capsys.readouterr().out
