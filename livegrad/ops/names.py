"""Functions of the main namespace that are methods, or few operators, by another name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..lazy import backend
from ..lazy.value import Value
from ..tensor import Tensor, from_native
from . import dispatch, writes
from .arguments import checked
from .dims import cast_like
from .geometry import normal_dim
from .registry import ELEMENTWISE, FUNCTIONS, elementwise, function, named, operator, write_out
from .scalar import trigamma

# --- in place ---------------------------------------------------------------------------------------------------

_IN_PLACE = """
    abs acos acosh arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh ceil clamp clamp_max
    clamp_min clip cos cosh deg2rad detach erf erfc exp exp2 expm1 fill fix floor frac gcd index_put lcm ldexp
    log log10 log1p log2 logit nan_to_num neg negative rad2deg reciprocal relu round rsqrt sigmoid sin sinc sinh
    sqrt square tan tanh trunc xlogy zero
    """


def _in_place(name: str) -> Any:
    method = getattr(Tensor, name)

    def function(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not isinstance(input, Tensor):
            raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        return method(input, *args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`input.{name}(...)`"
    return checked(function)


for _name in _IN_PLACE.split():
    FUNCTIONS[f"{_name}_"] = _in_place(f"{_name}_")
for _name in ("detach", "is_signed", "is_inference", "narrow_copy", "get_device"):
    FUNCTIONS[_name] = _in_place(_name)


# --- shapes and places ------------------------------------------------------------------------------------------


@named("is_same_size")
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape."""
    return input._shape == other._shape


@named("fill", method=False)
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor of the same shape and dtype that is `value` everywhere."""
    return input.clone().fill_(value)


@function
def atleast_3d(*tensors: Any) -> Any:
    """Tensors with at least three dimensions: a row of n becomes (1, n, 1), a matrix (m, n, 1)."""

    def raised(t: Tensor) -> Tensor:
        if t.dim() < 2:
            return t.unsqueeze(0).unsqueeze(-1) if t.dim() else t.reshape(1, 1, 1)
        return t.unsqueeze(-1) if t.dim() == 2 else t

    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        tensors = tuple(tensors[0])
        return tuple(map(raised, tensors))
    made = tuple(map(raised, tensors))
    return made[0] if len(made) == 1 else made


@named("unravel_index", method=False)
def unravel_index(indices: Tensor, shape: Any) -> tuple:
    """Places in a flat tensor as one index for each dimension of `shape`; they count from its end, and around."""
    if indices.dtype.category != dtypes.INTEGRAL:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    sizes = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    a = indices._to_numpy().astype(np.int64)
    total = math.prod(sizes)
    found = np.unravel_index(a % max(total, 1), sizes)
    return tuple(from_native(np.array(i, np.int64).reshape(a.shape)) for i in found)


@function
def gradient(
    input: Tensor, *, spacing: Any = None, dim: Any = None, edge_order: int = 1
) -> tuple:  # the name of NumPy's function, and PyTorch's
    """Estimates of the derivatives along dimensions, by differences of the neighbours of each element.

    spacing: the distance of neighbours: a number, one for each dimension, or coordinates as tensors. edge_order 1 or 2:
    how many neighbours the estimates at the two ends use.
    """
    if input.dtype is dtypes.uint8:
        raise RuntimeError("torch.gradient does not support uint8 input.")
    if input.dtype is dtypes.bool_:
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported.")
    dims = list(range(input.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    dims = [normal_dim(d, input.dim()) for d in dims]
    for d in dims:
        if dims.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    steps = _spacings(spacing, dims, dim is None)
    if edge_order not in (1, 2):
        raise RuntimeError(f"torch.gradient only supports edge_order=1 and edge_order=2, got {edge_order}.")
    x = input if input.dtype.category >= dtypes.FLOATING else input.to(dtypes.get_default_dtype())
    if any(isinstance(step, complex) for step in steps):
        x = x.to(x.dtype.to_complex())
    return tuple(_slope(x, d, step, edge_order) for d, step in zip(dims, steps))


def _spacings(spacing: Any, dims: list, every: bool) -> list:
    """What `gradient` was given as the distance of neighbours, one for each dimension."""
    if spacing is None:
        return [1] * len(dims)
    if isinstance(spacing, (int, float, complex)) or isinstance(spacing, Tensor) and not spacing.dim():
        return [spacing] * len(dims)
    steps = [spacing] if isinstance(spacing, Tensor) else list(spacing)
    if len(steps) != len(dims):
        if every:
            raise RuntimeError(
                "torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to "
                f"'self.dim() = {len(dims)}', since dim argument was not given, but got a list of length {len(steps)}"
            )
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or it's spacing and dim arguments to have the "
            f"same length, but got a spacing argument of length {len(steps)} and a dim argument of length {len(dims)}."
        )
    for step in steps:
        if isinstance(step, Tensor) and step.dim() > 1:
            raise RuntimeError(
                "torch.gradient expected each element of spacing to have one dimension, but got an element with "
                f"{step.dim()} dimensions!"
            )
    return steps


def _slope(x: Tensor, d: int, step: Any, edge_order: int) -> Tensor:
    n = x._shape[d]
    if n <= edge_order:
        raise RuntimeError(
            f"torch.gradient expected each dimension size to be at least edge_order+1, but dimension {d} has size {n}"
        )
    shape = [-1 if k == d else 1 for k in range(x.dim())]
    if isinstance(step, Tensor) and step.dim():
        if step._shape[0] != n:
            raise RuntimeError(
                "torch.gradient expected each element of spacing to have as many coordinates as the dimension has "
                f"elements, but dimension {d} has {n} and there are {step._shape[0]} coordinates"
            )
        widths = step.diff().to(x.dtype).reshape(shape)
    else:
        widths = x.new_full(
            [n - 1 if k == d else 1 for k in range(x.dim())], step.item() if isinstance(step, Tensor) else step
        )
    slopes = x.diff(dim=d) / widths
    before, after = widths.narrow(d, 0, n - 2), widths.narrow(d, 1, n - 2)
    left, right = slopes.narrow(d, 0, n - 2), slopes.narrow(d, 1, n - 2)
    inner = (left * after + right * before) / (before + after)
    first, last = slopes.narrow(d, 0, 1), slopes.narrow(d, n - 2, 1)
    if edge_order == 2:
        a, b = widths.narrow(d, 0, 1), widths.narrow(d, 1, 1)
        first = first + (first - slopes.narrow(d, 1, 1)) * a / (a + b)
        a, b = widths.narrow(d, n - 2, 1), widths.narrow(d, n - 3, 1)
        last = last + (last - slopes.narrow(d, n - 3, 1)) * a / (a + b)
    return FUNCTIONS["cat"]([first, inner, last], d)


# --- parts of numbers -------------------------------------------------------------------------------------------


@named("frexp")
def frexp(input: Tensor) -> tuple:
    """(mantissa, exponent) with input = mantissa * 2 ** exponent and the mantissa's size from 1/2 to below 1."""
    from .results import named as result_type

    if not input.is_floating_point():
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    return result_type("frexp", "mantissa exponent")(*_FREXP.apply((input,)))


