"""Page-locked ("pinned") memory of the CPU, from which a device copies by itself while the program goes on."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from ..array import Array, from_native
from . import driver

_HOST = 1  # CUDA's number for memory that is page-locked

# Copies under way, with the memory that they read: (event after the copy, array).
_under_way: collections.deque[tuple[Any, Array]] = collections.deque()


def pin(a: Array) -> Array:
    """A row-major copy in pinned memory, which CuPy keeps for the next one when it is free again."""
    size = a.native().size
    memory = driver.cupy().cuda.alloc_pinned_memory(max(a.dtype.itemsize * size, 1))
    made = np.frombuffer(memory, a.dtype.np, size).reshape(a.shape)
    made[...] = a.native()
    return from_native(made)


def is_pinned(a: Array) -> bool:
    """Whether an array of the CPU's lies in pinned memory; no, where there is no device."""
    if not driver.available() or not a.block.nbytes:
        return False
    try:
        return int(driver.cupy().cuda.runtime.pointerGetAttributes(a.ptr).type) == _HOST
    except Exception:  # memory that CUDA has never heard of is an error for old versions
        return False


def copy_from(a: Array, to: int, nbytes: int) -> None:
    """Copy a row-major pinned array to an address on the current device, in its stream's order, without waiting."""
    cuda: Any = driver.cupy().cuda
    stream = cuda.get_current_stream()
    cuda.runtime.memcpyAsync(to, a.ptr, nbytes, 1, stream.ptr)
    event = cuda.Event(disable_timing=True)
    event.record(stream)
    while _under_way and _under_way[0][0].done:
        _under_way.popleft()
    _under_way.append((event, a))
