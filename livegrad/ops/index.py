"""x[...]: ints, slices, None and Ellipsis give a view; masks and integer tensors a copy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from operator import index as operator_index
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.node import cast_value
from ..codegen.kernels import Kernel
from ..devices import cpu, device
from ..lazy import backend
from ..lazy.places import Along, Distinct
from ..lazy.turned import contiguous_copy
from ..lazy.value import Value, from_array
from ..llvm import machine
from ..native import hot
from ..runtime import array as arrays
from ..runtime import pool
from ..runtime.array import FEW_BYTES, SMALL, numel
from ..runtime.memory import peek, poke
from ..tensor import Tensor
from .operator import on_either
from .registry import operator
from .view import select, unsqueeze
from .view_operators import EXPAND, SELECT, SLICE


def grid(a: Any, dim: int) -> Any:
    """Full indices that vary along `dim` as `a` says and run along the others."""
    if a.__class__ is Value:
        return Along(a, dim)
    # Not np.ogrid, which takes 20 us.
    ones = (1,) * (a.ndim - 1)
    return tuple([a if d == dim else np.arange(n).reshape(*ones[:d], n, *ones[d:]) for d, n in enumerate(a.shape)])


_ALL = slice(None)


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
    first = index[0] if index else None
    if first.__class__ is np.ndarray and first.dtype.kind == "i" and first.size:
        alone = True
        for i in index[1:]:
            if i.__class__ is not slice or i != _ALL:
                alone = False
        if alone:
            made = _few_rows(x.ready(), first) if first.ndim == 1 and first.size <= SMALL else None
            return _rows_taken(x, first) if made is None else made
    return backend.copied(x.native()[index])


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


def _rows_backward(g: Value, shape: tuple, places: np.ndarray) -> Value | None:
    """Zeros with the rows of g added at the places; None where there is no kernel for it."""
    kind = g.dtype.kind
    columns = numel(shape[1:])
    rows = places.size
    if kind not in ("f32", "f64") or not columns or not rows or not _added_rows(kind).available(rows * columns):
        return None
    array = g.ready()
    if not array.contiguous:
        array = contiguous_copy(array)
    places = np.ascontiguousarray(places, np.int64).reshape(-1)
    if places.min() < 0:
        places = places % shape[0]
    out = arrays.empty(shape, g.dtype)
    out.native()[...] = 0
    kernel = _added_rows(kind)
    args = kernel.pack(out.ptr, array.ptr, places.__array_interface__["data"][0], rows, columns)
    items = -(-columns * g.dtype.itemsize // machine.host_vector_bytes())
    grain = max(1, min(-(-items // pool.get_num_threads()), (1 << 16) // rows))
    pool.launch(kernel.address, args, items, grain)
    return from_array(out)


def _index_backward(g: Value, shape: tuple, index: Any) -> Value:
    if g.device is not cpu:
        return elsewhere("added_to_zeros", _added_to_zeros, (g,), index, shape)
    if len(index) == 1 and isinstance(index[0], np.ndarray) and index[0].dtype.kind == "i":
        made = _rows_backward(g, shape, index[0])
        if made is not None:
            return made
    out = np.zeros(shape, g.dtype.np)
    source = g.native()
    if index.__class__ is Distinct:
        out[index] = source
    else:
        np.add.at(out, index, source)
    return backend.fresh(out)


def _added_to_zeros(g: Value, index: Any, shape: tuple) -> Value:
    return _index_backward(g, shape, index)


INDEX_BACKWARD = operator(
    "index_backward",
    _index_backward,
    tensors=("x",),
    grads={"x": lambda g, index: on_either(INDEX, g, index=index)},
    holds=("index",),
    anywhere=True,
)


def _index_gradient(g: Any, x_shape: tuple, index: Any) -> Any:
    return on_either(INDEX_BACKWARD, g, shape=x_shape, index=index)


INDEX = operator("index", _index_value, tensors=("x",), grads={"x": _index_gradient}, holds=("index",), anywhere=True)


@hot
def _is_advanced(i: Any) -> bool:
    return isinstance(i, (Tensor, list, tuple, np.ndarray, range)) and not (isinstance(i, Tensor) and _is_int0(i))


@hot
def _is_int0(t: Tensor) -> bool:
    return t._shape == () and t.dtype.category == dtypes.INTEGRAL and t.dtype is not dtypes.uint8


_OF_INDICES = (dtypes.int64, dtypes.int32, dtypes.bool_, dtypes.uint8)


@hot
def as_index(i: Any, where: device) -> Any:
    """An advanced index as NumPy's array, or, of a tensor on a CUDA device, as its value.

    where: the device of what is indexed. Raises IndexError for floating-point indices.
    """
    if isinstance(i, Tensor):
        if i.dtype not in _OF_INDICES:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        if i.device is not cpu:
            if i.device is not where:
                raise RuntimeError(
                    f"indices should be either on cpu or on the same device as the indexed tensor ({where}), but this "
                    f"one is on {i.device}"
                )
            if i.dtype in (dtypes.bool_, dtypes.uint8):
                return cast_value(i.detach()._value(), dtypes.bool_)
            return as_numbers(i)
        a = i._to_numpy()
        return a.astype(np.bool_) if i.dtype is dtypes.uint8 else a.copy()
    return _as_array(i)


def _as_array(i: Any) -> np.ndarray:
    """An index that is not a tensor."""
    a = np.asarray([x.item() if isinstance(x, Tensor) else x for x in i] if isinstance(i, (list, tuple)) else i)
    if isinstance(i, np.ndarray) and a.dtype == np.uint8:
        return a.astype(np.bool_)
    if a.size == 0 and a.dtype != np.bool_:
        a = a.astype(np.int64)
    if a.dtype.kind not in "iub":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return a


def as_numbers(index: Tensor) -> Value:
    """An index tensor as a value of 32 or 64 bits."""
    v = index.detach()._value()
    return v if v.dtype in (dtypes.int64, dtypes.int32) else cast_value(v, dtypes.int64)


@hot
def is_mask(a: Any) -> bool:
    """Whether an index, as `as_index` gives it, is a mask."""
    return a.dtype is dtypes.bool_ if a.__class__ is Value else a.dtype == np.bool_


@hot
def items_of(x: Tensor, index: Any) -> list:
    """The index as a list with Ellipsis filled in."""
    if index.__class__ is int and x._shape:
        return [index, *[_ALL] * (len(x._shape) - 1)]
    return _items_of(x, list(index) if isinstance(index, tuple) or _means_tuple(index) else [index])


def _means_tuple(index: Any) -> bool:
    """Whether a sequence is a tuple of indices, as NumPy once had it: a short one with other than numbers in it."""
    if not isinstance(index, list) or len(index) >= 32:
        return False
    return any(
        i is None or i is Ellipsis or isinstance(i, (Tensor, slice, list, tuple, np.ndarray, range)) for i in index
    )


def _items_of(x: Tensor, items: list) -> list:
    used = 0
    for i in items:
        if i is None or i is Ellipsis or i is True or i is False:
            continue
        if isinstance(i, (Tensor, np.ndarray)) and i.dtype in (dtypes.bool_, np.bool_, dtypes.uint8, np.uint8):
            used += i.ndim
        elif isinstance(i, (list, tuple)) and len(i) and isinstance(i[0], (bool, list, tuple)):
            a = np.asarray(i)
            used += a.ndim if a.dtype == np.bool_ else 1
        else:
            used += 1
    n = x.dim()
    if used > n:
        raise IndexError(f"too many indices for tensor of dimension {n}")
    missing = [slice(None)] * (n - used)
    where = [k for k, i in enumerate(items) if i is Ellipsis]
    for k in reversed(where[1:]):  # the first one takes all that is left
        del items[k]
    if where:
        items[where[0] : where[0] + 1] = missing
    return items


@hot
def _bound(i: Any) -> int:
    """A bound of a slice as a number."""
    return i if i.__class__ is int else _whole_bound(i)


def _whole_bound(i: Any) -> int:
    try:
        return operator_index(i)
    except TypeError:
        if isinstance(i, Tensor):
            raise
        raise TypeError("slice indices must be integers or None or have an __index__ method") from None


@hot
def _slice_bounds(s: slice, n: int) -> tuple[int, int, int]:
    """(start, step, length). Raises ValueError for a step that is not positive."""
    start, stop, step = s.start, s.stop, s.step
    if step is None:
        step = 1
    else:
        step = _bound(step)
        if step <= 0:
            raise ValueError("step must be greater than zero" if step else "slice step cannot be zero")
    start = 0 if start is None else _bound(start)
    if start < 0:
        start += n
        if start < 0:
            start = 0
    elif start > n:
        start = n
    if stop is None:
        stop = n
    else:
        stop = _bound(stop)
        if stop < 0:
            stop += n
        elif stop > n:
            stop = n
    if stop <= start:
        return start, step, 0
    return start, step, stop - start if step == 1 else -(-(stop - start) // step)


def basic(x: Tensor, items: list) -> tuple[Tensor, list]:
    """Apply ints, slices and None one by one; returns the view and, per remaining dimension, an advanced index."""
    dim, whole = 0, x.dim()
    left: list = []
    for i in items:
        if i is None:
            x = unsqueeze(x, dim)
            left.append(None)
            dim += 1
        elif i is True or i is False:
            x = unsqueeze(x, dim)
            left.append(np.asarray([0] if i else [], np.int64))
            dim += 1
        elif isinstance(i, slice):
            n = x._shape[dim]
            start, step, length = _slice_bounds(i, n)
            if i.start or step != 1 or not (i.stop is None or i.stop >= n):
                x = x.narrow_step(dim, start, step, length)
            left.append(None)
            dim += 1
        elif _is_advanced(i):
            a = as_index(i, x.device)
            width = a.ndim if is_mask(a) else 1
            if is_mask(a):
                expected = x._shape[dim : dim + width]
                if tuple(a.shape) != expected:
                    bad = next(k for k in range(width) if a.shape[k] != expected[k])
                    raise IndexError(
                        f"The shape of the mask {list(a.shape)} at index {bad} does not match the shape of the indexed "
                        f"tensor {list(x._shape)} at index {dim + bad}"
                    )
                if width == 0:
                    x = unsqueeze(x, dim)
                    a = np.asarray([0] if (a.native() if a.__class__ is Value else a) else [], np.int64)
                    width = 1
            left.append(a)
            dim += width
        else:
            try:
                k = i.__index__()
            except (AttributeError, TypeError):
                raise (TypeError if isinstance(i, str) else IndexError)(
                    "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                    f"(got {type(i).__name__})"
                ) from None
            n = x._shape[dim]
            if not -n <= k < n:
                was = dim + whole - x.dim()  # the dimension's number before others were taken away or put in
                raise IndexError(f"index {k} is out of bounds for dimension {was} with size {n}")
            x = select(x, dim, k)
    return x, left


@hot
def advanced(x: Tensor, left: list) -> tuple:
    """The advanced indices as operators take them.

    Those on the CPU are checked against the sizes that they index; the others are by the kernels that read them. On a
    CUDA device masks become the places where they hold, for which the host has to wait.
    """
    index: list = []
    masks = others = 0
    dim = 0
    for i in left:
        if i is None:
            index.append(slice(None))
            dim += 1
            continue
        masks, others = masks + is_mask(i), others + (not is_mask(i))
        if not is_mask(i):
            n = x._shape[dim]
            if i.__class__ is not Value:
                bad = beyond(i, -n, n)
                if bad is not None:
                    raise IndexError(f"index {bad} is out of bounds for dimension {dim} with size {n}")
            dim += 1
        else:
            dim += i.ndim
        if x.device is cpu:
            index.append(i)
        else:
            index += [_on_device(a, x.device) for a in (held_places(i) if is_mask(i) else [i])]
    if others > 1:
        _check_meeting([i.shape for i in index if i.__class__ is not slice and not is_mask(i)])
    return Distinct(index) if masks == 1 and not others else tuple(index)


def _check_meeting(shapes: list) -> None:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        text = ", ".join(str(list(s)) for s in shapes)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {text}"
        ) from None


# So many indices are looked at as Python numbers; of more NumPy finds the smallest and the largest sooner.
_FEW = 64


@hot
def span(a: np.ndarray) -> tuple[int, int]:
    """The smallest and the largest of whole numbers; 0 and -1 of none."""
    n = a.size
    if n == 0:
        return 0, -1
    if n <= _FEW:
        listed = a.reshape(-1).tolist()
        return min(listed), max(listed)
    return int(a.min()), int(a.max())


@hot
def beyond(a: np.ndarray, least: int, end: int) -> int | None:
    """The largest index of an array if it is not below `end`, else the smallest if it is below `least`, else None."""
    if not a.size:
        return None
    if least == 0 and a.size > _FEW and a.dtype == np.int64 and a.view(np.uint64).max() < end:
        return None  # the usual case, in one look: negative ones would be very large
    low, high = span(a)
    if high >= end:
        return high
    return low if low < least else None


def _on_device(a: Any, where: device) -> Value:
    """An index of the CPU's as a value on a device."""
    if a.__class__ is Value:
        return a
    return from_array(arrays.moved(arrays.from_native(np.ascontiguousarray(a, np.int64)), where))


