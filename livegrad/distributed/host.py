"""Tensors as flat arrays in the CPU's memory, and back.

Other threads see arrays only: what is pending is evaluated, and results are put into tensors, in the caller's thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd.mode import no_grad
from ..tensor import Tensor, from_native

__all__ = ["check_tensor", "check_tensors", "described", "flat", "put", "room", "snapshot"]


def check_tensor(name: str, tensor: Any) -> None:
    """Raises TypeError for what is no tensor."""
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` of type torch.Tensor\n"
            f"             but got {type(tensor)} instead."
        )


def check_tensors(name: str, tensors: Any, count: int | None = None) -> None:
    """Raises TypeError for what is no list of tensors, ValueError where there is not one for each process."""
    if not isinstance(tensors, (list, tuple)) or not all(isinstance(t, Tensor) for t in tensors):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` of type List[torch.Tensor]\n"
            f"             but got {type(tensors)} instead."
        )
    if count is not None and len(tensors) != count:
        raise ValueError(f"{name} has {len(tensors)} tensors, but the group has {count} processes")


def check_dtypes(*tensors: Tensor) -> None:
    """Raises ValueError where tensors have several dtypes."""
    for t in tensors:
        if t.dtype is not tensors[0].dtype:
            raise ValueError(f"Invalid usage of tensors with different dtypes: found {tensors[0].dtype} and {t.dtype}")


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
