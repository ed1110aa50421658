"""Computing running totals: how the operand is laid out, and by kernel or by NumPy."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from .. import dtypes
from ..codegen import kernels
from ..codegen.layout import CONTIGUOUS, SCALAR, SCAN_COLUMNS, STRIDED, running_dtype, scan_width
from ..devices import cpu
from ..native import hot
from ..observe import WATCH
from ..runtime import array as arrays
from ..runtime import interpreter, pool
from ..runtime.array import Array, numel
from . import backend, log, turned, value
from .evaluate import lock
from .fuse import fused_source
from .plans import GRAIN, MAX_PLANS, finish_outside, layouts
from .program import broadcast_strides, merged_dims
from .value import Value


@hot
def run(x: Value, name: str, dim: int, out: dtypes.dtype, backwards: bool = False) -> Value:
    """Running totals of `x` along `dim`, with the pending work that feeds it. name: one of `codegen.layout.SCANS`."""
    with lock:
        shape = x.shape
        piece = fused_source(x, "running totals")
        leaves, code, params = ([x], (), ()) if piece is None else (piece.leaves, piece.code, piece.params)
        observer = WATCH.observer
        token = None
        if observer is not None:
            token = observer.begin(name, () if piece is None else piece.nodes, leaves, (), shape, "running totals")
        made = arrays.empty_on(x.device, shape, out)
        how = "filled"
        if numel(shape):
            how = _fill(made, x, piece, leaves, code, params, name, dim, backwards)
        if observer is not None:
            observer.end(token, how)
        return value.from_array(made)


class Plan:
    """What follows from the kind of totals, the operand's code and its layout: the kernel and how it is launched."""

    __slots__ = ("kernel", "tail", "total", "grain", "elements")


_plans: dict[tuple, Plan] = kernels.holds_plans({})


@hot
def _fill(
    made: Array, x: Value, piece: Any, leaves: list, code: tuple, params: tuple, name: str, dim: int, backwards: bool
) -> str:
    if x.device is not cpu:
        return _fill_elsewhere(made, x, piece, leaves, code, params, name, dim, backwards)
    shape = x.shape
    if dim == len(shape) - 1:
        which = turned.turned_leaves(leaves)
        if which:
            leaves = turned.in_order(leaves, which)
    key = (name, code, x.dtype, made.dtype, shape, dim, backwards, layouts(leaves, shape))
    plan = _plans.get(key)
    if plan is None:
        plan = _plan(made, x, leaves, code, name, dim, backwards, key)
    kernel = plan.kernel
    if not (kernel.address and kernels.Policy.mode != "never") and not kernel.available(plan.elements):
        return _tier0(made, x, piece, name, dim, backwards)
    args = kernel.pack(made.ptr, *[leaf.array.ptr for leaf in leaves], *params) + plan.tail
    pool.enqueue(kernel.address, args, plan.total, plan.grain)
    finish_outside(leaves)
    return log.origin(kernel)


def _fill_elsewhere(
    made: Array, x: Value, piece: Any, leaves: list, code: tuple, params: tuple, name: str, dim: int, backwards: bool
) -> str:
    if x.device.type == "meta":
        return "no data"
    from . import cuda_scan  # it depends on this module's neighbours, and is needed where there is such a device

    found = cuda_scan.run(made, x, leaves, code, params, name, dim, backwards)
    return _tier0(made, x, piece, name, dim, backwards) if found is None else found


def _plan(
    made: Array, x: Value, leaves: list, code: tuple, name: str, dim: int, backwards: bool, key: tuple
) -> Plan:  # fmt: skip
    if len(_plans) >= MAX_PLANS:
        _plans.clear()
    plan = Plan()
    shape = x.shape
    strides = [broadcast_strides(leaf.array, shape) for leaf in leaves]
    # The dimension that is walked stays by itself, whatever its size; rows of one element are walked side by side.
    split = dim if shape[dim] > 1 else 0
    parts = []
    for dims in (range(split), [d for d in range(split, len(shape)) if d != dim]):
        layouts = [tuple([s[d] for d in dims]) for s in (arrays.contiguous_strides(shape), *strides)]
        parts.append(merged_dims(tuple([shape[d] for d in dims]), layouts))
    (before, before_strides, _), (after, after_strides, _) = parts
    across = bool(after)
    kept = [*before, *after[:-1]]
    inner = after[-1] if across else shape[dim]
    steps = [arrays.contiguous_strides(shape)[dim], *(s[dim] for s in strides)]
    rows = [[*before_strides[k], *after_strides[k][:-1]] for k in range(1 + len(strides))]
    inner_strides = [after_strides[k][-1] if across else steps[k] for k in range(1 + len(strides))]
    classes = tuple(CONTIGUOUS if s == 1 else SCALAR if s == 0 else STRIDED for s in inner_strides[1:])
    kernel = kernels.scan_kernel(name, code, x.dtype, made.dtype, classes, len(kept), across, backwards)
    elements = numel(shape)
    words = [inner]
    total = numel(tuple(kept))
    if across:
        blocks = -(-inner // (SCAN_COLUMNS * scan_width(code, len(leaves), x.dtype, made.dtype)))
        words.append(blocks)
        total *= blocks
    words += [*kept, shape[dim], steps[0], *rows[0]]
    for k in range(1, 1 + len(strides)):
        words += [*rows[k], steps[k], inner_strides[k]]
    plan.kernel = kernel
    plan.tail = struct.pack(f"={len(words)}q", *words)
    plan.total = total
    plan.elements = elements
    plan.grain = GRAIN // (max(1, elements // total) * kernel.cost) + 1
    _plans[key] = plan
    return plan


_FUNCTIONS = {"cumsum": np.add, "cumprod": np.multiply, "cummax": np.maximum, "cummin": np.minimum}


def _tier0(made: Array, x: Value, piece: Any, name: str, dim: int, backwards: bool) -> str:
    with backend.on(x.device):
        native = x.native() if piece is None else interpreter.run_piece(piece.nodes)[-1]
        _numpy(made.native(), interpreter.broadcast(native, x.shape), name, dim, running_dtype(x.dtype), backwards)
    return "tier 0"


def _numpy(target: Any, a: Any, name: str, dim: int, acc: dtypes.dtype, backwards: bool) -> None:
    if backwards:
        a, target = np.flip(a, dim), np.flip(target, dim)
    with np.errstate(all="ignore"):
        target[...] = _FUNCTIONS[name].accumulate(a, axis=dim, dtype=acc.np)
