"""Products over named dimensions: outer, inner, tensordot and the cross product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value
from ..native import hot
from ..runtime.array import numel
from ..tensor import Tensor
from . import dispatch
from .batch_rules import along
from .casting import autocasts
from .geometry import normal_dim
from .instruction import SCALAR_TYPE_NAMES
from .joining import CAT
from .matmul import mm
from .registry import operator, public


@public("outer", kind="library", aliases=("ger",))
@hot
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The outer product of two vectors."""
    for name, t in (("self", input), ("vec2", vec2)):
        if t.dim() != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {t.dim()}-D of shape {list(t._shape)}")
    return input.unsqueeze(1) * vec2


@public("inner", kind="library")
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sum of products over the last dimensions."""
    if input.dim() == 0 or other.dim() == 0:
        return input * other
    if input._shape[-1] != other._shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input._shape)} and {list(other._shape)}"
        )
    return tensordot(input, other, ([-1], [-1]))


@public("tensordot", kind="library", method=False)
@autocasts
def tensordot(a: Tensor, b: Tensor, dims: int | Sequence = 2) -> Tensor:
    """The sum of products over the named dimensions of both (the last n and first n for a number)."""
    if a.dtype is not b.dtype:
        raise RuntimeError("both inputs should have same dtype")
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        left, right = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        left, right = (
            [normal_dim(d, x.dim()) for d in ([side] if isinstance(side, int) else side)]
            for side, x in zip(dims, (a, b))
        )
        if len(left) != len(right):
            raise RuntimeError(f"both dimension lists should have same length, but they are {left} and {right}")
    free_a = [d for d in range(a.dim()) if d not in left]
    free_b = [d for d in range(b.dim()) if d not in right]
    rows, columns = [a._shape[d] for d in free_a], [b._shape[d] for d in free_b]
    if any(m != n and 1 not in (m, n) for m, n in _paired(a, left, b, right)):
        raise RuntimeError(
            f"contracted dimensions need to match, but the shapes are {list(a._shape)} along {left} and "
            f"{list(b._shape)} along {right}"
        )
    # A dimension of size 1 is added up against all of the other's.
    for i, j in zip(left, right):
        if a._shape[i] == 1:
            b = b.sum(j, True, dtype=b.dtype)
        elif b._shape[j] == 1:
            a = a.sum(i, True, dtype=a.dtype)
    k = numel(tuple(a._shape[d] for d in left))
    x = a.permute(*free_a, *left).reshape(numel(tuple(rows)), k)
    y = b.permute(*right, *free_b).reshape(k, numel(tuple(columns)))
    return mm(x, y).reshape(rows + columns)


def _paired(a: Tensor, left: list, b: Tensor, right: list) -> list:
    """The sizes of the dimensions that are summed together."""
    return [(a._shape[i], b._shape[j]) for i, j in zip(left, right)]


_FEW = 1 << 10  # elements of which NumPy makes a cross product in less time than a kernel is launched


@hot
def _crossed(x: Value, y: Value, dim: int) -> Value:
    if x.device is cpu and x.dtype.itemsize >= 4 and numel(x.shape) <= _FEW:
        return _few_crossed(x.native(), y.native(), (slice(None),) * dim)
    a, b = ([v.narrow_step(dim, k, 1, 1) for k in range(3)] for v in (x, y))
    return CAT.forward([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], dim=dim)


def _few_crossed(x: np.ndarray, y: np.ndarray, before: tuple) -> Value:
    a, b = [x[(*before, k)] for k in range(3)], [y[(*before, k)] for k in range(3)]
    made = np.empty(x.shape, x.dtype)
    with np.errstate(all="ignore"):
        for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
            made[(*before, k)] = a[i] * b[j] - a[j] * b[i]
    return backend.fresh(made)


def _cross_again(x: Any, y: Any, dim: int) -> Any:
    return _crossed(x, y, dim) if x.__class__ is Value else CROSS.apply((x, y), dim=dim)


CROSS = operator(
    "linalg_cross",
    _crossed,
    tensors=("x", "y"),
    grads={
        "x": lambda g, y, dim: _cross_again(y.conj(), g, dim),
        "y": lambda g, x, dim: _cross_again(g, x.conj(), dim),
    },
    anywhere=True,
    batch=along("dim"),
)


@public("cross")
@autocasts
@hot
def cross(x: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product of vectors of three components, along a dimension: the first of size 3 if it is not given."""
    if dim is None:
        if 3 not in x._shape:
            raise RuntimeError("no dimension of size 3 in input")
        dim = x._shape.index(3)
    if x.dim() != other.dim():
        raise RuntimeError(
            f"linalg.cross: inputs must have the same number of dimensions: got {list(x.shape)} and {list(other.shape)}"
        )
    dim = normal_dim(dim, x.dim())
    if x._shape[dim] != 3 or other._shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {x.shape[dim]} and {other.shape[dim]}"
        )
    if x.dtype is not other.dtype:
        kinds = SCALAR_TYPE_NAMES[x.dtype], SCALAR_TYPE_NAMES[other.dtype]
        raise RuntimeError(f"expected scalar type {kinds[0]} but found {kinds[1]}")
    shape = dispatch.broadcast_shapes(x._shape, other._shape)
    both = [t if t._shape == shape else t.expand(shape) for t in (x, other)]  # type: ignore[attr-defined]
    return CROSS.apply(both, dim=dim)
