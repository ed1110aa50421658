"""The errors of processes that work together, and how long they wait for each other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

__all__ = ["DistBackendError", "DistError", "DistNetworkError", "DistStoreError", "QueueEmptyError", "seconds"]

# How long a process waits for the others where nothing is said, as in PyTorch.
DEFAULT_TIMEOUT = timedelta(minutes=30)
STORE_TIMEOUT = timedelta(minutes=5)


class DistError(RuntimeError):
    """What goes wrong between processes."""


class DistBackendError(DistError):
    """A collective operation failed: a process is gone, did not come in time, or called another operation."""


class DistStoreError(DistError):
    """A store did not have in time what was waited for."""


class DistNetworkError(DistError):
    """A connection could not be made, or a port not be listened on."""


class QueueEmptyError(DistStoreError):
    """A queue of a store has nothing in it."""


def seconds(timeout: Any, otherwise: timedelta = DEFAULT_TIMEOUT) -> float:
    """A timeout (a timedelta, a number of seconds, or None) in seconds. Raises TypeError for anything else."""
    if timeout is None:
        timeout = otherwise
    if isinstance(timeout, timedelta):
        return timeout.total_seconds()
    if isinstance(timeout, (int, float)) and not isinstance(timeout, bool):
        return float(timeout)
    raise TypeError(f"Expected timeout argument to be of type datetime.timedelta, got {timeout!r}")
