"""Whether CuPy takes what the stand-in is asked for: names and parameters of its functions, where it is installed.

No device is needed for that, nor a driver: CuPy can be imported, and its functions' signatures can be read, without.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import re
from typing import Any


@functools.cache
def library() -> Any:
    """CuPy's module, or None where it is not installed."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("cupy")
    return None


@functools.cache
def found(path: str) -> Any:
    """What a dotted name means in CuPy. Raises AttributeError, or ImportError for a library of CUDA's that is missing."""
    if path.startswith("cupyx."):
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)
    return functools.reduce(getattr, path.split("."), library())


@functools.cache
def signature(path: str) -> inspect.Signature | None:
    """A function's parameters, read off its first line of documentation where Cython keeps them there; None: unknown."""
    function = found(path)
    ufunc = type(function).__name__ == "ufunc"
    if not ufunc:
        with contextlib.suppress(ValueError, TypeError):
            return inspect.signature(function)
    text = (function.__doc__ or "").strip().splitlines()[0].replace("\\", "")
    listed = re.fullmatch(r"[\w.]+\((.*)\).*", text)
    if listed is None:
        return None
    names = []
    for each in filter(None, (part.strip() for part in listed[1].split(","))):
        typed, _, default = each.partition("=")
        name = typed.split()[-1]
        if name != "self":
            names.append(name + ("=None" if default else ""))
    scope: dict = {}
    exec(f"def f({', '.join(names)}): pass", scope)  # noqa: S102
    return inspect.signature(scope["f"])


def check(path: str, args: tuple, kwargs: dict) -> None:
    """Raise AssertionError where CuPy has no such function, or where it does not take these arguments."""
    if library() is None:
        return
    try:
        known = signature(path)
        if known is not None:
            known.bind(*args, **kwargs)
    except (AttributeError, TypeError) as error:
        raise AssertionError(f"CuPy does not take this: {path}{known_text(path)}: {error}") from None


def known_text(path: str) -> str:
    """A function's parameters, for a message."""
    try:
        return str(signature(path))
    except AttributeError:
        return " (not there)"
