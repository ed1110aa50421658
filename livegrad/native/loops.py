"""Loops, comprehensions, and lists and tuples that are made by walking over something."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from . import layout, walks
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

    def loop(
        self, target: ast.expr, over: ast.expr, inside: Callable, orelse: list[ast.stmt], begin: Callable | None = None
    ) -> None:
        """begin: called before the first round, with what is walked."""
        c = self.c
        counted = None
        if self.is_call(over, enumerate, 1, 1) and isinstance(target, ast.Tuple) and len(target.elts) == 2:
            counted, target = target.elts
            over = over.args[0]  # type: ignore[attr-defined]
        place = "%" + c.fresh("i")
        c.entry.append(f"  {place} = alloca i64")
        c.line(f"store i64 0, ptr {place}")
        walk = self.walk(target, over)
        # What is not of a kind that is walked in place is walked by an iterator.
        with c.either(walk.direct) as way:
            none = c.none()
            c.up(none)
            way.yes(none)
            way.no(walk.iterator())
        walker = c.owned(way.reg)
        if begin is not None:
            begin(walk)
        head, here, there, some, otherwise, end = (
            c.fresh(n) for n in ("for", "here", "there", "item", "orelse", "end")
        )
        c.jump(head)
        c.label(head)
        c.branch(walk.direct, here, there)
        c.label(here)
        i = c.reg(f"load i64, ptr {place}")
        inner, got = c.fresh("in"), c.fresh("got")
        c.branch(c.reg(f"icmp slt i64 {i}, {walk.length()}"), inner, otherwise)
        c.label(inner)
        for each, item in walk.items(target, i):
            self.assign(each, item)
        c.jump(some)
        c.label(there)
        fetched = c.call("PyIter_Next", walker.reg)
        ended = c.fresh("ended")
        c.branch(c.reg(f"icmp eq ptr {fetched}, null"), ended, got)
        c.label(ended)
        c.branch(c.reg(f"icmp eq ptr {c.call('PyErr_Occurred')}, null"), otherwise, c.failure())
        c.label(got)
        self.assign(target, c.owned(fetched))
        c.jump(some)
        c.label(some)
        at = c.reg(f"load i64, ptr {place}")
        c.line(f"store i64 {c.reg(f'add i64 {at}, 1')}, ptr {place}")
        if counted is not None:
            self.assign(counted, self.boxed(Val(at, "int")))
        self.loops.append((head, end, len(self.contexts)))
        if not inside():
            c.jump(head)
        self.loops.pop()
        c.label(otherwise)
        if not self.body(orelse):
            c.jump(end)
        c.label(end)
        c.release(walker, *walk.parts)

    def is_call(self, e: ast.expr, function: Any, least: int, most: int) -> bool:
        """Whether an expression is a call of a known function with so many arguments, all by position."""
        return (
            isinstance(e, ast.Call)
            and not e.keywords
            and least <= len(e.args) <= most
            and not any(isinstance(a, ast.Starred) for a in e.args)
            and self.known(e.func) is function
        )

    def walk(self, target: ast.expr, over: ast.expr) -> walks.Walk:
        """How to go through what an expression gives, item by item."""
        c = self.c
        if isinstance(target, ast.Tuple) and self.is_call(over, zip, len(target.elts), len(target.elts)):
            return walks.Together(c, [self.keep(self.obj(a)) for a in over.args], self.call_of)  # type: ignore
        if self.is_call(over, range, 1, 2):
            return walks.Numbers(c, [self.keep(self.obj(a)) for a in over.args], self.call_of)  # type: ignore
        return walks.Items(c, [self.keep(self.obj(over))], self.call_of)

    def call_of(self, name: str, given: list[Val]) -> str:
        """A new reference: what a built-in function returns."""
        return self.c.give(self.vectorcall("PyObject_Vectorcall", self.c.constant(("builtin", name)).reg, given))  # type: ignore

    def comprehension(self, e: ast.ListComp | ast.GeneratorExp, each: Callable, begin: Callable | None = None) -> None:
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
        outside = self.evaluated(g.iter, names)
        self.renamed.append(names)
        self.loop(g.target, outside, inside, [], begin)
        self.renamed.pop()
        for place in names.values():
            self.clear(place)

    def evaluated(self, e: ast.expr, names: dict[str, str]) -> ast.expr:
        """The same expression over values that are computed now and stand in new places, which are added to `names`."""
        c = self.c
        if any(self.is_call(e, f, 1, 2) for f in (enumerate, zip, range)):
            return ast.Call(e.func, [self.evaluated(a, names) for a in e.args], [])  # type: ignore[attr-defined]
        name = f".{len(names)}"
        v = c.give(self.obj(e))
        names[name] = c.slot("%" + c.fresh("over"))
        c.replace(names[name], v)
        return ast.Name(name, ast.Load())

    def e_ListComp(self, e: ast.ListComp) -> Val:
        made: list[Val] = []

        def begin(walk: walks.Walk) -> None:
            made.append(self.empty_list(walk.expected()))

        def each() -> bool:
            self.add_to(made[0], self.obj(e.elt))
            return False

        self.comprehension(e, each, begin)
        return made[0]

    def empty_list(self, room: str) -> Val:
        """A new list with room for so many items (i64)."""
        c = self.c
        made = c.checked(c.call("PyList_New", room))
        c.line(f"store i64 0, ptr {c.at(made, layout.LIST_SIZE)}")
        return c.owned(made)

    def add_to(self, made: Val, item: Val) -> None:
        """Append to what is exactly a list: in place where there is room."""
        c = self.c
        size = c.load(made.reg, layout.LIST_SIZE, "i64")
        room, full, end = c.fresh("room"), c.fresh("full"), c.fresh("appended")
        c.branch(c.reg(f"icmp slt i64 {size}, {c.load(made.reg, layout.LIST_ROOM, 'i64')}"), room, full)
        c.label(room)
        c.up(item.reg)
        items = c.load(made.reg, layout.LIST_ITEMS)
        c.line(f"store ptr {item.reg}, ptr {c.reg(f'getelementptr ptr, ptr {items}, i64 {size}')}")
        c.line(f"store i64 {c.reg(f'add i64 {size}, 1')}, ptr {c.at(made.reg, layout.LIST_SIZE)}")
        c.jump(end)
        c.label(full)
        c.checked_int(c.call("PyList_Append", made.reg, item.reg))
        c.jump(end)
        c.label(end)
        c.release(item)

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
        if any(self.is_call(g.iter, f, 1, 2) for f in (enumerate, zip, range)):
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
        made = self.empty_list(str(len(parts)))
        for part in parts:
            if isinstance(part, ast.Starred):

                def append() -> bool:
                    self.add_to(made, Val(c.reg(f"load ptr, ptr {each}")))
                    return False

                each = c.slot("%" + c.fresh("each"))
                self.renamed.append({"*": each})
                self.loop(ast.Name("*", ast.Store()), part.value, append, [])
                self.renamed.pop()
                self.clear(each)
            else:
                self.add_to(made, self.obj(part))
        return made
