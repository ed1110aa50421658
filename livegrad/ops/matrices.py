"""Names of PyTorch's main namespace for linear algebra, and products and arrangements of matrices and vectors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from .casting import autocasts
from .registry import FUNCTIONS, function, named, public
from .results import named as result_type

_SVD, _QR = result_type("svd", "U S V"), result_type("qr", "Q R")


def _linalg() -> Any:
    from .. import linalg  # it depends on this package

    return linalg


def _samples(*calls: tuple) -> Any:
    """Samples from argument tuples; nested lists stand for arrays of data."""

    def made(x: Any) -> Any:
        return np.array(x, np.float64) if isinstance(x, list) else x

    return lambda: [(tuple(made(a) for a in call), {}) for call in calls]


_SQUARE = [[2.0, 0.5, 0.25], [0.5, 3.0, -1.0], [0.25, -1.0, 4.0]]
_WIDE = [[1.5, -2.0, 0.5], [0.25, 3.0, -1.0]]
_VECTOR, _OTHER = [1.0, 2.0, -0.5], [0.5, -1.0]


@public("inverse", samples=_samples((_SQUARE,)))
@autocasts
def inverse(x: Tensor) -> Tensor:
    """The inverse of square matrices."""
    return _linalg().inv(x)


@public("det", samples=_samples((_SQUARE,)))
def det(x: Tensor) -> Tensor:
    """The determinant of square matrices."""
    return _linalg().det(x)


@public("logdet", samples=_samples((_SQUARE,)))
def logdet(x: Tensor) -> Tensor:
    """The logarithm of the determinant; NaN where that is negative."""
    sign, found = _linalg().slogdet(x)
    return FUNCTIONS["where"](sign < 0, float("nan"), found)


@named("slogdet")
def slogdet(x: Tensor) -> Any:
    """(sign, log|det|) of square matrices."""
    return _linalg().slogdet(x)


@named("cholesky")
@autocasts
def cholesky(x: Tensor, upper: bool = False) -> Tensor:
    """The lower triangle L, or the upper one, of x = L @ L.T."""
    return _linalg().cholesky(x, upper=upper)


@named("cholesky_solve")
def cholesky_solve(x: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """y with A @ y = x, for A given by its Cholesky factor."""
    lower = L.mT if upper else L
    solve = _linalg().solve_triangular
    return solve(lower.mT, solve(lower, x, upper=False), upper=True)


@named("cholesky_inverse")
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of a matrix given by its Cholesky factor."""
    from ..creation import eye

    return cholesky_solve(eye(L.shape[-1], dtype=L.dtype, device=L.device), L, upper)


