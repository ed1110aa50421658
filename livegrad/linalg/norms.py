"""Norms of vectors and matrices, and condition numbers."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..native import hot
from ..ops.arguments import check_public
from ..ops.dims import dims_of
from ..tensor import Tensor
from .checks import check_floating, check_square
from .factors import svdvals
from .solving import inv_ex

__all__ = ["cond", "matrix_norm", "norm", "vector_norm"]


@hot
def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """A vector norm, or, for two dimensions and ord "fro", "nuc", 2, -2, 1, -1 or infinity, a matrix norm."""
    two = dim is not None and not isinstance(dim, int) and len(dim) == 2
    if dim is not None and not isinstance(dim, int) and not two and len(dim) != 1:
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dim)}")
    if dim is None and ord is not None and A.dim() not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.dim()}D."
        )
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if isinstance(ord, str) or two or (dim is None and A.dim() == 2):
        return matrix_norm(A, ord, dim or (-2, -1), keepdim, dtype=dtype)
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


@hot
def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The norm of order `ord` over dimensions, all of them unless given."""
    check_floating("vector_norm", x)
    if isinstance(ord, complex):
        raise RuntimeError(f"linalg.vector_norm: Expected a non-complex scalar as the order of norm, got {ord}.")
    if isinstance(ord, str):
        raise TypeError("linalg_vector_norm(): argument 'ord' (position 2) must be Number, not str")
    if dtype is not None:
        if dtype.category < dtypes.FLOATING:
            raise RuntimeError(f"linalg.vector_norm: dtype should be floating point or complex, but got {dtype}")
        if dtype.is_complex != x.is_complex():
            kind = "complex" if x.is_complex() else "real"
            raise RuntimeError(f"linalg.vector_norm: dtype should be {kind} for {kind} inputs, but got {dtype}")
    return x.norm(ord, dim, keepdim, dtype=dtype)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """A norm of matrices that lie in two dimensions."""
    if dtype is not None:
        A = A.to(dtype)
    if A.dim() < 2:
        raise RuntimeError(f"linalg.matrix_norm: The input tensor A must have at least 2 dimensions, got {A.dim()}.")
    if A.dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"linalg.matrix_norm: Expected a floating point or complex tensor as input. Got {A.dtype}")
    if isinstance(dim, int) or len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {dim}")
    rows, columns = (dims_of(d, A.dim())[0] for d in dim)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got {tuple(dim)}")
    if ord == "fro":
        return A.norm(2, (rows, columns), keepdim)
    if ord in (1, -1, float("inf"), float("-inf")):
        along, other = (rows, columns) if ord in (1, -1) else (columns, rows)
        sums = A.abs().sum(along, keepdim=True)
        found = sums.amax(other, True) if ord > 0 else sums.amin(other, True)
        return found if keepdim else found.squeeze((rows, columns))
    if ord not in ("nuc", 2, -2):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    singular = svdvals(A.movedim((rows, columns), (-2, -1)))
    if ord != "nuc" and not singular.shape[-1]:  # there is nothing to take the largest of
        return A.new_zeros(A.norm(2, (rows, columns), keepdim).shape)
    found = singular.sum(-1) if ord == "nuc" else singular.amax(-1) if ord > 0 else singular.amin(-1)
    if keepdim:
        for d in sorted((rows, columns)):
            found = found.unsqueeze(d)
    return found


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number in a matrix norm, 2 unless given."""
    if A.dim() < 2:
        raise RuntimeError(f"linalg.cond: The input tensor must have at least 2 dimensions, got {A.dim()}.")
    if p not in (None, 2, -2, 1, -1, math.inf, -math.inf, "fro", "nuc"):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if not all(A.shape[-2:]):
        return A.new_zeros(A.shape[:-2], dtype=A.dtype.to_real() if A.is_complex() else A.dtype)  # type: ignore[attr-defined]
    if p in (None, 2, -2):
        singular = svdvals(A)
        high, low = singular[..., 0], singular[..., -1]
        return low / high if p == -2 else high / low
    check_square(f"cond(ord={p})", A)
    inverse, info = inv_ex(A)
    made = matrix_norm(A, p) * matrix_norm(inverse, p)
    return made.masked_fill(info != 0, math.inf) if bool(info.any()) else made


check_public(globals(), "linalg_")
