"""Python's `multiprocessing`, and `spawn`; tensors travel between processes as copies.

>>> from livegrad import multiprocessing as mp
>>> mp.cpu_count() >= 1
True
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing import *  # noqa: F403
from typing import Any

__all__ = [
    *multiprocessing.__all__,
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "set_sharing_strategy",
    "spawn",
]  # noqa: PLE0605


class SpawnContext:
    """The processes that `spawn` started, to be joined."""

    def __init__(self, processes: list):
        self.processes = processes

    def join(self, timeout: float | None = None) -> bool:
        """Wait for all; True when they are done. Raises RuntimeError if one failed, after ending the others."""
        for index, process in enumerate(self.processes):
            process.join(timeout)
            if process.exitcode not in (0, None):
                for other in self.processes:
                    if other.is_alive():
                        other.terminate()
                raise RuntimeError(f"process {index} terminated with exit code {process.exitcode}")
        return all(p.exitcode == 0 for p in self.processes)


def spawn(
    fn: Callable,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> Any:
    """Call fn(i, *args) in `nprocs` processes, i counting them; wait for them, or return a `SpawnContext`.

    Raises RuntimeError if one of them fails.
    """
    context = multiprocessing.get_context(start_method)
    processes = [context.Process(target=fn, args=(i, *args), daemon=daemon) for i in range(nprocs)]
    for process in processes:
        process.start()
    made = SpawnContext(processes)
    if not join:
        return made
    made.join()
    return None


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
