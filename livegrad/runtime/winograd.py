"""Convolutions in fewer multiplications (`codegen.winograd`): which ones, in which pieces, and the launch."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from ..llvm import machine
from ..native import hot
from . import pool
from .convolution_kernels import ITEM_BYTES, SERIAL_WORK, blocks_for, kernel, width_of
from .convolution_layout import Problem, equal_parts
from .memory import allocate
from .raw import peek
from .scratch import aligned, slots_of

PRODUCTS = 16
NOTHING = bytes(8)
CHAIN = 32  # channels that are summed in one go: the error is no larger than the direct way's
MOST_OUTPUTS = 128  # of a work item: its sums stay in the second cache
# Cycles, where a multiply-add of a vector takes one: what a vector of tiles takes to be read, for each channel; to be
# written, for each output; and what each number of the weight takes.
READING, WRITING, WEIGHT = 80, 50, 19
WORTH = 0.95  # of the direct way's cycles, at most


class _Plan:
    """What follows from a problem: kernels and packed words."""

    __slots__ = ("kernel", "order", "words", "order_words", "weight_bytes", "items", "grain", "order_items", "slots",
                 "slot_bytes", "work")  # fmt: skip


_plans: dict[tuple, _Plan | None] = {}
MAX_PLANS = 4096


def fits(p: Problem) -> bool:
    """Whether the window has 3 x 3 places next to each other, and rows are contiguous."""
    d, h, w = p.axes
    if machine.host_vector_bytes() < 32 or (d.size, d.count, d.pad, d.start, d.taps) != (1, 1, 0, 0, ((0, 0),)):
        return False
    for axis in (h, w):
        if (axis.step, axis.start, axis.stride) != (1, 0, 1) or sorted(t for _, t in axis.taps) != [0, 1, 2]:
            return False
    return p.x_strides[4] == 1 and p.out_strides[4] == 1


def directly(p: Problem) -> float:
    """Cycles of the direct way for each input channel and output, about."""
    return 9 * p.images * p.axes[1].count * p.axes[2].count / width_of(p.kind)


def tile_vectors(p: Problem) -> float:
    """How many vectors the tiles of all images fill."""
    return p.images * -(-p.axes[1].count // 2) * -(-p.axes[2].count // 2) / width_of(p.kind)


def _suits(p: Problem) -> bool:
    """Whether a convolution can be, and is worth being done this way."""
    if not fits(p):
        return False
    block, _ = blocks_for(p.outputs)
    outputs = -(-p.outputs // block) * block
    parts = -(-outputs // MOST_OUTPUTS)
    products = p.channels * outputs
    each = 1.1 * PRODUCTS * products + READING * parts * p.channels + WRITING * p.outputs
    return tile_vectors(p) * each + WEIGHT * products < WORTH * directly(p) * products


def kept_plan(plans: dict, p: Problem, threads: int, suits: Callable, make: Callable) -> Any:
    """The plan of a problem, made if there is none in `plans` yet; None for problems that do not suit."""
    key = (p, threads)
    if key not in plans:
        if len(plans) >= MAX_PLANS:
            plans.clear()
        plans[key] = make(p, threads) if suits(p) else None
    return plans[key]


def _planned(p: Problem, threads: int) -> _Plan:
    _, h, w = p.axes
    block, vectors = blocks_for(p.outputs)
    width, size = width_of(p.kind), ITEM_BYTES[p.kind]
    tile, row = vectors * width, (vectors + 1) * width
    tiles_h, tiles_w = -(-h.count // 2), -(-w.count // 2)
    tiles = p.images * tiles_h * tiles_w
    chunk = equal_parts(p.channels, CHAIN)
    blocks = -(-p.outputs // block)
    per_part = equal_parts(blocks, max(1, MOST_OUTPUTS // block))
    runs = -(-tiles // tile) * p.groups
    while runs * -(-blocks // per_part) < 2 * threads and per_part > 1 and threads > 1:
        per_part = equal_parts(blocks, per_part // 2)
    parts = -(-blocks // per_part)
    # From product to product: not a multiple of a page, as these would share a set of the cache.
    step, sums_step = chunk * row + 16, per_part * block * tile + 16
    plan = _Plan()
    sums_at = aligned((4 * width + PRODUCTS * step + width) * size)
    plan.slots, plan.slot_bytes = threads, sums_at + aligned((PRODUCTS * sums_step + width) * size)
    xn, xc, _, xh, _ = p.x_strides
    on, oc, _, oh, _ = p.out_strides
    words = (
        plan.slots, plan.slot_bytes, sums_at, step, sums_step, p.groups, parts, per_part, blocks, p.outputs, p.channels,
        chunk, tiles, tiles_h, tiles_w, xn, xc, xh, h.size, w.size, h.pad, w.pad, on, oc, oh, h.count, w.count,
    )  # fmt: skip
    plan.words = struct.pack(f"={len(words)}q", *words)
    rows, columns = (sorted(axis.taps, key=lambda tap: tap[1]) for axis in (h, w))
    taps = [i * p.w_taps[1] + j * p.w_taps[2] for i, _ in rows for j, _ in columns]
    plan.order_words = struct.pack("=15q", blocks, p.outputs, p.channels, *p.w_strides, *taps)
    plan.weight_bytes = p.groups * PRODUCTS * blocks * block * p.channels * size
    plan.order_items = p.groups * blocks
    plan.items = runs * parts
    plan.work = tiles * p.groups * p.outputs * p.channels * PRODUCTS
    plan.grain = max(1, SERIAL_WORK * plan.items // max(plan.work, 1))
    plan.kernel = kernel("winograd", p.kind, block, vectors)
    plan.order = kernel("winograd order", p.kind, block)
    return plan


@hot
def convolve(p: Problem, x: int, w: int, bias: int, out: int) -> bool:
    """Run a convolution as `convolution.convolve` does; False where another way has to, and what is there is of no use.

    That is so as well where the result is not finite: infinities and NaN spread here further than they should.
    """
    plan = kept_plan(_plans, p, pool.get_num_threads(), _suits, _planned)
    if plan is None or not plan.kernel.available(plan.work) or not plan.order.available(plan.work):
        return False
    weight, mark = allocate(plan.weight_bytes), allocate(64)
    pool.write(mark.ptr, NOTHING)
    args = struct.pack("=2q", w, weight.ptr) + plan.order_words
    pool.launch(plan.order.address, args, plan.order_items, max(1, 100_000 * plan.order_items // plan.weight_bytes))
    scratch = slots_of(plan.slots, plan.slot_bytes)
    args = struct.pack("=6q", x, weight.ptr, bias, out, scratch.ptr, mark.ptr) + plan.words
    pool.launch(plan.kernel.address, args, plan.items, plan.grain)
    return peek(mark.ptr, 8) == NOTHING
