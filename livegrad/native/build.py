"""From hot functions to machine code: one unit for those of each module, and what its tables are to be filled with.

    Builder(functions).make(unit, ...)    (object code, tables) of one unit

Units of one builder call each other through their tables.
"""

from __future__ import annotations

from typing import Any

from ..llvm import machine
from . import HOTTEST, SLOTTED, home
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


class Builder:
    """Makes the units of some hot functions, given as `HOT` has them."""

    def __init__(self, functions: dict[Any, list], together: str = ""):
        """together: the name of one unit for all of them."""
        self.units: dict[str, list] = {}
        for made in functions.values():
            self.units.setdefault(together or module_of(made[0]), []).append(made[0])
        known = [cls for cls in SLOTTED if is_whole(home(cls))]
        self.classes = sorted(known, key=lambda cls: (home(cls), cls.__qualname__))
        self.world = World(
            {code: made[0] for code, made in functions.items()},
            symbol,
            self.classes,
            HOTTEST,
            lambda f: together or module_of(f),
        )

    def source(self, name: str) -> tuple[str, dict]:
        """LLVM IR of a unit's functions, and what its tables are filled with."""
        unit = Unit(name)
        functions = self.units.get(name, ())
        for f in functions:
            lower(unit, self.world, f)
        if name == METHODS:
            none, new = unit.constant(("builtin", "None")), unit.function("PyMethod_New")
            unit.text.append(_GET.format(none=8 * none, new=8 * new))
        text = unit.module()
        kinds = {symbol(f): defaults(f) for f in functions}
        return text, {"api": unit.api, "constants": unit.constants, "functions": kinds}

    def make(self, name: str, quick: bool) -> tuple[bytes, dict]:
        """The object code of a unit, and its tables. quick: in a fifth of the time, code that is not much slower."""
        text, tables = self.source(name)
        hottest = frozenset(symbol(f) for f in self.units.get(name, ()) if f.__code__ in HOTTEST)
        return machine.object_code(text, 0 if quick else 2, hottest), tables
