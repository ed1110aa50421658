"""Private helpers of PyTorch's that libraries use: gradients in one piece of memory, and modules of devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import livegrad

from .tensor import Tensor

__all__ = [
    "_flatten_dense_tensors", "_get_available_device_type", "_get_device_module", "_rebuild_parameter",
    "_rebuild_tensor_v2", "_unflatten_dense_tensors", "get_device_module",
]  # fmt: skip


def _flatten_dense_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """The elements of tensors of one dtype, one after the other.

    >>> import livegrad
    >>> from livegrad._utils import _flatten_dense_tensors, _unflatten_dense_tensors
    >>> given = [livegrad.ones(1, 2), livegrad.zeros(1)]
    >>> flat = _flatten_dense_tensors(given)
    >>> flat
    tensor([1., 1., 0.])
    >>> _unflatten_dense_tensors(flat, given)
    (tensor([[1., 1.]]), tensor([0.]))
    """
    return livegrad.cat([t.reshape(-1) for t in tensors])


def _unflatten_dense_tensors(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Views of one after the other of a flat tensor's parts, in the shapes of others."""
    parts = flat.split([t.numel() for t in tensors])
    return tuple([part.view(t.shape) for part, t in zip(parts, tensors)])


def _rebuild_tensor_v2(
    storage: Any, storage_offset: int, size: tuple, stride: tuple, requires_grad: bool, backward_hooks: Any,
    metadata: Any = None,
) -> Tensor:  # fmt: skip
    """A tensor that sees a typed storage in this way."""
    made = storage._all.as_strided(size, stride, storage_offset)
    made.requires_grad_(requires_grad)
    made._backward_hooks = backward_hooks
    return made


def _rebuild_parameter(data: Tensor, requires_grad: bool, backward_hooks: Any) -> Any:
    """A parameter that holds a tensor's data."""
    from .nn import Parameter

    made: Any = Parameter(data, requires_grad)
    made._backward_hooks = backward_hooks
    return made


def _get_available_device_type() -> str | None:
    """The kind of accelerator that there is."""
    return "cuda" if livegrad.cuda.is_available() else None


def _get_device_module(device_type: str) -> Any:
    """The package's module for a kind of device. Raises RuntimeError where there is none."""
    module = getattr(livegrad, device_type, None)
    if module is None:
        raise RuntimeError(
            f"Device '{device_type}' does not have a corresponding module registered as 'torch.{device_type}'."
        )
    return module


def get_device_module(device: Any = None) -> Any:
    """The package's module for a device, or for the accelerator that there is: `livegrad.cuda`, or `livegrad.cpu`.

    Raises RuntimeError where a device has none.
    """
    if device is None:
        return _get_device_module(_get_available_device_type() or "cpu")
    return _get_device_module(livegrad.device(device).type)
