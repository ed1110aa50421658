"""Sums, means, products and truth along dimensions. What feeds a reduction, if pending, runs in its kernel."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..autograd.node import cast_value
from ..lazy import backend
from ..lazy.reduce import reduce as run_reduction
from ..lazy.value import Value, pending, renamed
from ..native import hot
from ..observe import WATCH
from ..precision import REGIONS
from ..tensor import Tensor, wrap
from . import dispatch
from .batch_rules import along
from .casting import autocasts
from .dims import accumulator, back_to, cast_like, count_over, dims_of, kept_shape
from .instruction import SCALAR_TYPE_NAMES
from .operator import on_either
from .registry import ELEMENTWISE, operator, public


@hot
def reduced(x: Value, name: str, dims: tuple, keepdim: bool, acc: dtypes.dtype) -> Value:
    made = run_reduction(x, name, dims, acc)
    return renamed(made, kept_shape(x.shape, dims)) if keepdim else made


# --- sums and means ---------------------------------------------------------------------------------------------


@hot
def sum_value(x: Value, dims: tuple, keepdim: bool, dtype: Any = None) -> Value:
    acc = accumulator(dtype or x.dtype)
    made = reduced(cast_value(x, dtype) if dtype else x, "sum", dims, keepdim, acc)
    wanted = dtype or (x.dtype if x.dtype.category >= dtypes.FLOATING else dtypes.int64)
    return cast_value(made, wanted)


SUM = operator(
    "sum",
    sum_value,
    tensors=("x",),
    grads={"x": hot(lambda g, x_shape, x_dtype, dims: cast_like(back_to(g, x_shape, dims), x_dtype))},
    anywhere=True,
    batch=along("dims"),
)
Value.sum = lambda v, dims=None, keepdim=False: sum_value(v, dims_of(dims, len(v.shape)), keepdim)  # type: ignore[attr-defined]


@public("sum", kind="reduction", op=SUM)
@hot
def sum(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum over all elements or some dimensions. Integers and bools add up in int64."""
    if REGIONS.open:
        x = REGIONS.cast("sum", (x,))[0]
    if dtype is not None:
        dtype = dtypes.given(dtype, "sum")
    label = "SumBackward0" if dim is None else "SumBackward1"
    args = {"dims": dims_of(dim, x.dim()), "keepdim": keepdim, "dtype": dtype}
    return SUM._apply((x,), label, args) if WATCH.batcher is None else WATCH.batcher.operator(SUM, (x,), label, args)


_DIVIDE_BY_NUMBER = ELEMENTWISE["div"].scalar_tables[float]


@hot
def mean_value(x: Value, dims: tuple, keepdim: bool, dtype: Any = None) -> Value:
    if dtype:
        x = cast_value(x, dtype)
    return cast_value(reduced(x, "mean", dims, keepdim, accumulator(x.dtype)), x.dtype)


@hot
def mean_gradient(g: Any, x_shape: tuple, x_dtype: dtypes.dtype, dims: tuple) -> Any:
    n = count_over(x_shape, dims)
    if n < 1:
        n = 1
    if g.__class__ is Value and not g.shape and g.dtype is x_dtype:
        return pending(_DIVIDE_BY_NUMBER["ts", x_dtype, True], (g,), (n,), x_shape)  # divided and broadcast at once
    return cast_like(back_to(g / n, x_shape, dims), x_dtype)


MEAN = operator(
    "mean",
    mean_value,
    tensors=("x",),
    grads={"x": mean_gradient},
    anywhere=True,
    batch=along("dims"),
)


