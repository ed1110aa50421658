"""Sorting, and what an order of the elements gives: topk, kthvalue, median, mode."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import MODE
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value, from_array
from ..native import hot
from ..observe import WATCH
from ..runtime import array as arrays
from ..runtime.array import Array, numel
from ..runtime.interpreter import library
from ..tensor import Tensor, wrap
from .batching import level_of, of_whole
from .copying import clone
from .extremes import share_evenly
from .gather import GATHER
from .geometry import normal_dim
from .instruction import real_only
from .operator import name_nodes, on_either, there
from .registry import named, operator, public
from .results import KthValue, Median, Mode, Sort, TopK
from .sorting import ordered


def comparable(a: Any) -> Any:
    return a.astype(np.float32) if a.dtype.kind not in "fiub" else a


_MANY = 2048  # elements that are worth being packed
_LOW = (1 << 32) - 1


def _packs(a: Any) -> bool:
    """Whether elements and their places fit together into 64 bits, and are many enough."""
    if library(a) is not np or a.size < _MANY or a.dtype.kind not in "fiub":
        return False
    if a.dtype.itemsize <= 4:
        return True
    return a.dtype.kind == "i" and int(a.max()) - int(a.min()) <= 0x7FFFFFFF


def _packed(a: np.ndarray, dim: int, descending: bool) -> np.ndarray:
    """Whole numbers in the order of the elements and, where those are equal, of their places; `dim` comes last.

    NumPy sorts such numbers with vectors, many times faster than it finds an order that is stable. The upper half is
    the element: of a float its bits, those of negative ones turned around; the lower half is its place.
    """
    rows = np.moveaxis(a, dim, -1)
    if rows.dtype.kind == "f":
        rows = np.ascontiguousarray(rows, np.float32) + np.float32(0)  # which makes 0 of -0
        bits = rows.view(np.int32)
        high = (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).astype(np.int64)
        high[np.isnan(rows)] = 0x7FFFFFFF
    else:
        high = rows.astype(np.int64)
        if rows.dtype.itemsize == 8:
            high -= high.min()
    if descending:
        np.invert(high, out=high)
    high <<= 32
    high |= np.arange(rows.shape[-1])
    return high


def _by_kernel(a: Any, dim: int, count: int, descending: bool) -> Any:
    """The first of `_order` from a kernel; None where there is none, or not yet."""
    found = None if library(a) is not np else ordered(arrays.from_native(a), dim, count, descending)
    return None if found is None else found[0].native()


def _order(a: Any, dim: int, descending: bool) -> Any:
    """Indices that sort stably; NaN counts as the largest. For arrays of NumPy and of CuPy."""
    xp = library(a)
    a = comparable(a)
    if _packs(a):
        packed = _packed(a, dim, descending)
        packed.sort(axis=-1)
        return np.moveaxis(packed & _LOW, -1, dim)
    found = _by_kernel(a, dim, a.shape[dim], descending)
    if found is not None:
        return found
    if not descending:
        return xp.argsort(a, axis=dim, kind="stable")
    # Sorting the reversed array and reversing the result keeps equal elements in order.
    turned = (slice(None),) * dim + (slice(None, None, -1),)
    back = xp.argsort(a[turned], axis=dim, kind="stable")
    return a.shape[dim] - 1 - back[turned]


_FEW, _LONG = 16, 1024  # the part of a row that is few, of a row that is long enough for a search to be worth it
_BLOCKS = 4  # blocks of a row that is searched, for each element that is looked for


def _bound(rows: np.ndarray, k: int, descending: bool) -> np.ndarray:
    """For each row one of its numbers, with k or some more elements that come no later in the order.

    A row is cut into blocks, by places modulo their number; the k-th of the first elements of each is such a number.
    """
    blocks = _BLOCKS * k
    whole = rows[..., : rows.shape[-1] // blocks * blocks].reshape(*rows.shape[:-1], -1, blocks)
    if descending:  # NaN is sorted as the largest
        return np.partition(whole.max(axis=-2), blocks - k, axis=-1)[..., blocks - k]
    return np.partition(np.fmin.reduce(whole, axis=-2), k - 1, axis=-1)[..., k - 1]


def _first(a: Any, k: int, dim: int, descending: bool) -> Any:
    """The first k of `_order`; where they are few of many, they are found before they are sorted."""
    n = a.shape[dim]
    a = comparable(a)
    if library(a) is np and k and a.size and n >= _LONG and k * _FEW <= n:
        rows = np.ascontiguousarray(np.moveaxis(a, dim, -1))
        bounds = _bound(rows, k, descending)
        found = np.empty((*rows.shape[:-1], k), np.int64)
        for at in np.ndindex(rows.shape[:-1]):
            row, bound = rows[at], bounds[at]
            if descending:
                places = np.flatnonzero(~(row < bound))
            else:
                places = np.flatnonzero(row <= bound) if bound == bound else np.arange(n)
            found[at] = places[_order(row[places], 0, descending)[:k]]
        return np.moveaxis(found, -1, dim)
    if _packs(a) and 0 < k < n:
        packed = _packed(a, dim, descending)
        packed.partition(k - 1, axis=-1)
        return np.moveaxis(np.sort(packed[..., :k], axis=-1) & _LOW, -1, dim)
    found = _by_kernel(a, dim, k, descending)
    if found is not None:
        return found
    return _order(a, dim, descending)[(slice(None),) * dim + (slice(k),)]


def _at(a: Any, k: int, dim: int) -> Any:
    """The index of element k of `_order`, upwards; the dimension stays, with size 1."""
    a = comparable(a)
    here = (slice(None),) * dim + (slice(k, k + 1),)
    if not _packs(a):
        return _order(a, dim, False)[here]
    packed = _packed(a, dim, False)
    packed.partition(k, axis=-1)
    return np.moveaxis(packed[..., k : k + 1] & _LOW, -1, dim)


@hot
def _sorted(x: Tensor, dim: int, count: int, descending: bool, label: str) -> tuple | None:
    """(values, places) of the first `count` in order from a kernel, of elements that `_packed` is not better for.

    None where there is no kernel, or not yet, and while somebody watches what runs.
    """
    if x.device is not cpu or WATCH.observer is not None or WATCH.batcher is not None:
        return None
    v = x._value()
    size = v.shape[dim]
    if v.dtype.itemsize <= 4 and numel(v.shape) >= _MANY or (size >= _LONG and count * _FEW <= size):
        return None
    found = ordered(v.ready(), dim, count, descending)
    if found is None:
        return None
    places, values = found
    return recorded(x, values, places, dim, label)


@hot
def recorded(x: Tensor, values: Array, places: Array, dim: int, label: str) -> tuple:
    """Tensors of the elements of x at places along a dimension, and of the places, as a kernel has found both."""
    made = wrap(from_array(values))
    if x._edge is not None and (MODE.off == 0 or MODE.grad):
        GATHER.record((made,), (x._value(),), (x,), label, {"index": arrays.copied(places).native(), "dim": dim})
    return made, wrap(from_array(places))


def picked(x: Tensor, index: Any, dim: int, label: str) -> tuple[Tensor, Tensor]:
    """Elements at places along a dimension that are given as an array, and the places as a tensor."""
    if library(index) is not np:
        with backend.on(x.device):
            return PICKED.apply((x,), label, index=index, dim=dim), wrap(backend.copied(index.astype(np.int64)))
    index = np.ascontiguousarray(index, np.int64)
    values = GATHER.apply((x,), label, index=index, dim=dim)
    places = wrap(backend.copied(index))
    return values, places if x.device is cpu else places.to(x.device)  # type: ignore[attr-defined]


def _put_back(x: Value, shape: tuple, index: Any, dim: int) -> Value:
    xp = backend.of(x)
    with backend.on(x.device):
        out = xp.zeros(shape, x.dtype.np)
        xp.put_along_axis(out, index, x.native(), dim)
    return backend.fresh(out)


# For places on a CUDA device; no place is picked twice, so nothing has to be added up on the way back.
PICKED = operator(
    "gather",
    lambda x, index, dim: backend.copied(backend.of(x).take_along_axis(x.native(), index, dim)),
    tensors=("x",),
    grads={"x": lambda g, x_shape, index, dim: on_either(PUT_BACK, g, shape=x_shape, index=index, dim=dim)},
    holds=("index",),
    anywhere=True,
)
PUT_BACK = operator(
    "gather_backward",
    _put_back,
    tensors=("x",),
    grads={"x": lambda g, index, dim: on_either(PICKED, g, index=index, dim=dim)},
    holds=("index",),
    anywhere=True,
)


def _native(x: Tensor) -> Any:
    """The elements as an array of the device's library."""
    return x.detach()._value().native()


