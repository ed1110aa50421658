"""Reductions into named places, and what the elements of a tensor have in common: scatter_reduce, mode and the like."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..lazy.value import Value
from ..runtime import backend
from ..tensor import Tensor, wrap
from . import dispatch
from .index import GATHER, _comparable, _grid, _index_array
from .registry import FUNCTIONS, named, operator, public
from .results import Mode
from .view import normal_dim, on_either

_UFUNCS = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def _reduce_value(x: Value, src: Value, index: np.ndarray, dim: int, reduce: str) -> Value:
    made = backend.copied(x.native())
    window = src.native()[tuple(slice(n) for n in index.shape)]
    with np.errstate(all="ignore"):
        _UFUNCS[reduce].at(made.native(), _grid(index, dim), window)
    return made


def _shares(g: Any, x: Any, src: Any, result: Any, index: np.ndarray, dim: int) -> tuple:
    """How many reach the extreme at each place, which of x do, and which of src."""
    of_src = _same(_gathered(result, index, dim), src)
    of_x = _same(x, result)
    return of_x + _added(of_src, x.shape, index, dim), of_x, of_src


def _same(x: Any, y: Any) -> Any:
    from ..autograd.node import cast_value

    equal = x == y if x.__class__ is not Value else x.eq(y)
    return cast_value(equal, x.dtype) if equal.__class__ is Value else equal.to(x.dtype)


def _gathered(x: Any, index: np.ndarray, dim: int) -> Any:
    return on_either(GATHER, x, index=index, dim=dim)


def _added(x: Any, shape: tuple, index: np.ndarray, dim: int) -> Any:
    from .index import INDEX_BACKWARD

    return on_either(INDEX_BACKWARD, x, shape=tuple(shape), index=_grid(index, dim))


def _gradient_x(g: Any, x: Any, src: Any, result: Any, index: np.ndarray, dim: int, reduce: str) -> Any:
    if reduce == "prod":
        return g * result / x
    count, of_x, _ = _shares(g, x, src, result, index, dim)
    return g * of_x / count


def _gradient_src(g: Any, x: Any, src: Any, result: Any, index: np.ndarray, dim: int, reduce: str) -> Any:
    if reduce == "prod":
        return _gathered(g * result, index, dim) / src
    count, _, of_src = _shares(g, x, src, result, index, dim)
    return _gathered(g / count, index, dim) * of_src


SCATTER_REDUCE = operator(
    "scatter_reduce",
    _reduce_value,
    tensors=("x", "src"),
    grads={"x": _gradient_x, "src": _gradient_src},
)


def _neutral(reduce: str, dtype: dtypes.dtype) -> Any:
    """What a place holds before anything is combined into it."""
    if reduce in ("sum", "mean", "prod"):
        return 1 if reduce == "prod" else 0
    if dtype.is_floating_point:
        return float("-inf") if reduce == "amax" else float("inf")
    if dtype is dtypes.bool_:
        return reduce == "amin"
    limits = dtypes.iinfo(dtype)
    return limits.min if reduce == "amax" else limits.max


def _scatter_samples() -> list:
    x = np.arange(6.0).reshape(2, 3) + 0.75
    src = np.array([[2.0, 7.0, 0.5], [1.5, -1.0, 3.0]])
    index = np.array([[0, 1, 1], [1, 1, 0]])
    found = []
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        for dim in (0, 1):
            for include in (True, False):
                found.append(((x, dim, index, src, reduce), {"include_self": include}))
    return found


@public("scatter_reduce", kind="library", inplace=True, op=SCATTER_REDUCE, samples=_scatter_samples)
def scatter_reduce(
    x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy of x with elements of src combined into the places that index names along a dimension.

    reduce is sum, prod, mean, amax or amin; with include_self=False only what src brings counts at those places.
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}.")
    d = normal_dim(dim, x.dim())
    start = x if include_self else x.scatter(d, index, _neutral(reduce, x.dtype))
    if src._shape != index._shape:
        for k, n in enumerate(index._shape):
            src = src.narrow(k, 0, n)
    if reduce in ("sum", "mean"):
        total = start.scatter_add(d, index, src)
        if reduce == "sum":
            return total
        ones = src.detach().new_ones(src.shape)
        count = x.detach().new_ones(x.shape)
        count = count if include_self else count.scatter(d, index, 0)
        count = count.scatter_add(d, index, ones).clamp(min=1)
        return total / count if x.is_floating_point() else total.div(count, rounding_mode="floor")
    where = _index_array("scatter_reduce", index, x._shape[d], d)
    return SCATTER_REDUCE.apply((start, src), index=where, dim=d, reduce=reduce)


@named("index_reduce")
def index_reduce(
    x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy of x with slices of source combined into the named indices of one dimension; see `scatter_reduce`."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    d = normal_dim(dim, x.dim())
    wide = index.reshape([-1 if k == d else 1 for k in range(x.dim())]).expand(source._shape)
    return scatter_reduce(x, d, wide, source, reduce, include_self=include_self)


@named("put")
def put(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of x with numbered elements, as if it were one row, replaced by source's, or added to."""
    flat, places = x.reshape(-1), index.reshape(-1)
    values = source.reshape(-1)
    made = flat.index_add(0, places, values) if accumulate else flat.index_copy(0, places, values)
    return made.reshape(x._shape)


