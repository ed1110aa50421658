"""Matrix products on the processor's tile unit (see `codegen.tiles`), where there is one.

Which products it takes depends on sizes and layouts, and on whether the numbers are within its range (nearly all of
float32's): never on time or threads, so a program gives the same numbers every time.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..native import hot
from ..settings import switch
from . import memory, pool
from .raw import peek, poke

_SERIAL_WORK = 1 << 21  # multiply-adds that are not worth a second thread
# Below, packing costs more than is won: multiply-adds in all, and for each number packed (float32 only: the other way
# for half types is by float32).
_LEAST, _LEAST_HALVES, _LEAST_EDGE, _LEAST_DEPTH = 1 << 23, 1 << 22, 48, 48
# Of what our own kernel for vectors (`gemm`) would take otherwise, 128 x 128 is faster there, for any depth and layout.
_LEAST_REUSE, _LEAST_REUSE_LONG, _LONG = 68, 60, 1 << 27
_PACKING = 64  # multiply-adds that take as long as packing a number
_WANTED = switch("LIVEGRAD_AMX", True)
_SIZE = {"f32": 4, "f16": 2, "bf16": 2}
_SQUARE = 32
# What is packed at once, so that the memory for it stays small beside the operands: lines of an operand, and numbers
# of a batch's operands and results.
_MOST_LINES, _MOST_NUMBERS = 4096, 1 << 22
_ZEROS = np.zeros(64, np.uint8)
_ZEROS_PTR = _ZEROS.__array_interface__["data"][0]
# An item's sums, and its block of B, share a core's second-level cache (2 MB).
_ROWS, _COLUMNS = 512, 512  # at most
# An item's rows are shared out further, to so many items at most, of so many multiply-adds at least, where all k are
# one block. Elsewhere a quarter of the rows takes up to a third of the time of all.
_SHARES, _SHARE, _SHARED_DEPTH = 4, 1 << 22, 256


@functools.cache
def available() -> bool:
    """Whether the machine has the unit, and the system lets this process use it."""
    from ..llvm import machine

    if not (_WANTED and sys.platform == "linux" and platform.machine() == "x86_64" and machine.compiler_available()):
        return False
    if not machine.host_has_bf16_tiles():
        return False
    # arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA): the registers are large, so a process has to ask for them once.
    return ctypes.CDLL(None, use_errno=True).syscall(158, 0x1023, 18) == 0


@functools.cache
def _pack_kernel(kind: str, along: bool) -> Any:
    from ..codegen import kernels, tiles

    options = (kind, along)
    return kernels.Kernel(lambda: ("tiles pack", *options), lambda: tiles.pack_source(*options), tiles.PACK_FORMATS, 1)


@functools.cache
def _kernel(kind: str, along: bool) -> Any:
    from ..codegen import kernels, tiles

    options = (kind, along)
    return kernels.Kernel(lambda: ("tiles", *options), lambda: tiles.source(*options), tiles.FORMATS, 1)


@functools.lru_cache(4096)
def _cut(m: int, n: int, k: int, batch: int, threads: int, along: bool) -> tuple[int, int, int, int]:
    """(rows and columns of an item, items down and across): few, but so that threads have the same to do."""
    best = None
    for down in range(-(-m // _ROWS), -(-m // _SQUARE) + 1):
        for across in range(-(-n // _COLUMNS), -(-n // _SQUARE) + 1):
            items = batch * down * across
            if items > 16 * threads and best is not None:
                break
            rows, columns = -(-m // (down * _SQUARE)) * _SQUARE, -(-n // (across * _SQUARE)) * _SQUARE
            # The busiest thread's squares, and what each item brings from far away, worth some.
            cost = -(-items // threads) * (rows * columns + 4 * (rows + columns))
            if best is None or cost < best[0]:
                best = (cost, rows, columns, -(-m // rows), -(-n // columns))
    _, rows, columns, down, across = best  # type: ignore[misc]
    if along and k <= _SHARED_DEPTH:
        # Several items for each thread, so that one that comes late or is interrupted leaves little to wait for: where
        # they find B in the cache. Where the rows of a k are neighbours, many are packed at once instead.
        shares = max(1, min(_SHARES, rows * columns * k // _SHARE))
        rows = -(-rows // (shares * _SQUARE)) * _SQUARE
    return rows, columns, -(-m // rows), across


@hot
def worthwhile(kind: str, m: int, n: int, k: int, batch: int = 1) -> bool:
    """Whether the unit is for products of these sizes."""
    if m < _LEAST_EDGE or n < _LEAST_EDGE or k < _LEAST_DEPTH or kind == "f64":
        return False
    work = m * n * k * batch
    if kind == "f32":
        reuse = _LEAST_REUSE_LONG if m * n * k > _LONG else _LEAST_REUSE
        return work >= _LEAST and m * n >= reuse * (m + n)
    return work >= _LEAST_HALVES


def product(
    kind: str, batch: int, m: int, n: int, k: int, a: int, a_bs: int, a_rs: int, a_cs: int, b: int, b_bs: int,
    b_rs: int, b_cs: int, c: int, c_bs: int, c_rs: int, beta: float = 0.0, bias: int = 0,
    otherwise: Callable | None = None,
) -> bool:  # fmt: skip
    """C = A @ B, + C for beta 1, + a row of numbers at `bias`; False if it is not for this unit.

    With beta, C is then as it was.

    Parameters are those of `gemm.product`. otherwise: what makes another kernel's launch (address, arguments, items) of
    all of them; where there is one, nobody waits here to hear whether the numbers were for this unit.
    """
    if not worthwhile(kind, m, n, k, batch):
        return False
    threads = pool.get_num_threads()
    key = (kind, batch, m, n, k, a_rs, a_cs, b_rs, b_cs, c_rs, b_bs == 0, threads)
    plan = _plans.get(key)
    if plan is None:
        plan = _make_plan(key)
    if plan is False or (beta != 0.0 and beta != 1.0) or (batch > 1 and (beta or bias)):
        return False
    if plan.whole:
        if otherwise is not None and not beta and pool.puts_off():
            job = otherwise(kind, batch, m, n, k, a, a_bs, a_rs, a_cs, b, b_bs, b_rs, b_cs, c, c_bs, c_rs, 0.0, bias)
            if job is not None and _put_off(plan, a, a_bs, b, b_bs, c, c_bs, bias, job):
                return True
        return _multiply(plan, a, a_bs, b, b_bs, c, c_bs, beta, bias)
    return _in_parts(plan, key, a, a_bs, b, b_bs, c, c_bs, beta, bias)


class _Plan:
    """What sizes and layouts decide. whole: whether the product is computed at once."""

    __slots__ = (
        "whole", "matrix", "work", "pack", "multiply", "squares", "groups", "blocks", "pack_items", "pack_grain",
        "rows", "columns", "down", "across", "items", "grain", "b_step", "sums", "bad", "kept_bytes",
    )  # fmt: skip


# By kind, batch, m, n, k, strides, whether all products have the same B, and threads; False for what is refused.
_plans: dict[tuple, Any] = {}


def _make_plan(key: tuple) -> Any:
    from ..codegen import tiles

    kind, batch, m, n, k, a_rs, a_cs, b_rs, b_cs, c_rs, one_b, threads = key
    if len(_plans) >= 4096:
        _plans.clear()
    if not available() or (a_cs != 1 and a_rs != 1) or (b_cs != 1 and b_rs != 1) or min(a_rs, a_cs, b_rs, b_cs) < 1:
        _plans[key] = False
        return False
    plan = _Plan()
    plan.matrix = (m, n, k, a_rs, a_cs, b_rs, b_cs, c_rs)
    most = max(threads, _MOST_NUMBERS // (k * n + m * n))  # matrices at once
    plan.whole = batch <= most and (max(m, n) <= _MOST_LINES or batch > 1)
    plan.work = batch * m * n * k
    a_along, b_along = a_cs == 1, b_cs != 1
    plan.pack, plan.multiply = _pack_kernel(kind, b_along), _kernel(kind, a_along)
    plan.squares = -(-n // _SQUARE)
    b_count = 1 if one_b else batch
    plan.b_step = 0 if one_b else 1
    plan.groups, plan.blocks = tiles.pack_items(b_along, plan.squares, k)
    plan.pack_items = b_count * plan.groups * plan.blocks
    plan.pack_grain = _grain(n * k // (plan.groups * plan.blocks) * _PACKING)
    plan.rows, plan.columns, plan.down, plan.across = _cut(m, n, k, batch, threads, a_along)
    plan.items = batch * plan.down * plan.across
    plan.grain = _grain(plan.rows * plan.columns * k)
    # The memory of a call: packed B, sums, the word that tells of numbers not for the unit, C as it was.
    plan.sums = tiles.packed_bytes(kind, b_count * plan.squares, k)
    several = k > tiles.BLOCK * tiles.DEPTH
    plan.bad = plan.sums + (plan.items * plan.rows * plan.columns * 4 if several else 0)
    plan.kept_bytes = ((m - 1) * c_rs + n) * _SIZE[kind]
    _plans[key] = plan
    return plan


def _grain(work: int) -> int:
    """How many items of so many multiply-adds, or what takes as long, are not worth a second thread."""
    return max(1, _SERIAL_WORK // max(1, work))


def _in_parts(
    plan: _Plan, key: tuple, a: int, a_bs: int, b: int, b_bs: int, c: int, c_bs: int, beta: float, bias: int
) -> bool:
    """Some matrices of a batch at a time, or some rows and columns."""
    kind, batch, m, n, k, a_rs, a_cs, b_rs, b_cs, c_rs, one_b, threads = key
    size = _SIZE[kind]

    def part(batch: int, m: int, n: int, a: int, b: int, c: int, bias: int) -> bool:
        smaller = (kind, batch, m, n, k, a_rs, a_cs, b_rs, b_cs, c_rs, one_b, threads)
        plan = _plans.get(smaller) or _make_plan(smaller)
        return _multiply(plan, a, a_bs, b, b_bs, c, c_bs, 0.0, bias)

    if batch > 1:
        most = max(threads, _MOST_NUMBERS // (k * n + m * n))
        return all(
            part(min(most, batch - i), m, n, a + i * a_bs * size, b + i * b_bs * size, c + i * c_bs * size, 0)
            for i in range(0, batch, most)
        )
    if beta:
        return _multiply(plan, a, a_bs, b, b_bs, c, c_bs, beta, bias)
    rows, columns = (-(-lines // -(-lines // _MOST_LINES)) for lines in (m, n))
    return all(
        part(1, min(rows, m - i), min(columns, n - j), a + i * a_rs * size, b + j * b_cs * size,
             c + (i * c_rs + j) * size, bias and bias + j * size)
        for i in range(0, m, rows)
        for j in range(0, n, columns)
    )  # fmt: skip


_CLEAR = bytes(8)


@hot
def _put_off(
    plan: Any, a: int, a_bs: int, b: int, b_bs: int, c: int, c_bs: int, bias: int, otherwise: tuple[int, bytes, int]
) -> bool:
    """The same as `_multiply`, done some time: by another kernel if packing finds numbers that are not for the unit."""
    packer, multiplier = plan.pack, plan.multiply
    if not (packer.available(plan.work) and multiplier.available(plan.work)):
        return False
    block = memory.allocate(plan.bad + 64)  # held until all three are put: no other thread's work may come between
    packed = block.ptr
    bad = packed + plan.bad
    pool.write(bad, _CLEAR)
    first, second = _arguments(plan, a, a_bs, b, b_bs, c, c_bs, 0.0, bias, packed)
    pool.enqueue(packer.address, first, plan.pack_items, plan.pack_grain)
    pool.enqueue_long(multiplier.address, second, plan.items, plan.grain)
    pool.enqueue_if(bad, otherwise[0], otherwise[1], otherwise[2], 1)
    return True


@hot
def _multiply(plan: Any, a: int, a_bs: int, b: int, b_bs: int, c: int, c_bs: int, beta: float, bias: int) -> bool:
    """Pack B and multiply; then look at what packing found."""
    packer, multiplier = plan.pack, plan.multiply
    if not (packer.available(plan.work) and multiplier.available(plan.work)):
        return False
    pool.finish()
    kept_bytes = plan.kept_bytes if beta else 0
    block = memory.allocate(plan.bad + 64 + kept_bytes)
    packed = block.ptr
    bad = packed + plan.bad
    poke(bad, _CLEAR)
    first, second = _arguments(plan, a, a_bs, b, b_bs, c, c_bs, beta, bias, packed)
    pool.launch(packer.address, first, plan.pack_items, plan.pack_grain)
    if peek(bad, 8) != _CLEAR:
        return False
    if beta:
        ctypes.memmove(bad + 64, c, kept_bytes)
    if plan.items == 1:
        pool.run_serial(multiplier.address, second, 1)
    else:
        pool.launch(multiplier.address, second, plan.items, plan.grain)
    done = peek(bad, 8) == _CLEAR
    if beta and not done:
        ctypes.memmove(c, bad + 64, kept_bytes)
    return done


@hot
def _arguments(
    plan: Any, a: int, a_bs: int, b: int, b_bs: int, c: int, c_bs: int, beta: float, bias: int, packed: int
) -> tuple[bytes, bytes]:
    """Of the kernel that packs, and the one that multiplies."""
    m, n, k, a_rs, a_cs, b_rs, b_cs, c_rs = plan.matrix
    bad = packed + plan.bad
    if beta:
        start, start_row, start_column = c, c_rs, 1
    elif bias:
        start, start_row, start_column = bias, 0, 1
    else:
        start, start_row, start_column = _ZEROS_PTR, 0, 0
    first = plan.pack.pack(b, packed, bad, n, k, b_cs, b_rs, b_bs, plan.squares, plan.groups, plan.blocks)
    second = plan.multiply.pack(
        a, packed, c, start, packed + plan.sums, bad, m, n, k, a_rs, a_cs, a_bs, c_rs, start_row,
        start_column, c_bs, plan.squares, plan.down, plan.across, plan.rows, plan.columns, plan.b_step,
    )  # fmt: skip
    return first, second
