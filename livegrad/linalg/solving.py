"""Inverses, solutions of equations, determinants."""

from __future__ import annotations

from typing import Any

from ..lazy import backend
from ..lazy.value import Value
from ..native import hot
from ..ops import reported
from ..ops.arguments import check_public
from ..ops.batch_rules import trailing
from ..ops.decompositions import SOLVE, SOLVE_TRIANGULAR, LinAlgError, inverse_value, library
from ..ops.dispatch import broadcast_shapes
from ..ops.matmul import _either
from ..ops.operator import name_nodes, on_either
from ..ops.registry import operator
from ..ops.results import named
from ..overriding import asks
from ..runtime.array import numel
from ..tensor import Tensor
from .checks import check_square, raise_first, written
from .factors import _INV_EX

__all__ = ["det", "inv", "inv_ex", "slogdet", "solve", "solve_ex", "solve_triangular", "tensorinv", "tensorsolve"]

_Solved = named("triangular_solve", "solution cloned_coefficient")

# Texts of `raise_first`, with the function's name in the place of {}.
_NO_INVERSE = (
    "linalg.{}:{{at}} The diagonal element {{k}} is zero, the inversion could not be completed because the input "
    "matrix is singular."
)


_NO_SOLUTION = "torch.linalg.{}:{{at}} The solver failed because the input matrix is singular."


INV = operator(
    "linalg_inv",
    inverse_value,
    tensors=("x",),
    grads={"x": lambda g, result: -_either(_either(result.mH, g), result.mH)},
    node="LinalgInvEx",
    anywhere=True,
    batch=trailing,
)


@hot
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices. Raises RuntimeError for a singular one."""
    check_square("inv", A)
    try:
        return INV.apply((A,))
    except LinAlgError:
        raise_first(reported.inverse(A.detach())[1], _NO_INVERSE.format("inv"))
        raise


@hot
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X such that A @ X = B, or X @ A = B if not `left`, for square A (..., n, n) and B (..., n, k) or (n,)."""
    B, vector = _right_hand("solve", A, B, left)
    if not left:
        return _found(A.mT, B.mT).mT
    made = _found(A, B)
    return made.squeeze(-1) if vector else made


@hot
def _found(A: Tensor, B: Tensor) -> Tensor:
    try:
        return SOLVE.apply((A, B))
    except LinAlgError:
        raise_first(reported.solve(A.detach(), B.detach())[1], _NO_SOLUTION.format("solve"))
        raise


@hot
def _right_hand(name: str, A: Tensor, B: Tensor, left: bool) -> tuple:
    """The right hand side as matrices, a batch as large as A's, and whether it was vectors; checked."""
    check_square(name, A)
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"linalg.{name}: Expected A and B to have the same dtype, but found A of type {A.dtype} and B of type "
            f"{B.dtype} instead"
        )
    n = A.shape[-1]
    vector = B.dim() == 1 or (B.dim() == A.dim() - 1 and tuple(B.shape) == tuple(A.shape[:-1]))
    if vector:
        B = B.unsqueeze(-1)
    if B.dim() < 2:
        raise RuntimeError(f"linalg.{name}: The input tensor B must have at least 2 dimensions, but has {B.dim()}.")
    if B.shape[-2 if left or vector else -1] != n:
        raise RuntimeError(
            f"linalg.{name}: Incompatible shapes of A and B for the equation {'AX' if left else 'XA'} = B "
            f"({n}x{n} and {B.shape[-2]}x{B.shape[-1]})"
        )
    lead = broadcast_shapes(tuple(A.shape[:-2]), tuple(B.shape[:-2]))
    return B.expand((*lead, *B.shape[-2:])), vector


_SOLVE_EX = named("linalg_solve_ex", "result info")


