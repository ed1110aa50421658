"""What collective operations are given, checked before anything is sent."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor

__all__ = ["check_dtypes", "check_given", "check_parts", "check_tensor", "check_tensors"]


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


def check_given(name: str, given: object, here: bool, root: str) -> None:
    """Raises ValueError where a list is missing on the rank that needs one, or is given on another."""
    if here and not given:
        raise ValueError(f"Argument ``{name}`` must be specified on {root} rank.")
    if not here and given:
        raise ValueError(f"Argument ``{name}`` must NOT be specified on non-{root} ranks.")


def check_parts(call: str, name: str, parts: list[Tensor], tensor: Tensor, count: int) -> None:
    """Raises where a list does not hold, for each process, a tensor of the dtype and length of the one here."""
    check_tensors(name, parts, count)
    check_dtypes(tensor, *parts)
    for i, t in enumerate(parts):
        if t.numel() != tensor.numel():
            raise ValueError(
                f"{call}: {name}[{i}] has shape {list(t.shape)}, for tensors of shape {list(tensor.shape)}"
            )


def check_dtypes(*tensors: Tensor) -> None:
    """Raises ValueError where tensors have several dtypes."""
    for t in tensors:
        if t.dtype is not tensors[0].dtype:
            raise ValueError(f"Invalid usage of tensors with different dtypes: found {tensors[0].dtype} and {t.dtype}")
