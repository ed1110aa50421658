"""Pooling: operators over windows of the last dimensions, and those that their gradients are made of.

An input is (..., *size) with as many spatial dimensions as the window; the dimensions before them are planes.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.node import cast_value
from ..devices import cpu
from ..lazy import backend
from ..lazy.places import Along
from ..lazy.value import Value, from_array
from ..native import hot
from ..runtime import array as arrays
from ..runtime import pooling
from ..runtime.array import numel
from ..runtime.pooling import Window
from ..tensor import wrap
from . import dispatch, scalar
from .assignment import INDEX_PUT
from .batch_rules import trailing
from .index import INDEX, INDEX_BACKWARD
from .operator import on_either
from .registry import ELEMENTWISE, elementwise, operator
from .view import spread

_KINDS = {dtypes.float32: "f32", dtypes.float64: "f64"}


@hot
def _in_order(v: Value) -> Value:
    return v if v.ready().contiguous else backend.copied(v.native())


def _planes(v: Value, n: int) -> Any:
    """The array as (planes, d, h, w), row-major."""
    a = _in_order(v).native()
    return a.reshape(math.prod(a.shape[: a.ndim - n]), *(1,) * (3 - n), *a.shape[a.ndim - n :])


@hot
def _kind(v: Value) -> str | None:
    """The kind of the CPU's kernels for a value; None where there are none."""
    return _KINDS.get(v.dtype) if v.device is cpu else None


@hot
def _wide(v: Value) -> Value:
    return cast_value(v, dtypes.float32) if v.dtype.kind in ("f16", "bf16") else v


@hot
def _made(like: Value, n: int, size: tuple, dtype: Any) -> Any:
    """Memory for a result with planes of `size`."""
    shape = (*like.shape[: len(like.shape) - n], *size)
    return arrays.empty_on(like.device, shape, dtype)


@hot
def _spatial(window: Window, n: int) -> tuple:
    return tuple(window.out[3 - n :])


