"""NestedTensor: the elements of all tensors of a batch, one after the other, and where each tensor begins.

It is a subclass of Tensor that answers every function itself (`functions`), with functions of its values.
"""

from __future__ import annotations

import itertools
from typing import Any

import livegrad
from livegrad.dtypes import Size
from livegrad.overriding import DisableTorchFunction
from livegrad.tensor import Tensor

__all__ = ["NestedTensor", "Ragged"]

_numbers = itertools.count(1)


class Ragged:
    """The size of the dimension that differs, in a shape: equal only to itself. Its offsets are what it stands for."""

    def __init__(self, offsets: Tensor):
        self.offsets = offsets
        self.bounds = offsets.tolist()
        self.name = f"j{next(_numbers)}"

    def lengths(self) -> list[int]:
        """The sizes, one for each tensor."""
        return [end - start for start, end in itertools.pairwise(self.bounds)]

    def __repr__(self) -> str:
        return self.name


class NestedTensor(Tensor):
    """A batch of tensors that differ in the size of dimension `ragged` (counted with the batch's own, which is 0).

    `values()` has the elements of all of them, one tensor after the other, and `offsets()` where in it each begins.
    Made by `nested.nested_tensor` and its like. What is done with it is done with the values: elementwise functions,
    layers that work on the last dimension, sums and means, attention.
    """

    is_nested = True
    _values_: Tensor
    _size_: Ragged
    _ragged_: int
    _layout_: Any

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        from .functions import answer

        return answer(func, args, kwargs or {})

    # Methods that other tensors do not have.

    def values(self) -> Tensor:
        """The elements of all tensors: the dimension that differs has their total size."""
        return self._values_

    def offsets(self) -> Tensor:
        """Where in the values each tensor begins, and where the last one ends."""
        return self._size_.offsets

    def lengths(self) -> None:
        """None: there are no gaps between the tensors."""
        return

    def to_padded_tensor(self, padding: float, output_size: Any = None) -> Tensor:
        """A tensor of the whole batch, with `padding` where a tensor ends before others do."""
        from .functions import padded

        return padded(self, padding, output_size)


def nest(values: Tensor, size: Ragged, ragged: int = 1, layout: Any = None) -> NestedTensor:
    """A nested tensor of values; `ragged` is the dimension that differs."""
    with DisableTorchFunction():
        made: NestedTensor = Tensor._from(livegrad.zeros(0, dtype=values.dtype, device=values.device), NestedTensor)
    made.__dict__.update(_values_=values, _size_=size, _ragged_=ragged, _layout_=layout or livegrad.jagged)
    return made


def shape_of(t: NestedTensor) -> Size:
    """The shape, with the `Ragged` size in it."""
    sizes: list[Any] = [len(t._size_.bounds) - 1, *t._values_.shape]
    sizes[t._ragged_] = t._size_
    return Size(sizes)


def parts(t: NestedTensor) -> list[Tensor]:
    """The tensors of the batch, as views of the values."""
    return list(t._values_.split(t._size_.lengths(), dim=t._ragged_ - 1))


def joined(tensors: list[Tensor], like: NestedTensor, ragged: int | None = None) -> NestedTensor:
    """Tensors, one for each of `like`, as a nested tensor with its sizes."""
    place = like._ragged_ if ragged is None else ragged
    return nest(livegrad.cat(tensors, dim=place - 1), like._size_, place, like._layout_)