def inv_ex(A: Tensor, *, check_errors: bool = False, out: tuple | None = None) -> Any:
    """(inverse, info) as `inv`, where info is 0 for a matrix that has one, else the number of the first zero pivot.

    What stands for an inverse that there is not is NaN. With `check_errors` RuntimeError is raised for it.
    """
    check_square("inv_ex", A)
    found, info = reported.inverse(A)
    if check_errors:
        raise_first(info, _NO_INVERSE.format("inv_ex"))
    return _INV_EX(*written(out, name_nodes(found, "LinalgInvExBackward", A), info))


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(result, info) as `solve`, where info is 0 for a matrix that can be inverted, else the number of the first zero
    pivot; the result is NaN then. With `check_errors` RuntimeError is raised for it.
    """
    B, vector = _right_hand("solve_ex", A, B, left)
    found, info = reported.solve(A, B) if left else reported.solve(A.mT, B.mT)
    if check_errors:
        raise_first(info, _NO_SOLUTION.format("solve_ex"))
    if not left:
        return _SOLVE_EX(found.mT, info)
    return _SOLVE_EX(name_nodes(found.squeeze(-1), "LinalgSolveExBackward") if vector else found, info)


DET = operator(
    "linalg_det",
    lambda x: backend.copied(library("det", x)),
    tensors=("x",),
    grads={"x": lambda g, x, result: (g * result.conj()).unsqueeze(-1).unsqueeze(-1) * on_either(INV, x).mH},
    node="LinalgDet",
    anywhere=True,
    batch=trailing,
)


@hot
def det(A: Tensor) -> Tensor:
    """The determinant of square matrices. Its gradient needs an invertible matrix."""
    check_square("det", A)
    return DET.apply((A,))


def _logabsdet(x: Value) -> Value:
    return backend.copied(library("slogdet", x)[1])


LOGABSDET = operator(
    "linalg_slogdet",
    _logabsdet,
    tensors=("x",),
    grads={"x": lambda g, x: g.unsqueeze(-1).unsqueeze(-1) * on_either(INV, x).mH},
    anywhere=True,
    batch=trailing,
)


def _turning(g: Any, x: Any, result: Any) -> Any:
    """The gradient of exp(i t) with t = Im(tr(log x)): i Im(g conj(result)) times the adjoint of the inverse."""
    turned = g * result.conj()
    return ((turned - turned.conj()) * 0.5).unsqueeze(-1).unsqueeze(-1) * on_either(INV, x).mH


SIGNDET = operator(
    "linalg_sign_of_det",
    lambda x: backend.copied(library("slogdet", x)[0]),
    tensors=("x",),
    grads={"x": _turning},
    anywhere=True,
    batch=trailing,
)


SLogDet = named("linalg_slogdet", "sign logabsdet")


def slogdet(A: Tensor) -> Any:
    """(sign, log|det|) of square matrices; the sign of a complex determinant is det / |det|."""
    check_square("slogdet", A)
    return SLogDet(SIGNDET.apply((A,)), LOGABSDET.apply((A,)))


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A @ X = B, or X @ A = B if not `left`, for a triangle A: the other one is not read.

    Zeros on the diagonal make it infinite, or NaN.
    """
    if B.dim() < 2:
        raise RuntimeError(
            f"linalg.solve_triangular: The input tensor B must have at least 2 dimensions, got {B.dim()}."
        )
    check_square("solve_triangular", A)
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"linalg.solve_triangular: Expected A and B to have the same dtype, but found {A.dtype} and {B.dtype}"
        )
    n = A.shape[-1]
    if B.shape[-2 if left else -1] != n:
        raise RuntimeError(
            f"linalg.solve_triangular: Incompatible shapes of A and B for the equation {'AX' if left else 'XA'} = B "
            f"({n}x{n} and {B.shape[-2]}x{B.shape[-1]})"
        )
    lead = broadcast_shapes(tuple(A.shape[:-2]), tuple(B.shape[:-2]))
    A, B = (t if tuple(t.shape[:-2]) == lead else t.expand((*lead, *t.shape[-2:])) for t in (A, B))
    if not left:
        return SOLVE_TRIANGULAR.apply((A.mT, B.mT), upper=not upper, unitriangular=unitriangular).mT
    return SOLVE_TRIANGULAR.apply((A, B), upper=upper, unitriangular=unitriangular)


@asks
def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False, *, out: Any = None
) -> Any:
    """X with A @ X = b for a triangle A, or with A.mT @ X = b if `transpose`, and a copy of A, as a named tuple.

    It is the older form of `linalg.solve_triangular`. Shapes: b (*, m, k), A (*, m, m); solution (*, m, k). Raises
    RuntimeError for other shapes and for different dtypes.

    >>> import livegrad
    >>> livegrad.triangular_solve(livegrad.ones(2, 1), livegrad.tensor([[2., 1.], [0., 1.]])).solution
    tensor([[0.],
            [1.]])
    """
    for name, t in (("b", b), ("A", A)):
        if t.dim() < 2:
            raise RuntimeError(
                f"torch.triangular_solve: Expected {name} to have at least 2 dimensions, but it has {t.dim()} "
                "dimensions instead"
            )
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"A must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} matrices"
        )
    if b.shape[-2] != A.shape[-1]:
        raise RuntimeError(
            f"Incompatible matrix sizes for triangular_solve: each A matrix is {A.shape[-2]} by {A.shape[-1]} but each "
            f"b matrix is {b.shape[-2]} by {b.shape[-1]}"
        )
    if b.dtype is not A.dtype:
        raise RuntimeError(f"Expected b and A to have the same dtype, but found b of type {b.dtype} and A of {A.dtype}")
    M = A.mT if transpose else A
    solution = solve_triangular(M, b, upper=upper != transpose, unitriangular=unitriangular)
    lead = solution.shape[:-2]
    return _Solved(*written(out, solution, A.expand(*lead, *A.shape[-2:]).clone()))  # type: ignore[attr-defined]


Tensor.triangular_solve = triangular_solve  # type: ignore[attr-defined]


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse for `tensordot(A, x, ind)`: A's first `ind` dimensions are rows, the others columns."""
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', got {ind}")
    rows, columns = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    if numel(rows) != numel(columns):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{numel(columns)} != {numel(rows)}"
        )
    return inv(A.reshape(numel(rows), -1)).reshape((*columns, *rows))


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """x with `tensordot(A, x, x.dim())` = B; dims of A are moved to its end first."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.dim() - len(dims), A.dim())))
    shape = tuple(A.shape[B.dim() :])
    if numel(shape) != B.numel():
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {numel(shape)} != {B.numel()}"
        )
    return solve(A.reshape(B.numel(), -1), B.reshape(-1)).reshape(shape)


check_public(globals(), "linalg_")
