"""Factors of symmetric matrices that need not be positive definite: A = L D L^T (`linalg.ldl_factor` and its like)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import livegrad

from ..autograd.function import Function
from ..ops.decompositions import LinAlgError
from ..ops.results import named
from ..overriding import asks
from ..tensor import Tensor
from .checks import check_square
from .solving import solve_triangular

__all__ = ["ldl_factor", "ldl_factor_ex", "ldl_solve"]

_Factor = named("linalg_ldl_factor", "LD pivots")
_FactorEx = named("linalg_ldl_factor_ex", "LD pivots info")
# Where an element of the diagonal is smaller than this share of its column's largest, another one is taken.
_SHARE = (1 + math.sqrt(17)) / 8


class _Underived(Function):
    """Results that depend on tensors by a function whose derivative is not there."""

    @staticmethod
    def forward(ctx: Any, name: str, made: Tensor, *sources: Tensor) -> Tensor:
        ctx.of = name
        return made.clone()  # type: ignore[attr-defined]

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> Any:
        raise RuntimeError(f"derivative for {ctx.of} is not implemented: its result has to be detached")


def _underived(name: str, made: Tensor, *sources: Tensor) -> Tensor:
    if livegrad.is_grad_enabled() and any(t.requires_grad for t in sources):
        return _Underived.apply(name, made, *sources)
    return made


def _size(a: Any) -> Any:
    """LAPACK's measure of an element: of its two parts, where there are two."""
    return np.abs(a.real) + np.abs(a.imag) if np.iscomplexobj(a) else np.abs(a)


def _chosen(a: np.ndarray, k: int) -> tuple[int, int]:
    """(the row that comes to the diagonal's place, the size of the block) of step k: Bunch's and Kaufman's choice."""
    here, below = _size(a[k, k]), _size(a[k + 1 :, k])
    if not below.size or here >= _SHARE * below.max():
        return k, 1
    largest = below.max()
    p = k + 1 + int(below.argmax())
    row = _size(a[p, k:])
    row[p - k] = 0
    if here * row.max() >= _SHARE * largest * largest:
        return k, 1
    return (p, 1) if _size(a[p, p]) >= _SHARE * row.max() else (p, 2)


