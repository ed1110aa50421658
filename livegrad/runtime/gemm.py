"""Matrix products by kernels of our own: on the tile unit (see `tiles`), or of middling size (see `codegen.gemm`).

Which products it takes depends on the machine, on sizes and on layouts alone, so that a program gives the same numbers
every time.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..native import hot, slotted
from . import pool, tiles


@slotted
class _Sizes:
    """How many multiply-adds the kernel is for, by the machine's vectors.

    least, least_turned: of all products together; the second where B is transposed, which the library copies slowly.
    most: of one product. most_shallow: of one with no more than a block of k, whose results are written once.
    rows: how many rows it has at least.
    """

    __slots__ = ("known", "least", "least_turned", "most", "most_shallow", "rows")

    def __init__(self) -> None:
        self.known = False
        self.least = self.least_turned = 0  # until it is known, who asks is told to look here
        self.most = self.most_shallow = 0
        self.rows = 0


SIZES = _Sizes()
_NEVER = 1 << 62


def _find_sizes() -> None:
    from ..llvm import machine

    width = machine.host_vector_bytes() if machine.compiler_available() else 0
    if width == 64:
        sizes = 1 << 19, 1 << 17, 1 << 27, 1 << 27, 5  # of fewer rows, the library multiplies as fast without a copy
    elif width == 32:
        sizes = 1 << 15, 1 << 15, 1 << 23, 1 << 26, 2  # what is larger takes the library as long or less
    else:
        sizes = _NEVER, _NEVER, 0, 0, 0
    SIZES.least, SIZES.least_turned, SIZES.most, SIZES.most_shallow, SIZES.rows = sizes
    SIZES.known = True


_ALONE = 1 << 19  # multiply-adds that are not worth a second thread
_GRAIN = 1 << 17  # multiply-adds of a chunk, where there are enough for all threads
_LEAST_COLUMNS, _LEAST_DEPTH = 16, 16
_BLOCK = 128  # k of a block (`codegen.gemm.DEPTH`)
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
    """Columns of a panel; 0 where the numbers are not for this."""
    from ..codegen import gemm

    return 0 if kind[0] == "c" else gemm.panel_of(kind)


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
    if not SIZES.known:
        _find_sizes()
    work = m * n * k
    if work * batch < (SIZES.least_turned if turned else SIZES.least):
        return False
    if m < SIZES.rows or n < _LEAST_COLUMNS or k < _LEAST_DEPTH:
        return False
    return work <= (SIZES.most_shallow if k <= _BLOCK else SIZES.most)


@hot
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
        each = work // items
        grain = 1
        if each < _GRAIN:
            grain = max(1, min(_GRAIN // each, items // (4 * pool.get_num_threads())))
        pool.enqueue_long(kernel, args, items, grain)
    return True


@hot
def arguments(
    kind: str, batch: int, m: int, n: int, k: int, a: int, a_bs: int, a_rs: int, a_cs: int, b: int, b_bs: int,
    b_rs: int, b_cs: int, c: int, c_bs: int, c_rs: int, beta: float, bias: int,
) -> tuple[int, bytes, int] | None:  # fmt: skip
    """The kernel's address, its arguments and its items, for the parameters of `product`; None if it is not for it."""
    if not worthwhile(m, n, k, batch, b_cs != 1):
        return None
    panel = _panel(kind)
    if not panel or (beta != 0.0 and beta != 1.0) or (batch > 1 and (beta or bias)) or a_rs < 1 or a_cs < 1:
        return None
    b_transposed = b_cs != 1
    if b_rs < 1 or b_cs < 1:
        return None
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
