"""`benchmarks/gpu.py`: what it says without a GPU, its cases on the CPU, and its table."""

import subprocess
import sys
from pathlib import Path

import pytest

import livegrad

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))
import cases_gpu  # noqa: E402
import gpu  # noqa: E402


@pytest.mark.skipif(livegrad.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(("option", "what"), [((), "timed"), (("--check",), "checked")])
def test_without_a_gpu(option, what):
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", *option], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"gpu.py: nothing can be {what} without a GPU: ") and done.stderr.count("\n") == 1


def test_unknown_cases(capsys):
    with pytest.raises(SystemExit) as left:
        gpu.main(["add", "nonsense"])
    assert left.value.code == 2 and "no such case: nonsense" in capsys.readouterr().err


def test_checks_name_files_that_exist():
    found = gpu.checks()
    assert any("every operator" in c.name for c in found) and any("sanitizer" in c.name for c in found)
    for c in found:
        for word in c.command:
            if word.startswith("tests"):
                assert (ROOT / word).exists(), word


def test_a_failed_check_is_told(monkeypatch, capfd):
    commands = [[sys.executable, "-c", f"raise SystemExit({code})"] for code in (0, 3)]
    found = [gpu.Check("good", commands[0], {}), gpu.Check("bad", commands[1], {}), gpu.Check("none", [], {}, "absent")]
    monkeypatch.setattr(gpu, "checks", lambda: found)
    assert gpu.check() == 1
    out = capfd.readouterr().out
    assert "not done: absent" in out and "1 checks failed: bad" in out
    monkeypatch.setattr(gpu, "checks", lambda: found[:1])
    assert gpu.check() == 0


def test_the_table():
    times = {"livegrad": 0.5, "torch": 1.0}
    case = cases_gpu.CASES["add"]
    line = gpu.row("add", case, ["livegrad", "torch", "torch.compile"], times, 2 * case.moved / 0.5 / 1e6)
    assert line == "| add | 0.500 ms | 1.000 ms |  | 50% |  | 0.50 (1.00) |"
    line = gpu.row("matmul_float32", cases_gpu.CASES["matmul_float32"], ["livegrad"], {"livegrad": 20.0}, 1.0)
    assert "| 55.0 |" in line


@pytest.mark.parametrize(
    "name", ["add", "chain", "softmax", "layer_norm", "total", "gelu_written_out", "adam", "small_mlp"]
)
def test_cases_run(name, monkeypatch):
    """Over the stand-in, with few elements."""
    import stand_in

    monkeypatch.setattr(cases_gpu, "N", 1 << 14)
    with stand_in.in_use(), livegrad.compiling("never"):
        step = cases_gpu.CASES[name](livegrad)
        livegrad.eval()
        with livegrad.debug.watch_sync("raise"):
            step()
            step()