def _eliminated(a: np.ndarray, hermitian: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """(L below D in one matrix, LAPACK's pivots, the number of the first zero in D or 0) of a matrix's lower triangle.

    Source: algorithm of Bunch and Kaufman, Some stable methods for calculating inertia and solving symmetric linear
    systems, 1977.
    """
    conj = np.conj if hermitian else np.asarray
    lower = np.tril(a, -1)
    diagonal = np.diag(a).real if hermitian else np.diag(a)
    a = lower + np.diag(diagonal).astype(a.dtype) + conj(lower).T
    n, k, info = len(a), 0, 0
    pivots = np.empty(n, np.int32)
    while k < n:
        p, size = _chosen(a, k)
        place = k + size - 1
        if p != place:
            a[[place, p], k:] = a[[p, place], k:]
            a[k:, [place, p]] = a[k:, [p, place]]
        pivots[k : k + size] = (p + 1) if size == 1 else -(p + 1)
        rest, block, column = k + size, a[k : k + size, k : k + size], a[k + size :, k : k + size].copy()
        if size == 1 and block[0, 0] == 0:
            info = info or k + 1
        else:
            a[rest:, k:rest] = column @ np.linalg.inv(block) if size == 2 else column / block[0, 0]
            a[rest:, rest:] -= a[rest:, k:rest] @ conj(column).T
            if hermitian:  # which rounding does not keep
                a[range(rest, n), range(rest, n)] = np.diag(a)[rest:].real
        k = rest
    return np.tril(a), pivots, info


def _taken_apart(packed: np.ndarray, pivots: np.ndarray, hermitian: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(the order of rows, L, the inverse of D) of one factored matrix: A[order][:, order] = L D L^T."""
    n = len(packed)
    lower, inverse = np.tril(packed, -1), np.zeros_like(packed)
    order = np.arange(n)
    k = 0
    while k < n:
        size = 1 if pivots[k] > 0 else 2
        place, p = k + size - 1, abs(int(pivots[k])) - 1
        order[[place, p]] = order[[p, place]]
        lower[[place, p], :k] = lower[[p, place], :k]  # rows that were found before move along
        block = packed[k : k + size, k : k + size].copy()
        if size == 2:
            block[0, 1] = np.conj(block[1, 0]) if hermitian else block[1, 0]
            lower[k + 1, k] = 0
        inverse[k : k + size, k : k + size] = np.linalg.inv(block) if size == 2 else 1 / block
        k += size
    return order, lower + np.eye(n, dtype=packed.dtype), inverse


def _factor(name: str, A: Tensor, hermitian: bool) -> tuple[Tensor, Tensor, Tensor]:
    batch, n = tuple(A.shape[:-2]), A.shape[-1]
    flat = A.detach().cpu().numpy().reshape(math.prod(batch), n, n)
    found = [_eliminated(a, hermitian) for a in flat]
    parts = (
        np.array([f[0] for f in found], flat.dtype).reshape(*batch, n, n),
        np.array([f[1] for f in found], np.int32).reshape(*batch, n),
        np.array([f[2] for f in found], np.int32).reshape(batch),
    )
    packed, pivots, info = (livegrad.from_numpy(part).to(A.device) for part in parts)
    return _underived(name, packed, A), pivots, info


@asks
def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """`ldl_factor` without an error for a singular matrix: info is then the number of the first zero in D."""
    check_square("ldl_factor_ex", A)
    packed, pivots, info = _factor("linalg.ldl_factor_ex", A, hermitian)
    if check_errors:
        _refuse_singular("torch.linalg.ldl_factor_ex", info)
    return _FactorEx(packed, pivots, info)


@asks
def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """(LD, pivots) of symmetric A = L D L^T, or with `hermitian` of A = L D L^H: for `ldl_solve`.

    A: (*, n, n), float or complex, of which the lower triangle is read. LD holds L, whose diagonal is of ones, below D,
    which consists of blocks of one or two rows. pivots (*, n), int32: the row, from 1, that each step takes, negative
    for both steps of a block of two. Raises RuntimeError for a singular matrix. There is no derivative.
    Source: Bunch and Kaufman, Some stable methods for calculating inertia and solving symmetric linear systems, 1977.

    >>> import livegrad
    >>> LD, pivots = livegrad.linalg.ldl_factor(livegrad.tensor([[2.0, 1.0], [1.0, 2.0]]))
    >>> LD
    tensor([[2.0000, 0.0000],
            [0.5000, 1.5000]])
    """
    check_square("ldl_factor", A)
    packed, pivots, info = _factor("linalg.ldl_factor", A, hermitian)
    _refuse_singular("torch.linalg.ldl_factor", info)
    return _Factor(packed, pivots)


def _refuse_singular(name: str, info: Tensor) -> None:
    for place, number in enumerate(info.reshape(-1).tolist()):  # type: ignore[attr-defined]
        if number:
            which = f"(Batch element {place}): " if info.dim() else ""
            raise LinAlgError(
                f"{name}: {which}The diagonal element {number} of D is zero: the matrix is singular. ldl_factor_ex "
                "gives the factors that were found"
            )


@asks
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X of A @ X = B for the A that `ldl_factor` was given: B and X are (*, n, k), batches broadcast.

    `hermitian` as it was for the factors. There is a derivative by B, and none by LD. Raises RuntimeError where shapes
    or dtypes do not fit.

    >>> import livegrad
    >>> factors = livegrad.linalg.ldl_factor(livegrad.tensor([[2.0, 1.0], [1.0, 2.0]]))
    >>> livegrad.linalg.ldl_solve(*factors, livegrad.tensor([[3.0], [3.0]])).round(decimals=4)
    tensor([[1.],
            [1.]])
    """
    name = "torch.linalg.ldl_solve"
    check_square("ldl_solve", LD)
    n = LD.shape[-1]
    if B.dim() < 2:
        raise RuntimeError(f"{name}: Expected B to have at least 2 dimensions, but it has {B.dim()} dimensions instead")
    if B.shape[-2] != n:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation AX = B ({n}x{n} and "
                           f"{B.shape[-2]}x{B.shape[-1]})")  # fmt: skip
    if tuple(pivots.shape) != tuple(LD.shape[:-1]):
        raise RuntimeError(
            f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape "
            f"{list(pivots.shape)} instead"
        )
    if pivots.dtype.is_floating_point or pivots.dtype.is_complex or pivots.dtype is livegrad.bool:
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {pivots.dtype}")
    if LD.dtype is not B.dtype:
        raise RuntimeError(f"LD dtype{LD.dtype} does not match b dtype{B.dtype}")
    flat = LD.detach().cpu().numpy().reshape(-1, n, n) if n else np.zeros((0, 0, 0))
    rows = pivots.detach().cpu().numpy().reshape(len(flat), n)
    found = [_taken_apart(a, p, hermitian) for a, p in zip(flat, rows)]

    def tensor(k: int, *shape: int) -> Tensor:
        a = np.array([f[k] for f in found]).reshape(*LD.shape[:-2], *shape)
        return livegrad.from_numpy(a).to(LD.device)

    if not found:
        return _underived("linalg.ldl_solve", B.clone(), LD)  # type: ignore[attr-defined]
    order = livegrad.nn.functional.one_hot(tensor(0, n), n).to(LD.dtype)  # the matrix that puts rows in order
    L, inverse = tensor(1, n, n), tensor(2, n, n)
    y = inverse @ solve_triangular(L, order @ B, upper=False, unitriangular=True)
    x = solve_triangular(L.mH if hermitian else L.mT, y, upper=True, unitriangular=True)  # type: ignore[attr-defined]
    return _underived("linalg.ldl_solve", order.mT @ x, LD)  # type: ignore[attr-defined]
