"""Linear algebra: solving, decompositions and norms, through the backend's LAPACK.

All but `matrix_rank` are differentiable. Where a form of a decomposition has no gradient, it raises for an input that
is being recorded, rather than lose its gradient silently.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import dtypes
from .autograd.mode import MODE
from .lazy import backend
from .lazy.value import Value
from .ops import reported
from .ops.arguments import check_public
from .ops.decompositions import CHOLESKY, EIG, EIGH, PINV, QR, SOLVE, SVD, LinAlgError, library
from .ops.dims import dims_of
from .ops.dispatch import broadcast_shapes
from .ops.matmul import _either, matmul
from .ops.operator import on_either
from .ops.registry import FUNCTIONS, operator, write_out
from .ops.results import named
from .runtime.array import numel
from .tensor import Tensor, wrap

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals",
    "eigvalsh", "householder_product", "inv", "inv_ex", "lstsq", "matmul", "matrix_exp", "matrix_norm",
    "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex",
    "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip


def _square(name: str, x: Tensor) -> None:
    if x.dtype.category not in (dtypes.FLOATING, dtypes.COMPLEX) or x.dtype.itemsize < 4:
        raise RuntimeError(f"linalg.{name}: expected a tensor of float32, float64 or complex numbers, got {x.dtype}")
    if x.dim() < 2 or x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {list(x.shape)} matrices"
        )


def _matrix(name: str, x: Tensor) -> None:
    if x.dim() < 2:
        raise RuntimeError(f"linalg.{name}: The input tensor A must have at least 2 dimensions.")


INV = operator(
    "linalg_inv",
    lambda x: backend.fresh(library("inv", x)),
    tensors=("x",),
    grads={"x": lambda g, result: -_either(_either(result.mH, g), result.mH)},
    node="LinalgInvEx",
    anywhere=True,
)


def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices. Raises RuntimeError for a singular one."""
    _square("inv", A)
    return INV.apply((A,))


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X such that A @ X = B, or X @ A = B if not `left`, for square A (..., n, n) and B (..., n, k) or (n,)."""
    if not left:
        return solve(A.mT, B.mT if B.dim() > 1 else B).mT if B.dim() > 1 else solve(A.mT, B)
    _square("solve", A)
    vector = B.dim() == 1 or B.dim() == A.dim() - 1
    if B.shape[-1 if vector else -2] != A.shape[-1]:
        n, rows, columns = A.shape[-1], B.shape[-1 if vector else -2], 1 if vector else B.shape[-1]
        raise RuntimeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation AX = B ({n}x{n} and {rows}x{columns})"
        )
    if vector:
        return SOLVE.apply((A, B.unsqueeze(-1))).squeeze(-1)
    return SOLVE.apply((A, B))


DET = operator(
    "linalg_det",
    lambda x: backend.copied(library("det", x)),
    tensors=("x",),
    grads={"x": lambda g, x, result: (g * result.conj()).unsqueeze(-1).unsqueeze(-1) * on_either(INV, x).mH},
    node="LinalgDet",
    anywhere=True,
)


def det(A: Tensor) -> Tensor:
    """The determinant of square matrices. Its gradient needs an invertible matrix."""
    _square("det", A)
    return DET.apply((A,))


def _logabsdet(x: Value) -> Value:
    return backend.copied(library("slogdet", x)[1])


LOGABSDET = operator(
    "linalg_slogdet",
    _logabsdet,
    tensors=("x",),
    grads={"x": lambda g, x: g.unsqueeze(-1).unsqueeze(-1) * on_either(INV, x).mH},
    anywhere=True,
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
)
SLogDet = named("linalg_slogdet", "sign logabsdet")


def slogdet(A: Tensor) -> Any:
    """(sign, log|det|) of square matrices; the sign of a complex determinant is det / |det|."""
    _square("slogdet", A)
    if A.is_complex():
        return SLogDet(SIGNDET.apply((A,)), LOGABSDET.apply((A,)))
    sign = wrap(backend.copied(library("slogdet", A._value())[0]))
    return SLogDet(sign, LOGABSDET.apply((A,)))


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """A vector norm, or, for two dimensions and ord "fro", "nuc", 2, -2, 1, -1 or infinity, a matrix norm."""
    two = dim is not None and not isinstance(dim, int) and len(dim) == 2
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if isinstance(ord, str) or two or (dim is None and A.dim() == 2):
        return matrix_norm(A, ord, dim or (-2, -1), keepdim, dtype=dtype)
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of three components, which lie along a dimension; the others broadcast."""
    return input.cross(other, dim)