def place_zero(x: Tensor) -> Tensor:
    """The place of the only element."""
    return wrap(from_array(arrays.full_on(x.device, (), dtypes.int64, 0)))


_NO_ORDER = RuntimeError(" Sort does not support complex dtypes on CPU")


@public("sort", kind="library")
@there
@hot
def sort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool | None = None) -> Any:
    """(values, indices) in order along a dimension."""
    real_only(x, _NO_ORDER)
    d = normal_dim(dim, x.dim())
    label = "SortBackward" if stable is None else "SortBackward1"
    if x.dim() == 0:
        return Sort(name_nodes(clone(x), label), place_zero(x))
    if WATCH.batcher is not None and level_of(x):
        return of_whole(x, sort, d + 1, descending)
    found = _sorted(x, d, x._shape[d], descending, label)
    if found is not None:
        return Sort(found[0], found[1])
    return Sort(*picked(x, _order(_native(x), d, descending), d, label))


@public("argsort", kind="library")
@hot
def argsort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """The indices that sort along a dimension."""
    real_only(x, _NO_ORDER)
    return sort(x.detach(), dim, descending)[1]


@public("topk", kind="library")
@there
@hot
def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """(values, indices) of the k largest (or smallest) elements along a dimension, in order."""
    real_only(x, RuntimeError(" topk does not support complex dtypes on CPU"))
    d = normal_dim(dim, x.dim())
    if x.dtype is dtypes.bool_:
        raise RuntimeError("topk does not support bool dtypes on CPU")
    if not 0 <= k <= (x._shape[d] if x.dim() else 1):
        raise RuntimeError("selected index k out of range")
    if x.dim() == 0:
        return TopK(name_nodes(clone(x), "TopkBackward"), place_zero(x))
    if WATCH.batcher is not None and level_of(x):
        return of_whole(x, topk, k, d + 1, largest, sorted)
    found = _sorted(x, d, k, largest, "TopkBackward")
    if found is not None:
        return TopK(found[0], found[1])
    return TopK(*picked(x, _first(_native(x), k, d, largest), d, "TopkBackward"))


