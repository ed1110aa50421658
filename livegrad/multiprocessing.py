"""Python's `multiprocessing`, and `spawn`; tensors travel between processes as copies.

>>> from livegrad import multiprocessing as mp
>>> mp.cpu_count() >= 1
True
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing import *  # noqa: F403
from typing import Any

__all__ = [
    *multiprocessing.__all__,
    "ProcessContext",
    "ProcessException",
    "ProcessExitedException",
    "ProcessRaisedException",
    "SpawnContext",
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "set_sharing_strategy",
    "spawn",
    "start_processes",
]  # noqa: PLE0605

_GRACE = 30.0  # seconds that a process has to end after it was asked to


class ProcessException(Exception):
    """A process that `spawn` started has failed. error_index: which; error_pid: its number in the system."""

    def __init__(self, msg: str, error_index: int, pid: int):
        super().__init__(msg)
        self.msg, self.error_index, self.pid = msg, error_index, pid

    @property
    def error_pid(self) -> int:
        return self.pid

    def __reduce__(self) -> tuple:
        return type(self), (self.msg, self.error_index, self.pid)


class ProcessRaisedException(ProcessException, RuntimeError):
    """A process ended by an error, whose traceback is in the text."""

    def __init__(self, msg: str, error_index: int, error_pid: int):
        super().__init__(msg, error_index, error_pid)


class ProcessExitedException(ProcessException, RuntimeError):
    """A process ended with another exit code than 0, or by a signal."""

    def __init__(
        self, msg: str, error_index: int, error_pid: int, exit_code: int, signal_name: str | None = None
    ):  # fmt: skip
        super().__init__(msg, error_index, error_pid)
        self.exit_code, self.signal_name = exit_code, signal_name

    def __reduce__(self) -> tuple:
        return type(self), (self.msg, self.error_index, self.pid, self.exit_code, self.signal_name)


class ProcessContext:
    """The processes that `start_processes` started, to be joined."""

    def __init__(self, processes: list, error_files: list[str]):
        self.processes = processes
        self.error_files = error_files
        self.sentinels = {process.sentinel: index for index, process in enumerate(processes)}

    def pids(self) -> list[int]:
        """The processes' numbers in the system."""
        return [int(process.pid) for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait until some process ends, or for ``timeout`` seconds; True when all are done.

        If one failed the others are ended, within ``grace_period`` seconds, and ProcessRaisedException is raised with
        its traceback, or ProcessExitedException with its exit code.
        """
        if not self.sentinels:
            return True
        for sentinel in multiprocessing.connection.wait(list(self.sentinels), timeout):
            index = self.sentinels.pop(sentinel)  # type: ignore[arg-type]
            process = self.processes[index]
            process.join()
            if process.exitcode != 0:
                self._end(_GRACE if grace_period is None else grace_period)
                self._raise(index, process)
        if self.sentinels:
            return False
        self._clean()
        return True

    def _end(self, grace: float) -> None:
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        end = time.monotonic() + grace
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def _raise(self, index: int, process: Any) -> None:
        try:
            with open(self.error_files[index], encoding="utf-8") as file:
                text = file.read()
        except OSError:
            text = ""
        self._clean()
        if text:
            message = f"\n\n-- Process {index} terminated with the following error:\n{text}"
            raise ProcessRaisedException(message, index, process.pid)
        code = process.exitcode
        if code < 0:
            name = _signal_name(-code)
            message = f"process {index} terminated with signal {name}"
            raise ProcessExitedException(message, index, process.pid, code, name)
        raise ProcessExitedException(f"process {index} terminated with exit code {code}", index, process.pid, code)

    def _clean(self) -> None:
        for path in self.error_files:
            if os.path.exists(path):
                os.unlink(path)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"<Unknown signal {number}>"


class SpawnContext(ProcessContext):
    """The processes that `spawn` started, to be joined."""


def _end_with_parent() -> None:
    """Have the system end this process when its parent ends, on Linux."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG


def _call(fn: Callable, index: int, args: tuple, error_file: str) -> None:
    """What a process does: call the function, and leave the traceback of an error to the parent."""
    _end_with_parent()
    try:
        fn(index, *args)
    except KeyboardInterrupt:
        pass  # the parent was interrupted
    except Exception:
        with open(error_file, "w", encoding="utf-8") as file:
            file.write(traceback.format_exc())
        sys.exit(1)


def start_processes(
    fn: Callable, args: tuple = (), nprocs: int = 1, join: bool = True, daemon: bool = False,
    start_method: str = "spawn", numa_options: Any = None,
) -> ProcessContext | None:  # fmt: skip
    """`spawn`, with any of multiprocessing's ways to start a process."""
    return _start(
        SpawnContext if start_method == "spawn" else ProcessContext, fn, args, nprocs, join, daemon, start_method
    )


def _start(
    kind: type[ProcessContext], fn: Callable, args: tuple, nprocs: int, join: bool, daemon: bool, start_method: str
) -> ProcessContext | None:
    context: Any = multiprocessing.get_context(start_method)
    processes, files = [], []
    for index in range(nprocs):
        handle, path = tempfile.mkstemp(prefix="livegrad-spawn-", suffix=".txt")
        os.close(handle)
        files.append(path)
        process = context.Process(target=_call, args=(fn, index, args, path), daemon=daemon)
        process.start()
        processes.append(process)
    made = kind(processes, files)
    if not join:
        return made
    while not made.join():
        pass
    return None


def spawn(
    fn: Callable,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> Any:
    """Call fn(i, *args) in `nprocs` processes, i counting them; wait for them, or return a `SpawnContext`.

    If one of them fails the others are ended, and ProcessRaisedException is raised with its traceback, or
    ProcessExitedException if it ended without one.
    """
    return _start(SpawnContext, fn, args, nprocs, join, daemon, start_method)


def get_all_sharing_strategies() -> set[str]:
    """How tensors may be shared: only through files, that is as copies."""
    return {"file_system"}


def get_sharing_strategy() -> str:
    """How tensors are shared."""
    return "file_system"


def set_sharing_strategy(new_strategy: str) -> None:
    """Choose how tensors are shared: there is one way."""
    if new_strategy not in ("file_system", "file_descriptor"):
        raise AssertionError(f"unknown sharing strategy {new_strategy!r}")
