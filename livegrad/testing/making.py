"""Tensors of random numbers for tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..creation import empty
from ..dtypes import dtype as DType
from ..dtypes import finfo, iinfo
from ..ops.registry import FUNCTIONS
from ..random import randint
from ..site import warn
from ..tensor import Tensor

__all__ = ["make_tensor"]


def make_tensor(
    *shape: int | Sequence[int], dtype: DType, device: Any, low: float | None = None, high: float | None = None,
    requires_grad: bool = False, noncontiguous: bool = False, exclude_zero: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """Numbers drawn evenly from [low, high), of any dtype: of the global generator, as PyTorch draws them.

    shape: integers, or a sequence of them. low, high: -9 and 9 for floating and complex dtypes, -9 and 10 for integers,
    0 and 10 for uint8, 0 and 2 for bool, unless given; what the dtype cannot hold is cut off. noncontiguous: every
    second element of memory is skipped. exclude_zero: zeros become 1, or the smallest normal number.
    Raises ValueError for limits that are NaN, out of order or out of the dtype's range, for requires_grad with a dtype
    that has no gradients, and for noncontiguous beside memory_format.

    >>> import livegrad
    >>> made = livegrad.testing.make_tensor(2, 3, dtype=livegrad.int64, device="cpu", low=3, high=5)
    >>> made.shape, bool(((made == 3) | (made == 4)).all())
    (torch.Size([2, 3]), True)
    """
    given: Any = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    sizes: tuple[int, ...] = tuple(given)
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive, "
            f"but got {noncontiguous=} and {memory_format=}"
        )
    whole = not (dtype.is_floating_point or dtype.is_complex)
    if requires_grad and whole:
        raise ValueError(f"`requires_grad=True` is not supported for boolean and integral dtypes, but got {dtype=}")
    noncontiguous = noncontiguous and math.prod(sizes) > 1
    if noncontiguous:
        sizes = (*sizes[:-1], 2 * sizes[-1])
    least, most = _limits(dtype, low, high)
    if whole:
        result = randint(math.ceil(least), math.ceil(most), sizes, device=device, dtype=dtype)
    else:
        result = empty(sizes, device=device, dtype=dtype)
        _draw(FUNCTIONS["view_as_real"](result) if dtype.is_complex else result, least, most)
    if noncontiguous:
        result = result[..., 1::2]
    elif memory_format is not None:
        result = result.clone(memory_format=memory_format)
    if exclude_zero:
        result[result == 0] = 1 if whole else finfo(dtype).tiny
    return result.requires_grad_(requires_grad)


def _limits(dtype: DType, low: float | None, high: float | None) -> tuple[float, float]:
    """From where to where numbers are drawn: what is given or usual, within what the dtype holds."""
    if dtype is dtypes.bool_:
        lowest, highest, usual = 0.0, 2.0, (0, 2)
    elif dtype.is_floating_point or dtype.is_complex:
        limits = finfo(dtype)
        lowest, highest, usual = limits.min, limits.max, (-9, 9)
    else:
        held = iinfo(dtype)
        lowest, highest, usual = held.min, held.max + (dtype is not dtypes.int64), (-9, 10)
    low, high = usual[0] if low is None else low, usual[1] if high is None else high
    if low != low or high != high:
        raise ValueError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    if low == high and (dtype.is_floating_point or dtype.is_complex):
        warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is deprecated since 2.1 "
            "and will be removed in 2.3. Use `torch.full(...)` instead.",
            FutureWarning,
        )
    elif low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    elif high < lowest or low >= highest:
        raise ValueError(
            f"The value interval specified by `low` and `high` is [{low}, {high}), "
            f"but {dtype} only supports [{lowest}, {highest})"
        )
    return min(max(low, lowest), highest), min(max(high, lowest), highest)


def _draw(t: Tensor, low: float, high: float) -> None:
    """Fill with numbers from [low, high), also where the distance between them is more than the dtype holds."""
    if high - low >= finfo(t.dtype).max:
        t.uniform_(low / 2, high / 2).mul_(2)  # type: ignore[attr-defined]
    else:
        t.uniform_(low, high)  # type: ignore[attr-defined]