@public("mean", kind="reduction", op=MEAN)
@hot
def mean(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean over all elements or some dimensions, of a floating-point tensor."""
    if dtype is not None:
        dtype = dtypes.given(dtype, "mean")
    d = dtype or x.dtype
    if d.category < dtypes.FLOATING:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {SCALAR_TYPE_NAMES[d]}"
        )
    label = "MeanBackward0" if dim is None else "MeanBackward1"
    args = {"dims": dims_of(dim, x.dim()), "keepdim": keepdim, "dtype": dtype}
    return MEAN._apply((x,), label, args) if WATCH.batcher is None else WATCH.batcher.operator(MEAN, (x,), label, args)


@hot
def _prod(x: Value, dims: tuple, keepdim: bool, dtype: Any = None, whole: bool = False) -> Value:
    if dtype:
        x = cast_value(x, dtype)
    wanted = x.dtype if x.dtype.category >= dtypes.FLOATING else dtypes.int64
    return cast_value(reduced(x, "prod", dims, keepdim, accumulator(x.dtype)), dtype or wanted)


def _prod_gradient(g: Any, x: Any, result: Any, x_shape: tuple, dims: tuple, whole: bool) -> Any:
    """g times the product of the other elements: result / x, or exclusive products where an element is zero."""
    values = x if x.__class__ is Value else x._value()
    if not backend.of(values).any(values.native() == 0):
        return back_to(g * result.conj(), x_shape, dims) / x.conj()
    return back_to(g, x_shape, dims) * on_either(PROD_OF_OTHERS, x, dims=dims, whole=whole).conj()


def _prod_of_others(x: Value, dims: tuple, whole: bool) -> Value:
    """For each element the product of all the others along dims: products from both ends, multiplied.

    whole: the dimensions are all there are and were not named; then two zeros make all zero, whatever the others are.
    """
    xp = backend.of(x)
    a = x.native()
    if whole and xp.count_nonzero(a == 0) > 1:
        return backend.fresh(xp.zeros_like(a))
    moved = xp.moveaxis(a, dims, range(a.ndim - len(dims), a.ndim))
    flat = moved.reshape((*moved.shape[: a.ndim - len(dims)], -1))
    ones = xp.ones((*flat.shape[:-1], 1), flat.dtype)
    left = xp.cumprod(xp.concatenate([ones, flat[..., :-1]], -1), -1)
    right = xp.cumprod(xp.concatenate([ones, flat[..., :0:-1]], -1), -1)[..., ::-1]
    out = (left * right).reshape(moved.shape)
    return backend.copied(xp.moveaxis(out, range(a.ndim - len(dims), a.ndim), dims))


def _prod_of_others_gradient(g: Any, x: Any, x_shape: tuple, dims: tuple) -> Any:
    """Row i, column k: the product of all elements but i and k, for all pairs, so it may be differentiated again."""
    values = x if x.__class__ is Value else x._value()
    rest = [d for d in range(len(x_shape)) if d not in dims]
    order = (*rest, *dims)
    moved = [x_shape[d] for d in order]
    rows = (*moved[: len(rest)], -1)
    n = math.prod(x_shape[d] for d in dims)
    same = backend.copied(backend.of(values).eye(n, dtype=values.dtype.np))
    one = same if x.__class__ is Value else wrap(same)
    others = x.permute(order).reshape(rows).unsqueeze(-2) * (1 - one) + one
    pairs = on_either(PROD_OF_OTHERS, others, dims=(len(rest) + 1,), whole=False) * (1 - one)
    made = (g.permute(order).reshape(rows).unsqueeze(-1) * pairs.conj()).sum(-2)
    back = sorted(range(len(order)), key=order.__getitem__)
    return made.reshape(tuple(moved)).permute(back)


PROD_OF_OTHERS = operator(
    "prod_of_others",
    _prod_of_others,
    tensors=("x",),
    grads={"x": _prod_of_others_gradient},
    node="ProdOfOthers",
    anywhere=True,
    batch=along("dims"),
)
PROD = operator("prod", _prod, tensors=("x",), grads={"x": _prod_gradient}, anywhere=True, batch=along("dims"))
SUM.without_data = MEAN.without_data = True


@public("prod", kind="reduction", op=PROD)
@autocasts
@hot
def prod(x: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The product over all elements or one dimension; dtype: what the elements are converted to first."""
    if dtype is not None:
        dtype = dtypes.given(dtype, "prod")
        x = dispatch.cast(x, dtype)
    return PROD.apply(
        (x,),
        "ProdBackward0" if dim is None else "ProdBackward1",
        dims=dims_of(dim, x.dim()),
        keepdim=keepdim,
        dtype=dtype,
        whole=dim is None,
    )


# --- truth ------------------------------------------------------------------------------------------------------


def _truth(name: str) -> Any:
    @hot
    def forward(x: Value, dims: tuple, keepdim: bool) -> Value:
        made = reduced(cast_value(x, dtypes.bool_), name, dims, keepdim, dtypes.bool_)
        return cast_value(made, dtypes.uint8 if x.dtype is dtypes.uint8 else dtypes.bool_)

    op = operator(name, forward, tensors=("x",), anywhere=True, batch=along("dims"))

    @hot
    def function(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        dims = dims_of(dim, x.dim())
        if WATCH.batcher is not None:
            return op.apply((x,), dims=dims, keepdim=keepdim)
        return wrap(forward(x._value(), dims, keepdim))

    function.__name__ = name
    function.__doc__ = f"Whether {name} of the elements are true (not zero), over all or some dimensions."
    return public(name, kind="reduction")(function)


all_, any_ = _truth("all"), _truth("any")


@public("count_nonzero", kind="reduction")
def count_nonzero(x: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not zero."""
    return (x != 0).sum(dim)
