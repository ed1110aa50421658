"""x[...]: ints, slices, None and Ellipsis give a view; masks and integer tensors a copy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..codegen.kernels import Kernel
from ..devices import cpu
from ..lazy import backend
from ..lazy.places import Along, Distinct
from ..lazy.value import Value, from_array
from ..llvm import machine
from ..native import hot
from ..observe import WATCH
from ..runtime import array as arrays
from ..runtime import pool
from ..runtime.array import FEW_BYTES, SMALL, numel
from ..runtime.raw import address, peek, poke
from ..tensor import Tensor
from . import batch_index
from .along import all_within, slices_at
from .batch_rules import indexed
from .indices import EVERY, advanced, as_index, basic, items_of, slice_bounds
from .operator import on_either
from .registry import operator
from .view import unsqueeze
from .view_operators import EXPAND, SELECT, SLICE


def grid(a: Any, dim: int) -> Any:
    """Full indices that vary along `dim` as `a` says and run along the others."""
    if a.__class__ is Value:
        return Along(a, dim)
    # Not np.ogrid, which takes 20 us.
    ones = (1,) * (a.ndim - 1)
    return tuple([a if d == dim else np.arange(n).reshape(*ones[:d], n, *ones[d:]) for d, n in enumerate(a.shape)])


def elsewhere(what: str, here: Callable, values: tuple, index: Any, *args: Any) -> Value:
    """A function of `lazy.cuda_index`, of values on a CUDA device; where there are no kernels, `here` on the CPU."""
    from ..lazy import cuda_index

    if cuda_index.usable(values[0]):
        return getattr(cuda_index, what)(*values, index, *args)
    where = values[0].device
    made = here(*[from_array(arrays.moved(v.ready(), cpu)) for v in values], _on_host(index), *args)
    return from_array(arrays.moved(made.ready(), where))


def _on_host(index: Any) -> tuple:
    """An index with its index tensors as NumPy's arrays."""
    if index.__class__ is Along:
        return grid(arrays.on_host(index.index.ready(), "indexing").native(), index.dim)
    return tuple([
        arrays.on_host(i.ready(), "indexing").native() if i.__class__ is Value else i for i in index
    ])  # fmt: skip


@hot
def _index_value(x: Value, index: Any) -> Value:
    if x.device is not cpu:
        return elsewhere("read", _index_value, (x,), index)
    dim = _only_places(index)
    if dim >= 0 and index[dim].size:
        first = index[dim]
        array = x.ready()
        made = slices_at(array, first, dim)
        if made is not None:
            return from_array(made)
        if dim == 0:
            few = _few_rows(array, first) if first.ndim == 1 and first.size <= SMALL else None
            return _rows_taken(x, first) if few is None else few
    return backend.copied(x.native()[index])


@hot
def _only_places(index: tuple) -> int:
    """The dimension that an index of one tensor of places, and else of whole dimensions, is for; -1 for any other."""
    found = -1
    for d, i in enumerate(index):
        if i.__class__ is np.ndarray:
            if found >= 0 or i.dtype.kind != "i":
                return -1
            found = d
        elif i is not EVERY and (i.__class__ is not slice or i != EVERY):
            return -1
    return found


@hot
def _few_rows(x: Any, places: np.ndarray) -> Value | None:
    """Some rows of row-major memory, where they are a few bytes; None otherwise. The places are within it."""
    if not x.contiguous:
        return None
    shape = x.shape
    size = numel(shape[1:]) * x.dtype.itemsize
    if size * len(places) > FEW_BYTES:
        return None
    made = arrays.empty((len(places), *shape[1:]), x.dtype)
    target = made.ptr
    pool.finish()
    for i in places.tolist():
        if i < 0:
            i += shape[0]
        poke(target, peek(x.ptr + i * size, size))
        target += size
    return from_array(made)


def _rows_taken(x: Value, places: np.ndarray) -> Value:
    """Rows of x, copied once. The places are within it; negative ones count from the end."""
    made = arrays.empty((*places.shape, *x.shape[1:]), x.dtype)
    # Where places could be wrong, NumPy would write into memory of its own first.
    np.take(x.native(), places, 0, made.native(), "wrap")
    return from_array(made)


@functools.cache
def _added_rows(kind: str) -> Kernel:
    """The kernel that adds rows to rows."""
    from ..codegen import added_rows

    return Kernel(lambda: ("added rows", kind), lambda: added_rows.source(kind), added_rows.FORMATS, 1)


