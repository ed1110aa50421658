"""`accelerator`: the device beside the CPU, for programs that name none. Here it is CUDA, where there is a GPU."""

from __future__ import annotations

from typing import Any

from . import cuda
from . import device as _device

__all__ = [
    "current_accelerator", "current_device_idx", "current_device_index", "current_stream", "device_count",
    "device_index", "empty_cache", "is_available", "max_memory_allocated", "max_memory_reserved", "memory_allocated",
    "memory_reserved", "reset_peak_memory_stats", "set_device_idx", "set_device_index", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """Whether there is an accelerator that can be used."""
    return cuda.is_available()


def current_accelerator(check_available: bool = False) -> Any:
    """The accelerator, as a device without an index, or None.

    >>> import livegrad
    >>> where = livegrad.accelerator.current_accelerator() or "cpu"
    """
    return _device("cuda") if cuda.is_available() else None


def device_count() -> int:
    """How many accelerators can be used."""
    return cuda.device_count()


def current_device_index() -> int:
    """The index of the current accelerator. Raises RuntimeError where there is none."""
    return cuda.current_device()


def set_device_index(device: Any, /) -> None:
    """Choose the current accelerator."""
    cuda.set_device(device)


class device_index:
    """Context manager that chooses the current accelerator; None changes nothing."""

    def __init__(self, device: int | None, /):
        self._inside = cuda.device(device)

    def __enter__(self) -> None:
        self._inside.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self._inside.__exit__(*exc)


current_device_idx, set_device_idx = current_device_index, set_device_index


def current_stream(device: Any = None, /) -> Any:
    """The stream that work goes to."""
    return cuda.current_stream(device)


def synchronize(device: Any = None, /) -> None:
    """Wait until the accelerator has done all work. Without one there is nothing to wait for."""
    if cuda.is_available():
        cuda.synchronize(device)


def empty_cache() -> None:
    """Give back memory that is kept for reuse."""
    cuda.empty_cache()


def memory_allocated(device: Any = None, /) -> int:
    """Bytes in use by tensors."""
    return cuda.memory_allocated(device)


def max_memory_allocated(device: Any = None, /) -> int:
    """Most bytes in use by tensors so far."""
    return cuda.max_memory_allocated(device)


def memory_reserved(device: Any = None, /) -> int:
    """Bytes held, in use or kept for reuse."""
    return cuda.memory_reserved(device)


def max_memory_reserved(device: Any = None, /) -> int:
    """Most bytes held so far."""
    return cuda.max_memory_reserved(device)


def reset_peak_memory_stats(device: Any = None, /) -> None:
    """Count the peaks from here on."""
    cuda.reset_peak_memory_stats(device)