def _flat(made: Any, *size: int) -> Any:
    a = made.native()
    return a.reshape(a.size // max(math.prod(size), 1) if math.prod(size) else 0, *size)


# --- largest ----------------------------------------------------------------------------------------------------


@hot
def _reduce(what: str, x: Value, n: int, window: Window, made: Any, index: Any) -> None:
    """Pool into arrays of the result and, if there is one, of the places."""
    kind = _kind(x)
    if kind is not None:
        x = _in_order(x)
        a = x.ready()
        planes = numel(a.shape[: len(a.shape) - n])
        if pooling.reduce_here(kind, what, planes, a.ptr, window, made.ptr, 0 if index is None else index.ptr):
            return
    positions = None if index is None else _flat(index, *window.out)
    pooling.reduce(what, _planes(x, n), window, _flat(made, *window.out), positions)


@hot
def _max_pool(x: Value, window: Window, n: int, indexed: bool) -> Any:
    wide = _wide(x)
    made = _made(x, n, _spatial(window, n), wide.dtype)
    index = _made(x, n, _spatial(window, n), dtypes.int32) if indexed else None
    _reduce("argmax" if indexed else "max", wide, n, window, made, index)
    values = cast_value(from_array(made), x.dtype)
    return values if index is None else (values, from_array(index))


def _size_of(shape: Any, n: int) -> tuple:
    return tuple(shape[len(shape) - n :])


MAX_POOL = operator(
    "max_pool",
    _max_pool,
    tensors=("x",),
    grads={
        "x": lambda g, result_1, x_shape, n, window: on_either(
            SCATTER, g[0], index=_bare(result_1), size=_size_of(x_shape, n), n=n, adds=True, window=window
        )
    },
    anywhere=True,
    batch=trailing,
)


def _bare(index: Any) -> Value:
    return index if index.__class__ is Value else index._value()


def _rows(v: Value, rows: int, count: int) -> Value:
    return v.reshape((rows, count))  # type: ignore[attr-defined]


def _scatter(x: Value, index: Value, size: tuple, n: int, adds: bool, window: Window | None = None) -> Value:
    wide = _wide(x)
    made = _made(x, n, size, wide.dtype)
    count = math.prod(x.shape[len(x.shape) - n :])
    if x.device is not cpu and window is not None:
        pooling.return_to_largest(_planes(wide, n), _planes(index, n), window, _flat(made, *window.size))
        return cast_value(from_array(made), x.dtype)
    if x.device is not cpu:
        rows = math.prod(x.shape[: len(x.shape) - n])
        flat, where = _rows(wide, rows, count), Along(_rows(index, rows, count), 1)
        if adds:
            found = INDEX_BACKWARD.forward(flat, shape=(rows, math.prod(size)), index=where)
        else:
            empty = from_array(arrays.full_on(x.device, (rows, math.prod(size)), wide.dtype, 0))
            found = INDEX_PUT.forward(empty, flat, index=where, accumulate=False)
        return cast_value(found.reshape(made.shape), x.dtype)
    pooling.scatter(
        _kind(wide), _planes(wide, n).reshape(-1, count) if count else np.zeros((0, 0), wide.dtype.np),
        _planes(index, n).reshape(-1, count) if count else np.zeros((0, 0), np.int32), _flat(made, math.prod(size)),
        adds,
    )  # fmt: skip
    return cast_value(from_array(made), x.dtype)


def _pick(x: Value, index: Value, n: int) -> Value:
    count = math.prod(index.shape[len(index.shape) - n :])
    if x.device is not cpu:
        rows = math.prod(index.shape[: len(index.shape) - n])
        places = Along(_rows(index, rows, count), 1)
        found = INDEX.forward(_rows(x, rows, math.prod(_size_of(x.shape, n))), index=places)
        return found.reshape(index.shape)
    a, at = _planes(x, n), _planes(index, n)
    rows = len(a)
    flat = a.reshape(rows, math.prod(a.shape[1:]))
    found = np.take_along_axis(flat, at.reshape(rows, count).astype(np.int64), 1)
    return backend.copied(found.reshape(index.shape))


# Elements put where an index of their plane says, and elements taken from there; each is the other's gradient.
SCATTER = operator(
    "max_unpool",
    _scatter,
    tensors=("x",),
    grads={"x": lambda g, index, n: on_either(PICK, g, index=index, n=n)},
    holds=("index",),
    anywhere=True,
)
PICK = operator(
    "max_pool_pick",
    _pick,
    tensors=("x",),
    grads={
        "x": lambda g, x_shape, index, n: on_either(
            SCATTER, g, index=index, size=_size_of(x_shape, n), n=n, adds=True
        )
    },
    holds=("index",),
    anywhere=True,
)  # fmt: skip


# --- average ----------------------------------------------------------------------------------------------------


@hot
def _avg_pool(x: Value, window: Window, n: int) -> Value:
    wide = _wide(x)
    made = _made(x, n, _spatial(window, n), wide.dtype)
    _reduce("avg", wide, n, window, made, None)
    return cast_value(from_array(made), x.dtype)


def _avg_spread(g: Value, window: Window, n: int) -> Value:
    wide = _wide(g)
    made = _made(g, n, tuple(window.size[3 - n :]), wide.dtype)
    pooling.spread(_kind(wide), _planes(wide, n), window, _flat(made, *window.size))
    return cast_value(from_array(made), g.dtype)


AVG_POOL = operator(
    "avg_pool",
    _avg_pool,
    tensors=("x",),
    grads={"x": lambda g, window, n: on_either(AVG_SPREAD, g, window=window, n=n)},
    holds=("window",),
    anywhere=True,
    batch=trailing,
)
AVG_SPREAD = operator(
    "avg_pool_backward",
    _avg_spread,
    tensors=("x",),
    grads={"x": lambda g, window, n: on_either(AVG_POOL, g, window=window, n=n)},
    anywhere=True,
    batch=trailing,
)


# --- windows of uneven size -------------------------------------------------------------------------------------


def largest_places(x: Value, bounds: list, n: int) -> Value:
    """Where in its plane the largest element of each window is; bounds: (start, stop) by spatial dimension."""
    if x.device is not cpu:
        return _largest_places_elsewhere(x, bounds, n)
    a = _planes(_wide(x), n)
    grid = np.arange(math.prod(a.shape[1:])).reshape(a.shape[1:])
    full = [[(0, 1)]] * (3 - n) + bounds
    found = np.zeros((a.shape[0], *map(len, full)), np.int32)
    for place in np.ndindex(*map(len, full)):
        inside = tuple(slice(*full[axis][i]) for axis, i in enumerate(place))
        where = grid[inside].reshape(-1)
        part = a[(slice(None), *inside)].reshape(a.shape[0], len(where))
        found[(slice(None), *place)] = where[part.argmax(1)]
    return backend.copied(found.reshape((*x.shape[: len(x.shape) - n], *map(len, bounds))))


def _largest_places_elsewhere(x: Value, bounds: list, n: int) -> Value:
    """The same on a device: all windows at once, tap by tap; beyond a window's end its last element is met again."""
    x, lead = _wide(x), x.dim() - n
    sizes = x.shape[lead:]
    best = places = None
    for tap in itertools.product(*[range(max([1, *(stop - start for start, stop in each)])) for each in bounds]):
        v, name = x, None
        for axis, (each, t) in enumerate(zip(bounds, tap)):
            index = _listed(tuple([min(start + t, stop - 1) for start, stop in each]), x.device)
            v = INDEX.forward(v, index=((slice(None),) * (lead + axis) + (index,)))
            along = index.reshape([-1 if k == axis else 1 for k in range(n)])
            name = along if name is None else name * sizes[axis] + along  # type: ignore[operator]
        name = spread(name, v.shape)
        if best is None:
            best, places = v, name
        else:
            better = dispatch.value_call(ELEMENTWISE["_better"], (v, best))
            best, places = [
                dispatch.value_call(ELEMENTWISE["_where"], (better, *pair)) for pair in ((v, best), (name, places))
            ]
    return cast_value(places, dtypes.int32)


@functools.lru_cache(256)
def _listed(numbers: tuple, where: Any) -> Value:
    """A few whole numbers as a value on a device, copied once."""
    return from_array(arrays.moved(arrays.from_native(np.array(numbers, np.int64)), where))


# Larger, or the first that is not a number.
elementwise("_better",
            lambda x, best: scalar.or_(x > best, scalar.and_(scalar.ne(x, x), scalar.eq(best, best))), rule="bool",
            reference="", method=False, function=False, inplace=False)  # fmt: skip


def as_tensor(index: Value) -> Any:
    """A 32-bit index as the 64-bit tensor that users get."""
    return wrap(cast_value(index, dtypes.int64))
