"""Statements but for assignments and loops: conditions, leaving, errors and clean-up."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from .calls import Calls
from .emit import Val


class Statements(Calls):
    def s_Pass(self, s: ast.Pass) -> bool:
        return False

    def s_Assert(self, s: ast.Assert) -> bool:
        return False  # for the type checker's sake

    def s_Expr(self, s: ast.Expr) -> bool:
        if not isinstance(s.value, ast.Constant):
            self.c.release(self.expr(s.value))
        return False

    def s_If(self, s: ast.If) -> bool:
        c = self.c
        yes, no, end = c.fresh("then"), c.fresh("else"), c.fresh("end")
        self.condition(s.test, yes, no)
        c.label(yes)
        done = self.body(s.body)
        if not done:
            c.jump(end)
        c.label(no)
        other = self.body(s.orelse)
        if not other:
            c.jump(end)
        if done and other:
            return True
        c.label(end)
        return False

    def s_Return(self, s: ast.Return) -> bool:
        self.leave(self.c.constant(("builtin", "None")) if s.value is None else self.obj(s.value))
        return True

    def leave(self, v: Val) -> None:
        c = self.c
        inside = c.catch, c.base
        contexts = self.contexts
        if contexts:
            v = self.keep(v)  # so that it is released where the clean-up fails
        while self.contexts:
            cleanup, outer = self.contexts[-1]
            self.contexts = self.contexts[:-1]
            c.catch, c.base = outer
            cleanup()
        self.contexts = contexts
        c.catch, c.base = inside
        reg = c.give(v)
        for held in c.live:
            c.down(held)
        for slot in c.slots:
            held = c.reg(f"load ptr, ptr {slot}")
            c.line(f"call void @drop(ptr {held})")
        if self.recursive:
            c.call("Py_LeaveRecursiveCall")
        c.line(f"ret ptr {reg}")

    def s_Raise(self, s: ast.Raise) -> bool:
        c = self.c
        if s.exc is None and self.errors and self.errors[-1]:
            self.restore(self.errors[-1])
            return True
        if s.exc is None or s.cause is not None:
            raise self.refuse(s, "raise without, or from, an exception")
        known = self.known(s.exc)
        if isinstance(known, type) and issubclass(known, BaseException):
            c.call("PyErr_SetObject", self.obj(s.exc).reg, c.none())
            c.jump(c.failure())
            return True
        v = self.obj(s.exc)
        wrong = c.fresh("wrong")
        self.raise_class(v, wrong)
        is_error = c.checked_int(c.call("PyObject_IsInstance", v.reg, c.constant(("builtin", "BaseException")).reg))
        right = c.fresh("error")
        c.branch(c.reg(f"icmp eq i32 {is_error}, 0"), wrong, right, unlikely=wrong)
        c.label(wrong)
        text = c.constant(("bytes", "exceptions must derive from BaseException"))
        c.call("PyErr_SetString", c.constant(("builtin", "TypeError")).reg, c.call("PyBytes_AsString", text.reg))
        c.jump(c.failure())
        c.label(right)
        c.call("PyErr_SetObject", c.type_of(v.reg), v.reg)
        c.jump(c.failure())
        if v.own:
            c.live.remove(v.reg)
        return True

    def raise_class(self, v: Val, wrong: str) -> None:
        """Raise what is not an object but a class: with no arguments."""
        c = self.c
        is_class = c.checked_int(c.call("PyObject_IsInstance", v.reg, c.constant(("builtin", "type")).reg))
        look, right, other = c.fresh("class"), c.fresh("right"), c.fresh("object")
        c.branch(c.reg(f"icmp eq i32 {is_class}, 0"), other, look)
        c.label(look)
        is_error = c.call("PyType_IsSubtype", v.reg, c.constant(("builtin", "BaseException")).reg)
        c.branch(c.reg(f"icmp eq i32 {is_error}, 0"), wrong, right)
        c.label(right)
        c.call("PyErr_SetObject", v.reg, c.none())
        c.jump(c.failure())
        c.label(other)

    def s_Try(self, s: ast.Try) -> bool:
        if s.orelse or len(s.handlers) > 1:
            raise self.refuse(s, "try with else, or more than one except")
        if s.finalbody:
            inner: Sequence[ast.stmt] = s.body if not s.handlers else [ast.Try(s.body, s.handlers, [], [])]
            return self.protected(lambda: self.body(inner), lambda: self.body(s.finalbody))
        return self.catching(s)

    def catching(self, s: ast.Try) -> bool:
        c = self.c
        handler = s.handlers[0]
        if handler.type is None:
            raise self.refuse(s, "except that names no class")
        outer = c.catch, c.base
        caught = c.fresh("except")
        c.catch, c.base = caught, len(c.live)
        end = c.fresh("end")
        done = self.body(s.body)
        if not done:
            c.jump(end)
        c.catch, c.base = outer
        c.label(caught)
        kind = self.obj(handler.type)
        matches = c.reg(f"icmp ne i32 {c.call('PyErr_ExceptionMatches', kind.reg)}, 0")
        c.release(kind)
        handle = c.fresh("handle")
        c.branch(matches, handle, c.failure())
        c.label(handle)
        again = any(isinstance(n, ast.Raise) and n.exc is None for part in handler.body for n in ast.walk(part))
        error = self.fetch() if handler.name is not None or again else []
        if not error:
            c.call("PyErr_Clear")
        if handler.name is not None:
            value = c.reg(f"load ptr, ptr {error[1]}")
            c.up(value)
            c.replace(self.local(handler.name), value)
        self.errors.append(error)
        other = self.body(handler.body)
        self.errors.pop()
        if not other:
            for place in error:
                self.clear(place)
            if handler.name is not None:
                self.clear(self.local(handler.name))
        if not other:
            c.jump(end)
        if done and other:
            return True
        c.label(end)
        return False

    def fetch(self) -> list[str]:
        """Take the error that is set; where its three parts stand."""
        c = self.c
        places = [c.slot("%" + c.fresh("error")) for _ in range(3)]
        for place in places:  # left over from an earlier round of a loop
            self.clear(place)
        c.call("PyErr_Fetch", *places)
        c.call("PyErr_NormalizeException", *places)
        return places

    def restore(self, places: list[str]) -> None:
        """Set an error that was taken again."""
        c = self.c
        parts = [c.reg(f"load ptr, ptr {place}") for place in places]
        for place in places:
            c.line(f"store ptr null, ptr {place}")
        c.call("PyErr_Restore", *parts)
        c.jump(c.failure())

    def protected(self, body: Callable, cleanup: Callable) -> bool:
        """`body`, and `cleanup` after it in whatever way it is left."""
        c = self.c
        outer = c.catch, c.base
        failed, after = c.fresh("failed"), c.fresh("end")
        c.catch, c.base = failed, len(c.live)
        self.contexts.append((cleanup, outer))
        done = body()
        self.contexts.pop()
        c.catch, c.base = outer
        if not done:
            cleanup()
            c.jump(after)
        c.label(failed)
        error = self.fetch()
        cleanup()
        self.restore(error)
        if done:
            return True
        c.label(after)
        return False

    def s_With(self, s: ast.With) -> bool:
        """`with lock:`, whose exit looks at no error."""
        c = self.c
        if len(s.items) != 1 or s.items[0].optional_vars is not None:
            raise self.refuse(s, "more than one simple context")
        manager = self.keep(self.obj(s.items[0].context_expr))
        c.release(self.vectorcall("PyObject_VectorcallMethod", c.constant(("str", "__enter__")).reg, [manager]))
        done = self.protected(lambda: self.body(s.body), lambda: self.leave_context(manager))
        if done:
            c.live.remove(manager.reg)
        else:
            c.release(manager)
        return done

    def leave_context(self, manager: Val) -> None:
        c = self.c
        nothing = Val(c.none())
        name = c.constant(("str", "__exit__")).reg
        c.release(self.vectorcall("PyObject_VectorcallMethod", name, [manager, nothing, nothing, nothing]))
