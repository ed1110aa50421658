"""Kernels on disk: what is damaged is compiled again, never run; what cannot be written is no error."""

import os
import subprocess
import sys
import textwrap
import time

import pytest

from livegrad.llvm import cache, machine

pytestmark = pytest.mark.skipif(not machine.compiler_available(), reason="no compiler")

PROGRAM = """
    import livegrad
    from livegrad.llvm import machine
    built = []
    compile_cpu = machine.compile_cpu
    machine.compile_cpu = lambda source, *rest, **more: (built.append(source), compile_cpu(source, *rest, **more))[1]
    with livegrad.compiling("always"):
        x = livegrad.arange(100.0) / 100
        total = ((x * 3 + 1).tanh() - x.exp().log()).sum().item()
    assert abs(total - 46.1603) < 0.001, total
    print(len(built))
"""


def run(folder, program=PROGRAM, **environment):
    """Run a program in a process of its own; returns what it printed, as whole numbers."""
    env = {
        **os.environ,
        "LIVEGRAD_CACHE_DIR": str(folder),
        "LIVEGRAD_STRICT": "1",
        "LIVEGRAD_NATIVE": "0",
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def entries(folder):
    return sorted(folder.glob("*.kernel"))


@pytest.fixture
def filled(tmp_path):
    folder = tmp_path / "cache"
    (compiled,) = run(folder)
    assert compiled >= 1
    assert len(entries(folder)) == compiled
    return folder


def test_second_process_compiles_nothing(filled):
    assert run(filled) == [0]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "garbage", "swap"])
def test_damage(filled, damage):
    paths = entries(filled)
    before = {p: p.read_bytes() for p in paths}
    for i, path in enumerate(paths):
        data = before[path]
        if damage == "truncate":
            path.write_bytes(data[: len(data) // 2])
        elif damage == "flip":
            middle = len(data) // 2
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        elif damage == "empty":
            path.write_bytes(b"")
        elif damage == "garbage":
            path.write_bytes(os.urandom(5000))
        else:  # the code of another program, whole
            path.write_bytes(before[paths[i - 1]])
    (compiled,) = run(filled)
    assert compiled == (len(paths) if damage != "swap" or len(paths) > 1 else 0)
    assert run(filled) == [0]  # and written again


def test_folder_in_place_of_an_entry(filled):
    for path in entries(filled):
        path.unlink()
        path.mkdir()
    (compiled,) = run(filled)
    assert compiled >= 1


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (compiled,) = run(tmp_path / "file" / "cache")
    assert compiled >= 1


def test_folder_of_anybody_is_not_trusted(filled):
    filled.chmod(0o777)
    (compiled,) = run(filled)
    assert compiled >= 1


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write anywhere")
def test_read_only_folder(filled):
    filled.chmod(0o500)
    try:
        assert run(filled) == [0]
        for path in entries(filled):
            path.chmod(0)
        (compiled,) = run(filled)
        assert compiled >= 1
    finally:
        filled.chmod(0o700)


def test_write_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "folder", tmp_path)
    monkeypatch.setattr(cache, "_checked", {})

    def refuse(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(cache.os, "open", refuse)
    cache.write("name", b"code")
    monkeypatch.undo()
    monkeypatch.setattr(cache, "folder", tmp_path)
    monkeypatch.setattr(cache, "_checked", {})
    monkeypatch.setattr(cache.os, "replace", refuse)
    cache.write("name", b"code")
    assert list(tmp_path.iterdir()) == []  # no remains of the attempt
    assert cache.read("name") is None


def test_turned_off(tmp_path):
    (compiled,) = run("", HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "xdg"))
    assert compiled >= 1
    assert list(tmp_path.iterdir()) == []


def folder_for(where, **environment):
    program = "from livegrad.llvm import cache; import sys; sys.stdout.write(str(cache.folder))"
    env = {k: v for k, v in os.environ.items() if k not in ("LIVEGRAD_CACHE_DIR", "XDG_CACHE_HOME")}
    env |= {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(where), "LIVEGRAD_NATIVE": "0", **environment}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, cwd=where, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform == "darwin", reason="caches are elsewhere")
