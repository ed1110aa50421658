"""The order of elements found by a kernel of the CPU (see `codegen.order`): of few, and of those that fill 64 bits."""

from __future__ import annotations

import functools

from .. import dtypes
from ..codegen.kernels import Kernel
from ..devices import cpu
from ..native import hot
from ..runtime import pool
from ..runtime.array import Array, copied, empty, numel
from ..runtime.memory import allocate

_GRAIN = 1 << 10  # elements that are not worth a second thread
_KINDS = {
    dtypes.float32: "f32", dtypes.float64: "f64", dtypes.uint8: "u8", dtypes.bool_: "u8", dtypes.int8: "i8",
    dtypes.int16: "i16", dtypes.int32: "i32", dtypes.int64: "i64",
}  # fmt: skip


@functools.cache
def _kernel(kind: str) -> Kernel:
    from ..codegen import order

    return Kernel(lambda: ("order", kind), lambda: order.source(kind), order.FORMATS, 16)


@hot
def ordered(a: Array, dim: int, count: int, descending: bool) -> tuple | None:
    """(places, elements): the first `count` in order along a dimension; None where there is no kernel for it (yet).

    The order is stable; NaN counts as the largest.
    """
    kind = _KINDS.get(a.dtype)
    elements = numel(a.shape)
    if kind is None or a.device is not cpu or not count or not elements or not _kernel(kind).available(elements):
        return None
    shape = a.shape
    if not a.contiguous:
        a = copied(a)
    size = shape[dim]
    rows = elements // size
    first = (*shape[:dim], count, *shape[dim + 1 :])
    places = empty(first, dtypes.int64)
    values = empty(first, a.dtype)
    room = allocate(rows * (size + 1) * 32)
    kernel = _kernel(kind)
    inner = numel(shape[dim + 1 :])
    args = kernel.pack(places.ptr, values.ptr, a.ptr, room.ptr, size, count, inner, -1 if descending else 0)
    pool.launch(kernel.address, args, rows, max(1, _GRAIN // size))
    return places, values
