"""Utilities: data loading, TensorBoard, checkpointing, timing."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "swap_tensors":
        from .swapping import swap_tensors

        return swap_tensors
    if name not in (
        "_pytree",
        "benchmark",
        "checkpoint",
        "data",
        "dlpack",
        "hooks",
        "model_zoo",
        "tensorboard",
        "weak",
    ):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")  # which makes it an attribute
