"""Variance and standard deviation."""

from __future__ import annotations

import functools
import math
from typing import Any

from .. import dtypes
from ..autograd.node import cast_value
from ..devices import cpu
from ..lazy.value import Value
from ..native import hot
from ..runtime.array import numel
from ..tensor import Tensor
from . import dispatch, rows
from .batch_rules import along
from .dims import count_over, dims_of, kept_shape, need_floating
from .operator import shows
from .reduce import mean
from .registry import ELEMENTWISE, operator, public
from .rowprogram import RowProgram, largest_number, smallest_number, total
from .scalar import square, where


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


def _within(x: Any, mean: Any) -> Any:
    """A row's mean, put back between its elements where rounding took it out, by a unit in the last place or more.

    So the variance of equal elements is 0, by which the gradient of the standard deviation knows them.
    """
    top, bottom = largest_number(x), smallest_number(x)
    return where(mean > top, top, where(mean < bottom, bottom, mean))


def _squares_and_mean(x: Any, n: Any) -> tuple:
    """Two sweeps: the mean, then the squares of what is left; and by how much the mean was rounded."""
    mean = _within(x, total(x) / n)
    return total(square(x - mean)), mean, total(x - mean) / n


def _joined(squares: Any, mean: Any, rest: Any, n: Any, length: Any, divisor: Any) -> Any:
    """The variance of n segments of that length from those of each (Chan, Golub and LeVeque 1983).

    The segments' means are near each other and may be far from 0, so what was rounded off them counts.
    """
    apart = (mean - _within(mean, total(mean) / n)) + rest
    middle = total(apart) / n
    return (total(squares - length * square(rest)) + length * total(square(apart - middle))) / divisor


_VAR = RowProgram("var", lambda x, n, divisor: _squares_and_mean(x, n)[0] / divisor)
_VAR_OF_SEGMENTS = RowProgram("var_of_segments", _squares_and_mean)
_VAR_JOINED = RowProgram("var_joined", _joined, tensors=3)
_VAR_GRADIENT = RowProgram("var_gradient", lambda g, x, n, scale: g * ((x - total(x) / n) * scale), tensors=2)


@hot
def _var(x: Value, dims: tuple, keepdim: bool, correction: float) -> Value:
    n = count_over(x.shape, dims)
    divisor = float(max(n - correction, 0))
    length = 0
    if n > _ROWS and numel(x.shape) > _SEGMENT and (x.array is None or x.array.contiguous):
        length = _segment_length(x, dims, n)
    if length:
        made = _var_of_segments(x, dims, n, length, divisor)
    else:
        made = rows.apply(_VAR, (x,), dims, (float(n), divisor))
    return made if keepdim else made.reshape(tuple([n for d, n in enumerate(x.shape) if d not in dims]))


# Elements of a segment at most, or rows of it where columns are reduced: it stays in the cache for its second sweep.
_SEGMENT, _ROWS = 8192, 256
_FEWEST_COLUMNS = 64


@hot
def _segment_length(x: Value, dims: tuple, n: int) -> int:
    """How many of the elements that are reduced, all or leading dimensions, make up a segment; 0 without segments."""
    if len(dims) == len(x.shape):
        return _segment(n, _SEGMENT) if n > _SEGMENT else 0
    lead = len(dims)
    if x.device is not cpu or dims != tuple(range(lead)) or numel(x.shape[lead:]) < _FEWEST_COLUMNS:
        return 0
    return _segment(n, _ROWS)


@functools.cache
def _segment(n: int, most: int) -> int:
    """The length of equal segments in which n elements can be cut, 0 where they would be many short ones."""
    return next((length for length in range(most, most // 8, -1) if n % length == 0), 0)


def _var_of_segments(x: Value, dims: tuple, n: int, length: int, divisor: float) -> Value:
    """The variance over leading dimensions, or all, of elements that are read from memory once."""
    count = n // length
    rest = x.shape[len(dims) :]
    parts = x.reshape((count, length, *rest))  # type: ignore[attr-defined]
    kept = rows.computing(x.dtype)
    known = rows.apply(_VAR_OF_SEGMENTS, (parts,), (1,), (float(length),), (kept, kept, kept))
    numbers = (float(count), float(length), divisor)
    made = rows.apply(_VAR_JOINED, known, (0,), numbers, (x.dtype,))
    return made.reshape((*(1,) * len(dims), *rest))


@hot
def _var_gradient(g: Any, x: Any, x_shape: tuple, dims: tuple, correction: float) -> Any:
    n = count_over(x_shape, dims)
    scale = 2.0 / (n - correction) if n > correction else math.nan
    return rows.apply(_VAR_GRADIENT, (g.reshape(kept_shape(x_shape, dims)), x), dims, (float(n), scale))


VAR = operator("var", _var, tensors=("x",), grads={"x": _var_gradient}, anywhere=True, batch=along("dims"))


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


STD = operator("std", _std, tensors=("x",), grads={"x": _std_gradient}, anywhere=True, batch=along("dims"))


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
@shows("VarMeanBackward")
def var_mean(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Any:
    """(variance, mean)"""
    spread = var(x, dim, unbiased, keepdim, correction=correction)
    return spread, mean(x, None if isinstance(dim, bool) else dim, keepdim)


@public("std_mean", kind="reduction", method=False)
@shows("StdMeanBackward")
def std_mean(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Any:
    """(standard deviation, mean)"""
    spread = std(x, dim, unbiased, keepdim, correction=correction)
    return spread, mean(x, None if isinstance(dim, bool) else dim, keepdim)
