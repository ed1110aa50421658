"""Changing batches in place: the whole batch is changed, so all that sees its memory sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import tensor as tensors
from ..autograd.mode import MODE
from ..lazy.value import BATCHED, Value
from ..tensor import Tensor, wrap
from .batching import follow, level_of, show


def target(t: Tensor, *others: Any) -> tuple[Tensor, int]:
    """The batch that is written where a tensor is, and the level of all. RuntimeError where that is of others alone."""
    level = max(map(level_of, (t, *others)))
    whole = show(t, level)
    if whole is None:
        raise RuntimeError(
            "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor `other` in "
            "extra_args that has more elements than `self`. This happened due to `other` being vmapped over but `self` "
            "not being vmapped over in a vmap. Please try to use out-of-place operators instead of inplace arithmetic. "
            "If said operator is being called inside the PyTorch framework, please file a bug report instead."
        )
    return whole, level


def source(x: Tensor, level: int, rank: int) -> Tensor:
    """What is written, with the batch's dimension in front, if it has that, and of as many others as the target."""
    whole = show(x, level)
    if whole is None:
        return x
    own = len(x._shape)
    return whole if own >= rank else whole.reshape((whole._shape[0], *(1,) * (rank - own), *x._shape))  # type: ignore[attr-defined]


def write(t: Tensor, other: Tensor, function: Callable, *args: Any) -> Tensor:
    """An in-place function of a tensor and another one that broadcasts with it, of whom one is a batch."""
    whole, level = target(t, other)
    function(whole, source(other, level, len(t._shape)), *args)
    follow(t)
    return t


def assign(t: Tensor, result: Tensor, since: int | None, function: Callable, check: Callable) -> Tensor:
    """`writes.assign_result`, where one is a batch."""
    if result._shape != t._shape:
        raise RuntimeError(
            f"output with shape {list(t._shape)} doesn't match the broadcast shape {list(result._shape)}"
        )
    whole, level = target(t, result)
    made = show(result, level)
    check(whole, MODE.grad)
    function(whole, result.expand(whole._shape) if made is None else made, made is not None, since)  # type: ignore[attr-defined]
    follow(t)
    return t


def _assign_value(t: Tensor, v: Value, since: int | None) -> None:
    """`Tensor._assign`: unrecorded."""
    whole, level = target(t, wrap(v) if v.weight == BATCHED else t)
    made = v.params[0].tensor if v.weight == BATCHED and v.params[0].level == level else wrap(v).expand(whole._shape)  # type: ignore[attr-defined]
    whole._assign(made._value(), since)


tensors.batch_assign = _assign_value
