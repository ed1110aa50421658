"""Names of PyTorch's main namespace for linear algebra, and products and arrangements of matrices and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..runtime.ranges import ranges
from ..tensor import Tensor, from_native
from . import writes
from .casting import autocasts
from .geometry import normal_dim
from .instruction import SCALAR_TYPE_NAMES
from .operator import name_nodes, shows
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
    if x.is_complex():
        return sign.log() + found
    return FUNCTIONS["where"](sign < 0, float("nan"), found)


@named("slogdet")
def slogdet(x: Tensor) -> Any:
    """(sign, log|det|) of square matrices."""
    return _linalg().slogdet(x)


@named("cholesky")
@autocasts
def cholesky(x: Tensor, upper: bool = False) -> Tensor:
    """The lower triangle L, or the upper one, of x = L @ L.T."""
    return name_nodes(_linalg().cholesky(x, upper=upper), "CholeskyBackward", x)


@named("cholesky_solve")
def cholesky_solve(x: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """y with A @ y = x, for A given by its Cholesky factor."""
    for name, t in (("b", x), ("u", L)):
        if t.dim() < 2:
            raise RuntimeError(f"{name} should have at least 2 dimensions, but has {t.dim()} dimensions instead")
    if L.shape[-1] != L.shape[-2]:
        raise RuntimeError(
            f"cholesky_solve: A must be batches of square matrices, but they are {L.shape[-2]} by {L.shape[-1]} "
            "matrices"
        )
    if x.shape[-2] != L.shape[-1]:
        raise RuntimeError(
            f"Incompatible matrix sizes for cholesky_solve: each A matrix is {L.shape[-1]} by {L.shape[-1]} but each b "
            f"matrix is {x.shape[-2]} by {x.shape[-1]}"
        )
    lower = L.mH if upper else L
    solve = _linalg().solve_triangular
    return name_nodes(solve(lower.mH, solve(lower, x, upper=False), upper=True), "CholeskySolveBackward")


@named("cholesky_inverse")
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of a matrix given by its Cholesky factor."""
    from ..creation import eye

    if L.dim() < 2 or L.shape[-1] != L.shape[-2]:
        raise RuntimeError(
            f"cholesky_inverse: A must be batches of square matrices, but they have the shape {list(L.shape)}"
        )
    made = cholesky_solve(eye(L.shape[-1], dtype=L.dtype, device=L.device), L, upper)
    return name_nodes(made, "CholeskyInverseBackward")


