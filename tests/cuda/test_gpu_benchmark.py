"""`benchmarks/gpu.py`: what it says without a GPU, its cases on the CPU, and its table."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

import livegrad

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))
import cases_gpu  # noqa: E402
import gpu  # noqa: E402
import gpu_check  # noqa: E402


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
    found = gpu_check.checks()
    assert any("every operator" in c.name for c in found) and any("sanitizer" in c.name for c in found)
    assert len({c.key for c in found}) == len(found)
    for c in found:
        for word in c.command:
            if word.startswith("tests"):
                assert (ROOT / word).exists(), word


_BAD = """
def test_good():
    pass
def test_bad():
    assert 1 == 2, "one is not two"
"""


def test_failed_checks_are_told(monkeypatch, capfd, tmp_path):
    (tmp_path / "test_two.py").write_text(_BAD)
    python, target = sys.executable, tmp_path / "results" / "report.md"
    pytest_ = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "test_two.py")]
    found = [
        gpu_check.Check("good", "nothing is wrong", [python, "-c", "print('fine')"], {}, tests=False),
        gpu_check.Check("bad", "one of two fails", pytest_, {}),
        gpu_check.Check("none", "cannot be done", [], {}, missing="absent"),
    ]
    monkeypatch.setattr(gpu_check, "checks", lambda workers=1: found)
    assert gpu_check.main(lambda: "a machine", [], target=target) == 1
    assert "1 checks failed: bad" in capfd.readouterr().out
    text = target.read_text()
    assert "a machine" in text and "| good: nothing is wrong | done |" in text and "not done: absent" in text
    assert "test_two::test_bad`" in text and "one is not two" in text and "test_good" not in text
    assert gpu_check.main(lambda: "a machine", ["good"], target=target) == 0
    assert "fine" in target.read_text() and "bad" not in target.read_text()


def test_a_machine_that_cannot_be_told_stops_no_check(monkeypatch, capfd, tmp_path):
    found = [
        gpu_check.Check(key, "nothing is wrong", [sys.executable, "-c", "print('fine')"], {}, tests=False)
        for key in ("ops/one", "ops/two", "other")
    ]
    asked = []

    def machine():
        asked.append(1)
        raise RuntimeError("illegal address")

    monkeypatch.setattr(gpu_check, "checks", lambda workers=1: found)
    assert gpu_check.main(machine, ["ops"], target=tmp_path / "report.md") == 0
    text = (tmp_path / "report.md").read_text()
    assert len(asked) == 1 and "illegal address" in text
    assert "ops/one: nothing is wrong | done" in text and "ops/two: nothing is wrong | done" in text
    assert "other" not in text


def test_every_file_of_operators_tests_is_a_check():
    named = [c.command[-1] for c in gpu_check.checks() if c.group == "ops"]
    assert sorted(named) == sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "tests" / "ops").glob("test_*.py"))


def test_a_worker_that_hangs_is_ended(monkeypatch, tmp_path):
    (tmp_path / "gpu.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    worker = gpu.Worker("livegrad", 0.2)
    with worker.process.stdout, contextlib.suppress(BrokenPipeError), worker.process.stdin:
        assert worker.ask("add") == {"error": "no answer in 0.2 s"}
        assert worker.process.wait(20) != 0
        assert worker.ask("add") == {"error": "the process has ended"}


def test_a_check_is_stopped_when_its_time_is_up():
    slow = gpu_check.Check("slow", "sleeps", [sys.executable, "-c", "import time; time.sleep(60)"], {}, tests=False)
    outcome = gpu_check.run(slow, 0.01)
    assert outcome.word == "FAILED" and "stopped after" in outcome.summary
    assert "not yet" in gpu_check.report([], [slow], "")


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
