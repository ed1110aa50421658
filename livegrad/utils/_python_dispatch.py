"""Questions about classes of tensors that PyTorch's dispatcher would ask: it is not there, so none is asked."""

from typing import Any

from ..tensor import Tensor

__all__ = ["is_traceable_wrapper_subclass"]


def is_traceable_wrapper_subclass(t: Any) -> bool:
    """Whether something is a tensor, or a class of tensors, that can be taken apart into others and made of them."""
    is_tensor = isinstance(t, Tensor) or (isinstance(t, type) and issubclass(t, Tensor))
    return is_tensor and hasattr(t, "__tensor_flatten__") and hasattr(t, "__tensor_unflatten__")
