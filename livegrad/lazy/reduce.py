"""Reductions of values: how they are cut into pieces, and launched with the pending work that feeds them."""

from __future__ import annotations

import math
import struct
from typing import Any

from .. import dtypes, native
from ..codegen import kernels
from ..codegen.layout import COLUMN_BLOCK, CONTIGUOUS, REDUCTIONS, SCALAR, STRIDED
from ..devices import cpu
from ..native import hot, slotted
from ..observe import WATCH
from ..runtime import array as arrays
from ..runtime import interpreter, pool
from ..runtime.array import Array, numel
from . import backend, log, value
from .batch import BATCH
from .evaluate import evaluate, finish, lock
from .fuse import fused_source
from .plans import GRAIN, MAX_PLANS, STREAM_BYTES, finish_outside, layouts
from .program import broadcast_strides, linearize, merged_dims
from .value import Value

SEGMENT = 16384  # elements that one partial result stands for
SEGMENT_ROWS, FEWEST_ROWS = 128, 16  # at most, and at least where there is work for several threads
SHARES = 24  # items that are enough for the threads to share the work


@slotted
class ReducePlan:
    """Everything about running a reduction that follows from its code and the layouts of its leaves.

    partial: shape of the partial results, None where there is a single segment. count: how many elements each result is
    made of. divides: whether the kernel divides by that.
    """

    __slots__ = ("kernel", "tail", "total", "grain", "elements", "partial", "count", "divides")


_reduce_plans: dict[tuple, ReducePlan] = kernels.holds_plans({})
# Those of a single segment, over an operand that lies in memory: by what is known without looking further.
_ready_plans: dict[tuple, ReducePlan] = kernels.holds_plans({})


@hot
def _left(shape: tuple, axes: tuple) -> tuple:
    """The shape without the axes that are reduced."""
    return tuple([n for d, n in enumerate(shape) if d not in axes]) if len(axes) < len(shape) else ()


@hot
def reduce(x: Value, name: str, axes: tuple, acc: dtypes.dtype, reason: str = "reduction") -> Value:
    """Reduce `x` over `axes` (which are dropped), taking the pending work that feeds it into the same kernel.

    name: one of `codegen.reduction.REDUCTIONS`. acc: dtype of accumulation and result.
    """
    if native.Start.left:
        native.launched()
    a = x.array
    if a is not None and WATCH.observer is None and a.device is cpu:
        plan = _ready_plans.get((name, acc, a.dtype, a.shape, axes, None if a.contiguous else a.strides))
        if plan is not None and kernels.Policy.mode != "never":
            return _again(a, plan, axes, acc)
    with lock:
        return value.from_array(reduce_array(x, name, axes, acc, reason, 0))


@hot
def _again(a: Array, plan: ReducePlan, axes: tuple, acc: dtypes.dtype) -> Value:
    """Reduce what is in memory as the like of it was reduced before."""
    made = arrays.empty(_left(a.shape, axes), acc)
    kernel = plan.kernel
    args = kernel.pack(made.ptr, a.ptr, plan.count) if plan.divides else kernel.pack(made.ptr, a.ptr)
    pool.enqueue(kernel.address, args + plan.tail, plan.total, plan.grain)
    if a.block.outside and pool.busy():
        pool.finish()
    return value.from_array(made)


@hot
def reduce_array(x: Value, name: str, axes: tuple, acc: dtypes.dtype, reason: str, count: int) -> Array:
    """count: how many elements a partial result that is reduced stands for, all together; 0 if it is not such."""
    shape = x.shape
    piece = fused_source(x, reason)
    if piece is None:
        leaves, code, params, source = [x], (), (), x.dtype
    else:
        leaves, code, params, source = piece.leaves, piece.code, piece.params, x.dtype
    observer = WATCH.observer
    token = None
    if observer is not None:
        token = observer.begin(name, () if piece is None else piece.nodes, leaves, (), shape, reason)
    out_shape = _left(shape, axes)
    if x.device is not cpu:
        made, how = _reduce_elsewhere(x, piece, name, axes, acc, out_shape)
        if observer is not None:
            observer.end(token, how)
        return made
    key = (name, acc, code, source, shape, axes, layouts(leaves, shape))
    plan = _reduce_plans.get(key)
    if plan is None:
        plan = _plan_reduce(leaves, code, source, shape, axes, name, acc, key, False)
    kernel = plan.kernel
    how = ""
    if kernel is None:  # nothing to reduce
        made = filled(out_shape, name, acc, x.device)
    elif not (kernel.address and kernels.Policy.mode != "never") and not kernel.available(plan.elements):
        how = "tier 0"
        made = interpret_reduction(x, piece, name, axes, acc, out_shape, count)
    else:
        made = arrays.empty(out_shape if plan.partial is None else plan.partial, acc)
        pointers = [leaf.array.ptr for leaf in leaves]
        if plan.divides:
            params = (*params, count or plan.count)
        args = kernel.pack(made.ptr, *pointers, *params) + plan.tail
        pool.enqueue(kernel.address, args, plan.total, plan.grain)
        finish_outside(leaves)
        if plan.partial is None and piece is None and not count:
            if len(_ready_plans) >= MAX_PLANS:
                _ready_plans.clear()
            a = x.array
            _ready_plans[name, acc, source, shape, axes, None if a.contiguous else a.strides] = plan
        if plan.partial is not None:
            # Combine the partial results the same way.
            again = reduce_array(value.from_array(made), name, (1,), acc, "partial results", count or plan.count)
            made = Array(again.block, 0, out_shape, arrays.contiguous_strides(out_shape), acc, True)
    if observer is not None:
        observer.end(token, how or log.origin(kernel))
    return made


