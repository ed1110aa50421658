"""Expressions but for names, comprehensions and calls."""

from __future__ import annotations

import ast

from . import layout, small
from .assignment import ARITHMETIC
from .emit import Val
from .loops import Loops
from .world import literal

_SIGNED = {ast.Lt: "slt", ast.LtE: "sle", ast.Eq: "eq", ast.NotEq: "ne", ast.Gt: "sgt", ast.GtE: "sge"}


class Expressions(Loops):
    def e_Constant(self, e: ast.Constant) -> Val:
        return self.c.constant(literal(e.value))

    def e_Subscript(self, e: ast.Subscript) -> Val:
        c = self.c
        owner = self.obj(e.value)
        k = _whole(e.slice)
        if k is None:
            at = self.obj(e.slice)
            made = c.owned(c.checked(c.call("PyObject_GetItem", owner.reg, at.reg)))
            c.release(owner, at)
            return made
        is_tuple = c.reg(f"icmp eq ptr {c.type_of(owner.reg)}, {c.constant(('builtin', 'tuple')).reg}")
        look, fits, other, end = (c.fresh(n) for n in ("look", "fits", "other", "item"))
        c.branch(is_tuple, look, other)
        c.label(look)
        size = c.load(owner.reg, layout.TUPLE_SIZE, "i64")
        c.branch(c.reg(f"icmp sge i64 {size}, {k + 1 if k >= 0 else -k}"), fits, other)
        c.label(fits)
        place = c.reg(f"add i64 {size}, {k}") if k < 0 else str(k)
        base = c.at(owner.reg, layout.TUPLE_ITEMS)
        item = c.reg(f"load ptr, ptr {c.reg(f'getelementptr ptr, ptr {base}, i64 {place}')}")
        c.up(item)
        c.jump(end)
        c.label(other)
        found = c.checked(c.call("PyObject_GetItem", owner.reg, c.constant(("int", k)).reg))
        last = c.block
        c.jump(end)
        c.label(end)
        v = c.owned(c.reg(f"phi ptr [ {item}, %{fits} ], [ {found}, %{last} ]"))
        c.release(owner)
        return v

    def e_Slice(self, e: ast.Slice) -> Val:
        c = self.c
        parts = [c.constant(("builtin", "None")) if p is None else self.obj(p) for p in (e.lower, e.upper, e.step)]
        made = c.owned(c.checked(c.call("PySlice_New", *[p.reg for p in parts])))
        c.release(*parts)
        return made

    def e_JoinedStr(self, e: ast.JoinedStr) -> Val:
        c = self.c
        parts = c.owned(c.checked(c.call("PyList_New", "0")))
        for part in e.values:
            if isinstance(part, ast.FormattedValue):
                v = self.obj(part.value)
                if part.conversion == ord("r"):
                    shown = c.owned(c.checked(c.call("PyObject_Repr", v.reg)))
                    c.release(v)
                    v = shown
                elif part.conversion != -1:
                    raise self.refuse(part, "this conversion")
                how = self.obj(part.format_spec) if part.format_spec is not None else Val("null")
                text = c.owned(c.checked(c.call("PyObject_Format", v.reg, how.reg)))
                c.release(v, how)
            else:
                text = self.obj(part)
            c.checked_int(c.call("PyList_Append", parts.reg, text.reg))
            c.release(text)
        nothing = c.constant(("str", ""))
        made = c.owned(c.checked(c.call("PyUnicode_Join", nothing.reg, parts.reg)))
        c.release(parts)
        return made

    def e_Tuple(self, e: ast.Tuple) -> Val:
        c = self.c
        if not e.elts:
            return c.constant(("tuple",))
        if any(isinstance(x, ast.Starred) for x in e.elts):
            return self.as_tuple(self.gather(e.elts))
        items = [self.obj(x) for x in e.elts]
        return self.tuple_of(items)

    def tuple_of(self, items: list[Val]) -> Val:
        c = self.c
        made = c.checked(c.call("PyTuple_New", str(len(items))))
        for k, item in enumerate(items):
            c.line(f"store ptr {c.give(item)}, ptr {c.at(made, layout.TUPLE_ITEMS + 8 * k)}")
        return c.owned(made)

    def e_Dict(self, e: ast.Dict) -> Val:
        c = self.c
        made = c.owned(c.checked(c.call("PyDict_New")))
        for k, v in zip(e.keys, e.values):
            if k is None:
                raise self.refuse(e, "a spread dictionary")
            key, value = self.obj(k), self.obj(v)
            c.checked_int(c.call("PyDict_SetItem", made.reg, key.reg, value.reg))
            c.release(key, value)
        return made

    def e_List(self, e: ast.List) -> Val:
        return self.gather(e.elts)

    def e_IfExp(self, e: ast.IfExp) -> Val:
        c = self.c
        yes, no, end = c.fresh("then"), c.fresh("else"), c.fresh("end")
        self.condition(e.test, yes, no)
        c.label(yes)
        a = c.give(self.obj(e.body))
        from_a = c.block
        c.jump(end)
        c.label(no)
        b = c.give(self.obj(e.orelse))
        from_b = c.block
        c.jump(end)
        c.label(end)
        return c.owned(c.reg(f"phi ptr [ {a}, %{from_a} ], [ {b}, %{from_b} ]"))

    def e_BoolOp(self, e: ast.BoolOp) -> Val:
        """`and`, `or`: the value of the last part that was looked at."""
        c = self.c
        end = c.fresh("end")
        parts = []
        for part in e.values[:-1]:
            v = self.obj(part)
            reg = v.reg
            keep = Val(reg)
            c.up(reg)
            keep = c.owned(reg)
            test = self.truth(v)
            go, stop = c.fresh("go"), c.fresh("stop")
            c.branch(test, *((go, stop) if isinstance(e.op, ast.And) else (stop, go)))
            c.label(stop)
            parts.append((reg, c.block))
            c.jump(end)
            c.label(go)
            c.release(keep)
        reg = c.give(self.obj(e.values[-1]))
        parts.append((reg, c.block))
        c.jump(end)
        c.label(end)
        return c.owned(c.reg("phi ptr " + ", ".join(f"[ {r}, %{b} ]" for r, b in parts)))

    def e_UnaryOp(self, e: ast.UnaryOp) -> Val:
        c = self.c
        if isinstance(e.op, ast.Not):
            return Val(c.reg(f"xor i1 {self.truth_of(e.operand)}, true"), "bool")
        if isinstance(e.op, ast.USub):
            if isinstance(e.operand, ast.Constant):
                return c.constant(literal(-e.operand.value))  # type: ignore[operator]
            v = self.obj(e.operand)
            made = c.owned(c.checked(c.call("PyNumber_Negative", v.reg)))
            c.release(v)
            return made
        raise self.refuse(e)

    def e_BinOp(self, e: ast.BinOp) -> Val:
        c = self.c
        name = ARITHMETIC.get(type(e.op))
        if name is None:
            raise self.refuse(e)
        x, y = self.obj(e.left), self.obj(e.right)
        made = self.computed(name, x, y)
        c.release(x, y)
        return made

    def truth_of(self, e: ast.expr) -> str:
        if isinstance(e, ast.Compare) and len(e.ops) == 1:
            return self.truth(self.e_Compare(e, True))
        return super().truth_of(e)

    def e_Compare(self, e: ast.Compare, as_truth: bool = False) -> Val:
        """as_truth: only whether the result is true is asked for."""
        c = self.c
        if len(e.ops) != 1:
            return self.e_BoolOp(self.pairs(e))
        op = e.ops[0]
        if isinstance(op, (ast.Is, ast.IsNot)):
            x, y = self.obj(e.left), self.obj(e.comparators[0])
            made = c.reg(f"icmp {'eq' if isinstance(op, ast.Is) else 'ne'} ptr {x.reg}, {y.reg}")
            c.release(x, y)
            return Val(made, "bool")
        if isinstance(op, (ast.In, ast.NotIn)):
            x, y = self.obj(e.left), self.obj(e.comparators[0])
            found = c.checked_int(c.call("PySequence_Contains", y.reg, x.reg))
            made = c.reg(f"icmp {'ne' if isinstance(op, ast.In) else 'eq'} i32 {found}, 0")
            c.release(x, y)
            return Val(made, "bool")
        comparison = _SIGNED[type(op)]
        x = self.expr(e.left)
        right = e.comparators[0]
        if x.kind == "int" and isinstance(right, ast.Constant) and type(right.value) is int:
            return Val(c.reg(f"icmp {comparison} i64 {x.reg}, {right.value}"), "bool")
        y = self.expr(right)
        if x.kind == "int" and y.kind == "int":
            return Val(c.reg(f"icmp {comparison} i64 {x.reg}, {y.reg}"), "bool")
        x, y = self.boxed(x), self.boxed(y)
        if as_truth:
            self.need("truth", comparison, lambda: small.truth_function(self.unit, comparison))
            found = c.checked_int(c.reg(f"call i32 @truth.{comparison}(ptr {x.reg}, ptr {y.reg})"))
            c.release(x, y)
            return Val(c.reg(f"icmp ne i32 {found}, 0"), "bool")
        how = str(small.COMPARISONS[comparison])
        compared = c.owned(c.checked(c.call("PyObject_RichCompare", x.reg, y.reg, how)))
        c.release(x, y)
        return compared


def _whole(e: ast.expr) -> int | None:
    """The whole number that stands there, if one does."""
    if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.USub):
        k = _whole(e.operand)
        return None if k is None else -k
    return e.value if isinstance(e, ast.Constant) and type(e.value) is int else None