def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The norm of order `ord` over dimensions, all of them unless given."""
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
    found = singular.sum(-1) if ord == "nuc" else singular.amax(-1) if ord > 0 else singular.amin(-1)
    if keepdim:
        for d in sorted((rows, columns)):
            found = found.unsqueeze(d)
    return found


# Coefficients of Padé approximants of exp, lowest power first, and the largest 1-norm for which the approximant is good
# to the last place (Higham, The scaling and squaring method for the matrix exponential revisited, 2005).
_PADE = {
    4: ((17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1), 3.9),
    8: (
        (
            64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
            670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
        ),
        5.3,
    ),
}  # fmt: skip


def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of square matrices (..., n, n): the sum of A**k / k!.

    By scaling and squaring with a Padé approximant (Higham, 2005), in differentiable steps. Matrices of a batch are
    scaled alike.

    >>> import livegrad
    >>> livegrad.linalg.matrix_exp(livegrad.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    _square("matrix_exp", A)
    if not A.numel():
        return A.clone()
    from .creation import eye

    b, limit = _PADE[A.dtype.to_real().itemsize if A.is_complex() else A.dtype.itemsize]
    size = A.detach().abs().sum(-2).max().item()
    squarings = max(0, math.ceil(math.log2(size / limit))) if 0 < size < math.inf else 0
    x = A / 2.0**squarings
    even = [eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape)]  # powers 0, 2, 4, 6
    even.append(x @ x)
    even.append(even[1] @ even[1])
    even.append(even[2] @ even[1])
    # Powers above 7 are those below times the sixth.
    u = sum(b[2 * k + 1] * even[k] for k in range(4))
    v = sum(b[2 * k] * even[k] for k in range(4))
    if len(b) > 8:
        u = u + even[3] @ sum(b[2 * k + 7] * even[k] for k in range(1, 4))
        v = v + even[3] @ sum(b[2 * k + 6] * even[k] for k in range(1, 4))
    u = x @ u
    made = solve(v - u, v + u)
    for _ in range(squarings):
        made = made @ made
    return made


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
    from .creation import eye

    m, n = A.shape[-2:]
    vectors = A.tril(-1) + eye(m, n, dtype=A.dtype, device=A.device)
    made = eye(m, n, dtype=A.dtype, device=A.device).expand(A.shape)
    for j in reversed(range(tau.shape[-1])):
        v = vectors[..., :, j : j + 1]
        made = made - tau[..., j, None, None] * v * (v.mH @ made)
    return made


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A multiplied by itself n times; a negative n powers the inverse."""
    _square("matrix_power", A)
    if n < 0:
        A, n = inv(A), -n
    made = None
    while n:
        if n & 1:
            made = A if made is None else made @ A
        A, n = A @ A, n >> 1
    if made is not None:
        return made
    from .creation import eye

    return eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape)


_QR, _SVD = named("linalg_qr", "Q R"), named("linalg_svd", "U S Vh")
_EIG, _EIGH, _LSTSQ = (
    named("linalg_eig", "eigenvalues eigenvectors"),
    named("linalg_eigh", "eigenvalues eigenvectors"),
    named("linalg_lstsq", "solution residuals rank singular_values"),
)


