"""Calls of what is known when the code is made, written out: some built-in functions, new objects, machine code."""

from __future__ import annotations

import ast
import sys
import weakref
from typing import Any

from ..runtime import raw
from ..runtime.pool import run_here
from . import numpys
from .constants import describe_class
from .emit import Val
from .expressions import Expressions
from .world import left_out, plain


class Builtin(Expressions):
    def special(self, target: Any, args: list[ast.expr]) -> Val | None:
        """Calls of what is known, written out."""
        c = self.c
        if target is len and len(args) == 1:
            v = self.obj(args[0])
            n = c.call("PyObject_Size", v.reg)
            c.fail_if(c.reg(f"icmp slt i64 {n}, 0"))
            c.release(v)
            return Val(n, "int")
        if target is tuple and len(args) == 1:
            if isinstance(args[0], ast.GeneratorExp):
                args = [ast.ListComp(args[0].elt, args[0].generators)]
            if isinstance(args[0], ast.ListComp) and not args[0].generators[0].ifs:
                return self.tuple_comprehension(args[0])
            return self.as_tuple(self.obj(args[0]))
        if target in (any, all) and len(args) == 1 and isinstance(args[0], ast.GeneratorExp):
            return self.any_or_all(target is any, args[0])
        if target is id and len(args) == 1:
            v = self.obj(args[0])
            made = c.owned(c.checked(c.call("PyLong_FromVoidPtr", v.reg)))
            c.release(v)
            return made
        if target in (next, iter) and args and isinstance(args[0], ast.GeneratorExp):
            raise self.refuse(args[0], "a generator that is not walked to its end")
        if target is next and len(args) == 1 and hasattr(type(self.known(args[0])), "__next__"):
            return self.next_of(args[0])
        if target is weakref.ref and len(args) == 1:
            v = self.obj(args[0])
            made = c.owned(c.checked(c.call("PyWeakref_NewRef", v.reg, "null")))
            c.release(v)
            return made
        if target is sys._getframe:
            frame = c.call("PyEval_GetFrame")
            with c.either(c.reg(f"icmp eq ptr {frame}, null")) as way:
                way.yes(c.none())
                way.no(frame)
            c.up(way.reg)
            return c.owned(way.reg)
        if target is isinstance and len(args) == 2:
            return self.is_instance(args)
        if target is object.__new__ and len(args) == 1:
            cls = self.known(args[0])
            return self.new(cls) if isinstance(cls, type) else None
        if isinstance(target, type) and not args and plain(target):
            return self.new(target)
        if isinstance(target, type) and target.__new__ is object.__new__ and type(target) is type:
            init = target.__init__  # type: ignore[misc]
            symbol = self.world.symbol(init)
            others = None if symbol is None else left_out(init, len(args) + 1)
            if symbol is not None and others is not None:
                made = self.new(target)
                given = [*[self.obj(a) for a in args], *[c.constant(d) for d in others]]
                regs = ", ".join(f"ptr {v.reg}" for v in [made, *given])
                c.release(c.owned(c.checked(c.reg(f"call ptr {self.code(symbol)}(ptr null, {regs})"))), *given)
                return made
        if target is run_here:
            return self.run_here(args)
        if target is raw.peek:
            address, size = self.words(args)
            return c.owned(c.checked(c.call("PyBytes_FromStringAndSize", self.pointer(address), size)))
        if target is raw.poke:
            (address,) = self.words(args[:1])
            data = self.obj(args[1])
            size = c.call("PyObject_Size", data.reg)
            source = c.checked(c.call("PyBytes_AsString", data.reg))
            to = self.pointer(address)
            c.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")
            c.release(data)
            return c.constant(("builtin", "None"))
        if target is raw.array_at:
            self.need("array", "at", lambda: numpys.array_function(self.unit))
            given = [self.obj(a) for a in args]
            regs = ", ".join(f"ptr {v.reg}" for v in given)
            made = c.owned(c.checked(c.reg(f"call ptr @array.at({regs})")))
            c.release(*given)
            return made
        return None

    def next_of(self, e: ast.expr) -> Val:
        c = self.c
        v = self.obj(e)
        made = c.call("PyIter_Next", v.reg)
        ended, go = c.fresh("ended"), c.fresh("next")
        c.branch(c.reg(f"icmp eq ptr {made}, null"), ended, go, unlikely=ended)
        c.label(ended)
        c.fail_if(c.reg(f"icmp ne ptr {c.call('PyErr_Occurred')}, null"))
        c.call("PyErr_SetObject", c.constant(("builtin", "StopIteration")).reg, c.none())
        c.jump(c.failure())
        c.label(go)
        c.release(v)
        return c.owned(made)

    def run_here(self, args: list[ast.expr]) -> Val:
        """A call of machine code at an address: `run_here(kernel, arguments, begin, end)`."""
        c = self.c
        kernel, begin, end = self.words([args[0], *args[2:]])
        packed = self.obj(args[1])
        data = c.checked(c.call("PyBytes_AsString", packed.reg))
        run, done = c.fresh("run"), c.fresh("ran")
        c.branch(c.reg(f"icmp slt i64 {begin}, {end}"), run, done)
        c.label(run)
        c.line(f"call void {self.pointer(kernel)}(ptr {data}, i64 {begin}, i64 {end})")
        c.jump(done)
        c.label(done)
        c.release(packed)
        return c.constant(("builtin", "None"))

    def words(self, args: list[ast.expr]) -> list[str]:
        """Whole numbers in registers."""
        c = self.c
        found = []
        for a in args:
            v = self.obj(a)
            word = c.call("PyLong_AsSsize_t", v.reg)
            look, go = c.fresh("look"), c.fresh("word")
            c.branch(c.reg(f"icmp eq i64 {word}, -1"), look, go)
            c.label(look)
            c.fail_if(c.reg(f"icmp ne ptr {c.call('PyErr_Occurred')}, null"))
            c.jump(go)
            c.label(go)
            c.release(v)
            found.append(word)
        return found

    def pointer(self, word: str) -> str:
        return self.c.reg(f"inttoptr i64 {word} to ptr")

    def new(self, cls: type) -> Val:
        c = self.c
        kind = c.constant(describe_class(cls)).reg
        return c.owned(c.checked(c.call("PyType_GenericAlloc", kind, "0")))

    def is_instance(self, args: list[ast.expr]) -> Val:
        c = self.c
        v = self.obj(args[0])
        cls = self.known(args[1])
        wanted = self.obj(args[1])
        before, ask, end = c.fresh("exact"), c.fresh("ask"), c.fresh("is")
        c.jump(before)
        c.label(before)
        if isinstance(cls, type):
            c.branch(c.reg(f"icmp eq ptr {c.type_of(v.reg)}, {wanted.reg}"), end, ask)
        else:
            c.branch("false", end, ask)
        c.label(ask)
        asked = c.checked_int(c.call("PyObject_IsInstance", v.reg, wanted.reg))
        answer = c.reg(f"icmp ne i32 {asked}, 0")
        last = c.block
        c.jump(end)
        c.label(end)
        made = c.reg(f"phi i1 [ true, %{before} ], [ {answer}, %{last} ]")
        c.release(v, wanted)
        return Val(made, "bool")
