"""Factors of matrices by elimination: a row permutation, a lower and an upper triangle (`linalg.lu` and its like)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import livegrad

from ..ops.decompositions import LinAlgError
from ..ops.results import named
from ..overriding import asks
from ..tensor import Tensor
from .solving import solve_triangular

__all__ = ["lu", "lu_factor", "lu_factor_ex", "lu_solve"]

_LU = named("linalg_lu", "P L U")
_Factor = named("linalg_lu_factor", "LU pivots")
_FactorEx = named("linalg_lu_factor_ex", "LU pivots info")
_Unpacked = named("lu_unpack", "P L U")


def _check(name: str, A: Tensor, pivot: bool) -> None:
    if not isinstance(A, Tensor):
        raise TypeError(f"{name}(): argument 'A' (position 1) must be Tensor, not {type(A).__name__}")
    if A.dim() < 2:
        raise RuntimeError(f"{name}: Expected tensor with 2 or more dimensions. Got size: {list(A.shape)} instead")
    if not (A.is_floating_point() or A.is_complex()) or A.element_size() < 4:
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {A.dtype}")
    if not pivot:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented on the CPU")


def _eliminated(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(both triangles in one, which row each step takes, rows in their new order) of a matrix, by partial pivoting."""
    a, m = a.copy(), a.shape[0]
    order, taken = np.arange(m), np.empty(min(a.shape), np.int32)
    for k in range(len(taken)):
        size = np.abs(a[k:, k].real) + np.abs(a[k:, k].imag)  # which is LAPACK's measure
        p = k + int(np.argmax(size))
        taken[k] = p + 1
        if p != k:
            a[[k, p]], order[[k, p]] = a[[p, k]], order[[p, k]]
        if a[k, k] != 0:
            a[k + 1 :, k] /= a[k, k]
            a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k, k + 1 :])
    return a, taken, order


def _recorded(A: Tensor, order: Tensor) -> Tensor:
    """Both triangles in one, by steps that have derivatives of every order; the rows are permuted as is known."""
    rest = A.gather(-2, order.unsqueeze(-1).expand(A.shape))  # type: ignore[attr-defined]
    m, n = A.shape[-2:]
    rows = []
    pad = livegrad.nn.functional.pad
    below = livegrad.zeros_like(A)
    for k in range(min(m, n)):
        row, column = rest[..., :1, :], rest[..., 1:, :1] / rest[..., :1, :1]
        rows.append(pad(row, (k, 0)))
        below = below + pad(column, (k, n - k - 1, k + 1, 0))
        rest = rest[..., 1:, 1:] - column * row[..., 1:]
    if m > n:
        rows.append(A.new_zeros(*A.shape[:-2], m - n, n))  # type: ignore[attr-defined]
    return livegrad.cat(rows, dim=-2) + below


