"""From a function's Python source to code on the interpreter's C interface, with the meaning of Python.

A hot function may use: names, attributes, subscripts, tuples, lists, dictionaries, comparisons, arithmetic, conditions,
f-strings, calls, comprehensions of one loop; assignment, `if`, `while`, `for`, `return`, `raise`, `break`, `continue`,
`pass`; `try` with one `except` that names a class, and `finally`; `with` of what looks at no error, as a lock does.
What it cannot use (inner functions, `lambda`, imports) belongs in an ordinary function that it calls; such a function
is refused when the unit is built, which the tests do. docs/native.md says more.

What makes the code fast: slots of known classes are read and written in place, behind a comparison of the object's
type; hot functions call each other directly; a module's own names are resolved when the code is loaded, unless some
function rebinds them (`global`). Whatever is of any other kind takes the interpreter's own way.

The parts, each a class that extends the one before: `base` (state, walking), `names`, `assignment`, `loops`,
`expressions`, `builtin` (calls written out), `calls`, `statements`, `entry` (what the interpreter calls).
"""

from __future__ import annotations

from typing import Any

from .emit import Unit
from .entry import Entry
from .world import World


def lower(unit: Unit, world: World, function: Any) -> None:
    """Add the code of a function to the unit: the function itself and what the interpreter calls."""
    _Function(unit, world, function).build()


class _Function(Entry):
    def build(self) -> None:
        c = self.c
        args = ", ".join(f"ptr %a.{p}" for p in self.params)
        for name in self.locals.values():
            c.slot(name)
        if self.recursive:
            c.enter("refused")
        for p in self.params:
            if p in self.locals:
                c.up(f"%a.{p}")
                c.line(f"store ptr %a.{p}, ptr {self.locals[p]}")
        if not self.body(self.tree.body):
            self.leave(c.constant(("builtin", "None")))
        c.write_exits()
        c.label("error")
        for slot in c.slots:
            reg = c.reg(f"load ptr, ptr {slot}")
            c.line(f"call void @drop(ptr {reg})")
        if self.recursive:
            c.call("Py_LeaveRecursiveCall")
            c.line("ret ptr null")
            c.label("refused")
        c.line("ret ptr null")
        self.unit.text.append(
            "\n".join(
                [
                    f"define ptr @{self.symbol}(ptr %closure{', ' if args else ''}{args}) {{",
                    "entry:",
                    *c.entry,
                    "  br label %start",
                    "start:",
                    *c.lines,
                    "}",
                ]
            )
        )
        self.unit.text.append(self.entry_point())
        self.unit.functions.append(self.symbol)
