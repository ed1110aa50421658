"""Tensors from and to other libraries without a copy, under PyTorch's name for the module."""

from typing import Any

from ..from_data import from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Any) -> Any:
    """A capsule that another library's ``from_dlpack`` takes, once."""
    return tensor.__dlpack__()
