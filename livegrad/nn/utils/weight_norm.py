"""weight_norm: a weight as a length times a direction, each a parameter of its own."""

import livegrad

from ..parameter import Parameter

__all__ = ["remove_weight_norm", "weight_norm"]


def _length(v, dim):
    """The norm over all dimensions but one, which stays; over all if dim is None."""
    if dim is None:
        return v.norm()
    others = tuple(d for d in range(v.dim()) if d != dim % v.dim())
    return livegrad.linalg.vector_norm(v, dim=others, keepdim=True) if others else v.abs()


class WeightNorm:
    """The hook that puts the weight together before each call."""

    def __init__(self, name, dim):
        self.name = name
        self.dim = dim

    def compute_weight(self, module):
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / _length(v, self.dim))

    def __call__(self, module, inputs):
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module, name="weight", dim=0):
    """Replaces a parameter by its length ``name_g`` and its direction ``name_v``; returns the module.

    There is a length for each index of `dim`, or one for all if dim is None (Salimans and Kingma, 2016).

    >>> import livegrad
    >>> layer = livegrad.nn.utils.weight_norm(livegrad.nn.Linear(3, 2))
    >>> layer.weight_g.shape, layer.weight_v.shape
    (torch.Size([2, 1]), torch.Size([2, 3]))
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == name:
            raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    hook = WeightNorm(name, dim)
    weight = getattr(module, name)
    delattr(module, name)
    module.register_parameter(name + "_g", Parameter(_length(weight, dim).data))
    module.register_parameter(name + "_v", Parameter(weight.data))
    setattr(module, name, hook.compute_weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module, name="weight"):
    """Puts one parameter in the place of length and direction again; returns the module."""
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, WeightNorm) and hook.name == name:
            weight = hook.compute_weight(module)
            delattr(module, name)
            delattr(module, name + "_g")
            delattr(module, name + "_v")
            setattr(module, name, Parameter(weight.data))
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
