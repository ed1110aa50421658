"""Tier 0 of convolution: one matrix product per tap, with the library of the arrays (NumPy's, CuPy's). The reference of
the kernels.

x is (N, C, *size), w (O, C / groups, *window), g (N, O, *out); all take the same options.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from .interpreter import library


def _taps(window: tuple, out: tuple, stride: tuple, dilation: tuple) -> Iterator[tuple[tuple, tuple]]:
    """For each place of the window the slices of the padded input that it reads."""
    for place in itertools.product(*map(range, window)):
        yield (
            place,
            tuple(
                slice(k * d, k * d + (n - 1) * s + 1 if n else k * d, s)
                for k, n, s, d in zip(place, out, stride, dilation)
            ),
        )


def _cropped(padded: Any, size: tuple, padding: tuple) -> Any:
    """The slices of a padded array that are the array itself."""
    return padded[(slice(None), slice(None), *(slice(p, p + n) for p, n in zip(padding, size)))]


def _padded_size(size: tuple, window: tuple, out: tuple, stride: tuple, padding: tuple, dilation: tuple) -> list:
    return [
        max(n + p, (m - 1) * s + (k - 1) * d + 1)
        for n, k, m, s, p, d in zip(size, window, out, stride, padding, dilation)
    ]


def _padded(x: Any, window: tuple, out: tuple, stride: tuple, padding: tuple, dilation: tuple) -> Any:
    size = x.shape[2:]
    made = library(x).zeros((*x.shape[:2], *_padded_size(size, window, out, stride, padding, dilation)), x.dtype)
    _cropped(made, size, padding)[...] = x
    return made


def _by_group(a: Any, groups: int) -> Any:
    """(N, C, *) as (N, groups, C / groups, places)."""
    return a.reshape(a.shape[0], groups, a.shape[1] // groups, int(np.prod(a.shape[2:])))


def forward(x: Any, w: Any, out: tuple, stride: tuple, padding: tuple, dilation: tuple, groups: int) -> Any:
    """The convolution, without bias."""
    window = w.shape[2:]
    x = _padded(x, window, out, stride, padding, dilation)
    made = library(x).zeros((x.shape[0], w.shape[0], *out), x.dtype)
    total = _by_group(made, groups)
    w = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    for place, slices in _taps(window, out, stride, dilation):
        total += w[(..., *place)] @ _by_group(x[(..., *slices)], groups)
    return made


def by_input(g: Any, w: Any, size: tuple, stride: tuple, padding: tuple, dilation: tuple, groups: int) -> Any:
    """The gradient by an input of spatial `size`: the transposed convolution."""
    window, out = w.shape[2:], g.shape[2:]
    channels = w.shape[1] * groups
    xp = library(g)
    padded = xp.zeros((g.shape[0], channels, *_padded_size(size, window, out, stride, padding, dilation)), g.dtype)
    w = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    g = _by_group(g, groups)
    for place, slices in _taps(window, out, stride, dilation):
        part = xp.swapaxes(w[(..., *place)], -1, -2) @ g
        padded[(..., *slices)] += part.reshape(g.shape[0], channels, *out)
    return xp.ascontiguousarray(_cropped(padded, size, padding))


def by_weight(x: Any, g: Any, window: tuple, stride: tuple, padding: tuple, dilation: tuple, groups: int) -> Any:
    """The gradient by a weight of that `window`."""
    out = g.shape[2:]
    x = _padded(x, window, out, stride, padding, dilation)
    xp = library(x)
    made = xp.zeros((g.shape[1], x.shape[1] // groups, *window), x.dtype)
    by_group = made.reshape(groups, g.shape[1] // groups, *made.shape[1:])
    g = _by_group(g, groups)
    for place, slices in _taps(window, out, stride, dilation):
        read = _by_group(x[(..., *slices)], groups)
        by_group[(..., *place)] = (g @ xp.swapaxes(read, -1, -2)).sum(0)
    return made
