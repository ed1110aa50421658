"""The door to a device's array library: NumPy on the CPU. Operators reach it only through here."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..devices import cpu, device
from ..native import hot
from ..runtime import array as arrays
from .value import Value, from_array


def of(v: Value) -> Any:
    """The array library of a value's device."""
    if v.device is cpu:
        return np
    if v.device.type == "meta":
        v.native()  # which raises
    from ..runtime.cuda import driver

    return driver.cupy()


def on(where: device) -> Any:
    """Context manager in which the array library makes what it makes on this device."""
    if where is cpu or where.type == "meta":
        return contextlib.nullcontext()
    from ..runtime.cuda import driver

    return driver.on(where.index or 0)


def is_current(where: device) -> bool:
    """Whether the array library makes what it makes on this device as it is."""
    if where.type != "cuda":
        return True
    from ..runtime.cuda import driver

    return driver.current() == where.index


def _elsewhere(a: Any) -> Value:
    """A value over an array of a CUDA device."""
    from ..runtime.cuda import driver, memory

    flags = a.flags
    index = int(a.device.id)
    with driver.on(index):
        own = a if flags.c_contiguous and flags.owndata else driver.cupy().array(a, order="C", copy=True)
    return from_array(memory.wrap(own, device("cuda", index)))


@hot
def fresh(a: Any) -> Value:
    """A value over an array that the library has just made (copied if it is a view of something else)."""
    if hasattr(a, "device") and not isinstance(a, (np.ndarray, np.generic)):
        return _elsewhere(a)
    a = np.asarray(a)
    if not a.flags.c_contiguous or not a.flags.owndata:
        return copied(a)
    return from_array(arrays.from_native(a))


@hot
def copied(a: Any) -> Value:
    """A value with a row-major copy of an array."""
    if a.__class__ is not np.ndarray and hasattr(a, "device") and not isinstance(a, (np.ndarray, np.generic)):
        with on(device("cuda", int(a.device.id))):
            return _elsewhere(a.copy())
    a = np.asarray(a)
    return from_array(arrays.copy_of(a, dtypes.from_numpy_dtype(a.dtype)))


_KEPT = 1 << 16  # elements of the longest range that is kept for the next who asks


def count(n: int, step: int, where: device) -> Value:
    """The integers 0, step, ... on a device, n of them, to be read only."""
    return _kept_count(n, step, where) if n <= _KEPT else _count(n, step, where)


def _count(n: int, step: int, where: device) -> Value:
    if where is cpu:
        return fresh(np.arange(0, n * step, step))
    if where.type == "meta":
        return from_array(arrays.empty_on(where, (n,), dtypes.int64))
    from ..runtime.cuda import driver

    with on(where):
        return fresh(driver.cupy().arange(0, n * step, step))


_kept_count = functools.lru_cache(256)(_count)


def through(function: Callable, *values: Value, **options: Any) -> Value:
    """Run a function of the array library on values; half types are computed in float32 where that library needs it."""
    with np.errstate(all="ignore"):
        return fresh(function(*(v.native() for v in values), **options))
