"""What a convolution is to its kernels: axes, and how the input of a work item lies (`codegen.conv` says why).

A convolution is three axes (depth, height, width) of `Axis`, which also covers its gradient by the input and the
transposed convolution: those are one convolution for each residue of the output's position modulo the stride.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np


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

    @property
    def reach(self) -> int:
        """How many places (of a layout) its outputs read."""
        return self.count + max((t // self.step for _, t in self.taps), default=0)


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
    """How the input of a work item lies. per_channel: the distance from channel to channel."""

    laid_out: bool
    words: tuple
    offsets: np.ndarray
    image: int
    rows: tuple
    group_images: int
    strip: int
    per_channel: int

    @property
    def pitch(self) -> int:
        return self.rows[2]

    @property
    def depth(self) -> int:
        return self.rows[1] * self.rows[2]


def equal_parts(n: int, most: int) -> int:
    """The size of equal parts of n of at most `most`."""
    return -(-n // -(-n // max(most, 1)))


def share(n: int, most: int, unit: int) -> int:
    """The size of equal parts of n of at most about `most`, a multiple of `unit`."""
    each = -(-n // -(-n // most))
    return -(-each // unit) * unit


# --- simpler problems -------------------------------------------------------------------------------------------


def _condensed(axis: Axis, stride: int) -> tuple[Axis, int]:
    """An axis whose taps all lie on multiples of its step, as one with step 1 over every step-th position."""
    if axis.step > 1 and axis.pad == 0 and all(t % axis.step == 0 for _, t in axis.taps):
        taps = tuple((k, t // axis.step) for k, t in axis.taps)
        size = -(-axis.size // axis.step)
        return axis._replace(size=size, step=1, taps=taps), stride * axis.step
    return axis, stride


def _is_point(axis: Axis) -> bool:
    return axis.size == axis.count == 1 and axis.pad == 0 and axis.taps[0][1] == 0 and len(axis.taps) == 1


def simplified(p: Problem) -> Problem:
    """The same convolution in lines that are as long as can be; the outputs of its axes follow their strides.

    Where rows follow each other without a gap in the input and in the result, and no tap leads out of a row, they are
    one row; the axis that it had becomes a point.
    """
    pairs = [_condensed(a, s) for a, s in zip(p.axes, p.x_strides[2:])]
    axes, strides = [a for a, _ in pairs], [s for _, s in pairs]
    out = [s * a.stride for a, s in zip(axes, p.out_strides[2:])]
    axes = [a._replace(start=0, stride=1) for a in axes]
    w_taps = list(p.w_taps)
    for i in (1, 0):
        outer, inner = axes[i], axes[2]
        if i == 0 and not _is_point(axes[1]):
            break
        if outer.step != 1 or inner.step != 1 or inner.pad or inner.size != inner.count:
            continue
        if len(inner.taps) != 1 or inner.taps[0][1] or strides[i] != strides[2] * inner.size:
            continue
        if out[i] != out[2] * inner.count:
            continue
        n = inner.size
        joined = Axis(outer.size * n, outer.count * n, 1, outer.pad * n, tuple((k, t * n) for k, t in outer.taps))
        axes[i], axes[2] = Axis(1, 1, taps=inner.taps), joined
        w_taps[i], w_taps[2] = w_taps[2], w_taps[i]
    return p._replace(
        axes=tuple(axes), x_strides=(*p.x_strides[:2], *strides), out_strides=(*p.out_strides[:2], *out),
        w_taps=tuple(w_taps),
    )  # fmt: skip


def weight_places(p: Problem) -> np.ndarray:
    """For each channel and tap its place in the weight of one output."""
    at = [sum(s * k for s, (k, _) in zip(p.w_taps, tap)) for tap in itertools.product(*(a.taps for a in p.axes))]
    table = np.arange(p.channels, dtype=np.int64)[:, None] * p.w_strides[2] + np.array(at, np.int64)
    return np.ascontiguousarray(table)


def runs_of(places: np.ndarray) -> tuple[int, bool]:
    """(how many taps follow each other in the weight of one output, whether downwards), for `weight_places`.

    All taps do, or those of each channel, or (1) not even those.
    """
    if np.all(np.diff(places.ravel()) == 1):
        return places.size, False
    steps = np.diff(places, axis=1)
    for step in (1, -1):
        if steps.size and np.all(steps == step):
            return places.shape[1], step < 0
    return 1, False


# --- layouts ----------------------------------------------------------------------------------------------------


def serves_as_it_is(p: Problem, tile: int) -> bool:
    """Whether the input can be read where it is, by at least `tile` places at a time."""
    d, h, w = p.axes
    _, _, sd, sh, sw = p.x_strides
    places = ((d.count - 1) * h.size + h.count - 1) * w.size + w.count
    return (
        all(a.step == 1 and a.pad == 0 and a.reach <= a.size for a in p.axes)
        and (sw == 1 or w.size == 1)
        and (sh == w.size or h.size == 1)
        and (sd == h.size * w.size or d.size == 1)
        and places >= tile
    )


def box_of(p: Problem, most: int, unit: int) -> tuple[int, int, int]:
    """How many outputs by depth, height and width make about `most` places together, rows of `unit` at least."""
    d, h, w = p.axes
    if w.count > most:
        return 1, 1, -(-equal_parts(w.count, most) // unit) * unit
    if h.count * w.reach > most:
        return 1, equal_parts(h.count, max(1, most // w.reach)), w.count
    return equal_parts(d.count, max(1, most // (h.reach * w.reach))), h.count, w.count


def _extent(axis: Axis, whole: bool) -> tuple[int, int]:
    """(rows kept, rows read) of an axis in its layout; rows between them are read from the zeros that follow.

    whole: whether it has all of the outputs, so that its end is followed by padding.
    """
    if not whole:
        return axis.reach, axis.reach
    zeros = max(axis.pad, 0) // axis.step
    filled = -(-(axis.size + axis.pad) // axis.step)
    return max(axis.count, min(filled, axis.reach), axis.reach - zeros), axis.reach


def lay_out(p: Problem, channels: int, box: tuple, images: int, line: int, direct: bool) -> Layout:
    """A layout for a box of outputs and some channels, of several of `images` where those are below `line` places.

    direct: the input serves as it is.
    """
    stride_n, stride_c, sd, sh, sw = p.x_strides
    d, h, w = p.axes
    taps = list(itertools.product(*(a.taps for a in p.axes)))
    whole = all(n == a.count for n, a in zip(box, p.axes))
    if direct:
        rows = d.size, h.size, w.size
        group_images, image, plane, strip, phases, steps = 1, 0, stride_c, 0, 1, (1, 1, 1)
    else:
        steps = tuple(a.step for a in p.axes)
        phases = steps[0] * steps[1] * steps[2]
        extents = [_extent(a._replace(count=n), n == a.count) for n, a in zip(box, p.axes)]
        rows, (reach_d, reach_h, reach_w) = tuple(kept for kept, _ in extents), (reach for _, reach in extents)
        image = rows[0] * rows[1] * rows[2]
        strip = max(0, ((reach_d - 1) * rows[1] + reach_h - 1) * rows[2] + reach_w - image)
        group_images = equal_parts(images, max(1, line // image)) if whole else 1
        plane = group_images * image + strip
    offsets = []
    for (_, td), (_, th), (_, tw) in taps:
        phase = ((td % steps[0]) * steps[1] + th % steps[1]) * steps[2] + tw % steps[2]
        offsets.append(phase * plane + (td // steps[0] * rows[1] + th // steps[1]) * rows[2] + tw // steps[2])
    by_channel = np.arange(channels, dtype=np.int64)[:, None] * (plane * phases)
    words = (
        p.channels, stride_n, stride_c, sd, sh, sw, d.size, h.size, w.size, *steps, *rows,
        d.pad, h.pad, w.pad, group_images, image, plane, strip,
    )  # fmt: skip
    table = np.ascontiguousarray(by_channel + np.array(offsets, np.int64))
    return Layout(not direct, words, table, image, rows, group_images, strip, phases * plane)
