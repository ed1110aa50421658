"""Operators without gradients on whole numbers and signs: gcd, lcm, heaviside."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runtime import backend
from ..tensor import Tensor, wrap
from . import dispatch
from .registry import FUNCTIONS, named


def _whole_numbers(name: str, ufunc: Any) -> None:
    def function(x: Tensor, other: Tensor) -> Tensor:
        if x.dtype.is_floating_point or other.dtype.is_floating_point:
            raise RuntimeError(f"{name}: expected integers, got {x.dtype} and {other.dtype}")
        return wrap(backend.copied(ufunc(x._to_numpy(), other._to_numpy())))

    function.__name__ = name
    function.__doc__ = f"Elementwise {name} of integers."
    named(name)(function)


_whole_numbers("gcd", np.gcd)
_whole_numbers("lcm", np.lcm)


@named("heaviside")
def heaviside(x: Tensor, values: Tensor) -> Tensor:
    """0 where x is negative, 1 where it is positive, and values where it is 0."""
    if x.dtype is not values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    x = x.detach()
    return FUNCTIONS["where"](x == 0, values.detach(), (x > 0).to(x.dtype))


for _name in ("gcd", "lcm", "heaviside"):
    setattr(Tensor, _name + "_", dispatch.in_place(getattr(Tensor, _name), _name + "_"))
