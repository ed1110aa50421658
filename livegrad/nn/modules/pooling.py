"""Pooling as modules."""

from .. import functional as F
from ..module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "FractionalMaxPool2d", "FractionalMaxPool3d",
    "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d",
    "MaxUnpool3d",
]  # fmt: skip


class _MaxPool(Module):
    __constants__ = ["kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"]
    _spatial: int

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input):
        pool = getattr(F, f"max_pool{self._spatial}d")
        return pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self):
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of each window of (N, C, L) or (C, L); with ``return_indices`` also where it is."""

    _spatial = 1


class MaxPool2d(_MaxPool):
    """The largest element of each window of (N, C, H, W) or (C, H, W); with ``return_indices`` also where it is.

    >>> import livegrad
    >>> from livegrad import nn
    >>> nn.MaxPool2d(2)(livegrad.arange(16.).reshape(1, 4, 4)).tolist()
    [[[5.0, 7.0], [13.0, 15.0]]]
    """

    _spatial = 2


class MaxPool3d(_MaxPool):
    """The largest element of each window of (N, C, D, H, W) or (C, D, H, W); with ``return_indices`` also where."""

    _spatial = 3


class _FractionalMaxPool(Module):
    __constants__ = ["kernel_size", "return_indices", "output_size", "output_ratio"]
    _spatial: int

    def __init__(self, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None):
        super().__init__()
        n, name = self._spatial, type(self).__name__

        def each(value, kinds):
            return (value,) * n if isinstance(value, kinds) else tuple(value)

        self.kernel_size = each(kernel_size, int)
        if any(k <= 0 for k in self.kernel_size):
            raise ValueError(f"kernel_size must greater than zero, but got {self.kernel_size}")
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else each(output_size, int)
        self.output_ratio = None if output_ratio is None else each(output_ratio, (int, float))
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input):
        return getattr(F, f"fractional_max_pool{self._spatial}d")(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            _random_samples=self._random_samples,
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest element of windows of (N, C, H, W) or (C, H, W), as many as ``output_size``, at drawn distances.

    >>> import livegrad
    >>> from livegrad import nn
    >>> nn.FractionalMaxPool2d(2, output_ratio=0.6)(livegrad.randn(1, 3, 10, 20)).shape
    torch.Size([1, 3, 6, 12])
    """

    _spatial = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """The largest element of windows of (N, C, T, H, W) or (C, T, H, W), at drawn distances."""

    _spatial = 3


class _MaxUnpool(Module):
    _spatial: int

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()

        def each(value):
            return (value,) * self._spatial if isinstance(value, int) else tuple(value)

        self.kernel_size = each(kernel_size)
        self.stride = each(stride if stride is not None else kernel_size)
        self.padding = each(padding)

    def forward(self, input, indices, output_size=None):
        unpool = getattr(F, f"max_unpool{self._spatial}d")
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Puts elements where `MaxPool1d` found them; zeros elsewhere."""

    _spatial = 1


class MaxUnpool2d(_MaxUnpool):
    """Puts elements where `MaxPool2d` found them; zeros elsewhere."""

    _spatial = 2


class MaxUnpool3d(_MaxUnpool):
    """Puts elements where `MaxPool3d` found them; zeros elsewhere."""

    _spatial = 3


class AvgPool1d(Module):
    """The mean of each window of (N, C, L) or (C, L)."""

    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"]

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        super().__init__()

        def each(value):
            return (value,) if isinstance(value, int) else tuple(value)

        self.kernel_size = each(kernel_size)
        self.stride = each(stride if stride is not None else kernel_size)
        self.padding = each(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input):
        return F.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )  # fmt: skip

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"]
    _spatial: int

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input):
        pool = getattr(F, f"avg_pool{self._spatial}d")
        return pool(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """The mean of each window of (N, C, H, W) or (C, H, W)."""

    _spatial = 2


class AvgPool3d(_AvgPool):
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W)."""

    _spatial = 3


class _LPPool(Module):
    __constants__ = ["norm_type", "kernel_size", "stride", "ceil_mode"]
    _spatial: int

    def __init__(self, norm_type, kernel_size, stride=None, ceil_mode=False):
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input):
        pool = getattr(F, f"lp_pool{self._spatial}d")
        return pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self):
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The ``norm_type``-norm of each window of (N, C, L) or (C, L)."""

    _spatial = 1


class LPPool2d(_LPPool):
    """The ``norm_type``-norm of each window of (N, C, H, W) or (C, H, W)."""

    _spatial = 2


class LPPool3d(_LPPool):
    """The ``norm_type``-norm of each window of (N, C, D, H, W) or (C, D, H, W)."""

    _spatial = 3


class _AdaptiveAvgPool(Module):
    __constants__ = ["output_size"]
    _spatial: int

    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def forward(self, input):
        return getattr(F, f"adaptive_avg_pool{self._spatial}d")(input, self.output_size)

    def extra_repr(self):
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The mean over windows that share out (N, C, L) or (C, L) into ``output_size`` results."""

    _spatial = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The mean over windows that share out (N, C, H, W) or (C, H, W) into ``output_size`` results."""

    _spatial = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The mean over windows that share out (N, C, D, H, W) or (C, D, H, W) into ``output_size`` results."""

    _spatial = 3


class _AdaptiveMaxPool(Module):
    __constants__ = ["output_size", "return_indices"]
    _spatial: int

    def __init__(self, output_size, return_indices=False):
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input):
        return getattr(F, f"adaptive_max_pool{self._spatial}d")(input, self.output_size, self.return_indices)

    def extra_repr(self):
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest element of windows that share out (N, C, L) or (C, L) into ``output_size`` results."""

    _spatial = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest element of windows that share out (N, C, H, W) or (C, H, W) into ``output_size`` results."""

    _spatial = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest element of windows that share out (N, C, D, H, W) or (C, D, H, W) into ``output_size`` results."""

    _spatial = 3
