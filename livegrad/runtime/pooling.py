"""Pooling of row-major arrays: kernels of `codegen.pool`, or the library of the arrays where there are none.

Planes are three-dimensional here, sizes of missing axes being 1. Windows are given by `Window`.
"""

from __future__ import annotations

import functools
import itertools
import struct
from typing import Any, NamedTuple

import numpy as np

from ..codegen.kernels import Kernel
from ..llvm import service
from ..native import hot
from ..observe import library
from . import interpreter, pool
from .raw import address

SERIAL_WORK = 100_000


class Window(NamedTuple):
    """Sizes of input, result and window, and how it moves; each for d, h, w."""

    size: tuple
    out: tuple
    window: tuple
    step: tuple
    pad: tuple
    dilation: tuple = (1, 1, 1)
    include_pad: bool = True
    divisor: int = 0

    def words(self) -> tuple:
        return (*itertools.chain.from_iterable(self[:6]), int(self.include_pad), self.divisor)


@functools.lru_cache(4096)
def _packed(w: Window) -> bytes:
    words = w.words()
    return struct.pack(f"={len(words)}q", *words)


_kernels: dict[tuple, Kernel] = {}


def _kernel(make: str, *options: Any) -> Kernel:
    """make: the function of `codegen.pool` that writes it."""
    key = (make, *options)
    found = _kernels.get(key)
    if found is None:
        service.load("livegrad.codegen.pool")
        from ..codegen import pool as writer

        write = getattr(writer, make)
        found = _kernels[key] = Kernel(lambda: ("pool", *key), lambda: write(*options), "q", 1)
    return found


@hot
def _product(values: tuple) -> int:
    return values[0] * values[1] * values[2]


