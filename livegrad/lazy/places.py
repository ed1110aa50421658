"""What an index says of an array on a device: its index tensors, and how they and the array lie in one space."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..runtime.array import contiguous_strides
from .program import broadcast_strides
from .value import Value


class Index(tuple):
    """An index as NumPy takes it: slices of whole dimensions, and index tensors.

    wraps: negative ones count from the end. distinct: no place is named twice.
    """

    __slots__ = ()
    wraps = True
    distinct = False


class Strict(Index):
    """An index without negative numbers."""

    __slots__ = ()
    wraps = False


class Distinct(Index):
    """An index that names no place twice, such as a mask's."""

    __slots__ = ()
    distinct = True


class Along(NamedTuple):
    """An index of one dimension for each place along the others, as `gather` takes it."""

    index: Value
    dim: int


class Named(NamedTuple):
    """An index tensor: itself, its strides over the index space, the dimension that it indexes, its size and stride."""

    index: Any
    strides: tuple
    dim: int
    size: int
    step: int


class Places(NamedTuple):
    """An index space: its shape, an array's strides over it where that is not moved by index tensors, and these."""

    shape: tuple
    strides: tuple
    indices: list[Named]
    wraps: bool
    distinct: bool


def places(shape: tuple, strides: tuple, index: Any) -> Places:
    """What an index says of an array of that shape and those strides. Raises IndexError if it must be wrong."""
    if index.__class__ is Along:
        dim, space = index.dim, index.index.shape
        own = tuple([0 if d == dim else s for d, s in enumerate(strides)])
        named = Named(index.index, broadcast_strides(index.index.ready(), space), dim, shape[dim], strides[dim])
        made = Places(space, own, [named], False, False)
    else:
        made = _as_numpy(shape, strides, index)
    if 0 not in made.shape:
        for named in made.indices:
            if not named.size:
                raise out_of_bounds(named.dim, named.size, 0)
    return made


def out_of_bounds(dim: int, size: int, bad: int) -> IndexError:
    return IndexError(f"index {bad} is out of bounds for dimension {dim} with size {size}")


def _as_numpy(shape: tuple, strides: tuple, index: tuple) -> Places:
    full = [*index, *[slice(None)] * (len(shape) - len(index))]
    dims = [d for d, i in enumerate(full) if i.__class__ is not slice]
    common = np.broadcast_shapes(*(full[d].shape for d in dims))
    before = list(range(dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0))
    after = [d for d in range(len(before), len(shape)) if d not in dims]

    def over(values: Iterable[int], of: tuple) -> tuple:
        return (*(of[d] for d in before), *values, *(of[d] for d in after))

    still = (0,) * len(shape)
    indices = []
    for d in dims:
        a = full[d].ready() if full[d].__class__ is Value else _Lying(full[d])
        indices.append(Named(full[d], over(broadcast_strides(a, common), still), d, shape[d], strides[d]))
    space, own = over(common, shape), over((0,) * len(common), strides)
    return Places(space, own, indices, getattr(index, "wraps", True), getattr(index, "distinct", False))


class _Lying:
    """How an array of NumPy will lie, when it has been copied to the device."""

    contiguous = True

    def __init__(self, a: np.ndarray):
        self.shape, self.strides = a.shape, contiguous_strides(a.shape)


def shape_of(shape: tuple, index: Any) -> tuple:
    """The shape of what an index reads from a shape."""
    return places(shape, (1,) * len(shape), index).shape