@hot
def _first_rows(index: Any, shape: tuple) -> np.ndarray | None:
    """The places in an index of rows of the first dimension, within it; None for any other index."""
    if _only_places(index) != 0:
        return None
    places = index[0]
    return places if all_within(places, 0, shape[0]) else None


def _rows_named(index: tuple, shape: tuple) -> tuple[np.ndarray, int] | None:
    """(places, dims): an index as one of rows, where the first `dims` dimensions are one dimension of rows.

    None for any other index than whole dimensions, then arrays of ints, then perhaps more whole dimensions.
    """
    index = tuple(index)
    while index and index[-1].__class__ is slice and index[-1] == EVERY:
        index = index[:-1]
    before = next((d for d, i in enumerate(index) if isinstance(i, np.ndarray)), len(index))
    arrays_of = index[before:]
    if not arrays_of or not all(isinstance(i, np.ndarray) and i.dtype.kind == "i" for i in arrays_of):
        return None
    if not all(i.__class__ is slice and i == EVERY for i in index[:before]):
        return None
    places: Any = None
    for i, size in zip(arrays_of, shape[before:]):
        if not i.size or not size:
            return None
        least = i.min()
        if least < -size or i.max() >= size:
            return None  # NumPy says what is wrong
        i = i % size if least < 0 else i
        places = i if places is None else places * size + i
    places = np.ascontiguousarray(places, np.int64).reshape(-1)
    if before:
        each = numel(shape[before : before + len(arrays_of)])
        firsts = np.arange(0, numel(shape[:before]) * each, each)
        places = (firsts[:, None] + places).reshape(-1)
    return places, before + len(arrays_of)


