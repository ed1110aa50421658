"""Layers that learn how many inputs they have from the first one they see, and are ordinary layers from then on."""

import livegrad

from ..parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from .batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from .linear import Linear

__all__ = [
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d",
    "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyInstanceNorm3d", "LazyLinear",
]  # fmt: skip


class LazyModuleMixin:
    """A base for modules whose parameters get their shapes from the first input.

    Such a module makes parameters of `nn.UninitializedParameter` (and buffers of `nn.UninitializedBuffer`), and gives
    each its shape in ``initialize_parameters``, which is called with the arguments of the first call. From then on it
    is of the class `cls_to_become`, if that is given. The parameters are the same objects before and after, so an
    optimizer can be made before the first call. A state dict that is loaded gives shapes as well.

    >>> import livegrad
    >>> from livegrad import nn
    >>> class Scale(nn.modules.lazy.LazyModuleMixin, nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = nn.UninitializedParameter()
    ...     def initialize_parameters(self, x):
    ...         if self.has_uninitialized_params():
    ...             self.weight.materialize(x.shape[-1:])
    ...             nn.init.ones_(self.weight)
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> Scale()(livegrad.arange(3.0))
    tensor([0., 1., 2.], grad_fn=<MulBackward0>)
    """

    cls_to_become: type | None = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def initialize_parameters(self, *args, **kwargs):
        """Give all parameters and buffers shapes that fit the arguments of a call."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def _tensors(self):
        return [(n, t) for held in (self._parameters, self._buffers) for n, t in held.items() if t is not None]

    def has_uninitialized_params(self):
        """Whether the parameters, or some of them, are still to be made."""
        return any(is_lazy(t) for _, t in self._tensors())

    def _infer_parameters(self, module, args, kwargs=None):
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {self._get_name()} has not been fully initialized")
        module._initialize_hook.remove()
        del module._initialize_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become

    def _apply(self, fn, recurse=True):
        waiting = [name for name, b in self._buffers.items() if is_lazy(b)]
        super()._apply(fn, recurse)
        for name in waiting:  # the function has made plain tensors of them
            b = self._buffers[name]
            if not is_lazy(b):
                self._buffers[name] = UninitializedBuffer(device=b.device, dtype=b.dtype)
        return self

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, t in self._tensors():
            if is_lazy(t) and prefix + name in destination:
                destination[prefix + name] = t

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        waiting = set()
        for name, t in self._tensors():
            given = state_dict.get(prefix + name)
            if given is None or not is_lazy(t):
                continue
            if is_lazy(given):
                waiting.add(prefix + name)
            else:
                t.materialize(given.shape)
        state_dict = {key: value for key, value in state_dict.items() if key not in waiting}
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        missing_keys[:] = [key for key in missing_keys if key not in waiting]


class _LazyLayer(LazyModuleMixin):
    """A layer of the library, made for no inputs, whose parameters then wait for their shapes."""

    _size: str  # the attribute that the first input tells
    _made = False

    def __init__(self, *args, **options):
        super().__init__(0, *args, **options)
        for held, cls in ((self._parameters, UninitializedParameter), (self._buffers, UninitializedBuffer)):
            for name, t in held.items():
                if t is not None and t.dim():
                    held[name] = cls(device=t.device, dtype=t.dtype)
        self._made = True

    def reset_parameters(self):
        """Draws the parameters anew; nothing happens before they have shapes."""
        if self._made and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input):
        """Takes the number of inputs from the first input."""
        size = self._size_of(input)
        if not self.has_uninitialized_params():  # which a state dict has given shapes
            setattr(self, self._size, size)
            return
        shapes = self._shapes(size)
        setattr(self, self._size, size)
        for name, t in self._tensors():
            if is_lazy(t):
                t.materialize(shapes[name])
        with livegrad.no_grad():
            self.reset_parameters()


class LazyLinear(_LazyLayer, Linear):
    """A `Linear` without its first argument, which the first input tells.

    >>> import livegrad
    >>> from livegrad import nn
    >>> layer = nn.LazyLinear(2)
    >>> layer.weight
    <UninitializedParameter>
    >>> _ = layer(livegrad.ones(5, 3))
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    """

    cls_to_become = Linear
    _size = "in_features"

    def _size_of(self, input):
        return input.shape[-1]

    def _shapes(self, size):
        return {"weight": (self.out_features, size), "bias": (self.out_features,)}


class _LazyConv(_LazyLayer):
    _size = "in_channels"

    def _size_of(self, input):
        n = self._spatial
        if input.dim() not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {type(self).__name__}, but got input of "
                f"size: {input.shape}"
            )
        return input.shape[-1 - n]

    def _shapes(self, size):
        if size % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        first, second = (size, self.out_channels) if self.transposed else (self.out_channels, size)
        return {"weight": (first, second // self.groups, *self.kernel_size), "bias": (self.out_channels,)}


class _LazyNorm(_LazyLayer):
    _size = "num_features"

    def _size_of(self, input):
        return input.shape[1]

    def _shapes(self, size):
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (size,))


class _LazyInstanceNorm(_LazyNorm):
    """Whose channels are counted from the end, as a sample may come without a batch. It learns and keeps statistics."""

    def __init__(
        self, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None, *, bias=True
    ):
        super().__init__(eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _size_of(self, input):
        return input.shape[input.dim() - self._spatial - 1]


def _layer(kind, becomes, what):
    name = f"Lazy{becomes.__name__}"
    made = type(name, (kind, becomes), {"cls_to_become": becomes, "__module__": __name__})
    made.__doc__ = (
        f"A `{becomes.__name__}` without its first argument, the number of {what}, which the first input tells."
    )
    return made


LazyConv1d, LazyConv2d, LazyConv3d = (_layer(_LazyConv, c, "channels") for c in (Conv1d, Conv2d, Conv3d))
LazyConvTranspose1d, LazyConvTranspose2d, LazyConvTranspose3d = (
    _layer(_LazyConv, c, "channels") for c in (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)
)
LazyBatchNorm1d, LazyBatchNorm2d, LazyBatchNorm3d = (
    _layer(_LazyNorm, c, "features") for c in (BatchNorm1d, BatchNorm2d, BatchNorm3d)
)
LazyInstanceNorm1d, LazyInstanceNorm2d, LazyInstanceNorm3d = (
    _layer(_LazyInstanceNorm, c, "features") for c in (InstanceNorm1d, InstanceNorm2d, InstanceNorm3d)
)
