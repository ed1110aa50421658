"""What has a tolerance: pseudo-inverses, ranks, least squares."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..autograd.mode import no_grad
from ..lazy.value import Value
from ..ops.arguments import check_public
from ..ops.decompositions import LEAST_SQUARES, PINV
from ..tensor import Tensor, wrap
from .checks import check_floating, check_matrix, check_square
from .factors import _LSTSQ, eigvalsh, svdvals

__all__ = ["lstsq", "matrix_rank", "pinv"]


def _tolerances(A: Tensor, atol: Any, rtol: Any) -> tuple:
    """The absolute and the relative tolerance as values or numbers: without either, the relative one is rounding."""
    if rtol is None:
        zero = atol is None or not isinstance(atol, Tensor) and not atol > 0
        rtol = max(A.shape[-2:]) * dtypes.finfo(A.dtype).eps if zero else 0.0
    return tuple(
        t.detach().to(A.dtype.to_real() if A.is_complex() else A.dtype)._value() if isinstance(t, Tensor) else t  # type: ignore[attr-defined]
        for t in (0.0 if atol is None else atol, rtol)
    )


def pinv(A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """The pseudo-inverse; singular values up to `atol`, or up to `rtol` times the largest, count as zeros.

    Unless given, rtol is the larger size of a matrix times the dtype's rounding. `rcond` is another name of it.
    hermitian: A is, so its eigenvalues are taken.
    """
    check_matrix("pinv", A)
    check_floating("pinv", A)
    if hermitian:
        check_square("eigh", A)
    atol, rtol = _tolerances(A, atol, rcond if rtol is None else rtol)
    return PINV.apply((A,), atol=atol, rtol=rtol, hermitian=hermitian)


def matrix_rank(A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """How many singular values are above `atol` (also called `tol`) and `rtol` times the largest; see `pinv`."""
    check_matrix("matrix_rank", A)
    check_floating("matrix_rank", A)
    if hermitian:
        check_square("eigh", A)
    if not A.numel():
        return A.new_zeros(A.shape[:-2], dtype=dtypes.int64)  # type: ignore[attr-defined]
    if tol is not None:
        atol, rtol = tol, 0.0
    with no_grad():
        sizes = eigvalsh(A).abs() if hermitian else svdvals(A)  # type: ignore[attr-defined]
        bounds = [wrap(t) if isinstance(t, Value) else t for t in _tolerances(A, atol, rtol)]
        lowest, share = (t.unsqueeze(-1) if isinstance(t, Tensor) else t for t in bounds)
        top = sizes.amax(-1, True) * share
        return (sizes > (top.maximum(lowest) if isinstance(lowest, Tensor) else top.clamp(min=lowest))).sum(-1)


_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """The least-squares solution of A @ X = B, of the smallest norm where there are several; residuals, and ranks.

    The residuals are there for matrices of full rank with more rows than columns. `driver` ("gelsy" unless given) says
    what else is, as in PyTorch: singular values come with "gelsd" and "gelss", ranks with all but "gels".
    """
    driver = driver or "gelsy"
    if driver not in _DRIVERS:
        raise RuntimeError(f"torch.linalg.lstsq: parameter `driver` should be one of {_DRIVERS}, got {driver!r}")
    for name, t in (("input", A), ("other", B)):
        if t.dim() < (2 if name == "input" else 1):
            raise RuntimeError(f"torch.linalg.lstsq: {name} must have at least {2 if t is A else 1} dimensions.")
    if A.dtype is not B.dtype:
        raise RuntimeError(
            "torch.linalg.lstsq: Expected input and other to have the same dtype, but got input's dtype "
            f"{A.dtype} and other's dtype {B.dtype}"
        )
    check_floating("lstsq", A)
    vector = B.dim() == 1 or B.dim() == A.dim() - 1
    right = B.unsqueeze(-1) if vector else B
    m, n = A.shape[-2:]
    if right.shape[-2] != m:
        raise RuntimeError(
            f"torch.linalg.lstsq: input.size(-2) should match other.size(-2), but they are {m} and {right.shape[-2]}"
        )
    by_pivots = driver in ("gels", "gelsy")
    if tuple(A.shape[:-2]) == tuple(right.shape[:-2]) and not isinstance(rcond, Tensor):
        solution, found = LEAST_SQUARES.apply((A, right), rtol=_tolerances(A, None, rcond)[1], pivots=by_pivots)
    else:
        solution, found = pinv(A, rcond) @ right, None
    empty = A.new_empty(0, dtype=A.dtype.to_real())
    rank, values = A.new_empty(0, dtype=dtypes.int64), empty.detach()  # type: ignore[attr-defined]
    full = driver == "gels"
    if driver != "gels":
        rank = matrix_rank(A.detach(), rtol=rcond) if found is None else found
        if driver != "gelsy":
            full = bool((rank == n).all())  # type: ignore[attr-defined]
            values = svdvals(A.detach())
    residuals: Any = empty
    if m > n and full and driver != "gelsy":
        residuals = (A @ solution - right).abs().square().sum(-2)
    return _LSTSQ(solution.squeeze(-1) if vector else solution, residuals, rank, values)


check_public(globals(), "linalg_")
