"""Elements and slices at places given by a tensor: gather, index_select, take, masked_select, nonzero."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..devices import cpu
from ..lazy import backend
from ..lazy.places import Index, Strict
from ..lazy.value import Value, from_array
from ..native import hot
from ..observe import WATCH
from ..runtime import array as arrays
from ..runtime import pool
from ..runtime.array import SMALL
from ..runtime.raw import peek, poke
from ..tensor import Tensor, from_native, wrap
from . import batch_index, dispatch
from .along import all_within, along
from .batch_rules import picked_along, trailing
from .batching import level_of, of_wholes
from .geometry import normal_dim
from .index import INDEX, INDEX_BACKWARD, grid
from .indices import EVERY, advanced, as_index, as_numbers, beyond, held_places
from .operator import on_either
from .registry import FUNCTIONS, operator, public

# What is said of an index of a wrong dtype, where it is not the usual: of a function's name {0} and a dtype {1}.
_WRONG_DTYPES: dict[str, tuple] = {
    "index_select": (RuntimeError, "index_select(): Expected dtype int32 or int64 for index, but got {1}"),
    "index_add": (RuntimeError, "index_add_(): Expected dtype int32/int64 for index but got: {1}"),
    "index_reduce": (RuntimeError, "index_reduce_(): Expected dtype int32/int64 for index but got: {1}"),
    "index_copy": (RuntimeError, "index_copy_(): Expected a long tensor for index, but got {1}"),
    "index_fill": (IndexError, "index_fill_(): Expected dtype int64 for index, but got {1}"),
    "take": (RuntimeError, "take(): Expected a long tensor for index, but got {1}"),
    "put": (RuntimeError, "put_(): Expected a long tensor for index, but got {1}"),
}
# And of a number in it that is out of range; the parts are the number, the dimension and its size.
_BEYOND: dict[str, tuple] = {
    "index_select": (IndexError, "index out of range in self: index {0} for dimension {1} with size {2}"),
    "index_add": (IndexError, "index out of range in self: index {0} for dimension {1} with size {2}"),
    "index_reduce": (IndexError, "index out of range in self: index {0} for dimension {1} with size {2}"),
    "index_copy": (IndexError, "index_copy_(): index {0} is out of bounds for dimension {1} with size {2}"),
    "index_fill": (IndexError, "index {0} is out of bounds for dimension {1} with size {2}"),
    "take": (IndexError, "out of range: tried to access index {0} on a tensor of {2} elements."),
    "put": (IndexError, "out of range: tried to access index {0} on a tensor of {2} elements."),
}
# Functions that take indices of 64 bits only, and those in whose indices negative numbers count from the end.
_LONG_ONLY = frozenset(("index_copy", "index_fill", "take", "put", "take_along_dim"))
_WRAPPING = frozenset(("index_fill", "take", "put", "take_along_dim"))


def _refuse_dtype(name: str, d: dtypes.dtype) -> None:
    kind, text = _WRONG_DTYPES.get(name, (RuntimeError, "{0}(): Expected dtype int32/int64 for index, but got {1}"))
    raise kind(text.format("scatter" if name.startswith("scatter") else name, d))


def _refuse_beyond(name: str, bad: int, dim: int, n: int, many: bool) -> None:
    if name == "index_add" and many:
        name = "index"
    kind, text = _BEYOND.get(name, (RuntimeError, "index {0} is out of bounds for dimension {1} with size {2}"))
    raise kind(text.format(bad, dim, n))


@hot
def index_array(name: str, index: Any, x: Tensor, dim: int) -> Any:
    """An index tensor of a dimension as an array, checked; on a CUDA device as a value, which kernels check.

    Raises RuntimeError where it is on another device, or of another dtype, and what PyTorch raises where a number in it
    is out of range. A tensor without dimensions has one of size 1 here.
    """
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    d = index.dtype
    if (d is not dtypes.int64 and (d is not dtypes.int32 or name in _LONG_ONLY)) and (0 not in index._shape):
        _refuse_dtype(name, d)
    if index.device is not x.device:
        dispatch.check_devices((x, index))
    if index.device is not cpu:
        return as_numbers(index)
    n = x._shape[dim] if x._shape else 1
    a = index._to_numpy().astype(np.int64)
    if all_within(a, 0, n):
        return a
    bad = beyond(a, -n if name in _WRAPPING else 0, n)
    if bad is not None:
        _refuse_beyond(name, bad, dim, n, len(x._shape) > 1)
    if name in _WRAPPING and a.size and a.min() < 0:
        a = np.where(a < 0, a + n, a)
    return a


@hot
def _gather(x: Value, index: Any, dim: int) -> Value:
    if index.__class__ is np.ndarray and index.ndim > 0:
        if x.device is cpu:
            made = arrays.empty(index.shape, x.dtype)
            if along("pick", made, x.ready(), index, dim):
                return from_array(made)
            if index.size and index.size <= SMALL:
                return _few_gathered(x.ready(), index.shape, index.reshape(-1).tolist(), dim)
    return INDEX.forward(x, grid(index, dim))


@hot
def _few_gathered(x: Any, shape: tuple, places: list, dim: int) -> Value:
    """A few elements of an array of the CPU, copied one by one. places: row-major, within the array, not negative."""
    starts = [0]
    for d, n in enumerate(shape):
        step = 0 if d == dim else x.strides[d]
        further = []
        for start in starts:
            for i in range(n):
                further.append(start + i * step)
        starts = further
    made = arrays.empty(shape, x.dtype)
    size = x.dtype.itemsize
    step = x.strides[dim]
    target = made.ptr
    pool.finish()
    for start, place in zip(starts, places):
        poke(target, peek(x.ptr + (start + place * step) * size, size))
        target += size
    return from_array(made)


@hot
def _gather_backward(g: Value, shape: tuple, index: Any, dim: int) -> Value:
    """Zeros with the elements of g added where they were taken from."""
    if index.__class__ is np.ndarray and g.device is cpu:
        made = arrays.full_on(cpu, shape, g.dtype, 0)
        a = g.ready()
        if along("add", made, a if a.contiguous else arrays.copied(a), index, dim):
            return from_array(made)
    return INDEX_BACKWARD.forward(g, shape=shape, index=grid(index, dim))


def _copied(x: Value) -> Value:
    return backend.copied(x.native())


GATHER_BACKWARD = operator(
    "gather_backward",
    _gather_backward,
    tensors=("x",),
    grads={"x": lambda g, index, dim: on_either(GATHER, g, index=index, dim=dim)},
    holds=("index",),
    anywhere=True,
    batch=picked_along,
)
GATHER = operator(
    "gather",
    _gather,
    tensors=("x",),
    grads={"x": lambda g, x_shape, index, dim: on_either(GATHER_BACKWARD, g, shape=x_shape, index=index, dim=dim)},
    holds=("index",),
    anywhere=True,
    batch=picked_along,
)


@hot
def _chosen(x: Value, index: Any, dim: int) -> Value:
    shape = index.shape
    return _gather(x, index, dim).reshape((*shape[:dim], *shape[dim + 1 :]))  # type: ignore[attr-defined]


@hot
def _chosen_gradient(g: Any, x_shape: tuple, index: Any, dim: int) -> Any:
    return on_either(GATHER_BACKWARD, g.unsqueeze(dim), shape=x_shape, index=index, dim=dim)


# One element of each row along a dimension, which goes.
CHOSEN = operator(
    "chosen", _chosen, tensors=("x",), grads={"x": _chosen_gradient}, holds=("index",), anywhere=True,
    batch=picked_along,
)  # fmt: skip


# The element of a tensor without dimensions, which has but one.
_NUMBER = operator("gather", _copied, tensors=("x",), grads={"x": lambda g: g}, anywhere=True, batch=trailing)


def _gather_of_batch(x: Tensor, d: int, index: Tensor) -> Tensor:
    return of_wholes((x, index), lambda x, index: gather(x, d + 1, index))


@public("gather", kind="library", op=GATHER)
@hot
def gather(x: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j] = x[index[i][j]][j] for dim 0, and so on."""
    d = normal_dim(dim, x.dim())
    shape = index._shape
    if len(shape) != len(x._shape):
        if max(len(shape), len(x._shape), 1) > 1 and 0 not in shape:
            raise RuntimeError(
                f"Index tensor must have the same number of dimensions as input tensor: got {len(shape)} and {x.dim()}"
            )
        return gather(x.reshape(-1), 0, index.reshape(-1)).reshape(shape)
    if WATCH.batcher is not None and level_of(index):
        if not shape:
            return gather(x.reshape(1), 0, index.reshape(1)).reshape(())
        return _gather_of_batch(x, d, index)
    if not shape:
        index_array("gather", index, x, d)
        return _NUMBER.apply((x,))
    for k in range(x.dim()):
        if k != d and index._shape[k] > x._shape[k]:
            raise RuntimeError(
                f"Size does not match at dimension {k} expected index {list(index._shape)} to be no larger than self "
                f"{list(x._shape)} apart from dimension {d}"
            )
    return GATHER.apply((x,), index=index_array("gather", index, x, d), dim=d)


