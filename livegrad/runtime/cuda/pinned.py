"""Page-locked ("pinned") memory of the CPU: a device copies from it and to it by itself while the program goes on."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from ... import dtypes
from ..array import Array, from_native, numel
from . import driver

_HOST = 1  # CUDA's number for memory that is page-locked
_TO_DEVICE, _TO_HOST = 1, 2  # and for the ways of a copy

# Copies under way, with the memory that they read and write: (event after the copy, array, array or None).
_under_way: collections.deque[tuple[Any, Array, Array | None]] = collections.deque()


def empty(shape: tuple, dtype: dtypes.dtype) -> Array:
    """Uninitialised row-major pinned memory, which CuPy keeps for the next one when it is free again."""
    size = numel(shape)
    memory = driver.cupy().cuda.alloc_pinned_memory(max(dtype.itemsize * size, 1))
    return from_native(np.frombuffer(memory, dtype.np, size).reshape(shape))


def pin(a: Array) -> Array:
    """A row-major copy in pinned memory."""
    made = empty(a.shape, a.dtype)
    made.native()[...] = a.native()
    return made


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
    cuda.runtime.memcpyAsync(to, a.ptr, nbytes, _TO_DEVICE, stream.ptr)
    _keep(cuda, stream, a, None)


def copy_to(made: Array, a: Array, start: int, nbytes: int) -> None:
    """Copy a row-major array of the current device, which begins at `start`, to a pinned one in the same way."""
    cuda: Any = driver.cupy().cuda
    stream = cuda.get_current_stream()
    cuda.runtime.memcpyAsync(made.ptr, start, nbytes, _TO_HOST, stream.ptr)
    _keep(cuda, stream, made, a)


def _keep(cuda: Any, stream: Any, a: Array, other: Array | None) -> None:
    """Let go of arrays when what has been started on a stream is done, and not before."""
    event = cuda.Event(disable_timing=True)
    event.record(stream)
    while _under_way and _under_way[0][0].done:
        _under_way.popleft()
    _under_way.append((event, a, other))
