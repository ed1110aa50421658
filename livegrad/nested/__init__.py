"""Nested tensors: a batch of tensors that differ in the size of one dimension, without padding.

>>> import livegrad
>>> from livegrad import nested
>>> batch = nested.nested_tensor([[1.0, 2.0, 3.0], [4.0]], layout=livegrad.jagged)
>>> (batch * 2).to_padded_tensor(0.0)
tensor([[2., 4., 6.],
        [8., 0., 0.]])
"""

from .making import (
    as_nested_tensor,
    masked_select,
    narrow,
    nested_tensor,
    nested_tensor_from_jagged,
    to_padded_tensor,
)
from .tensor import NestedTensor

__all__ = [
    "NestedTensor", "as_nested_tensor", "masked_select", "narrow", "nested_tensor", "nested_tensor_from_jagged",
    "to_padded_tensor",
]  # fmt: skip