@named("pinverse")
@autocasts
def pinverse(x: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudo-inverse."""
    return _linalg().pinv(x, rcond=rcond)


@named("qr")
def qr(x: Tensor, some: bool = True) -> Any:
    """(Q, R) with x = Q @ R."""
    return _QR(*_linalg().qr(x, "reduced" if some else "complete"))


@named("svd")
def svd(x: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """(U, S, V) with x = U @ diag(S) @ V.T."""
    u, s, vh = _linalg().svd(x, full_matrices=not some)
    if not compute_uv:
        return _SVD(u.new_zeros(u.shape), s, vh.new_zeros(vh.mT.shape))
    return _SVD(u, s, vh.mT)


@named("matrix_power")
def matrix_power(x: Tensor, n: int) -> Tensor:
    """A square matrix multiplied by itself n times."""
    return _linalg().matrix_power(x, n)


@named("matrix_exp")
def matrix_exp(x: Tensor) -> Tensor:
    """The exponential of square matrices: the sum of x**k / k!."""
    return _linalg().matrix_exp(x)


@named("orgqr")
def orgqr(x: Tensor, input2: Tensor) -> Tensor:
    """The first columns of a product of reflections: see `linalg.householder_product`."""
    return _linalg().householder_product(x, input2)


@public("adjoint", samples=_samples((_WIDE,)))
def adjoint(x: Tensor) -> Tensor:
    """The last two dimensions exchanged, and complex numbers conjugated."""
    return x.mH


@named("addr")
@autocasts
def addr(x: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * x + alpha * outer(vec1, vec2)"""
    return x * beta + vec1.outer(vec2) * alpha


@named("addbmm")
@autocasts
def addbmm(x: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * x + alpha * the sum of the products of a batch"""
    return x * beta + batch1.bmm(batch2).sum(0) * alpha


@public("diagflat", samples=_samples((_WIDE,), (_VECTOR, 1), (_VECTOR, -2)))
def diagflat(x: Tensor, offset: int = 0) -> Tensor:
    """All elements as the diagonal of a matrix."""
    return FUNCTIONS["diag"](x.reshape(-1), offset)


@public("corrcoef", samples=_samples((_WIDE,)))
def corrcoef(x: Tensor) -> Tensor:
    """The correlations of variables in rows."""
    c = FUNCTIONS["cov"](x)
    if c.dim() == 0:
        return c / c
    d = c.diagonal().sqrt()
    if c.is_complex():  # the parts are limited
        d, parts = d.real.unsqueeze(-1), FUNCTIONS["view_as_real"](c)
        return FUNCTIONS["view_as_complex"]((parts / d.unsqueeze(0) / d.unsqueeze(1)).clamp(-1, 1))
    return (c / d.unsqueeze(0) / d.unsqueeze(1)).clamp(-1, 1)


@named("trapezoid", method=False, aliases=("trapz",))
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The integral by the trapezoidal rule along a dimension."""
    if y.dtype is dtypes.bool_:
        raise RuntimeError("trapezoid: received a bool input for `y`, but bool is not supported")
    n = y.shape[dim]
    if not n:
        return y.sum(dim)
    middle = (y.narrow(dim, 1, n - 1) + y.narrow(dim, 0, n - 1)) * 0.5
    return (middle * _widths(y, x, dx, dim)).sum(dim)


@named("cumulative_trapezoid", method=False)
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """Running integrals by the trapezoidal rule along a dimension."""
    if y.dtype is dtypes.bool_:
        raise RuntimeError("cumulative_trapezoid: received a bool input for `y`, but bool is not supported")
    n = y.shape[dim]
    middle = (y.narrow(dim, 1, n - 1) + y.narrow(dim, 0, n - 1)) * 0.5
    return (middle * _widths(y, x, dx, dim)).cumsum(dim)


def _widths(y: Tensor, x: Tensor | None, dx: Any, dim: int) -> Any:
    if x is None:
        return dx
    if x.dtype is dtypes.bool_:
        raise RuntimeError("trapezoid: received a bool input for `x`, but bool is not supported")
    if x.dim() > 1:
        return x.diff(dim=dim)
    return x.diff().reshape([-1 if d == dim % y.dim() else 1 for d in range(y.dim())])


@named("vander", method=False)
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of the elements, highest first, as the columns of a matrix."""
    if x.dim() != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    n = x.shape[0] if N is None else N
    if n < 0:
        raise RuntimeError(f"N must be non-negative, but got {n}.")
    if not n:
        return x.new_empty((x.shape[0], 0))
    columns = [x.new_ones((x.shape[0], 1)), x.unsqueeze(1).expand(x.shape[0], n - 1)]
    powers = FUNCTIONS["cat"](columns, 1).cumprod(1)
    return powers if increasing else powers.flip(1)


def _widest(x: Any) -> Any:
    """In the widest dtype of its kind: float64, or complex128."""
    if isinstance(x, Tensor):
        return x.to(dtypes.complex128 if x.is_complex() else dtypes.float64)
    return x if isinstance(x, complex) else float(x)


@public(
    "float_power",
    samples=_samples((_WIDE, 2.0), (_WIDE, 3)),
    number_first=lambda number, exponent: _widest(number) ** _widest(exponent),
)
def float_power(x: Tensor, exponent: Any) -> Tensor:
    """x ** exponent in float64, or complex128."""
    return _widest(x) ** (_widest(exponent) if isinstance(exponent, Tensor) else exponent)


@public("ldexp", inplace=True, samples=_samples((_WIDE, _VECTOR)))
def ldexp(x: Tensor, other: Tensor) -> Tensor:
    """x * 2 ** other. With whole exponents the result has x's dtype, and no power on the way overflows."""
    if not x.is_floating_point() or other.dtype.category != dtypes.INTEGRAL:
        return x * 2.0**other
    wide = dtypes.float64 if x.dtype is dtypes.float64 else dtypes.float32
    first = other.div(2, rounding_mode="floor")  # type: ignore[attr-defined]
    powers = [2.0 ** part.to(wide) for part in (first, other - first)]
    return (x.to(wide) * powers[0] * powers[1]).to(x.dtype)


@function
def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of a larger one.

    >>> import livegrad
    >>> livegrad.block_diag(livegrad.ones(1, 2), livegrad.tensor([[3.0]]))
    tensor([[1., 1., 0.],
            [0., 0., 3.]])
    """
    mats = [FUNCTIONS["atleast_2d"](t) for t in tensors]
    columns = sum(m.shape[1] for m in mats)
    rows, before = [], 0
    for m in mats:
        n = m.shape[1]
        left, right = m.new_zeros((m.shape[0], before)), m.new_zeros((m.shape[0], columns - before - n))
        rows.append(FUNCTIONS["cat"]([left, m, right], 1))
        before += n
    return FUNCTIONS["cat"](rows)


@function
def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of several matrices."""
    return _linalg().multi_dot(matrices[0] if len(matrices) == 1 else matrices) if len(matrices) > 1 else matrices[0]


@function
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of one element of each vector, as rows."""
    if len(tensors) == 1:
        return tensors[0]
    grids = FUNCTIONS["broadcast_tensors"](
        *(t.reshape([-1 if i == k else 1 for i in range(len(tensors))]) for k, t in enumerate(tensors))
    )
    return FUNCTIONS["stack"]([g.reshape(-1) for g in grids], 1)


@function
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All ways to choose r elements of a vector, as rows."""
    from ..from_data import tensor

    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = list(choose(range(input.shape[0]), r))
    if not places:
        return input.new_zeros((0, r))
    return input[tensor(places, dtype=dtypes.int64)]


def _split_along(name: str, dim_of: Any) -> None:
    def function(x: Tensor, indices_or_sections: Any) -> tuple:
        if isinstance(indices_or_sections, int) and x.shape[dim_of(x)] % indices_or_sections:
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {dim_of(x)}, but the size of the dimension "
                f"{x.shape[dim_of(x)]} is not divisible by the split_size {indices_or_sections}!"
            )
        return x.tensor_split(indices_or_sections, dim_of(x))

    function.__name__ = name
    function.__doc__ = "Views of pieces along the dimension that `" + name[0] + "stack` joins."
    named(name)(function)


for _name, _dim in (("hsplit", lambda x: 0 if x.dim() == 1 else 1), ("vsplit", lambda x: 0), ("dsplit", lambda x: 2)):
    _split_along(_name, _dim)


@function
def dstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the third dimension."""
    raised = []
    for t in tensors:
        t = FUNCTIONS["atleast_2d"](t)
        raised.append(t.unsqueeze(-1) if t.dim() == 2 else t)
    return FUNCTIONS["cat"](raised, 2, out=out)
