"""Products over named dimensions: outer, inner and tensordot."""

from __future__ import annotations

from collections.abc import Sequence

from ..runtime.array import numel
from ..tensor import Tensor
from .casting import autocasts
from .geometry import normal_dim
from .matmul import mm
from .registry import public


@public("outer", kind="library", aliases=("ger",))
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The outer product of two vectors."""
    for name, t in (("self", input), ("vec2", vec2)):
        if t.dim() != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {t.dim()}-D of shape {list(t._shape)}")
    return input.unsqueeze(1) * vec2.unsqueeze(0)


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
