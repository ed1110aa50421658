"""Composites: operators made of other operators, with nothing of their own to differentiate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import MODE
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value
from ..native import hot
from ..runtime.histogram import histogram
from ..tensor import Tensor, wrap
from . import dispatch, writes
from .batch_rules import along
from .casting import autocasts
from .copying import clone
from .dims import back_to, dims_of
from .geometry import normal_dim
from .instruction import SCALAR_TYPE_NAMES, real_only
from .matmul import dot_as
from .operator import name_nodes, there
from .reduce import sum_value
from .registry import ELEMENTWISE, FUNCTIONS, function, named, operator, public


@public("isclose")
@hot
def isclose(x: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Elementwise |x - other| <= atol + rtol * |other|."""
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {tolerance}")
    if x.dtype is not other.dtype:
        raise RuntimeError(f"{SCALAR_TYPE_NAMES[x.dtype]} did not match {SCALAR_TYPE_NAMES[other.dtype]}")
    x, other = x.detach(), other.detach()
    close = x == other
    if x.dtype is dtypes.bool_:
        return close
    if x.dtype.category >= dtypes.FLOATING:
        near = (x - other).abs() <= atol + rtol * other.abs()
        close = close | (near & other.isfinite() & x.isfinite())
        if equal_nan:
            close = close | (x.isnan() & other.isnan())
        return close
    return close | ((x - other).abs() <= atol + rtol * other.abs())


