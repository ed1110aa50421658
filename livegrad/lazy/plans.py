"""Plans: all about running an elementwise program that follows from its code and the layouts of its leaves."""

from __future__ import annotations

import struct
from typing import Any

from ..codegen import kernels
from ..codegen.layout import CONTIGUOUS, MAX_PERIOD, PERIODIC, SCALAR, STRIDED
from ..native import hot, slotted
from ..runtime import array as arrays
from ..runtime import caches, pool
from ..runtime.array import numel
from . import turned
from .program import broadcast_strides, flat, merged_dims
from .value import Value

# A result at least this large is written past the caches, which saves reading the lines that it overwrites. That pays
# once it would not stay there anyway: from 12 MB on with 32 MB of last-level cache, and from about 64 MB on with 480 MB
# (copying 16 MB there gains nothing, and whoever reads the result next has to fetch it from memory).
STREAM_BYTES = max(12 << 20, caches.LAST_LEVEL // 8)
# Work items that are worth a thread: elements times operators.
GRAIN = 1 << 16
MAX_PLANS = 20_000  # of one kind that are kept


@slotted
class MapPlan:
    """Everything about running an elementwise program that follows from its code and the layouts of its leaves.

    alone: with so few work items it is not worth waiting for other launches. turned: leaves to copy (`lazy.turned`), so
    that there is another plan, whose kernel reads the copies; this one has none. noted: whether `single` was
    told of it.
    """

    __slots__ = (
        "kernel", "tail", "total", "grain", "alone", "elements", "classes", "strides", "dtypes", "sizes", "turned",
        "noted",
    )  # fmt: skip


# Plans by code and layout. A step with the structure and sizes of an earlier one pays for no analysis.
MAP_PLANS: dict[tuple, MapPlan] = kernels.holds_plans({})


@hot
def finish_outside(leaves: list[Value]) -> None:
    """Have the work that was just launched done now, if some of what it reads is visible from outside."""
    if pool.busy():
        for leaf in leaves:
            if leaf.array.block.outside:  # type: ignore[union-attr]
                pool.finish()
                return


@hot
def layouts(leaves: list[Value], shape: tuple) -> tuple:
    """Per leaf None if it is read in the order of its memory, else its own shape and strides."""
    found = []
    for leaf in leaves:
        a = leaf.array
        found.append(None if flat(a, shape) else (a.shape, a.strides))  # type: ignore[union-attr]
    return tuple(found)


def plan_map(piece: Any, shape: tuple, key: tuple) -> MapPlan:
    if len(MAP_PLANS) >= MAX_PLANS:
        MAP_PLANS.clear()
    plan = MapPlan()
    plan.noted = False
    plan.turned = turned.turned_leaves(piece.leaves)
    if plan.turned:
        MAP_PLANS[key] = plan
        return plan
    n = numel(shape)
    last = piece.nodes[-1].dtype
    classes = []
    for leaf in piece.leaves:
        a = leaf.array
        if flat(a, shape):
            classes.append(CONTIGUOUS)
        elif numel(a.shape) == 1:
            classes.append(SCALAR)
        else:
            classes.append(STRIDED)
    plan.elements = n
    plan.strides = arrays.contiguous_strides(shape)
    plan.dtypes = [piece.nodes[j].dtype for j in piece.outputs]
    plan.sizes = [n * d.itemsize for d in plan.dtypes]
    period = 0
    if STRIDED in classes:
        found = _periodic(piece, shape)
        if found is not None:
            classes, period = found
    if STRIDED not in classes:
        streaming = n * last.itemsize >= STREAM_BYTES
        plan.kernel = kernels.map_kernel(piece.code, piece.outputs, tuple(classes), 0, streaming)
        plan.tail = struct.pack("=q", period) if period else b""
        plan.total = n
        grain = (GRAIN // plan.kernel.cost + 1024) & -1024
        plan.grain = -(-n // (1024 * -(-n // grain))) * 1024 if n else grain  # pieces of about the same size
        plan.classes = classes
    else:
        plan.kernel, words, plan.total, per_item = _strided(piece, shape)
        plan.tail = struct.pack(f"={len(words)}q", *words)
        plan.grain = GRAIN // (max(per_item, 1) * plan.kernel.cost) + 1
        plan.classes = None
    plan.alone = plan.grain >> 3
    MAP_PLANS[key] = plan  # now that it is complete: an interruption leaves no half of one
    return plan


def _periodic(piece: Any, shape: tuple) -> tuple[list, int] | None:
    """(classes, period) where all leaves but a few short ones, read over and over, are contiguous or one element."""
    strides = [broadcast_strides(leaf.array, shape) for leaf in piece.leaves]
    sizes, merged, _ = merged_dims(shape, strides)
    if len(sizes) != 2 or sizes[1] > MAX_PERIOD:
        return None
    known = {(sizes[1], 1): CONTIGUOUS, (0, 1): PERIODIC, (0, 0): SCALAR}
    classes = [known.get(tuple(m), STRIDED) for m in merged]
    return None if STRIDED in classes else (classes, sizes[1])


def _strided(piece: Any, shape: tuple) -> tuple:
    """Kernel and layout words of a program whose leaves are broadcast or strided."""
    strides = [broadcast_strides(leaf.array, shape) for leaf in piece.leaves]
    sizes, merged, _ = merged_dims(shape, strides)
    if not sizes:
        sizes, merged = [1], [[0] for _ in strides]
    classes = tuple(CONTIGUOUS if m[-1] == 1 else SCALAR if m[-1] == 0 else STRIDED for m in merged)
    rank = len(sizes)
    kernel = kernels.map_kernel(piece.code, piece.outputs, classes, rank, False)
    words = [sizes[-1], *sizes[:-1]]
    for m in merged:
        words += m
    total = numel(tuple(sizes[:-1]))
    return kernel, tuple(words), total, sizes[-1]
