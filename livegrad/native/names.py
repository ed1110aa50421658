"""Names and attributes: variables, what is known of globals, slots that are read and written in place."""

from __future__ import annotations

import ast
import builtins
import types
from typing import Any

from ..runtime import raw
from .base import Base, code_of, is_one_of
from .emit import Code, Unit, Val
from .world import World, walk


def slot_function(unit: Unit, world: World, what: str, name: str) -> str:
    """`@get.NAME(object)`: a new reference, or null. `@set.NAME(object, reference)`, which takes it over: 0, or -1.

    Hot properties are called directly, and a class's own constants are known.
    """
    c = Code(unit)
    kind = c.type_of("%o")
    for offset, classes in world.slots.get(name, ()):
        yes, no = c.fresh("slot"), c.fresh("next")
        c.branch(is_one_of(c, kind, classes), yes, no)
        c.label(yes)
        if what == "get":
            reg = c.load("%o", offset)
            full = c.fresh("full")
            c.branch(c.reg(f"icmp eq ptr {reg}, null"), no, full)
            c.label(full)
            c.up(reg)
            c.line(f"ret ptr {reg}")
        else:
            c.replace(c.at("%o", offset), "%v")
            c.line("ret i32 0")
        c.label(no)
    key = c.constant(("str", name)).reg
    if what == "get":
        for fixed, classes in world.fixed.get(name, {}).items():
            yes, no = c.fresh("fixed"), c.fresh("next")
            c.branch(is_one_of(c, kind, classes), yes, no)
            c.label(yes)
            reg = c.constant(fixed).reg
            c.up(reg)
            c.line(f"ret ptr {reg}")
            c.label(no)
        getters: dict[str, list[type]] = {}
        for cls, function in world.properties.get(name, ()):
            getters.setdefault(world.symbols[function.__code__], []).append(cls)
        for symbol, classes in getters.items():
            yes, no = c.fresh("property"), c.fresh("next")
            c.branch(is_one_of(c, kind, classes), yes, no)
            c.label(yes)
            c.line(f"ret ptr {c.reg(f'call ptr {code_of(c, unit, world, symbol)}(ptr null, ptr %o)')}")
            c.label(no)
        c.line(f"ret ptr {c.call('PyObject_GetAttr', '%o', key, tail=True)}")
        head = f"define internal ptr @get.{name}(ptr %o) {{"
    else:
        result = c.call("PyObject_SetAttr", "%o", key, "%v")
        c.down("%v")
        c.line(f"ret i32 {result}")
        head = f"define internal i32 @set.{name}(ptr %o, ptr %v) {{"
    return "\n".join([head, "entry:", *c.lines, "}"])


