"""Histograms of any bins and weights, and of points in several dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..lazy import backend
from ..tensor import Tensor, wrap
from .registry import function, named
from .results import named as result_type

_Histogram = result_type("histogram", "hist bin_edges")
_HistogramDd = result_type("histogramdd", "hist bin_edges")


def _tensor(a: np.ndarray, like: Tensor) -> Tensor:
    return wrap(backend.copied(np.ascontiguousarray(a))).to(like.dtype).to(like.device)  # type: ignore[no-any-return]


def _edges(name: str, values: np.ndarray, bins: Any, limits: Sequence | None) -> np.ndarray:
    """The edges along one dimension: those given, or so many equal bins between limits or the data's own."""
    if isinstance(bins, Tensor):
        if bins.dim() != 1:
            raise RuntimeError(f"{name}(): bins tensor should have one dimension, but got {bins.dim()} dimensions.")
        return bins._to_numpy()
    if bins < 1:
        raise RuntimeError(f"{name}(): bins must be > 0, but got {bins}.")
    if limits is not None:
        low, high = map(float, limits)
        if low > high:
            raise RuntimeError(f"{name}(): min should not exceed max, but got min {low:g} max {high:g}.")
    else:
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"{name}(): dimension 0's range [{low:g}, {high:g}] is not finite")
    if low == high:  # as NumPy has it
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, int(bins) + 1).astype(values.dtype)


def _check(name: str, input: Tensor, weight: Tensor | None, count: tuple) -> None:  # noqa: A002
    if not input.is_floating_point():
        raise TypeError(f"{name}(): the values must be floating-point numbers, but got {input.dtype}")
    if weight is not None and tuple(weight.shape) != count:
        raise RuntimeError(
            f"{name}(): if weight tensor is provided it should have the same shape as the input tensor excluding its "
            f"innermost dimension, but got input with shape {list(input.shape)} and weight with shape "
            f"{list(weight.shape)}"
        )
    if weight is not None and weight.dtype is not input.dtype:
        raise TypeError(
            f"{name}(): if weight tensor is provided, input tensor and weight tensor should have the same dtype, but "
            f"got input(dtype: {input.dtype}), and weight(dtype: {weight.dtype})"
        )


def _counted(points: np.ndarray, edges: list, weight: Tensor | None, density: bool) -> np.ndarray:
    weights = None if weight is None else weight._to_numpy().reshape(-1)
    return np.histogramdd(points, edges, weights=weights, density=density)[0]


@named("histogram")
def histogram(
    input: Tensor, bins: Any, *, range: Sequence | None = None, weight: Tensor | None = None, density: bool = False  # noqa: A002
) -> Any:  # fmt: skip
    """(hist, bin_edges): how many elements, or how much of `weight`, lie in each bin; the last one holds its end.

    bins: how many equal ones there are in `range` (low, high), which is the data's own by default, or their edges.
    density: divide so that the sum of height times width is 1. Raises RuntimeError for bins or limits that are none.

    >>> import livegrad
    >>> livegrad.histogram(livegrad.tensor([1., 2., 1.]), bins=4, range=(0., 3.)).hist
    tensor([0., 2., 1., 0.])
    """
    _check("histogram", input, weight, tuple(input.shape))
    values = input._to_numpy().reshape(-1)
    edges = _edges("histogram", values, bins, range)
    return _Histogram(_tensor(_counted(values[:, None], [edges], weight, density), input), _tensor(edges, input))


@function
def histogramdd(
    input: Tensor, bins: Any, range: Sequence | None = None, weight: Tensor | None = None, density: bool = False  # noqa: A002
) -> Any:  # fmt: skip
    """(hist, bin_edges) of points (..., D): counts over D dimensions, and the edges along each, in a tuple.

    bins: how many there are along each dimension, one number for all, or a sequence of edges. range: low and high of
    each dimension, one after the other; the data's own by default.
    """
    if input.dim() < 2:
        raise RuntimeError(f"torch.histogramdd: input tensor should have at least 2 dimensions, but got {input.dim()}")
    _check("histogramdd", input, weight, tuple(input.shape[:-1]))
    n = input.shape[-1]
    each = [bins] * n if isinstance(bins, int) else list(bins)
    if len(each) != n:
        raise RuntimeError(
            f"histogramdd(): expected {n} sequences of bin edges for a {n}-dimensional histogram but got {len(each)}"
        )
    if range is not None and len(range) != 2 * n:
        raise RuntimeError(f"histogramdd(): for a {n}-dimensional histogram range should have {2 * n} elements, "
                           f"but got {len(range)}")  # fmt: skip
    points = input._to_numpy().reshape(-1, n)
    limits = [None if range is None else range[2 * d : 2 * d + 2] for d in np.arange(n)]
    edges = [_edges("histogramdd", points[:, d], each[d], limits[d]) for d in np.arange(n)]
    return _HistogramDd(
        _tensor(_counted(points, edges, weight, density), input), tuple(_tensor(e, input) for e in edges)
    )
