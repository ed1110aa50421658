"""Saving that is cut off, by the system or by a signal, and reading meanwhile: there is always a whole file."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import livegrad
from livegrad.serialization import load, save

resource = pytest.importorskip("resource", reason="limits of a Unix system")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits")

SAVING = """
    import sys
    import livegrad

    n = 0
    while True:
        n += 1
        livegrad.save({"n": n, "x": livegrad.full((30_000,), float(n))}, sys.argv[1])
        if n == 1:
            print("saved", flush=True)
"""


def saving(path):
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(SAVING), path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "saved\n"
    return process


def check(path):
    found = load(path)
    assert found["x"].eq(found["n"]).all() and found["x"].shape == (30_000,)
    return found["n"]


def test_killed_at_any_moment(tmp_path):
    path = tmp_path / "file"
    rng = random.Random(0)
    for _ in range(5):
        process = saving(path)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        check(path)


def test_read_while_it_is_replaced(tmp_path):
    path = tmp_path / "file"
    process = saving(path)
    try:
        seen = [check(path) for _ in range(150)]
    finally:
        process.kill()
        process.communicate()
    assert seen == sorted(seen) and len(set(seen)) > 1


def test_interrupted_at_any_moment(tmp_path):
    """Ctrl-C while saving: the old file or the new one is there, and nothing beside it."""
    path = tmp_path / "file"
    save({"n": 0, "x": livegrad.zeros(30_000)}, path)
    rng = random.Random(0)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        for n in range(1, 200):
            value = {"n": n, "x": livegrad.full((30_000,), float(n))}
            value["x"].tolist()
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 1.5e-3))
                try:
                    save(value, path)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            check(path)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 20
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_is_full(tmp_path):
    """The system refuses to write on: an OSError, the old file as it was, and nothing beside it."""
    path = tmp_path / "file"
    save("old", path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        for target in (path, tmp_path / "new"):
            with pytest.raises(OSError, match="File too large"):
                save(livegrad.ones(100_000), target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert load(path) == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
