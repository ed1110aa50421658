"""What libraries of optimizers ask about functions of lists of tensors (``_foreach_add`` and so on)."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor

__all__: list[str] = []


def _group_tensors_by_device_and_dtype(tensorlistlist: list[list], with_indices: bool = False) -> dict:
    """Lists of tensors, split by the device and dtype of the first list's tensors.

    tensorlistlist: lists of one length, whose entries belong together; entries of all but the first may be None. The
    result maps (device, dtype) to the lists and the positions that the tensors had, which are none unless asked for.

    >>> import livegrad
    >>> tensors = [livegrad.ones(1), livegrad.ones(1, dtype=livegrad.float64)]
    >>> groups = _group_tensors_by_device_and_dtype([tensors], True)
    >>> [indices for lists, indices in groups.values()]
    [[0], [1]]
    """
    groups: dict[tuple, tuple[list[list], list[int]]] = {}
    for i, row in enumerate(zip(*tensorlistlist, strict=True)):
        key = row[0].device, row[0].dtype
        lists, indices = groups.setdefault(key, ([[] for _ in tensorlistlist], []))
        for values, value in zip(lists, row):
            values.append(value)
        if with_indices:
            indices.append(i)
    return groups


def _get_foreach_kernels_supported_devices() -> list[str]:
    """Devices where updates of many tensors become few kernels: all but the CPU, where PyTorch says so as well."""
    return ["cuda"]


def _get_fused_kernels_supported_devices() -> list[str]:
    """Devices where an optimizer's whole step is one kernel, which it is everywhere."""
    return ["cuda", "cpu"]


def _device_has_foreach_support(device: Any) -> bool:
    """Whether functions of lists are there for a device."""
    return device.type in ("cpu", "cuda")


def _has_foreach_support(tensors: list, device: Any) -> bool:
    """Whether functions of lists take these: tensors, or None."""
    return _device_has_foreach_support(device) and all(t is None or isinstance(t, Tensor) for t in tensors)
