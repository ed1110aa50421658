"""What all parts of the translation lean on: its state, the walk over the syntax, values as objects, conditions."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from .constants import describe_class, module_of
from .emit import Code, Unit, Val
from .world import Unsupported, World, walk


def is_one_of(c: Code, kind: str, classes: list[type]) -> str:
    tests = [c.reg(f"icmp eq ptr {kind}, {c.constant(describe_class(cls)).reg}") for cls in classes]
    while len(tests) > 1:
        tests = [c.reg(f"or i1 {tests[0]}, {tests[1]}"), *tests[2:]]
    return tests[0]


def code_of(c: Code, unit: Unit, world: World, symbol: str) -> str:
    """The address of a hot function: of this unit, or from the table of constants."""
    return "@" + symbol if world.units[symbol] == unit.name else c.constant(("code", symbol)).reg


class Base:
    """The translation of one function: where it is. Methods `s_...` translate statements, `e_...` expressions."""

    def __init__(self, unit: Unit, world: World, function: Any):
        self.unit, self.world, self.function = unit, world, function
        self.c = Code(unit)
        self.c.block = "start"
        self.symbol = world.symbols[function.__code__]
        self.module = module_of(function)
        code = function.__code__
        self.named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        self.variadic = bool(code.co_flags & inspect.CO_VARARGS)
        self.spread = bool(code.co_flags & inspect.CO_VARKEYWORDS)
        self.params = code.co_varnames[: len(self.named) + self.variadic + self.spread]
        self.freevars = code.co_freevars
        if code.co_posonlyargcount:
            raise Unsupported(f"{function.__qualname__}: parameters of a kind that cannot be compiled")
        tree = self.tree = world.tree(function)
        assigned = {n.id for n in walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
        # What a comprehension uses, too, is a variable of its own kind to the interpreter, but not here.
        names = dict.fromkeys(code.co_varnames + code.co_cellvars)
        self.locals = {n: f"%v.{n}" for n in names if n in assigned or n not in self.params}
        self.recursive = self.symbol in world.recursive()
        self.inline = function.__code__ in world.inline
        self.renamed: list[dict[str, str]] = []
        self.loops: list[tuple[str, str, int]] = []  # where `continue` and `break` go, and contexts around
        self.contexts: list[tuple[Callable, tuple]] = []  # what `with` and `finally` around do at their end
        self.errors: list[list[str]] = []  # what the handlers around have caught
        self.arrays = 0

    def refuse(self, node: ast.AST, what: str = "") -> Unsupported:
        line = self.function.__code__.co_firstlineno + getattr(node, "lineno", 1) - 1
        return Unsupported(f"{self.module}:{line}: {what or type(node).__name__} in a hot function")

    def body(self, statements: Sequence[ast.stmt]) -> bool:
        """Lower statements; whether control never reaches their end."""
        return any(getattr(self, "s_" + type(s).__name__, self.s_other)(s) for s in statements)

    def s_other(self, s: ast.stmt) -> bool:
        raise self.refuse(s)

    def expr(self, e: ast.expr) -> Val:
        return getattr(self, "e_" + type(e).__name__, self.e_other)(e)

    def e_other(self, e: ast.expr) -> Val:
        raise self.refuse(e)

    def obj(self, e: ast.expr) -> Val:
        """An expression's value as an object."""
        return self.boxed(self.expr(e))

    def boxed(self, v: Val) -> Val:
        c = self.c
        if v.kind == "int":
            return c.owned(c.checked(c.call("PyLong_FromSsize_t", v.reg)))
        if v.kind == "bool":
            true, false = c.constant(("builtin", "True")).reg, c.constant(("builtin", "False")).reg
            return Val(c.reg(f"select i1 {v.reg}, ptr {true}, ptr {false}"))
        return v

    def keep(self, v: Val) -> Val:
        """The same value, held by a reference of its own."""
        if v.own:
            return v
        self.c.up(v.reg)
        return self.c.owned(v.reg)

    def code(self, symbol: str) -> str:
        """The address of another hot function: of this unit, or from the table of constants."""
        return code_of(self.c, self.unit, self.world, symbol)

    def clear(self, place: str) -> None:
        c = self.c
        held = c.reg(f"load ptr, ptr {place}")
        c.line(f"store ptr null, ptr {place}")
        c.line(f"call void @drop(ptr {held})")

    def pairs(self, e: ast.Compare) -> ast.BoolOp:
        """A chain of comparisons, one by one."""
        # What stands between two comparisons is looked at twice, so it must be a plain name or number.
        if not all(isinstance(m, (ast.Name, ast.Constant)) for m in e.comparators[:-1]):
            raise self.refuse(e, "a chain of comparisons of expressions")
        sides = [e.left, *e.comparators]
        return ast.BoolOp(ast.And(), [ast.Compare(a, [op], [b]) for a, op, b in zip(sides, e.ops, sides[1:])])

    def condition(self, e: ast.expr, yes: str, no: str) -> None:
        """Branch on the truth of an expression."""
        c = self.c
        if isinstance(e, ast.BoolOp):
            for part in e.values[:-1]:
                go = c.fresh("and")
                if isinstance(e.op, ast.And):
                    self.condition(part, go, no)
                else:
                    self.condition(part, yes, go)
                c.label(go)
            self.condition(e.values[-1], yes, no)
        elif isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.Not):
            self.condition(e.operand, no, yes)
        elif isinstance(e, ast.Compare) and len(e.ops) > 1:
            self.condition(self.pairs(e), yes, no)
        else:
            c.branch(self.truth_of(e), yes, no)

    def truth_of(self, e: ast.expr) -> str:
        """Whether an expression is true (i1). Here a comparison makes no object."""
        return self.truth(self.expr(e))

    def need(self, what: str, name: str, write: Callable) -> None:
        """Add the function `@what.name` to the unit, if it is not there yet: what `write` returns."""
        if (what, name) not in self.unit.written:
            self.unit.written.add((what, name))
            self.unit.text.append(write())

    def truth(self, v: Val) -> str:
        c = self.c
        if v.kind == "bool":
            return v.reg
        if v.kind == "int":
            return c.reg(f"icmp ne i64 {v.reg}, 0")
        true = c.constant(("builtin", "True")).reg
        false = c.constant(("builtin", "False")).reg
        is_true = c.reg(f"icmp eq ptr {v.reg}, {true}")
        known = c.reg(f"or i1 {is_true}, {c.reg(f'icmp eq ptr {v.reg}, {false}')}")
        ask, go = c.fresh("ask"), c.fresh("known")
        before = c.block
        c.branch(known, go, ask)
        c.label(ask)
        asked = c.checked_int(c.call("PyObject_IsTrue", v.reg))
        answer = c.reg(f"icmp ne i32 {asked}, 0")
        ask = c.block
        c.jump(go)
        c.label(go)
        result = c.reg(f"phi i1 [ {is_true}, %{before} ], [ {answer}, %{ask} ]")
        c.release(v)
        return result
