"""Elements put, added or combined into places given by a tensor: scatter, scatter_add, scatter_reduce."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.node import cast_value
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value, from_array
from ..native import hot
from ..runtime import array as arrays
from ..tensor import Tensor, wrap
from . import writes
from .along import along
from .assignment import INDEX_CLEAR
from .casting import autocasts
from .gather import GATHER, index_array
from .geometry import normal_dim
from .index import INDEX_BACKWARD, elsewhere, grid
from .operator import on_either
from .registry import named, operator, public


@hot
def _scatter_value(x: Value, source: Value, index: Any, dim: int, reduce: str | None) -> Value:
    if x.device is not cpu:
        if reduce is None:
            return elsewhere("put", _index_put, (x, _window(source, index)), grid(index, dim))
        name = "sum" if reduce == "add" else "prod"
        return elsewhere("combine", _combined, (x, _window(source, index)), grid(index, dim), name)
    made = backend.copied(x.native())
    if reduce != "multiply":
        what = "put" if reduce is None else "add"
        if along(what, made.ready(), source.ready(), index, dim):
            return made
    where = grid(index, dim)
    values = source.native()[tuple(slice(n) for n in index.shape)]
    if reduce is None:
        made.native()[where] = values
    elif reduce == "add":
        np.add.at(made.native(), where, values)
    else:
        np.multiply.at(made.native(), where, values)
    return made


def _window(source: Value, index: Value) -> Value:
    """As much of a source as there are indices."""
    a = source.ready()
    return source if a.shape == index.shape else from_array(a.view(a.offset, index.shape, a.strides))


def _index_put(x: Value, source: Value, where: tuple) -> Value:
    made = backend.copied(x.native())
    made.native()[where] = source.native()
    return made


def _combined(x: Value, source: Value, where: tuple, name: str) -> Value:
    made = backend.copied(x.native())
    with np.errstate(all="ignore"):
        _UFUNCS[name].at(made.native(), where, source.native())
    return made


def _scatter_gradient_x(g: Any, index: np.ndarray, dim: int) -> Any:
    return on_either(INDEX_CLEAR, g, index=grid(index, dim))


def _scatter_gradient_source(g: Any, source_shape: tuple, index: np.ndarray, dim: int) -> Any:
    part = on_either(GATHER, g, index=index, dim=dim)
    if index.shape == source_shape:
        return part
    return on_either(PAD_TO, part, shape=source_shape)


PAD_TO = operator(
    "pad_to",
    lambda x, shape: _padded(x, shape),
    tensors=("x",),
    grads={"x": lambda g, x_shape: _corner(g, x_shape)},
    anywhere=True,
)


def _padded(x: Value, shape: tuple) -> Value:
    with backend.on(x.device):
        out = backend.of(x).zeros(shape, x.dtype.np)
        out[tuple(slice(n) for n in x.shape)] = x.native()
    return backend.fresh(out)


def _corner(g: Any, shape: tuple) -> Any:
    for d, n in enumerate(shape):
        g = g.narrow_step(d, 0, 1, n)
    return g


SCATTER = operator(
    "scatter",
    _scatter_value,
    tensors=("x", "source"),
    grads={"x": _scatter_gradient_x, "source": _scatter_gradient_source},
    holds=("index",),
    anywhere=True,
)
SCATTER_ADD = operator(
    "scatter",
    _scatter_value,
    tensors=("x", "source"),
    grads={"x": lambda g: g, "source": _scatter_gradient_source},
    holds=("index",),
    anywhere=True,
)


@hot
def _scatter(name: str, x: Tensor, dim: int, index: Tensor, src: Any, reduce: str | None) -> Tensor:
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        x = x.reshape(1)
    a = index_array(name, index, x, d)
    if not isinstance(src, Tensor):
        src = wrap(from_array(arrays.full_on(x.device, index._shape, x.dtype, src)))
    if src.dtype is not x.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
    if (
        index.dim() != x.dim()
        or any(n > s for n, s in zip(index._shape, src._shape))
        or any(n > s for k, (n, s) in enumerate(zip(index._shape, x._shape)) if k != d)
    ):
        raise RuntimeError(
            f"Expected index {list(index._shape)} to be no larger than self {list(x._shape)} apart from dimension {d} "
            f"and to be no larger size than src {list(src._shape)}"
        )
    op = SCATTER_ADD if reduce == "add" else SCATTER
    return op.apply((x, src), label=name.capitalize().replace("_a", "A") + "Backward", index=a, dim=d,
                    reduce=reduce)  # fmt: skip


_REDUCE = {"add": "add", "multiply": "multiply", None: None}


@public("scatter", kind="library", op=SCATTER, inplace=True)
def scatter(
    x: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """A copy of x with out[index[i][j]][j] = src[i][j] for dim 0, and so on; src may be a number."""
    return _scatter("scatter", x, dim, index, value if src is None else src, _REDUCE[reduce])


@public("scatter_add", kind="library", inplace=True)
@autocasts
def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Like `scatter`, adding to what is there."""
    return _scatter("scatter_add", x, dim, index, src, "add")


_UFUNCS = {"sum": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def _reduce_value(x: Value, src: Value, index: Any, dim: int, reduce: str) -> Value:
    if x.device is not cpu:
        return elsewhere("combine", _combined, (x, _window(src, index)), grid(index, dim), reduce)
    made = backend.copied(x.native())
    window = src.native()[tuple(slice(n) for n in index.shape)]
    with np.errstate(all="ignore"):
        _UFUNCS[reduce].at(made.native(), grid(index, dim), window)
    return made


def _shares(g: Any, x: Any, src: Any, result: Any, index: np.ndarray, dim: int) -> tuple:
    """How many reach the extreme at each place, which of x do, and which of src."""
    of_src = _same(_gathered(result, index, dim), src)
    of_x = _same(x, result)
    return of_x + _added(of_src, x.shape, index, dim), of_x, of_src


def _same(x: Any, y: Any) -> Any:

    equal = x == y if x.__class__ is not Value else x.eq(y)
    return cast_value(equal, x.dtype) if equal.__class__ is Value else equal.to(x.dtype)


def _gathered(x: Any, index: np.ndarray, dim: int) -> Any:
    return on_either(GATHER, x, index=index, dim=dim)


def _added(x: Any, shape: tuple, index: np.ndarray, dim: int) -> Any:
    return on_either(INDEX_BACKWARD, x, shape=tuple(shape), index=grid(index, dim))


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
    anywhere=True,
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
    where = index_array("scatter_reduce", index, x, d)
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


Tensor.index_reduce_ = writes.in_place(index_reduce, "index_reduce_")  # type: ignore[attr-defined]
