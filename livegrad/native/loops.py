"""Loops, comprehensions, and lists and tuples that are made by walking over something."""

from __future__ import annotations

import ast
from collections.abc import Callable

from . import layout
from .assignment import Assignment
from .emit import Val


class Loops(Assignment):
    def s_While(self, s: ast.While) -> bool:
        c = self.c
        head, inside, otherwise, end = (c.fresh(n) for n in ("while", "body", "orelse", "end"))
        c.jump(head)
        c.label(head)
        self.condition(s.test, inside, otherwise)
        c.label(inside)
        # A loop may run for long: let Ctrl-C through.
        c.checked_int(c.call("PyErr_CheckSignals"))
        self.loops.append((head, end, len(self.contexts)))
        if not self.body(s.body):
            c.jump(head)
        self.loops.pop()
        c.label(otherwise)
        if not self.body(s.orelse):
            c.jump(end)
        c.label(end)
        return False

    def s_For(self, s: ast.For) -> bool:
        self.loop(s.target, s.iter, lambda: self.body(s.body), s.orelse)
        return False

    def s_Break(self, s: ast.Break) -> bool:
        return self.to_loop(s, self.loops[-1][1])

    def s_Continue(self, s: ast.Continue) -> bool:
        return self.to_loop(s, self.loops[-1][0])

    def to_loop(self, s: ast.stmt, where: str) -> bool:
        if len(self.contexts) != self.loops[-1][2]:
            raise self.refuse(s, "leaving a with or finally that is inside of the loop")
        self.c.jump(where)
        return True

    def loop(self, target: ast.expr, over: ast.expr, inside: Callable, orelse: list[ast.stmt]) -> None:
        c = self.c
        counted = None
        counted_over = self.counted(over)
        if counted_over is not None and isinstance(target, ast.Tuple) and len(target.elts) == 2:
            counted, target = target.elts
            over = counted_over
        sequence = self.keep(self.obj(over))
        place = "%" + c.fresh("i")
        c.entry.append(f"  {place} = alloca i64")
        c.line(f"store i64 0, ptr {place}")
        kind = c.type_of(sequence.reg)
        is_tuple = c.reg(f"icmp eq ptr {kind}, {c.constant(('builtin', 'tuple')).reg}")
        is_list = c.reg(f"icmp eq ptr {kind}, {c.constant(('builtin', 'list')).reg}")
        direct = c.reg(f"or i1 {is_tuple}, {is_list}")
        # What is neither a tuple nor a list is walked by an iterator.
        with c.either(direct) as way:
            c.up(sequence.reg)
            way.yes(sequence.reg)
            way.no(c.checked(c.call("PyObject_GetIter", sequence.reg)))
        walker = c.owned(way.reg)
        head, here, there, some, otherwise, end = (
            c.fresh(n) for n in ("for", "here", "there", "item", "orelse", "end")
        )
        c.jump(head)
        c.label(head)
        c.branch(direct, here, there)
        c.label(here)
        i = c.reg(f"load i64, ptr {place}")
        inner, got = c.fresh("in"), c.fresh("got")
        c.branch(c.reg(f"icmp slt i64 {i}, {c.load(sequence.reg, layout.TUPLE_SIZE, 'i64')}"), inner, otherwise)
        c.label(inner)
        in_place = c.at(sequence.reg, layout.TUPLE_ITEMS)  # a list has a pointer there, to its items
        with c.either(is_tuple) as way:
            way.yes(in_place)
            way.no(c.reg(f"load ptr, ptr {in_place}"))
        item = c.reg(f"load ptr, ptr {c.reg(f'getelementptr ptr, ptr {way.reg}, i64 {i}')}")
        c.up(item)
        from_here = c.block
        c.jump(some)
        c.label(there)
        fetched = c.call("PyIter_Next", walker.reg)
        ended = c.fresh("ended")
        c.branch(c.reg(f"icmp eq ptr {fetched}, null"), ended, got)
        c.label(ended)
        c.branch(c.reg(f"icmp eq ptr {c.call('PyErr_Occurred')}, null"), otherwise, c.failure())
        c.label(got)
        c.jump(some)
        c.label(some)
        item = c.reg(f"phi ptr [ {item}, %{from_here} ], [ {fetched}, %{got} ]")
        v = c.owned(item)
        at = c.reg(f"load i64, ptr {place}")
        c.line(f"store i64 {c.reg(f'add i64 {at}, 1')}, ptr {place}")
        if counted is not None:
            self.assign(counted, self.boxed(Val(at, "int")))
        self.assign(target, v)
        self.loops.append((head, end, len(self.contexts)))
        if not inside():
            c.jump(head)
        self.loops.pop()
        c.label(otherwise)
        if not self.body(orelse):
            c.jump(end)
        c.label(end)
        c.release(walker, sequence)

    def comprehension(self, e: ast.ListComp | ast.GeneratorExp, each: Callable) -> None:
        """The loop of a comprehension, in a scope of its own."""
        c = self.c
        if len(e.generators) != 1:
            raise self.refuse(e, "a comprehension of several loops")
        g = e.generators[0]
        targets = [n.id for n in ast.walk(g.target) if isinstance(n, ast.Name)]
        names = {n: c.slot("%" + c.fresh("each." + n)) for n in targets}

        def inside() -> bool:
            go = self.loops[-1][0]
            for test in g.ifs:
                yes = c.fresh("if")
                self.condition(test, yes, go)
                c.label(yes)
            return each()

        # The iterable belongs to the scope outside.
        counted = self.counted(g.iter)
        held = names["."] = c.slot("%" + c.fresh("over"))
        c.replace(held, c.give(self.obj(g.iter if counted is None else counted)))
        outside: ast.expr = ast.Name(".", ast.Load())
        if counted is not None:
            outside = ast.Call(g.iter.func, [outside], [])  # type: ignore[attr-defined]
        self.renamed.append(names)
        self.loop(g.target, outside, inside, [])
        self.renamed.pop()
        for place in names.values():
            self.clear(place)

    def counted(self, e: ast.expr) -> ast.expr | None:
        """What `enumerate(...)` counts, if that is what the expression is."""
        if isinstance(e, ast.Call) and self.known(e.func) is enumerate and len(e.args) == 1 and not e.keywords:
            return e.args[0]
        return None

    def e_ListComp(self, e: ast.ListComp) -> Val:
        c = self.c
        made = c.owned(c.checked(c.call("PyList_New", "0")))

        def each() -> bool:
            v = self.obj(e.elt)
            c.checked_int(c.call("PyList_Append", made.reg, v.reg))
            c.release(v)
            return False

        self.comprehension(e, each)
        return made

    def e_GeneratorExp(self, e: ast.GeneratorExp) -> Val:
        """An iterator over what has been computed: most who take it walk through all of it."""
        c = self.c
        items = self.e_ListComp(ast.ListComp(e.elt, e.generators))
        made = c.owned(c.checked(c.call("PyObject_GetIter", items.reg)))
        c.release(items)
        return made

    def any_or_all(self, any_: bool, e: ast.GeneratorExp) -> Val:
        c = self.c
        place = "%" + c.fresh("found")
        c.entry.append(f"  {place} = alloca i1")
        c.line(f"store i1 {'false' if any_ else 'true'}, ptr {place}")

        def each() -> bool:
            stop, go = c.fresh("stop"), c.fresh("go")
            end = self.loops[-1][1]
            self.condition(e.elt, *((stop, go) if any_ else (go, stop)))
            c.label(stop)
            c.line(f"store i1 {'true' if any_ else 'false'}, ptr {place}")
            c.jump(end)
            c.label(go)
            return False

        self.comprehension(e, each)
        return Val(c.reg(f"load i1, ptr {place}"), "bool")

    def tuple_comprehension(self, e: ast.ListComp) -> Val:
        """`tuple([... for x in items])`, filled in place."""
        c = self.c
        g = e.generators[0]
        if self.counted(g.iter) is not None:
            return self.as_tuple(self.e_ListComp(e))
        source = self.exact_tuple(self.obj(g.iter))
        size = c.load(source.reg, layout.TUPLE_SIZE, "i64")
        made = c.owned(c.checked(c.call("PyTuple_New", size)))
        names = {n.id: c.slot("%" + c.fresh("each." + n.id)) for n in ast.walk(g.target) if isinstance(n, ast.Name)}
        place = "%" + c.fresh("i")
        c.entry.append(f"  {place} = alloca i64")
        c.line(f"store i64 0, ptr {place}")
        head, inside, end = (c.fresh(n) for n in ("fill", "item", "filled"))
        c.jump(head)
        c.label(head)
        i = c.reg(f"load i64, ptr {place}")
        c.branch(c.reg(f"icmp slt i64 {i}, {size}"), inside, end)
        c.label(inside)
        items, targets = c.at(source.reg, layout.TUPLE_ITEMS), c.at(made.reg, layout.TUPLE_ITEMS)
        item = c.reg(f"load ptr, ptr {c.reg(f'getelementptr ptr, ptr {items}, i64 {i}')}")
        c.up(item)
        self.renamed.append(names)
        self.assign(g.target, c.owned(item))
        v = self.obj(e.elt)
        self.renamed.pop()
        c.line(f"store ptr {c.give(v)}, ptr {c.reg(f'getelementptr ptr, ptr {targets}, i64 {i}')}")
        c.line(f"store i64 {c.reg(f'add i64 {i}, 1')}, ptr {place}")
        c.jump(head)
        c.label(end)
        for slot in names.values():
            self.clear(slot)
        c.release(source)
        return made

    def gather(self, parts: list[ast.expr]) -> Val:
        """A new list of values, starred ones spread."""
        c = self.c
        made = c.owned(c.checked(c.call("PyList_New", "0")))
        for part in parts:
            if isinstance(part, ast.Starred):

                def append() -> bool:
                    c.checked_int(c.call("PyList_Append", made.reg, c.reg(f"load ptr, ptr {each}")))
                    return False

                each = c.slot("%" + c.fresh("each"))
                self.renamed.append({"*": each})
                self.loop(ast.Name("*", ast.Store()), part.value, append, [])
                self.renamed.pop()
                self.clear(each)
            else:
                v = self.obj(part)
                c.checked_int(c.call("PyList_Append", made.reg, v.reg))
                c.release(v)
        return made