def test_default_folder_follows_xdg(tmp_path):
    assert folder_for(tmp_path, XDG_CACHE_HOME=str(tmp_path / "123")) == str(tmp_path / "123" / "livegrad")
    assert folder_for(tmp_path, XDG_CACHE_HOME="relative") == str(tmp_path / ".cache" / "livegrad")


def test_a_relative_folder_stays_where_it_is_when_the_program_goes_elsewhere(tmp_path):
    assert folder_for(tmp_path, LIVEGRAD_CACHE_DIR="kernels") == str(tmp_path / "kernels")


def test_changed_library(filled):
    program = 'from livegrad.llvm import cache; cache.VERSION = "another"\n' + textwrap.dedent(PROGRAM)
    (compiled,) = run(filled, program)
    assert compiled >= 1
    assert len(entries(filled)) == 2 * compiled
    program = 'from livegrad.llvm import cache; cache._digest = "changed"\n' + textwrap.dedent(PROGRAM)
    assert run(filled, program) == [compiled]


def test_other_processor(filled):
    program = (
        'from livegrad.llvm import machine; was = machine.host_description; machine.host_description = lambda: (was(), "other")\n'
        + textwrap.dedent(PROGRAM)
    )
    (compiled,) = run(filled, program)
    assert compiled >= 1


def test_concurrent_processes(tmp_path):
    env = {**os.environ, "LIVEGRAD_CACHE_DIR": str(tmp_path / "cache"), "LIVEGRAD_STRICT": "1", "LIVEGRAD_NATIVE": "0"}
    processes = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM)], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert int(out) >= 0
    assert run(tmp_path / "cache") == [0]
    assert not list((tmp_path / "cache").glob("*.tmp"))


def test_bounded_in_size(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "folder", tmp_path)
    monkeypatch.setattr(cache, "_checked", {})
    for i in range(20):
        cache.write(f"k{i}", bytes(1000))
        os.utime(tmp_path / f"k{i}.kernel", (i, i))
    assert cache.read("k3") == bytes(1000)  # used just now, so it is kept
    cache.prune(tmp_path, 5 * 1032)
    kept = {p.stem for p in tmp_path.glob("*.kernel")}
    assert kept == {"k3", "k16", "k17", "k18", "k19"}


def test_prunes_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "folder", tmp_path)
    monkeypatch.setattr(cache, "_checked", {})
    monkeypatch.setattr(cache, "LIMIT_BYTES", 10_000)
    for i in range(130):
        cache.write(f"k{i}", bytes(1000))
    assert len(list(tmp_path.iterdir())) <= 10 + 64


def test_abandoned_attempts_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "folder", tmp_path)
    monkeypatch.setattr(cache, "_checked", {})
    old, new = tmp_path / "new-old.tmp", tmp_path / "new-new.tmp"
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    hours = time.time() - 48 * 3600
    os.utime(old, (hours, hours))
    cache.prune(tmp_path)
    assert not old.exists()
    assert new.exists()


def test_stats(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "folder", tmp_path)
    monkeypatch.setattr(cache, "_checked", {})
    cache.write("a", bytes(10))
    cache.write("b", bytes(20))
    folder, count, size = cache.stats()
    assert (folder, count, size) == (tmp_path, 2, 30 + 64)
    monkeypatch.setattr(cache, "folder", None)
    assert cache.stats() == (None, 0, 0)
    assert cache.read("a") is None
    cache.write("a", b"x")


def test_nothing_is_kept_by_a_process_whose_library_was_updated(tmp_path):
    program = "import livegrad.llvm.cache as cache; cache._began -= 1e9" + PROGRAM.replace("\n    ", "\n")
    assert run(tmp_path / "cache", program)[0] >= 1
    assert not entries(tmp_path / "cache")
