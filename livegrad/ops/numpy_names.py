"""NumPy's names of parameters, which PyTorch's functions take as well: axis for dim, keepdims for keepdim."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from ..native import HOT, front, hot
from .parameters import parameters

__all__ = ["with_numpy_names"]

NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def _starred(f: Callable) -> str:
    """The parameter that takes what is given one by one, such as sizes; they may also be named, in one sequence."""
    code = getattr(f, "__code__", None)
    if code is None or not code.co_flags & inspect.CO_VARARGS or hasattr(f, "__wrapped__"):
        return ""
    return code.co_varnames[code.co_argcount + code.co_kwonlyargcount]


def with_numpy_names(f: Callable, more: dict[str, str] | None = None) -> Callable:
    """The function, that also takes NumPy's names of the parameters that it has, and more: name -> its own.

    What it takes one by one may be given as one sequence by name: permute(dims=(1, 0)).
    """
    names = parameters(f)
    both = NUMPY_NAMES if more is None else {**NUMPY_NAMES, **more}
    known = {other: own for other, own in both.items() if own in names and other not in names}
    star = _starred(f)
    if not known and not star:
        return f

    @functools.wraps(f)
    @hot
    def function(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            for other, own in known.items():
                if other in kwargs:
                    if own in kwargs:
                        raise TypeError(f"{f.__name__}() got both {own!r} and {other!r}, which name one argument")
                    kwargs[own] = kwargs.pop(other)
            if star and star in kwargs:
                args = _with_sequence(f.__name__, star, args, kwargs.pop(star))
        return f(*args, **kwargs)

    if isinstance(function, FunctionType) and getattr(f, "__code__", None) in HOT:  # both are Python yet
        front(function, f)
    return function


def _with_sequence(name: str, star: str, args: tuple, given: Any) -> tuple:
    if isinstance(given, int) or len(args) > 1:
        how = "given twice" if len(args) > 1 else "must be tuple of ints, not int"
        raise TypeError(f"{name}(): argument '{star}' {how}")
    return (*args, given)
