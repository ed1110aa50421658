"""Matrix products by kernels of our own: on the tile unit (see `tiles`), or of middling size (see `codegen.gemm`).

Which products it takes depends on sizes and layouts alone, so that a program gives the same numbers every time.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..native import hot
from . import pool, tiles

# It is for machines with vectors of 64 bytes; elsewhere the library is as fast.
LEAST, _MOST = 1 << 19, 1 << 27  # multiply-adds of all products together, and of one
LEAST_TURNED = 1 << 17  # where B is transposed: the library takes nearly twice as long for small ones of those
_ALONE = 1 << 19  # multiply-adds that are not worth a second thread
_LEAST_ROWS, _LEAST_COLUMNS, _LEAST_DEPTH = 24, 16, 16
_ROUND = 24  # groups have a multiple of so many rows, whole blocks of the kernel's
_ZEROS = np.zeros(4096, np.uint8)
_ZEROS_PTR = _ZEROS.__array_interface__["data"][0]


@functools.cache
def _kernel(kind: str, b_transposed: bool) -> Any:
    from ..codegen import gemm, kernels

    options = (kind, b_transposed)
    return kernels.Kernel(lambda: ("gemm", *options), lambda: gemm.source(*options), gemm.FORMATS, 1)


@functools.cache
def _panel(kind: str) -> int:
    """Columns of a panel; 0 where the machine's vectors, or the numbers, are not for this."""
    from ..codegen import gemm
    from ..llvm import machine

    if kind[0] == "c" or not machine.compiler_available() or machine.host_vector_bytes() != 64:
        return 0
    return gemm.panel_of(kind)


@functools.lru_cache(4096)
def _groups(m: int, panels: int, threads: int) -> tuple[int, int]:
    """(how many groups of rows, rows of each): few, but so that threads have the same to do."""
    best = None
    for groups in range(1, min(4 * threads, -(-m // _ROUND)) + 1):
        rows = -(-m // (groups * _ROUND)) * _ROUND
        groups = -(-m // rows)
        # The busiest thread's rows, and the copies of B that each item makes, worth some rows.
        cost = -(-panels * groups // threads) * (min(rows, m) + 12)
        if best is None or cost < best[0]:
            best = (cost, groups, rows)
    return best[1], best[2]  # type: ignore[index]


@hot
def worthwhile(m: int, n: int, k: int, batch: int = 1, turned: bool = False) -> bool:
    """Whether the kernel is for products of these sizes. turned: B is transposed."""
    work = m * n * k
    if work * batch < (LEAST_TURNED if turned else LEAST):
        return False
    return work <= _MOST and m >= _LEAST_ROWS and n >= _LEAST_COLUMNS and k >= _LEAST_DEPTH


def product(
    kind: str, batch: int, m: int, n: int, k: int, a: int, a_bs: int, a_rs: int, a_cs: int, b: int, b_bs: int,
    b_rs: int, b_cs: int, c: int, c_bs: int, c_rs: int, beta: float = 0.0, bias: int = 0,
) -> bool:  # fmt: skip
    """C = A @ B, + C for beta 1, + a row of numbers at `bias`; False, with nothing done, if it is not for this kernel.

    Parameters are those of `blas.batched`. With a bias, or beta, there is one product.
    """
    work = batch * m * n * k
    if tiles.worthwhile(kind, m, n, k, batch) and tiles.product(
        kind, batch, m, n, k, a, a_bs, a_rs, a_cs, b, b_bs, b_rs, b_cs, c, c_bs, c_rs, beta, bias, arguments
    ):  # fmt: skip
        return True
    job = arguments(kind, batch, m, n, k, a, a_bs, a_rs, a_cs, b, b_bs, b_rs, b_cs, c, c_bs, c_rs, beta, bias)
    if job is None:
        return False
    kernel, args, items = job
    if work <= _ALONE:
        pool.enqueue(kernel, args, items, items)
    else:
        pool.enqueue_long(kernel, args, items, 1)
    return True


def arguments(
    kind: str, batch: int, m: int, n: int, k: int, a: int, a_bs: int, a_rs: int, a_cs: int, b: int, b_bs: int,
    b_rs: int, b_cs: int, c: int, c_bs: int, c_rs: int, beta: float, bias: int,
) -> tuple[int, bytes, int] | None:  # fmt: skip
    """The kernel's address, its arguments and its items, for the parameters of `product`; None if it is not for it."""
    if not worthwhile(m, n, k, batch, b_cs != 1):
        return None
    panel = _panel(kind)
    if not panel or beta not in (0.0, 1.0) or (batch > 1 and (beta or bias)) or min(a_rs, a_cs, b_rs, b_cs) < 1:
        return None
    b_transposed = b_cs != 1
    if (a_cs != 1 and a_rs != 1) or (b_transposed and b_rs != 1):
        return None
    kernel = _kernel(kind, b_transposed)
    work = batch * m * n * k
    if not kernel.available(work):
        return None
    panels = -(-n // panel)
    groups, group = _groups(m, panels * batch, 1 if work <= _ALONE else pool.get_num_threads())
    if beta:
        start, start_row, start_column = c, c_rs, 1
    elif bias:
        start, start_row, start_column = bias, 0, 1
    else:
        start, start_row, start_column = _ZEROS_PTR, 0, 0
    args = kernel.pack(
        a, b, c, start, m, n, k, a_rs, a_cs, b_cs if b_transposed else b_rs, c_rs, start_row,
        start_column, a_bs, b_bs, c_bs, panels, groups, group,
    )  # fmt: skip
    return kernel.address, args, batch * panels * groups
