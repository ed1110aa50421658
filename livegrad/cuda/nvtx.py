"""Ranges and marks that NVIDIA's profilers show beside what the device does. Without a device they do nothing.

>>> import livegrad
>>> with livegrad.cuda.nvtx.range("forward"):
...     y = livegrad.ones(3) * 2
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..runtime.cuda import driver as _driver

__all__ = ["mark", "range", "range_end", "range_pop", "range_push", "range_start"]

_BLUE = 0xFF007FFF  # in profilers: opaque
_depth = [0]


def _nvtx() -> Any:
    """CuPy's functions, or None."""
    return _driver.quiet().cuda.nvtx if _driver.available() else None


def range_push(msg: str) -> int:
    """Begin a range inside of those that have begun; returns how many those are."""
    found = _nvtx()
    if found is not None:
        found.RangePush(msg)
    _depth[0] += 1
    return _depth[0] - 1


def range_pop() -> int:
    """End the range that began last; returns how many are left, or -1 where there was none."""
    if not _depth[0]:
        return -1
    found = _nvtx()
    if found is not None:
        found.RangePop()
    _depth[0] -= 1
    return _depth[0]


def range_start(msg: str) -> int:
    """Begin a range that may overlap others, and end in another thread; returns the number that ends it."""
    found = _nvtx()
    return 0 if found is None else int(found.RangeStart(msg, _BLUE))


def range_end(range_id: int) -> None:
    """End a range that `range_start` began."""
    found = _nvtx()
    if found is not None:
        found.RangeEnd(range_id)


@contextmanager
def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
    """A range around what is done inside; further arguments go into the message by ``msg.format``."""
    range_push(msg.format(*args, **kwargs))
    try:
        yield
    finally:
        range_pop()


def mark(msg: str) -> None:
    """A mark at this moment."""
    found = _nvtx()
    if found is not None:
        found.Mark(msg)
