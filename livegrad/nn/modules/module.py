"""The base of all modules, under PyTorch's name for its file."""

from ..module import Module

__all__ = ["Module"]