@public("allclose")
@hot
def allclose(x: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether every pair of elements is close."""
    return bool(isclose(x, other, rtol, atol, equal_nan).all())


_FEW, _SOME = 32, 1 << 13  # numbers that are compared as lists in less time than as arrays, and so by a kernel


@public("equal")
@hot
def equal(x: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and elements."""
    if x._shape != other._shape:
        return False
    if x.dtype is other.dtype and x.device is cpu and other.device is cpu:
        n = x.numel()
        if n <= _FEW:
            return x.tolist() == other.tolist()  # NaN differs from itself: each list has numbers of its own
        if n <= _SOME and (x.dtype.category < dtypes.FLOATING or x.dtype.itemsize >= 4):
            return bool((x._value().native() == other._value().native()).all())
    return bool((x.detach() == other.detach()).all())


@public("nan_to_num", inplace=True)
def nan_to_num(x: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """NaN and infinities replaced by numbers."""
    if x.dtype.is_complex:
        parts = nan_to_num(FUNCTIONS["view_as_real"](x), nan, posinf, neginf)
        return FUNCTIONS["view_as_complex"](parts)
    if not x.dtype.is_floating_point:
        return name_nodes(x.clone(), "Rot90Backward")
    limits = dtypes.finfo(x.dtype)
    high, low = limits.max if posinf is None else posinf, limits.min if neginf is None else neginf
    return dispatch.call(ELEMENTWISE["_nan_to_num"], (x, 0.0 if nan is None else nan, high, low))


@public("diff")
def diff(x: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """Differences of neighbours along a dimension, n times; prepend and append are put before and after x first."""
    if not x._shape:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    d = normal_dim(dim, x.dim())
    for part in (prepend, append):
        if part is not None and part.dim() != x.dim():
            raise RuntimeError(
                "diff expects prepend or append to be the same dimension as input: "
                f"got {part.dim()} and {x.dim()} dimensions"
            )
    if not n:
        return clone(x)
    parts = [part for part in (prepend, x, append) if part is not None]
    if len(parts) > 1:
        x = FUNCTIONS["cat"](parts, d)
    for _ in range(n):
        size = x._shape[d]
        after, before = x.narrow(d, min(1, size), max(size - 1, 0)), x.narrow(d, 0, max(size - 1, 0))
        x = after != before if x.dtype is dtypes.bool_ else after - before
    return x


@public("trace")
@autocasts
@hot
def trace(x: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if x.dim() != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {x.dim()}")
    return name_nodes(x.diagonal().sum(), "TraceBackward")


@public("dist")
@autocasts
def dist(x: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference."""
    return name_nodes((x - other).norm(p), "DistBackward")


@public("renorm")
@autocasts
def renorm(x: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along a dimension, scaled down where their p-norm is above maxnorm."""
    if x.dim() < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {x.dim()} dimensions")
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    d = normal_dim(dim, x.dim())
    others = tuple(k for k in range(x.dim()) if k != d)
    length = x.norm(p, others, keepdim=True)
    return x * FUNCTIONS["where"](length > maxnorm, maxnorm / (length + 1e-7), 1.0)


@function
@hot
def broadcast_tensors(*tensors: Tensor) -> tuple:
    """Tensors expanded to their common shape."""
    shape: tuple = ()
    for t in tensors:
        shape = dispatch.broadcast_shapes(shape, t._shape)
    return tuple([t if t._shape == shape else t.expand(shape) for t in tensors])


@function
def broadcast_shapes(*shapes: Any) -> Any:
    """The common shape of several shapes."""
    made: tuple = ()
    for s in shapes:
        made = dispatch.broadcast_shapes(made, (s,) if isinstance(s, int) else tuple(s))
    return dtypes.Size(made)


@function
def atleast_1d(*tensors: Any) -> Any:
    """Tensors with at least one dimension."""
    return _each(tensors, lambda t: t if t.dim() else t.reshape(1))


def _each(tensors: tuple, raised: Any) -> Any:
    """What is made of one tensor, of several, or of those in a sequence."""
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return raised(tensors[0])
    return tuple(map(raised, tensors if len(tensors) != 1 else tensors[0]))


@function
def atleast_2d(*tensors: Any) -> Any:
    """Tensors with at least two dimensions."""
    return _each(tensors, lambda t: t if t.dim() > 1 else t.unsqueeze(0) if t.dim() else t.reshape(1, 1))


@named("histc")
@hot
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts of elements in equal bins between min and max (the data's own range if both are 0)."""
    if not input.is_floating_point():
        raise NotImplementedError(f"\"histogram_cpu\" not implemented for '{SCALAR_TYPE_NAMES[input.dtype]}'")
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    if min > max:
        raise RuntimeError("torch.histc: max must be larger than min")
    a = input._to_numpy()
    low, high = (min, max) if min != max or not a.size else (float(a.min()), float(a.max()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"range of [{low}, {high}] is not finite")
    counts = histogram(a, bins, *((low, high) if low != high else (low - 1, high + 1)))
    made = wrap(backend.fresh(counts.astype(a.dtype)))
    if input.device is not cpu:
        made = made.to(input.device)
    return made


@function
def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor."""
    return isinstance(obj, Tensor)


FUNCTIONS["is_tensor"] = is_tensor  # which nothing overrides


@function
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating-point one."""
    return input.dtype.is_floating_point


@function
def result_type(a: Any, b: Any) -> dtypes.dtype:
    """The dtype of an operation on two tensors or numbers."""
    ranked = [(x.dtype, 2 if x._shape else 1) if isinstance(x, Tensor) else (dtypes.of_scalar(x), 0) for x in (a, b)]
    return dtypes.promote_operands(ranked)


@function
def can_cast(from_: dtypes.dtype, to: dtypes.dtype) -> bool:
    """Whether an in-place operator may convert a result of one dtype to the other."""
    return from_.category <= to.category


def apply_(self: Tensor, function: Any) -> Tensor:
    """Replace each element by what a Python function makes of it."""
    a = self.detach()._to_numpy()
    made = np.array([function(v) for v in a.reshape(-1).tolist()]).reshape(a.shape).astype(a.dtype)
    return writes.assign_result(self, wrap(backend.copied(made)).to(self.device))


Tensor.apply_ = apply_  # type: ignore[attr-defined]


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Set the main diagonal, in place. With wrap it goes on in a tall matrix, a row below its last column."""
    if self.dim() < 2:
        raise RuntimeError("dimensions must larger than 1")
    if self.dim() == 2 and wrap and self.shape[0] > self.shape[1]:
        columns = self.shape[1]
        for top in range(0, self.shape[0], columns + 1):
            self[top:].diagonal().fill_(fill_value)
        return self
    if self.dim() > 2:
        if len(set(self.shape)) > 1:
            raise RuntimeError("all dimensions of input must be of equal length")
        place = np.arange(self.shape[0])
        self[(place,) * self.dim()] = fill_value
        return self
    self.diagonal().fill_(fill_value)
    return self


Tensor.fill_diagonal_ = fill_diagonal_  # type: ignore[attr-defined]
Tensor.narrow_copy = lambda self, dim, start, length: name_nodes(  # type: ignore[attr-defined]
    self.narrow(dim, start, length).clone(), "NarrowCopyBackward"
)


def _reshaping_in_place(name: str) -> Any:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        writes.check_in_place(self, MODE.grad, repeated=True)
        self._touch()  # who has kept this tensor for a gradient is told, as in PyTorch
        base = self._storage().base
        made = getattr(self, name)(*args, **kwargs)
        window = made._s
        window.base = base
        window.storage.register(self)
        self._v, self._s, self._edge, self._nr = None, window, made._edge, made._nr
        return self

    return method


for _name in ("squeeze", "unsqueeze", "transpose", "swapaxes", "swapdims", "t"):
    setattr(Tensor, _name + "_", _reshaping_in_place(_name))


# --- less common ones, each with its samples --------------------------------------------------------------------


def _samples(*calls: tuple) -> Any:
    """Samples from argument tuples; nested lists stand for arrays of data."""

    def made(x: Any) -> Any:
        return np.array(x, np.float64) if isinstance(x, list) else x

    return lambda: [(tuple(made(a) for a in call), {}) for call in calls]


_ROWS = [[1.5, -2.0, 0.5], [0.25, 3.0, -1.0]]
_GAPS = [[1.5, math.nan, 0.5], [0.25, 3.0, -1.0]]


def _nansum(x: Value, dims: tuple, keepdim: bool) -> Value:
    return sum_value(x.masked_zero(x.isnan()), dims, keepdim)  # type: ignore[attr-defined]


NANSUM = operator(
    "nansum",
    _nansum,
    tensors=("x",),
    grads={"x": lambda g, x, x_shape, dims: back_to(g, x_shape, dims) * x.isnan().logical_not()},
    anywhere=True,
    batch=along("dims"),
)


@public("nansum", samples=_samples((_GAPS,), (_GAPS, 1)))
def nansum(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum of the elements that are not NaN."""
    if x.is_complex():
        raise RuntimeError("nansum on CPU does not support complex inputs")
    if not x.is_floating_point():
        return x.sum(dim, keepdim, dtype=dtype)
    if dtype is not None:
        x = dispatch.cast(x, dtype)
    return NANSUM.apply((x,), dims=dims_of(dim, x.dim()), keepdim=keepdim)


@public("nanmean", samples=_samples((_GAPS,), (_GAPS, 1)))
def nanmean(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean of the elements that are not NaN."""
    if not x.is_floating_point():
        return x.mean(dim, keepdim, dtype=dtype)  # raises, and says why
    total = nansum(x, dim, keepdim, dtype=dtype)
    return total / x.isnan().logical_not().sum(dim, keepdim)


@public("isposinf", samples=_samples((_ROWS,), ([math.inf, -math.inf, 0.0],)))
def isposinf(x: Tensor) -> Tensor:
    """Elementwise x == infinity."""
    real_only(x, RuntimeError("isposinf does not support complex inputs."))
    return x == math.inf


@public("isneginf", samples=_samples((_ROWS,), ([math.inf, -math.inf, 0.0],)))
def isneginf(x: Tensor) -> Tensor:
    """Elementwise x == -infinity."""
    real_only(x, RuntimeError("isneginf does not support complex inputs."))
    return x == -math.inf


@public("fliplr", samples=_samples((_ROWS,)))
def fliplr(x: Tensor) -> Tensor:
    """Columns in reverse order."""
    if x.dim() < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return x.flip(1)


@public("flipud", samples=_samples((_ROWS,)))
def flipud(x: Tensor) -> Tensor:
    """Rows in reverse order."""
    if not x.dim():
        raise RuntimeError("Input must be >= 1-d.")
    return x.flip(0)


@public("rot90", samples=_samples((_ROWS,), (_ROWS, 2), (_ROWS, 3), (_ROWS, -1, (1, 0))))
def rot90(x: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by k quarters in the plane of two dimensions, from the first towards the second."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if x.dim() < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {x.dim()}")
    a, b = (normal_dim(d, x.dim()) for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    k %= 4
    if k == 0:
        return name_nodes(x.clone(), "Rot90Backward")
    if k == 2:
        return name_nodes(x.flip(a, b), "Rot90Backward")
    return name_nodes(x.flip(b).transpose(a, b) if k == 1 else x.transpose(a, b).flip(b), "Rot90Backward")


@public("kron", samples=_samples((_ROWS, [[1.0, 2.0]]), (_ROWS, _ROWS)))
def kron(x: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product."""
    n = max(x.dim(), other.dim())
    a = x.reshape((1,) * (n - x.dim()) + tuple(x.shape))
    b = other.reshape((1,) * (n - other.dim()) + tuple(other.shape))
    spread_a = tuple(k for s in a.shape for k in (s, 1))
    spread_b = tuple(k for s in b.shape for k in (1, s))
    return (a.reshape(spread_a) * b.reshape(spread_b)).reshape(tuple(s * t for s, t in zip(a.shape, b.shape)))


@public("vdot", samples=_samples(([1.0, 2.0], [3.0, -1.0])))
@autocasts
def vdot(x: Tensor, other: Tensor) -> Tensor:
    """The product of two vectors, the first of which is conjugated."""
    if x.is_complex():
        return x.conj().dot(other)
    return dot_as("VdotBackward", x, other)


@public("msort", samples=_samples((_ROWS,)))
def msort(x: Tensor) -> Tensor:
    """Sorted along the first dimension."""
    return x.sort(0)[0]


@public("positive", samples=_samples((_ROWS,)))
def positive(x: Tensor) -> Tensor:
    """The tensor itself."""
    if x.dtype is dtypes.bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return x


@public("isin", method=False, samples=_samples((_ROWS, [0.5, 3.0, 7.0])))
@there
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Which elements occur among the others, as numbers of the dtype that both have in common."""
    if isinstance(test_elements, Tensor):
        dtype = result_type(elements, test_elements)
        seen = dtypes.float32 if dtype.kind in ("f16", "bf16") else dtype  # NumPy does not sort them all
        elements, test_elements = (t.detach().to(dtype).to(seen) for t in (elements, test_elements))
    if elements.device is not cpu:
        from ..from_data import as_tensor

        among = as_tensor(test_elements, device=elements.device)
        a, b = (t.detach()._value().native() for t in (elements, among))
        return wrap(backend.copied(backend.of(elements._value()).isin(a, b, invert=invert)))
    tests = test_elements._to_numpy() if isinstance(test_elements, Tensor) else test_elements
    return wrap(backend.copied(np.isin(elements._to_numpy(), tests, invert=invert))).to(elements.device)


@function
def column_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Vectors as columns, and matrices, side by side."""
    return FUNCTIONS["hstack"]([t.reshape(-1, 1) if t.dim() < 2 else t for t in tensors], out=out)


@named("is_nonzero")
def is_nonzero(input: Tensor) -> bool:
    """Whether a tensor of one element is not zero."""
    if input.numel() != 1:
        raise RuntimeError("Boolean value of Tensor with other than one value is ambiguous")
    return bool(input)
