"""The switches of what is recorded, under PyTorch's name for their file."""

from .mode import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = ["enable_grad", "inference_mode", "no_grad", "set_grad_enabled"]
