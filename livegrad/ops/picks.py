"""Weighted picks: every result is a weighted sum of a few elements of a row, each result of elements of its own.

Three operators, each linear in two tensors, and each other's gradients (see `codegen.picks`). Shapes: rows
(N, C, S), results (N, C, O), weights and indices (N, T, O). Indices are within the rows, which is the caller's part, or
below zero: such a one names nothing.
"""

from __future__ import annotations

import functools
from typing import Any

from .. import dtypes
from ..codegen.kernels import Kernel
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value, from_array
from ..native import hot
from ..runtime import array as arrays
from ..runtime import pool
from ..runtime.array import Array
from ..tensor import Tensor, wrap
from .operator import Operator
from .registry import FUNCTIONS, operator

_KINDS = {dtypes.float32: "f32", dtypes.float64: "f64"}
_GRAIN = 1 << 14  # elements picked that are not worth a second thread
_MOST = 16  # taps that a kernel keeps in registers


@functools.cache
def _kernel(what: str, kind: str, taps: int) -> Kernel:
    from ..codegen import picks

    return Kernel(lambda: ("picks", what, kind, taps), lambda: picks.source(what, kind, taps), picks.FORMATS, taps)


@functools.cache
def _lanes(kind: str) -> int:
    from ..codegen import picks

    return picks.lanes(kind)


def _laid(x: Value) -> Array:
    a = x.ready()
    return a if a.contiguous else backend.copied(x.native()).ready()


@hot
def _by_kernel(what: str, shape: tuple, x: Value, weight: Value, index: Value, size: int) -> Value | None:
    """What a kernel makes; None where there is none for this (yet)."""
    kind = _KINDS.get(x.dtype)
    batch, taps, outputs = index.shape
    channels = x.shape[1]
    elements = batch * channels * taps * outputs
    if kind is None or x.device is not cpu or taps > _MOST or not elements:
        return None
    kernel = _kernel(what, kind, taps)
    if not kernel.available(elements):
        return None
    made = arrays.empty(shape, x.dtype)
    operands = _laid(x), _laid(weight), _laid(index)
    args = kernel.pack(made.ptr, operands[0].ptr, operands[1].ptr, operands[2].ptr, channels, size, outputs)
    if what == "spread":
        items = batch * channels
    else:
        width = _lanes(kind)
        items = batch * ((outputs + width - 1) // width)
    pool.launch(kernel.address, args, items, max(1, _GRAIN * items // elements))
    return from_array(made)


def _taps(index: Tensor, channels: int) -> list:
    """For each tap (its number, places to read or write for all channels, whether they are named)."""
    batch, taps, outputs = index.shape
    rows = [index.select(1, t).unsqueeze(1).expand(batch, channels, outputs) for t in range(taps)]  # type: ignore[attr-defined]
    return [(t, at.clamp(min=0), at >= 0) for t, at in enumerate(rows)]


@hot
def _pick(x: Value, weight: Value, index: Value) -> Value:
    made = _by_kernel("pick", (*x.shape[:2], index.shape[2]), x, weight, index, x.shape[2])
    return _picked_elsewhere(x, weight, index) if made is None else made


def _picked_elsewhere(x: Value, weight: Value, index: Value) -> Value:
    rows, factors = wrap(x), wrap(weight)
    total: Any = rows.new_zeros((*x.shape[:2], index.shape[2]))  # type: ignore[attr-defined]
    for t, at, named in _taps(wrap(index), x.shape[1]):
        found = FUNCTIONS["where"](named, rows.gather(2, at), 0.0)  # type: ignore[attr-defined]
        total = total + found * factors.select(1, t).unsqueeze(1)  # type: ignore[attr-defined]
    return total._value()  # type: ignore[no-any-return]


@hot
def _spread(x: Value, weight: Value, index: Value, size: int) -> Value:
    made = _by_kernel("spread", (*x.shape[:2], size), x, weight, index, size)
    return _spread_elsewhere(x, weight, index, size) if made is None else made


def _spread_elsewhere(x: Value, weight: Value, index: Value, size: int) -> Value:
    given, factors = wrap(x), wrap(weight)
    total: Any = given.new_zeros((*x.shape[:2], size))  # type: ignore[attr-defined]
    for t, at, named in _taps(wrap(index), x.shape[1]):
        part = FUNCTIONS["where"](named, given * factors.select(1, t).unsqueeze(1), 0.0)  # type: ignore[attr-defined, operator]
        total = total.scatter_add(2, at, part)
    return total._value()  # type: ignore[no-any-return]


@hot
def _products(x: Value, weight: Value, index: Value) -> Value:
    made = _by_kernel("products", index.shape, x, weight, index, x.shape[2])
    return _products_elsewhere(x, weight, index) if made is None else made


def _products_elsewhere(x: Value, weight: Value, index: Value) -> Value:
    rows, factors = wrap(x), wrap(weight)
    made = []
    for _, at, named in _taps(wrap(index), x.shape[1]):
        found = FUNCTIONS["where"](named, rows.gather(2, at), 0.0)  # type: ignore[attr-defined]
        made.append((found * factors).sum(1))
    return FUNCTIONS["stack"](made, 1)._value()  # type: ignore[no-any-return]


def _either(op: Operator, *operands: Any, **args: Any) -> Any:
    """Apply an operator to tensors or to bare values, whichever the first is; the index may be a value in any case."""
    if operands[0].__class__ is Value:
        return op.forward(*operands, **args)
    return op.apply([wrap(t) if t.__class__ is Value else t for t in operands], **args)


# out[n, c, o] = sum over t of weight[n, t, o] * x[n, c, index[n, t, o]].
PICK = operator(
    "picked_sums",
    _pick,
    tensors=("x", "weight", "index"),
    grads={
        "x": lambda g, weight, index, x_shape: _either(SPREAD, g, weight, index, size=x_shape[2]),
        "weight": lambda g, x, index: _either(PRODUCTS, x, g, index),
    },
    anywhere=True,
)
# The elements of x (N, C, O), times the weights, added up where an index names them, in rows of `size`.
SPREAD = operator(
    "spread_sums",
    _spread,
    tensors=("x", "weight", "index"),
    grads={
        "x": lambda g, weight, index: _either(PICK, g, weight, index),
        "weight": lambda g, x, index: _either(PRODUCTS, g, x, index),
    },
    anywhere=True,
)
# out[n, t, o] = sum over c of weight[n, c, o] * x[n, c, index[n, t, o]].
PRODUCTS = operator(
    "picked_products",
    _products,
    tensors=("x", "weight", "index"),
    grads={
        "x": lambda g, weight, index, x_shape: _either(SPREAD, weight, g, index, size=x_shape[2]),
        "weight": lambda g, x, index: _either(PICK, x, g, index),
    },
    anywhere=True,
)
