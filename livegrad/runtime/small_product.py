"""Stacks of small matrix products, by a kernel of our own (see `codegen.small_product`).

Which products it takes depends on the machine, on sizes and on layouts alone, so that a program gives the same numbers
every time.
"""

from __future__ import annotations

import functools
from typing import Any

from ..native import hot
from . import pool

_MOST = 1 << 17  # multiply-adds of a product; what has more is worth copying
_MOST_OF_B = 1 << 13  # numbers of B, which is gone through again and again
_LEAST_ROWS = 4  # for which a transposed B is worth turning
_DEPTH = 256  # `codegen.small_product.DEPTH`
_ALONE = 1 << 19  # multiply-adds that are not worth a second thread
_GRAIN = 1 << 17  # multiply-adds of a chunk, where there are enough for all threads


@functools.cache
def _kernel(kind: str) -> Any:
    from ..codegen import kernels, small_product

    return kernels.Kernel(lambda: ("small product", kind), lambda: small_product.source(kind), small_product.FORMATS, 1)


@hot
def product(
    kind: str, outer: int, inner: int, m: int, n: int, k: int, a: int, a_outer: int, a_inner: int, a_rs: int, a_cs: int,
    b: int, b_outer: int, b_inner: int, b_rs: int, b_cs: int, c: int, c_rs: int,
) -> bool:  # fmt: skip
    """C = A @ B for `outer` groups of `inner` products each.

    Parameters are those of `blas.gemm`; the matrices of a group are `_inner` elements apart, the groups `_outer`, and
    the products' results follow each other. False, with nothing done, if it is not for this kernel.
    """
    size = m * n * k
    items = outer * inner
    if size > _MOST or k * n > _MOST_OF_B or n < 2 or items < 2 or not size or kind[0] != "f":
        return False
    if b_cs == 1:
        turned, b_row = 0, b_rs
    elif b_rs == 1 and k <= _DEPTH and (m >= _LEAST_ROWS or outer > 1):
        turned, b_row = 1, b_cs
    else:
        return False
    kernel = _kernel(kind)
    work = size * items
    if not kernel.available(work):
        return False
    args = kernel.pack(
        a, b, c, m, n, k, a_rs, a_cs, b_row, turned, c_rs, a_outer, a_inner, b_outer,
        b_inner, m * n, inner,
    )  # fmt: skip
    if work <= _ALONE:
        pool.enqueue(kernel.address, args, items, items)
    else:
        pool.enqueue(kernel.address, args, items, max(1, min(_GRAIN // size, items // (4 * pool.get_num_threads()))))
    return True
