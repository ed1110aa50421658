"""How much of a CUDA device's memory is in use, and by what. Figures are in bytes; they are 0 without a device."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from .. import memory as _everywhere
from ..memory import OutOfMemoryError
from ..runtime.cuda import driver as _driver
from ..runtime.cuda import memory as _memory
from ..runtime.refusal import amount as _amount
from ._which import index_of as _index

__all__ = [
    "OutOfMemoryError", "empty_cache", "max_memory_allocated", "max_memory_cached", "max_memory_reserved",
    "mem_get_info", "memory_allocated", "memory_cached", "memory_reserved", "memory_stats", "memory_summary",
    "reset_accumulated_memory_stats", "reset_max_memory_allocated", "reset_max_memory_cached",
    "reset_peak_memory_stats", "set_per_process_memory_fraction",
]  # fmt: skip


def memory_allocated(device: Any = None) -> int:
    """Bytes of a CUDA device's memory that tensors use."""
    return _memory.used(_index(device)) if _driver.available() else 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors used at once since the start, or since `reset_peak_memory_stats`."""
    return _memory.peak(_index(device)) if _driver.available() else 0


def memory_reserved(device: Any = None) -> int:
    """Bytes of a CUDA device's memory that are held for tensors, in use or not."""
    return _memory.reserved(_index(device)) if _driver.available() else 0


max_memory_reserved = memory_reserved  # what was reserved stays so until `empty_cache`
memory_cached, max_memory_cached = memory_reserved, max_memory_reserved  # their older names


def memory_stats(device: Any = None) -> OrderedDict[str, int]:
    """Figures by PyTorch's names, as far as there are such figures here; empty without a device."""
    if not _driver.available():
        return OrderedDict()
    found = _memory.stats(_index(device))
    return OrderedDict(sorted(found.items()))


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let the peaks start again from what is in use now."""
    if _driver.available():
        _memory.reset_peak(_index(device))


def reset_accumulated_memory_stats(device: Any = None) -> None:
    """Let the counts of allocations start again."""
    if _driver.available():
        _memory.reset_counts(_index(device))


reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats  # older names


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(bytes that are free on the device, all that it has), as its driver counts them.

    Raises RuntimeError without a device.
    """
    cupy = _driver.cupy()
    with _driver.on(_index(device)):
        free, total = cupy.cuda.runtime.memGetInfo()
    return int(free), int(total)


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Let this process hold no more than a part of a device's memory: more raises OutOfMemoryError.

    Raises ValueError for what is no part, RuntimeError without a device.
    """
    if not isinstance(fraction, float):
        raise TypeError("Invalid type for fraction argument, must be `float`")
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    cupy = _driver.cupy()
    with _driver.on(_index(device)):
        cupy.get_default_memory_pool().set_limit(fraction=fraction)


def empty_cache() -> None:
    """Give memory that no tensor uses back to the device."""
    if _driver.available():
        _memory.empty_cache()


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """A table to print: figures, and the largest live tensors on CUDA devices with the lines that made them.

    abbreviated: the figures alone. Raises RuntimeError without a device.
    """
    _driver.cupy()
    index = _index(device)
    found, (free, total) = _memory.stats(index), mem_get_info(index)
    lines = [
        f"cuda:{index}",
        f"in use      {_amount(found['allocated_bytes.all.current']):>11}   by tensors",
        f"peak        {_amount(found['allocated_bytes.all.peak']):>11}",
        f"reserved    {_amount(found['reserved_bytes.all.current']):>11}   by this process, in use or not",
        f"free        {_amount(free):>11}   of {_amount(total)}",
        f"allocations {found['allocation.all.allocated']:>11}   {found['allocation.all.current']} of them alive",
    ]
    if not abbreviated:
        lines += ["", "largest, on all CUDA devices", *(f"  {live}" for live in _everywhere._alive("cuda")[:10])]
    return "\n".join(lines)
