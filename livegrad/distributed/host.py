"""Tensors as flat arrays in the CPU's memory, and back.

Other threads see arrays only: what is pending is evaluated, and results are put into tensors, in the caller's thread.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..autograd.mode import no_grad
from ..tensor import Tensor, from_native

__all__ = ["described", "flat", "put", "room", "snapshot"]


def described(name: str, tensor: Tensor, numel: int | None = None) -> str:
    """A call's text: what has to be the same everywhere, then what errors show beside it (see `channel.Call`)."""
    count = tensor.numel() if numel is None else numel
    return f"{name}|{tensor.dtype}|{count}|{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def snapshot(tensor: Tensor) -> np.ndarray:
    """A tensor's elements, in order, in memory of their own."""
    return np.array(tensor._to_numpy(), order="C").reshape(-1)


def flat(tensor: Tensor) -> np.ndarray:
    """A tensor's elements, in order, in memory that may be the tensor's own and must not be written to."""
    return np.ascontiguousarray(tensor._to_numpy()).reshape(-1)


def room(tensor: Tensor) -> np.ndarray:
    """Memory for a tensor's elements."""
    return np.empty(tensor.numel(), tensor.dtype.np)


def put(tensor: Tensor, array: np.ndarray) -> None:
    """Put elements into a tensor. The array belongs to it from then on."""
    with no_grad():
        tensor.copy_(from_native(array.reshape(tuple(tensor.shape))))  # type: ignore[attr-defined]


def put_all(tensors: Sequence[Tensor], arrays: Sequence[np.ndarray]) -> None:
    """`put` for several."""
    for tensor, array in zip(tensors, arrays):
        put(tensor, array)
