"""`jit`, for programs that mark what is to be compiled: everything runs as it is, and is fused and compiled anyway."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final

from ..nn.module import Module


class ScriptModule(Module):
    """A base class for modules, which PyTorch compiles. No other module is one: `script` and `trace` change nothing."""


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


_script_if_tracing = script_if_tracing


def export(fn: Callable) -> Callable:
    """The method itself."""
    return fn


_overload = _overload_method = export


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


def script_method(fn: Callable) -> Callable:
    """The method itself."""
    return fn


def isinstance(obj: Any, target_type: Any) -> bool:  # noqa: A001
    """Whether an object is of a type; of ``list[int]`` and its like, only the outer type is looked at."""
    types: tuple[Any, ...] = target_type if builtins.isinstance(target_type, tuple) else (target_type,)
    plain: Any = tuple(getattr(t, "__origin__", t) for t in types)
    return builtins.isinstance(obj, plain)


def Attribute(value: Any, type: Any) -> Any:  # noqa: A002, N802
    """The value."""
    return value


class Future:
    """The result of `fork`, which is there already."""

    def __init__(self, value: Any):
        self._value = value

    def wait(self) -> Any:
        """The result."""
        return self._value

    value = wait

    def done(self) -> bool:
        """True."""
        return True


def fork(func: Callable, *args: Any, **kwargs: Any) -> Future:
    """Call the function and keep its result for `wait`: nothing runs at the same time."""
    return Future(func(*args, **kwargs))


def wait(future: Future) -> Any:
    """The result of what was forked."""
    return future.wait()


def optimize_for_inference(mod: Any, *args: Any, **options: Any) -> Any:
    """The module itself."""
    return mod


def optimized_execution(should_optimize: bool) -> Any:
    """A context manager that changes nothing."""
    return nullcontext()


def is_scripting() -> bool:
    """False: Python runs."""
    return False


def is_tracing() -> bool:
    """False: Python runs."""
    return False


__all__ = [
    "Attribute", "Final", "Future", "ScriptModule", "annotate", "export", "fork", "freeze", "ignore", "is_scripting",
    "is_tracing", "isinstance", "optimize_for_inference", "optimized_execution", "script", "script_if_tracing",
    "script_method", "trace", "trace_module", "unused", "wait",
]  # fmt: skip
