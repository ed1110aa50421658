"""Running extremes and their places by a kernel of the CPU (see `codegen.running`)."""

from __future__ import annotations

import functools

from .. import dtypes
from ..codegen.kernels import Kernel
from ..devices import cpu
from ..native import hot
from ..runtime import pool
from ..runtime.array import Array, copied, empty, numel

_GRAIN = 1 << 13  # elements that are not worth a second thread
# Kinds of numbers, and whether they have a sign.
_KINDS = {
    dtypes.float32: ("f32", True), dtypes.float64: ("f64", True), dtypes.uint8: ("i8", False),
    dtypes.bool_: ("i8", False), dtypes.int8: ("i8", True), dtypes.int16: ("i16", True), dtypes.int32: ("i32", True),
    dtypes.int64: ("i64", True),
}  # fmt: skip


@functools.cache
def _kernel(kind: str, largest: bool, signed: bool, single: bool) -> Kernel:
    from ..codegen import running

    described = (kind, largest, signed, single)
    return Kernel(lambda: ("running extremes", *described), lambda: running.source(*described), running.FORMATS, 2)


@functools.cache
def _together(kind: str, single: bool) -> int:
    """How many rows a work item is."""
    from ..codegen import running

    return running.ROWS if single else running.lanes(kind)


@hot
def running_extremes(a: Array, dim: int, largest: bool) -> tuple | None:
    """(extremes, places) along a dimension; None where there is no kernel for it (yet)."""
    found = _KINDS.get(a.dtype)
    elements = numel(a.shape)
    if found is None or a.device is not cpu or not elements:
        return None
    kind, signed = found
    inner = numel(a.shape[dim + 1 :])
    single = inner == 1
    kernel = _kernel(kind, largest, signed, single)
    if not kernel.available(elements):
        return None
    if not a.contiguous:
        a = copied(a)
    size = a.shape[dim]
    values = empty(a.shape, a.dtype)
    places = empty(a.shape, dtypes.int64)
    lines = elements // (size * inner)
    rows = _together(kind, single)
    if single:
        items = (lines + rows - 1) // rows
    else:
        items = lines * ((inner + rows - 1) // rows)
    args = kernel.pack(values.ptr, places.ptr, a.ptr, size, inner, lines)
    pool.launch(kernel.address, args, items, max(1, _GRAIN * items // elements))
    return values, places
