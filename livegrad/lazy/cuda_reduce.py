"""Reductions on CUDA devices: which launch one takes, and what it is given."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..codegen.gpu import reductions
from ..codegen.gpu.space import Layout
from ..devices import cpu
from ..runtime.array import Array, numel
from ..runtime.cuda import driver, memory
from . import cuda, log
from .plans import MAX_PLANS
from .program import broadcast_strides, merged_dims
from .reduce import filled, interpret_reduction
from .value import Value, from_array

_plans: dict[tuple, reductions.Plan] = {}


def layouts(leaves: list[Value]) -> tuple:
    """How leaves lie (see `cuda.NUMBER`)."""
    return tuple(
        cuda.NUMBER if v.array.device is cpu else (v.array.shape, v.array.strides)  # type: ignore[union-attr]
        for v in leaves
    )


def alignment(leaves: list[Value]) -> int:
    """The largest power of two, at most 16, that divides the addresses of leaves of several elements."""
    low = 16
    for v in leaves:
        a: Array = v.array  # type: ignore[assignment]
        if a.device is not cpu and numel(a.shape) != 1:
            low |= memory.address(a)
    return low & -low


def arrange(leaves: list[Value], shape: tuple, axes: tuple, more: tuple = ()) -> tuple[Layout, bool]:
    """The layout of leaves over an index space, and whether its innermost dimension is kept.

    axes: the reduced dimensions. more: strides over the shape of further operands.
    """
    numbers = [v.array.device is cpu for v in leaves]  # type: ignore[union-attr]
    own = [(0,) * len(shape) if n else broadcast_strides(v.array, shape) for n, v in zip(numbers, leaves)]
    kinds = tuple("r" if d in axes else "k" for d in range(len(shape)))
    sizes, merged, labels = merged_dims(shape, [*own, *more], kinds)
    strides = [None if k < len(numbers) and numbers[k] else m for k, m in enumerate(merged)]
    return Layout(sizes, labels, strides), bool(labels) and labels[-1] == "k"


def run(
    x: Value, piece: Any, name: str, axes: tuple, acc: dtypes.dtype, out_shape: tuple, count: int = 0
) -> tuple[Array, str]:
    """The result of a reduction, and how it was made (for the log). piece: the pending work that feeds it, or None.

    count: how many elements partial results stand for, all together; 0 if x holds no such.
    """
    shape = x.shape
    if not numel(shape):
        return filled(out_shape, name, acc, x.device), ""
    leaves, code, params = ([x], (), ()) if piece is None else (piece.leaves, piece.code, piece.params)
    index = x.device.index
    count = count or numel(tuple([shape[d] for d in axes]))
    aligned = alignment(leaves)
    key = (name, acc, code, x.dtype, shape, axes, layouts(leaves), count, aligned)
    plan = _plans.get(key)
    if plan is None:
        layout, columns = arrange(leaves, shape, axes)
        plan = reductions.plan(name, acc, code, x.dtype, layout, columns, count, aligned)
        if len(_plans) >= MAX_PLANS:
            _plans.clear()
        _plans[key] = plan
    kernel = plan.launch.kernel
    if not driver.loadable(kernel, index):
        return interpret_reduction(x, piece, name, axes, acc, out_shape, count), "tier 0"
    made = memory.empty(out_shape if plan.segments == 1 else (plan.segments, numel(out_shape)), acc, x.device)
    args = kernel.pack(memory.address(made), *map(cuda.word, leaves), *params) + plan.launch.tail
    driver.launch(plan.launch, index, args)
    if plan.segments > 1:
        again, _ = run(from_array(made), None, name, (0,), acc, (numel(out_shape),), count)
        made = memory.again(again, out_shape, acc)
    return made, log.origin(kernel)
