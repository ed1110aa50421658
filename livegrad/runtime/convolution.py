"""Convolutions of arrays: which kernel, how the input lies in its scratch memory, and the launch.

`codegen.conv` says what the kernels do. Here a convolution is three axes (depth, height, width) of `Axis`, which also
covers its gradient by the input and the transposed convolution: those are one convolution for each residue of the
output's position modulo the stride.
"""

from __future__ import annotations

import itertools
import math
import struct
from typing import NamedTuple

import numpy as np

from ..codegen.kernels import Kernel
from ..llvm import machine, service
from ..observe import library
from . import array as arrays
from . import pool
from .array import Array, numel
from .memory import allocate

ITEM_BYTES = {"f32": 4, "f64": 8}  # of the kinds that there are kernels for
CACHE_ELEMENTS = 3 << 16  # of an input's layout, so that it stays in the second cache while it is read
LINE_ELEMENTS = 768  # small images are taken together until a line is as long as this
GRADIENT_LINE_ELEMENTS = 2048  # the same in the gradient by the weight, whose sums are added across once per line
SERIAL_WORK = 200_000  # multiply-adds that the calling thread does alone
CHUNKS = 16  # of images, in the gradient by the weight
PARTIAL_ELEMENTS = 1 << 20  # of all its partial results
PART = 64  # channels, on either side, that a work item of that gradient takes


class Axis(NamedTuple):
    """One dimension: output j reads position j * step + tap - pad of the input, for each of `taps`.

    taps: (index in the weight, position). The outputs are places start, start + stride, ... of the result.
    """

    size: int
    count: int
    step: int = 1
    pad: int = 0
    taps: tuple = ((0, 0),)
    start: int = 0
    stride: int = 1


class Problem(NamedTuple):
    """A convolution of arrays, without their memory. Strides are in elements; weights' by group, output, input."""

    kind: str
    images: int
    groups: int
    channels: int
    outputs: int
    axes: tuple
    x_strides: tuple
    out_strides: tuple
    w_strides: tuple
    w_taps: tuple


class Layout(NamedTuple):
    """How the input of a work item lies."""

    laid_out: bool
    axes: tuple
    words: tuple
    offsets: np.ndarray
    image: int
    pitch: int
    depth: int
    group_images: int
    plane: int
    strip: int
    per_channel: int


# --- kernels ----------------------------------------------------------------------------------------------------

_kernels: dict[tuple, Kernel] = {}


def _width(kind: str) -> int:
    """Lanes of one vector of this machine."""
    return machine.host_vector_bytes() // ITEM_BYTES[kind]


def _kernel(name: str, kind: str, *sizes: int | bool) -> Kernel:
    key = (name, kind, *sizes)
    found = _kernels.get(key)
    if found is None:
        service.load("livegrad.codegen.conv", "livegrad.codegen.conv_weight")
        from ..codegen import conv, conv_weight

        source = {
            "forward": conv.forward_source, "weight": conv_weight.gradient_source, "order": conv_weight.order_source
        }[name]  # fmt: skip
        found = _kernels[key] = Kernel(lambda: ("conv", *key), lambda: source(kind, *sizes), "q", 1)
    return found


def _many_registers() -> bool:
    """Whether there are 32 vector registers, not 16."""
    return not machine.is_x86() or machine.host_vector_bytes() == 64


