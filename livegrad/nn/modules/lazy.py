"""Layers that learn how many inputs they have from the first one they see, and are ordinary layers from then on."""

from ..module import Module
from .batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from .linear import Linear

__all__ = [
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d",
    "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyInstanceNorm3d", "LazyLinear",
]  # fmt: skip


class _Lazy(Module):
    """A layer without parameters yet. The first call makes them and changes the class to that of the layer."""

    _becomes: type
    _dim = 1  # where the input's size is

    def __init__(self, *args, **options):
        super().__init__()
        self._given = (args, options)

    def has_uninitialized_params(self):
        """Whether the parameters are still to be made."""
        return True

    def forward(self, input):
        args, options = self._given
        becomes = self._becomes
        made = becomes(input.shape[self._dim], *args, **options)
        made.train(self.training)
        for name, value in made.__dict__.items():
            if name not in Module().__dict__ or name in ("_parameters", "_buffers"):
                self.__dict__[name] = value
        del self.__dict__["_given"]
        self.__class__ = becomes
        return becomes.forward(self, input)


def _layer(name, becomes, dim, text):
    made = type(name, (_Lazy,), {"_becomes": becomes, "_dim": dim, "__module__": __name__})
    made.__doc__ = f"A `{becomes.__name__}` without its first argument, {text}, which the first input tells."
    return made


class LazyLinear(_Lazy):
    """A `Linear` without its first argument, which the first input tells.

    >>> import livegrad
    >>> from livegrad import nn
    >>> layer = nn.LazyLinear(2)
    >>> _ = layer(livegrad.ones(5, 3))
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    """

    _becomes = Linear
    _dim = -1

    def __init__(self, out_features, bias=True, device=None, dtype=None):
        super().__init__(out_features, bias, device, dtype)

    def extra_repr(self):
        out_features, bias, *_ = self._given[0]
        return f"in_features=0, out_features={out_features}, bias={bias}"


# Channels are counted from the end, as a sample may come without a batch.
LazyConv1d, LazyConv2d, LazyConv3d = (
    _layer(f"Lazy{c.__name__}", c, -2 - k, "the number of channels") for k, c in enumerate((Conv1d, Conv2d, Conv3d))
)
LazyConvTranspose1d, LazyConvTranspose2d, LazyConvTranspose3d = (
    _layer(f"Lazy{c.__name__}", c, -2 - k, "the number of channels")
    for k, c in enumerate((ConvTranspose1d, ConvTranspose2d, ConvTranspose3d))
)
LazyBatchNorm1d, LazyBatchNorm2d, LazyBatchNorm3d = (
    _layer(f"Lazy{c.__name__}", c, 1, "the number of features") for c in (BatchNorm1d, BatchNorm2d, BatchNorm3d)
)


class _LazyInstanceNorm(_Lazy):
    """Whose channels are counted from the end, as a sample may come without a batch. It learns and keeps statistics."""

    def __init__(
        self, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None, *, bias=True
    ):
        super().__init__(eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input):
        self._dim = input.dim() - self._becomes._spatial - 1
        return super().forward(input)


def _instance_norm(becomes):
    made = type(f"Lazy{becomes.__name__}", (_LazyInstanceNorm,), {"_becomes": becomes, "__module__": __name__})
    made.__doc__ = f"A `{becomes.__name__}` without its first argument, the number of features, which the input tells."
    return made


LazyInstanceNorm1d, LazyInstanceNorm2d, LazyInstanceNorm3d = map(
    _instance_norm, (InstanceNorm1d, InstanceNorm2d, InstanceNorm3d)
)
