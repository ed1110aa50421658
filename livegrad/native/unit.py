"""Building the machine code of all hot functions, keeping it on disk, and installing it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from ..runtime import cache, machine
from . import HOT, HOTTEST, SLOTTED, Start, layout
from .constants import resolve
from .emit import Unit
from .functions import make, make_class, replace
from .lower import World, lower

_GET = """
define ptr @describe_get(ptr %self, ptr %object, ptr %class) {{
  %none = load ptr, ptr getelementptr (i8, ptr @constants, i64 {none}), !invariant.load !0
  %is.null = icmp eq ptr %object, null
  %is.none = icmp eq ptr %object, %none
  %unbound = or i1 %is.null, %is.none
  br i1 %unbound, label %same, label %bind
same:
  call void @up(ptr %self)
  ret ptr %self
bind:
  %new = load ptr, ptr getelementptr (i8, ptr @api, i64 {new}), !invariant.load !0
  %method = call ptr %new(ptr %self, ptr %object)
  ret ptr %method
}}"""

_kept: list = []
_state: dict[str, Any] = {"installed": False, "error": None}


def symbol(function: Any) -> str:
    """The name of a function's code, the same in every process."""
    name = f"{function.__module__}.{function.__qualname__}.{function.__code__.co_firstlineno}"
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)


def source() -> tuple[str, dict]:
    """LLVM IR of all hot functions, and what its tables are filled with."""
    unit = Unit()
    functions = {code: made[0] for code, made in HOT.items()}
    world = World({code: symbol(f) for code, f in functions.items()}, SLOTTED, HOTTEST)
    for f in functions.values():
        lower(unit, world, f)
    unit.text.append(_GET.format(none=8 * unit.constant(("builtin", "None")), new=8 * unit.function("PyMethod_New")))
    text = unit.module()
    return text, {"api": unit.api, "constants": unit.constants}


def _name() -> str:
    """What the machine code depends on: the sources, the interpreter, the layout of the classes."""
    h = hashlib.sha256(repr((sys.version, machine.host_description())).encode())
    files = {Path(sys.modules[f.__module__].__file__ or "") for made in HOT.values() for f in made[:1]}
    files.update(Path(__file__).parent.glob("*.py"))
    for path in sorted(files):
        h.update(path.read_bytes())
    h.update(repr([(cls.__qualname__, sorted(layout.slots(cls).items())) for cls in SLOTTED]).encode())
    return "native-" + h.hexdigest()


def _load(may_make: bool) -> tuple[Any, dict] | None:
    """The machine code and what its tables are filled with; None if it is not on disk and not to be made."""
    name = _name()
    kept = cache.read(name)
    if kept is None and not may_make:
        return None
    if kept is not None:
        head = int.from_bytes(kept[:8], "little")
        meta, code = json.loads(kept[8 : 8 + head]), kept[8 + head :]
        return machine.load_object(code), meta
    text, meta = source()
    careful = frozenset(symbol(f) for code, made in HOT.items() if code in HOTTEST for f in made[:1])
    compiled = machine.compile_cpu(text, thorough=careful)
    written = json.dumps(meta).encode()
    cache.write(name, len(written).to_bytes(8, "little") + written + compiled.object_code)
    return compiled, meta


def install(may_make: bool = True) -> bool:
    """Put machine code in the place of all hot functions; whether it is there now.

    may_make: compile it if it is not on disk. What fails leaves everything as it is.
    """
    if _state["installed"]:
        return True
    try:
        if not (layout.supported() and layout.check()):
            return False
        loaded = _load(may_make)
        if loaded is None:
            return False
        compiled, meta = loaded
        _fill(
            compiled, "get_api", [ctypes.cast(getattr(ctypes.pythonapi, n), ctypes.c_void_p).value for n in meta["api"]]
        )
        constants = [resolve(d) for d in meta["constants"]]
        _kept.extend((compiled, constants))
        _fill(compiled, "get_constants", [id(x) for x in constants])
        cls = make_class(compiled.address("describe_get"))
        made = {}
        for functions in HOT.values():
            address = compiled.address("enter." + symbol(functions[0]))
            for f in functions:
                made[id(f)] = make(cls, address, f)
        replace(made)
    except Exception as error:
        _state["error"] = error
        if os.environ.get("LIVEGRAD_STRICT"):
            raise
        return False
    _state["installed"] = True
    Start.left = 0
    return True


def _fill(compiled: Any, name: str, words: list) -> None:
    table = ctypes.CFUNCTYPE(ctypes.c_void_p)(compiled.address(name))()
    (ctypes.c_void_p * len(words)).from_address(table)[:] = words


def installed() -> bool:
    """Whether the hot functions run as machine code."""
    return _state["installed"]


def failure() -> Exception | None:
    """Why they do not, where it was tried."""
    return _state["error"]
