"""x[index] and x[index] = value where x, the index or the value is a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..lazy.value import Unbatched
from ..tensor import Tensor
from .batch_loops import loop
from .batch_writes import target
from .batching import hide, level_of, show


def _items(index: Any) -> list:
    return list(index) if isinstance(index, tuple) else [index]


def read(x: Tensor, index: Any, plain: Callable) -> Tensor:
    """x[index]; plain: what does that where no index is a batch."""
    level = max(map(level_of, _items(index)), default=0)
    if level and isinstance(index, (Tensor, tuple)):
        found = _places(x, _items(index))
        if found is not None:
            return _picked(*found, max(level, level_of(x)))
    try:
        return plain(x, index)
    except Unbatched:
        return loop(plain, (x, index), {})


def at(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """The named places of one dimension; index: a batch of whole numbers of any shape."""
    if not x._shape:
        return x.reshape(1)[index.reshape(-1) * 0].reshape(())  # type: ignore[attr-defined]
    return _picked(x, [dim], [index], max(level_of(x), level_of(index)))


def _places(x: Tensor, items: list) -> tuple | None:
    """A view of x by what else is in an index, the dimensions of it that are indexed by tensors, and these.

    None where there are other things in the index than ints, slices, None and tensors of whole numbers.
    """
    tensors = [i for i in items if isinstance(i, Tensor)]
    if any(i.dtype.category != dtypes.INTEGRAL or i.dtype is dtypes.uint8 for i in tensors):
        return None
    if any(i is not None and i is not Ellipsis and i.__class__ not in (int, slice, Tensor) for i in items):
        return None
    if Ellipsis in [i for i in items if not isinstance(i, Tensor)]:
        k = next(n for n, i in enumerate(items) if i is Ellipsis)
        used = sum(i is not None for i in items) - 1
        items = [*items[:k], *[slice(None)] * (x.dim() - used), *items[k + 1 :]]
    view = x[tuple([slice(None) if isinstance(i, Tensor) else i for i in items])]
    dims, dim = [], 0
    for i in items:
        if isinstance(i, Tensor):
            dims.append(dim)
        dim += i.__class__ is not int
    return view, dims, tensors


def _picked(view: Tensor, dims: list, tensors: list, level: int) -> Tensor:
    """The elements of a view at places along some of its dimensions, of which some are batches."""
    wholes = [show(i, level) for i in tensors]
    rank = max(i.dim() for i in tensors)
    size = 0
    full = []
    for i, whole in zip(tensors, wholes):
        if whole is not None:
            size = whole._shape[0]
            i = whole.reshape((size, *(1,) * (rank - i.dim()), *i._shape))  # type: ignore[attr-defined]
        full.append(i)
    rest = [d for d in range(view.dim()) if d not in dims]
    whole = show(view, level)
    if whole is None:
        made = view.permute((*dims, *rest))[tuple(full)]  # type: ignore[attr-defined]
    else:
        from ..creation import arange

        size = whole._shape[0]
        first = arange(size, device=view.device).reshape((size, *(1,) * rank))  # type: ignore[attr-defined]
        order = (0, *[d + 1 for d in (*dims, *rest)])
        made = whole.permute(order)[(first, *full)]  # type: ignore[attr-defined]
    adjacent = dims == list(range(dims[0], dims[0] + len(dims)))
    if adjacent and dims[0] and rank:
        made = made.movedim(tuple(range(1, rank + 1)), tuple(range(dims[0] + 1, dims[0] + 1 + rank)))
    return hide(made, level)


def write(x: Tensor, index: Any, value: Any, plain: Callable) -> None:
    """x[index] = value; plain: what does that where none is a batch."""
    in_place(plain, x, (*_items(index), value), index, value)


def in_place(plain: Callable, x: Tensor, others: tuple, *args: Any) -> Any:
    """A function that writes to x by others, and takes these arguments."""
    if max(map(level_of, (x, *others))):
        target(x, *others)  # which refuses to write a batch into what is none
    try:
        return plain(x, *args)
    except Unbatched:
        return loop(plain, (x, *args), {})
