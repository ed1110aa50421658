"""`import torch` gives livegrad, in this process and by `livegrad run`."""

import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import livegrad
from livegrad import compat


@pytest.fixture
def installed():
    before = {n: m for n, m in sys.modules.items() if n == "torch" or n.startswith("torch.")}
    for name in before:
        del sys.modules[name]
    compat.install()
    yield
    compat.uninstall()
    sys.modules.update(before)


def test_every_spelling_gives_the_same_module(installed):
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    from torch.autograd import Variable
    from torch.utils.data import DataLoader

    assert torch is livegrad and nn is livegrad.nn and F is livegrad.nn.functional
    assert DataLoader is livegrad.utils.data.DataLoader
    assert isinstance(torch.ones(1), Variable)
    assert nn.__spec__.name == "livegrad.nn" and nn.__package__ == "livegrad.nn"


def test_what_is_missing_is_missing(installed):
    with pytest.raises(ModuleNotFoundError, match="torch.no_such_thing"):
        importlib.import_module("torch.no_such_thing")
    with pytest.raises(ImportError):
        exec("from torch.nn import NoSuchLayer")


def test_futures_have_their_short_name(installed):
    import torch
    from torch.futures import Future

    assert torch.Future is Future


def test_uninstalling_leaves_no_trace(installed):
    import torch.nn  # noqa: F401

    compat.uninstall()
    assert "torch" not in sys.modules and "torch.nn" not in sys.modules
    assert livegrad.nn.__spec__.name == "livegrad.nn"


def test_pytorch_itself_is_not_replaced_behind_its_users(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", object())
    with pytest.raises(RuntimeError, match="imported already"):
        compat.install()


PROGRAM = """
import sys
import torch
from torch import nn, optim
import helper
torch.manual_seed(0)
print(sys.argv[1:], helper.seven(), torch.__spec__.name, nn.Linear(1, 1).weight.item())
"""


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "livegrad", "run", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(livegrad.__file__).parent.parent)},
    )  # fmt: skip


