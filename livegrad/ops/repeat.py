"""Slices repeated, reversed and rolled."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..lazy import backend
from ..lazy.value import Value, from_array
from ..native import hot
from ..runtime import array as arrays
from ..runtime import moves
from ..tensor import Tensor, from_native
from .arguments import checked
from .batch_rules import along, repeated
from .copying import clone
from .geometry import normal_dim, sizes_of
from .index import INDEX
from .numpy_names import with_numpy_names
from .operator import name_nodes, on_either
from .registry import operator, public


def _repeated(x: Value, reps: tuple, between: tuple) -> Value:
    shape = tuple(k for pair in zip(reps, between[1::2]) for k in pair)
    tiled = backend.of(x).broadcast_to(x.native().reshape(between), shape)
    return backend.copied(tiled).reshape(tuple(r * n for r, n in zip(reps, between[1::2])))


def _repeat_gradient(g: Any, x_shape: tuple, reps: tuple, between: tuple) -> Any:
    parts = g.reshape(tuple(k for pair in zip(reps, between[1::2]) for k in pair))
    return parts.sum(tuple(range(0, len(between), 2))).reshape(x_shape)


REPEAT = operator("repeat", _repeated, tensors=("x",), grads={"x": _repeat_gradient}, anywhere=True, batch=repeated)


def repeat(x: Tensor, *repeats: Any) -> Tensor:
    """Tile a tensor so many times along each dimension."""
    if not repeats:
        raise TypeError('repeat() missing 1 required positional arguments: "repeats"')
    reps = sizes_of(repeats)
    lead = len(reps) - x.dim()
    if lead < 0:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    shape = (1,) * lead + x._shape
    made = [r * n for r, n in zip(reps, shape)]
    for n in made:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {made}")
    return REPEAT.apply((x,), reps=tuple(reps), between=tuple(k for n in shape for k in (1, n)))


Tensor.repeat = checked(with_numpy_names(repeat), method=True)  # type: ignore[attr-defined]


@public("tile", kind="view")
def tile(x: Tensor, *dims: Any) -> Tensor:
    """Like `repeat`, with missing leading counts taken as 1."""
    reps = sizes_of(dims)
    return repeat(x, (1,) * max(x.dim() - len(reps), 0) + reps)


@public("repeat_interleave", kind="library")
@hot
def repeat_interleave(
    x: Tensor, repeats: int | Tensor | None = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Repeat each element, or each slice of a dimension, so many times in a row.

    repeats: one number for all, or one for each. Without it, x says how often each place comes in the result.
    """
    if repeats is None:
        counts = _counts(x)
        return _sized(from_native(np.repeat(np.arange(len(counts)), counts)), output_size)
    if dim is None:
        x, dim = x.reshape(-1), 0
    d = normal_dim(dim, x.dim())
    if not x._shape:
        x = x.reshape(1)
    n = x._shape[d]
    if isinstance(repeats, Tensor) and repeats.numel() == 1 and repeats.dim() < 2:
        repeats = int(_counts(repeats.reshape(1))[0])
    if isinstance(repeats, int):
        if repeats < 0:
            raise RuntimeError(f"Repeats must be non-negative, but got {repeats}")
        spread = x.unsqueeze(d + 1).expand(*x._shape[: d + 1], repeats, *x._shape[d + 1 :])  # type: ignore[attr-defined]
        made = clone(spread).reshape(*x._shape[:d], n * repeats, *x._shape[d + 1 :])  # never a view
        return _sized(made, output_size, d)
    counts = _counts(repeats) if isinstance(repeats, Tensor) else np.asarray(repeats)
    if len(counts) != n:
        raise RuntimeError(
            f"repeats must have the same size as input along dim, but got repeats.size(0) = {len(counts)} and "
            f"input.size({d}) = {n}"
        )
    a = np.repeat(np.arange(n), counts)
    return _sized(INDEX.apply((x,), "IndexSelectBackward", index=(slice(None),) * d + (a,)), output_size, d)


def _counts(repeats: Tensor) -> np.ndarray:
    if repeats.dim() != 1:
        raise RuntimeError(f"repeats must be 0-dim or 1-dim tensor, got {repeats.dim()} dimensions")
    if repeats.dtype not in (dtypes.int64, dtypes.int32):
        raise NotImplementedError(f'"repeat_interleave_cpu" not implemented for {repeats.dtype}: use int64 or int32')
    counts = repeats._to_numpy()
    if counts.size and counts.min() < 0:
        raise RuntimeError(f"repeats can not be negative, but got {counts.min()}")
    return counts


@hot
def _sized(made: Tensor, output_size: int | None, d: int = 0) -> Tensor:
    if output_size is not None and made._shape[d] != output_size:
        raise RuntimeError(f"repeat_interleave: Invalid output_size, expected {made._shape[d]} but got {output_size}")
    return made


@hot
def _flipped(x: Value, dims: tuple) -> Value:
    backwards = slice(None, None, -1)
    return backend.copied(x.native()[tuple([backwards if d in dims else slice(None) for d in range(x.dim())])])


FLIP = operator(
    "flip",
    _flipped,
    tensors=("x",),
    grads={"x": lambda g, dims: on_either(FLIP, g, dims=dims)},
    anywhere=True,
    batch=along("dims"),
)


@public("flip", kind="library")
def flip(x: Tensor, *dims: Any) -> Tensor:
    """Reverse the order along dimensions."""
    if not dims:
        raise TypeError('flip() missing 1 required positional arguments: "dims"')
    listed = [normal_dim(d, x.dim()) for d in sizes_of(dims)]
    wanted = set(listed)
    if len(wanted) != len(listed):
        twice = next(d for d in listed if listed.count(d) > 1)
        raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    return FLIP.apply((x,), dims=tuple(sorted(wanted))) if wanted else name_nodes(clone(x), "FlipBackward")


@hot
def _rolled(x: Value, shift: int, dim: int) -> Value:
    """Each element `shift` places further along a dimension; 0 <= shift < its size."""
    made = arrays.empty_on(x.device, x.shape, x.dtype)
    source, target = x.native(), made.native()
    lead = (slice(None),) * dim
    for to, of in (
        (slice(shift, None), slice(None, x.shape[dim] - shift)),
        (slice(None, shift), slice(x.shape[dim] - shift, None)),
    ):
        moves.assign(target[(*lead, to)], source[(*lead, of)])
    return from_array(made)


ROLL = operator(
    "roll",
    _rolled,
    tensors=("x",),
    grads={"x": lambda g, shift, dim: on_either(ROLL, g, shift=-shift % g.shape[dim], dim=dim)},
    anywhere=True,
    batch=along("dim"),
)


@public("roll", kind="library")
@hot
def roll(x: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Shift around along dimensions, or over the flattened tensor."""
    if dims is None or dims in ((), []):
        return name_nodes(roll(x.reshape(-1), shifts, 0).reshape(x._shape), "RollBackward", x)
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if not shifts:
        raise RuntimeError("`shifts` required")
    if len(shifts) != len(dims):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    if not x._shape:
        raise IndexError(f"Dimension specified as {dims[0]} but tensor has no dimensions")
    for s, d in zip(shifts, dims):
        d = normal_dim(d, x.dim())
        n = x._shape[d]
        if n:
            x = ROLL.apply((x,), shift=s % n, dim=d)
    return x if x.numel() else name_nodes(x.clone(), "RollBackward")  # never the tensor itself