def _frexp(input: Value) -> tuple:
    a = input.native()
    mantissa, exponent = np.frexp(a.astype(np.float32) if a.dtype.itemsize < 4 else a)
    return backend.copied(mantissa.astype(a.dtype)), backend.copied(exponent.astype(np.int32))


_FREXP = operator(
    "frexp",
    _frexp,
    tensors=("input",),
    grads={
        "input": lambda g, input_dtype, result_1: (
            None if g[0] is None else cast_like(g[0] / result_1.exp2(), input_dtype)
        )
    },
)


# --- special functions ------------------------------------------------------------------------------------------

elementwise("_trigamma", lambda input: trigamma(input), node="Polygamma", reference="", method=False, function=False,
            domain=(0.1, 4.0))  # fmt: skip


@function
def polygamma(n: int, input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The n-th derivative of digamma."""
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    if out is not None:
        return write_out(out, polygamma(n, input))
    if n > 1:
        from ..special_functions import zeta

        x = input if input.is_floating_point() else input.to(dtypes.get_default_dtype())
        return zeta(n + 1.0, x) * ((-1.0) ** (n + 1) * math.factorial(n))
    return input.digamma() if n == 0 else dispatch.call(ELEMENTWISE["_trigamma"], (input,))


def _whole(name: str) -> Any:
    """The method of what `special_functions` computes."""

    def method(self: Tensor, other: Tensor) -> Tensor:
        from .. import special_functions

        return getattr(special_functions, name)(self, other)

    method.__name__ = method.__qualname__ = name
    return method


for _name in ("igamma", "igammac"):
    setattr(Tensor, _name, _whole(_name))
    setattr(Tensor, f"{_name}_", writes.in_place(_whole(_name), f"{_name}_"))


def _activation(name: str) -> Any:
    """The method of what `nn.functional` computes."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        from ..nn import functional

        return getattr(functional, name)(self, *args, **kwargs)

    method.__name__ = method.__qualname__ = name
    return method


for _name in ("hardshrink", "prelu"):
    setattr(Tensor, _name, _activation(_name))
Tensor.polygamma = lambda self, n: polygamma(n, self)  # type: ignore[attr-defined]


@named("mvlgamma")
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p (Anderson, 2003, section 7.2)."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    if not input.is_floating_point():
        input = input.to(dtypes.get_default_dtype())
    from ..creation import arange

    steps = arange(p, dtype=input.dtype, device=input.device) * -0.5
    return (input.unsqueeze(-1) + steps).lgamma().sum(-1) + p * (p - 1) / 4 * math.log(math.pi)
