"""Whole numbers, signs and neighbours: gcd, lcm, heaviside, nextafter."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..lazy import backend
from ..tensor import Tensor, wrap
from . import dispatch, writes
from .composite import result_type
from .instruction import SCALAR_TYPE_NAMES
from .registry import ELEMENTWISE, named, operator


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
    """0 where x is negative, 1 where it is positive, and values where it is 0. It has no derivative."""
    if x.dtype is not values.dtype:
        if x.is_complex() or values.is_complex():
            raise RuntimeError("heaviside is not yet implemented for complex tensors.")
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return dispatch.call(ELEMENTWISE["_heaviside"], (x, values))


NEXTAFTER = operator(
    "nextafter",
    lambda x, other: backend.copied(np.nextafter(x.native(), other.native())),
    tensors=("x", "other"),
    grads={"x": lambda g, x, other: g * (x != other), "other": lambda g: g * 0},
    node="Nextafter",
)


@named("nextafter")
def nextafter(x: Tensor, other: Tensor) -> Tensor:
    """The number next to each of x's in the direction of other's, which moves with x's."""
    common = result_type(x, other)
    if common.category != dtypes.FLOATING:
        raise NotImplementedError(f"\"nextafter_cpu\" not implemented for '{SCALAR_TYPE_NAMES[common]}'")
    shape = dispatch.broadcast_shapes(x._shape, other._shape)
    pair = (dispatch.cast(t, common) for t in (x, other))
    return NEXTAFTER.apply(tuple(t if t._shape == shape else t.expand(shape) for t in pair))


for _name in ("gcd", "lcm", "heaviside", "nextafter"):
    setattr(Tensor, _name + "_", writes.in_place(getattr(Tensor, _name), _name + "_"))
