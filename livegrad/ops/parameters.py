"""The names of a function's parameters, several times faster than `inspect.signature`: every declaration asks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType


def parameters(function: Callable) -> tuple[str, ...]:
    """The names of all parameters, in order."""
    if function.__class__ is not FunctionType or hasattr(function, "__wrapped__"):
        return tuple(inspect.signature(function).parameters)
    code = function.__code__  # type: ignore[attr-defined]
    names = code.co_varnames
    plain, keyword = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    starred = bool(code.co_flags & inspect.CO_VARARGS)
    found = names[:plain] + names[keyword : keyword + starred] + names[plain:keyword]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        found += (names[keyword + starred],)
    return found
