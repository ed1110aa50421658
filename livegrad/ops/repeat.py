"""Slices repeated, reversed and rolled."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lazy import backend
from ..lazy.value import Value
from ..tensor import Tensor
from .arguments import checked
from .copying import clone
from .geometry import normal_dim, sizes_of
from .index import INDEX, REORDER
from .registry import operator, public


def _repeated(x: Value, reps: tuple, between: tuple) -> Value:
    shape = tuple(k for pair in zip(reps, between[1::2]) for k in pair)
    tiled = backend.of(x).broadcast_to(x.native().reshape(between), shape)
    return backend.copied(tiled).reshape(tuple(r * n for r, n in zip(reps, between[1::2])))


def _repeat_gradient(g: Any, x_shape: tuple, reps: tuple, between: tuple) -> Any:
    parts = g.reshape(tuple(k for pair in zip(reps, between[1::2]) for k in pair))
    return parts.sum(tuple(range(0, len(between), 2))).reshape(x_shape)


REPEAT = operator("repeat", _repeated, tensors=("x",), grads={"x": _repeat_gradient}, anywhere=True)


def repeat(x: Tensor, *sizes: Any) -> Tensor:
    """Tile a tensor so many times along each dimension."""
    reps = sizes_of(sizes)
    lead = len(reps) - x.dim()
    if lead < 0:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    shape = (1,) * lead + x._shape
    made = [r * n for r, n in zip(reps, shape)]
    for n in made:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {made}")
    return REPEAT.apply((x,), reps=tuple(reps), between=tuple(k for n in shape for k in (1, n)))


Tensor.repeat = checked(repeat, method=True)  # type: ignore[attr-defined]


@public("tile", kind="view")
def tile(x: Tensor, *dims: Any) -> Tensor:
    """Like `repeat`, with missing leading counts taken as 1."""
    reps = sizes_of(dims)
    return repeat(x, (1,) * max(x.dim() - len(reps), 0) + reps)


@public("repeat_interleave", kind="library")
def repeat_interleave(x: Tensor, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Repeat each element, or each slice of a dimension, so many times in a row."""
    if dim is None:
        x, dim = x.reshape(-1), 0
    d = normal_dim(dim, x.dim())
    n = x._shape[d]
    counts = repeats._to_numpy() if isinstance(repeats, Tensor) else repeats
    a = np.repeat(np.arange(n), counts)
    op = REORDER if isinstance(repeats, int) else INDEX
    return op.apply((x,), "IndexSelectBackward", index=(slice(None),) * d + (a,))


@public("flip", kind="library")
def flip(x: Tensor, *dims: Any) -> Tensor:
    """Reverse the order along dimensions."""
    if not dims:
        raise TypeError('flip() missing 1 required positional arguments: "dims"')
    wanted = {normal_dim(d, x.dim()) for d in sizes_of(dims)}
    index = tuple(np.arange(n)[::-1].copy() if d in wanted else np.arange(n) for d, n in enumerate(x._shape))
    return REORDER.apply((x,), "FlipBackward", index=np.ix_(*index)) if wanted else clone(x)


@public("roll", kind="library")
def roll(x: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Shift around along dimensions, or over the flattened tensor."""
    if dims is None:
        return roll(x.reshape(-1), shifts, 0).reshape(x._shape)
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    for s, d in zip(shifts, dims):
        d = normal_dim(d, x.dim())
        n = x._shape[d]
        if n:
            order = (np.arange(n) - s) % n
            x = REORDER.apply((x,), "RollBackward", index=(slice(None),) * d + (order,))
    return x if x.numel() else x.clone()  # never the tensor itself