def _refuse(name: str, *tensors: Tensor) -> None:
    """Raise where a gradient would be lost."""
    if MODE.grad and any(t._edge is not None for t in tensors):
        raise RuntimeError(f"{name} has no gradient: call it under livegrad.no_grad(), or on detached tensors")


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangle L, or with `upper` its adjoint, of A = L @ L.mH. Raises RuntimeError if there is none."""
    _square("cholesky", A)
    found = CHOLESKY.apply((A,))
    return found.mH if upper else found


_CHOLESKY_EX, _INV_EX = named("linalg_cholesky_ex", "L info"), named("linalg_inv_ex", "inverse info")
_SOLVE_EX = named("linalg_solve_ex", "result info")


def _raise_first(info: Tensor, text: str) -> None:
    """Raise for the first matrix that has failed; {k} in the text is the step, {at} where in a batch it is."""
    failed = info.reshape(-1).nonzero()  # type: ignore[attr-defined]
    if failed.numel():
        first = int(failed[0].item())
        at = f" (Batch element {first})" if info.dim() else ""
        raise LinAlgError(text.format(k=info.reshape(-1)[first].item(), at=at))  # type: ignore[attr-defined]


def _written(out: tuple | None, *results: Tensor) -> tuple:
    """Results, written into tensors that were given for them."""
    return results if out is None else tuple(write_out(o, r) for o, r in zip(out, results))


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False, out: tuple | None = None) -> Any:
    """(L, info) as `cholesky`, where info is 0 for a matrix that has a factor, else the order of the first leading
    minor that is not positive definite. With `check_errors` RuntimeError is raised for that.

    >>> import livegrad
    >>> livegrad.linalg.cholesky_ex(livegrad.tensor([[1., 2.], [2., 1.]])).info
    tensor(2, dtype=torch.int32)
    """
    _square("cholesky_ex", A)
    found, info = reported.cholesky(A)
    if check_errors:
        _raise_first(info, "linalg.cholesky_ex:{at} The factorization could not be completed because the input is not "
                     "positive-definite (the leading minor of order {k} is not positive-definite).")  # fmt: skip
    return _CHOLESKY_EX(*_written(out, found.mH if upper else found, info))


def inv_ex(A: Tensor, *, check_errors: bool = False, out: tuple | None = None) -> Any:
    """(inverse, info) as `inv`, where info is 0 for a matrix that has one, else the number of the first zero pivot.

    What stands for an inverse that there is not is NaN. With `check_errors` RuntimeError is raised for it.
    """
    _square("inv_ex", A)
    found, info = reported.inverse(A)
    if check_errors:
        _raise_first(info, "linalg.inv_ex:{at} The diagonal element {k} is zero, the inversion could not be completed "
                     "because the input matrix is singular.")  # fmt: skip
    return _INV_EX(*_written(out, found, info))


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(result, info) as `solve`, where info is 0 for a matrix that can be inverted, else the number of the first zero
    pivot; the result is NaN then. With `check_errors` RuntimeError is raised for it.
    """
    _square("solve_ex", A)
    if not left:
        found = solve_ex(A.mT, B.mT if B.dim() > 1 else B, check_errors=check_errors)
        return _SOLVE_EX(found.result.mT if B.dim() > 1 else found.result, found.info)
    vector = B.dim() == 1 or B.dim() == A.dim() - 1
    found, info = reported.solve(A, B.unsqueeze(-1) if vector else B)
    if check_errors:
        _raise_first(info, "torch.linalg.solve_ex:{at} The solver failed because the input matrix is singular.")
    return _SOLVE_EX(found.squeeze(-1) if vector else found, info)


def qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R) with A = Q @ R; `mode` is "reduced", "complete" or "r". Only "reduced" of tall matrices has a gradient."""
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    _matrix("qr", A)
    if mode == "reduced" and A.shape[-2] >= A.shape[-1]:
        return _QR(*QR.apply((A,)))
    _refuse(f"linalg.qr of a matrix of shape {list(A.shape)} with mode {mode!r}", A)
    if mode == "r":
        return _QR(
            wrap(backend.copied(np.empty(0, A.dtype.np))), wrap(backend.copied(library("qr", A._value(), mode="r")))
        )
    return _QR(*(wrap(backend.copied(part)) for part in library("qr", A._value(), mode=mode)))


def svd(A: Tensor, full_matrices: bool = True) -> Any:
    """(U, S, Vh) with A = U @ diag(S) @ Vh. A gradient needs `full_matrices=False`, or a square matrix."""
    _matrix("svd", A)
    if not full_matrices or A.shape[-2] == A.shape[-1]:
        return _SVD(*SVD.apply((A,)))
    _refuse("linalg.svd with full_matrices=True", A)
    return _SVD(*(wrap(backend.copied(part)) for part in library("svd", A._value(), full_matrices=True)))


def svdvals(A: Tensor) -> Tensor:
    """The singular values, largest first."""
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
    _square("eig", A)
    return _EIG(*EIG.apply((A,)))


def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues of square matrices, complex, in no particular order."""
    _square("eigvals", A)
    return EIG.apply((A,))[0]


def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of symmetric or Hermitian matrices, of which one triangle is read; smallest first."""
    _square("eigh", A)
    return _EIGH(*EIGH.apply((A,), UPLO=UPLO))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric or Hermitian matrices, smallest first."""
    _square("eigvalsh", A)
    return EIGH.apply((A,), UPLO=UPLO)[0]


