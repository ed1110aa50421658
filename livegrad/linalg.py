"""Linear algebra: solving, decompositions and norms, through the backend's LAPACK.

`inv`, `solve`, `det`, `slogdet` and the norms are differentiable. The decompositions are not: they raise for an input
that is being recorded, rather than lose its gradient silently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import dtypes
from .autograd.mode import MODE
from .lazy.value import Value
from .ops.matmul import _either, matmul
from .ops.reduce import dims_of
from .ops.registry import operator
from .ops.results import named
from .ops.view import on_either
from .runtime import backend
from .tensor import Tensor, wrap

__all__ = [
    "cholesky", "det", "eigh", "eigvalsh", "inv", "lstsq", "matmul", "matrix_norm", "matrix_power", "matrix_rank",
    "norm", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "vector_norm",
]  # fmt: skip

LinAlgError = RuntimeError


def _library(name: str, *values: Value, **options: Any) -> Any:
    """Call the backend's linear algebra. Raises RuntimeError with what it found, such as a singular matrix."""
    xp = backend.of(values[0])
    try:
        return getattr(xp.linalg, name)(*(v.native() for v in values), **options)
    except xp.linalg.LinAlgError as error:
        shapes = ", ".join(str(list(v.shape)) for v in values)
        raise LinAlgError(f"linalg.{name}: {error} (for input of shape {shapes})") from None


def _square(name: str, x: Tensor) -> None:
    if x.dtype.category != dtypes.FLOATING or x.dtype.itemsize < 4:
        raise RuntimeError(f"linalg.{name}: expected a float32 or float64 tensor, got {x.dtype}")
    if x.dim() < 2 or x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {list(x.shape)} matrices"
        )


INV = operator(
    "linalg_inv",
    lambda x: backend.fresh(_library("inv", x)),
    tensors=("x",),
    grads={"x": lambda g, result: -_either(_either(result.mT, g), result.mT)},
    node="LinalgInvEx",
)


def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices. Raises RuntimeError for a singular one."""
    _square("inv", A)
    return INV.apply((A,))


def _solve_value(a: Value, b: Value) -> Value:
    return backend.fresh(_library("solve", a, b))


SOLVE = operator(
    "linalg_solve",
    _solve_value,
    tensors=("a", "b"),
    grads={
        "a": lambda g, a, result: -_either(_solved(a, g), result.mT),
        "b": lambda g, a, b_shape: _solved(a, g).sum_to_size(b_shape),
    },
)


def _solved(a: Any, g: Any) -> Any:
    """The adjoint's solution: A^T x = g."""
    return _solve_value(a.mT, g) if g.__class__ is Value else SOLVE.apply((a.mT, g))


def solve(A: Tensor, B: Tensor) -> Tensor:
    """X such that A @ X = B, for square A (..., n, n) and B (..., n, k) or (n,)."""
    _square("solve", A)
    if B.dim() == 1 or B.dim() == A.dim() - 1:
        return SOLVE.apply((A, B.unsqueeze(-1))).squeeze(-1)
    return SOLVE.apply((A, B))


DET = operator(
    "linalg_det",
    lambda x: backend.copied(_library("det", x)),
    tensors=("x",),
    grads={"x": lambda g, x, result: (g * result).unsqueeze(-1).unsqueeze(-1) * on_either(INV, x).mT},
    node="LinalgDet",
)


def det(A: Tensor) -> Tensor:
    """The determinant of square matrices. Its gradient needs an invertible matrix."""
    _square("det", A)
    return DET.apply((A,))


def _logabsdet(x: Value) -> Value:
    return backend.copied(_library("slogdet", x)[1])


LOGABSDET = operator(
    "linalg_slogdet",
    _logabsdet,
    tensors=("x",),
    grads={"x": lambda g, x: g.unsqueeze(-1).unsqueeze(-1) * on_either(INV, x).mT},
)
SLogDet = named("linalg_slogdet", "sign logabsdet")


