"""Marks in a model for where quantised arithmetic would begin and end. They hand on what they get."""

from typing import Any

from ...nn.module import Module

__all__ = ["DeQuantStub", "FakeQuantizeBase", "ObserverBase", "QuantStub"]


class QuantStub(Module):
    """Where quantised arithmetic would begin: gives back its input, as in PyTorch before `convert`."""

    def __init__(self, qconfig: Any = None):
        super().__init__()
        if qconfig is not None:
            self.qconfig = qconfig

    def forward(self, x: Any) -> Any:
        return x


class DeQuantStub(QuantStub):
    """Where quantised arithmetic would end: gives back its input."""


class ObserverBase(Module):
    """Not there: a name to compare with. Making one raises NotImplementedError."""

    def __init__(self, *args: Any, **kwargs: Any):
        raise NotImplementedError(f"{type(self).__name__} is not there: tensors are not quantised")


class FakeQuantizeBase(ObserverBase):
    """Not there: a name to compare with. Making one raises NotImplementedError."""
