"""Convolutions of arrays: which kernel, in which pieces, and the launch.

`codegen.conv` says what the kernels do, `convolution_layout` how a convolution is described to them.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from ..codegen.layout import CHAIN
from ..native import hot
from ..observe import library
from . import array as arrays
from . import pool, winograd, winograd_weight
from .array import Array, numel
from .convolution_kernels import ITEM_BYTES, SERIAL_WORK, blocks_for, kernel, many_registers, width_of
from .convolution_layout import (
    Axis,
    Problem,
    box_of,
    equal_parts,
    lay_out,
    runs_of,
    serves_as_it_is,
    share,
    simplified,
    weight_places,
)
from .memory import allocate
from .scratch import aligned, slots_of

# What a work item is made of. The sums of its outputs and places stay in the second cache, of which the smallest have
# half a megabyte; so does what it reads of the input at a time.
SUM_BYTES = 256 << 10
INPUT_BYTES = 128 << 10
MOST_OUTPUTS = 128
POINT_CHAIN = 64  # channels at a time where the window is one place
MOST_PLACES = 1024
MOST_USES = 8  # tiles that read a weight, up to which it is not worth being put in order
PACKING = 3  # cycles that packing a vector takes
GRADIENT_BYTES = 288 << 10  # of both that the gradient by the weight reads
CHUNKS = 16  # of boxes, in the gradient by the weight
PARTIAL_ELEMENTS = 1 << 20  # of all its partial results
PART = 128  # channels, on either side, that a work item of that gradient takes


def _is_packed(p: Problem, outputs: int, vectors: int, width: int) -> bool:
    """Whether what a tile reads is worth packing: by what the places between rows cost, and what packing does.

    In cycles for each tap and place: of a vector a multiply-add takes a half, and packing PACKING. Each row of a tile
    has one vector that is not full.
    """
    d, h, w = p.axes
    if all(len(a.taps) == 1 for a in p.axes):
        return False
    image = lay_out(p, 1, (d.count, h.count, w.count), 1, 1, False).image
    between = image / (d.count * h.count * w.count) - 1
    return PACKING * (1 / width + 1 / w.count) < between * outputs / (2 * width)


# --- the convolution --------------------------------------------------------------------------------------------


def _even_step(places: np.ndarray) -> int:
    """How far all places of a table are from the next, from 0 on; 0 where they are not."""
    flat = places.ravel()
    step = int(flat[1]) if flat.size > 1 else 1
    return step if np.array_equal(flat, np.arange(flat.size) * step) else 0


class _Plan:
    """What follows from a problem: kernels, tables, and the packed words."""

    __slots__ = ("kernel", "order", "offsets", "table", "words", "order_words", "weight_elements", "items", "grain",
                 "order_items", "slots", "slot_bytes", "work", "keep")  # fmt: skip


_plans: dict[tuple, _Plan] = {}
MAX_PLANS = 4096


def _plan(p: Problem, threads: int) -> _Plan:
    key = (p, threads)
    plan = _plans.get(key)
    if plan is not None:
        return plan
    q = simplified(p)
    block, vectors = blocks_for(q.outputs)
    tile = vectors * width_of(q.kind)
    size = ITEM_BYTES[q.kind]
    window = math.prod(len(a.taps) for a in q.axes)
    chunk = equal_parts(q.channels, CHAIN // window if window > 1 else POINT_CHAIN)
    blocks = -(-q.outputs // block)
    per_part = equal_parts(blocks, MOST_OUTPUTS // block)
    width = width_of(q.kind)
    direct = serves_as_it_is(q, tile)
    packed = _is_packed(q, block * per_part, vectors, width)
    direct = direct and not packed
    most = min(MOST_PLACES, SUM_BYTES // (size * block * per_part), INPUT_BYTES // (size * chunk))

    def cut(per_part: int, most: int) -> tuple:
        box = box_of(q, max(most, 2 * tile), tile)
        lay = lay_out(q, chunk, box, q.images, most, direct)
        boxes = [-(-a.count // n) for n, a in zip(box, q.axes)]
        return box, lay, boxes, -(-q.images // lay.group_images) * math.prod(boxes) * q.groups * -(-blocks // per_part)

    box, lay, boxes, items = cut(per_part, most)
    # Enough of them for all threads, as long as they are not too small to be worth the copy of their input.
    for enough, least_places, least_blocks in ((4 * threads, 8 * tile, -(-32 // block)), (threads, 2 * tile, 1)):
        while threads > 1 and items < enough and (most > least_places or per_part > least_blocks):
            if most > least_places:
                most = max(most // 2, least_places)
            else:
                per_part = equal_parts(blocks, max(per_part // 2, least_blocks))
            box, lay, boxes, items = cut(per_part, most)
    line = (lay.group_images - 1) * lay.image + (box[0] - 1) * lay.depth + (box[1] - 1) * lay.pitch + box[2]
    line = aligned(line + 2 * tile) + 16  # not a multiple of a page: lines would share a set of the cache
    pack_at = aligned((lay.per_channel * chunk + 2 * tile) * size) if lay.laid_out else 0
    lines_at = pack_at + (aligned(chunk * window * (tile + width) * size) if packed else 0)
    plan = _Plan()
    plan.slots, plan.slot_bytes = threads, aligned(lines_at + (block * per_part * line + 2 * tile) * size)
    on, oc, *steps = q.out_strides
    counts = [a.count for a in q.axes]
    plan.table = weight_places(q)
    w_step, x_step = _even_step(plan.table), _even_step(lay.offsets)
    uses = q.images * math.prod(a.count for a in q.axes) // tile
    # Neither packed nor in order, the taps of a round take more registers for addresses than 16 vectors leave.
    steps_known = packed or (bool(w_step and x_step) and many_registers())
    in_place = uses < MOST_USES and block >= 4 and q.outputs % block == 0 and steps_known
    words = (
        plan.slots, plan.slot_bytes, pack_at, lines_at, int(lay.laid_out), q.groups, -(-blocks // per_part), per_part,
        blocks, q.outputs, chunk, window, *q.w_strides[:2], w_step, x_step, on, oc, *steps, line, q.images, *counts,
        *box, *boxes, lay.depth, *lay.words,
    )  # fmt: skip
    plan.words = struct.pack(f"={len(words)}q", *words)
    plan.offsets = lay.offsets
    taps = plan.table.size
    chunks = -(-q.channels // chunk)
    run, falling = runs_of(plan.table)
    plan.order_words = struct.pack(
        "=9q", chunks, chunk * window, blocks, q.outputs, taps, *q.w_strides[:2], run, falling
    )  # fmt: skip
    plan.weight_elements = q.groups * blocks * taps * block
    plan.order_items = q.groups * chunks
    plan.items = items
    plan.work = q.images * q.groups * q.outputs * taps * math.prod(counts)
    plan.grain = max(1, SERIAL_WORK * plan.items // max(plan.work, 1))
    plan.kernel = kernel("forward", p.kind, block, vectors, packed, in_place)
    plan.order = None if in_place else kernel("order", p.kind, block)
    plan.keep = (plan.offsets.ctypes.data, plan.table.ctypes.data)
    if len(_plans) >= MAX_PLANS:
        _plans.clear()
    _plans[key] = plan
    return plan


@library("convolution")
@hot
def convolve(p: Problem, x: int, w: int, bias: int, out: int) -> bool:
    """Run a convolution on memory at these addresses; False, with nothing done, where there is no kernel (yet).

    bias: the address of one number per output channel of all groups.
    """
    if winograd.convolve(p, x, w, bias, out):
        return True
    plan = _plan(p, pool.get_num_threads())
    order = plan.order
    if not plan.kernel.available(plan.work) or (order is not None and not order.available(plan.work)):
        return False
    offsets, table = plan.keep
    weight = None
    if order is not None:
        weight = allocate(plan.weight_elements * ITEM_BYTES[p.kind])
        each = max(1, plan.weight_elements // plan.order_items)
        args = struct.pack("=3q", w, table, weight.ptr) + plan.order_words
        pool.launch(order.address, args, plan.order_items, max(1, 50_000 // each))
        w = weight.ptr
    scratch = slots_of(plan.slots, plan.slot_bytes)
    args = struct.pack("=7q", x, w, bias, out, offsets, table, scratch.ptr) + plan.words
    pool.launch(plan.kernel.address, args, plan.items, plan.grain)
    return True


# --- its gradient by the weight ---------------------------------------------------------------------------------


def _gradient_tile(p: Problem, width: int) -> tuple[int, int, bool]:
    """(outputs, taps, whether in the wide form) of a tile, by what is left unused."""
    many = many_registers()
    block = 2 * width
    if width > 1 and p.out_strides[4] == 1 and -(-p.outputs // block) * block <= 1.25 * p.outputs:
        return block, 12 if many else 6, True
    if p.outputs == 1:
        return 1, 9 if many else 6, False
    if p.outputs <= 4:
        return 4, 6 if many else 2, False
    return (8, 3, False) if many else (4, 2, False)


class _WeightPlan:
    __slots__ = ("kernel", "offsets", "words", "items", "grain", "slots", "slot_bytes", "work", "shape", "address")


_weight_plans: dict[tuple, _WeightPlan] = {}


def _weight_plan(p: Problem, threads: int) -> _WeightPlan:
    key = (p, threads)
    plan = _weight_plans.get(key)
    if plan is not None:
        return plan
    width = width_of(p.kind)
    block, across, wide = _gradient_tile(p, width)
    p = simplified(p)
    window = math.prod(len(a.taps) for a in p.axes)
    taps = p.channels * window
    tap_rows = -(-taps // across) * across
    tiles = -(-p.outputs // block)
    per_part = share(p.outputs, PART, block)
    channel_unit = across // math.gcd(across, window)
    channels_per_part = share(p.channels, PART, channel_unit)
    size = ITEM_BYTES[p.kind]
    phases = math.prod(a.step for a in p.axes)
    most = min(MOST_PLACES, GRADIENT_BYTES // (size * (per_part + channels_per_part * phases)))
    direct = serves_as_it_is(p, 0)
    box = box_of(p, most, 8 * width)
    lay = lay_out(p, p.channels, box, p.images, most, direct)
    boxes = [-(-a.count // n) for n, a in zip(box, p.axes)]
    all_boxes = -(-p.images // lay.group_images) * math.prod(boxes)
    # Boxes and chunks of them depend on sizes alone, so that results do not depend on the number of threads.
    chunks = max(1, min(CHUNKS, all_boxes, PARTIAL_ELEMENTS // (p.groups * tiles * block * tap_rows)))
    chunk_boxes = -(-all_boxes // chunks)
    chunks = -(-all_boxes // chunk_boxes)
    items = chunks * p.groups
    rows_d, rows_h, pitch = lay.rows
    if direct:  # as few places as lie between those of the box
        rows_d, rows_h = box[0], rows_h if box[0] > 1 else box[1]
        pitch = pitch if box[0] * box[1] > 1 else box[2]
    image = rows_d * rows_h * pitch
    # Enough items for all threads; each copies the input of its channels, and the gradient of its outputs.
    least = share(min(16, p.channels), 16, channel_unit)
    while threads > 1 and items * -(-p.outputs // per_part) * -(-p.channels // channels_per_part) < 4 * threads:
        if per_part > block and (per_part >= channels_per_part or channels_per_part <= least):
            per_part = share(p.outputs, per_part // 2, block)
        elif channels_per_part > least:
            channels_per_part = share(p.channels, channels_per_part // 2, channel_unit)
        else:
            break
    parts, channel_parts = -(-p.outputs // per_part), -(-p.channels // channels_per_part)
    # Lines start on vectors, and not all at the same place of a page.
    line = (-(-(lay.group_images * image + lay.strip + width) // 16) | 1) * 16
    g_at = aligned((lay.per_channel * channels_per_part + 2 * width) * size) if lay.laid_out else 0
    plan = _WeightPlan()
    plan.slots = threads
    plan.slot_bytes = aligned(g_at + (per_part * line + block * width) * size)
    counts = [a.count for a in p.axes]
    words = (
        plan.slots, plan.slot_bytes, g_at, int(lay.laid_out), chunk_boxes, all_boxes, p.groups, parts, per_part,
        p.outputs, channel_parts, channels_per_part, p.channels, window, tap_rows, tiles,
        p.images, *counts, *box, *boxes, lay.depth, *lay.words,
        per_part, *p.out_strides, *counts, 1, 1, 1, rows_d, rows_h, pitch, 0, 0, 0, lay.group_images, image, line, 0,
    )  # fmt: skip
    plan.words = struct.pack(f"={len(words)}q", *words)
    plan.offsets = lay.offsets
    plan.address = plan.offsets.ctypes.data
    plan.items = items * parts * channel_parts
    plan.work = p.images * p.groups * p.outputs * taps * math.prod(counts)
    plan.grain = max(1, SERIAL_WORK * plan.items // max(plan.work, 1))
    plan.shape = (chunks, p.groups, tiles, tap_rows, block)
    plan.kernel = kernel("weight", p.kind, block, across, wide)
    if len(_weight_plans) >= MAX_PLANS:
        _weight_plans.clear()
    _weight_plans[key] = plan
    return plan


@library("convolution by the weight")
def weight_partials(p: Problem, x: int, g: int, dtype: object, directly: bool) -> Array | None:
    """The gradient by the weight in parts: [chunk, group, tile of outputs, tap, output of the tile], to be summed.

    `out_strides` of the problem are those of `g`. directly: not in fewer multiplications, whose result may overflow
    where the sums of products do not. None where there is no kernel (yet).
    """
    made = None if directly else winograd_weight.gradient(p, x, g, dtype)
    if made is not None:
        return made
    plan = _weight_plan(p, pool.get_num_threads())
    if not plan.kernel.available(plan.work):
        return None
    made = arrays.empty(plan.shape, dtype)
    scratch = slots_of(plan.slots, plan.slot_bytes)
    args = struct.pack("=5q", x, g, made.ptr, plan.address, scratch.ptr) + plan.words
    pool.launch(plan.kernel.address, args, plan.items, plan.grain)
    return made


__all__ = ["Axis", "Problem", "convolve", "numel", "weight_partials"]