class Names(Base):
    def __init__(self, unit: Unit, world: World, function: Any):
        super().__init__(unit, world, function)
        self.exact = self.exact_classes()

    def local(self, name: str) -> str:
        for names in reversed(self.renamed):
            if name in names:
                return names[name]
        return self.locals[name]

    def e_Name(self, e: ast.Name) -> Val:
        c = self.c
        name = e.id
        for names in reversed(self.renamed):
            if name in names:
                return Val(c.reg(f"load ptr, ptr {names[name]}"))
        if name in self.locals:
            reg = c.reg(f"load ptr, ptr {self.locals[name]}")
            if name not in self.params:
                unbound, go = c.fresh("unbound"), c.fresh("bound")
                c.branch(c.reg(f"icmp eq ptr {reg}, null"), unbound, go, unlikely=unbound)
                c.label(unbound)
                text = c.constant(("bytes", f"cannot access local variable '{name}'"))
                kind = c.constant(("builtin", "UnboundLocalError"))
                c.call("PyErr_SetString", kind.reg, c.call("PyBytes_AsString", text.reg))
                c.jump(c.failure())
                c.label(go)
            return Val(reg)
        if name in self.params:
            return Val(f"%a.{name}")
        if name in self.freevars:
            return Val(c.load("%closure", 8 * self.freevars.index(name)))
        if name in self.function.__globals__:
            if name in self.world.rebound(self.module):
                found = c.call(
                    "PyDict_GetItemWithError",
                    c.constant(("globals", self.module)).reg,
                    c.constant(("str", name)).reg,
                )
                c.checked(found)
                c.up(found)
                return c.owned(found)
            return c.constant(("global", self.module, name))
        if hasattr(builtins, name):
            return c.constant(("builtin", name))
        raise self.refuse(e, f"unknown name {name!r}")

    def known(self, e: ast.expr) -> Any:
        """The object that an expression is known to be when the code is made, else None."""
        if isinstance(e, ast.Name):
            name = e.id
            if name in self.locals or name in self.params or name in self.freevars:
                return None
            if name in self.function.__globals__:
                return None if name in self.world.rebound(self.module) else self.function.__globals__[name]
            return getattr(builtins, name, None)
        if isinstance(e, ast.Attribute):
            owner = self.known(e.value)
            if isinstance(owner, types.ModuleType):
                found = getattr(owner, e.attr, None)
                fixed = (
                    (found is not None and e.attr.isupper())  # a constant, by its name
                    or isinstance(found, type)
                    or self.world.symbol(found) is not None
                    or found is raw.peek
                    or found is raw.poke
                    or found is raw.array_at
                )
                if fixed and e.attr not in self.world.rebound(owner.__name__):
                    return found
        return None

    def e_Attribute(self, e: ast.Attribute) -> Val:
        c = self.c
        found = self.known(e)
        if found is not None:
            return c.constant(("global", self.known(e.value).__name__, e.attr))
        owner = self.obj(e.value)
        v = self.attribute(owner, e.attr)
        c.release(owner)
        return v

    def exact_classes(self) -> dict[str, type]:
        """Variables that only ever hold new objects of one class that is known here: their slots need no test."""
        bound: dict[str, list] = {}
        made: dict[str, list] = {}
        for n in walk(self.tree):
            if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load):
                bound.setdefault(n.id, []).append(n)
            if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call):
                f = self.known(n.value.func)
                args = n.value.args
                cls = self.known(args[0]) if f is object.__new__ and len(args) == 1 else f
                if isinstance(cls, type) and cls.__new__ is object.__new__ and type(cls) is type:
                    for target in n.targets:
                        if isinstance(target, ast.Name):
                            made.setdefault(target.id, []).append(cls)
        return {
            name: classes[0]
            for name, classes in made.items()
            if len(classes) == len(bound[name]) and len(set(classes)) == 1 and name not in self.params
        }

    def exact_slot(self, owner: ast.expr, name: str) -> int | None:
        cls = self.exact.get(owner.id) if isinstance(owner, ast.Name) and not self.renamed else None
        if cls is None:
            return None
        return next((offset for offset, classes in self.world.slots.get(name, ()) if cls in classes), None)

    def attribute(self, owner: Val, name: str) -> Val:
        c = self.c
        if name == "__class__":
            kind = c.type_of(owner.reg)
            c.up(kind)
            return c.owned(kind)
        frame = {"f_code": "PyFrame_GetCode", "f_back": "PyFrame_GetBack", "f_lasti": "PyFrame_GetLasti"}.get(name)
        if frame is not None:
            is_frame = c.reg(f"icmp eq ptr {c.type_of(owner.reg)}, {c.constant(('types', 'FrameType')).reg}")
            with c.either(is_frame) as way:
                got = c.call(frame, owner.reg)
                if name == "f_lasti":
                    got = c.checked(c.call("PyLong_FromSsize_t", c.reg(f"sext i32 {got} to i64")))
                elif name == "f_back":
                    got = self.or_none(got)
                way.yes(got)
                way.no(self.get_attribute(owner, name))
            return c.owned(way.reg)
        if not any(name in known for known in (self.world.slots, self.world.properties, self.world.fixed)):
            return c.owned(self.get_attribute(owner, name))
        self.need_slot("get", name)
        inline = " alwaysinline" if self.inline else ""
        return c.owned(c.checked(c.reg(f"call ptr @get.{name}(ptr {owner.reg}){inline}")))

    def need_slot(self, what: str, name: str) -> None:
        """Add the function that reads or writes a slot of that name, whichever class the object is of."""
        self.need(what, name, lambda: slot_function(self.unit, self.world, what, name))

    def or_none(self, reg: str) -> str:
        c = self.c
        with c.either(c.reg(f"icmp eq ptr {reg}, null")) as way:
            none = c.none()
            c.up(none)
            way.yes(none)
            way.no(reg)
        return way.reg

    def get_attribute(self, owner: Val, name: str) -> str:
        c = self.c
        return c.checked(c.call("PyObject_GetAttr", owner.reg, c.constant(("str", name)).reg))

    def set_attribute(self, owner: Val, name: str, v: Val) -> None:
        c = self.c
        if name in self.world.slots:
            self.need_slot("set", name)
            inline = " alwaysinline" if self.inline else ""
            c.checked_int(c.reg(f"call i32 @set.{name}(ptr {owner.reg}, ptr {c.give(v)}){inline}"))
        else:
            c.checked_int(c.call("PyObject_SetAttr", owner.reg, c.constant(("str", name)).reg, v.reg))
            c.release(v)
