"""Worker processes, under PyTorch's private name."""

from typing import Any

from ..worker import WorkerInfo, _numpy_seed, get_worker_info

__all__ = ["WorkerInfo", "get_worker_info"]


def _generate_state(base_seed: int, worker_id: int) -> list:
    """Four 32-bit words from a base seed and a worker's number, to seed NumPy with."""
    return [int(word) for word in _numpy_seed(base_seed, worker_id)]


def __getattr__(name: str) -> Any:
    if name == "_worker_info":
        return get_worker_info()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