@named("mode")
def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent value along a dimension, the smallest of several, and the index of its last occurrence."""
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        from ..creation import zeros

        return Mode(x.clone(), zeros((), dtype=dtypes.int64))
    a = np.moveaxis(_comparable(x.detach()._value().native()), d, -1)
    if a.shape[-1] == 0:
        raise IndexError(f"mode(): Expected reduction dim {d} to have non-zero size.")
    places = np.empty(a.shape[:-1], np.int64)
    for at in np.ndindex(*a.shape[:-1]):
        values, inverse, counts = np.unique(a[at], return_inverse=True, return_counts=True)
        places[at] = np.flatnonzero(inverse == counts.argmax())[-1]
    index = wrap(backend.copied(places)).unsqueeze(d)
    values = x.gather(d, index)
    return Mode(values, index) if keepdim else Mode(values.squeeze(d), index.squeeze(d))


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Elements, or slices of a dimension, that differ from the one before them; optionally where each went, how many.

    >>> import livegrad
    >>> livegrad.unique_consecutive(livegrad.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    a = input.detach()._value().native()
    along = a.reshape(-1) if dim is None else np.moveaxis(a, dim, 0)
    n = along.shape[0]
    differs = along[1:] != along[:-1]
    new = np.concatenate((np.ones(min(n, 1), bool), differs.any(tuple(range(1, differs.ndim)))))
    starts = np.flatnonzero(new)
    found = along[starts]
    out = [wrap(backend.copied(found if dim is None else np.moveaxis(found, 0, dim)))]
    if return_inverse:
        inverse = np.cumsum(new) - 1
        out.append(wrap(backend.copied(inverse.reshape(a.shape) if dim is None else inverse)))
    if return_counts:
        out.append(wrap(backend.copied(np.diff(np.append(starts, n)))))
    return out[0] if len(out) == 1 else tuple(out)


FUNCTIONS["unique_consecutive"] = unique_consecutive
Tensor.unique_consecutive = unique_consecutive  # type: ignore[attr-defined]


def _into(name: str, window: Any) -> None:
    """A copy with a window replaced: the functional form of writing into a view."""

    def function(x: Tensor, src: Tensor, *args: Any, **options: Any) -> Tensor:
        made = x.clone()
        window(made, *args, **options).copy_(src)
        return made

    function.__name__ = name
    function.__doc__ = f"A copy of x with what `{name.partition('_')[0]}` shows of it replaced by src."
    named(name)(function)


def _slice(x: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    return x[(slice(None),) * normal_dim(dim, x.dim()) + (slice(start, end, step),)]


_into("select_scatter", lambda x, dim, index: x.select(dim, index))
_into("slice_scatter", _slice)
_into("diagonal_scatter", lambda x, offset=0, dim1=0, dim2=1: x.diagonal(offset, dim1, dim2))


def _whole_numbers(name: str, ufunc: Any) -> None:
    def function(x: Tensor, other: Tensor) -> Tensor:
        if x.dtype.is_floating_point or other.dtype.is_floating_point:
            raise RuntimeError(f"{name}: expected integers, got {x.dtype} and {other.dtype}")
        return wrap(backend.copied(ufunc(x._value().native(), other._value().native())))

    function.__name__ = name
    function.__doc__ = f"Elementwise {name} of integers."
    named(name)(function)


_whole_numbers("gcd", np.gcd)
_whole_numbers("lcm", np.lcm)


@named("heaviside")
def heaviside(x: Tensor, values: Tensor) -> Tensor:
    """0 where x is negative, 1 where it is positive, and values where it is 0."""
    if x.dtype is not values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    x = x.detach()
    return FUNCTIONS["where"](x == 0, values.detach(), (x > 0).to(x.dtype))


for _name in ("index_reduce", "put", "gcd", "lcm", "heaviside"):
    setattr(Tensor, _name + "_", dispatch.in_place(getattr(Tensor, _name), _name + "_"))
