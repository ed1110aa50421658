"""What a reduction goes over: dimensions, and the shapes and dtypes that follow from them."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..autograd.node import cast_value
from ..lazy.value import Value
from ..native import hot
from ..runtime.array import numel
from ..tensor import Tensor
from . import dispatch
from .geometry import normal_dim, whole
from .view import spread

_ALL = tuple([tuple(range(n)) for n in range(8)])


@hot
def dims_of(dim: Any, n: int) -> tuple:
    """The dimensions to reduce, counted from the front; all of them for None or ()."""
    if dim is None:
        return _ALL[n] if n < 8 else tuple(range(n))
    if isinstance(dim, int):
        return (normal_dim(dim, n),) if n else _scalar_dim(dim)
    wanted = tuple(dim) if isinstance(dim, (tuple, list)) or not _is_one(dim) else (whole(dim),)
    if not wanted:
        return tuple(range(n))
    found = tuple(normal_dim(d, n) for d in wanted)  # of one number, 0 and -1 name a dimension that it might have
    if len(set(found)) != len(found):
        raise RuntimeError(f"dim {found[0]} appears multiple times in the list of dims")
    return found if n else ()


def _is_one(dim: Any) -> bool:
    return isinstance(dim, str) or hasattr(dim, "__index__") or not hasattr(dim, "__iter__")


def _scalar_dim(dim: int) -> tuple:
    normal_dim(dim, 0)
    return ()


@hot
def kept_shape(shape: tuple, dims: tuple) -> tuple:
    """The shape with reduced dimensions left in at size 1."""
    return tuple([1 if d in dims else n for d, n in enumerate(shape)])


@hot
def accumulator(d: dtypes.dtype) -> dtypes.dtype:
    """The dtype in which sums and products of `d` are accumulated."""
    if d.category >= dtypes.FLOATING:
        return dtypes.float32 if d.itemsize < 4 else d
    return dtypes.int64


@hot
def back_to(g: Any, shape: tuple, dims: tuple) -> Any:
    """A reduced gradient broadcast over the dimensions that were reduced."""
    if len(dims) < len(shape):
        g = g.reshape(kept_shape(shape, dims))
    elif len(g.shape) > len(shape):
        g = g.reshape(())
    return spread(g, shape)


@hot
def cast_like(g: Any, dtype: Any) -> Any:
    return cast_value(g, dtype) if g.__class__ is Value else dispatch.cast(g, dtype)


@hot
def count_over(shape: tuple, dims: tuple) -> int:
    return numel(tuple([shape[d] for d in dims]))


@hot
def need_floating(name: str, x: Tensor) -> None:
    if x.dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"{name}(): input dtype should be either floating point or complex, got {x.dtype}")
