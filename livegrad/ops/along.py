"""Elements and slices picked, put and added along a dimension by kernels of the CPU (see `codegen.along`)."""

from __future__ import annotations

import functools

import numpy as np

from ..codegen.kernels import Kernel
from ..devices import cpu
from ..dtypes import int64
from ..native import hot
from ..runtime import pool
from ..runtime.array import Array, empty, is_contiguous, numel
from ..runtime.memory import allocate
from ..runtime.raw import address, peek

# Elements are only moved, so their size says all; sums are of these.
_MOVED = {1: "i8", 2: "i16", 4: "i32", 8: "i64", 16: "c128"}
_ADDED = frozenset(("f32", "f64", "i32", "i64", "c64", "c128"))
_GRAIN = 1 << 14  # elements that are not worth a second thread


@functools.cache
def _kernel(what: str, kind: str, single: bool) -> Kernel:
    from ..codegen import along

    described = (what, kind, single)
    return Kernel(lambda: ("along", *described), lambda: along.source(*described), along.FORMATS, 1)


@hot
def along(what: str, out: Array, other: Array, index: np.ndarray, dim: int) -> bool:
    """Run a kernel, where there is one; False, with nothing done, if there is none for this (yet).

    what: "pick" (into `out`, of the index's shape), "put" or "add" (elements of `other`, of that shape, into `out`).
    index: within the size of the dimension, and not negative.
    """
    wide, narrow = (other, out) if what == "pick" else (out, other)
    elements = index.size
    if out.device is not cpu or not elements or narrow.shape != index.shape:
        return False
    shape = wide.shape
    if not shape or index.itemsize != 8 or not (out.contiguous and other.contiguous and index.flags.c_contiguous):
        return False
    before, after = shape[:dim], shape[dim + 1 :]
    if index.shape[:dim] != before or index.shape[dim + 1 :] != after:
        return False
    if what == "add":
        kind = out.dtype.kind
        if kind not in _ADDED:
            return False
    else:
        kind = _MOVED.get(out.dtype.itemsize)
        if kind is None:
            return False
    inner = numel(after)
    kernel = _kernel(what, kind, inner == 1)
    if not kernel.available(elements):
        return False
    lines, count = numel(before), index.shape[dim]
    args = kernel.pack(out.ptr, other.ptr, address(index), shape[dim], count, inner)
    pool.launch(kernel.address, args, lines, max(1, _GRAIN * lines // elements))
    return True


@functools.cache
def _slices() -> Kernel:
    from ..codegen import along

    return Kernel(lambda: ("along", "slices"), lambda: along.SLICES, along.SLICES_FORMATS, 1)


@functools.cache
def _within() -> Kernel:
    from ..codegen import along

    return Kernel(lambda: ("along", "within"), lambda: along.WITHIN, along.WITHIN_FORMATS, 1)


@hot
def slices_at(x: Array, index: np.ndarray, dim: int) -> Array | None:
    """The slices of a dimension that an index names, in its shape; None where there is no kernel for this (yet).

    index: within the size of the dimension; negative numbers count from the end.
    """
    if index.itemsize != 8 or not index.flags.c_contiguous:
        return None
    shape = x.shape
    before = shape[:dim]
    after = shape[dim + 1 :]
    size = x.dtype.itemsize
    inner = numel(after) * size
    if x.contiguous:
        step = inner
    elif dim == 0 and is_contiguous(after, x.strides[1:]):
        step = x.strides[0] * size
    else:
        return None
    count = index.size
    slices = numel(before) * count
    if inner == 0 or slices == 0 or not _slices().available(slices * numel(after)):
        return None
    out = empty((*before, *index.shape, *after), x.dtype)
    kernel = _slices()
    args = kernel.pack(out.ptr, x.ptr, address(index), shape[dim], count, inner, step, step * shape[dim])
    pool.launch(kernel.address, args, slices, max(1, _GRAIN * 4 // inner))
    return out


@hot
def all_within(index: np.ndarray, least: int, end: int) -> bool:
    """Whether a kernel has found all numbers of an index from `least` up to but not including `end`.

    False also where there is none for this (yet).
    """
    return index.itemsize == 8 and index.flags.c_contiguous and _look_through(address(index), index.size, least, end)


@hot
def values_within(index: Array, least: int, end: int) -> bool:
    """The same of an array of the CPU."""
    if index.dtype is not int64 or not index.contiguous:
        return False
    return _look_through(index.ptr, numel(index.shape), least, end)


@hot
def _look_through(places: int, count: int, least: int, end: int) -> bool:
    kernel = _within()
    if count == 0 or not kernel.available(count):
        return False
    found = allocate(1)
    pool.launch(kernel.address, kernel.pack(found.ptr, places, count, least, end), 1, 1)
    return peek(found.ptr, 1) == _YES


_YES = b"\1"
