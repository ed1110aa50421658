"""Assertions that programs and libraries make under PyTorch's private names: ``torch._assert``, ``torch._check``, …"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import dtypes
from .overriding import asks
from .tensor import Tensor

__all__ = [
    "_assert", "_check", "_check_index", "_check_is_size", "_check_not_implemented", "_check_tensor_all",
    "_check_tensor_all_with", "_check_type", "_check_value", "_check_with",
]  # fmt: skip


@asks
def _assert(condition: Any, message: str) -> None:
    """Raise AssertionError, unless the condition holds. Traces by `fx` have it as a step."""
    if not condition:
        raise AssertionError(message)


def _assert_async(input: Tensor, assert_msg: str = "") -> None:
    """Raise RuntimeError, unless the one element of a tensor is true."""
    if input.numel() != 1:
        few = "no values is" if input.numel() == 0 else "more than one value is"
        raise RuntimeError(f"Boolean value of Tensor with {few} ambiguous")
    if not input.item():
        raise RuntimeError(assert_msg or "Expected Tensor with single nonzero value, but got zero")


def _check_with(error: type[Exception], condition: Any, message: Callable[[], str] | None) -> None:
    if isinstance(condition, Tensor) or not isinstance(condition, bool):
        raise TypeError(f"cond must be a bool, but got {type(condition)}")
    if condition:
        return
    if message is None:
        raise error(
            "Expected cond to be True, but got False. (Could this error message be improved? If so, please report an "
            "enhancement request to PyTorch.)"
        )
    if not callable(message):
        raise TypeError("message must be a callable")
    raise error(str(message()))


def _check(cond: Any, message: Callable[[], str] | None = None) -> None:
    """Raise RuntimeError with what `message` returns, unless `cond` is True."""
    _check_with(RuntimeError, cond, message)


def _check_index(cond: Any, message: Callable[[], str] | None = None) -> None:
    """Raise IndexError, unless `cond` is True."""
    _check_with(IndexError, cond, message)


def _check_value(cond: Any, message: Callable[[], str] | None = None) -> None:
    """Raise ValueError, unless `cond` is True."""
    _check_with(ValueError, cond, message)


def _check_type(cond: Any, message: Callable[[], str] | None = None) -> None:
    """Raise TypeError, unless `cond` is True."""
    _check_with(TypeError, cond, message)


def _check_not_implemented(cond: Any, message: Callable[[], str] | None = None) -> None:
    """Raise NotImplementedError, unless `cond` is True."""
    _check_with(NotImplementedError, cond, message)


def _check_is_size(i: int, message: Callable[[], str] | None = None, *, max: int | None = None) -> None:  # noqa: A002
    """Raise RuntimeError, unless a number can be a size: not negative, nor above `max`."""
    _check(i >= 0 and (max is None or i <= max), message)


def _check_tensor_all_with(error: type[Exception], cond: Tensor, message: Callable[[], str] | None = None) -> None:
    """Raise `error` with what `message` returns, unless all elements of a boolean tensor are true."""
    if not isinstance(cond, Tensor):
        raise TypeError(f"cond must be a tensor, but got {type(cond)}")
    if cond.dtype is not dtypes.bool_:
        raise TypeError(f"cond tensor must have dtype torch.bool, but got {cond.dtype}")
    _check_with(error, bool(cond.all().item()), message)


def _check_tensor_all(cond: Tensor, message: Callable[[], str] | None = None) -> None:
    """Raise RuntimeError with what `message` returns, unless all elements of a boolean tensor are true."""
    _check_tensor_all_with(RuntimeError, cond, message)