@public("kthvalue", kind="library")
@there
def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """(value, index) of the k-th smallest element along a dimension."""
    real_only(x, "kthvalue_cpu")
    d = normal_dim(dim, x.dim())
    if x.dim() and not x._shape[d]:
        raise IndexError(f"kthvalue(): Expected reduction dim {d} to have non-zero size.")
    if not 1 <= k <= (x._shape[d] if x.dim() else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {d}")
    if x.dim() == 0:
        return KthValue(name_nodes(clone(x), "KthvalueBackward"), wrap(backend.copied(np.zeros((), np.int64))))
    if WATCH.batcher is not None and level_of(x):
        return of_whole(x, kthvalue, k, d + 1, keepdim)
    if x.dtype is dtypes.bool_:
        raise NotImplementedError("\"kthvalue_cpu\" not implemented for 'Bool'")
    index = _at(_native(x), k - 1, d)
    values, places = picked(x, index, d, "KthvalueBackward")
    if keepdim:
        return KthValue(values, places)
    return KthValue(name_nodes(values.squeeze(d), "KthvalueBackward"), places.squeeze(d))


def _median(x: Value) -> Value:
    """The lower median of all elements; NaN if there is one, or if there are no elements."""
    a = x.native().reshape(-1)
    if not a.size or (x.dtype.is_floating_point and np.isnan(comparable(a)).any()):
        return backend.copied(np.full((), np.nan).astype(a.dtype))
    k = (a.size - 1) // 2
    return backend.copied(np.partition(comparable(a), k)[k].astype(a.dtype).reshape(()))


# Elements equal to the median of all share its gradient.
MEDIAN = operator("median", _median, tensors=("x",), grads={"x": share_evenly})


@public("median", kind="library", op=MEDIAN)
@there
def median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median: of all elements, or (values, indices) along a dimension."""
    real_only(x, "median_cpu" if dim is None else "median_out")
    if dim is None:
        return MEDIAN.apply((x,))
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        return Median(name_nodes(clone(x), "MedianBackward1"), place_zero(x))
    if WATCH.batcher is not None and level_of(x):
        return of_whole(x, median, d + 1, keepdim)
    a = comparable(_native(x))
    xp = library(a)
    if not a.shape[d]:
        raise IndexError(f"median(): Expected reduction dim {d} to have non-zero size.")
    middle = (a.shape[d] - 1) // 2
    index = _at(a, middle, d)
    if a.dtype.kind == "f":
        missing = xp.isnan(a)
        index = xp.where(missing.any(axis=d, keepdims=True), xp.argmax(missing, axis=d, keepdims=True), index)
    values, places = picked(x, index, d, "MedianBackward1")
    if keepdim:
        return Median(values, places)
    return Median(name_nodes(values.squeeze(d), "MedianBackward1"), places.squeeze(d))


@named("mode")
@there
def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent value along a dimension, the smallest of several, and the index of its last occurrence."""
    real_only(x, "mode_cpu")
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        from ..creation import zeros

        return Mode(name_nodes(clone(x), "ModeBackward"), zeros((), dtype=dtypes.int64, device=x.device))
    if WATCH.batcher is not None and level_of(x):
        return of_whole(x, mode, d + 1, keepdim)
    a = np.moveaxis(comparable(x.detach()._to_numpy()), d, -1)
    if a.shape[-1] == 0:
        raise IndexError(f"mode(): Expected reduction dim {d} to have non-zero size.")
    places = np.empty(a.shape[:-1], np.int64)
    for at in np.ndindex(*a.shape[:-1]):
        values, inverse, counts = np.unique(a[at], return_inverse=True, return_counts=True)
        places[at] = np.flatnonzero(inverse == counts.argmax())[-1]
    index = wrap(backend.copied(places)).to(x.device).unsqueeze(d)  # type: ignore[attr-defined]
    values = name_nodes(x.gather(d, index), "ModeBackward")
    return Mode(values, index) if keepdim else Mode(name_nodes(values.squeeze(d), "ModeBackward"), index.squeeze(d))
