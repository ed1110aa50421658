"""The Python forms of functions that somebody took hold of before the compiled ones were put in their place.

A function is pickled by its name, which has to lead to that very function; but where these were, there are now others.
So they get names in this module. Read in another process, such a name means what is in the old place there.
"""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

_kept: dict[str, Any] = {}


def is_named(function: Any) -> bool:
    """Whether a function is where its name says."""
    try:
        # Not by importing: the module may be the package, whose import waits for this.
        module = sys.modules[function.__module__]
        return functools.reduce(getattr, function.__qualname__.split("."), module) is function
    except (AttributeError, KeyError):
        return False


def keep(function: Any) -> None:
    """Give a function that was where its name says, and is no more, a name in this module."""
    name = f"{function.__module__}:{function.__qualname__}".replace(".", "/")
    _kept[name] = function
    function.__module__, function.__qualname__ = __name__, name


def __getattr__(name: str) -> Any:
    if name in _kept:
        return _kept[name]
    module, separator, path = name.partition(":")
    if not separator:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return functools.reduce(getattr, path.split("/"), importlib.import_module(module.replace("/", ".")))