def _reduce_elsewhere(x: Value, piece: Any, name: str, axes: tuple, acc: dtypes.dtype, out_shape: tuple) -> tuple:
    if x.device.type == "meta":
        return arrays.empty_on(x.device, out_shape, acc), "no data"
    from . import cuda_reduce  # it depends on this module, and is needed where there is such a device

    return cuda_reduce.run(x, piece, name, axes, acc, out_shape)


@hot
def reduce_and_keep(x: Value, name: str, axes: tuple, acc: dtypes.dtype) -> Value:
    """`reduce` of what will be read from memory as well: where little work makes `x`, one launch does both."""
    if native.Start.left:
        native.launched()
    with lock:
        made = None
        if x.array is None and x.device is cpu:
            made = _reduce_and_write(x, name, axes, acc)
        if made is None:
            if x.array is None:
                evaluate(x, "data read")
            made = reduce_array(x, name, axes, acc, "reduction", 0)
        return value.from_array(made)


@hot
def _reduce_and_write(x: Value, name: str, axes: tuple, acc: dtypes.dtype) -> Array | None:
    """Reduce a pending value and make it ready; None where that is better done in two launches."""
    shape = x.shape
    elements = numel(shape)
    if elements == 0 or elements * x.dtype.itemsize >= STREAM_BYTES:
        return None
    piece = linearize(x, evaluate)
    if x.array is not None or len(piece.outputs) != 1:
        return None
    for v in piece.relabels:
        if v is not x:
            return None
    if BATCH.jobs and BATCH.makes(piece.nodes):
        return None
    leaves, code = piece.leaves, piece.code
    key = (name, acc, code, x.dtype, shape, axes, layouts(leaves, shape), True)
    plan = _reduce_plans.get(key)
    if plan is None:
        plan = _plan_reduce(leaves, code, x.dtype, shape, axes, name, acc, key, True)
    kernel = plan.kernel
    if elements * kernel.cost > GRAIN and plan.total < SHARES:
        return None  # threads share more of it where it is computed by itself
    if not (kernel.address and kernels.Policy.mode != "never") and not kernel.available(elements):
        return None
    observer = WATCH.observer
    token = None
    if observer is not None:
        token = observer.begin(name, piece.nodes, leaves, piece.outputs, shape, "reduction")
    out_shape = _left(shape, axes)
    made = arrays.empty(out_shape if plan.partial is None else plan.partial, acc)
    written = arrays.empty(shape, x.dtype)
    pointers = [leaf.array.ptr for leaf in leaves]
    params = (*piece.params, plan.count) if plan.divides else piece.params
    args = kernel.pack(made.ptr, *pointers, written.ptr, *params) + plan.tail
    pool.enqueue(kernel.address, args, plan.total, plan.grain)
    finish_outside(leaves)
    finish(piece, [written])
    if plan.partial is not None:
        again = reduce_array(value.from_array(made), name, (1,), acc, "partial results", plan.count)
        made = Array(again.block, 0, out_shape, arrays.contiguous_strides(out_shape), acc, True)
    if observer is not None:
        observer.end(token, log.origin(kernel))
    return made


def filled(shape: tuple, name: str, acc: dtypes.dtype, device: Any) -> Array:
    """What a reduction of nothing gives."""
    number = math.nan if REDUCTIONS[name].divides else REDUCTIONS[name].identity(acc)
    return arrays.full_on(device, shape, acc, number)


