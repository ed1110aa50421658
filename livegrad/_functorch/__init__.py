"""PyTorch's private package behind `func`, as far as libraries take something from it."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Its modules are imported when they are asked for."""
    import importlib

    if name in ("deprecated", "make_functional", "vmap"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