def _factor(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(both triangles in one, pivots, the number of the first diagonal element that is 0, or 0)."""
    m, n = A.shape[-2:]
    k = min(m, n)
    batch = tuple(A.shape[:-2])
    values = A.detach().cpu().numpy().reshape(math.prod(batch), m, n)
    found = [_eliminated(a) for a in values]
    triangles = np.array([t for t, _, _ in found], values.dtype).reshape(*batch, m, n)
    taken = np.array([t for _, t, _ in found], np.int32).reshape(*batch, k)
    order = np.array([o for _, _, o in found], np.int64).reshape(*batch, m)
    diagonal = np.diagonal(triangles, axis1=-2, axis2=-1)
    zero = diagonal == 0
    info = np.where(zero.any(-1), zero.argmax(-1) + 1, 0).astype(np.int32) if k else np.zeros(batch, np.int32)

    def tensor(a: Any) -> Tensor:
        return livegrad.from_numpy(np.array(a, order="C")).to(A.device)

    if A.requires_grad and livegrad.is_grad_enabled():
        packed = _recorded(A, tensor(order))
    else:
        packed = tensor(triangles)
    return packed, tensor(taken), tensor(info)


def _permutation(pivots: Tensor, m: int, dtype: Any) -> Tensor:
    """The matrix P of A = P L U."""
    taken = pivots.detach().cpu().numpy()
    flat = taken.reshape(math.prod(taken.shape[:-1]), taken.shape[-1])
    matrices = np.zeros((len(flat), m, m))
    for matrix, steps in zip(matrices, flat):
        order = np.arange(m)
        for k, p in enumerate(steps):
            order[[k, p - 1]] = order[[p - 1, k]]
        matrix[order, np.arange(m)] = 1
    made = livegrad.from_numpy(matrices.reshape(*taken.shape[:-1], m, m))
    return made.to(device=pivots.device, dtype=dtype)


def _triangles(packed: Tensor) -> tuple[Tensor, Tensor]:
    m, n = packed.shape[-2:]
    k = min(m, n)
    lower = packed[..., :, :k].tril(-1) + livegrad.eye(m, k, dtype=packed.dtype, device=packed.device)
    return lower, packed[..., :k, :].triu()


@asks
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """(P, L, U) with A = P @ L @ U: a permutation, a lower triangle of ones on the diagonal, an upper triangle.

    A: (*, m, n). Rows are permuted so that the largest element of a column comes first.

    >>> import livegrad
    >>> P, L, U = lu(livegrad.tensor([[1.0, 2.0], [4.0, 2.0]]))
    >>> U
    tensor([[4.0000, 2.0000],
            [0.0000, 1.5000]])
    """
    _check("linalg.lu", A, pivot)
    packed, pivots, _ = _factor(A)
    return _LU(_permutation(pivots, A.shape[-2], A.dtype), *_triangles(packed))


@asks
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """`lu_factor` without an error for a singular matrix: info is then the number of the first zero on the diagonal."""
    _check("torch.linalg.lu_factor_ex", A, pivot)
    packed, pivots, info = _factor(A)
    if check_errors:
        _refuse_singular("torch.linalg.lu_factor_ex", info)
    return _FactorEx(packed, pivots, info)


@asks
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots): both triangles of `lu` in one matrix, and the row, from 1 on, that each step takes.

    Raises RuntimeError for a singular matrix.
    """
    _check("torch.linalg.lu_factor", A, pivot)
    packed, pivots, info = _factor(A)
    _refuse_singular("torch.linalg.lu_factor", info)
    return _Factor(packed, pivots)


def _refuse_singular(name: str, info: Tensor) -> None:
    numbers = info.reshape(-1).tolist()  # type: ignore[attr-defined]
    for place, number in enumerate(numbers):
        if number:
            which = f"(Batch element {place}): " if info.dim() else ""
            raise LinAlgError(
                f"{name}: {which}U[{number},{number}] is zero and using it on lu_solve would result in a division by "
                "zero. If you still want to perform the factorization, consider calling linalg.lu(A, pivot) or "
                "linalg.lu_factor_ex(A, pivot)"
            )


@asks
def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X of A @ X = B for the A that `lu_factor` was given; left=False: of X @ A = B; adjoint: with A's adjoint."""
    if LU.dim() < 2 or LU.shape[-2] != LU.shape[-1]:
        raise RuntimeError(
            f"torch.linalg.lu_solve: A must be batches of square matrices, but they are {LU.shape[-2]} by "
            f"{LU.shape[-1]} matrices"
        )
    if not left:  # X A = B is A^H X^H = B^H
        return lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH  # type: ignore[attr-defined]
    P = _permutation(pivots, LU.shape[-1], LU.dtype)
    solve = solve_triangular
    if adjoint:
        y = solve(LU.triu().mH, B, upper=False)  # type: ignore[attr-defined]
        return P @ solve(_triangles(LU)[0].mH, y, upper=True, unitriangular=True)  # type: ignore[attr-defined]
    y = solve(_triangles(LU)[0], P.mT @ B, upper=False, unitriangular=True)  # type: ignore[attr-defined]
    return solve(LU.triu(), y, upper=True)  # type: ignore[attr-defined]


# --- names of the main namespace ----------------------------------------------------------------------------------


@asks
def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """(P, L, U) of what `linalg.lu_factor` gives; empty tensors for what is not wanted."""
    empty = LU_data.new_empty(0)  # type: ignore[attr-defined]
    L, U = _triangles(LU_data) if unpack_data else (empty, empty)
    P = _permutation(LU_pivots, LU_data.shape[-2], LU_data.dtype) if unpack_pivots else empty
    return _Unpacked(P, L, U)


@asks
def lu_solve_of(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """`linalg.lu_solve` with its arguments in another order: ``torch.lu_solve``."""
    return lu_solve(LU_data, LU_pivots, b)


@asks
def lu_of(A: Tensor, pivot: bool = True, get_infos: bool = False) -> tuple:
    """`linalg.lu_factor_ex`: ``torch.lu``."""
    packed, pivots, info = lu_factor_ex(A, pivot=pivot)
    return (packed, pivots, info) if get_infos else (packed, pivots)


lu_solve_of.__name__, lu_of.__name__ = "lu_solve", "lu"
Tensor.lu = lu_of  # type: ignore[attr-defined]
Tensor.lu_solve = lu_solve_of  # type: ignore[attr-defined]