def interpret_reduction(
    x: Value, piece: Any, name: str, axes: tuple, acc: dtypes.dtype, out_shape: tuple, count: int
) -> Array:
    made = arrays.empty_on(x.device, out_shape, acc)
    with backend.on(x.device):
        if piece is None:
            native = x.native()
        else:
            native = interpreter.broadcast(interpreter.run_piece(piece.nodes)[-1], x.shape)
        made.native()[...] = interpreter.reduce(name, native, axes, acc, count)
    return made


def _as_in_memory(shape: tuple, strides: list, axes: tuple) -> list[int]:
    """The dimensions in the order in which the largest operand has them in memory, as far as results are in order.

    So dimensions that are reduced may go anywhere, and those that are kept stay as they are among themselves.
    """
    spans = [numel(tuple([n for n, step in zip(shape, s) if step])) for s in strides]
    most = strides[spans.index(max(spans))] if spans else (0,) * len(shape)
    kept = [d for d in range(len(shape)) if d not in axes]
    order: list[int] = []
    for d in sorted(axes, key=lambda d: -abs(most[d])):
        while kept and abs(most[kept[0]]) >= abs(most[d]):
            order.append(kept.pop(0))
        order.append(d)
    return order + kept


def _plan_reduce(
    leaves: list, code: tuple, source: Any, shape: tuple, axes: tuple, name: str, acc: dtypes.dtype, key: tuple,
    writes: bool,
) -> ReducePlan:  # fmt: skip
    if len(_reduce_plans) >= MAX_PLANS:
        _reduce_plans.clear()
    plan = ReducePlan()
    elements = plan.elements = numel(shape)
    plan.kernel = plan.partial = None
    plan.count = numel(tuple([shape[d] for d in axes]))
    plan.divides = False
    if elements == 0:
        _reduce_plans[key] = plan
        return plan
    strides = [broadcast_strides(leaf.array, shape) for leaf in leaves]
    if writes:
        strides.append(arrays.contiguous_strides(shape))
    # What is written as well is written in the order of its own memory.
    order = list(range(len(shape))) if writes else _as_in_memory(shape, strides, axes)
    kinds = tuple("r" if d in axes else "k" for d in order)
    sizes, merged, labels = merged_dims(
        tuple([shape[d] for d in order]), [tuple([s[d] for d in order]) for s in strides], kinds
    )
    if not labels:
        sizes, labels, merged = [1], ["r"], [[0] for _ in strides]
    kept = [d for d, k in enumerate(labels[:-1]) if k == "k"]
    outer = [d for d, k in enumerate(labels[:-1]) if k == "r"]
    classes = tuple(CONTIGUOUS if m[-1] == 1 else SCALAR if m[-1] == 0 else STRIDED for m in merged)
    rows = labels[-1] == "r"
    inner = sizes[-1]
    outer_sizes = [sizes[d] for d in outer]
    outer_total = numel(tuple(outer_sizes))
    kept_sizes = [sizes[d] for d in kept]
    items = numel(tuple(kept_sizes))
    if rows:
        length, limit = (max(1, SEGMENT // inner), outer_total) if outer else (SEGMENT, inner)
        if limit < 2 * length:
            length = limit
        segments = -(-limit // length)
        plan.partial = (items, segments)
        head = [inner, segments, length]
        plan.total = items * segments
    else:
        blocks = -(-inner // COLUMN_BLOCK)
        length = SEGMENT_ROWS
        if elements >= GRAIN:
            wanted = -(-SHARES // (items * blocks))
            length = max(FEWEST_ROWS, min(SEGMENT_ROWS, outer_total // wanted))
        if outer_total < 2 * length:
            length = outer_total
        segments = -(-outer_total // length)
        plan.partial = (items, segments, inner)
        head = [inner, blocks, segments, length]
        plan.total = items * segments * blocks
    if segments == 1:
        plan.partial = None
    else:
        name = REDUCTIONS[name].parts
    scheme = "rows" if rows else "columns"
    plan.kernel = kernel = kernels.reduce_kernel(
        scheme, name, acc, code, source, classes, len(kept), len(outer), writes
    )
    plan.divides = REDUCTIONS[name].divides
    words = [*head, *kept_sizes, *arrays.contiguous_strides(tuple(kept_sizes)), *outer_sizes, outer_total]
    for m in merged:
        words += [m[d] for d in kept]
    for m in merged:
        words += [m[d] for d in outer]
    words += [m[-1] for m in merged]
    plan.tail = struct.pack(f"={len(words)}q", *words)
    plan.grain = GRAIN // (max(1, elements // plan.total) * kernel.cost) + 1
    _reduce_plans[key] = plan
    return plan
