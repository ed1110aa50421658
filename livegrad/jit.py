"""`jit`, for programs that mark what is to be compiled: everything runs as it is, and is fused and compiled anyway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def script(obj: Any, *args: Any, **options: Any) -> Any:
    """The function, class or module itself.

    >>> import livegrad
    >>> @livegrad.jit.script
    ... def double(x):
    ...     return x * 2
    >>> double(livegrad.tensor(2.0))
    tensor(4.)
    """
    return obj


def trace(func: Any = None, example_inputs: Any = None, *args: Any, **options: Any) -> Any:
    """The function or module itself, so what depends on numbers goes on to depend on them; as a decorator, too."""
    return (lambda f: f) if func is None else func


def trace_module(mod: Any, inputs: Any = None, *args: Any, **options: Any) -> Any:
    """The module itself."""
    return mod


def script_if_tracing(fn: Callable) -> Callable:
    """The function itself."""
    return fn


def export(fn: Callable) -> Callable:
    """The method itself."""
    return fn


def unused(fn: Callable) -> Callable:
    """The method itself, which runs when it is called."""
    return fn


def ignore(drop: Any = False, **options: Any) -> Any:
    """The function itself; also as a decorator with arguments."""
    return drop if callable(drop) else lambda fn: fn


def freeze(mod: Any, *args: Any, **options: Any) -> Any:
    """The module itself."""
    return mod


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value."""
    return the_value


def is_scripting() -> bool:
    """False: Python runs."""
    return False


def is_tracing() -> bool:
    """False: Python runs."""
    return False


__all__ = [
    "annotate", "export", "freeze", "ignore", "is_scripting", "is_tracing", "script", "script_if_tracing", "trace",
    "trace_module", "unused",
]  # fmt: skip