@public("take_along_dim", kind="library")
def take_along_dim(x: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Like `gather`, with broadcasting; negative indices count from the end."""
    if indices.dtype is not dtypes.int64:
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {indices.dtype}")
    if dim is None:
        return _gather_along(x.reshape(-1), indices.reshape(-1), 0)
    if x.dim() != indices.dim():
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{x.dim()} dimensions for input, and {indices.dim()} dimensions for indices"
        )
    d = normal_dim(dim, x.dim())
    if not x._shape:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    shape = list(dispatch.broadcast_shapes(
        tuple(1 if k == d else n for k, n in enumerate(x._shape)),
        tuple(1 if k == d else n for k, n in enumerate(indices._shape)),
    ))  # fmt: skip
    xs, js = list(shape), list(shape)
    xs[d], js[d] = x._shape[d], indices._shape[d]
    return _gather_along(x.expand(xs), indices.expand(js), d)


def _gather_along(x: Tensor, index: Tensor, d: int) -> Tensor:
    if WATCH.batcher is not None and level_of(index):
        return of_wholes((x, index), lambda x, index: _gather_along(x, index, d + 1))
    if index.device is cpu:
        return GATHER.apply((x,), index=index_array("take_along_dim", index, x, d), dim=d)
    return gather(x, d, index.where(index >= 0, index + x._shape[d]))


@public("index_select", kind="library")
@hot
def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """The named indices of one dimension, in order."""
    d = normal_dim(dim, x.dim())
    if index.dim() > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if WATCH.batcher is not None and level_of(index):
        return batch_index.at(x, d, index)
    a = index_array("index_select", index if index._shape else index.reshape(1), x, d)
    if not x._shape:
        if index.numel() != 1:
            raise RuntimeError(f"index_select(): Index to scalar can have only 1 value, got {index.numel()} value(s)")
        return _NUMBER.apply((x,), "IndexSelectBackward")
    where = Strict((*[EVERY] * d, a))
    return INDEX.apply((x,), "IndexSelectBackward", index=where)


@hot
def rows_at(table: Tensor, index: Tensor) -> Tensor:
    """The rows of a table that an index of any shape names: what an embedding is."""
    if WATCH.batcher is not None and level_of(index):
        return batch_index.at(table, 0, index)
    return INDEX.apply((table,), "EmbeddingBackward", index=Strict((_places_of_rows(table, index),)))


def _places_of_rows(table: Tensor, index: Tensor) -> Any:
    try:
        return index_array("index_select", index, table, 0)
    except IndexError as error:
        raise (IndexError if table._shape[0] else RuntimeError)(str(error)) from None


def _rows_gradient(g: Any, weight: Any, rows: Any, skipped: int) -> Any:
    """The gradient of a table: a row for each that was looked up but `skipped`; dense where it is recorded."""
    from ..sparse import SparseTensor

    flat = rows.reshape(-1)
    if g.__class__ is not Value:
        return g.new_zeros(weight).index_add(0, flat, g.reshape(-1, weight[1]))
    values = wrap(g).reshape(flat._shape[0], weight[1])  # type: ignore[attr-defined]
    if skipped >= 0:
        there = flat != skipped
        flat, values = flat[there], values[there]
    SparseTensor.among_gradients = True
    return SparseTensor(flat.reshape(1, -1), values, weight)


_SPARSE_ROWS = operator(
    "_sparse_embedding", lambda weight, rows, skipped: INDEX.forward(weight, index=Strict((rows._to_numpy(),))),
    tensors=("weight",), node="Embedding",
    grads={"weight": lambda g, weight_shape, rows, skipped: _rows_gradient(g, weight_shape, rows, skipped)},
)  # fmt: skip


def rows_with_sparse_gradient(table: Tensor, index: Tensor, skipped: int = -1) -> Tensor:
    """`rows_at` of a table that is a leaf, whose gradient is a sparse tensor; rows `skipped` get none."""
    index_array("index_select", index, table, 0)  # which checks it
    rows = index.detach().to(dtypes.int64)  # type: ignore[attr-defined]
    return _SPARSE_ROWS.apply((table,), rows=rows, skipped=skipped)


@public("masked_select", kind="library")
@hot
def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, in one dimension."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = dispatch.broadcast_shapes(x._shape, mask._shape)
    wide = x.expand(shape)
    where = advanced(wide, [as_index(mask.expand(shape), x.device)]) if shape else (as_index(mask, x.device),)
    return INDEX.apply((wide,), "MaskedSelectBackward", index=where)


@public("take", kind="library")
@hot
def take(x: Tensor, index: Tensor) -> Tensor:
    """Elements of the flattened tensor at the given indices."""
    if x.numel() == 0 and index.numel():
        raise IndexError("take(): tried to take from an empty tensor")
    flat = x.reshape(-1)
    return INDEX.apply((flat,), "TakeBackward", index=Index((index_array("take", index, flat, 0),)))


@public("nonzero", kind="library")
@hot
def nonzero(x: Tensor, *, as_tuple: bool = False) -> Any:
    """Indices of the elements that are not zero: one row each, or one tensor per dimension."""
    if x.device is not cpu:
        found = [wrap(i) for i in held_places((x.detach() if x.dim() else x.detach().reshape(1))._value())]
        if as_tuple:
            return tuple(found)
        if not x.dim():
            return found[0].new_empty((found[0]._shape[0], 0))
        return FUNCTIONS["stack"](found, 1)
    a = x._to_numpy()
    coordinates = _coordinates(np.atleast_1d(a))
    if as_tuple:
        return tuple(from_native(i.astype(np.int64)) for i in coordinates)
    rows = np.empty((len(coordinates[0]), a.ndim), np.int64)
    for d in range(a.ndim):
        rows[:, d] = coordinates[d]
    return wrap(backend.fresh(rows))


@hot
def _coordinates(a: np.ndarray) -> list:
    """For each dimension the indices of the elements that are not zero, by dividing their places in the whole array."""
    left = np.flatnonzero(a if a.dtype == bool else a != 0)
    if a.size < 1 << 32:
        left = left.astype(np.uint32)  # is divided faster
    found: list = [None] * a.ndim
    for d in range(a.ndim - 1, 0, -1):
        size = left.dtype.type(max(a.shape[d], 1))
        rows = left // size
        found[d] = left - rows * size
        left = rows
    found[0] = left
    return found


@public("nonzero_static", kind="library")
def nonzero_static(x: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """Indices of the first size elements that are not zero, one row each: (size, dimensions), int64.

    Rows that are left over hold fill_value. Raises RuntimeError for a negative size.
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    found = nonzero(x)[:size]
    rest = found.new_full((size - found._shape[0], found._shape[1]), fill_value)
    return FUNCTIONS["cat"]([found, rest])


@public("argwhere", kind="library")
def argwhere(x: Tensor) -> Tensor:
    """Indices of the elements that are not zero, one row each."""
    return nonzero(x)
