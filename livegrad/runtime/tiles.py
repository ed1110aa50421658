"""Matrix products on the processor's tile unit (see `codegen.tiles`), where there is one.

Which products it takes depends on sizes and layouts, and on whether the numbers are within its range (nearly all of
float32's): never on time or threads, so a program gives the same numbers every time.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from typing import Any

import numpy as np

from ..native import hot
from . import memory, pool

_SERIAL_WORK = 1 << 21  # multiply-adds that are not worth a second thread
# Below, packing costs more than is won: multiply-adds in all, and for each number packed (float32 only: the other way
# for half types is by float32).
_LEAST, _LEAST_HALVES, _LEAST_EDGE, _LEAST_DEPTH = 1 << 23, 1 << 22, 48, 48
_LEAST_REUSE = 60
_PACKING = 64  # multiply-adds that take as long as packing a number
_WANTED = os.environ.get("LIVEGRAD_AMX", "1") != "0"
_SIZE = {"f32": 4, "f16": 2, "bf16": 2}
_SQUARE = 32
# What is packed at once, so that the memory for it stays small beside the operands: lines of an operand, and numbers
# of a batch's operands and results.
_MOST_LINES, _MOST_NUMBERS = 4096, 1 << 22
_ZEROS = np.zeros(64, np.uint8)
_ZEROS_PTR = _ZEROS.__array_interface__["data"][0]
# An item's sums, and its block of B, share a core's second-level cache (2 MB).
_ROWS, _COLUMNS = 512, 512  # at most
_SHARES = 4  # of an item's rows


@functools.cache
def available() -> bool:
    """Whether the machine has the unit, and the system lets this process use it."""
    from . import machine

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
def _cut(m: int, n: int, batch: int, threads: int, along: bool) -> tuple[int, int, int, int]:
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
    if along:
        # Several items for each thread, so that one that comes late or is interrupted leaves little to wait for.
        # Where the rows of a k are neighbours, many are packed at once instead.
        rows = max(_SQUARE, -(-rows // (_SHARES * _SQUARE)) * _SQUARE)
    return rows, columns, -(-m // rows), across


@hot
def worthwhile(kind: str, m: int, n: int, k: int, batch: int = 1) -> bool:
    """Whether the unit is for products of these sizes."""
    if m < _LEAST_EDGE or n < _LEAST_EDGE or k < _LEAST_DEPTH or kind == "f64":
        return False
    work = m * n * k * batch
    if kind == "f32":
        return work >= _LEAST and m * n >= _LEAST_REUSE * (m + n)
    return work >= _LEAST_HALVES


def product(
    kind: str, batch: int, m: int, n: int, k: int, a: int, a_bs: int, a_rs: int, a_cs: int, b: int, b_bs: int,
    b_rs: int, b_cs: int, c: int, c_bs: int, c_rs: int, beta: float = 0.0, bias: int = 0,
) -> bool:  # fmt: skip
    """C = A @ B, + C for beta 1, + a row of numbers at `bias`; False if it is not for this unit.

    With beta, C is then as it was.

    Parameters are those of `gemm.product`.
    """
    if (
        not worthwhile(kind, m, n, k, batch)
        or not available()
        or beta not in (0.0, 1.0)
        or (batch > 1 and (beta or bias))
    ):
        return False
    if (a_cs != 1 and a_rs != 1) or (b_cs != 1 and b_rs != 1) or min(a_rs, a_cs, b_rs, b_cs) < 1:
        return False
    matrix = (kind, m, n, k, a_rs, a_cs, b_rs, b_cs, c_rs)
    size = _SIZE[kind]
    most = max(pool.get_num_threads(), _MOST_NUMBERS // (k * n + m * n))  # matrices at once
    if batch > most:
        return all(
            _multiply(matrix, min(most, batch - i), a + i * a_bs * size, a_bs, b + i * b_bs * size, b_bs,
                      c + i * c_bs * size, c_bs)
            for i in range(0, batch, most)
        )  # fmt: skip
    if max(m, n) <= _MOST_LINES or batch > 1 or beta:
        return _multiply(matrix, batch, a, a_bs, b, b_bs, c, c_bs, beta, bias)
    rows, columns = (-(-lines // -(-lines // _MOST_LINES)) for lines in (m, n))
    return all(
        _multiply(
            (kind, min(rows, m - i), min(columns, n - j), k, a_rs, a_cs, b_rs, b_cs, c_rs), 1, a + i * a_rs * size, 0,
            b + j * b_cs * size, 0, c + (i * c_rs + j) * size, 0, 0.0, bias and bias + j * size,
        )
        for i in range(0, m, rows)
        for j in range(0, n, columns)
    )  # fmt: skip


def _multiply(
    matrix: tuple, batch: int, a: int, a_bs: int, b: int, b_bs: int, c: int, c_bs: int, beta: float = 0.0, bias: int = 0
) -> bool:
    """Pack B and multiply; then look at what packing found."""
    kind, m, n, k, a_rs, a_cs, b_rs, b_cs, c_rs = matrix
    b_along = b_cs != 1
    from ..codegen import tiles

    work = batch * m * n * k
    pack, multiply = _pack_kernel(kind, b_along), _kernel(kind, a_cs == 1)
    if not (pack.available(work) and multiply.available(work)):
        return False
    squares, several = -(-n // _SQUARE), k > tiles.BLOCK * tiles.DEPTH
    b_count = batch if b_bs else 1
    b_bytes = tiles.packed_bytes(kind, b_count * squares, k)
    rows, columns, down, across = _cut(m, n, batch, pool.get_num_threads(), a_cs == 1)
    items = batch * down * across
    sum_bytes = items * rows * columns * 4 if several else 0
    strip_bytes = items * tiles.strip_bytes(kind, a_cs == 1, rows)
    kept_bytes = ((m - 1) * c_rs + n) * _SIZE[kind] if beta else 0
    block = memory.allocate(b_bytes + sum_bytes + strip_bytes + 64 + kept_bytes)
    sums = block.ptr + b_bytes
    strips = sums + sum_bytes
    bad = strips + strip_bytes
    kept = bad + 64
    flag = ctypes.c_int64.from_address(bad)
    flag.value = 0
    groups, blocks = tiles.pack_items(b_along, squares, k)
    args = pack.pack(b, block.ptr, bad, n, k, b_cs, b_rs, b_bs, squares, groups, blocks)
    _run(pack, args, b_count * groups * blocks, n * k // (groups * blocks) * _PACKING)
    if flag.value:
        return False
    if beta:
        start, start_row, start_column = c, c_rs, 1
        ctypes.memmove(kept, c, kept_bytes)
    elif bias:
        start, start_row, start_column = bias, 0, 1
    else:
        start, start_row, start_column = _ZEROS_PTR, 0, 0
    args = multiply.pack(
        a, block.ptr, c, start, sums, strips, bad, m, n, k, a_rs, a_cs, a_bs, c_rs, start_row, start_column, c_bs,
        squares, down, across, rows, columns, 1 if b_bs else 0,
    )  # fmt: skip
    _run(multiply, args, items, rows * columns * k)
    if flag.value and beta:
        ctypes.memmove(c, kept, kept_bytes)
    return not flag.value


def _run(kernel: Any, args: bytes, items: int, work: int) -> None:
    """All items, of so many multiply-adds each, or what takes as long."""
    if items == 1:
        pool.run_serial(kernel.address, args, 1)
    else:
        pool.launch(kernel.address, args, items, max(1, _SERIAL_WORK // work))
