"""Calls: of other hot functions directly, of methods by the class of their object, and of anything."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

from .base import is_one_of
from .builtin import Builtin
from .emit import Val
from .world import Unsupported, left_out, literal, written

_VECTORCALL_OFFSET = 1 << 63  # the word before the arguments may be written to


class Calls(Builtin):
    def e_Call(self, e: ast.Call) -> Val:
        c = self.c
        target = self.known(e.func)
        spread = any(k.arg is None for k in e.keywords)
        if spread and len(e.keywords) > 1:
            raise self.refuse(e, "keyword arguments beside **")
        if spread or any(isinstance(a, ast.Starred) for a in e.args):
            if e.keywords and not spread:
                raise self.refuse(e, "keyword arguments beside *")
            callee = self.obj(e.func)
            args = self.as_tuple(self.gather(e.args))
            named = self.obj(e.keywords[0].value) if e.keywords else Val("null")
            made = c.owned(c.checked(c.call("PyObject_Call", callee.reg, args.reg, named.reg)))
            c.release(callee, args, named)
            return made
        if target is not None:
            made_here = None if e.keywords else self.special(target, e.args)
            if made_here is not None:
                return made_here
            symbol = self.world.symbol(target)
            if symbol is not None and not written(target).__closure__:
                return self.direct(symbol, written(target), e.args, e.keywords)
        elif isinstance(e.func, ast.Attribute) and e.func.attr not in self.world.slots and not e.keywords:
            return self.method(e.func, e.args)
        callee = self.obj(e.func)
        args_ = [self.obj(a) for a in [*e.args, *(k.value for k in e.keywords)]]
        names = tuple(k.arg for k in e.keywords)
        made = self.vectorcall("PyObject_Vectorcall", callee.reg, args_, names)  # type: ignore[arg-type]
        c.release(callee, *args_)
        return made

    def vectorcall(self, how: str, callee: str, args: list[Val], names: tuple[str, ...] = ()) -> Val:
        c = self.c
        n = len(args) - len(names)
        keywords = c.constant(literal(names)).reg if names else "null"
        array = "%" + c.fresh("args")
        c.entry.append(f"  {array} = alloca [{len(args) + 1} x ptr]")
        first = c.at(array, 8)
        for k, a in enumerate(args):
            c.line(f"store ptr {a.reg}, ptr {c.at(first, 8 * k)}")
        made = c.call(how, callee, first, str((n | _VECTORCALL_OFFSET) - (1 << 64)), keywords)
        return c.owned(c.checked(made))

    def direct(self, symbol: str, target: Any, args: list[ast.expr], keywords: list[ast.keyword]) -> Val:
        c = self.c
        code = target.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        given = [self.obj(a) for a in args]
        placed: dict[str, Val] = dict(zip(names[: code.co_argcount], given))
        extra: list[ast.keyword] = []
        for k in keywords:
            if k.arg in placed:
                raise self.refuse(k, f"argument {k.arg!r} of {target.__qualname__}")
            if k.arg not in names:
                extra.append(k)
                continue
            placed[k.arg] = self.obj(k.value)  # type: ignore[index]
            given.append(placed[k.arg])  # type: ignore[index]
        if extra and not code.co_flags & inspect.CO_VARKEYWORDS:
            raise self.refuse(extra[0], f"argument {extra[0].arg!r} of {target.__qualname__}")
        defaults = dict(zip(reversed(names[: code.co_argcount]), reversed(target.__defaults__ or ())))
        defaults.update(target.__kwdefaults__ or {})
        for name in names:
            if name not in placed:
                if name not in defaults:
                    raise Unsupported(f"{self.symbol} calls {target.__qualname__} without {name}")
                placed[name] = c.constant(literal(defaults[name]))
        passed = [placed[name] for name in names]
        if code.co_flags & inspect.CO_VARARGS:
            more = self.tuple_of([Val(v.reg) for v in given[code.co_argcount : len(args)]])
            passed.append(more)
            given.append(more)
        elif len(args) > code.co_argcount:
            raise Unsupported(f"{self.symbol} calls {target.__qualname__} with {len(args)} arguments")
        if code.co_flags & inspect.CO_VARKEYWORDS:
            more = self.e_Dict(ast.Dict([ast.Constant(k.arg) for k in extra], [k.value for k in extra]))
            passed.append(more)
            given.append(more)
        regs = ", ".join(f"ptr {v.reg}" for v in passed)
        made = c.owned(c.checked(c.reg(f"call ptr {self.code(symbol)}(ptr null{', ' if regs else ''}{regs})")))
        c.release(*given)
        return made

    def method(self, f: ast.Attribute, args: list[ast.expr]) -> Val:
        c = self.c
        owner = self.obj(f.value)
        given = [self.obj(a) for a in args]
        if f.attr == "append" and len(given) == 1:
            return self.guarded(owner, "list", given, f.attr, self.append)
        if f.attr == "get" and len(given) == 1:
            return self.guarded(owner, "dict", given, f.attr, self.look_up)
        kind = c.type_of(owner.reg)
        end = c.fresh("called")
        parts = []
        for cls, function in self.world.methods.get(f.attr, ()):
            others = left_out(function, len(given) + 1)
            if others is None:
                continue
            yes, no = c.fresh("own"), c.fresh("next")
            c.branch(is_one_of(c, kind, [cls]), yes, no)
            c.label(yes)
            regs = ", ".join(f"ptr {v.reg}" for v in [owner, *given, *[c.constant(d) for d in others]])
            reg = c.checked(c.reg(f"call ptr {self.code(self.world.symbols[function.__code__])}(ptr null, {regs})"))
            parts.append((reg, c.block))
            c.jump(end)
            c.label(no)
        made = self.vectorcall("PyObject_VectorcallMethod", c.constant(("str", f.attr)).reg, [owner, *given])
        parts.append((c.give(made), c.block))
        c.jump(end)
        c.label(end)
        made = c.owned(c.reg("phi ptr " + ", ".join(f"[ {r}, %{b} ]" for r, b in parts)))
        c.release(owner, *given)
        return made

    def guarded(self, owner: Val, kind: str, given: list[Val], name: str, inline: Callable) -> Val:
        """A method of a built-in class, called directly where the object is exactly of that class."""
        c = self.c
        is_kind = c.reg(f"icmp eq ptr {c.type_of(owner.reg)}, {c.constant(('builtin', kind)).reg}")
        with c.either(is_kind) as way:
            way.yes(inline(owner, given[0]))
            v = self.vectorcall("PyObject_VectorcallMethod", c.constant(("str", name)).reg, [owner, *given])
            way.no(c.give(v))
        made = c.owned(way.reg)
        c.release(owner, *given)
        return made

    def append(self, owner: Val, item: Val) -> str:
        c = self.c
        self.add_to(owner, Val(item.reg))
        none = c.none()
        c.up(none)
        return none

    def look_up(self, owner: Val, key: Val) -> str:
        c = self.c
        found = c.call("PyDict_GetItemWithError", owner.reg, key.reg)
        with c.either(c.reg(f"icmp eq ptr {found}, null")) as way:
            c.fail_if(c.reg(f"icmp ne ptr {c.call('PyErr_Occurred')}, null"))
            way.yes(c.none())
            way.no(found)
        c.up(way.reg)
        return way.reg