def check_within(index: Tensor, size: int, besides: int, text: str) -> None:
    """Have a CUDA device look whether an index tensor's elements are below a size and not negative, or `besides`.

    Raises IndexError, with the wrong one in the text, where the host next waits; at once where there are no kernels.
    """
    from ..lazy import cuda_index

    v = as_numbers(index)
    if cuda_index.usable(v):
        cuda_index.check(v, size, besides, lambda bad: IndexError(text.format(bad)))
        return
    a = index._to_numpy().reshape(-1)
    wrong = a[((a < 0) | (a >= size)) & (a != besides)]
    if wrong.size:
        raise IndexError(text.format(wrong[0]))


def held_places(mask: Any) -> list:
    """The places where a mask holds, for each of its dimensions."""
    if mask.__class__ is not Value:
        return list(np.nonzero(mask))
    from ..runtime.cuda import ledger

    ledger.note("synchronize", 0, "a mask, of which the host has to know how often it holds,")
    with backend.on(mask.device):
        return [backend.fresh(i) for i in backend.of(mask).nonzero(mask.native())]


@hot
def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index]: ints, slices, None and Ellipsis give a view; masks and integer tensors a copy."""
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
            start, step, length = _slice_bounds(index, shape[0])
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
            start, step, length = _slice_bounds(i, n)
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
            start, step, length = _slice_bounds(i, n)
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
        return x.narrow_step(0, *_slice_bounds(index, x._shape[0]))
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