@library("pooling")
@hot
def _launch(kernel: Kernel, pointers: tuple, words: bytes, items: int, work: int) -> bool:
    if not kernel.available(work):
        return False
    args = _THREE(*pointers) + words
    pool.launch(kernel.address, args, items, max(1, SERIAL_WORK * items // max(work, 1)))
    return True


_THREE = struct.Struct("=qqq").pack


@hot
def reduce_here(kind: str, what: str, planes: int, x: int, w: Window, out: int, index: int) -> bool:
    """Pool (planes, *size) at an address into (planes, *out) at another; False, with nothing done, without a kernel.

    what: "max", "avg", or "argmax", which also writes 32-bit positions.
    """
    step = w.step[2] if w.step[2] in (1, 2) else 0
    work = planes * _product(w.out) * _product(w.window)
    if not work:
        return False
    kernel = _kernel("forward_source", kind, what, step)
    return _launch(kernel, (x, out, index), _packed(w), planes * w.out[0] * w.out[1], work)


def reduce(what: str, x: Any, w: Window, out: Any, index: Any) -> None:
    """The same by the library of the arrays, which are (planes, *size) and (planes, *out)."""
    if what == "avg":
        _average(x, w, out)
    else:
        _largest(x, w, out, index)


def spread(kind: str | None, g: Any, w: Window, out: Any) -> None:
    """The gradient of average pooling: (planes, *out) into (planes, *size)."""
    work = g.size * _product(w.window)
    if kind is not None and work:
        pointers = (address(g), address(out), 0)
        if _launch(_kernel("spread_source", kind), pointers, _packed(w), g.shape[0], work):
            return
    xp = interpreter.library(g)
    padded, inside = _padded(out.shape, w)
    shares = g / _counts(w, xp).astype(g.dtype if g.dtype.kind == "f" else np.float64)
    total = xp.zeros(padded, out.dtype)
    for place in _places(w):
        total[place] += shares.astype(out.dtype)
    out[...] = total[inside]


def scatter(kind: str | None, g: Any, index: Any, out: Any, adds: bool) -> None:
    """Put (planes, n) at positions `index` of empty planes (planes, m); what meets is added, or the last one stays."""
    work = g.size + out.size // 16
    if kind is not None and g.size:
        pointers = (address(g), address(out), address(index))
        sizes = struct.pack("=qq", g.shape[1], out.shape[1])
        if _launch(_kernel("scatter_source", kind, adds), pointers, sizes, g.shape[0], work):
            return
    out[...] = 0
    rows = np.arange(g.shape[0])[:, None]
    if adds:
        np.add.at(out, (rows, index), g)
    else:
        out[rows, index] = g


def return_to_largest(g: Any, index: Any, w: Window, out: Any) -> None:
    """The gradient of the largest: (planes, *out), with the positions it came from, into (planes, *size).

    Place by place of the window, at each of which an element of the input is in one window only: what meets is added in
    one order, without the additions of several threads in one place that a scattering would need.
    """
    xp = interpreter.library(g)
    shape, inside = _padded(out.shape, w)
    names = _names(shape, inside, w, xp)
    total = xp.zeros(shape, out.dtype)
    nothing = xp.zeros((), out.dtype)
    for place in _places(w):
        total[place] += xp.where(names[place] == index, g, nothing)
    out[...] = total[inside]


# --- tier 0 -----------------------------------------------------------------------------------------------------


def _padded(shape: tuple, w: Window) -> tuple[tuple, tuple]:
    """The shape of an array with its padding, and the slices that are the array."""
    sizes = [
        max(n + p, (m - 1) * s + (k - 1) * d + 1)
        for n, m, k, s, p, d in zip(w.size, w.out, w.window, w.step, w.pad, w.dilation)
    ]
    sizes = [n + p for n, p in zip(sizes, w.pad)]
    return (shape[0], *sizes), (slice(None), *(slice(p, p + n) for p, n in zip(w.pad, w.size)))


def _places(w: Window) -> Any:
    """For each tap the slices of the padded array that it reads."""
    for tap in itertools.product(*map(range, w.window)):
        yield (
            slice(None),
            *(slice(k * d, k * d + (m - 1) * s + 1, s) for k, d, m, s in zip(tap, w.dilation, w.out, w.step)),
        )


def _names(shape: tuple, inside: tuple, w: Window, xp: Any) -> Any:
    """The position in its plane of each element of a padded one; -1 in the padding."""
    names = xp.full((1, *shape[1:]), -1, np.int32)
    names[inside] = xp.arange(_product(w.size), dtype=np.int32).reshape(w.size)
    return names


def _counts(w: Window, xp: Any) -> Any:
    """What the sum of each window is divided by."""
    found = xp.full((), w.divisor or 1, np.int64)
    if w.divisor:
        return found
    for axis, (n, m, k, s, p) in enumerate(zip(w.size, w.out, w.window, w.step, w.pad)):
        start = xp.arange(m) * s - p
        stop = start + k
        if w.include_pad:
            count = xp.minimum(stop, n + p) - start
        else:
            count = xp.minimum(stop, n) - xp.maximum(start, 0)
        found = found * count.reshape([-1 if a == axis else 1 for a in range(3)])
    return found


def _average(x: Any, w: Window, out: Any) -> None:
    xp = interpreter.library(x)
    shape, inside = _padded(x.shape, w)
    padded = xp.zeros(shape, x.dtype)
    padded[inside] = x
    total = xp.zeros_like(out)
    for place in _places(w):
        total += padded[place]
    if x.dtype.kind == "f":
        out[...] = total / _counts(w, xp).astype(x.dtype)
    else:
        out[...] = xp.trunc(total / _counts(w, xp))


def _largest(x: Any, w: Window, out: Any, index: Any) -> None:
    xp = interpreter.library(x)
    shape, inside = _padded(x.shape, w)
    padded = xp.zeros(shape, x.dtype)
    padded[inside] = x
    names = _names(shape, inside, w, xp)
    best = xp.zeros_like(out)
    found = xp.full(out.shape, -1, np.int32)
    for place in _places(w):
        v, name = padded[place], names[place]
        better = (name >= 0) & ((v > best) | (v != v) | (found < 0))
        best = xp.where(better, v, best)
        found = xp.where(better, name, found)
    out[...] = best
    if index is not None:
        index[...] = found
