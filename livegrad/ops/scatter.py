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
from ..observe import WATCH
from ..runtime import array as arrays
from ..tensor import Tensor, wrap
from . import writes
from .along import along
from .arguments import type_name
from .assignment import INDEX_CLEAR, check_slices, cleared
from .batch_rules import picked_along
from .batching import level_of, of_wholes
from .casting import autocasts
from .copying import checked_number, clone
from .elementwise_functions import where
from .gather import GATHER, index_array
from .geometry import normal_dim
from .index import INDEX_BACKWARD, elsewhere, grid
from .operator import name_nodes, on_either
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
    batch=picked_along,
)
SCATTER_ADD = operator(
    "scatter",
    _scatter_value,
    tensors=("x", "source"),
    grads={"x": lambda g: g, "source": _scatter_gradient_source},
    holds=("index",),
    anywhere=True,
    batch=picked_along,
)


@hot
def _check_shapes(x: Tensor, index: Tensor, src: Tensor, d: int) -> None:
    """Raise RuntimeError where an index does not lie within the tensors that it is for; no elements fit everywhere."""
    if (
        index.dim() != x.dim()
        or index.dim() != src.dim()
        or any(n > s for n, s in zip(index._shape, src._shape))
        or any(n > s for k, (n, s) in enumerate(zip(index._shape, x._shape)) if k != d)
    ):
        _refuse_shapes(x, index, src, d)


def _refuse_shapes(x: Tensor, index: Tensor, src: Tensor, d: int) -> None:
    for other, t in (("self", x), ("src", src)):
        if index.dim() != t.dim():
            raise RuntimeError(
                f"Index tensor must have the same number of dimensions as {other} tensor: "
                f"got {index.dim()} and {t.dim()}"
            )
    raise RuntimeError(
        f"Expected index {list(index._shape)} to be no larger than self {list(x._shape)} apart from dimension {d} "
        f"and to be no larger size than src {list(src._shape)}"
    )


@hot
def _checked_places(name: str, x: Tensor, d: int, index: Tensor, src: Tensor) -> Any:
    """The index as operators take it (`gather.index_array`), for tensors that fit; None where it names no place."""
    a = index_array(name, index, x, d)
    if src.dtype is not x.dtype:
        raise RuntimeError(
            f"scatter(): Expected self.dtype to be equal to src.dtype, but they are {x.dtype} and {src.dtype}"
        )
    if 0 in index._shape:
        return None
    _check_shapes(x, index, src, d)
    return a


def _scatter_of_batch(name: str, x: Tensor, d: int, index: Tensor, src: Tensor, reduce: str | None) -> Tensor:
    return of_wholes((x, index, src), lambda x, index, src: _scatter(name, x, d + 1, index, src, reduce))


@hot
def _scatter(name: str, x: Tensor, dim: int, index: Tensor, src: Any, reduce: str | None) -> Tensor:
    """What the forms of scatter have in common. `name` is the function's; a number as `src` stands for all elements."""
    d = normal_dim(dim, x.dim())
    shape = x._shape
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' (position 2) must be Tensor, not {type_name(index)}")
    if not isinstance(src, Tensor):
        if not isinstance(src, (int, float, complex)):
            raise TypeError(f"{name}(): argument 'src' (position 3) must be Tensor or Number, not {type_name(src)}")
        src = wrap(from_array(arrays.full_on(x.device, index._shape, x.dtype, checked_number(src, x.dtype))))
    if not shape or not index._shape or not src._shape:  # numbers stand for vectors of one element
        return _scatter(
            name, x if shape else x.reshape(1), dim, index if index._shape else index.reshape(1),
            src if src._shape else src.reshape(1), reduce,
        ).reshape(shape)  # fmt: skip
    if WATCH.batcher is not None and level_of(index):
        return _scatter_of_batch(name, x, d, index, src, reduce)
    a = _checked_places(name, x, d, index, src)
    if a is None:
        return clone(x)
    op = SCATTER_ADD if reduce == "add" else SCATTER
    return op.apply((x, src), label=_LABELS[name], index=a, dim=d, reduce=reduce)


_LABELS = {
    "scatter": "ScatterBackward",
    "scatter_add": "ScatterAddBackward",
    "scatter_reduce": "ScatterReduceBackward",
    "index_reduce": "IndexReduceBackward",
}


