"""When and from where compiled functions come: the modes, the other process, the disk. Every program is a process."""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from livegrad.native import HOT, has_run, layout, library, unit
from livegrad.native.constants import module_of

pytestmark = pytest.mark.skipif(not layout.supported(), reason="functions are compiled for CPython 3.11 to 3.13")

SECONDS = 250  # after which a program is stuck

TRAIN = """
    import os, sys, time, livegrad
    from livegrad.llvm import cache, service
    from livegrad.native import unit

    def train(steps):
        x = livegrad.ones(4, requires_grad=True)
        for i in range(steps):
            (x * i).sum().backward()
        return x.grad[0].item()

    def until(condition):  # launches, until it holds or no more is to come
        while not condition() and unit.Start.left:
            train(20)
            time.sleep(0.01)
        service.drain()
        return condition()

    def kind():
        service.drain()
        return "careful" if unit.INSTALLER.careful else "quick" if unit.INSTALLER.quick else "python"
"""


def run(program, folder, mode=None, **variables):
    """What a program prints."""
    env = {k: v for k, v in os.environ.items() if k not in ("LIVEGRAD_NATIVE", "LIVEGRAD_STRICT")}
    env |= {"LIVEGRAD_CACHE_DIR": str(folder), **({"LIVEGRAD_NATIVE": mode} if mode else {}), **variables}
    text = textwrap.dedent(TRAIN) + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", text], env=env, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with the code of the whole library. Where the session's own has it, it is copied."""
    folder = tmp_path_factory.mktemp("whole")
    from livegrad.llvm import cache

    kept = cache.read(library.name(quick=False))
    if kept is not None and library.read(quick=False) is not None:
        cache_folder, cache.folder = cache.folder, folder
        try:
            cache.write(library.name(quick=False), kept)
        finally:
            cache.folder = cache_folder
    assert run("print(kind(), train(5))", folder, "always") == ["careful", "10.0"]
    return folder


def entries(folder):
    return [path for path in folder.iterdir() if path.name.startswith("native-")]


def test_code_on_disk_is_there_after_a_few_launches(whole):
    assert run("train(20); print(kind(), train(5))", whole) == ["careful", "10.0"]
    assert run("train(20); print(kind(), train(5))", whole, "0") == ["python", "10.0"]
    assert len(entries(whole)) == 1


def test_the_entry_does_not_depend_on_what_is_imported(whole):
    program = """
        train(20)
        before = kind(), type(livegrad.Tensor.__add__).__name__
        import livegrad.nn, livegrad.optim
        model = livegrad.nn.Linear(3, 2)
        optimizer = livegrad.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        weight = model.weight.tolist()
        for _ in range(20):
            optimizer.zero_grad()
            model(livegrad.ones(1, 3)).sum().backward()
            optimizer.step()
        service.drain()
        print(*before, type(livegrad.nn.functional.linear).__name__, len(unit.INSTALLER.quick))
        print(len(unit.INSTALLER.libraries[False].open), model.weight.grad.tolist() == [[1.0] * 3] * 2)
    """
    name = "compiled_function"
    assert run(program, whole, LIVEGRAD_STRICT="1") == ["careful", name, name, "0", "0", "True"]


def test_what_a_program_runs_comes_first(tmp_path):
    program = """
        print(until(unit.installed), unit.failure(), train(5), kind())
    """
    *came, kind = run(program, tmp_path)
    assert came == ["True", "None", "10.0"]
    assert kind in ("quick", "careful")  # which one a process finds that had to wait long for its turn
    assert entries(tmp_path)
    kind, value = run("train(20); print(kind(), train(5))", tmp_path)  # kept for the next one
    assert kind != "python" and value == "10.0"


def test_functions_that_have_run_are_known():
    from livegrad.native import hot

    scope = {"__name__": __name__, "hot": hot}
    exec("@hot\ndef ran(x):\n    return x + 1\n@hot\ndef never(x):\n    return x + 1", scope)
    try:
        for i in range(100):
            scope["ran"](i)
        assert has_run(scope["ran"].__code__)
        assert not has_run(scope["never"].__code__)
    finally:
        for name in ("ran", "never"):
            HOT.pop(scope[name].__code__, None)


def test_better_code_takes_the_place_of_the_quick(whole):
    program = """
        import livegrad.nn.functional
        folder, cache.folder = cache.folder, None
        train(50)
        made = unit.INSTALLER.left(ran=True)
        unit.INSTALLER.make(made)
        add, before = livegrad.Tensor.__add__, train(50)
        print(kind(), len(unit.INSTALLER.careful), unit.failure())
        cache.folder = folder
        service.submit(unit.INSTALLER.read)
        print(kind(), unit.failure(), livegrad.Tensor.__add__ is add, train(50) == before)
        x = livegrad.ones(2)
        print((x + 1).tolist() == [2, 2], add(x, 2).tolist() == [3, 3])
    """
    assert run(program, whole, "0", LIVEGRAD_STRICT="1") == [
        *("quick", "0", "None"), *("careful", "None", "True", "True"), *("True", "True")
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["no interpreter", "no folder"])
def test_where_there_can_be_no_other_process(how, tmp_path):
    program = """
        print(until(unit.installed), kind(), unit.failure(), unit.MAKER.process)
    """
    if how == "no interpreter":
        program = "sys.executable = ''\n" + textwrap.dedent(program)
    assert run(program, tmp_path if how == "no interpreter" else "") == ["True", "quick", "None", "None"]


def test_what_the_other_process_owes_is_made_here(tmp_path):
    program = """
        from livegrad.native import process
        process._CODE = "raise SystemExit(1)"
        print(until(unit.installed), kind(), unit.failure(), unit.MAKER.running())
    """
    assert run(program, tmp_path) == ["True", "quick", "None", "False"]