def slogdet(A: Tensor) -> Any:
    """(sign, log|det|) of square matrices."""
    _square("slogdet", A)
    sign = wrap(backend.copied(_library("slogdet", A._value())[0]))
    return SLogDet(sign, LOGABSDET.apply((A,)))


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """A vector norm, or, for two dimensions and ord "fro", "nuc", 2, -2, 1, -1 or infinity, a matrix norm."""
    two = dim is not None and not isinstance(dim, int) and len(dim) == 2
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if isinstance(ord, str) or two or (dim is None and A.dim() == 2):
        return matrix_norm(A, ord, dim or (-2, -1), keepdim, dtype=dtype)
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The norm of order `ord` over dimensions, all of them unless given."""
    return x.norm(ord, dim, keepdim, dtype=dtype)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """A norm of matrices that lie in two dimensions."""
    if dtype is not None:
        A = A.to(dtype)
    rows, columns = dims_of(dim, A.dim())
    if ord == "fro":
        return A.norm(2, (rows, columns), keepdim)
    if ord in (1, -1, float("inf"), float("-inf")):
        along, other = (rows, columns) if ord in (1, -1) else (columns, rows)
        sums = A.abs().sum(along, keepdim=True)
        found = sums.amax(other, True) if ord > 0 else sums.amin(other, True)
        return found if keepdim else found.squeeze((rows, columns))
    singular = svdvals(A.movedim((rows, columns), (-2, -1)))
    if ord == "nuc":
        return singular.sum(-1)
    if ord in (2, -2):
        return singular.amax(-1) if ord > 0 else singular.amin(-1)
    raise ValueError(f"linalg.matrix_norm: unknown order {ord!r}")


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

    return eye(A.shape[-1], dtype=A.dtype).expand(A.shape)


def _decomposition(name: str, call: Callable, result: Any = None, square: bool = False) -> Callable:
    def function(A: Tensor, *args: Any, **options: Any) -> Any:
        if A._edge is not None and MODE.grad:
            raise RuntimeError(
                f"linalg.{name} has no gradient here: call it under livegrad.no_grad(), or on A.detach()"
            )
        if square:
            _square(name, A)
        found = call(A._value(), *args, **options)
        if result is None:
            return wrap(backend.copied(found))
        return result(*(wrap(backend.copied(part)) for part in found))

    function.__name__ = name
    function.__doc__ = f"`{name}` of matrices, from the backend's LAPACK; not differentiable."
    return function


def _qr(x: Value, mode: str = "reduced") -> Any:
    return _library("qr", x, mode=mode)


def _svd(x: Value, full_matrices: bool = True) -> Any:
    return _library("svd", x, full_matrices=full_matrices)


qr = _decomposition("qr", _qr, named("linalg_qr", "Q R"))
svd = _decomposition("svd", _svd, named("linalg_svd", "U S Vh"))
svdvals = _decomposition("svdvals", lambda x: _library("svd", x, compute_uv=False))
eigh = _decomposition(
    "eigh", lambda x, UPLO="L": _library("eigh", x, UPLO=UPLO), named("linalg_eigh", "eigenvalues eigenvectors"), True
)
eigvalsh = _decomposition("eigvalsh", lambda x, UPLO="L": _library("eigvalsh", x, UPLO=UPLO), None, True)
cholesky = _decomposition("cholesky", lambda x: _library("cholesky", x), None, True)
pinv = _decomposition("pinv", lambda x: _library("pinv", x))
matrix_rank = _decomposition("matrix_rank", lambda x: _library("matrix_rank", x))
_LSTSQ = named("linalg_lstsq", "solution residuals rank singular_values")


def lstsq(A: Tensor, B: Tensor) -> Any:
    """The least-squares solution of A @ X = B; not differentiable."""
    if MODE.grad and (A._edge is not None or B._edge is not None):
        raise RuntimeError(
            "linalg.lstsq has no gradient here: call it under livegrad.no_grad(), or on detached tensors"
        )
    found = _library("lstsq", A._value(), B._value())
    return _LSTSQ(*(wrap(backend.copied(part)) for part in found))