@hot
def add_rows(target: np.ndarray, source: np.ndarray, index: Any) -> bool:
    """Add at the places of `target` that an index names, in order, as np.add.at does, which is much slower.

    False, with nothing done, where this is not for it: other dtypes, layouts and indices (see `_rows_named`).
    """
    added = _ADDED.get(target.dtype)
    if added is None or source.dtype != target.dtype or not target.flags.c_contiguous:
        return False
    kind, parts = added
    shape = target.shape
    places = _first_rows(index, shape)
    dims = 1
    if places is None:
        found = _rows_named(index, shape)
        if found is None:
            return False
        places, dims = found
    rows = places.size
    columns = numel(shape[dims:])
    if source.size != rows * columns:  # one that broadcasts
        return False
    if not source.size:
        return True
    if not source.flags.c_contiguous:
        source = np.ascontiguousarray(source)
    if not _added_rows(kind).available(rows * columns):
        if columns == 1:
            np.add.at(target.reshape(-1), places.reshape(-1), source.reshape(-1))
            return True
        return False
    kernel = _added_rows(kind)
    args = kernel.pack(address(target), address(source), address(places), rows, columns * parts)
    items = -(-columns * target.itemsize // machine.host_vector_bytes())
    grain = max(1, min(-(-items // pool.get_num_threads()), (1 << 16) // rows))
    pool.launch(kernel.address, args, items, grain)
    return True


# By dtype: the kind of what is added up, and how many of them an element has.
_ADDED = {
    np.dtype(np.float32): ("f32", 1),
    np.dtype(np.float64): ("f64", 1),
    np.dtype(np.complex64): ("f32", 2),
    np.dtype(np.complex128): ("f64", 2),
}


@hot
def _index_backward(g: Value, shape: tuple, index: Any) -> Value:
    if g.device is not cpu:
        return elsewhere("added_to_zeros", _added_to_zeros, (g,), index, shape)
    made = arrays.empty(shape, g.dtype)
    arrays.fill(made, 0)
    out, source = made.native(), g.native()
    if index.__class__ is Distinct:
        out[index] = source
    elif not add_rows(out, source, index):
        np.add.at(out, index, source)
    return from_array(made)


def _added_to_zeros(g: Value, index: Any, shape: tuple) -> Value:
    return _index_backward(g, shape, index)


INDEX_BACKWARD = operator(
    "index_backward",
    _index_backward,
    tensors=("x",),
    grads={"x": lambda g, index: on_either(INDEX, g, index=index)},
    holds=("index",),
    anywhere=True,
    batch=indexed,
)


def _index_gradient(g: Any, x_shape: tuple, index: Any) -> Any:
    return on_either(INDEX_BACKWARD, g, shape=x_shape, index=index)


INDEX = operator(
    "index", _index_value, tensors=("x",), grads={"x": _index_gradient}, holds=("index",), anywhere=True, batch=indexed
)


@hot
def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index]: ints, slices, None and Ellipsis give a view; masks and integer tensors a copy."""
    if WATCH.batcher is not None:
        return batch_index.read(x, index, _getitem)
    if x._edge is None:
        made = direct_window(x, index)
        if made is not None:
            return made
    return _getitem(x, index)


@hot
def direct_window(x: Tensor, index: Any) -> Tensor | None:
    """x[index], unrecorded, of ints that are in range and slices alone; None for anything else.

    The same as `basic` makes where there is nothing to record, without the operators around it.
    """
    kind = index.__class__
    if kind is int:
        offset, shape, strides = x._geometry()
        if shape and -shape[0] <= index < shape[0]:
            if index < 0:
                index += shape[0]
            return x._window(offset + index * strides[0], shape[1:], strides[1:])
    elif kind is slice:
        offset, shape, strides = x._geometry()
        if shape:
            start, step, length = slice_bounds(index, shape[0])
            return x._window(offset + start * strides[0], (length, *shape[1:]), (strides[0] * step, *strides[1:]))
    elif kind is tuple:
        return _window_at(x, index)
    return None


@hot
def _window_at(x: Tensor, index: tuple) -> Tensor | None:
    """x[i, a:b, ...] of ints that are in range and slices alone; None for anything else."""
    offset, shape, strides = x._geometry()
    k = len(index)
    if k > len(shape):
        return None
    sizes = []
    steps = []
    for i, n, stride in zip(index, shape, strides):
        kind = i.__class__
        if kind is int:
            if i < 0:
                i += n
            if i < 0 or i >= n:
                return None
            offset += i * stride
        elif kind is slice:
            start, step, length = slice_bounds(i, n)
            offset += start * stride
            sizes.append(length)
            steps.append(stride * step)
        else:
            return None
    if sizes:
        return x._window(offset, (*sizes, *shape[k:]), (*steps, *strides[k:]))
    return x._window(offset, shape[k:], strides[k:])


@hot
def _recorded_window(x: Tensor, index: tuple) -> Tensor | None:
    """`_window_at` made by operators, as `basic` would; None also where there is nothing to do."""
    shape = x._shape
    if len(index) > len(shape):
        return None
    for i, n in zip(index, shape):
        kind = i.__class__
        if kind is int:
            if i >= n or i < -n:
                return None
        elif kind is not slice:
            return None
    made = x
    dim = 0
    for i, n in zip(index, shape):
        if i.__class__ is int:
            made = SELECT.apply((made,), dim=dim, index=i + n if i < 0 else i)
        else:
            start, step, length = slice_bounds(i, n)
            if i.start or step != 1 or not (i.stop is None or i.stop >= n):
                made = SLICE.apply((made,), dim=dim, start=start, step=step, length=length)
            dim += 1
    return None if made is x else made


@hot
def _getitem(x: Tensor, index: Any) -> Tensor:
    if index.__class__ is int:
        if x._shape:
            n = x._shape[0]
            if not -n <= index < n:
                raise IndexError(f"index {index} is out of bounds for dimension 0 with size {n}")
            return SELECT.apply((x,), dim=0, index=index + n if index < 0 else index)
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
            "0-dim tensor to a number"
        )
    if index.__class__ is slice and x._shape:
        return x.narrow_step(0, *slice_bounds(index, x._shape[0]))
    if index is None:
        return unsqueeze(x, 0)
    if index.__class__ is Tensor and index._shape and x._shape and index.dtype is dtypes.int64:
        left = [as_index(index, x.device), *[None] * (len(x._shape) - 1)]
        return INDEX.apply((x,), index=advanced(x, left))
    if index.__class__ is tuple:
        made = _recorded_window(x, index)
        if made is not None:
            return made
    made, left = basic(x, items_of(x, index))
    if not any(i is not None for i in left):
        return made._alias_view() if made is x else made
    return INDEX.apply((made,), index=advanced(made, left))


def _alias_view(x: Tensor) -> Tensor:
    """The whole tensor as a view of itself, as x[...] and x[:] give."""
    return EXPAND.apply((x,), label="AliasBackward", size=x._shape)


Tensor._alias_view = _alias_view  # type: ignore[attr-defined]


Tensor.__getitem__ = getitem  # type: ignore[attr-defined]
