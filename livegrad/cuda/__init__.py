"""CUDA, as far as this version goes: it says that there is none, so that programs written for both run on the CPU.

>>> import livegrad
>>> livegrad.device("cuda" if livegrad.cuda.is_available() else "cpu")
device(type='cpu')
"""

from __future__ import annotations

from typing import Any, NoReturn

from livegrad import device as _device

__all__ = [
    "amp", "current_device", "device", "device_count", "empty_cache", "get_device_capability", "get_device_name",
    "get_device_properties", "init", "ipc_collect", "is_available", "is_bf16_supported", "is_initialized",
    "manual_seed", "manual_seed_all", "max_memory_allocated", "max_memory_reserved", "memory_allocated",
    "memory_reserved", "reset_peak_memory_stats", "seed", "seed_all", "set_device", "synchronize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "amp":  # which needs this module
        from importlib import import_module

        return import_module("livegrad.cuda.amp")
    raise AttributeError(f"module 'livegrad.cuda' has no attribute '{name}'")


def is_available() -> bool:
    """Whether tensors can be on a CUDA device: never in this version, whatever the machine has."""
    return False


def is_initialized() -> bool:
    """Whether CUDA is in use: never in this version."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current CUDA device computes in bfloat16: there is none."""
    return False


def device_count() -> int:
    """How many CUDA devices can be used: none in this version."""
    return 0


# What a program for both devices calls without asking first: accepted, as PyTorch accepts it without a GPU.


def manual_seed(seed: int) -> None:
    """Seed the current CUDA device's random numbers: nothing to do. `livegrad.manual_seed` seeds the CPU's."""


def manual_seed_all(seed: int) -> None:
    """Seed all CUDA devices' random numbers: nothing to do."""


def seed() -> None:
    """Seed the current CUDA device's random numbers from the system: nothing to do."""


def seed_all() -> None:
    """Seed all CUDA devices' random numbers from the system: nothing to do."""


def empty_cache() -> None:
    """Give unused CUDA memory back: there is none."""


def ipc_collect() -> None:
    """Give back CUDA memory shared between processes: there is none."""


def memory_allocated(device: Any = None) -> int:
    """Bytes of CUDA memory in use: 0."""
    return 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes of CUDA memory that were in use: 0."""
    return 0


def memory_reserved(device: Any = None) -> int:
    """Bytes of CUDA memory held: 0."""
    return 0


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes of CUDA memory that were held: 0."""
    return 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """Start measuring the peak anew: nothing to do."""


# What needs a device: an error that says so.


def _unsupported(what: str) -> NoReturn:
    raise RuntimeError(
        f"livegrad.cuda.{what}: this version of livegrad has no CUDA support and runs on the CPU only. "
        "Test livegrad.cuda.is_available() first."
    )


def init() -> None:
    """Start CUDA. Raises RuntimeError: this version has no CUDA support."""
    _unsupported("init()")


def current_device() -> int:
    """The index of the current CUDA device. Raises RuntimeError: there is none."""
    _unsupported("current_device()")


def set_device(device: Any) -> None:
    """Choose the current CUDA device. Raises RuntimeError: there is none."""
    _unsupported("set_device()")


def synchronize(device: Any = None) -> None:
    """Wait for a CUDA device. Raises RuntimeError: there is none."""
    _unsupported("synchronize()")


def get_device_name(device: Any = None) -> str:
    """A CUDA device's name. Raises RuntimeError: there is none."""
    _unsupported("get_device_name()")


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """A CUDA device's compute capability. Raises RuntimeError: there is none."""
    _unsupported("get_device_capability()")


def get_device_properties(device: Any = None) -> Any:
    """A CUDA device's properties. Raises RuntimeError: there is none."""
    _unsupported("get_device_properties()")


class device:
    """Context manager that chooses the current CUDA device; without one it does nothing, as in PyTorch.

    Raises RuntimeError for something that names no device.
    """

    def __init__(self, device: Any):
        if device is not None:
            _device(device)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: Any) -> None:
        pass
