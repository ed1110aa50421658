"""Softmax, its logarithm, and the logarithm of a sum of exponentials."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..lazy.value import Value
from ..native import hot
from ..runtime.array import numel
from ..tensor import Tensor
from . import dispatch, rows
from .batch_rules import along
from .casting import autocasts
from .dims import dims_of, kept_shape
from .geometry import normal_dim
from .instruction import SCALAR_TYPE_NAMES
from .registry import operator, public
from .rowprogram import RowProgram, largest_number, total
from .scalar import exp, isfinite, log, where


def _log_of_total(x: Any) -> Any:
    """Shifted by the largest element, so that nothing overflows; an infinite one is not subtracted from itself."""
    top = largest_number(x)
    shift = where(isfinite(top), top, 0.0)
    return log(total(exp(x - shift))) + shift


_LOGSUMEXP = RowProgram("logsumexp", _log_of_total)


@hot
def _logsumexp(x: Value, dims: tuple, keepdim: bool) -> Value:
    made = rows.apply(_LOGSUMEXP, (x,), dims)
    return made if keepdim else made.reshape(tuple(n for d, n in enumerate(x.shape) if d not in dims))


@hot
def _logsumexp_gradient(g: Any, x: Any, result: Any, x_shape: tuple, dims: tuple) -> Any:
    shape = kept_shape(x_shape, dims)
    lse = result.reshape(shape)
    # Where everything is -inf nothing flows; PyTorch gives NaN there.
    return g.reshape(shape) * (x - lse.masked_zero(lse.eq(-math.inf))).exp()


LOGSUMEXP = operator(
    "logsumexp", _logsumexp, tensors=("x",), grads={"x": _logsumexp_gradient}, anywhere=True, batch=along("dims")
)


@public("logsumexp", kind="reduction", op=LOGSUMEXP)
@autocasts
@hot
def logsumexp(x: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over dimensions, without overflow."""
    if x.is_complex():
        dims = dims_of(dim, x.dim())
        top = x.real.detach().amax(dims, keepdim=True)
        top = top.masked_fill(top.abs() == math.inf, 0.0)
        return (x - top).exp().sum(dims, keepdim).log() + (top if keepdim else top.squeeze(dims))
    if x.dtype.category != dtypes.FLOATING:
        x = dispatch.cast(x, dtypes.get_default_dtype())
    return LOGSUMEXP.apply((x,), dims=dims_of(dim, x.dim()), keepdim=keepdim)


def _normalised_exponentials(x: Any) -> Any:
    e = exp(x - largest_number(x))
    return e * (1.0 / total(e))


def _log_of_normalised(x: Any) -> Any:
    shifted = x - largest_number(x)
    return shifted - log(total(exp(shifted)))


SOFTMAX = rows.row_operator("softmax", _normalised_exponentials, lambda g, result: result * (g - total(g * result)))


LOG_SOFTMAX = rows.row_operator("log_softmax", _log_of_normalised, lambda g, result: g - exp(result) * total(g))


@hot
def _over_dim(op: Any, x: Tensor, dim: int, dtype: Any) -> Tensor:
    if dtype is not None:
        x = dispatch.cast(x, dtype)
    d = normal_dim(dim, x.dim())
    if x.dtype.category != dtypes.FLOATING:
        if not numel(x._shape):
            return x.clone()  # type: ignore[attr-defined]
        kernel = f"{op.name}_lastdim_kernel_impl" if d == x.dim() - 1 or not d else op.name
        if x.is_complex():
            kernel = f"{op.name}_{'lastdim_' * (d >= x.dim() - 1)}kernel_impl"
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{SCALAR_TYPE_NAMES[x.dtype]}'")
    if x.dim() == 0:
        return _over_dim(op, x.reshape(1), 0, None).reshape(())
    return op.apply((x,), dim=d)


@public("softmax", kind="reduction", op=SOFTMAX)
@autocasts
@hot
def softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along a dimension."""
    return _over_dim(SOFTMAX, x, dim, dtype)


@public("log_softmax", kind="reduction", op=LOG_SOFTMAX)
@autocasts
@hot
def log_softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """x - log(sum(exp(x))) along a dimension."""
    return _over_dim(LOG_SOFTMAX, x, dim, dtype)
