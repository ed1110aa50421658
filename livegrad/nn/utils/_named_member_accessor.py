"""Tensors of a module by their names."""

from typing import Any

from ...tensor import Tensor

__all__ = ["swap_tensor"]


def swap_tensor(module: Any, name: str, tensor: Any, allow_missing: bool = False) -> Any:
    """Put a tensor in the place of a module's own parameter or buffer, and return what was there.

    None takes it away, which is for what was not there before. Raises KeyError for names with dots and for "",
    AttributeError for a name that the module has not, unless it may be missing, TypeError for what is no tensor.
    """
    if name == "" or "." in name:
        raise KeyError('tensor name can\'t be empty string ""' if name == "" else f"tensor name {name!r} has a dot")
    if tensor is not None and not isinstance(tensor, Tensor):
        raise TypeError(f"{tensor} is not an instance of torch.Tensor")
    for registry in (module._parameters, module._buffers):
        if name in registry:
            before = registry[name]
            if tensor is None:
                del registry[name]
            else:
                module._put(registry, name, tensor)
            return before
    before = getattr(module, name, None)
    if before is None and not allow_missing:
        raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
    if tensor is None:
        if before is not None:
            delattr(module, name)
    else:
        setattr(module, name, tensor)
    return before
