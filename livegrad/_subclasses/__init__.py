"""What libraries ask of PyTorch's tensors without data, which tracing makes there: here there are none."""

from .fake_tensor import FakeTensor

__all__ = ["FakeTensor"]