@public("scatter", kind="library", op=SCATTER, inplace=True)
@hot
def scatter(
    x: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """A copy of x with out[index[i][j]][j] = src[i][j] for dim 0, and so on; src may be a number.

    reduce is "add" or "multiply" for what is done with what is there, else it is replaced.
    """
    if reduce not in (None, "add", "multiply"):
        raise RuntimeError(f"reduce argument must be either add or multiply, got {reduce!r}")
    return _scatter("scatter", x, dim, index, value if src is None else src, reduce)


@public("scatter_add", kind="library", inplace=True)
@autocasts
@hot
def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Like `scatter`, adding to what is there."""
    if not isinstance(src, Tensor):
        raise TypeError(f"scatter_add(): argument 'src' (position 3) must be Tensor, not {type_name(src)}")
    return _scatter("scatter_add", x, dim, index, src, "add")


_UFUNCS = {"sum": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def _reduce_value(x: Value, src: Value, index: Any, dim: int, reduce: str, include_self: bool) -> Value:
    if not include_self:
        start = from_array(arrays.full_on(x.device, tuple(index.shape), x.dtype, _neutral(reduce, x.dtype)))
        x = _scatter_value(x, start, index, dim, None)
    if x.device is not cpu:
        return elsewhere("combine", _combined, (x, _window(src, index)), grid(index, dim), reduce)
    made = backend.copied(x.native())
    window = src.native()[tuple(slice(n) for n in index.shape)]
    with np.errstate(all="ignore"):
        _UFUNCS[reduce].at(made.native(), grid(index, dim), window)
    return made


def _mean_value(x: Value, src: Value, count: Value, index: Any, dim: int, include_self: bool) -> Value:
    if not include_self:
        x = cleared(x, grid(index, dim))
    total = _scatter_value(x, src, index, dim, "add")
    return total._floor_divide(count) if x.dtype.category < dtypes.FLOATING else total / count


def _same(x: Any, y: Any) -> Any:
    equal = x == y if x.__class__ is not Value else x.eq(y)
    return _cast(equal, x.dtype)


def _cast(x: Any, dtype: dtypes.dtype) -> Any:
    return cast_value(x, dtype) if x.__class__ is Value else x.to(dtype)


def _chosen(condition: Any, yes: Any, no: Any) -> Any:
    return condition._where(yes, no) if condition.__class__ is Value else where(condition, yes, no)


def _gathered(x: Any, index: np.ndarray, dim: int) -> Any:
    return on_either(GATHER, x, index=index, dim=dim)


def _added(x: Any, shape: tuple, index: np.ndarray, dim: int) -> Any:
    return on_either(INDEX_BACKWARD, x, shape=tuple(shape), index=grid(index, dim))


def _windowed(src: Any, index: Any) -> Any:
    """As much of a source as there are indices."""
    return src if tuple(src.shape) == tuple(index.shape) else _corner(src, index.shape)


def _padded_to(g: Any, shape: tuple) -> Any:
    return g if tuple(g.shape) == tuple(shape) else on_either(PAD_TO, g, shape=shape)


def _without_self(g: Any, index: Any, dim: int, include_self: bool) -> Any:
    return g if include_self else on_either(INDEX_CLEAR, g, index=grid(index, dim))


def _again(x: Any, src: Any, index: Any, dim: int, include_self: bool) -> Any:
    """The products once more, of other numbers."""
    if x.__class__ is Value:
        return _reduce_value(x, src, index, dim, "prod", include_self)
    return SCATTER_REDUCE.apply((x, src), index=index, dim=dim, reduce="prod", include_self=include_self)


def _gradient_x(
    g: Any, x: Any, src: Any, result: Any, index: np.ndarray, dim: int, reduce: str, include_self: bool
) -> Any:
    if reduce == "prod":  # zeros are left out instead of dividing by them
        zero = x.eq(0)
        others = _chosen(zero, 1.0, x)
        return _without_self(g * _again(others, src, index, dim, include_self) / others, index, dim, include_self)
    of_src = _same(_gathered(result, index, dim), _windowed(src, index))
    of_x = _same(x, result)
    return _without_self(g * of_x / (of_x + _added(of_src, x.shape, index, dim)), index, dim, include_self)


def _gradient_src(
    g: Any, x: Any, src: Any, result: Any, index: np.ndarray, dim: int, reduce: str, include_self: bool
) -> Any:
    window = _windowed(src, index)
    if reduce == "prod":
        zero = window.eq(0)
        zeros = _gathered(_added(_cast(zero, g.dtype), x.shape, index, dim), index, dim)
        alone = zero.logical_and(zeros.eq(1))
        rest = _gathered(g * _again(x, _chosen(alone, 1.0, window), index, dim, include_self), index, dim)
        found = _chosen(alone, rest, _gathered(g * result, index, dim) / _chosen(zero, 1.0, window))
        return _padded_to(found, src.shape)
    of_src = _same(_gathered(result, index, dim), window)
    of_x = _same(x, result)
    count = of_x + _added(of_src, x.shape, index, dim)
    return _padded_to(_gathered(g / count, index, dim) * of_src, src.shape)


SCATTER_REDUCE = operator(
    "scatter_reduce",
    _reduce_value,
    tensors=("x", "src"),
    grads={"x": _gradient_x, "src": _gradient_src},
    holds=("index",),
    anywhere=True,
    batch=picked_along,
)
SCATTER_SUM = operator(
    "scatter_reduce",
    lambda x, src, index, dim: _scatter_value(cleared(x, grid(index, dim)), src, index, dim, "add"),
    tensors=("x", "src"),
    grads={
        "x": lambda g, index, dim: _without_self(g, index, dim, False),
        "src": lambda g, src_shape, index, dim: _padded_to(_gathered(g, index, dim), src_shape),
    },
    holds=("index",),
    anywhere=True,
    batch=picked_along,
)
SCATTER_MEAN = operator(
    "scatter_reduce",
    _mean_value,
    tensors=("x", "src", "count"),
    grads={
        "x": lambda g, count, index, dim, include_self: _without_self(g / count, index, dim, include_self),
        "src": lambda g, count, src_shape, index, dim: _padded_to(_gathered(g / count, index, dim), src_shape),
    },
    holds=("index",),
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
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    return _combined_into("scatter_reduce", x, dim, index, src, reduce, include_self)


def _combined_into(
    name: str, x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool
) -> Tensor:
    d = normal_dim(dim, x.dim())
    shape = x._shape
    if not shape or not index._shape or not src._shape:
        x, index, src = (t if t._shape else t.reshape(1) for t in (x, index, src))
        made = _combined_into(name, x, dim, index, src, reduce, include_self).reshape(shape)
        return name_nodes(made, _LABELS[name])
    if WATCH.batcher is not None and level_of(index):
        return of_wholes(
            (x, index, src), lambda x, index, src: _combined_into(name, x, d + 1, index, src, reduce, include_self)
        )
    a = _checked_places(name, x, d, index, src)
    if a is None:
        return clone(x)
    label = _LABELS[name]
    if reduce == "mean":
        ones, count = x.new_ones(index._shape), x.new_ones(shape)
        count = count if include_self else count.scatter(d, index, 0)
        count = count.scatter_add(d, index, ones).clamp(min=1)
        return SCATTER_MEAN.apply((x, src, count), label, index=a, dim=d, include_self=include_self)
    if reduce == "sum" and include_self:
        return SCATTER_ADD.apply((x, src), label, index=a, dim=d, reduce="add")
    if reduce == "sum":
        return SCATTER_SUM.apply((x, src), label, index=a, dim=d)
    return SCATTER_REDUCE.apply((x, src), label, index=a, dim=d, reduce=reduce, include_self=include_self)


@named("index_reduce")
def index_reduce(
    x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy of x with slices of source combined into the named indices of one dimension; see `scatter_reduce`."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    d = normal_dim(dim, x.dim())
    if index.dim() > 1:
        raise IndexError(f"index_reduce_(): Index is supposed to be a vector, but got size {list(index._shape)}")
    if source.dtype is not x.dtype:
        raise RuntimeError(
            f"index_reduce_(): self ({x.dtype}) and source ({source.dtype}) must have the same scalar type"
        )
    index_array("index_reduce", index, x, d)
    check_slices(x, d, index, source, "index_reduce")
    wide = index.reshape([-1 if k == d else 1 for k in range(x.dim())]).expand(source._shape)
    return _combined_into("index_reduce", x, d, wide, source, reduce, include_self)


Tensor.index_reduce_ = writes.in_place(index_reduce, "index_reduce_")  # type: ignore[attr-defined]
