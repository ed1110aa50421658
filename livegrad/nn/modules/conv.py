"""Convolutions and transposed convolutions of one to three spatial dimensions."""

import math

import livegrad

from ...native import hot
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

_MODES = {"zeros", "reflect", "replicate", "circular"}


def _tuple(value, n):
    """One number for each of n dimensions; a sequence as it is."""
    return (value,) * n if isinstance(value, int) else tuple(value)


class _ConvNd(Module):
    __constants__ = [
        "stride", "padding", "dilation", "groups", "padding_mode", "output_padding", "in_channels", "out_channels",
        "kernel_size",
    ]  # fmt: skip
    _spatial: int

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation, transposed, output_padding, groups,
        bias, padding_mode, device, dtype,
    ):  # fmt: skip
        super().__init__()
        n = self._spatial
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        stride = _tuple(stride, n)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}")
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        else:
            padding = _tuple(padding, n)
        if padding_mode not in _MODES:
            raise ValueError(
                "padding_mode must be one of {'zeros', 'circular', 'reflect', 'replicate'}, but got "
                f"padding_mode={padding_mode!r}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _tuple(kernel_size, n)
        self.stride = stride
        self.padding = padding
        self.dilation = _tuple(dilation, n)
        self.transposed = transposed
        self.output_padding = _tuple(output_padding, n)
        self.groups = groups
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(livegrad.empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(livegrad.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws the weight and the bias anew, uniform in ±1/√(inputs of an output)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            inputs = self.weight.size(1) * math.prod(self.kernel_size)
            if inputs:
                bound = 1 / math.sqrt(inputs)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self):
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * len(self.padding):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.dilation):
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * len(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Forward(_ConvNd):
    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
        padding_mode="zeros", device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, False, 0, groups, bias, padding_mode,
            device, dtype,
        )  # fmt: skip

    def _borders(self):
        """What `pad` takes for this padding, from the last dimension to the first."""
        if self.padding == "valid":
            return [0] * (2 * self._spatial)
        borders = []
        for d, k, p in zip(self.dilation, self.kernel_size, self.padding if self.padding != "same" else self.stride):
            both = d * (k - 1) if self.padding == "same" else 2 * p
            borders = [both // 2, both - both // 2, *borders]
        return borders

    def _torch_attributes(self):
        """What PyTorch's class keeps beside these attributes, for files that it is to read."""
        return {"_reversed_padding_repeated_twice": self._borders()}

    @hot
    def forward(self, input):
        convolve = getattr(F, f"conv{self._spatial}d")
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._borders(), self.padding_mode), 0
        return convolve(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Forward):
    """Convolves (N, C, L) or (C, L) with a learned weight (out_channels, in_channels / groups, kernel_size).

    ``padding`` is a number of places at both ends, "valid" or "same"; ``padding_mode`` says what is there.
    Raises ValueError for channels that ``groups`` does not divide.
    """

    _spatial = 1


class Conv2d(_Forward):
    """Convolves (N, C, H, W) or (C, H, W) with a learned weight (out_channels, in_channels / groups, *kernel_size).

    ``padding`` is a number of places at both ends, "valid" or "same"; ``padding_mode`` says what is there.
    Raises ValueError for channels that ``groups`` does not divide.

    >>> import livegrad
    >>> from livegrad import nn
    >>> layer = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    >>> layer(livegrad.zeros(5, 3, 32, 32)).shape == (5, 8, 16, 16)
    True
    """

    _spatial = 2


class Conv3d(_Forward):
    """Convolves (N, C, D, H, W) or (C, D, H, W) with a learned weight.

    The weight is (out_channels, in_channels / groups, *kernel_size).
    ``padding`` is a number of places at both ends, "valid" or "same"; ``padding_mode`` says what is there.
    Raises ValueError for channels that ``groups`` does not divide.
    """

    _spatial = 3


class _ConvTransposeNd(_ConvNd):
    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True,
        dilation=1, padding_mode="zeros", device=None, dtype=None,
    ):  # fmt: skip
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, True, output_padding, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def _output_padding(self, input, wanted):
        """The output padding that gives the wanted size. Raises ValueError where none does."""
        if wanted is None:
            return self.output_padding
        n = self._spatial
        batched = input.dim() == n + 2
        leading = 2 if batched else 1
        wanted = tuple(wanted)
        if len(wanted) == leading + n:
            wanted = wanted[leading:]
        if len(wanted) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} or {leading + n} elements "
                f"(got {len(wanted)})"
            )
        sizes = input.shape[leading:]
        lowest = [
            (m - 1) * s - 2 * p + d * (k - 1) + 1
            for m, s, p, d, k in zip(sizes, self.stride, self.padding, self.dilation, self.kernel_size)
        ]
        highest = [low + s - 1 for low, s in zip(lowest, self.stride)]
        if any(not low <= size <= high for low, size, high in zip(lowest, wanted, highest)):
            raise ValueError(
                f"requested an output size of {wanted}, but valid sizes range from {lowest} to {highest} (for an input "
                f"of {input.size()[leading:]})"
            )
        return tuple(size - low for size, low in zip(wanted, lowest))

    @hot
    def forward(self, input, output_size=None):
        convolve = getattr(F, f"conv_transpose{self._spatial}d")
        extra = self._output_padding(input, output_size)
        return convolve(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)


class ConvTranspose1d(_ConvTransposeNd):
    """The transposed convolution of (N, C, L) or (C, L): maps shapes as the gradient of `Conv1d` does.

    ``output_padding``, or ``output_size`` of the call, chooses among the sizes that a stride leaves open.
    """

    _spatial = 1


class ConvTranspose2d(_ConvTransposeNd):
    """The transposed convolution of (N, C, H, W) or (C, H, W): maps shapes as the gradient of `Conv2d` does.

    ``output_padding``, or ``output_size`` of the call, chooses among the sizes that a stride leaves open.

    >>> import livegrad
    >>> from livegrad import nn
    >>> layer = nn.ConvTranspose2d(8, 3, 3, stride=2, padding=1)
    >>> layer(livegrad.zeros(5, 8, 16, 16), output_size=(32, 32)).shape == (5, 3, 32, 32)
    True
    """

    _spatial = 2


class ConvTranspose3d(_ConvTransposeNd):
    """The transposed convolution of (N, C, D, H, W) or (C, D, H, W): maps shapes as the gradient of `Conv3d` does.

    ``output_padding``, or ``output_size`` of the call, chooses among the sizes that a stride leaves open.
    """

    _spatial = 3
