"""Assignments: to names, attributes, subscripts and several at once; the augmented ones."""

from __future__ import annotations

import ast

from . import layout, small
from .emit import Val
from .names import Names

ARITHMETIC = {
    ast.Add: "Add", ast.Sub: "Subtract", ast.Mult: "Multiply", ast.FloorDiv: "FloorDivide", ast.Div: "TrueDivide",
    ast.Pow: "Power", ast.Mod: "Remainder", ast.BitAnd: "And", ast.BitOr: "Or", ast.LShift: "Lshift",
    ast.RShift: "Rshift",
}  # fmt: skip


class Assignment(Names):
    def s_Assign(self, s: ast.Assign) -> bool:
        if len(s.targets) == 1 and isinstance(s.targets[0], ast.Tuple) and isinstance(s.value, ast.Tuple):
            targets, parts = s.targets[0].elts, [self.obj(e) for e in s.value.elts]
            parts = [self.keep(v) for v in parts]
            for target, v in zip(targets, parts, strict=True):
                self.assign(target, v)
            return False
        v = self.obj(s.value)
        for target in s.targets[:-1]:
            self.assign(target, Val(v.reg))
        self.assign(s.targets[-1], v)
        return False

    def s_AnnAssign(self, s: ast.AnnAssign) -> bool:
        if s.value is not None:
            self.assign(s.target, self.obj(s.value))
        return False

    def s_AugAssign(self, s: ast.AugAssign) -> bool:
        c = self.c
        name = ARITHMETIC.get(type(s.op))
        if name is None:
            raise self.refuse(s)
        if isinstance(s.target, ast.Attribute):
            owner = self.obj(s.target.value)
            before = self.attribute(owner, s.target.attr)
            v = self.obj(s.value)
            made = self.computed(name, before, v, in_place=True)
            c.release(before, v)
            self.set_attribute(owner, s.target.attr, made)
            c.release(owner)
        elif isinstance(s.target, ast.Name):
            before, v = self.obj(ast.Name(s.target.id, ast.Load())), self.obj(s.value)
            made = self.computed(name, before, v, in_place=True)
            c.release(before, v)
            self.assign(s.target, made)
        elif isinstance(s.target, ast.Subscript):
            owner, index = self.obj(s.target.value), self.obj(s.target.slice)
            before = c.owned(c.checked(c.call("PyObject_GetItem", owner.reg, index.reg)))
            v = self.obj(s.value)
            made = self.computed(name, before, v, in_place=True)
            c.checked_int(c.call("PyObject_SetItem", owner.reg, index.reg, made.reg))
            c.release(owner, index, before, v, made)
        else:
            raise self.refuse(s)
        return False

    def computed(self, name: str, a: Val, b: Val, in_place: bool = False) -> Val:
        """`a + b` or the like, or `a += b`."""
        c = self.c
        function = ("PyNumber_InPlace" if in_place else "PyNumber_") + name
        if name not in small.OPERATIONS:
            extra = (c.none(),) if name == "Power" else ()
            return c.owned(c.checked(c.call(function, a.reg, b.reg, *extra)))
        self.need("number", function, lambda: small.number_function(self.unit, name, function))
        return c.owned(c.checked(c.reg(f"call ptr @number.{function}(ptr {a.reg}, ptr {b.reg})")))

    def assign(self, target: ast.expr, v: Val) -> None:
        c = self.c
        if isinstance(target, ast.Name):
            c.replace(self.local(target.id), c.give(v))
        elif isinstance(target, ast.Attribute):
            owner = self.obj(target.value)
            offset = self.exact_slot(target.value, target.attr)
            if offset is None:
                self.set_attribute(owner, target.attr, v)
            else:
                self.fill(c.at(owner.reg, offset), c.give(v))
            c.release(owner)
        elif isinstance(target, ast.Subscript):
            owner, index = self.obj(target.value), self.obj(target.slice)
            c.checked_int(c.call("PyObject_SetItem", owner.reg, index.reg, v.reg))
            c.release(owner, index, v)
        elif isinstance(target, (ast.Tuple, ast.List)):
            self.unpack(target.elts, v)
        else:
            raise self.refuse(target)

    def fill(self, place: str, reg: str) -> None:
        """Store a reference in a slot that is most likely empty."""
        c = self.c
        old = c.reg(f"load ptr, ptr {place}")
        c.line(f"store ptr {reg}, ptr {place}")
        drop, go = c.fresh("old"), c.fresh("filled")
        c.branch(c.reg(f"icmp ne ptr {old}, null"), drop, go, unlikely=drop)
        c.label(drop)
        c.down(old)
        c.jump(go)
        c.label(go)

    def unpack(self, targets: list[ast.expr], v: Val) -> None:
        c = self.c
        t = self.exact_tuple(v)
        wrong, right = c.fresh("wrong"), c.fresh("right")
        size = c.load(t.reg, layout.TUPLE_SIZE, "i64")
        c.branch(c.reg(f"icmp eq i64 {size}, {len(targets)}"), right, wrong)
        c.label(wrong)
        n = len(targets)
        many = c.constant(("bytes", f"too many values to unpack (expected {n})"))
        few = c.constant(("bytes", f"not enough values to unpack (expected {n}, got %zd)"))
        with c.either(c.reg(f"icmp sgt i64 {size}, {n}")) as way:
            way.yes(many.reg)
            way.no(few.reg)
        c.format_error(c.constant(("builtin", "ValueError")).reg, c.call("PyBytes_AsString", way.reg), f"i64 {size}")
        c.jump(c.failure())
        c.label(right)
        for k, target in enumerate(targets):
            item = c.load(t.reg, layout.TUPLE_ITEMS + 8 * k)
            c.up(item)
            self.assign(target, c.owned(item))
        c.release(t)

    def exact_tuple(self, v: Val) -> Val:
        """A value as a tuple: itself if it is one."""
        c = self.c
        is_tuple = c.reg(f"icmp eq ptr {c.type_of(v.reg)}, {c.constant(('builtin', 'tuple')).reg}")
        with c.either(is_tuple) as way:
            c.up(v.reg)
            way.yes(v.reg)
            way.no(c.checked(c.call("PySequence_Tuple", v.reg)))
        t = c.owned(way.reg)
        c.release(v)
        return t

    def as_tuple(self, v: Val) -> Val:
        made = self.c.owned(self.c.checked(self.c.call("PySequence_Tuple", v.reg)))
        self.c.release(v)
        return made
