"""Decompositions of the largest singular values alone, from random projections."""

from __future__ import annotations

import livegrad
from livegrad import Tensor

__all__ = ["get_approximate_basis", "pca_lowrank", "svd_lowrank"]


def get_approximate_basis(A: Tensor, q: int, niter: int | None = 2, M: Tensor | None = None) -> Tensor:
    """An orthonormal (..., m, q) that spans nearly what the q largest singular vectors of A - M (..., m, n) do.

    niter: steps of subspace iteration. The projection comes from the default generator.
    Source: algorithms 4.3 and 4.4 of Halko, Martinsson, Tropp, Finding structure with randomness, 2009.
    """
    X = A if M is None else A - M
    R = livegrad.randn(X.shape[-1], q, dtype=X.dtype, device=X.device)
    Q = livegrad.linalg.qr(X @ R).Q
    for _ in range(2 if niter is None else niter):
        Q = livegrad.linalg.qr(X.mH @ Q).Q
        Q = livegrad.linalg.qr(X @ Q).Q
    return Q


def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> tuple:
    """(U, S, V) with U diag(S) V^H near A - M: the q largest singular values and their vectors, nearly.

    A, M (..., m, n); U (..., m, q), S (..., q), V (..., n, q). niter: steps that make them nearer, 0 or more.
    Raises ValueError for a q that A has not as many of, or a negative niter.
    Source: algorithm 5.1 of Halko, Martinsson, Tropp, Finding structure with randomness, 2009.

    >>> import livegrad
    >>> U, S, V = livegrad.svd_lowrank(livegrad.diag(livegrad.tensor([5., 3., 0., 0.])), q=2)
    >>> S.round()
    tensor([5., 3.])
    """
    q = 6 if q is None else q
    m, n = A.shape[-2:]
    if not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter is not None and niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    X = A if M is None else A - M.broadcast_to(A.shape)  # type: ignore[attr-defined]
    if m < n:
        X = X.mH
    Q = get_approximate_basis(X, q, niter)
    U, S, Vh = livegrad.linalg.svd(Q.mH @ X, full_matrices=False)
    U, V = Q @ U, Vh.mH
    return (V, S, U) if m < n else (U, S, V)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple:
    """`svd_lowrank` of data whose rows are observations, less their mean if `center`: V has the principal directions.

    q: 6, or fewer if A has not as many. Raises ValueError for a q or niter that cannot be.
    """
    q = min(6, *A.shape[-2:]) if q is None else q
    return svd_lowrank(A - A.mean(dim=-2, keepdim=True) if center else A, q, niter)  # type: ignore[attr-defined]
