"""The objects that compiled code refers to, from their descriptions.

A description is a tuple that can be kept on disk: ("builtin", name), ("types", name), ("global", module, dotted name),
("globals", module) for a module's namespace, ("str", text), ("bytes", text), ("int", n), ("float", hexadecimal) or
("tuple", description, ...).
"""

from __future__ import annotations

import builtins
import functools
import importlib
import sys
import types
from collections.abc import Sequence
from typing import Any


def resolve(description: Sequence) -> Any:
    """The object that a description means."""
    kind, *rest = description
    if kind == "tuple":
        return tuple(resolve(part) for part in rest)
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
    module = importlib.import_module(rest[0])
    if kind == "globals":
        return vars(module)
    return functools.reduce(getattr, rest[1].split("."), module)
