"""From hot functions to machine code: one unit for those of each module, and what its tables are to be filled with.

    Builder(functions).make(module)    (object code, tables) of one unit

Units of one builder call each other through their tables, and are put in place together.
"""

from __future__ import annotations

import time
from typing import Any

from ..llvm import machine
from . import HOTTEST, SLOTTED
from .constants import METHODS, defaults, is_whole, module_of, symbol
from .emit import Unit
from .lower import lower
from .world import World

# What a bound method of a compiled function is made with (`tp_descr_get`).
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
# Seconds between functions. This is Python in another thread than the program's, which would otherwise have to wait
# for five milliseconds (`sys.getswitchinterval`) whenever it has let go of the interpreter's lock.
_PAUSE = 0.0001


class Builder:
    """Makes the units of some hot functions, given as `HOT` has them."""

    def __init__(self, functions: dict[Any, list]):
        self.modules: dict[str, list] = {}
        for made in functions.values():
            self.modules.setdefault(module_of(made[0]), []).append(made[0])
        known = [cls for cls in SLOTTED if is_whole(cls.__module__)]
        self.classes = sorted(known, key=lambda cls: (cls.__module__, cls.__qualname__))
        self.world = World({code: made[0] for code, made in functions.items()}, symbol, self.classes, HOTTEST)

    def source(self, module: str) -> tuple[str, dict]:
        """LLVM IR of a module's functions, and what its tables are filled with."""
        unit = Unit(module)
        functions = self.modules.get(module, ())
        for f in functions:
            lower(unit, self.world, f)
            time.sleep(_PAUSE)
        if module == METHODS:
            none, new = unit.constant(("builtin", "None")), unit.function("PyMethod_New")
            unit.text.append(_GET.format(none=8 * none, new=8 * new))
        text = unit.module()
        kinds = {symbol(f): defaults(f) for f in functions}
        return text, {"api": unit.api, "constants": unit.constants, "functions": kinds}

    def make(self, module: str, quick: bool) -> tuple[bytes, dict]:
        """The object code of a unit, and its tables. quick: in a fifth of the time, code that is not much slower."""
        text, tables = self.source(module)
        hottest = frozenset(symbol(f) for f in self.modules.get(module, ()) if f.__code__ in HOTTEST)
        return machine.object_code(text, 0 if quick else 2, hottest), tables
