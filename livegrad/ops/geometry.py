"""How views walk memory: functions from (offset, shape, strides) and arguments to the new ones."""

from __future__ import annotations

import operator
import sys
from typing import Any

from ..native import hot
from ..runtime.array import view_strides
from ..site import INTERNAL
from ..tensor import Tensor


def whole(dim: Any) -> int:
    """A dimension as an int; TypeError, where it is none.

    It names the function that the user has called, unless that is compiled: then it has no frame.
    """
    if not isinstance(dim, float) and hasattr(dim, "__index__"):
        return operator.index(dim)
    called, frame = "", sys._getframe(1)
    while frame is not None and INTERNAL[frame.f_code.co_filename]:
        name, frame = frame.f_code.co_name, frame.f_back
        called = called if name == "function" else name  # (that one only passes on)
    begin = f"{called.strip('_')}(): " if called else ""
    raise TypeError(f"{begin}argument 'dim' must be int, not {type(dim).__name__}")


@hot
def normal_dim(dim: int, n: int) -> int:
    """A dimension counted from the front. IndexError, or TypeError for what is no number, with PyTorch's text."""
    if dim.__class__ is not int:
        dim = whole(dim)
    if not -max(n, 1) <= dim < max(n, 1):
        m = max(n, 1)
        raise IndexError(f"Dimension out of range (expected to be in range of [{-m}, {m - 1}], but got {dim})")
    return dim + max(n, 1) if dim < 0 else dim


@hot
def sizes_of(args: tuple) -> tuple:
    """A shape given as numbers or as one sequence."""
    if len(args) == 1 and not isinstance(args[0], (int, Tensor)):
        args = tuple(args[0])
    return tuple([a if a.__class__ is int else int(a) for a in args])


@hot
def infer_shape(shape: tuple, n: int) -> tuple:
    """Fill in a -1. Raises RuntimeError where the sizes do not multiply to n."""
    known = 1
    free = None
    for d, s in enumerate(shape):
        if s == -1:
            if free is not None:
                raise RuntimeError("only one dimension can be inferred")
            free = d
        elif s < 0:
            raise RuntimeError(f"invalid shape dimension {s} at index {d} of shape {list(shape)}")
        else:
            known *= s
    if free is None:
        if known != n:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {n}")
        return shape
    if known == 0:
        raise RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size -1 "
            "can be any value and is ambiguous"
        )
    if n % known:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {n}")
    return shape[:free] + (n // known,) + shape[free + 1 :]


@hot
def reshape_geometry(offset: int, shape: tuple, strides: tuple, new: tuple) -> tuple | None:
    found = view_strides(shape, strides, new)
    return None if found is None else (offset, new, found)


@hot
def unsqueeze_geometry(offset: int, shape: tuple, strides: tuple, dim: int) -> tuple:
    step = shape[dim] * strides[dim] if dim < len(shape) else 1
    return offset, shape[:dim] + (1,) + shape[dim:], strides[:dim] + (step,) + strides[dim:]


@hot
def squeeze_geometry(offset: int, shape: tuple, strides: tuple, dims: Any) -> tuple:
    left = [d for d, n in enumerate(shape) if n != 1 or d not in dims]
    return offset, tuple([shape[d] for d in left]), tuple([strides[d] for d in left])


@hot
def permute_geometry(offset: int, shape: tuple, strides: tuple, dims: tuple) -> tuple:
    return offset, tuple([shape[d] for d in dims]), tuple([strides[d] for d in dims])


@hot
def expand_geometry(offset: int, shape: tuple, strides: tuple, size: tuple) -> tuple:
    lead = len(size) - len(shape)
    own = (0,) * lead + tuple([0 if n == 1 and m != 1 else s for n, m, s in zip(shape, size[lead:], strides)])
    return offset, size, own


@hot
def select_geometry(offset: int, shape: tuple, strides: tuple, dim: int, index: int) -> tuple:
    return offset + index * strides[dim], shape[:dim] + shape[dim + 1 :], strides[:dim] + strides[dim + 1 :]


@hot
def slice_geometry(offset: int, shape: tuple, strides: tuple, dim: int, start: int, step: int, length: int) -> tuple:
    new_shape = shape[:dim] + (length,) + shape[dim + 1 :]
    new_strides = strides[:dim] + (strides[dim] * step,) + strides[dim + 1 :]
    return offset + start * strides[dim], new_shape, new_strides


@hot
def diagonal_geometry(offset: int, shape: tuple, strides: tuple, shift: int, dim1: int, dim2: int) -> tuple:
    n, m = shape[dim1], shape[dim2]
    length = max(min(n, m - shift) if shift >= 0 else min(n + shift, m), 0)
    if length:
        offset += shift * strides[dim2] if shift >= 0 else -shift * strides[dim1]
    rest = [d for d in range(len(shape)) if d not in (dim1, dim2)]
    return (
        offset,
        tuple([shape[d] for d in rest]) + (length,),
        tuple([strides[d] for d in rest]) + (strides[dim1] + strides[dim2],),
    )


def unfold_geometry(offset: int, shape: tuple, strides: tuple, dim: int, size: int, step: int) -> tuple:
    if not shape:
        return offset, (size,), (1,)
    count = (shape[dim] - size) // step + 1
    new_shape = shape[:dim] + (count,) + shape[dim + 1 :] + (size,)
    return offset, new_shape, strides[:dim] + (strides[dim] * step,) + strides[dim + 1 :] + (strides[dim],)


def as_strided_geometry(
    offset: int, shape: tuple, strides: tuple, size: tuple, stride: tuple, start: int, base: tuple
) -> tuple:
    return start, size, stride
