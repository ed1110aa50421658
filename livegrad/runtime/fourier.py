"""Discrete Fourier transforms of rows by a kernel of our own (see `codegen.fourier`): which ones, and the launch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..codegen.kernels import Kernel
from ..llvm import machine
from ..native import hot
from ..observe import WATCH
from . import pool
from .scratch import aligned, slots_of

# What rows are, as read and as written (`codegen.fourier`).
COMPLEX, REAL, HALF, REAL_ALONE = 0, 1, 2, 3

_RADICES = (11, 13, 7, 5, 3)  # and 2, 4 and 8
_ITEM = {"f32": 4, "f64": 8}
# As many rows as a vector has lanes are in scratch memory twice: longer ones do not stay in the second cache.
_LONGEST = 1 << 13
_FEW_BYTES, _SHORT = 16, 256  # of fewer rows most lanes work for nothing, which pays for short ones only
_GRAIN = 20_000  # points that are worth a launch of their own


@functools.cache
def _kernel(kind: str) -> Kernel:
    from ..codegen import fourier

    # Nobody waits for it, which takes half a second to compile: NumPy knows these transforms, too.
    return Kernel(lambda: ("fourier", kind), lambda: fourier.source(kind), fourier.FORMATS, 0)


@functools.lru_cache(1024)
def _radices(n: int) -> tuple[int, ...] | None:
    """The factors that a length is made of, as passes take them; None if there is another one."""
    found = []
    for radix in _RADICES:
        while n % radix == 0:
            found.append(radix)
            n //= radix
    twos = n.bit_length() - 1
    if n != 1 << twos:
        return None
    if twos % 3 == 1 and twos > 1:
        found += [4, 4]
        twos -= 4
    found += [8] * (twos // 3) + ([1 << twos % 3] if twos % 3 else [])
    return tuple(found)


class _Plan:
    """Tables of the passes of a length. passes, twiddles: addresses."""

    __slots__ = ("count", "keep", "passes", "twiddles")


@functools.lru_cache(256)
def _plan(kind: str, n: int) -> _Plan:
    table, factors, at = [], [], 0
    length, stride = n, 1
    for radix in _radices(n) or ():
        groups = length // radix
        angles = np.multiply.outer(np.arange(groups), np.arange(1, radix)) % length * (-2 * np.pi / length)
        factors.append(np.stack([np.cos(angles), np.sin(angles)], -1).ravel())
        table.append((radix, groups, stride, at))
        at += factors[-1].size
        length, stride = groups, stride * radix
    plan = _Plan()
    passes = np.array(table, np.int64)
    twiddles = np.concatenate(factors).astype(np.float32 if kind == "f32" else np.float64)
    plan.count, plan.keep = len(table), (passes, twiddles)
    plan.passes, plan.twiddles = passes.ctypes.data, twiddles.ctypes.data
    return plan


@hot
def possible(kind: str, rows: int, n: int) -> bool:
    """Whether the kernel is for so many rows of that length, and is there."""
    if n < 2 or n > _LONGEST or (rows * _ITEM[kind] < _FEW_BYTES and n > _SHORT):
        return False
    return _radices(n) is not None and _kernel(kind).available(rows * n)


@hot
def transform(
    kind: str, x: int, out: int, rows: int, n: int, x_row: int, out_row: int, reads: int, writes: int,
    inverse: bool, factor: float,
) -> None:  # fmt: skip
    """Transform rows of n points at address `x` into those at `out`, all times a factor; see `possible`.

    reads, writes: COMPLEX both ways; REAL to HALF; HALF to REAL, inverse; or REAL_ALONE to COMPLEX. A row is `x_row`
    real numbers after the one before.
    """
    kernel, plan = _kernel(kind), _plan(kind, n)
    lanes = machine.host_vector_bytes() // _ITEM[kind]
    each = 2 * lanes if reads in (REAL, HALF) else lanes
    items = -(-rows // each)
    slots = min(pool.get_num_threads(), items)
    slot_bytes = aligned(2 * (2 * n + 4) * machine.host_vector_bytes())
    scratch = slots_of(slots, slot_bytes)
    args = kernel.pack(
        x, out, plan.passes, plan.twiddles, scratch.ptr, rows, x_row, out_row, n, plan.count, reads, writes,
        int(inverse), slots, slot_bytes, factor,
    )  # fmt: skip
    observer = WATCH.observer
    token = None if observer is None else observer.begin_call("fourier transform", (), 0)
    pool.launch(kernel.address, args, items, max(1, _GRAIN // (n * each)))
    if observer is not None:
        observer.end(token, "")


__all__: list[Any] = ["COMPLEX", "HALF", "REAL", "REAL_ALONE", "possible", "transform"]
