"""The table of translations, and how they are entered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["TABLE", "same", "translates"]

TABLE: dict[str, Callable] = {}


def translates(*names: str) -> Callable:
    """Decorator: enter a translation under the names of functions and methods; without names, under its own."""

    def enter(f: Callable) -> Callable:
        for name in names or (f.__name__.rstrip("_"),):
            TABLE[name] = f
        return f

    return enter


def same(kind: str, *names: str) -> None:
    """Enter operators of one tensor that ONNX has as they are; the operand has the result's dtype."""

    def translation(w: Any, input: Any, *rest: Any, **options: Any) -> Any:  # noqa: A002
        return w(kind, w.cast(input, w.out.dtype))

    for name in names:
        TABLE[name] = translation
