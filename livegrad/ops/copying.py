"""Copying and filling: a copy with memory of its own, and what puts numbers into a whole tensor in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes, formats
from ..autograd.mode import MODE
from ..autograd.node import cast_value
from ..devices import cpu
from ..lazy.turned import contiguous_copy
from ..lazy.value import Value, from_array, pending
from ..native import hot
from ..observe import WATCH
from ..runtime import array as arrays
from ..runtime.array import FEW_BYTES, numel
from ..tensor import Tensor, wrap
from . import batch_writes, dispatch, writes
from .batch_rules import trailing
from .batching import level_of
from .instruction import CAST
from .operator import on_either
from .registry import operator, public
from .view_operators import Meta

CLONE = operator(
    "clone",
    hot(lambda x: from_array(contiguous_copy(x.ready()))),
    tensors=("x",),
    grads={"x": lambda g: g},
    anywhere=True,
    batch=trailing,
)


@public("clone", kind="library", op=CLONE)
@hot
def clone(x: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with memory of its own; gradients flow through. `memory_format` says in which order it lies."""
    if memory_format is not None:
        return _laid_out(x, memory_format)
    return CLONE.apply((x,))


@hot
def contiguous(x: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if its elements lie in row-major order, or in that of `memory_format`, else a copy that does.

    >>> import livegrad
    >>> livegrad.zeros(2, 3, 4, 5).contiguous(memory_format=livegrad.channels_last).stride()
    (60, 1, 15, 3)
    """
    return x if x.is_contiguous(memory_format) else clone(x, memory_format=memory_format)


def _laid_out(x: Tensor, memory_format: Any) -> Tensor:
    order = formats.order(memory_format, x.dim())
    if order is None:
        return CLONE.apply((x,))
    back = tuple(order.index(d) for d in range(len(order)))
    return CLONE.apply((x.permute(order),)).permute(back)  # type: ignore[attr-defined]


Tensor.contiguous = contiguous  # type: ignore[attr-defined]


def _zeros(x: Value) -> Value:
    if x.device is cpu:
        return from_array(arrays.from_native(np.zeros(x.shape, x.dtype.np)))
    return from_array(arrays.full_on(x.device, x.shape, x.dtype, 0))


ZEROS = operator("zeros", _zeros, tensors=("x",), anywhere=True, batch=trailing)


def _copy(x: Value, src: Value) -> Value:
    """What `copied` records, beside writing it."""
    return pending(CAST.specialise("t", (src.dtype,), x.dtype, x.dtype), (src,), (), x.shape)


def _fill(x: Value, value: Any) -> Value:
    return from_array(arrays.full_on(x.device, x.shape, x.dtype, value))


COPY = operator(
    "copy",
    _copy,
    tensors=("x", "src"),
    grads={
        "x": lambda g: on_either(ZEROS, g),
        "src": lambda g, src_shape, src_dtype: _converted(g, src_dtype).sum_to_size(src_shape),
    },
)
FILL = operator("fill", _fill, tensors=("x",), grads={"x": lambda g: on_either(ZEROS, g)})
for _each in (CLONE, ZEROS, COPY, FILL):
    _each.without_data = True


def _converted(g: Any, dtype: dtypes.dtype) -> Any:
    return cast_value(g, dtype) if g.__class__ is Value else dispatch.cast(g, dtype)


def _meta(t: Tensor) -> Meta:
    return Meta(t._shape, t.dtype)


@hot
def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Copy the elements of `src`, broadcast and converted to this tensor's dtype, into this tensor.

    non_blocking: do not wait for a copy from pinned memory to a CUDA device, nor for one to the CPU of the same shape
    and dtype (then this tensor gets the pinned memory that the device copies to).
    """
    if isinstance(src, (int, float, complex)):
        src = _tensor_of(src)
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_(): argument 'other' must be Tensor, not {type(src).__name__}")
    if non_blocking and src.device is not self.device:
        recorded = MODE.grad and (self._edge is not None or src._edge is not None)
        if self.device is not cpu:
            src = src.to(self.device, non_blocking=True)  # type: ignore[attr-defined]
        elif self._s is None and src.dtype is self.dtype and src._shape == self._shape and not recorded:
            self._assign(src.to(cpu, non_blocking=True)._value())  # type: ignore[attr-defined]
            return self
    return copied(self, src, "CopyBackwards")


def _tensor_of(number: Any) -> Tensor:
    from ..from_data import tensor

    return tensor(number)


@hot
def copied(self: Tensor, src: Tensor, label: str) -> Tensor:
    if src.device is not self.device:
        src = src.to(self.device)  # type: ignore[attr-defined]
    if WATCH.batcher is not None and (level_of(self) or level_of(src)):
        return batch_writes.write(self, src, copied, label)
    writes.check_in_place(self, MODE.grad, repeated=src is self)
    recorded = MODE.grad and (self._edge is not None or src._edge is not None)
    if recorded:
        writes.check_view(self)
    writes.check_overlap(self, src)
    shape, dtype = self._shape, self.dtype
    if src._shape != shape and broadcast(src._shape, shape) != shape:
        dispatch.broadcast_shapes(shape, src._shape)
        raise RuntimeError(
            f"output with shape {list(shape)} doesn't match the broadcast shape {list(broadcast(src._shape, shape))}"
        )
    a, b = self._s, src._s
    same = src is self or (a is not None and b is not None and a.storage is b.storage and a.geometry() == b.geometry())
    if same and not recorded:
        self._touch()
        return self
    v = src._value()
    if a is not None and a.layout is not None and not recorded and v.dtype is dtype:
        # A part of a memory is written: straight from the source.
        if b is not None and b.storage is a.storage:
            v = from_array(contiguous_copy(v.ready()))
        self._assign(v)
        return self
    if v.array is not None and v.dtype is dtype and v.shape == shape and numel(shape) * dtype.itemsize <= FEW_BYTES:
        result = wrap(from_array(arrays.copied(v.array)))  # which takes no longer than to note that it is to be done
    else:
        result = wrap(pending(CAST.specialise("t", (v.dtype,), dtype, dtype), (v,), (), shape))
    v = None
    if recorded:
        COPY.record((result,), (_meta(self), _meta(src)), (self, src), None, {})
        if result._edge is not None:
            result._edge.label = label
    return writes.assign_result(self, result)


def broadcast(a: tuple, b: tuple) -> tuple | None:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


Tensor.copy_ = copy_  # type: ignore[attr-defined]


@hot
def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element, in place."""
    if isinstance(value, Tensor):
        if value.dim():
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {value.dim()} dimensions."
            )
        return copied(self, value, "FillBackward3")
    return filled(self, value, "FillBackward2")


@hot
def filled(self: Tensor, value: Any, label: str) -> Tensor:
    if WATCH.batcher is not None and level_of(self):
        return batch_writes.write(self, self, _filled_whole, value, label)
    writes.check_in_place(self, MODE.grad, repeated=True)
    d = self.dtype
    number = checked_number(value, d)
    if not (MODE.grad and self._edge is not None):
        a = self._s
        if a is None or (a.layout is None and not a.storage.pinned):  # what it held need not be there
            self._assign(from_array(arrays.full_on(self.device, self._shape, d, number)))
        else:
            _fill_window(self, number)
        return self
    result = wrap(from_array(arrays.full_on(self.device, self._shape, d, number)))
    FILL.record((result,), (_meta(self),), (self,), label, {"value": number})
    return writes.assign_result(self, result)


def _filled_whole(whole: Tensor, itself: Tensor, value: Any, label: str) -> None:
    filled(whole, value, label)


def _fill_window(self: Tensor, number: Any) -> None:
    with np.errstate(all="ignore"):
        self._written()[...] = number


_LARGEST = dtypes.finfo(dtypes.float32).max


@hot
def checked_number(value: Any, d: dtypes.dtype) -> Any:
    if isinstance(value, complex) and d.category != dtypes.COMPLEX:
        if value.imag:
            name = {"float64": "double", "float32": "float"}.get(d.name, d.name)
            raise RuntimeError(f"value cannot be converted to type {name} without overflow")
        value = value.real
    if d.category == dtypes.INTEGRAL:
        if isinstance(value, float) and not np.isfinite(value):
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        limits = dtypes.iinfo(d)
        whole = int(value)
        if d is dtypes.uint8 and value.__class__ is int and -limits.max <= whole < 0:
            return whole + 256  # whole numbers wrap around
        if not limits.min <= whole <= limits.max:
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        return whole
    if d is dtypes.float32 and value.__class__ is float and abs(value) > _LARGEST and np.isfinite(value):
        raise RuntimeError("value cannot be converted to type float without overflow")
    return value


@hot
def zero_(self: Tensor) -> Tensor:
    """Set every element to zero, in place."""
    return filled(self, 0, "ZeroBackward0")


Tensor.fill_ = fill_  # type: ignore[attr-defined]
Tensor.zero_ = zero_  # type: ignore[attr-defined]