def test_nobody_waits_for_ever(tmp_path):
    program = """
        from livegrad.native import process
        process._CODE = "import time; time.sleep(1000)"
        unit.AWAIT_SECONDS = 0.1
        unit._make_rest = lambda: print("here")
        unit.install(wait=True)
        print(unit.MAKER.process.returncode is not None, unit.failure(), train(5))
    """
    assert run(program, tmp_path, "0") == ["here", "True", "None", "10.0"]


@pytest.mark.parametrize("where", ["fits", "load"])
def test_code_on_disk_that_cannot_be_put_in_place(where, whole):
    program = f"""
        from livegrad.native import library

        def broken(*_):
            if "{where}" == "load":
                raise OSError("no")
            return False

        library.Library.{where} = broken
        print(until(unit.installed), kind(), type(unit.failure()).__name__, train(5))
    """
    error = "OSError" if where == "load" else "RuntimeError"
    assert run(program, whole) == ["True", "quick", error, "10.0"]


def test_a_damaged_entry_is_not_used(whole, tmp_path):
    for path in entries(whole):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        (tmp_path / path.name).write_bytes(bytes(data))
    assert run("train(20); print(kind(), train(5))", tmp_path) == ["python", "10.0"]
    assert not entries(tmp_path)  # so that it is made again


def test_an_entry_of_other_sources_is_not_used(whole, tmp_path, monkeypatch):
    for path in entries(whole):
        shutil.copy(path, tmp_path / path.name)
    from livegrad.llvm import cache

    monkeypatch.setattr(cache, "folder", tmp_path)
    assert library.read(quick=False) is not None
    real = library.digest
    monkeypatch.setattr(library, "digest", lambda module: "" if module == "livegrad.tensor" else real(module))
    assert library.read(quick=False) is None


def test_every_module_that_marks_functions_is_found():
    marked = library.marked()
    assert "livegrad.ops.dispatch" in marked
    assert {module_of(made[0]) for made in HOT.values() if library.is_ours(made[0])} <= set(marked)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # where nobody waits for orphans one that has ended keeps its number
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return sys.platform != "linux"


@pytest.mark.skipif(sys.platform == "win32", reason="asks for processes by their numbers")
@pytest.mark.parametrize("how", ["sys.exit()", "os._exit(0)", "os.kill(os.getpid(), 9)", "raise KeyboardInterrupt"])
def test_the_other_process_ends_with_this_one(how, tmp_path):
    program = f"""
        until(lambda: unit.MAKER.process is not None)
        print(unit.MAKER.process.pid, flush=True)
        {how}
    """
    env = {k: v for k, v in os.environ.items() if k != "LIVEGRAD_NATIVE"} | {"LIVEGRAD_CACHE_DIR": str(tmp_path)}
    text = textwrap.dedent(TRAIN) + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", text], env=env, capture_output=True, text=True, timeout=SECONDS)
    pid = int(done.stdout)  # its first line, printed before the end
    for _ in range(1000):
        if not alive(pid):
            return
        time.sleep(0.05)
    raise AssertionError("it goes on")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_leaves_it_to_its_parent(tmp_path):
    program = """
        until(lambda: unit.MAKER.process is not None)
        child = os.fork()
        if not child:
            print(unit.MAKER.process, train(5), flush=True)
            sys.exit()
        os.waitpid(child, 0)
        print(unit.MAKER.running())
    """
    assert run(program, tmp_path) == ["None", "10.0", "True"]


def test_functions_that_a_program_holds_stay_the_same(whole):
    """``f is livegrad.mean`` holds later where it held before."""
    program = """
        import types
        from livegrad import tanh
        from livegrad.nn import functional as F
        from livegrad.overrides import TorchFunctionMode

        class Holder:
            pass

        holder, table = Holder(), {"silu": F.silu}
        holder.reduce = livegrad.mean
        until(unit.INSTALLER.complete)
        print(kind(), holder.reduce is livegrad.mean, tanh is livegrad.tanh, table["silu"] is F.silu)
        others = [livegrad.exp, livegrad.relu, livegrad.cat, F.relu, F.gelu, F.cross_entropy]
        print(any(isinstance(f, types.FunctionType) for f in others))
        x = livegrad.tensor([1.0, 3.0])
        print(holder.reduce(x).item(), livegrad.mean(x).item(), holder.reduce == livegrad.mean)

        class Told(TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                return func is holder.reduce

        with Told():
            print(livegrad.mean(x))
    """
    found = run(program, whole)
    assert found == ["careful", *["True"] * 3, "False", "2.0", "2.0", "True", "True"]


def test_what_is_being_made_is_not_looked_for_all_the_time(monkeypatch):
    looks, now = [], [100.0]

    def look():
        looks.append(now[0])
        now[0] += 0.1  # what a look takes

    class Done:
        done = True

        def wait(self, seconds):
            return True

    monkeypatch.setattr(unit.service, "submit", lambda function: function() or Done())
    monkeypatch.setattr(unit.INSTALLER, "read", look)
    monkeypatch.setattr(unit.INSTALLER, "possible", lambda: True)
    monkeypatch.setattr(unit.INSTALLER, "complete", lambda: False)
    monkeypatch.setattr(unit.MAKER, "running", lambda: True)
    monkeypatch.setattr(unit.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(unit._Looks, "due", 0.0)
    monkeypatch.setattr(unit.Start, "step", "wait")
    monkeypatch.setattr(unit.Start, "left", 0)
    while now[0] < 110:
        unit.step()
        assert unit.Start.left > 0
        now[0] += 0.01
    assert len(looks) in (5, 6)
