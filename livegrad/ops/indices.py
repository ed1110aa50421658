"""What x[...] is asked for: an index as ints, slices and None, which give a view, and masks and tensors of places."""

from __future__ import annotations

from operator import index as operator_index
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.node import cast_value
from ..devices import cpu, device
from ..lazy import backend
from ..lazy.places import Distinct
from ..lazy.value import Value, from_array
from ..native import hot
from ..runtime import array as arrays
from ..runtime.refusal import OutOfMemoryError
from ..tensor import Tensor
from .along import all_within
from .view import select, unsqueeze

EVERY = slice(None)


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
        return a.astype(np.bool_) if i.dtype is dtypes.uint8 else _copy(a)
    return _as_array(i)


def _copy(a: np.ndarray) -> np.ndarray:
    try:
        return a.copy()
    except MemoryError as error:  # of one that is expanded, and takes none itself
        raise OutOfMemoryError(f"out of memory in indexing: {error}") from None


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
    return a.dtype is dtypes.bool_ if a.__class__ is Value else a.dtype.kind == "b"


@hot
def items_of(x: Tensor, index: Any) -> list:
    """The index as a list with Ellipsis filled in."""
    if index.__class__ is int and x._shape:
        return [index, *[EVERY] * (len(x._shape) - 1)]
    return _items_of(x, list(index) if isinstance(index, tuple) or _means_tuple(index) else [index])


def _means_tuple(index: Any) -> bool:
    """Whether a sequence is a tuple of indices, as NumPy once had it: a short one with other than numbers in it."""
    if not isinstance(index, list) or len(index) >= 32:
        return False
    return any(
        i is None or i is Ellipsis or isinstance(i, (Tensor, slice, list, tuple, np.ndarray, range)) for i in index
    )


@hot
def _items_of(x: Tensor, items: list) -> list:
    used = 0
    rest = -1  # where the first Ellipsis is: it takes all that is left
    for k, i in enumerate(items):
        kind = i.__class__
        if kind is int or kind is slice:
            used += 1
        elif i is Ellipsis:
            if rest < 0:
                rest = k
        elif i is not None and i is not True and i is not False:
            used += _dimensions_used(i)
    n = x.dim()
    if used > n:
        raise IndexError(f"too many indices for tensor of dimension {n}")
    if rest < 0:
        return items + [EVERY] * (n - used) if used < n else items
    return items[:rest] + [EVERY] * (n - used) + [i for i in items[rest + 1 :] if i is not Ellipsis]


@hot
def _dimensions_used(i: Any) -> int:
    """How many dimensions one item of an index, which is not None, Ellipsis or a truth value, is for."""
    if isinstance(i, (Tensor, np.ndarray)):
        return i.ndim if i.dtype in (dtypes.bool_, np.bool_, dtypes.uint8, np.uint8) else 1
    if isinstance(i, (list, tuple)) and len(i) and isinstance(i[0], (bool, list, tuple)):
        a = np.asarray(i)
        return a.ndim if a.dtype == np.bool_ else 1
    return 1


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
def slice_bounds(s: slice, n: int) -> tuple[int, int, int]:
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


@hot
def basic(x: Tensor, items: list) -> tuple[Tensor, list]:
    """Apply ints, slices and None one by one; returns the view and, per remaining dimension, an advanced index."""
    dim = 0
    whole = x.dim()
    left: list = []
    for i in items:
        kind = i.__class__
        if i is None:
            x = unsqueeze(x, dim)
            left.append(None)
            dim += 1
        elif i is True or i is False:
            x = unsqueeze(x, dim)
            left.append(np.asarray([0] if i else [], np.int64))
            dim += 1
        elif kind is slice:
            n = x._shape[dim]
            start, step, length = slice_bounds(i, n)
            if i.start or step != 1 or not (i.stop is None or i.stop >= n):
                x = x.narrow_step(dim, start, step, length)
            left.append(None)
            dim += 1
        elif kind is not int and _is_advanced(i):
            a = as_index(i, x.device)
            width = 1
            if is_mask(a):
                width = a.ndim
                _check_mask(x, a, dim)
                if width == 0:
                    x = unsqueeze(x, dim)
                    a = _place_of_truth(a)
                    width = 1
            left.append(a)
            dim += width
        else:
            k = i if kind is int else _whole_number(i)
            n = x._shape[dim]
            if not -n <= k < n:
                was = dim + whole - x.dim()  # the dimension's number before others were taken away or put in
                raise IndexError(f"index {k} is out of bounds for dimension {was} with size {n}")
            x = select(x, dim, k)
    return x, left


def _check_mask(x: Tensor, mask: Any, dim: int) -> None:
    expected = x._shape[dim : dim + mask.ndim]
    if tuple(mask.shape) != expected:
        bad = next(k for k, n in enumerate(mask.shape) if n != expected[k])
        raise IndexError(
            f"The shape of the mask {list(mask.shape)} at index {bad} does not match the shape of the indexed "
            f"tensor {list(x._shape)} at index {dim + bad}"
        )


def _place_of_truth(mask: Any) -> np.ndarray:
    """What a mask without dimensions says of a dimension of size 1."""
    return np.asarray([0] if (mask.native() if mask.__class__ is Value else mask) else [], np.int64)


def _whole_number(i: Any) -> int:
    try:
        return i.__index__()
    except (AttributeError, TypeError):
        raise (TypeError if isinstance(i, str) else IndexError)(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {type(i).__name__})"
        ) from None


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
    if others > 1 and not _alike(index):
        _check_meeting([i.shape for i in index if i.__class__ is not slice and not is_mask(i)])
    return Distinct(index) if masks == 1 and not others else tuple(index)


@hot
def _alike(index: list) -> bool:
    """Whether all index tensors of an index have one shape."""
    shape = None
    for i in index:
        if i.__class__ is not slice:
            if shape is not None and i.shape != shape:
                return False
            shape = i.shape
    return True


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
    if not a.size or all_within(a, least, end):
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