def test_livegrad_run(tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    (folder / "helper.py").write_text("import torch\ndef seven():\n    return torch.tensor(7).item()\n")
    expected = "['--epochs', '3'] 7 livegrad"
    done = run("there/program.py", "--epochs", "3", cwd=tmp_path)
    assert done.stdout.startswith(expected), done.stderr
    done = run("-m", "program", "--epochs", "3", cwd=folder)
    assert done.stdout.startswith(expected), done.stderr


def test_livegrad_run_says_what_is_wrong(tmp_path):
    done = run("missing.py", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr == "livegrad: there is no file missing.py\n"
    (tmp_path / "failing.py").write_text("import torch\ntorch.ones(2) @ torch.ones(3)\n")
    done = run("failing.py", cwd=tmp_path)
    assert done.returncode == 1 and 'failing.py", line 2' in done.stderr
    (tmp_path / "leaving.py").write_text("raise SystemExit(5)\n")
    assert run("leaving.py", cwd=tmp_path).returncode == 5


STATE = """
import sys
print(sys.argv, sys.path[0], __name__, sorted(globals()), globals().get("__file__"), __package__, type(__loader__),
      sys.modules["__main__"].__dict__ is globals(), __spec__ and __spec__.name)
def divide(): return 1 // 0
try:
    divide()
except ZeroDivisionError:
    if "fail" in sys.argv: raise ValueError("no")
    if "text" in sys.argv: sys.exit("a text")
    if "interrupt" in sys.argv: raise KeyboardInterrupt
sys.excepthook = lambda kind, value, found: print("hook", kind, value)
1 // 0
"""
RUNS = [
    ("state.py",), ("./state.py", "fail", "-h"), ("folder/state.py", "text"), ("state.py", "interrupt"),
    ("wrong.py",), ("-m", "state", "fail"), ("-mpackage", "--x"), ("package", "-m"), ("-m", "wrong"), ("imports.py",),
    ("-c", STATE, "fail", "-c"), ("-c", "x = = 1"), ("-", "fail"), ("--", "state.py", "--"),
]  # fmt: skip


@pytest.mark.parametrize("words", RUNS, ids=lambda words: " ".join(words)[:16].strip())
def test_programs_run_as_python_runs_them(tmp_path, words):
    """What they see, what is shown of their errors, and how they end; without the frames of `runpy` for -m."""
    for name in ("state.py", "folder/state.py", "package/__main__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(STATE)
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "wrong.py").write_text("x = = 1\n")
    (tmp_path / "imports.py").write_text("import wrong\n")
    given = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 120, "input": STATE}
    named = {**os.environ, "PYTHONPATH": str(Path(livegrad.__file__).parent.parent)}
    wanted = subprocess.run([sys.executable, *words], env=named, **given)
    found = subprocess.run([sys.executable, "-m", "livegrad", "run", *words], env=named, **given)
    lines = wanted.stderr.splitlines(keepends=True)
    own = "".join(line for line in lines if "<frozen " not in line)
    if words == ("-m", "wrong"):  # nothing of the program's own is left of its traceback
        own = own.removeprefix("Traceback (most recent call last):\n")
    assert (found.returncode, found.stdout, found.stderr) == (wanted.returncode, wanted.stdout, own)


def test_names_of_torch_that_are_not_there_end_at_the_users_line():
    done = run("-c", "import torch.no_such_thing", cwd=None)
    assert done.stderr.splitlines()[:2] == [
        "Traceback (most recent call last):",
        '  File "<string>", line 1, in <module>',
    ]
    assert len(done.stderr.splitlines()) == 3


@pytest.mark.parametrize(
    "words, text",
    [((), "livegrad run needs a program"), (("-m",), "-m needs the name of a module"), (("-c",), "-c needs a program"),
     (("--nope", "x.py"), "livegrad run has no option --nope"), (("-m", "no_such"), "No module named no_such"),
     (("--nproc-per-node", "2", "-"), "several processes cannot share a program on standard input")],
)  # fmt: skip
def test_command_lines_that_are_wrong(tmp_path, words, text):
    done = run(*words, cwd=tmp_path)
    assert done.returncode == (1 if "no_such" in words else 2)
    assert done.stderr.startswith(f"livegrad: {text}") and done.stderr.count("\n") == 1


CHILDREN = """
import torch
from torch.utils.data import Dataset, DataLoader

class Numbers(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, i):
        return torch.full((2,), float(i))

if __name__ == "__main__":
    for method in METHODS:
        loader = DataLoader(Numbers(), batch_size=2, num_workers=1, multiprocessing_context=method)
        print(method, [batch.tolist() for batch in loader])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no forkserver")
def test_processes_that_a_program_starts_have_it_too(tmp_path):
    (tmp_path / "program.py").write_text(CHILDREN.replace("METHODS", "('spawn', 'forkserver')"))
    command = [sys.executable, "-m", "livegrad", "run", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    batches = "[[[0.0, 0.0], [1.0, 1.0]], [[2.0, 2.0], [3.0, 3.0]]]"
    assert done.stdout == f"spawn {batches}\nforkserver {batches}\n", done.stderr


def test_the_version_is_one_of_pytorch(installed):
    import torch

    v = torch.__version__
    assert v >= "2.9" and v > (1, 10) and not v < "2.13.0" and v <= "2.13" or v >= "2.13"
    assert str(v).split(".")[0] == "2"
    compat.uninstall()
    assert livegrad.__version__ == livegrad.version.__version__


def test_classes_say_that_they_are_pytorchs(installed):
    """Libraries tell by the name of a tensor's module whose functions to call."""
    import torch
    from torch.optim.lr_scheduler import StepLR

    assert repr(type(torch.ones(1))) == "<class 'torch.Tensor'>" and repr(torch.dtype) == "<class 'torch.dtype'>"
    assert StepLR.__module__ == "torch.optim.lr_scheduler"
    assert pickle.loads(pickle.dumps(torch.Tensor)) is livegrad.Tensor
    assert pickle.loads(pickle.dumps(torch.ones(2))).tolist() == [1, 1]
    compat.uninstall()
    assert repr(livegrad.Tensor) == "<class 'livegrad.Tensor'>"
    assert StepLR.__module__ == "livegrad.optim.lr_scheduler"
