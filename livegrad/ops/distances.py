"""Distances between all pairs of points.

They come from the differences, also where PyTorch takes them from products of the points, which loses the small ones.
The differences are never written: they feed a reduction, in which neighbours in a vector are different pairs.
"""

from __future__ import annotations

import math
from typing import Any

from ..lazy.value import Value
from ..tensor import Tensor
from . import dispatch
from .batch_rules import broadcasting, trailing
from .casting import autocasts
from .copying import CLONE
from .extremes import AMAX
from .instruction import SCALAR_TYPE_NAMES
from .norms import NORM
from .reduce import sum_value
from .registry import ELEMENTWISE, elementwise, function, operator
from .scalar import eq, where

_CDIST_MODES = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")
# The distance as it is: between points that are equal no gradient flows, not even an infinite one (of a root, say).
elementwise("_distance", lambda input: input, node="Cdist", method=False, function=False, inplace=False, reference="",
            grads={"input": lambda g, result: where(eq(result, 0.0), 0.0, g)})  # fmt: skip
# Every coordinate that is as far apart as the farthest gets all of the gradient, not its share of it.
_LARGEST = operator(
    "_cdist_largest",
    lambda apart: AMAX.forward(apart.abs(), (len(apart.shape) - 2,), False),
    tensors=("apart",),
    grads={"apart": lambda g, apart, result: apart.sign() * g.unsqueeze(-2) * apart.abs().eq(result.unsqueeze(-2))},
    node="Cdist",
    batch=trailing,
)
# How many coordinates differ, which no small change of one does.
_COUNT = operator(
    "_cdist_count",
    lambda apart: sum_value(apart.sign().abs(), (len(apart.shape) - 2,), False),
    tensors=("apart",),
    grads={"apart": lambda g, apart: g.unsqueeze(-2) * 0.0 * apart.sign()},
    node="Cdist",
    batch=trailing,
)


# With more points than these PyTorch takes the gradient from products as well, and so does this.
_FEW = 25


def _euclidean(x1: Value, x2: Value) -> Value:
    """The distances of points of the same batches; those of the larger set are next to each other."""
    few, many = (x1, x2) if x1.shape[-2] <= x2.shape[-2] else (x2, x1)
    apart = few.unsqueeze(-1) - CLONE.forward(many.transpose(-1, -2)).unsqueeze(-3)  # type: ignore[attr-defined]
    made = NORM.forward(apart, (len(apart.shape) - 2,), False)
    return made if few is x1 else CLONE.forward(made.transpose(-1, -2))


def _pulled(g: Any, x: Any, other: Any, distance: Any) -> Any:
    """The gradient by x: each of the others pulls along the line between them."""
    pull = (g / distance).masked_zero(distance.eq(0))
    return x * pull.sum((-1,), True) - pull @ other


_EUCLIDEAN = operator(
    "_euclidean_dist",
    _euclidean,
    tensors=("x1", "x2"),
    grads={
        "x1": lambda g, x1, x2, result: _pulled(g, x1, x2, result),
        "x2": lambda g, x1, x2, result: _pulled(g.transpose(-1, -2), x2, x1, result.transpose(-1, -2)),
    },
    node="EuclideanDist",
    batch=broadcasting,
)


@function
@autocasts
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The p-norm distances between all pairs of rows.

    x1: (..., P, M). x2: (..., R, M), whose batches broadcast with those of x1. Returns (..., P, R). Whatever
    `compute_mode` says, the distances come from the differences; it chooses how gradients of Euclidean ones do: with
    more than 25 rows, or always, from products, which is faster.

    >>> import livegrad
    >>> livegrad.cdist(livegrad.tensor([[0.0, 0.0]]), livegrad.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    if compute_mode not in _CDIST_MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode: expected one of {_CDIST_MODES}")
    for name, x in (("X1", x1), ("X2", x2)):
        if x.dim() < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.dim()}D")
    if x1._shape[-1] != x2._shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1._shape[-1]} X2: {x2._shape[-1]}")
    for name, x in (("X1", x1), ("X2", x2)):
        if not x.is_floating_point():
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name} got: {SCALAR_TYPE_NAMES[x.dtype]}")
    if x1.dtype is not x2.dtype and x1.numel() and x2.numel():
        raise RuntimeError(
            f"expected scalar type {SCALAR_TYPE_NAMES[x1.dtype]} but found {SCALAR_TYPE_NAMES[x2.dtype]}: cdist() "
            "takes rows of one dtype; convert one with .to(dtype)"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if not x1._shape[-1]:
        return (x1.unsqueeze(-2) - x2.unsqueeze(-3)).sum(-1)
    rows = max(x1._shape[-2], x2._shape[-2])
    if p == 2 and compute_mode != _CDIST_MODES[2] and (rows > _FEW or compute_mode == _CDIST_MODES[1]):
        batches = dispatch.broadcast_shapes(x1._shape[:-2], x2._shape[:-2])
        return _EUCLIDEAN.apply(tuple([x.expand((*batches, *x._shape[-2:])) for x in (x1, x2)]))
    apart = x1.unsqueeze(-1) - x2.transpose(-1, -2).contiguous().unsqueeze(-3)  # type: ignore[attr-defined]
    if p == math.inf:
        return _LARGEST.apply((apart,))
    return _COUNT.apply((apart,)) if p == 0 else dispatch.call(ELEMENTWISE["_distance"], (apart.norm(p, -2),))
