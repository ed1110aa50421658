"""A few eigenvalues at one end of the spectrum of a large symmetric matrix, from products with it alone."""

from __future__ import annotations

from typing import Any

import livegrad
from livegrad import Tensor, linalg

from .overriding import asks

__all__ = ["lobpcg"]


@asks
def lobpcg(
    A: Any, k: int | None = None, B: Any = None, X: Tensor | None = None, n: int | None = None, iK: Any = None,
    niter: int | None = None, tol: float | None = None, largest: bool | None = None, method: str | None = None,
    tracker: Any = None, ortho_iparams: Any = None, ortho_fparams: Any = None, ortho_bparams: Any = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(E, V) with A V = B V diag(E): the k largest eigenvalues (..., k), or the smallest, and vectors (..., m, k).

    A: symmetric and positive definite, (..., m, m), dense or sparse. B: likewise; the identity if not given. X: where
    to begin, (..., m, n); numbers drawn from the default generator if not given. iK: near the inverse of A, which
    shortens the way. niter: steps at most, 1000 if not given; -1 for as many as are needed. tol: up to which size of
    the residual, relative to A and B, the square root of the precision if not given. method: "basic" and "ortho" are
    one. tracker: a function that is called after each step with an object whose `ivars`, `fvars` and `tvars` tell of
    it. With a dense A that requires a gradient the whole spectrum is computed.
    Raises ValueError for matrices of fewer than 3 n rows.
    Source: Knyazev, Toward the optimal preconditioned eigensolver, 2001.

    >>> import livegrad
    >>> E, V = livegrad.lobpcg(livegrad.diag(livegrad.arange(1., 10., dtype=livegrad.float64)), k=2)
    >>> E.round()
    tensor([9., 8.], dtype=torch.float64)
    """
    if A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError(f"lobpcg: A must be a batch of square matrices, but got the shape {list(A.shape)}")
    if method not in (None, "basic", "ortho"):
        raise ValueError(f'lobpcg: method must be "basic" or "ortho", got {method!r}')
    m, largest = A.shape[-1], True if largest is None else bool(largest)
    k = (1 if X is None else X.shape[-1]) if k is None else k
    n = (k if X is None else X.shape[-1]) if n is None else n
    if m < 3 * n:
        raise ValueError(
            f"LPBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than 3 x the number of "
            f"requested eigenpairs (={n})"
        )
    whole = A.shape[:-2]
    X = livegrad.randn((*whole, m, n), dtype=A.dtype, device=A.device) if X is None else X
    if isinstance(A, Tensor) and A.requires_grad and livegrad.is_grad_enabled():
        return _dense(A, B, k, largest)
    tol = livegrad.finfo(A.dtype).eps ** 0.5 if tol is None else tol
    steps = 1000 if niter is None else niter
    with livegrad.no_grad():
        if not whole:
            E, V = _Iteration(A, B, iK, largest, tol).run(X, steps, tracker)
            return E[:k], V[:, :k]
        flat: list[Any] = [
            None if x is None else x.expand(*whole, *x.shape[-2:]).reshape(-1, *x.shape[-2:]) for x in (A, B, iK, X)
        ]
        found = []
        for i in range(A[..., 0, 0].numel()):  # a sparse matrix has no batches
            a, b, nearly = (None if x is None else x[i] for x in flat[:3])
            found.append(_Iteration(a, b, nearly, largest, tol).run(flat[3][i], steps, tracker))
        E, V = (livegrad.stack([pair[j] for pair in found]) for j in range(2))  # type: ignore[attr-defined]
        return E[:, :k].reshape(*whole, k), V[..., :k].reshape(*whole, m, k)


def _dense(A: Tensor, B: Tensor | None, k: int, largest: bool) -> tuple[Tensor, Tensor]:
    """Of the whole spectrum, with gradients."""
    root = None if B is None else linalg.cholesky(B)
    if root is not None:
        half = linalg.solve_triangular(root, A, upper=False)
        A = linalg.solve_triangular(root, half.mT, upper=False)
    E, V = linalg.eigh(A)
    E, V = (E.flip(-1)[..., :k], V.flip(-1)[..., :k]) if largest else (E[..., :k], V[..., :k])
    return E, V if root is None else linalg.solve_triangular(root.mT, V, upper=True)


class _State:
    """What a tracker is told: numbers of steps and of found vectors, and tensors by name."""

    def __init__(self) -> None:
        self.ivars: dict[str, int] = {"istep": 0, "converged_count": 0}
        self.fvars: dict[str, float] = {}
        self.tvars: dict[str, Tensor] = {}
        self.bvars = {"force_stop": False}


class _Iteration:
    """One matrix, and the steps towards its eigenvectors."""

    def __init__(self, A: Any, B: Any, iK: Any, largest: bool, tol: float):
        self.A, self.B, self.iK, self.largest, self.tol = A, B, iK, largest, tol

    def _by_b(self, X: Tensor) -> Tensor:
        return X if self.B is None else self.B @ X

    def _orthonormal(self, S: Tensor) -> Tensor:
        """A basis of the same space, orthonormal by B: without the directions that are nothing but rounding."""
        S = S / linalg.norm(S, dim=0).clamp_min(livegrad.finfo(S.dtype).tiny)
        for _ in range(2):  # the second time makes up for rounding of the first
            E, V = linalg.eigh(S.mT @ self._by_b(S))
            held = E[-1] * livegrad.finfo(S.dtype).eps * S.shape[1] < E
            S = S @ (V[:, held] / E[held].sqrt())
        return S

    def _ritz(self, S: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Approximate eigenvalues within a space of that basis, and the coefficients of their vectors."""
        E, C = linalg.eigh(S.mT @ (self.A @ S))
        return (E.flip(0)[:n], C.flip(1)[:, :n]) if self.largest else (E[:n], C[:, :n])

    def run(self, X: Tensor, steps: int, tracker: Any) -> tuple[Tensor, Tensor]:
        """The eigenvalues, and the vectors."""
        n, state = X.shape[1], _State()
        X = self._orthonormal(X)
        E, C = self._ritz(X, n)
        X, P = X @ C, None
        size_of_a = linalg.norm(self.A @ X) / linalg.norm(X)
        size_of_b = linalg.norm(self._by_b(X)) / linalg.norm(X)
        while True:
            R = self.A @ X - self._by_b(X) * E
            error = linalg.norm(R, dim=0) / (linalg.norm(X, dim=0) * (size_of_a + E.abs() * size_of_b))
            done = int((error <= self.tol).sum())  # type: ignore[attr-defined]
            state.ivars["converged_count"] = done
            state.tvars.update(E=E, X=X, R=R, rerr=error)
            if tracker is not None:
                tracker(state)
            if done == n or state.ivars["istep"] == steps or state.bvars["force_stop"]:
                return E, X
            W = R if self.iK is None else self.iK @ R
            W = W - X @ (X.mT @ self._by_b(W))
            S = livegrad.cat([X, self._orthonormal(W if P is None else livegrad.cat([W, P], 1))], 1)
            S = self._orthonormal(S)
            E, C = self._ritz(S, n)
            before, X = X, S @ C
            P = X - before @ (before.mT @ self._by_b(X))
            state.ivars["istep"] += 1
