"""Variance and standard deviation."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..autograd.node import cast_value
from ..lazy.value import Value
from ..native import hot
from ..tensor import Tensor
from . import dispatch, rows
from .dims import count_over, dims_of, kept_shape, need_floating
from .reduce import mean
from .registry import ELEMENTWISE, operator, public
from .rowprogram import RowProgram, total
from .scalar import square


@hot
def _correction(unbiased: Any, correction: Any) -> float:
    if correction is not None:
        return correction
    return 1 if unbiased is None or unbiased else 0


@hot
def _var_parts(x: Tensor, dim: Any, unbiased: Any, correction: Any, keepdim: bool) -> tuple:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return dims_of(dim, x.dim()), _correction(unbiased, correction), keepdim


def _mean_square(x: Any, n: Any, divisor: Any) -> Any:
    """Two sweeps: the mean, then the mean square of what is left."""
    return total(square(x - total(x) / n)) / divisor


_VAR = RowProgram("var", _mean_square)


_VAR_GRADIENT = RowProgram("var_gradient", lambda g, x, n, scale: g * ((x - total(x) / n) * scale), tensors=2)


@hot
def _var(x: Value, dims: tuple, keepdim: bool, correction: float) -> Value:
    n = count_over(x.shape, dims)
    made = rows.apply(_VAR, (x,), dims, (float(n), float(max(n - correction, 0))))
    return made if keepdim else made.reshape(tuple([n for d, n in enumerate(x.shape) if d not in dims]))


@hot
def _var_gradient(g: Any, x: Any, x_shape: tuple, dims: tuple, correction: float) -> Any:
    n = count_over(x_shape, dims)
    scale = 2.0 / (n - correction) if n > correction else math.nan
    return rows.apply(_VAR_GRADIENT, (g.reshape(kept_shape(x_shape, dims)), x), dims, (float(n), scale))


VAR = operator("var", _var, tensors=("x",), grads={"x": _var_gradient}, anywhere=True)


@hot
def _std(x: Value, dims: tuple, keepdim: bool, correction: float) -> Value:
    # In float32 at least: the variance of half numbers may be more than they hold where its root is not.
    work = cast_value(x, dtypes.float32) if x.dtype.itemsize < 4 else x
    return cast_value(dispatch.value_call(ELEMENTWISE["sqrt"], (_var(work, dims, keepdim, correction),)), x.dtype)


@hot
def _std_gradient(g: Any, x: Any, result: Any, x_shape: tuple, dims: tuple, correction: float) -> Any:
    shape = kept_shape(x_shape, dims)
    ratio = g.reshape(shape) / (result.reshape(shape) * 2)
    zero = result.reshape(shape).eq(0)
    return _var_gradient(ratio.masked_zero(zero), x, x_shape, dims, correction)


STD = operator("std", _std, tensors=("x",), grads={"x": _std_gradient}, anywhere=True)


@public("var", kind="reduction", op=VAR)
@hot
def var(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Tensor:
    """The variance over all elements or some dimensions; the sum of squares is divided by N - correction (1)."""
    need_floating("var", x)
    if x.is_complex():  # the parts' variances, added up
        return var(x.real, dim, unbiased, keepdim, correction=correction) + var(
            x.imag, dim, unbiased, keepdim, correction=correction
        )
    dims, corrected, keep = _var_parts(x, dim, unbiased, correction, keepdim)
    return VAR.apply((x,), dims=dims, keepdim=keep, correction=corrected)


@public("std", kind="reduction", op=STD)
@hot
def std(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Tensor:
    """The standard deviation over all elements or some dimensions (see `var`)."""
    need_floating("std", x)
    if x.is_complex():
        return var(x, dim, unbiased, keepdim, correction=correction).sqrt()
    dims, corrected, keep = _var_parts(x, dim, unbiased, correction, keepdim)
    return STD.apply((x,), dims=dims, keepdim=keep, correction=corrected)


@public("var_mean", kind="reduction", method=False)
def var_mean(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Any:
    """(variance, mean)"""
    spread = var(x, dim, unbiased, keepdim, correction=correction)
    return spread, mean(x, None if isinstance(dim, bool) else dim, keepdim)


@public("std_mean", kind="reduction", method=False)
def std_mean(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Any:
    """(standard deviation, mean)"""
    spread = std(x, dim, unbiased, keepdim, correction=correction)
    return spread, mean(x, None if isinstance(dim, bool) else dim, keepdim)
