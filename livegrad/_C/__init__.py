"""The few private names of PyTorch's own library that other libraries call when they are imported."""

import enum
from typing import Any

from ..overriding import THREAD, DisableTorchFunction, DisableTorchFunctionSubclass, disabled_torch_function_impl
from ..random import Generator
from ..tensor import Tensor

__all__ = ["DisableTorchFunction", "DisableTorchFunctionSubclass", "Generator"]

DispatchKey = enum.Enum(
    "DispatchKey", "CPU CUDA Meta Autograd AutogradCPU AutogradCUDA Autocast AutocastCPU AutocastCUDA AutocastXPU"
)
DispatchKey.__doc__ = "Names of PyTorch's ways through an operator. Nothing here is chosen by them."


class DispatchKeySet(frozenset):
    """A set of such names, made of one of them."""

    def __new__(cls, key: Any) -> Any:
        return super().__new__(cls, (key,) if isinstance(key, DispatchKey) else key)

    def __or__(self, other: Any) -> Any:
        return DispatchKeySet(frozenset(self) | other)

    def has(self, key: Any) -> bool:
        """Whether a name is in the set."""
        return key in self


def _are_functorch_transforms_active() -> bool:
    """False: `func` has no levels that tensors belong to."""
    return False


def _is_torch_function_mode_enabled() -> bool:
    """Whether a mode of `overrides` is entered in this thread."""
    return bool(THREAD.modes)


def _is_alias_of(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors see the same memory."""
    return a.untyped_storage()._cdata == b.untyped_storage()._cdata


def _get_tracing_state() -> None:
    """None: programs run as they are, never as a trace."""


def _log_api_usage_once(event: Any) -> None:
    """Nothing is logged."""


_TensorMeta = type(Tensor)
_disabled_torch_function_impl = disabled_torch_function_impl


class Value:
    """A name to compare with: what PyTorch calls the results in a traced graph. Programs are never traced."""


class Node:
    """A name to compare with: what PyTorch calls the steps of a traced graph."""


class Graph:
    """A name to compare with: what PyTorch calls a traced graph, for which programs write `Function.symbolic`."""


class TensorType:
    """A name to compare with: what PyTorch calls the type of a tensor in a traced graph."""


class _nn:
    """What other libraries take from here of PyTorch's functions for layers."""

    @staticmethod
    def _parse_to(*args: Any, memory_format: Any = None, **kwargs: Any) -> tuple:
        """(device, dtype, non_blocking, memory_format) from any of the forms that `Module.to` accepts."""
        from ..devices import device
        from ..nn.tensors import _parse_to

        where, dtype, non_blocking = _parse_to(*args, **kwargs)
        return None if where is None else device(where), dtype, non_blocking, memory_format
