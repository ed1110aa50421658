"""Settings of PyTorch's compiler that programs write to, and `livegrad.compiler` under another name."""

import importlib
from types import SimpleNamespace
from typing import Any

from ..compiler import allow_in_graph, assume_constant_result, disable, is_compiling, list_backends, reset

__all__ = [
    "allow_in_graph", "assume_constant_result", "config", "disable", "is_compiling", "list_backends", "mark_dynamic",
    "mark_static", "mark_static_address", "maybe_mark_dynamic", "reset",
]  # fmt: skip

config = SimpleNamespace(suppress_errors=False, cache_size_limit=8, verbose=False)


def mark_static_address(t: Any, guard: bool = False) -> None:
    """Nothing is to be marked: no graph remembers where a tensor lies."""


def mark_dynamic(t: Any, index: Any, **options: Any) -> None:
    """Nothing is to be marked: a kernel does not depend on sizes."""


mark_static = maybe_mark_dynamic = mark_dynamic


def __getattr__(name: str) -> Any:
    if name not in ("OptimizedModule", "eval_frame"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    eval_frame = importlib.import_module(f"{__name__}.eval_frame")
    return eval_frame if name == "eval_frame" else eval_frame.OptimizedModule
