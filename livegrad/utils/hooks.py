"""Handles of hooks, under PyTorch's name for the module."""

from ..nn.hooks import RemovableHandle

__all__ = ["RemovableHandle"]
