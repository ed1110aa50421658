"""What loops go through: the items of tuples and lists, of several of them together, and whole numbers, in place.

Whether something can be walked in place (`direct`, i1) is seen when the loop begins; an iterator goes through
whatever else there is.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from . import layout
from .emit import Code, Val
from .small import whole


class Walk:
    """parts: what is walked, each held by a reference. call: makes a new reference of a built-in's name and values."""

    def __init__(self, c: Code, parts: list[Val], call: Callable[[str, list[Val]], str]):
        self.c, self.parts, self.call = c, parts, call
        self.direct = self.find()

    def find(self) -> str:
        """Whether it can be walked in place."""
        raise NotImplementedError

    def iterator(self) -> str:
        """A new reference: what goes through it where that is not so."""
        raise NotImplementedError

    def length(self) -> str:
        """How many items there are now; asked only where it is walked in place."""
        raise NotImplementedError

    def items(self, target: ast.expr, i: str) -> Iterator[tuple[ast.expr, Val]]:
        """What to assign in round i, and to what."""
        raise NotImplementedError

    def expected(self) -> str:
        """How many items to make room for."""
        c = self.c
        known, end = c.fresh("known"), c.fresh("expected")
        before = c.block
        c.branch(self.direct, known, end)
        c.label(known)
        n = self.length()
        last = c.block
        c.jump(end)
        c.label(end)
        return c.reg(f"phi i64 [ 0, %{before} ], [ {n}, %{last} ]")


class Items(Walk):
    """A tuple or a list."""

    def find(self) -> str:
        self.is_tuple, direct = self.sequence(self.parts[0])
        return direct

    def sequence(self, v: Val) -> tuple[str, str]:
        """Whether something is a tuple, and whether a tuple or a list."""
        c = self.c
        kind = c.type_of(v.reg)
        tests = [c.reg(f"icmp eq ptr {kind}, {c.constant(('builtin', n)).reg}") for n in ("tuple", "list")]
        return tests[0], c.reg(f"or i1 {tests[0]}, {tests[1]}")

    def iterator(self) -> str:
        return self.c.checked(self.c.call("PyObject_GetIter", self.parts[0].reg))

    def length(self) -> str:
        return self.c.load(self.parts[0].reg, layout.TUPLE_SIZE, "i64")

    def item(self, v: Val, is_tuple: str, i: str) -> Val:
        c = self.c
        in_place = c.at(v.reg, layout.TUPLE_ITEMS)
        held = c.reg(f"load ptr, ptr {in_place}")  # a list's items, or a tuple's first one
        base = c.reg(f"select i1 {is_tuple}, ptr {in_place}, ptr {held}")
        item = c.reg(f"load ptr, ptr {c.reg(f'getelementptr ptr, ptr {base}, i64 {i}')}")
        c.up(item)
        return c.owned(item)

    def items(self, target: ast.expr, i: str) -> Iterator[tuple[ast.expr, Val]]:
        yield target, self.item(self.parts[0], self.is_tuple, i)


class Together(Items):
    """`zip` of tuples and lists, whose items go to a target each."""

    def find(self) -> str:
        found = [self.sequence(v) for v in self.parts]
        self.are_tuples = [is_tuple for is_tuple, _ in found]
        direct = found[0][1]
        for _, one in found[1:]:
            direct = self.c.reg(f"and i1 {direct}, {one}")
        return direct

    def iterator(self) -> str:
        return self.call("zip", [Val(v.reg) for v in self.parts])

    def length(self) -> str:
        c = self.c
        least, *others = [c.load(v.reg, layout.TUPLE_SIZE, "i64") for v in self.parts]
        for n in others:
            least = c.reg(f"select i1 {c.reg(f'icmp slt i64 {n}, {least}')}, i64 {n}, i64 {least}")
        return least

    def items(self, target: ast.expr, i: str) -> Iterator[tuple[ast.expr, Val]]:
        assert isinstance(target, ast.Tuple)
        # All are fetched before one is assigned, which may free what holds the others.
        found = [self.item(v, is_tuple, i) for v, is_tuple in zip(self.parts, self.are_tuples)]
        yield from zip(target.elts, found)


class Numbers(Walk):
    """`range` of one or two small whole numbers."""

    def find(self) -> str:
        c = self.c
        other, all_small, end = c.fresh("other"), c.fresh("small"), c.fresh("numbers")
        found = [whole(c, v.reg, other) for v in self.parts]
        c.jump(all_small)
        c.label(all_small)
        begin, stop = (["0", *found])[-2:]
        n = c.reg(f"sub i64 {stop}, {begin}")
        c.jump(end)
        c.label(other)
        c.jump(end)
        c.label(end)
        self.begin = c.reg(f"phi i64 [ {begin}, %{all_small} ], [ 0, %{other} ]")
        self.n = c.reg(f"phi i64 [ {n}, %{all_small} ], [ 0, %{other} ]")
        return c.reg(f"phi i1 [ true, %{all_small} ], [ false, %{other} ]")

    def iterator(self) -> str:
        made = self.c.owned(self.call("range", [Val(v.reg) for v in self.parts]))
        walker = self.c.checked(self.c.call("PyObject_GetIter", made.reg))
        self.c.release(made)
        return walker

    def length(self) -> str:
        return self.n

    def expected(self) -> str:
        return self.c.reg(f"select i1 {self.c.reg(f'icmp sgt i64 {self.n}, 0')}, i64 {self.n}, i64 0")

    def items(self, target: ast.expr, i: str) -> Iterator[tuple[ast.expr, Val]]:
        c = self.c
        k = c.reg(f"add i64 {self.begin}, {i}")
        yield target, c.owned(c.checked(c.call("PyLong_FromSsize_t", k)))
