"""Copying what lies in memory in another order than it is read in, as a transposed matrix does.

Kernels read the innermost dimension fastest. Where its elements are far apart in memory, each of them costs a line of
the cache; a copy in the order of reading, made square by square, costs about as much as reading twice.
"""

from __future__ import annotations

import struct
from typing import Any

from ..codegen import kernels, turned
from ..devices import cpu
from ..native import hot, slotted
from ..runtime import array as arrays
from ..runtime import pool
from ..runtime.array import Array, numel
from .program import merged_dims
from .value import from_array

LEAST = 1 << 14  # elements; a few lines stay in the cache, however they are read
GRAIN = 1 << 16  # elements that are worth a thread


@slotted
class Plan:
    """How an array is copied."""

    __slots__ = ("kernel", "total", "tail", "grain")


_plans: dict[tuple, Plan | None] = {}
MAX_PLANS = 4096


@hot
def plan_of(array: Array) -> Plan | None:
    """How to copy the array square by square; None where that is no better than any other way."""
    if array.contiguous or array.device is not cpu or numel(array.shape) < LEAST:
        return None
    key = (array.shape, array.strides, array.dtype.itemsize)
    if key not in _plans:
        if len(_plans) >= MAX_PLANS:
            _plans.clear()
        _plans[key] = _plan(*key)
    return _plans[key]


def _plan(shape: tuple, strides: tuple, itemsize: int) -> Plan | None:
    sizes, (own, steps), _ = merged_dims(shape, [arrays.contiguous_strides(shape), strides])
    if itemsize not in turned.KINDS or 1 not in steps[:-1] or abs(steps[-1]) * itemsize < turned.LINE:
        return None
    d = steps.index(1)
    wide = turned.strip(itemsize)
    if sizes[d] < wide or sizes[-1] < turned.edge(itemsize):
        return None
    outer = [k for k in range(len(sizes) - 1) if k != d]
    made = Plan()
    made.kernel = turned.kernel(itemsize, len(sizes))
    strips = -(-sizes[d] // wide)
    words = [sizes[-1], sizes[d], strips, *(sizes[k] for k in outer)]
    words += [*(own[k] for k in outer), own[d], *(steps[k] for k in outer), steps[-1]]
    made.total = strips * numel(tuple([sizes[k] for k in outer]))
    made.tail = struct.pack(f"={len(words)}q", *words)
    made.grain = max(1, GRAIN // (wide * sizes[-1]))
    return made


@hot
def contiguous_copy(array: Array) -> Array:
    """A contiguous copy."""
    plan = None if array.contiguous else plan_of(array)
    if plan is None:
        return arrays.copied(array)
    kernel = plan.kernel
    if not (kernel.address and kernels.Policy.mode != "never") and not kernel.available(numel(array.shape)):
        return arrays.copied(array)
    made = arrays.empty(array.shape, array.dtype)
    pool.enqueue(kernel.address, kernel.pack(made.ptr, array.ptr) + plan.tail, plan.total, plan.grain)
    if array.block.outside:
        pool.finish()
    return made


@hot
def turned_leaves(leaves: list[Any]) -> tuple[int, ...]:
    """Which of them should be copied before a kernel reads them along their innermost dimensions."""
    return tuple(k for k, leaf in enumerate(leaves) if 0 not in leaf.array.strides and plan_of(leaf.array) is not None)


def in_order(leaves: list[Any], which: tuple[int, ...]) -> list[Any]:
    """The same, with copies of some."""
    made = list(leaves)
    for k in which:
        made[k] = from_array(contiguous_copy(leaves[k].array))
    return made