@named("pinverse")
@autocasts
def pinverse(x: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudo-inverse."""
    return _linalg().pinv(x, rtol=rcond)


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


@public("diagflat", samples=_samples((_WIDE,), (_VECTOR, 1), (_VECTOR, -2)))
def diagflat(x: Tensor, offset: int = 0) -> Tensor:
    """All elements as the diagonal of a matrix."""
    return FUNCTIONS["diag"](x.reshape(-1), offset)


@named("trapezoid", method=False, aliases=("trapz",))
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The integral by the trapezoidal rule along a dimension."""
    d, areas = _trapezoids("trapezoid", y, x, dx, dim)
    return (areas.sum(d) if y._shape[d] else y.sum(d)) / 2


@named("cumulative_trapezoid", method=False)
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """Running integrals by the trapezoidal rule along a dimension."""
    d, areas = _trapezoids("cumulative_trapezoid", y, x, dx, dim)
    return areas.cumsum(d) / 2


def _trapezoids(name: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> tuple:
    """The dimension, and twice what is below the line from each element along it to the next."""
    for which, t in (("y", y), ("x", x)):
        if t is not None and t.dtype is dtypes.bool_:
            raise RuntimeError(f"{name}: received a bool input for `{which}`, but bool is not supported")
    if not y._shape:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    if x is not None and not (isinstance(dx, int) and dx == 1):
        raise TypeError(f"{name}() takes either x or dx, got both")
    d = normal_dim(dim, y.dim())
    n = y._shape[d]
    sums = y.narrow(d, min(1, n), max(n - 1, 0)) + y.narrow(d, 0, max(n - 1, 0))
    if x is None:
        return d, sums * dx
    if x.dim() == 1:
        if x._shape[0] != n:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point, got {x._shape[0]} for {n}")
        return d, sums * x.diff().reshape([-1 if k == d else 1 for k in range(y.dim())])
    return d, sums * x.diff(dim=dim if dim < 0 else d - y.dim())


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


def _float_power_of_its_dtype(x: Tensor, exponent: Any) -> Tensor:
    made = float_power(x, exponent)
    if made.dtype is not x.dtype:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {SCALAR_TYPE_NAMES[x.dtype]} but the operation's result "
            f"requires dtype {SCALAR_TYPE_NAMES[made.dtype]}: convert it with .to({made.dtype}) first, or use "
            "float_power"
        )
    return made


Tensor.float_power_ = writes.in_place(_float_power_of_its_dtype, "float_power_")  # type: ignore[attr-defined]


@public("ldexp", inplace=True, samples=_samples((_WIDE, _VECTOR)))
def ldexp(x: Tensor, other: Tensor) -> Tensor:
    """x * 2 ** other. With whole exponents the result has x's dtype, and no power on the way overflows."""
    if not isinstance(other, Tensor):
        raise TypeError(f"ldexp(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}")
    if not x.is_floating_point() or other.dtype.category != dtypes.INTEGRAL:
        return x * 2.0**other
    wide = dtypes.float64 if x.dtype is dtypes.float64 else dtypes.float32
    first = other.div(2, rounding_mode="floor")  # type: ignore[attr-defined]
    powers = [2.0 ** part.to(wide) for part in (first, other - first)]
    return (x.to(wide) * powers[0] * powers[1]).to(x.dtype)


@function
@shows("BlockDiagBackward")
def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of a larger one.

    >>> import livegrad
    >>> livegrad.block_diag(livegrad.ones(1, 2), livegrad.tensor([[3.0]]))
    tensor([[1., 1., 0.],
            [0., 0., 3.]])
    """
    for i, t in enumerate(tensors):
        if isinstance(t, Tensor) and t.dim() > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {t.dim()} dimensions"
            )
    if not tensors:
        return FUNCTIONS["atleast_2d"](from_native(np.empty((1, 0), dtypes.get_default_dtype().np)))
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
    if not matrices:
        raise RuntimeError("chain_matmul(): Expected one or more matrices, but got none")
    return _linalg().multi_dot(matrices[0] if len(matrices) == 1 else matrices) if len(matrices) > 1 else matrices[0]


@function
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of one element of each vector, as rows."""
    for t in tensors:
        if t.dim() != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")
    if len({t.dtype for t in tensors}) > 1:
        raise RuntimeError(f"meshgrid expects all tensors to have the same dtype, got {[t.dtype for t in tensors]}")
    if len(tensors) == 1:
        return tensors[0]
    grids = FUNCTIONS["broadcast_tensors"](
        *(t.reshape([-1 if i == k else 1 for i in range(len(tensors))]) for k, t in enumerate(tensors))
    )
    return FUNCTIONS["stack"]([g.reshape(-1) for g in grids], 1)


@function
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All ways to choose r elements of a vector, as rows."""
    if input.dim() != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if not r:
        return input.new_empty(0)
    n = input.shape[0]
    places = np.arange(n)[:, None]
    for _ in range(r - 1):  # what has been chosen goes on with each of the places that follow
        firsts = places[:, -1] + (0 if with_replacement else 1)
        rows, following = ranges(firsts, n - firsts)
        places = np.concatenate([places[rows], following[:, None]], 1)
    return input[from_native(places)]


def _split_along(name: str, dim_of: Any, least: int) -> None:
    def function(x: Tensor, indices_or_sections: Any) -> tuple:
        if x.dim() < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with {x.dim()} "
                "dimensions!"
            )
        k = indices_or_sections
        if isinstance(k, int) and (k == 0 or x.shape[dim_of(x)] % k):
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {dim_of(x)}, but the size of the dimension "
                f"{x.shape[dim_of(x)]} is not divisible by the split_size {indices_or_sections}!"
            )
        return x.tensor_split(indices_or_sections, dim_of(x))

    function.__name__ = name
    function.__doc__ = "Views of pieces along the dimension that `" + name[0] + "stack` joins."
    named(name)(function)


for _name, _dim, _least in (
    ("hsplit", lambda x: 0 if x.dim() == 1 else 1, 1), ("vsplit", lambda x: 0, 2), ("dsplit", lambda x: 2, 3)
):  # fmt: skip
    _split_along(_name, _dim, _least)


@function
def dstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the third dimension."""
    raised = []
    if not len(tensors):
        raise RuntimeError("dstack expects a non-empty TensorList")
    for t in tensors:
        t = FUNCTIONS["atleast_2d"](t)
        raised.append(t.unsqueeze(-1) if t.dim() == 2 else t)
    return FUNCTIONS["cat"](raised, 2, out=out)