def _blocks(outputs: int) -> tuple[int, int]:
    """(output channels, vectors) of a tile: the block that leaves the least unused."""
    choices = ((8, 3), (4, 6), (2, 8), (1, 8)) if _many_registers() else ((4, 3), (2, 4), (1, 4))
    return min(choices, key=lambda c: -(-outputs // c[0]) * c[0] * (1 if c[0] > 2 else 1.15 if c[0] > 1 else 2))


# --- layouts ----------------------------------------------------------------------------------------------------


def _condensed(axis: Axis, stride: int) -> tuple[Axis, int]:
    """An axis whose taps all lie on multiples of its step, as one with step 1 over every step-th position."""
    if axis.step > 1 and axis.pad == 0 and all(t % axis.step == 0 for _, t in axis.taps):
        taps = tuple((k, t // axis.step) for k, t in axis.taps)
        size = -(-axis.size // axis.step)
        return axis._replace(size=size, step=1, taps=taps), stride * axis.step
    return axis, stride


def _extent(axis: Axis) -> tuple[int, int]:
    """(rows kept, rows read) of an axis in its layout; rows between them are read from the zeros that follow."""
    reach = axis.count + max((t // axis.step for _, t in axis.taps), default=0)
    zeros = max(axis.pad, 0) // axis.step
    filled = -(-(axis.size + axis.pad) // axis.step)
    return max(axis.count, min(filled, reach), reach - zeros), reach


def _lay_out(p: Problem, tile: int, images: int, line: int) -> Layout:
    """A layout for up to `images` images at a time, in lines of about `line` elements.

    tile: the least number of places that can be computed where the input serves as it is.
    """
    stride_n, stride_c, *strides = p.x_strides
    pairs = [_condensed(a, s) for a, s in zip(p.axes, strides)]
    axes = tuple(a for a, _ in pairs)
    sd, sh, sw = (s for _, s in pairs)
    d, h, w = axes
    taps = list(itertools.product(*(a.taps for a in axes)))
    places = ((d.count - 1) * h.size + h.count - 1) * w.size + w.count
    direct = (
        all(a.step == 1 and a.pad == 0 and a.count + max((t for _, t in a.taps), default=0) <= a.size for a in axes)
        and (sw == 1 or w.size == 1)
        and (sh == w.size or h.size == 1)
        and (sd == h.size * w.size or d.size == 1)
        and places >= tile
    )
    if direct:
        pitch, rows_h, rows_d = w.size, h.size, d.size
        group_images, image, plane, strip, phases, steps = 1, 0, stride_c, 0, 1, (1, 1, 1)
    else:
        steps = tuple(a.step for a in axes)
        phases = steps[0] * steps[1] * steps[2]
        (rows_d, reach_d), (rows_h, reach_h), (pitch, reach_w) = map(_extent, axes)
        image = rows_d * rows_h * pitch
        strip = max(0, ((reach_d - 1) * rows_h + reach_h - 1) * pitch + reach_w - image)
        group_images = max(1, min(images, -(-line // image)))
        plane = group_images * image + strip
    offsets = []
    for (_, td), (_, th), (_, tw) in taps:
        phase = ((td % steps[0]) * steps[1] + th % steps[1]) * steps[2] + tw % steps[2]
        offsets.append(phase * plane + (td // steps[0] * rows_h + th // steps[1]) * pitch + tw // steps[2])
    by_channel = np.arange(p.channels, dtype=np.int64)[:, None] * (plane * phases)
    words = (
        p.channels, stride_n, stride_c, sd, sh, sw, d.size, h.size, w.size, *steps, rows_d, rows_h, pitch,
        d.pad, h.pad, w.pad, group_images, image, plane, strip,
    )  # fmt: skip
    table = np.ascontiguousarray(by_channel + np.array(offsets, np.int64))
    return Layout(
        not direct, axes, words, table, image, pitch, rows_h * pitch, group_images, plane, strip, phases * plane
    )


def _aligned(n: int) -> int:
    return -(-n // 64) * 64


def _scratch(slots: int, slot_bytes: int) -> tuple:
    """Memory for `slots` slots, and their flags, at zero."""
    block = allocate(slots * (64 + slot_bytes))
    arrays.Array(block, 0, (slots * 16,), (1,), _INT32, True).native()[...] = 0
    return block


def _int32():
    from .. import dtypes

    return dtypes.int32


_INT32 = _int32()


# --- the convolution --------------------------------------------------------------------------------------------


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
    block, vectors = _blocks(p.outputs)
    width = _width(p.kind)
    tile = vectors * width
    lay = _lay_out(p, tile, p.images, LINE_ELEMENTS)
    if lay.laid_out and lay.per_channel * p.channels > CACHE_ELEMENTS and lay.group_images > 1:
        fits = max(1, lay.group_images * CACHE_ELEMENTS // (lay.per_channel * p.channels))
        lay = _lay_out(p, tile, fits, LINE_ELEMENTS)
    d, h, w = lay.axes
    blocks = -(-p.outputs // block)
    groups_of_images = -(-p.images // lay.group_images)
    items = groups_of_images * p.groups
    parts = 1 if items >= 4 * threads or threads == 1 else min(blocks, -(-4 * threads // items))
    per_part = -(-blocks // parts)
    parts = -(-blocks // per_part)
    line = (lay.group_images - 1) * lay.image + (d.count - 1) * lay.depth + (h.count - 1) * lay.pitch + w.count
    line = _aligned(line + tile + width) + 16  # not a multiple of a page: lines would share a set of the cache
    size = ITEM_BYTES[p.kind]
    lines_at = _aligned((lay.per_channel * p.channels + tile + width) * size) if lay.laid_out else 0
    taps = lay.offsets.size
    on, oc, *os = p.out_strides
    steps = [s * a.stride for s, a in zip(os, lay.axes)]
    # Rows that follow each other without a gap, here and in the result, are one.
    sizes = [d.count, h.count, w.count]
    if lay.pitch == sizes[2] and (steps[1] == steps[2] * sizes[2] or sizes[1] == 1):
        sizes[1:] = [1, sizes[1] * sizes[2]]
        if lay.depth == sizes[2] and (steps[0] == steps[2] * sizes[2] or sizes[0] == 1):
            sizes[0], sizes[2] = 1, sizes[0] * sizes[2]
    plan = _Plan()
    plan.slots, plan.slot_bytes = threads, _aligned(lines_at + block * line * size)
    words = (
        plan.slots, plan.slot_bytes, lines_at, int(lay.laid_out), p.images, p.groups, parts, per_part, blocks,
        p.outputs, taps, *sizes, lay.depth, on, oc, *steps, line, *lay.words,
    )  # fmt: skip
    plan.words = struct.pack(f"={len(words)}q", *words)
    plan.offsets = lay.offsets
    w_group, w_out, w_in = p.w_strides
    at = [sum(s * k for s, (k, _) in zip(p.w_taps, tap)) for tap in itertools.product(*(a.taps for a in lay.axes))]
    table = np.arange(p.channels, dtype=np.int64)[:, None] * w_in + np.array(at, np.int64)
    plan.table = np.ascontiguousarray(table)
    plan.order_words = struct.pack("=5q", blocks, p.outputs, taps, w_group, w_out)
    plan.weight_elements = p.groups * blocks * taps * block
    plan.order_items = p.groups * blocks
    plan.items = items * parts
    plan.work = p.images * p.groups * p.outputs * taps * d.count * h.count * w.count
    plan.grain = max(1, SERIAL_WORK * plan.items // max(plan.work, 1))
    plan.kernel = _kernel("forward", p.kind, block, vectors)
    plan.order = _kernel("order", p.kind, block)
    plan.keep = (plan.offsets.ctypes.data, plan.table.ctypes.data)
    if len(_plans) >= MAX_PLANS:
        _plans.clear()
    _plans[key] = plan
    return plan


@library("convolution")
def convolve(p: Problem, x: int, w: int, bias: int, out: int) -> bool:
    """Run a convolution on memory at these addresses; False, with nothing done, where there is no kernel (yet).

    bias: the address of one number per output channel of all groups.
    """
    plan = _plan(p, pool.get_num_threads())
    if not plan.kernel.available(plan.work) or not plan.order.available(plan.work):
        return False
    offsets, table = plan.keep
    weight = allocate(plan.weight_elements * ITEM_BYTES[p.kind])
    each = max(1, plan.weight_elements // plan.order_items)
    args = struct.pack("=3q", w, table, weight.ptr) + plan.order_words
    pool.launch(plan.order.address, args, plan.order_items, max(1, 50_000 // each))
    scratch = _scratch(plan.slots, plan.slot_bytes)
    args = struct.pack("=6q", x, weight.ptr, bias, out, offsets, scratch.ptr) + plan.words
    pool.launch(plan.kernel.address, args, plan.items, plan.grain)
    return True


# --- its gradient by the weight ---------------------------------------------------------------------------------


def _share(n: int, most: int, unit: int) -> int:
    """The size of equal parts of n of at most about `most`, a multiple of `unit`."""
    each = -(-n // -(-n // most))
    return -(-each // unit) * unit


def _gradient_tile(p: Problem, width: int) -> tuple[int, int, bool]:
    """(outputs, taps, whether in the wide form) of a tile, by what is left unused."""
    many = _many_registers()
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
    width = _width(p.kind)
    block, across, wide = _gradient_tile(p, width)
    # Chunks of images depend on sizes alone, so that results do not depend on the number of threads.
    window = len(p.axes[0].taps) * len(p.axes[1].taps) * len(p.axes[2].taps)
    taps = p.channels * window
    tap_rows = -(-taps // across) * across
    tiles = -(-p.outputs // block)
    chunks = max(1, min(CHUNKS, p.images, PARTIAL_ELEMENTS // (p.groups * tiles * block * tap_rows)))
    chunk_images = -(-p.images // chunks)
    lay = _lay_out(p, 0, chunk_images, GRADIENT_LINE_ELEMENTS)
    d, h, w = lay.axes
    chunks = -(-p.images // chunk_images)
    items = chunks * p.groups
    rows_d, rows_h, pitch = lay.words[12:15] if lay.laid_out else (d.count, h.size, w.size)
    image = rows_d * rows_h * pitch
    per_part = _share(p.outputs, PART, block)
    channels_per_part = _share(p.channels, PART, across // math.gcd(across, window))
    while items * -(-p.outputs // per_part) < 4 * threads > 4 and per_part > block:
        per_part = _share(p.outputs, per_part // 2, block)
    parts, channel_parts = -(-p.outputs // per_part), -(-p.channels // channels_per_part)
    # Lines start on vectors, and not all at the same place of a page.
    line = (-(-(lay.group_images * image + lay.strip + width) // 16) | 1) * 16
    size = ITEM_BYTES[p.kind]
    g_at = _aligned((lay.per_channel * channels_per_part + 2 * width) * size) if lay.laid_out else 0
    plan = _WeightPlan()
    plan.slots = threads
    plan.slot_bytes = _aligned(g_at + (per_part * line + block * width) * size)
    on, oc, *os = p.out_strides
    words = (
        plan.slots, plan.slot_bytes, g_at, int(lay.laid_out), p.images, chunk_images, p.groups, parts, per_part,
        p.outputs, channel_parts, channels_per_part, p.channels, window, tap_rows, tiles, d.count, h.count, w.count,
        lay.depth, *lay.words,
        per_part, on, oc, *os, d.count, h.count, w.count, 1, 1, 1, rows_d, rows_h, pitch, 0, 0, 0, lay.group_images,
        image, line, 0,
    )  # fmt: skip
    plan.words = struct.pack(f"={len(words)}q", *words)
    plan.offsets = lay.offsets
    plan.address = plan.offsets.ctypes.data
    plan.items = items * parts * channel_parts
    plan.work = p.images * p.groups * p.outputs * taps * d.count * h.count * w.count
    plan.grain = max(1, SERIAL_WORK * plan.items // max(plan.work, 1))
    plan.shape = (chunks, p.groups, tiles, tap_rows, block)
    plan.kernel = _kernel("weight", p.kind, block, across, wide)
    if len(_weight_plans) >= MAX_PLANS:
        _weight_plans.clear()
    _weight_plans[key] = plan
    return plan


@library("convolution by the weight")
def weight_partials(p: Problem, x: int, g: int, dtype: object) -> Array | None:
    """The gradient by the weight in parts: [chunk, group, tile of outputs, tap, output of the tile], to be summed.

    `out_strides` of the problem are those of `g`. None where there is no kernel (yet).
    """
    plan = _weight_plan(p, pool.get_num_threads())
    if not plan.kernel.available(plan.work):
        return None
    made = arrays.empty(plan.shape, dtype)
    scratch = _scratch(plan.slots, plan.slot_bytes)
    args = struct.pack("=5q", x, g, made.ptr, plan.address, scratch.ptr) + plan.words
    pool.launch(plan.kernel.address, args, plan.items, plan.grain)
    return made


__all__ = ["Axis", "Problem", "convolve", "numel", "weight_partials"]
