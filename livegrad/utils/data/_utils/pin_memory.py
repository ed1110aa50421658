"""Pinned batches, under PyTorch's private name."""

from typing import Any

from ..pinning import pinned

__all__ = ["pin_memory"]


def pin_memory(data: Any, device: Any = None) -> Any:
    """A batch with all tensors in it pinned."""
    return pinned(data)
