"""spectral_norm: a weight divided by its largest singular value, which power iteration estimates."""

import livegrad

from ..functional import normalize
from ..modules.conv import _ConvTransposeNd

__all__ = ["remove_spectral_norm", "spectral_norm"]


class SpectralNorm:
    """The hook that divides the weight before each call. In training each call takes steps of power iteration."""

    def __init__(self, name, n_power_iterations, dim, eps):
        self.name = name
        self.n_power_iterations = n_power_iterations
        self.dim = dim
        self.eps = eps

    def matrix(self, weight):
        """The weight with one dimension as rows and all others as columns."""
        return weight.movedim(self.dim, 0).reshape(weight.shape[self.dim], -1)

    def unit(self, x):
        return normalize(x, dim=0, eps=self.eps)

    def compute_weight(self, module, do_power_iteration):
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = self.matrix(weight)
        if do_power_iteration and self.n_power_iterations > 0:
            with livegrad.no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(self.unit(matrix.t().mv(u)))
                    u.copy_(self.unit(matrix.mv(v)))
                # The graph keeps what this call used, whatever the next one writes there.
                u, v = u.clone(), v.clone()
        return weight / u.dot(matrix.mv(v))

    def __call__(self, module, inputs):
        setattr(module, self.name, self.compute_weight(module, do_power_iteration=module.training))


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Keeps the largest singular value of a parameter at 1 (Miyato and others, 2018); returns the module.

    The parameter becomes ``name_orig``, and ``name_u`` and ``name_v`` are buffers with the estimates of the singular
    vectors. dim: which dimension counts as rows: the outputs', unless given.

    >>> import livegrad
    >>> layer = livegrad.nn.utils.spectral_norm(livegrad.nn.Linear(3, 2), n_power_iterations=50)
    >>> _ = layer(livegrad.ones(1, 3))
    >>> round(livegrad.linalg.matrix_norm(layer.weight, 2).item(), 4)
    1.0
    """
    if n_power_iterations <= 0:
        raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    if dim is None:
        dim = 1 if isinstance(module, _ConvTransposeNd) else 0
    hook = SpectralNorm(name, n_power_iterations, dim, eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    with livegrad.no_grad():
        rows, columns = hook.matrix(weight).shape
        u = hook.unit(weight.new_empty(rows).normal_(0, 1))
        v = hook.unit(weight.new_empty(columns).normal_(0, 1))
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    setattr(module, name, weight.data)
    module.register_buffer(name + "_u", u)
    module.register_buffer(name + "_v", v)
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module, name="weight"):
    """Puts one parameter, divided as it is now, in the place of the parts again; returns the module."""
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, SpectralNorm) and hook.name == name:
            with livegrad.no_grad():
                weight = hook.compute_weight(module, do_power_iteration=False)
            for each in (name, name + "_u", name + "_v", name + "_orig"):
                delattr(module, each)
            module.register_parameter(name, livegrad.nn.Parameter(weight.detach()))
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"spectral_norm of '{name}' not found in {module}")
