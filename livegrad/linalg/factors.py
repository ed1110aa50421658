"""Decompositions of matrices: Cholesky, QR, singular values, eigenvalues."""

from __future__ import annotations

from typing import Any

from ..autograd.mode import MODE
from ..native import hot
from ..ops import reported
from ..ops.arguments import check_public
from ..ops.decompositions import CHOLESKY, EIG, EIGH, QR, QR_WHOLE, SVD, SVD_WHOLE, LinAlgError
from ..ops.operator import name_nodes
from ..ops.registry import FUNCTIONS
from ..ops.results import named
from ..tensor import Tensor
from .checks import check_matrix, check_square, raise_first, written

__all__ = [
    "cholesky",
    "cholesky_ex",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "householder_product",
    "qr",
    "svd",
    "svdvals",
]

_QR, _SVD = named("linalg_qr", "Q R"), named("linalg_svd", "U S Vh")


_EIG, _EIGH, _LSTSQ = (
    named("linalg_eig", "eigenvalues eigenvectors"),
    named("linalg_eigh", "eigenvalues eigenvectors"),
    named("linalg_lstsq", "solution residuals rank singular_values"),
)


_NO_FACTOR = (
    "linalg.{}:{{at}} The factorization could not be completed because the input is not positive-definite (the leading "
    "minor of order {{k}} is not positive-definite)."
)


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangle L, or with `upper` its adjoint, of A = L @ L.mH. Raises RuntimeError if there is none."""
    check_square("cholesky", A)
    try:
        found = CHOLESKY.apply((A,))
    except LinAlgError:
        raise_first(reported.cholesky(A.detach())[1], _NO_FACTOR.format("cholesky"))
        raise
    return name_nodes(found.mH, "LinalgCholeskyExBackward") if upper else found


_CHOLESKY_EX, _INV_EX = named("linalg_cholesky_ex", "L info"), named("linalg_inv_ex", "inverse info")


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False, out: tuple | None = None) -> Any:
    """(L, info) as `cholesky`, where info is 0 for a matrix that has a factor, else the order of the first leading
    minor that is not positive definite. With `check_errors` RuntimeError is raised for that.

    >>> import livegrad
    >>> livegrad.linalg.cholesky_ex(livegrad.tensor([[1., 2.], [2., 1.]])).info
    tensor(2, dtype=torch.int32)
    """
    check_square("cholesky_ex", A)
    found, info = reported.cholesky(A)
    if check_errors:
        raise_first(info, _NO_FACTOR.format("cholesky_ex"))
    return _CHOLESKY_EX(*written(out, name_nodes(found.mH, "LinalgCholeskyExBackward") if upper else found, info))


def qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R) with A = Q @ R; `mode` is "reduced", "complete" or "r".

    With "r", and with "complete" of matrices with more rows than columns, going backward raises RuntimeError.
    """
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    check_matrix("qr", A)
    m, n = A.shape[-2:]
    if mode == "r" or mode == "complete" and m > n:
        return _QR(*QR_WHOLE.apply((A,), mode=mode))
    if m >= n or not (MODE.grad and A._edge is not None):
        return _QR(*QR.apply((A,)))
    # Of a wide matrix the first columns alone say what Q is.
    q, r = QR.apply((A.narrow(-1, 0, m),))  # type: ignore[attr-defined]
    return _QR(q, FUNCTIONS["cat"]([r, q.mH @ A.narrow(-1, m, n - m)], -1))  # type: ignore[attr-defined]


def _check_driver(driver: str | None) -> None:
    if driver is not None:
        raise RuntimeError(
            "torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend, got "
            f"{driver!r}"
        )


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """(U, S, Vh) with A = U @ diag(S) @ Vh. Gradients leave out what `full_matrices` adds."""
    _check_driver(driver)
    check_matrix("svd", A)
    if not full_matrices or A.shape[-2] == A.shape[-1]:
        return _SVD(*SVD.apply((A,)))
    return _SVD(*SVD_WHOLE.apply((A,)))


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, largest first."""
    _check_driver(driver)
    return SVD.apply((A,))[1]


def eig(A: Tensor) -> Any:
    """(eigenvalues, eigenvectors) of square matrices, complex, in no particular order; the vectors are columns.

    Gradients exist where the eigenvalues are distinct. They may depend on the vectors only by what does not change if a
    vector is multiplied by a complex number of absolute value 1.

    >>> import livegrad
    >>> values, vectors = livegrad.linalg.eig(livegrad.tensor([[0.0, -1.0], [1.0, 0.0]]))
    >>> values
    tensor([0.+1.j, 0.-1.j])
    """
    check_square("eig", A)
    return _EIG(*EIG.apply((A,)))


def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues of square matrices, complex, in no particular order."""
    check_square("eigvals", A)
    return EIG.apply((A,))[0]


@hot
def _check_triangle(UPLO: str) -> None:
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")


@hot
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of symmetric or Hermitian matrices, of which one triangle is read; smallest first."""
    _check_triangle(UPLO)
    check_square("eigh", A)
    return _EIGH(*EIGH.apply((A,), UPLO=UPLO))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric or Hermitian matrices, smallest first."""
    _check_triangle(UPLO)
    check_square("eigvalsh", A)
    return EIGH.apply((A,), UPLO=UPLO)[0]


def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of a product of k reflections I - tau v v^H, as LAPACK's orgqr makes them.

    A: (..., m, n) with m >= n; column j holds the vector of reflection j below the diagonal; a 1 is on the diagonal and
    zeros are above it, whatever A has there. tau: (..., k) with k <= n.
    """
    if A.dim() < 2 or A.shape[-2] < A.shape[-1]:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-2] must be greater than or equal to input.shape[-1]; "
            f"got input of shape {list(A.shape)}"
        )
    if tau.shape[-1:] > A.shape[-1:] or tau.shape[:-1] != A.shape[:-2]:
        raise RuntimeError(
            "torch.linalg.householder_product: expected tau of shape (*, k) with the batch dimensions of input and "
            f"k at most {A.shape[-1]}; got tau of shape {list(tau.shape)} and input of shape {list(A.shape)}"
        )
    if A.dtype != tau.dtype:
        raise RuntimeError(
            f"torch.linalg.householder_product: tau dtype {tau.dtype} does not match input dtype {A.dtype}"
        )
    from ..creation import eye

    m, n = A.shape[-2:]
    vectors = A.tril(-1) + eye(m, n, dtype=A.dtype, device=A.device)
    made = eye(m, n, dtype=A.dtype, device=A.device).expand(A.shape)
    for j in reversed(range(tau.shape[-1])):
        v = vectors[..., :, j : j + 1]
        made = made - tau[..., j, None, None] * v * (v.mH @ made)
    return made


check_public(globals(), "linalg_")