def pinv(A: Tensor, *, rcond: float | None = None, hermitian: bool = False) -> Tensor:
    """The pseudo-inverse; singular values below `rcond` times the largest count as zeros."""
    options: dict[str, Any] = {} if rcond is None else {"rcond": rcond}
    if hermitian:
        options["hermitian"] = True
    return PINV.apply((A,), **options)


def matrix_rank(A: Tensor) -> Tensor:
    """How many singular values are not zero, within rounding."""
    return wrap(backend.copied(library("matrix_rank", A._value())))


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """The least-squares solution of A @ X = B; of full-rank matrices it has a gradient."""
    if MODE.grad and (A._edge is not None or B._edge is not None):
        empty = wrap(backend.copied(np.empty(0, A.dtype.np)))
        return _LSTSQ(pinv(A) @ B, empty, empty, empty)
    found = library("lstsq", A._value(), B._value(), rcond=rcond)
    return _LSTSQ(*(wrap(backend.copied(part)) for part in found))


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A @ X = B, or X @ A = B if not `left`, for a triangle A: the other one is not read."""
    _square("solve_triangular", A)
    if not left:
        return solve_triangular(A.mT, B.mT, upper=not upper, unitriangular=unitriangular).mT
    if unitriangular:
        from .creation import eye

        A = (A.triu(1) if upper else A.tril(-1)) + eye(A.shape[-1], dtype=A.dtype, device=A.device)
    else:
        A = A.triu() if upper else A.tril()
    lead = broadcast_shapes(tuple(A.shape[:-2]), tuple(B.shape[:-2]))
    return SOLVE.apply((A.expand((*lead, *A.shape[-2:])), B.expand((*lead, *B.shape[-2:]))))


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of products along a dimension, of the conjugate of x with y; the others broadcast."""
    if x.dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {x.dtype}")
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"linalg.vecdot: Expected x and y to have the same dtype, but found x of type {x.dtype} and y of type "
            f"{y.dtype} instead"
        )
    return (x.conj() * y).sum(dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A diagonal of matrices, as the last dimension."""
    return A.diagonal(offset, dim1, dim2)


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """Powers of numbers from 0 to N - 1, as many as there are numbers unless given, along a new last dimension."""
    n = x.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError("N must be greater than 1.")
    from .creation import arange

    powers = x.unsqueeze(-1).expand((*x.shape, n - 1)).cumprod(-1)
    one = arange(1, 2, dtype=powers.dtype, device=powers.device).expand((*x.shape, 1))
    from .ops.registry import FUNCTIONS

    return FUNCTIONS["cat"]([one, powers], -1)


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number in a matrix norm, 2 unless given."""
    if p in (None, 2, -2):
        singular = svdvals(A)
        high, low = singular[..., 0], singular[..., -1]
        return low / high if p == -2 else high / low
    return matrix_norm(A, p) * matrix_norm(inv(A), p)


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


def multi_dot(tensors: Any) -> Tensor:
    """The product of several matrices, in the order that takes the fewest multiplications."""
    if isinstance(tensors, Tensor):
        raise TypeError("linalg_multi_dot(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    mats = list(tensors)
    if len(mats) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(mats)}")
    for i, t in enumerate(mats):
        end = i in (0, len(mats) - 1)
        if t.dim() != 2 and not (end and t.dim() == 1):
            which = "the first tensor" if not i else "the last tensor" if end else f"tensor {i}"
            raise RuntimeError(f"multi_dot(): {which} must be {'1D or 2D' if end else '2D'} but got {t.dim()}D")
        if t.dtype is not mats[0].dtype:
            raise RuntimeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {mats[0].dtype} and tensor {i} "
                f"{t.dtype}"
            )
        before = mats[i - 1].shape[-1] if i else 0
        if i and before != t.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i - 1} and {i} with shapes {list(mats[i - 1].shape)} and {list(t.shape)} "
                "cannot be multiplied"
            )
    while len(mats) > 1:
        # Cut away the largest inner size first.
        i = max(range(len(mats) - 1), key=lambda i: mats[i].shape[-1])
        mats[i : i + 2] = [matmul(mats[i], mats[i + 1])]
    return mats[0]


check_public(globals(), "linalg_")
globals()["matmul"] = FUNCTIONS["matmul"]  # the same function under both names
