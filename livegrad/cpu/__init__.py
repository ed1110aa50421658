"""The CPU by the names that devices' modules have, for programs that are written for any device.

>>> import livegrad
>>> livegrad.cpu.device_count(), livegrad.cpu.current_device(), livegrad.get_device_module("cpu") is livegrad.cpu
(1, 'cpu', True)
"""

from __future__ import annotations

from typing import Any

from ..runtime import pool
from . import amp

__all__ = [
    "Event", "Stream", "StreamContext", "amp", "current_device", "current_stream", "device_count", "is_available",
    "is_initialized", "set_device", "stream", "synchronize",
]  # fmt: skip


class Stream:
    """There is one queue of work, so streams have nothing to choose."""

    def __init__(self, priority: int = -1):
        self.priority = priority

    def wait_stream(self, stream: Any) -> None:
        """Nothing: work is done in the order in which it is asked for."""

    def record_event(self, event: Any = None) -> None:
        """Nothing."""

    def wait_event(self, event: Any) -> None:
        """Nothing."""


class Event:
    """A point in the queue of work; it is there once the work is."""

    def query(self) -> bool:
        """Whether all work is done."""
        return not pool.busy()

    def record(self, stream: Any = None) -> None:
        """Nothing."""

    def synchronize(self) -> None:
        """Wait for all work."""
        pool.finish()

    def wait(self, stream: Any = None) -> None:
        """Nothing."""


_CURRENT = Stream()


class StreamContext:
    """Nothing changes inside."""

    def __init__(self, stream: Any):
        self.stream = stream

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: Any) -> None:
        pass


def stream(stream: Any) -> StreamContext:
    """A context manager in which nothing changes."""
    return StreamContext(stream)


def current_stream(device: Any = None) -> Stream:
    """The one queue of work."""
    return _CURRENT


def current_device() -> str:
    """ "cpu"."""
    return "cpu"


def set_device(device: Any) -> None:
    """Nothing: there is one CPU."""


def device_count() -> int:
    """1."""
    return 1


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """True."""
    return True


def synchronize(device: Any = None) -> None:
    """Wait until all work that was launched is done."""
    pool.finish()
