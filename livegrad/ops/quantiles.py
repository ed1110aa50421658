"""Quantiles, and the median that leaves NaN out."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..lazy import backend
from ..lazy.value import Value
from ..tensor import Tensor
from .casting import autocasts
from .copying import clone
from .extremes import share_evenly
from .geometry import normal_dim
from .instruction import real_only
from .operator import name_nodes
from .order import comparable, picked, place_zero
from .registry import operator, public
from .results import NanMedian

_WAYS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(
    name: str, x: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip_nan: bool
) -> Tensor:
    if x.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if interpolation not in _WAYS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    from ..from_data import tensor

    if not isinstance(q, Tensor):
        q = tensor(q, dtype=x.dtype, device=x.device)
    if q.dim() > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if q.dtype is not x.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    if bool(((q < 0) | (q > 1)).any()):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    if not x.numel():
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if dim is None:
        shape = (1,) * x.dim() if keepdim else ()
        made = _quantile(name, x.reshape(-1), q, 0, False, interpolation, skip_nan)
        return made.reshape((*q.shape, *shape))
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        return _quantile(name, x.reshape(1), q, 0, False, interpolation, skip_nan)
    ordered = x.movedim(d, -1).sort(-1)[0]  # NaN is the largest
    made = _between(ordered, _ranks(ordered.detach(), q.reshape(-1), skip_nan), interpolation)
    made = made.movedim(-1, 0)
    if keepdim:
        made = made.unsqueeze(d + 1)
    return made if q.dim() else made.squeeze(0)


def _ranks(ordered: Tensor, q: Tensor, skip_nan: bool) -> Tensor:
    """Where in each row its quantiles lie. In a row with NaN that is the NaN, or, if skipped, before the first one."""
    n = ordered.shape[-1]
    missing = ordered.isnan()
    if skip_nan:
        counted = missing.logical_not().sum(-1, keepdim=True).clamp(min=1)
        return q * (counted - 1).to(q.dtype)
    return (q * (n - 1)).expand((*ordered.shape[:-1], q.numel())).masked_fill(missing.any(-1, keepdim=True), n - 1)


def _between(ordered: Tensor, ranks: Tensor, interpolation: str) -> Tensor:
    """The elements of rows at ranks; between two of them as the interpolation says."""
    place = ranks.detach()
    if interpolation == "nearest":
        return ordered.gather(-1, place.round().to(dtypes.int64))
    low = place.floor()
    if interpolation == "lower":
        return ordered.gather(-1, low.to(dtypes.int64))
    high = place.ceil().to(dtypes.int64)
    if interpolation == "higher":
        return ordered.gather(-1, high)
    weight = 0.5 if interpolation == "midpoint" else ranks - low
    return ordered.gather(-1, low.to(dtypes.int64)).lerp(ordered.gather(-1, high), weight)


@public("quantile")
@autocasts
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """Quantiles by sorting, interpolated between neighbours; NaN where there is a NaN.

    q, a number or a vector of them, is from 0 to 1; a vector gives the result a first dimension. float32 and float64.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


def _gap_samples() -> list:
    x = np.array([[1.5, np.nan, 0.5, 2.5], [0.25, 3.0, -1.0, 7.0]])
    return [((x, 0.3), {}), ((x, 0.5, 1), {"keepdim": True}), ((x, np.array([0.1, 0.9]), 1), {})]


@public("nanquantile", samples=_gap_samples)
@autocasts
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """`quantile` of the elements that are not NaN; NaN where there are none."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


def _nanmedian(x: Value) -> Value:
    a = comparable(x.native().reshape(-1))
    kept = a[~np.isnan(a)] if a.dtype.kind == "f" else a
    if not kept.size:
        return backend.copied(np.full((), np.nan).astype(x.dtype.np))
    k = (kept.size - 1) // 2
    return backend.copied(np.partition(kept, k)[k].astype(x.dtype.np).reshape(()))


NANMEDIAN = operator("nanmedian", _nanmedian, tensors=("x",), grads={"x": share_evenly}, node="Nanmedian")


def _nanmedian_samples() -> list:
    return [(args[:1] + args[2:], {}) for args, _ in _gap_samples()[:2]]


@public("nanmedian", kind="library", op=NANMEDIAN, samples=_nanmedian_samples)
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """`median` of the elements that are not NaN: of all, or (values, indices) along a dimension."""
    real_only(input, "median_cpu" if dim is None else "median_out")
    if dim is None:
        return NANMEDIAN.apply((input,))
    d = normal_dim(dim, input.dim())
    if input.dim() == 0:
        return NanMedian(name_nodes(clone(input), "NanmedianBackward1"), place_zero(input))
    a = comparable(input._to_numpy())
    if not a.shape[d]:
        raise IndexError(f"nanmedian(): Expected reduction dim {d} to have non-zero size.")
    counted = (~np.isnan(a) if a.dtype.kind == "f" else np.ones_like(a, np.bool_)).sum(d, keepdims=True)
    index = np.take_along_axis(np.argsort(a, axis=d, kind="stable"), np.maximum(counted - 1, 0) // 2, d)
    values, places = picked(input, index, d, "NanmedianBackward1")
    if keepdim:
        return NanMedian(values, places)
    return NanMedian(name_nodes(values.squeeze(d), "NanmedianBackward1"), places.squeeze(d))
