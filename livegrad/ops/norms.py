"""Lengths of vectors."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..autograd.node import cast_value
from ..lazy.value import Value
from ..native import hot
from ..tensor import Tensor
from . import dispatch
from .batch_rules import along
from .casting import autocasts
from .dims import dims_of, kept_shape, need_floating
from .extremes import extreme
from .reduce import reduced, sum_value
from .registry import ELEMENTWISE, operator, public


@hot
def _euclidean(x: Value, dims: tuple, keepdim: bool) -> Value:
    work = cast_value(x, dtypes.float32) if x.dtype.itemsize < 4 else x
    total = reduced(work * work, "sum", dims, keepdim, work.dtype)
    return cast_value(total.sqrt(), x.dtype)


@hot
def _euclidean_gradient(g: Any, x: Any, result: Any, x_shape: tuple, dims: tuple) -> Any:
    shape = kept_shape(x_shape, dims)
    g, length = g.reshape(shape), result.reshape(shape)
    return g * (x / length).masked_zero(length.eq(0))


NORM = operator(
    "norm",
    _euclidean,
    tensors=("x",),
    grads={"x": _euclidean_gradient},
    node="LinalgVectorNorm",
    anywhere=True,
    batch=along("dims"),
)


def _norm_of_order(x: Value, p: float, dims: tuple, keepdim: bool) -> Value:
    if x.dtype.itemsize < 4 and p not in (0, 1) and not math.isinf(p):
        return cast_value(_norm_of_order(cast_value(x, dtypes.float32), p, dims, keepdim), x.dtype)
    size = x.abs()
    if math.isinf(p):
        return extreme("amax" if p > 0 else "amin")(size, dims, keepdim)
    if p == 0:
        return sum_value(dispatch.value_call(ELEMENTWISE["_one_unless_zero"], (x,)), dims, keepdim)
    return sum_value(size, dims, keepdim) if p == 1 else sum_value(size**p, dims, keepdim) ** (1.0 / p)


def _norm_of_order_gradient(g: Any, x: Any, result: Any, x_shape: tuple, p: float, dims: tuple) -> Any:
    """g sign(x) |x|^(p-1) / norm^(p-1), and 0 where that has no limit: at elements, or norms, that are 0."""
    shape = kept_shape(x_shape, dims)
    g, length = g.reshape(shape), result.reshape(shape)
    if p == 0:
        return None  # a count
    sign = x.sign().masked_zero(x.isnan())
    if p == 1:
        return sign * g
    if math.isinf(p):
        chosen = x.abs().eq(length).logical_or(x.isnan().logical_and(length.isnan()))
        return sign * (g / chosen.sum(dims, keepdim=True)) * chosen
    # Ones instead of the zeros, so that nothing infinite is multiplied by zero in derivatives of this.
    none, short = x.eq(0), length.eq(0)
    powers = ((x.abs() + none) ** (p - 1)).masked_zero(none)
    return sign * powers * (g / (length + short) ** (p - 1)).masked_zero(short)


NORM_OF_ORDER = operator(
    "norm_of_order", _norm_of_order, tensors=("x",), grads={"x": _norm_of_order_gradient}, node="LinalgVectorNorm",
    anywhere=True, batch=along("dims"))  # fmt: skip
NORM_OF_ORDER.compares = True  # where the order is infinite


@public("norm", kind="reduction", op=NORM)
@autocasts
def norm(x: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The p-norm over all elements or some dimensions; "fro" is 2, infinity and 0 as usual.

    "nuc" is the sum of a matrix's singular values. Raises RuntimeError for other words.
    """
    if dtype is not None:
        x = dispatch.cast(x, dtype)
    if isinstance(p, str) and p != "fro":
        from .. import linalg

        return linalg.matrix_norm(x, p, (-2, -1) if dim is None else dim, keepdim)
    need_floating("norm", x)
    dims = dims_of(dim, x.dim())
    if p in ("fro", 2, None) and not x.is_complex():
        return NORM.apply((x,), dims=dims, keepdim=keepdim)
    if x.is_complex():
        return norm(x.abs(), p, dim, keepdim)
    if not isinstance(p, (int, float)):
        raise TypeError(f"norm(): argument 'p' (position 2) must be Number, 'fro' or 'nuc', not {type(p).__name__}")
    if (p < 0 or p == math.inf) and not all(x._shape[d] for d in dims):
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {p:g} norm of a tensor of shape {list(x._shape)} over dimensions "
            f"{list(dims)} because there is nothing to reduce and the operation does not have an identity"
        )
    return NORM_OF_ORDER.apply((x,), p=p, dims=dims, keepdim=keepdim)
