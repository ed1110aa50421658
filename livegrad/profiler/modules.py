"""Ranges of modules in a profile (with_modules=True)."""

from __future__ import annotations

from typing import Any

from ..nn.global_hooks import register_module_forward_hook, register_module_forward_pre_hook
from ..nn.running import module_path
from .record import Recorder, Span


def watch_modules(recorder: Recorder) -> list:
    """Open a span for every module that runs; returns the hooks, to be removed."""
    opened: list[tuple[Any, Span]] = []

    def before(module: Any, args: Any) -> None:
        path = module_path()
        name = f"nn.Module: {type(module).__name__}" + (f" ({path})" if path else "")
        opened.append((module, recorder.open_range("module", name)))

    def after(module: Any, args: Any, result: Any) -> None:
        while opened:
            running, span = opened.pop()
            if running is module:  # others were left by an exception
                recorder.close(span)
                return

    return [register_module_forward_pre_hook(before), register_module_forward_hook(after)]


__all__ = ["watch_modules"]
