"""Older ways to make tensors on the current CUDA device: ``livegrad.cuda.FloatTensor(2, 3)``, and to ask for a type."""

from __future__ import annotations

from ..legacy import on_cuda

__all__ = [
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor",
    "IntTensor", "LongTensor", "ShortTensor",
]  # fmt: skip

FloatTensor = on_cuda("FloatTensor")
DoubleTensor = on_cuda("DoubleTensor")
HalfTensor = on_cuda("HalfTensor")
BFloat16Tensor = on_cuda("BFloat16Tensor")
ByteTensor = on_cuda("ByteTensor")
CharTensor = on_cuda("CharTensor")
ShortTensor = on_cuda("ShortTensor")
IntTensor = on_cuda("IntTensor")
LongTensor = on_cuda("LongTensor")
BoolTensor = on_cuda("BoolTensor")
