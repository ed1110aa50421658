"""What the interpreter calls: it puts arguments in their places and calls the function's code."""

from __future__ import annotations

from typing import Any

from . import layout
from .emit import Code
from .statements import Statements
from .world import literal

OBJECT_CLOSURE, OBJECT_ORIGINAL = 24, 32  # of a compiled function's object (see `functions`)


class Entry(Statements):
    def entry_point(self) -> str:
        """What the interpreter calls: an array of arguments, those by keyword last, whose names are in a tuple.

        What does not fit the parameters goes to the original function, which says what is wrong.
        """
        c = Code(self.unit)
        f = self.function
        n, positional = len(self.named), f.__code__.co_argcount
        defaults: dict[str, Any] = dict(zip(reversed(self.named[:positional]), reversed(f.__defaults__ or ())))
        defaults.update(f.__kwdefaults__ or {})
        c.line(f"%given = alloca [{max(n, 1)} x ptr]")
        count = c.reg("and i64 %nargs, 9223372036854775807")
        if not self.variadic:
            fits = c.fresh("fits")
            c.branch(c.reg(f"icmp ugt i64 {count}, {positional}"), "original", fits)
            c.label(fits)
        for k in range(n):
            place = c.at("%given", 8 * k)
            if k < positional:
                with c.either(c.reg(f"icmp ugt i64 {count}, {k}")) as way:
                    way.yes(c.load("%args", 8 * k))
                    way.no("null")
                c.line(f"store ptr {way.reg}, ptr {place}")
            else:
                c.line(f"store ptr null, ptr {place}")
        named, go = c.fresh("named"), c.fresh("placed")
        c.branch(c.reg("icmp eq ptr %keywords, null"), go, named)
        c.label(named)
        self.place_keywords(c, count, go)
        c.label(go)
        regs = []
        for k, name in enumerate(self.named):
            reg = c.load("%given", 8 * k)
            missing = c.reg(f"icmp eq ptr {reg}, null")
            if name in defaults:
                default = c.constant(literal(defaults[name])).reg
                reg = c.reg(f"select i1 {missing}, ptr {default}, ptr {reg}")
            else:
                there = c.fresh("there")
                c.branch(missing, "original", there)
                c.label(there)
            regs.append(reg)
        closure = c.load("%callable", OBJECT_CLOSURE)
        if self.variadic:
            regs.append(self.rest(c, count, positional))
        if self.spread:
            regs.append("%spread")
        c.enter("deep")
        made = c.reg(f"call ptr @{self.symbol}({', '.join(f'ptr {r}' for r in [closure, *regs])})")
        c.call("Py_LeaveRecursiveCall")
        for reg in regs[n:]:
            c.down(reg)
        c.line(f"ret ptr {made}")
        c.label("deep")
        if self.variadic:
            c.down(regs[n])
        c.jump("error")
        c.label("original")
        if self.spread:
            c.down("%spread")
        original = c.load("%callable", OBJECT_ORIGINAL)
        c.line(f"ret ptr {c.call('PyObject_Vectorcall', original, '%args', '%nargs', '%keywords', tail=True)}")
        c.label("error")
        if self.spread:
            c.down("%spread")
        c.line("ret ptr null")
        if self.spread:  # before anything else can fail
            first = Code(self.unit)
            first.count = c.count
            made = first.call("PyDict_New")
            first.line(f"%spread = getelementptr i8, ptr {made}, i64 0")
            first.line("%no.spread = icmp eq ptr %spread, null")
            first.line("br i1 %no.spread, label %nothing, label %begin")
            first.lines += ["nothing:", "  ret ptr null", "begin:"]
            c.lines = [*first.lines, *(line.replace("%entry ]", "%begin ]") for line in c.lines)]
        head = f"define ptr @enter.{self.symbol}(ptr %callable, ptr %args, i64 %nargs, ptr %keywords) {{"
        return "\n".join([head, "entry:", *c.lines, "}"])

    def place_keywords(self, c: Code, count: str, done: str) -> None:
        """Put the arguments that were given by name in their places. Names are interned, so their addresses tell."""
        names = c.load("%keywords", layout.TUPLE_SIZE, "i64")
        values = c.reg(f"getelementptr ptr, ptr %args, i64 {count}")
        before, head, inside = c.block, c.fresh("keyword"), c.fresh("name")
        c.jump(head)
        c.label(head)
        step = c.fresh("step")
        i = c.reg(f"phi i64 [ 0, %{before} ], [ %{step}.i, %{step} ]")
        c.branch(c.reg(f"icmp slt i64 {i}, {names}"), inside, done)
        c.label(inside)
        items = c.at("%keywords", layout.TUPLE_ITEMS)
        name = c.reg(f"load ptr, ptr {c.reg(f'getelementptr ptr, ptr {items}, i64 {i}')}")
        value = c.reg(f"load ptr, ptr {c.reg(f'getelementptr ptr, ptr {values}, i64 {i}')}")
        for k, known in enumerate(self.named):
            yes, no = c.fresh("this"), c.fresh("other")
            c.branch(c.reg(f"icmp eq ptr {name}, {c.constant(('str', known)).reg}"), yes, no)
            c.label(yes)
            place = c.at("%given", 8 * k)
            free = c.fresh("free")
            c.branch(c.reg(f"icmp eq ptr {c.reg(f'load ptr, ptr {place}')}, null"), free, "original")
            c.label(free)
            c.line(f"store ptr {value}, ptr {place}")
            c.jump(step)
            c.label(no)
        if self.spread:
            if self.named:  # a name that was put together at run time is another object
                every = c.constant(literal(tuple(self.named))).reg
                same = c.call("PySequence_Contains", every, name)
                strange, new = c.fresh("strange"), c.fresh("new")
                c.branch(c.reg(f"icmp eq i32 {same}, 0"), new, strange)
                c.label(strange)
                c.branch(c.reg(f"icmp slt i32 {same}, 0"), "error", "original")
                c.label(new)
            added = c.call("PyDict_SetItem", "%spread", name, value)
            c.branch(c.reg(f"icmp slt i32 {added}, 0"), "error", step)
        else:
            c.jump("original")
        c.label(step)
        c.line(f"%{step}.i = add i64 {i}, 1")
        c.jump(head)

    def rest(self, c: Code, count: str, positional: int) -> str:
        """The further positional arguments as a tuple."""
        more = c.reg(f"icmp ugt i64 {count}, {positional}")
        n = c.reg(f"select i1 {more}, i64 {c.reg(f'sub i64 {count}, {positional}')}, i64 0")
        made = c.checked(c.call("PyTuple_New", n))
        before, head, inside, done = c.block, c.fresh("rest"), c.fresh("item"), c.fresh("packed")
        before = c.block
        c.jump(head)
        c.label(head)
        i = c.reg(f"phi i64 [ 0, %{before} ], [ %{inside}.i, %{inside} ]")
        c.branch(c.reg(f"icmp slt i64 {i}, {n}"), inside, done)
        c.label(inside)
        source = c.reg(f"getelementptr ptr, ptr {c.at('%args', 8 * positional)}, i64 {i}")
        item = c.reg(f"load ptr, ptr {source}")
        c.up(item)
        target = c.reg(f"getelementptr ptr, ptr {c.at(made, layout.TUPLE_ITEMS)}, i64 {i}")
        c.line(f"store ptr {item}, ptr {target}")
        c.line(f"%{inside}.i = add i64 {i}, 1")
        c.jump(head)
        c.label(done)
        return made
