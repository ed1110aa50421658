"""Making the library's machine code (see `library`) in a process of its own.

It takes some fifteen seconds of one core, during which this process goes on undisturbed: the other one has an
interpreter's lock of its own, and puts its result on disk. First comes, within two seconds or so, what the program
needs most, then all in code that is made quickly; then it stands back for whoever wants the processor. What it has
finished is kept when it ends early, and the next one goes on from there; two never do the same work at the same time.
It ends when this process does.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterable
from typing import Any

from ..llvm import cache

# Seconds over which is looked at how busy processors are, and of work until that is done again.
_LOOK, _LOOK_EVERY = 0.25, 1.5

_CODE = "import json, sys; given = json.loads(sys.stdin.readline()); sys.path[:] = given['path']; \
from livegrad.native.process import main; main(given)"


class Maker:
    """The process, seen from the one that wants its result."""

    def __init__(self) -> None:
        self.process: Any = None  # a `subprocess.Popen`
        self.owner = 0  # whose child it is
        self.begun = False

    def start(self, ran: Iterable[str], awaited: bool = False) -> bool:
        """Start it, unless that has been tried. Whether it is running, or has been.

        ran: the functions that are wanted first, by their symbols. awaited: somebody waits for all.
        """
        if self.owner != os.getpid():  # a fork's child has none
            self.process, self.owner, self.begun = None, os.getpid(), False
        if not self.begun:
            self.begun = True
            with contextlib.suppress(OSError, ValueError, ImportError):
                self._start(list(ran), awaited)
        return self.process is not None

    def _start(self, ran: list[str], awaited: bool) -> None:
        import subprocess

        python, folder = interpreter(), cache.usable_folder()
        if python is None or folder is None:
            return
        environment = {**os.environ, "LIVEGRAD_NATIVE": "0", "LIVEGRAD_CACHE_DIR": str(folder)}
        # A group of its own, so that Ctrl-C in a terminal is not for it. Not a session: Linux shares the processor out
        # among sessions first, and a process that stands back would have half of it all the same.
        window: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":
            window = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        process = subprocess.Popen(
            [python, "-I", "-S", "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            **window,
        )
        atexit.register(self.stop)
        self.process = process
        package = __name__.partition(".")[0]
        root = os.path.dirname(os.path.dirname(os.path.abspath(sys.modules[package].__file__ or "")))
        assert process.stdin is not None
        given = {"path": [root, *map(os.fspath, sys.path)], "ran": ran, "awaited": awaited}
        process.stdin.write(json.dumps(given).encode() + b"\n")
        process.stdin.flush()  # and it stays open: its end tells the process that this one has ended

    def running(self) -> bool:
        return self.owner == os.getpid() and self.process is not None and self.process.poll() is None

    def wait(self, limit: float) -> None:
        """Wait until it has ended, for so many seconds at most."""
        deadline = time.monotonic() + limit
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.01)

    def failure(self) -> str:
        """What the process said when it has failed."""
        if self.process is None or self.owner != os.getpid() or not self.process.poll():
            return ""
        said = self.process.stdout.read().decode(errors="replace")
        return said or f"the process that makes machine code ended with {self.process.returncode}"

    def stop(self) -> None:
        """End it, which loses nothing but the part that it is at."""
        if self.running():
            self.process.kill()
            with contextlib.suppress(Exception):  # it is not waited for any longer than that
                self.process.wait(5)

    def forget(self) -> None:
        """In the child of a fork: it is somebody else's, and ends without him."""
        if self.process is not None:
            self.process.returncode = 0
            for pipe in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()
            self.process = None


MAKER = Maker()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=MAKER.forget)


def interpreter() -> str | None:
    """What to start Python with; None in a program that has Python inside, whose own file that would be."""
    path = sys.executable
    if not path or getattr(sys, "frozen", False) or not os.path.basename(path).lower().startswith("python"):
        return None
    return path


# In the process


def main(given: dict) -> None:
    """Make the machine code, unless it is there when others are done."""
    import threading
    import traceback

    if hasattr(signal, "pthread_sigmask"):  # it was started by a thread that leaves signals to others
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        make(given["ran"], given["awaited"])
    except BaseException:
        sys.stdout.write(traceback.format_exc()[-4000:])
        sys.stdout.flush()
        os._exit(1)


def _end_with_parent() -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdin.read()
    os._exit(2)


def make(ran: Iterable[str], awaited: bool) -> None:
    """Make the entries of `library`; first, unless all are awaited, the quick one."""
    import importlib

    from . import HOT, library
    from .build import Builder
    from .constants import METHODS, symbol

    folder = cache.usable_folder()
    if folder is None:
        return
    # One that is awaited does not wait for one that stands back: they take one another's parts.
    with _alone(os.path.join(folder, "native-awaited.lock" if awaited else "native.lock")):
        if library.read(quick=False) is not None:
            return
        for module in library.marked():
            importlib.import_module(module)
        functions = {code: made for code, made in HOT.items() if library.is_ours(made[0])}
        if not awaited:
            known = library.read(quick=True)
            have = set(known.units) if known else set()
            for wanted in ({*ran, *have}, {symbol(made[0]) for made in functions.values()}):
                if wanted > have:
                    builder = Builder({code: made for code, made in functions.items() if symbol(made[0]) in wanted})
                    units = {unit: builder.make(unit, quick=True) for unit in [*builder.units, METHODS]}
                    library.write(True, units, builder.classes)
                    have = wanted
            _stand_back()
        builder = Builder(functions)
        units = {}
        looked = 0.0
        parts = {unit: library.part(builder.units, unit) for unit in [*builder.units, METHODS]}
        for unit, part in parts.items():
            found = library.read_part(part)
            if found is None:
                if not awaited and time.monotonic() > looked + _LOOK_EVERY:
                    _wait_while_busy()
                    looked = time.monotonic()
                found = builder.make(unit, quick=False)
                library.write_part(part, *found)
            units[unit] = found
        library.write(False, units, builder.classes)
        for part in [*parts.values(), library.name(quick=True)]:
            cache.remove(part)


def _stand_back() -> None:
    """Run when no other process wants the processor."""
    with contextlib.suppress(OSError):
        if hasattr(os, "nice"):
            os.nice(19)
        if hasattr(os, "SCHED_IDLE"):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _wait_while_busy() -> None:
    """Wait while the program computes with several threads, or the machine has no processor free.

    The lowest priority is not enough: a scheduler may leave two of the program's threads on one processor for as long
    as this process is on the other. Where the system does not tell (/proc), nobody waits.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        before = _used()
        while True:
            time.sleep(_LOOK)
            now = _used()
            program, idle = (b - a for a, b in zip(before, now))
            if program < 1.2 * _LOOK and idle > 0.6 * _LOOK:
                return
            before = now


def _used() -> tuple[float, float]:
    """Seconds of processors that the program has used, and that nobody has."""
    tick = os.sysconf("SC_CLK_TCK")
    with open(f"/proc/{os.getppid()}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    with open("/proc/stat") as file:
        idle, waiting = file.readline().split()[4:6]
    return (int(user) + int(system)) / tick, (int(idle) + int(waiting)) / tick


@contextlib.contextmanager
def _alone(path: str) -> Any:
    """Wait until no other process is in here, where the system can tell."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "w") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
