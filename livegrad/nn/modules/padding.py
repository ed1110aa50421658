"""Padding as modules: constant, zero, reflection, replication and circular, in one to three dimensions."""

from .. import functional as F
from ..module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    """``padding``: one number for all ends, or (left, right), from the last dimension to the first."""

    __constants__ = ["padding"]
    _mode = "constant"
    _spatial: int

    def __init__(self, padding):
        super().__init__()
        self.padding = (padding,) * (2 * self._spatial) if isinstance(padding, int) else tuple(padding)

    def forward(self, input):
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self):
        return f"{self.padding}"


class _ConstantPad(_Pad):
    __constants__ = ["padding", "value"]

    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Pads the last dimension with ``value``."""

    _spatial = 1


class ConstantPad2d(_ConstantPad):
    """Pads the last two dimensions with ``value``."""

    _spatial = 2


class ConstantPad3d(_ConstantPad):
    """Pads the last three dimensions with ``value``."""

    _spatial = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """Pads the last dimension with zeros."""

    _spatial = 1


class ZeroPad2d(_ZeroPad):
    """Pads the last two dimensions with zeros."""

    _spatial = 2


class ZeroPad3d(_ZeroPad):
    """Pads the last three dimensions with zeros."""

    _spatial = 3


class _ReflectionPad(_Pad):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPad):
    """Pads the last dimension by mirroring, without repeating the edge."""

    _spatial = 1


class ReflectionPad2d(_ReflectionPad):
    """Pads the last two dimensions by mirroring, without repeating the edge."""

    _spatial = 2


class ReflectionPad3d(_ReflectionPad):
    """Pads the last three dimensions by mirroring, without repeating the edge."""

    _spatial = 3


class _ReplicationPad(_Pad):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPad):
    """Pads the last dimension by repeating the edge."""

    _spatial = 1


class ReplicationPad2d(_ReplicationPad):
    """Pads the last two dimensions by repeating the edge."""

    _spatial = 2


class ReplicationPad3d(_ReplicationPad):
    """Pads the last three dimensions by repeating the edge."""

    _spatial = 3


class _CircularPad(_Pad):
    _mode = "circular"

    def forward(self, input):
        if input.dim() not in (self._spatial + 1, self._spatial + 2):
            raise ValueError(f"expected {self._spatial + 1}D or {self._spatial + 2}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """Pads the last dimension by wrapping around."""

    _spatial = 1


class CircularPad2d(_CircularPad):
    """Pads the last two dimensions by wrapping around."""

    _spatial = 2


class CircularPad3d(_CircularPad):
    """Pads the last three dimensions by wrapping around."""

    _spatial = 3
