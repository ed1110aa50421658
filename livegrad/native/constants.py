"""What tells another process of functions and of objects that compiled code refers to, and finding those there.

A description is a tuple that can be kept on disk: ("builtin", name), ("types", name), ("global", module, dotted name),
("globals", module) for a module's namespace, ("str", text), ("bytes", text), ("int", n), ("float", hexadecimal) or
("tuple", description, ...).
"""

from __future__ import annotations

import builtins
import functools
import importlib
import re
import sys
import types
from collections.abc import Sequence
from typing import Any

from . import home

METHODS = "methods"  # the unit of what all compiled functions need; the others are named like their modules


def resolve(description: Sequence) -> Any:
    """The object that a description means."""
    kind, *rest = description
    if kind == "tuple":
        return tuple(resolve(part) for part in rest)
    if kind == "frozenset":
        return frozenset(resolve(part) for part in rest)
    if kind == "builtin":
        return {"None": None, "True": True, "False": False}.get(rest[0], getattr(builtins, rest[0], None))
    if kind == "types":
        return getattr(types, rest[0])
    if kind == "str":
        return sys.intern(rest[0])
    if kind == "bytes":
        return rest[0].encode()
    if kind == "int":
        return rest[0]
    if kind == "float":
        return float.fromhex(rest[0])
    module = sys.modules.get(rest[0]) or importlib.import_module(rest[0])
    if kind == "globals":
        return vars(module)
    return functools.reduce(getattr, rest[1].split("."), module)


def describe_class(cls: type) -> tuple:
    if getattr(builtins, cls.__name__, None) is cls:
        return ("builtin", cls.__name__)
    if cls.__module__ == "builtins":
        return ("types", next(n for n, v in vars(types).items() if v is cls))
    return ("global", home(cls), cls.__qualname__)


def module_of(function: Any) -> str:
    """The module that a function is written in."""
    return function.__globals__["__name__"]


def symbol(function: Any) -> str:
    """The name of a function's code, the same in every process."""
    name = f"{module_of(function)}.{function.__code__.co_qualname}.{function.__code__.co_firstlineno}"
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)


def defaults(function: Any) -> str:
    """The defaults of a function, which are part of its machine code."""
    return repr((function.__defaults__, function.__kwdefaults__))


def is_whole(module: str) -> bool:
    """Whether a module has been imported to the end."""
    found = sys.modules.get(module)
    return found is not None and not getattr(found.__spec__, "_initializing", False)
