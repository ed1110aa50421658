"""Gradients of 3 x 3 convolutions by the weight, in fewer multiplications (`codegen.winograd_weight`)."""

from __future__ import annotations

import struct

from ..native import hot
from . import array as arrays
from . import pool
from .array import Array
from .convolution_kernels import ITEM_BYTES, SERIAL_WORK, kernel, many_registers, width_of
from .convolution_layout import Problem, share
from .scratch import aligned, slots_of
from .winograd import PRODUCTS, READING, WORTH, directly, fits, kept_plan, tile_vectors

VECTORS = 3  # of tiles, that a work item reads at a time
PART = 64  # outputs, and channels, of a work item: tiles of both and the sums stay in the second cache
CHUNKS = 16  # of runs of tiles, that are summed by themselves
PARTIAL_ELEMENTS = 1 << 20  # of all their sums
IN_ORDER = ((0, 0), (1, 1), (2, 2))
FEWEST = 8  # vectors of tiles, with which putting sums together takes little beside making them


class _Plan:
    __slots__ = ("kernel", "finish", "words", "finish_words", "partials", "shape", "items", "finish_items", "grain",
                 "finish_grain", "slots", "slot_bytes", "work")  # fmt: skip


_plans: dict[tuple, _Plan | None] = {}


def _across(p: Problem) -> int:
    """Channels of a tile: as many as there are registers for, or fewer that leave less unused."""
    part = min(p.channels, PART)
    return min((12, 8) if many_registers() else (6, 4), key=lambda n: -(-part // n) * n)


def _suits(p: Problem) -> bool:
    if not fits(p) or any(axis.taps != IN_ORDER for axis in p.axes[1:]):
        return False
    block = 2 * width_of(p.kind)
    across = _across(p)
    outputs, channels = -(-p.outputs // block) * block, -(-p.channels // across) * across
    vectors = tile_vectors(p)
    each = 1.15 * PRODUCTS * channels * outputs
    each += READING * (-(-outputs // PART) * p.channels + -(-channels // PART) * outputs)
    return vectors >= FEWEST and vectors * each < WORTH * directly(p) * p.channels * p.outputs


def _planned(p: Problem, threads: int) -> _Plan:
    _, h, w = p.axes
    width, size = width_of(p.kind), ITEM_BYTES[p.kind]
    block, across = 2 * width, _across(p)
    run, row = VECTORS * width, (VECTORS + 1) * width
    tiles_h, tiles_w = -(-h.count // 2), -(-w.count // 2)
    tiles = p.images * tiles_h * tiles_w
    runs, blocks, rows = -(-tiles // run), -(-p.outputs // block), -(-p.channels // across) * across
    # Runs and chunks of them depend on sizes alone, so that results do not depend on the number of threads.
    each = p.groups * PRODUCTS * blocks * block * rows
    chunks = max(1, min(CHUNKS, runs, PARTIAL_ELEMENTS // each))
    chunk_runs = -(-runs // chunks)
    chunks = -(-runs // chunk_runs)
    per_part, channels_per_part = share(p.outputs, PART, block), share(p.channels, PART, across)
    # Enough items for all threads; each reads the tiles of its channels, and those of its outputs.
    while chunks * p.groups * -(-p.outputs // per_part) * -(-p.channels // channels_per_part) < 4 * threads > 4:
        if per_part > block and per_part >= channels_per_part:
            per_part = share(p.outputs, per_part // 2, block)
        elif channels_per_part > 2 * across:
            channels_per_part = share(p.channels, channels_per_part // 2, across)
        else:
            break
    parts, channel_parts = -(-p.outputs // per_part), -(-p.channels // channels_per_part)
    # From product to product: not a multiple of a page, as these would share a set of the cache.
    step, g_step = channels_per_part * row + 16, per_part * row + 16
    plan = _Plan()
    g_at = aligned((4 * width + PRODUCTS * step + width) * size)
    plan.slots, plan.slot_bytes = threads, g_at + aligned((PRODUCTS * g_step + 4 * width * width) * size)
    xn, xc, _, xh, _ = p.x_strides
    gn, gc, _, gh, _ = p.out_strides
    words = (
        plan.slots, plan.slot_bytes, g_at, step, g_step, chunk_runs, runs, p.groups, parts, per_part, p.outputs,
        channel_parts, channels_per_part, p.channels, blocks, rows, tiles, tiles_h, tiles_w, xn, xc, xh, h.size,
        w.size, h.pad, w.pad, gn, gc, gh, h.count, w.count,
    )  # fmt: skip
    plan.words = struct.pack(f"={len(words)}q", *words)
    plan.finish_words = struct.pack("=5q", chunks, p.groups, blocks, rows, p.channels)
    plan.partials = (chunks, each)
    plan.shape = (1, p.groups, blocks, p.channels * 9, block)
    plan.items = chunks * p.groups * parts * channel_parts
    plan.work = tiles * PRODUCTS * p.groups * p.outputs * p.channels
    plan.grain = max(1, SERIAL_WORK * plan.items // max(plan.work, 1))
    plan.finish_items = p.groups * blocks * p.channels
    plan.finish_grain = max(1, SERIAL_WORK // (PRODUCTS * block * chunks))
    plan.kernel = kernel("winograd weight", p.kind, VECTORS, across)
    plan.finish = kernel("winograd finish", p.kind)
    return plan


@hot
def gradient(p: Problem, x: int, g: int, dtype: object) -> Array | None:
    """The gradient by the weight as `convolution.weight_partials` gives it, in one part; None where another way has to.

    Where something is not finite, the result may have more that is not.
    """
    plan = kept_plan(_plans, p, pool.get_num_threads(), _suits, _planned)
    if plan is None or not plan.kernel.available(plan.work) or not plan.finish.available(plan.work):
        return None
    partial, made = arrays.empty(plan.partials, dtype), arrays.empty(plan.shape, dtype)
    scratch = slots_of(plan.slots, plan.slot_bytes)
    args = struct.pack("=4q", x, g, partial.ptr, scratch.ptr) + plan.words
    pool.launch(plan.kernel.address, args, plan.items, plan.grain)
    args = struct.pack("=2q", partial.ptr, made.ptr) + plan.finish_words
    pool.launch(plan.finish.address, args, plan.finish_items, plan.finish_grain)
    return made
