"""Copies of a tensor for several devices, and one tensor from several devices. Gradients flow back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import livegrad
from livegrad import Tensor

__all__ = ["broadcast", "gather", "reduce_add", "scatter"]


def _device(d: Any) -> Any:
    return livegrad.device("cuda", d) if isinstance(d, int) else livegrad.device(d)


def broadcast(tensor: Tensor, devices: Sequence[Any]) -> tuple[Tensor, ...]:
    """The tensor on each of the devices; itself where it is already."""
    return tuple(tensor.to(_device(d)) for d in devices)  # type: ignore[attr-defined]


def scatter(
    tensor: Tensor, devices: Sequence[Any], chunk_sizes: Sequence[int] | None = None, dim: int = 0
) -> tuple[Tensor, ...]:
    """Pieces along a dimension, one on each device: of equal sizes, or of those given.

    Where there are fewer pieces than devices, the last devices get none. Raises RuntimeError where the sizes do not add
    up.
    """
    if chunk_sizes is None:
        pieces = tensor.chunk(len(devices), dim)  # type: ignore[attr-defined]
    else:
        if len(chunk_sizes) != len(devices) or sum(chunk_sizes) != tensor.shape[dim]:
            raise RuntimeError(
                f"scatter: {list(chunk_sizes)} are no sizes for {len(devices)} devices of a tensor of shape "
                f"{list(tensor.shape)} along dimension {dim}"
            )
        pieces = tensor.split(list(chunk_sizes), dim)  # type: ignore[attr-defined]
    return tuple(piece.to(_device(d)) for piece, d in zip(pieces, devices))


def gather(tensors: Sequence[Tensor], dim: int = 0, destination: Any = None) -> Tensor:
    """The tensors one after the other along a dimension, on a device: the first tensor's unless given."""
    where = tensors[0].device if destination is None else _device(destination)
    return livegrad.cat([t.to(where) for t in tensors], dim)  # type: ignore[attr-defined]


def reduce_add(inputs: Sequence[Tensor], destination: Any = None) -> Tensor:
    """Their sum, on a device: the first tensor's unless given. Raises ValueError where shapes differ."""
    if any(t.shape != inputs[0].shape for t in inputs):
        raise ValueError(f"reduce_add: tensors of one shape are added, not of {[list(t.shape) for t in inputs]}")
    where = inputs[0].device if destination is None else _device(destination)
    total = inputs[0].to(where)  # type: ignore[attr-defined]
    for t in inputs[1:]:
        total = total + t.to(where)  # type: ignore[attr-defined]
    return total
