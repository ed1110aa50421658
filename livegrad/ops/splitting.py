"""Views of the pieces of a tensor: split, chunk, unbind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..autograd.mode import MODE
from ..lazy.value import Value
from ..native import hot
from ..observe import WATCH
from ..runtime.refusal import OutOfMemoryError
from ..tensor import Tensor
from .batching import level_of, of_whole
from .geometry import normal_dim
from .joining import CAT, STACK
from .operator import Operator
from .registry import operator, public
from .view_operators import SELECT, Meta


@public("split", kind="view", keywords={"split_size": "split_size_or_sections", "tensor": "x"})
@hot
def split(x: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple:
    """Views of pieces along a dimension: of one size (the last may be smaller), or of the sizes listed."""
    if not x._shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = normal_dim(dim, x.dim())
    n = x._shape[d]
    if split_size_or_sections.__class__ is not int and not isinstance(split_size_or_sections, (list, tuple)):
        split_size_or_sections = _whole_or_list(split_size_or_sections)
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0:
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
        if size == 0 and n:
            raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
        sizes = [min(size, n - s) for s in range(0, n, size)] if n else [0]
    else:
        sizes = [int(s) for s in split_size_or_sections]
        if min(sizes, default=0) < 0:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes={sizes}"
            )
        if sum(sizes) != n:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {d}), "
                f"but got split_sizes={sizes}"
            )
    if WATCH.batcher is not None and level_of(x):
        return of_whole(x, split, split_size_or_sections if isinstance(split_size_or_sections, int) else sizes, d + 1)
    offset, shape, strides = x._geometry()
    out = []
    for s in sizes:
        out.append(x._window(offset, (*shape[:d], s, *shape[d + 1 :]), strides))
        offset += s * strides[d] if strides else 0
    label = "SplitBackward" if isinstance(split_size_or_sections, int) else "SplitWithSizesBackward"
    return _several(x, out, SPLIT, label, dim=d, sizes=tuple(sizes))


def _whole_or_list(sizes: Any) -> Any:
    """A size, or several of them, that came as a tensor or another iterable."""
    if isinstance(sizes, Tensor) and not sizes._shape or hasattr(sizes, "__index__"):
        return int(sizes)
    try:
        return list(sizes)
    except TypeError:
        kind = type(sizes).__name__
        raise TypeError(
            f"split_with_sizes(): argument 'split_sizes' (position 2) must be tuple of ints, not {kind}"
        ) from None


@hot
def _several(x: Tensor, pieces: list, op: Operator, label: str, **args: Any) -> tuple:
    """The views that one operator returns together: one node, whose gradient puts theirs together in one copy."""
    made = tuple(pieces)
    if MODE.grad:
        for i, piece in enumerate(made):
            if piece._s.made != "no_grad":
                piece._s.made = i
        if made and x._edge is not None:
            op.record(made, (Meta(x._shape, x.dtype),), (x,), label, args)
    return made


def _put_together(g: Any, op: Operator, shapes: list, dtype: dtypes.dtype, dim: int) -> Any:
    """The gradients of several pieces as one; zeros for a piece that has none."""
    from ..creation import zeros

    gs = g if isinstance(g, (list, tuple)) else [g]
    some = next(x for x in gs if x is not None)
    whole = [zeros(s, dtype=dtype, device=some.device) if x is None else x for x, s in zip(gs, shapes)]
    if some.__class__ is Value:
        return op.forward([x if x.__class__ is Value else x._value() for x in whole], dim=dim)
    return op.apply(whole, dim=dim)


@hot
def _split_gradient(g: Any, x_shape: tuple, x_dtype: Any, dim: int, sizes: tuple) -> Any:
    shapes = [(*x_shape[:dim], s, *x_shape[dim + 1 :]) for s in sizes]
    return _put_together(g, CAT, shapes, x_dtype, dim)


def _split_value(x: Value, dim: int, sizes: tuple) -> tuple:
    out, start = [], 0
    for s in sizes:
        out.append(x.narrow_step(dim, start, 1, s))
        start += s
    return tuple(out)


def _unbind_gradient(g: Any, x_shape: tuple, x_dtype: Any, dim: int) -> Any:
    return _put_together(g, STACK, [x_shape[:dim] + x_shape[dim + 1 :]] * x_shape[dim], x_dtype, dim)


def _unbind_value(x: Value, dim: int) -> tuple:
    return tuple(SELECT.forward(x, dim=dim, index=i) for i in range(x.shape[dim]))


SPLIT = operator("split", _split_value, tensors=("x",), grads={"x": _split_gradient}, anywhere=True)
UNBIND = operator("unbind", _unbind_value, tensors=("x",), grads={"x": _unbind_gradient}, anywhere=True)


@public("split_with_sizes", kind="view")
def split_with_sizes(x: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple:
    """`split` by a list of sizes."""
    return split(x, list(split_sizes), dim)


@public("chunk", kind="view")
@hot
def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple:
    """Views of so many equal pieces along a dimension (the last may be smaller, or missing)."""
    if not x._shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    d = normal_dim(dim, x.dim())
    n = x._shape[d]
    return split(x, -(-n // chunks), d) if n else split(x, [0] * chunks, d)


# More tensors than this, a few hundred bytes each, are refused before they fill the memory.
MOST_PIECES = 1 << 26


@public("tensor_split", kind="view", keywords=dict.fromkeys(("sections", "indices"), "indices_or_sections"))
def tensor_split(x: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple:
    """Views of nearly equal pieces, or of what lies between the given indices."""
    if not x._shape:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    if isinstance(indices_or_sections, Tensor):
        if indices_or_sections.dtype is not dtypes.int64 or indices_or_sections.dim() > 1:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to have dtype of long and at most one dimension, but "
                f"got {indices_or_sections.dtype} of shape {list(indices_or_sections.shape)}"
            )
        indices_or_sections = indices_or_sections.tolist()
    d = normal_dim(dim, x.dim())
    n = x._shape[d]
    if isinstance(indices_or_sections, int):
        k = indices_or_sections
        if k <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {k}")
        if k > MOST_PIECES:
            raise OutOfMemoryError(f"out of memory: tensor_split() cannot make {k} tensors of {n} elements")
        starts = [i * (n // k) + min(i, n % k) for i in range(k + 1)]
        return tuple(x.narrow_step(d, a, 1, b - a) for a, b in zip(starts, starts[1:]))
    edges = [0, *[min(max(int(i) + (n if i < 0 else 0), 0), n) for i in indices_or_sections], n]
    return tuple(x.narrow_step(d, a, 1, max(b - a, 0)) for a, b in zip(edges, edges[1:]))


@public("unbind", kind="view")
@hot
def unbind(x: Tensor, dim: int = 0) -> tuple:
    """Views of every index of a dimension."""
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    if WATCH.batcher is not None and level_of(x):
        return of_whole(x, unbind, d + 1)
    return _several(x, _slices(x, d), UNBIND, "UnbindBackward", dim=d)


@hot
def _slices(x: Tensor, d: int) -> list:
    """A view of every index of a dimension."""
    offset, shape, strides = x._geometry()
    rest, steps = shape[:d] + shape[d + 1 :], strides[:d] + strides[d + 1 :]
    step = strides[d]
    return [x._window(offset + i * step, rest, steps) for i in range(shape[d])]
