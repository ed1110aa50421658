"""What the pickles of files may use beside tensors and plain containers, because the caller has said so."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .names import NAME, torch_name
from .objects import library

__all__ = ["add_safe_globals", "clear_safe_globals", "get_safe_globals", "inert", "safe_class", "safe_globals"]

_SAFE: list[Any] = []


def add_safe_globals(safe_globals: list) -> None:
    """Let objects of these classes be loaded without ``weights_only=False``, with the functions in the list.

    An entry may be a pair of class and the full name that it has in files.
    """
    _SAFE.extend(safe_globals)


def get_safe_globals() -> list:
    """The classes and functions that were added."""
    return list(_SAFE)


def clear_safe_globals() -> None:
    """Forget what was added."""
    _SAFE.clear()


@contextmanager
def safe_globals(safe_globals: list) -> Iterator[None]:
    """Context manager: `add_safe_globals`, and as it was before afterwards."""
    before = list(_SAFE)
    _SAFE.extend(safe_globals)
    try:
        yield
    finally:
        _SAFE[:] = before


def safe_class(module: str, name: str) -> Any:
    """The class or function of that name among those that were added, or None."""
    for entry in _SAFE:
        if isinstance(entry, tuple):
            found, full = entry
            if full == f"{module}.{name}":
                return found
            continue
        own = getattr(entry, "__module__", None), getattr(entry, "__qualname__", None)
        if (module, name) in (own, torch_name(entry)):
            return entry
    return None


def inert(module: str, name: str) -> Any:
    """A function of `nn.functional` by its name, or None: to have one runs nothing, and pickles cannot call it."""
    if module != f"{NAME}.nn.functional" or not name.isidentifier():
        return None
    found = getattr(importlib.import_module(f"{library().__name__}.nn.functional"), name, None)
    return found if callable(found) and not isinstance(found, type) else None
