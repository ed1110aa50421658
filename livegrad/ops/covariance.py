"""Covariances and correlations."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from . import dispatch
from .registry import FUNCTIONS, public


def _check_weights(name: str, weights: Tensor | None, observations: int) -> None:
    if weights is None:
        return
    if weights.dim() > 1:
        raise RuntimeError(
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with {weights.dim()} dimensions"
        )
    whole = name == "fweights"
    if weights.dtype.category != (dtypes.INTEGRAL if whole else dtypes.FLOATING):
        kind = "integral" if whole else "floating point"
        raise RuntimeError(f"cov(): expected {name} to have {kind} dtype but got {name} with {weights.dtype} dtype")
    if weights.numel() != observations:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input but got "
            f"{weights.numel()} != {observations}"
        )
    if weights.numel() and bool((weights.detach() < 0).any()):  # type: ignore[operator]
        raise RuntimeError(f"cov(): {name} cannot be negative")


@public("cov")
def cov(x: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    """The covariance matrix of variables in rows; of one variable its variance.

    fweights: how often each observation, a column, occurs; aweights: how much it counts. Raises RuntimeError where
    these are not one for each, are negative, or of the wrong kind: whole numbers, and floating-point ones.
    """
    if x.dim() > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {x.dim()} dimensions"
        )
    if x.dtype is dtypes.bool_:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    if x.dim() < 2:
        x = x.reshape(1, -1)  # type: ignore[attr-defined]
    for name, weights in (("fweights", fweights), ("aweights", aweights)):
        _check_weights(name, weights, x._shape[1])
    if x.dtype.category < dtypes.FLOATING:
        x = dispatch.cast(x, dtypes.get_default_dtype())
    made = _covariances(x, correction, fweights, aweights)
    return made.squeeze() if x._shape[0] == 1 else made  # type: ignore[attr-defined]


def _covariances(x: Any, correction: int, fweights: Any, aweights: Any) -> Any:
    weights = fweights if aweights is None else aweights if fweights is None else fweights * aweights
    if weights is None:
        centred = x - x.mean(1, keepdim=True)
        divisor: Any = x._shape[1] - correction
        return centred @ centred.t().conj() / divisor if divisor > 0 else centred @ centred.t().conj() / 0.0
    total = weights.sum()
    centred = x - (x * weights).sum(1, keepdim=True) / total
    divisor = total - correction if aweights is None else total - correction * (weights * aweights).sum() / total
    weighted = centred * weights
    return weighted @ centred.to(weighted.dtype).t().conj() / divisor.clamp(min=0)


@public("corrcoef", samples=lambda: [((np.array([[1.0, 2.0, 4.0], [3.0, -1.0, 0.5]]),), {})])
def corrcoef(x: Tensor) -> Tensor:
    """The correlations of variables in rows."""
    if x.dim() > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {x.dim()} dimensions"
        )
    c: Any = cov(x)
    if c.dim() == 0:
        return c / c
    d = c.diagonal().sqrt()
    if c.is_complex():  # the parts are limited
        d, parts = d.real.unsqueeze(-1), FUNCTIONS["view_as_real"](c)
        return FUNCTIONS["view_as_complex"]((parts / d.unsqueeze(0) / d.unsqueeze(1)).clamp(-1, 1))
    return (c / d.unsqueeze(0) / d.unsqueeze(1)).clamp(-1, 1)
