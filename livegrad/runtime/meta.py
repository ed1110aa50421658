"""Arrays of the device "meta": a shape, a dtype and strides, and no memory.

What makes one costs nothing, what writes to one does nothing, and what reads one raises NotImplementedError.
"""

from __future__ import annotations

from typing import Any, NoReturn

from ..devices import device
from ..dtypes import dtype as Dtype
from . import array as arrays
from .array import Array

META = device("meta")


class Block:
    """No memory, of a size."""

    __slots__ = ("nbytes",)
    ptr = 0
    outside = False
    owner = "nobody"  # no memory is counted

    def __init__(self, nbytes: int):
        self.nbytes = nbytes


class Sink:
    """What stands for an array that is written into."""

    def __setitem__(self, index: Any, value: Any) -> None:
        pass


SINK = Sink()


def empty(shape: tuple, dtype: Dtype, where: device = META) -> Array:
    """An array of a shape."""
    block = Block(arrays.numel(shape) * dtype.itemsize)
    return _on(Array(block, 0, shape, arrays.contiguous_strides(shape), dtype, True))


def full(shape: tuple, dtype: Dtype, where: device, value: Any) -> Array:
    """The same: there is nothing to fill."""
    return empty(shape, dtype)


def copied(a: Array) -> Array:
    """Another one like it."""
    return empty(a.shape, a.dtype, a.device)


def view(a: Array, offset: int, shape: tuple, strides: tuple, dtype: Dtype | None = None) -> Array:
    """A window onto an array."""
    return _on(Array(a.block, offset, shape, strides, dtype or a.dtype, arrays.is_contiguous(shape, strides)))


def _on(made: Array) -> Array:
    made.device = META
    return made


def native(a: Array) -> NoReturn:
    """Raises NotImplementedError: there is nothing to compute with."""
    raise NotImplementedError(
        f"a tensor of shape {list(a.shape)} on the meta device has no data, and what was asked of it needs some"
    )


def to_host(a: Array, why: str, non_blocking: bool = False) -> NoReturn:
    """Raises: RuntimeError for `item`, NotImplementedError for a copy."""
    if why == "item()" or (why == "reading numbers" and not a.shape):
        raise RuntimeError("Tensor.item() cannot be called on meta tensors: they have no data")
    raise NotImplementedError(
        "Cannot copy out of meta tensor; no data! Use empty_like(tensor, device=...), or Module.to_empty(), to get "
        f"uninitialised memory of its shape, {list(a.shape)}."
    )


def to_device(a: Array, where: device, non_blocking: bool = False) -> Array:
    """An array of that shape without data, if it goes there; raises NotImplementedError if it comes from there."""
    return empty(a.shape, a.dtype) if where is META else to_host(a, "to")


__all__ = ["META", "SINK", "empty", "full", "native", "to_device", "to_host", "view"]
