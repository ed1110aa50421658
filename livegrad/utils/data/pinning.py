"""Batches in memory that a GPU copies from without help: pinned memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import livegrad

from ...site import warn
from .collate import _like_mapping, _like_sequence

__all__ = ["pinned", "wants_pinned"]


def wants_pinned(loader: Any) -> bool:
    """Whether a pass over this loader pins its batches. Warns where that was asked for and there is no GPU."""
    if not loader.pin_memory:
        return False
    if livegrad.cuda.is_available():
        return True
    warn(
        "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used.",
    )
    return False


def pinned(data: Any) -> Any:
    """A batch with all tensors in it pinned; what has a ``pin_memory()`` of its own is asked."""
    if hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: pinned(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(pinned(value) for value in data))
    if isinstance(data, tuple):
        return [pinned(value) for value in data]
    if isinstance(data, Sequence):
        return _like_sequence(data, [pinned(value) for value in data])
    return data
