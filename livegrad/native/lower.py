"""From a function's Python source to code on the interpreter's C interface, with the meaning of Python.

A hot function may use: parameters of any kind but `**`; names, attributes, subscripts, tuples, lists, dictionaries, comparisons,
arithmetic, conditions, f-strings, calls, comprehensions of one loop; assignment, `if`, `while`, `for`, `return`,
`raise`, `break`, `continue`, `pass`; `try` with one `except`, which names a class and swallows the error or ends with
`raise`, and `finally`; `with` of what looks at no error, as a lock does. What it cannot use (`lambda`, inner functions,
imports) belongs in an ordinary function that it calls; such a function is refused when the unit is built, which the
tests do.

What makes the code fast: slots of known classes are read and written in place, behind a comparison of the object's
type; hot functions call each other directly; a module's own names are resolved when the code is loaded, unless some
function rebinds them (`global`). Whatever is of any other kind takes the interpreter's own way.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import textwrap
import types
import weakref
from collections.abc import Callable
from typing import Any

from ..runtime import memory
from ..runtime.pool import run_here
from . import layout
from .emit import Code, Unit, Val

OBJECT_CLOSURE, OBJECT_ORIGINAL = 24, 32  # of a compiled function's object (see `functions`)
_COMPARE = {ast.Lt: 0, ast.LtE: 1, ast.Eq: 2, ast.NotEq: 3, ast.Gt: 4, ast.GtE: 5}
_SIGNED = {ast.Lt: "slt", ast.LtE: "sle", ast.Eq: "eq", ast.NotEq: "ne", ast.Gt: "sgt", ast.GtE: "sge"}
_ARITHMETIC = {
    ast.Add: "Add", ast.Sub: "Subtract", ast.Mult: "Multiply", ast.FloorDiv: "FloorDivide", ast.Div: "TrueDivide", ast.Pow: "Power", ast.Mod: "Remainder",
    ast.BitAnd: "And", ast.BitOr: "Or", ast.LShift: "Lshift", ast.RShift: "Rshift",
}  # fmt: skip
_VECTORCALL_OFFSET = 1 << 63  # the word before the arguments may be written to


class Unsupported(Exception):
    """A hot function uses something that cannot be compiled."""


class World:
    """What the compiled functions may know of: one another, classes with slots, and which global names change."""

    def __init__(self, functions: dict[Any, Any], symbol: Callable, classes: list[type], inline: set):
        symbols = self.symbols = {code: symbol(f) for code, f in functions.items()}
        self.modules = {symbols[code]: f.__module__ for code, f in functions.items()}
        self.inline = inline  # code objects of functions that take the reading of slots into themselves
        self.methods: dict[str, list[tuple[type, Any]]] = {}
        for cls in classes:
            for name in dir(cls):
                function = getattr(cls, name)
                if getattr(function, "__code__", None) in symbols:
                    self.methods.setdefault(name, []).append((cls, function))
        self.slots: dict[str, list[tuple[int, list[type]]]] = {}
        for cls in [*classes, types.CodeType]:
            for name, offset in layout.slots(cls).items():
                places = self.slots.setdefault(name, [])
                same = next((known for place, known in places if place == offset), None)
                if same is None:
                    places.append((offset, [cls]))
                else:
                    same.append(cls)
        self._all = set(self.modules.values())
        self._all_methods = {f.__module__ for places in self.methods.values() for _, f in places}
        self._rebound: dict[str, set[str]] = {}
        self._trees: dict[str, ast.Module] = {}
        self.written: set[tuple[str, str]] = set()  # functions for slots that the unit has already

    def symbol(self, function: Any) -> str | None:
        return self.symbols.get(getattr(function, "__code__", None))

    def tree(self, function: Any) -> ast.FunctionDef:
        """The syntax of a function; a lambda's as that of a function that returns its value."""
        if function.__name__ != "<lambda>":
            tree = ast.parse(textwrap.dedent(inspect.getsource(function.__code__))).body[0]
            assert isinstance(tree, ast.FunctionDef)
            return tree
        code = function.__code__
        module = self._trees.get(function.__module__)
        if module is None:
            module = self._trees[function.__module__] = ast.parse(inspect.getsource(sys.modules[function.__module__]))
        names = code.co_varnames[: code.co_argcount + bool(code.co_flags & inspect.CO_VARARGS)]
        found = [
            n
            for n in ast.walk(module)
            if isinstance(n, ast.Lambda)
            and n.lineno == code.co_firstlineno
            and tuple(a.arg for a in [*n.args.args, *([n.args.vararg] if n.args.vararg else [])]) == names
        ]
        if len(found) != 1:
            raise Unsupported(
                f"{function.__module__}:{code.co_firstlineno}: more than one lambda like this on the line"
            )
        body: list[ast.stmt] = [ast.Return(found[0].body)]
        return ast.FunctionDef("lambda", found[0].args, body, [], lineno=1)

    def callees(self, module: str) -> set[str]:
        """The modules whose hot functions those of a module may call."""
        names = vars(sys.modules[module])
        found = {f.__module__ for f in names.values() if self.symbol(f) is not None}
        found |= {v.__name__ for v in names.values() if isinstance(v, types.ModuleType) and v.__name__ in self._all}
        return found | self._all_methods

    def rebound(self, module: str) -> set[str]:
        """Global names of a module that its functions assign to."""
        found = self._rebound.get(module)
        if found is None:
            try:
                tree = ast.parse(inspect.getsource(sys.modules[module]))
            except (OSError, TypeError):  # not written in Python
                tree = ast.parse("")
            found = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
            self._rebound[module] = found
        return found


def describe_class(cls: type) -> tuple:
    if getattr(builtins, cls.__name__, None) is cls:
        return ("builtin", cls.__name__)
    if cls.__module__ == "builtins":
        return ("types", next(n for n, v in vars(types).items() if v is cls))
    return ("global", cls.__module__, cls.__qualname__)


def lower(unit: Unit, world: World, function: Any) -> None:
    """Add the code of a function to the unit: the function itself and what the interpreter calls."""
    _Function(unit, world, function).build()


def is_one_of(c: Code, kind: str, classes: list[type]) -> str:
    tests = [c.reg(f"icmp eq ptr {kind}, {c.constant(describe_class(cls)).reg}") for cls in classes]
    while len(tests) > 1:
        tests = [c.reg(f"or i1 {tests[0]}, {tests[1]}"), *tests[2:]]
    return tests[0]


def slot_function(unit: Unit, world: World, what: str, name: str) -> str:
    """`@get.NAME(object)`: a new reference, or null. `@set.NAME(object, reference)`, which takes it over: 0, or -1."""
    c = Code(unit)
    kind = c.type_of("%o")
    for offset, classes in world.slots[name]:
        yes, no = c.fresh("slot"), c.fresh("next")
        c.branch(is_one_of(c, kind, classes), yes, no)
        c.label(yes)
        if what == "get":
            reg = c.load("%o", offset)
            full = c.fresh("full")
            c.branch(c.reg(f"icmp eq ptr {reg}, null"), no, full)
            c.label(full)
            c.up(reg)
            c.line(f"ret ptr {reg}")
        else:
            c.replace(c.at("%o", offset), "%v")
            c.line("ret i32 0")
        c.label(no)
    key = c.constant(("str", name)).reg
    if what == "get":
        c.line(f"ret ptr {c.call('PyObject_GetAttr', '%o', key, tail=True)}")
        head = f"define internal ptr @get.{name}(ptr %o) {{"
    else:
        result = c.call("PyObject_SetAttr", "%o", key, "%v")
        c.down("%v")
        c.line(f"ret i32 {result}")
        head = f"define internal i32 @set.{name}(ptr %o, ptr %v) {{"
    return "\n".join([head, "entry:", *c.lines, "}"])


class _Function:
    def __init__(self, unit: Unit, world: World, function: Any):
        self.unit, self.world, self.function = unit, world, function
        self.c = Code(unit)
        self.c.block = "start"
        self.symbol = world.symbols[function.__code__]
        self.module = function.__module__
        code = function.__code__
        self.named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        self.variadic = bool(code.co_flags & inspect.CO_VARARGS)
        self.spread = bool(code.co_flags & inspect.CO_VARKEYWORDS)
        self.params = code.co_varnames[: len(self.named) + self.variadic + self.spread]
        self.freevars = code.co_freevars
        if code.co_posonlyargcount:
            raise Unsupported(f"{function.__qualname__}: parameters of a kind that cannot be compiled")
        tree = self.tree = world.tree(function)
        assigned = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
        # What a comprehension uses, too, is a variable of its own kind to the interpreter, but not here.
        names = dict.fromkeys(code.co_varnames + code.co_cellvars)
        self.locals = {n: f"%v.{n}" for n in names if n in assigned or n not in self.params}
        self.exact = self.exact_classes()
        self.inline = function.__code__ in world.inline
        self.renamed: list[dict[str, str]] = []
        self.loops: list[tuple[str, str, int]] = []
        self.contexts: list[tuple[Callable, tuple]] = []  # what `with` and `finally` around do at their end
        self.errors: list[list[str]] = []  # what the handlers around have caught
        self.arrays = 0

    def exact_classes(self) -> dict[str, type]:
        """Variables that only ever hold new objects of one class that is known here: their slots need no test."""
        bound: dict[str, list] = {}
        made: dict[str, list] = {}
        for n in ast.walk(self.tree):
            if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load):
                bound.setdefault(n.id, []).append(n)
            if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call):
                f = self.known(n.value.func)
                args = n.value.args
                cls = self.known(args[0]) if f is object.__new__ and len(args) == 1 else f
                if isinstance(cls, type) and cls.__new__ is object.__new__ and type(cls) is type:
                    for target in n.targets:
                        if isinstance(target, ast.Name):
                            made.setdefault(target.id, []).append(cls)
        return {
            name: classes[0]
            for name, classes in made.items()
            if len(classes) == len(bound[name]) and len(set(classes)) == 1 and name not in self.params
        }

    def exact_slot(self, owner: ast.expr, name: str) -> int | None:
        cls = self.exact.get(owner.id) if isinstance(owner, ast.Name) and not self.renamed else None
        if cls is None:
            return None
        return next((offset for offset, classes in self.world.slots.get(name, ()) if cls in classes), None)

    # --- the whole function -------------------------------------------------------------------------------------

    def build(self) -> None:
        c = self.c
        args = ", ".join(f"ptr %a.{p}" for p in self.params)
        for name in self.locals.values():
            c.slot(name)
        for p in self.params:
            if p in self.locals:
                c.up(f"%a.{p}")
                c.line(f"store ptr %a.{p}, ptr {self.locals[p]}")
        if not self.body(self.tree.body):
            self.leave(c.constant(("builtin", "None")))
        c.write_exits()
        c.label("error")
        for slot in c.slots:
            reg = c.reg(f"load ptr, ptr {slot}")
            c.line(f"call void @drop(ptr {reg})")
        c.line("ret ptr null")
        self.unit.text.append(
            "\n".join(
                [
                    f"define ptr @{self.symbol}(ptr %closure{', ' if args else ''}{args}) {{",
                    "entry:",
                    *c.entry,
                    "  br label %start",
                    "start:",
                    *c.lines,
                    "}",
                ]
            )
        )
        self.unit.text.append(self.entry_point())

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
                default = c.constant(_literal(defaults[name])).reg
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
        made = c.reg(f"call ptr @{self.symbol}({', '.join(f'ptr {r}' for r in [closure, *regs])})")
        for reg in regs[n:]:
            c.down(reg)
        c.line(f"ret ptr {made}")
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

    def refuse(self, node: ast.AST, what: str = "") -> Unsupported:
        line = self.function.__code__.co_firstlineno + getattr(node, "lineno", 1) - 1
        return Unsupported(f"{self.module}:{line}: {what or type(node).__name__} in a hot function")

    # --- statements ---------------------------------------------------------------------------------------------

    def body(self, statements: list[ast.stmt]) -> bool:
        """Lower statements; whether control never reaches their end."""
        for s in statements:
            if getattr(self, "s_" + type(s).__name__, self.s_other)(s):
                return True
        return False

    def s_other(self, s: ast.stmt) -> bool:
        raise self.refuse(s)

    def s_Pass(self, s: ast.Pass) -> bool:
        return False

    def s_Assert(self, s: ast.Assert) -> bool:
        return False  # for the type checker's sake

    def s_Expr(self, s: ast.Expr) -> bool:
        if not isinstance(s.value, ast.Constant):
            self.c.release(self.expr(s.value))
        return False

    def s_Return(self, s: ast.Return) -> bool:
        self.leave(self.c.constant(("builtin", "None")) if s.value is None else self.obj(s.value))
        return True

    def leave(self, v: Val) -> None:
        c = self.c
        reg = c.give(v)
        inside = c.catch, c.base
        contexts = self.contexts
        while self.contexts:
            # The result is lost where the clean-up fails.
            cleanup, outer = self.contexts[-1]
            self.contexts = self.contexts[:-1]
            c.catch, c.base = outer
            cleanup()
        self.contexts = contexts
        c.catch, c.base = inside
        for held in c.live:
            c.down(held)
        for slot in c.slots:
            held = c.reg(f"load ptr, ptr {slot}")
            c.line(f"call void @drop(ptr {held})")
        c.line(f"ret ptr {reg}")

    def s_Raise(self, s: ast.Raise) -> bool:
        if s.exc is None and self.errors:
            self.restore(self.errors[-1])
            return True
        if s.exc is None or s.cause is not None:
            raise self.refuse(s, "raise without, or from, an exception")
        v = self.obj(s.exc)
        self.c.call("PyErr_SetObject", self.c.type_of(v.reg), v.reg)
        self.c.jump(self.c.failure())
        if v.own:
            self.c.live.remove(v.reg)
        return True

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

    def keep(self, v: Val) -> Val:
        """The same value, held by a reference of its own."""
        if v.own:
            return v
        self.c.up(v.reg)
        return self.c.owned(v.reg)

    def s_AnnAssign(self, s: ast.AnnAssign) -> bool:
        if s.value is not None:
            self.assign(s.target, self.obj(s.value))
        return False

    def s_AugAssign(self, s: ast.AugAssign) -> bool:
        c = self.c
        name = _ARITHMETIC.get(type(s.op))
        if name is None:
            raise self.refuse(s)
        name = "PyNumber_" + ("InPlace" + name if name in ("Add", "Subtract") else name)
        if isinstance(s.target, ast.Attribute):
            owner = self.obj(s.target.value)
            before = self.attribute(owner, s.target.attr)
            v = self.obj(s.value)
            made = c.owned(c.checked(c.call(name, before.reg, v.reg)))
            c.release(before, v)
            self.set_attribute(owner, s.target.attr, made)
            c.release(owner)
        elif isinstance(s.target, ast.Name):
            before, v = self.obj(ast.Name(s.target.id, ast.Load())), self.obj(s.value)
            made = c.owned(c.checked(c.call(name, before.reg, v.reg)))
            c.release(before, v)
            self.assign(s.target, made)
        elif isinstance(s.target, ast.Subscript):
            owner, index = self.obj(s.target.value), self.obj(s.target.slice)
            before = c.owned(c.checked(c.call("PyObject_GetItem", owner.reg, index.reg)))
            v = self.obj(s.value)
            made = c.owned(c.checked(c.call(name, before.reg, v.reg)))
            c.checked_int(c.call("PyObject_SetItem", owner.reg, index.reg, made.reg))
            c.release(owner, index, before, v, made)
        else:
            raise self.refuse(s)
        return False

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

    def s_Try(self, s: ast.Try) -> bool:
        if s.orelse or len(s.handlers) > 1:
            raise self.refuse(s, "try with else, or more than one except")
        if s.finalbody:
            inner = s.body if not s.handlers else [ast.Try(s.body, s.handlers, [], [])]
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
        if handler.name is None:
            c.call("PyErr_Clear")
            other = self.body(handler.body)
        else:
            error = self.fetch(normal=True)
            value = c.reg(f"load ptr, ptr {error[1]}")
            c.up(value)
            c.replace(self.local(handler.name), value)
            self.errors.append(error)
            other = self.body(handler.body)
            self.errors.pop()
            if not other:  # a bare `raise` at the end is all that is supported
                raise self.refuse(handler, "a named exception that is not raised again")
        if not other:
            c.jump(end)
        if done and other:
            return True
        c.label(end)
        return False

    def fetch(self, normal: bool = False) -> list[str]:
        """Take the error that is set; where its three parts stand."""
        c = self.c
        places = ["%" + c.fresh("error") for _ in range(3)]
        c.entry.extend(f"  {place} = alloca ptr" for place in places)
        c.call("PyErr_Fetch", *places)
        if normal:
            c.call("PyErr_NormalizeException", *places)
        return places

    def restore(self, places: list[str]) -> None:
        c = self.c
        c.call("PyErr_Restore", *[c.reg(f"load ptr, ptr {place}") for place in places])
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

    def s_Break(self, s: ast.Break) -> bool:
        return self.to_loop(s, 1)

    def s_Continue(self, s: ast.Continue) -> bool:
        return self.to_loop(s, 0)

    def to_loop(self, s: ast.stmt, which: int) -> bool:
        if len(self.contexts) != self.loops[-1][2]:
            raise self.refuse(s, "leaving a with or finally that is inside of the loop")
        self.c.jump(self.loops[-1][which])
        return True

    def s_For(self, s: ast.For) -> bool:
        self.loop(s.target, s.iter, lambda: self.body(s.body), s.orelse)
        return False

    def loop(self, target: ast.expr, over: ast.expr, inside: Callable, orelse: list[ast.stmt]) -> None:
        c = self.c
        counted = None
        if isinstance(over, ast.Call) and self.known(over.func) is enumerate and isinstance(target, ast.Tuple):
            counted, target = target.elts
            over = over.args[0]
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

    # --- conditions ---------------------------------------------------------------------------------------------

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
        else:
            c.branch(self.truth(self.expr(e)), yes, no)

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

    # --- expressions --------------------------------------------------------------------------------------------

    def expr(self, e: ast.expr) -> Val:
        return getattr(self, "e_" + type(e).__name__, self.e_other)(e)

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

    def e_other(self, e: ast.expr) -> Val:
        raise self.refuse(e)

    def e_Constant(self, e: ast.Constant) -> Val:
        return self.c.constant(_literal(e.value))

    def local(self, name: str) -> str:
        for names in reversed(self.renamed):
            if name in names:
                return names[name]
        return self.locals[name]

    def e_Name(self, e: ast.Name) -> Val:
        c = self.c
        name = e.id
        for names in reversed(self.renamed):
            if name in names:
                return Val(c.reg(f"load ptr, ptr {names[name]}"))
        if name in self.locals:
            reg = c.reg(f"load ptr, ptr {self.locals[name]}")
            if name not in self.params:
                unbound, go = c.fresh("unbound"), c.fresh("bound")
                c.branch(c.reg(f"icmp eq ptr {reg}, null"), unbound, go, unlikely=unbound)
                c.label(unbound)
                text = c.constant(("bytes", f"cannot access local variable '{name}'"))
                kind = c.constant(("builtin", "UnboundLocalError"))
                c.call("PyErr_SetString", kind.reg, c.call("PyBytes_AsString", text.reg))
                c.jump(c.failure())
                c.label(go)
            return Val(reg)
        if name in self.params:
            return Val(f"%a.{name}")
        if name in self.freevars:
            return Val(c.load("%closure", 8 * self.freevars.index(name)))
        if name in self.function.__globals__:
            if name in self.world.rebound(self.module):
                found = c.call(
                    "PyDict_GetItemWithError",
                    c.constant(("globals", self.module)).reg,
                    c.constant(("str", name)).reg,
                )
                c.checked(found)
                c.up(found)
                return c.owned(found)
            return c.constant(("global", self.module, name))
        if hasattr(builtins, name):
            return c.constant(("builtin", name))
        raise self.refuse(e, f"unknown name {name!r}")

    def known(self, e: ast.expr) -> Any:
        """The object that an expression is known to be when the code is made, else None."""
        if isinstance(e, ast.Name):
            name = e.id
            if name in self.locals or name in self.params or name in self.freevars:
                return None
            if name in self.function.__globals__:
                return None if name in self.world.rebound(self.module) else self.function.__globals__[name]
            return getattr(builtins, name, None)
        if isinstance(e, ast.Attribute):
            owner = self.known(e.value)
            if isinstance(owner, types.ModuleType):
                found = getattr(owner, e.attr, None)
                fixed = (
                    isinstance(found, type)
                    or self.world.symbol(found) is not None
                    or found in (memory.peek, memory.poke)
                )
                if fixed and e.attr not in self.world.rebound(owner.__name__):
                    return found
        return None

    def e_Attribute(self, e: ast.Attribute) -> Val:
        c = self.c
        found = self.known(e)
        if found is not None:
            return c.constant(("global", self.known(e.value).__name__, e.attr))
        owner = self.obj(e.value)
        v = self.attribute(owner, e.attr)
        c.release(owner)
        return v

    def attribute(self, owner: Val, name: str) -> Val:
        c = self.c
        if name == "__class__":
            kind = c.type_of(owner.reg)
            c.up(kind)
            return c.owned(kind)
        frame = {"f_code": "PyFrame_GetCode", "f_back": "PyFrame_GetBack", "f_lasti": "PyFrame_GetLasti"}.get(name)
        if frame is not None:
            is_frame = c.reg(f"icmp eq ptr {c.type_of(owner.reg)}, {c.constant(('types', 'FrameType')).reg}")
            with c.either(is_frame) as way:
                got = c.call(frame, owner.reg)
                if name == "f_lasti":
                    got = c.checked(c.call("PyLong_FromSsize_t", c.reg(f"sext i32 {got} to i64")))
                elif name == "f_back":
                    got = self.or_none(got)
                way.yes(got)
                way.no(self.get_attribute(owner, name))
            return c.owned(way.reg)
        places = self.world.slots.get(name)
        if not places:
            return c.owned(self.get_attribute(owner, name))
        self.need("get", name)
        inline = " alwaysinline" if self.inline else ""
        return c.owned(c.checked(c.reg(f"call ptr @get.{name}(ptr {owner.reg}){inline}")))

    def need(self, what: str, name: str) -> None:
        """Add the function that reads or writes a slot of that name, whichever class the object is of."""
        if (what, name) not in self.world.written:
            self.world.written.add((what, name))
            self.unit.text.append(slot_function(self.unit, self.world, what, name))

    def or_none(self, reg: str) -> str:
        c = self.c
        with c.either(c.reg(f"icmp eq ptr {reg}, null")) as way:
            none = c.none()
            c.up(none)
            way.yes(none)
            way.no(reg)
        return way.reg

    def is_one_of(self, kind: str, classes: list[type]) -> str:
        return is_one_of(self.c, kind, classes)

    def get_attribute(self, owner: Val, name: str) -> str:
        c = self.c
        return c.checked(c.call("PyObject_GetAttr", owner.reg, c.constant(("str", name)).reg))

    def set_attribute(self, owner: Val, name: str, v: Val) -> None:
        c = self.c
        if name in self.world.slots:
            self.need("set", name)
            inline = " alwaysinline" if self.inline else ""
            c.checked_int(c.reg(f"call i32 @set.{name}(ptr {owner.reg}, ptr {c.give(v)}){inline}"))
        else:
            c.checked_int(c.call("PyObject_SetAttr", owner.reg, c.constant(("str", name)).reg, v.reg))
            c.release(v)

    def e_Subscript(self, e: ast.Subscript) -> Val:
        c = self.c
        owner = self.obj(e.value)
        index = e.slice
        negative = isinstance(index, ast.UnaryOp) and isinstance(index.op, ast.USub)
        if isinstance(index, ast.Constant) and isinstance(index.value, int):
            k = index.value
        elif negative and isinstance(index.operand, ast.Constant):  # type: ignore[union-attr]
            k = -index.operand.value  # type: ignore[union-attr,operator]
        else:
            at = self.obj(index)
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

    def tuple_comprehension(self, e: ast.ListComp) -> Val:
        """`tuple([... for x in items])`, filled in place."""
        c = self.c
        g = e.generators[0]
        if self._is_enumerate(g.iter):
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

    def clear(self, place: str) -> None:
        c = self.c
        held = c.reg(f"load ptr, ptr {place}")
        c.line(f"store ptr null, ptr {place}")
        c.line(f"call void @drop(ptr {held})")

    def as_tuple(self, v: Val) -> Val:
        made = self.c.owned(self.c.checked(self.c.call("PySequence_Tuple", v.reg)))
        self.c.release(v)
        return made

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
        """As a list: whoever takes it walks through all of it."""
        return self.e_ListComp(ast.ListComp(e.elt, e.generators))

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
        over = self.keep(self.obj(g.iter)) if not self._is_enumerate(g.iter) else None
        if over is not None:
            held = c.slot("%" + c.fresh("over"))
            c.replace(held, c.give(over))
            names["."] = held
        self.renamed.append(names)
        self.loop(g.target, ast.Name(".", ast.Load()) if over is not None else g.iter, inside, [])
        self.renamed.pop()
        for place in names.values():
            self.clear(place)

    def _is_enumerate(self, e: ast.expr) -> bool:
        return isinstance(e, ast.Call) and self.known(e.func) is enumerate

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

    def flag(self, e: ast.expr) -> Val:
        """The truth of a condition as a value."""
        c = self.c
        yes, no, end = c.fresh("yes"), c.fresh("no"), c.fresh("end")
        self.condition(e, yes, no)
        c.label(yes)
        c.jump(end)
        c.label(no)
        c.jump(end)
        c.label(end)
        return Val(c.reg(f"phi i1 [ true, %{yes} ], [ false, %{no} ]"), "bool")

    def e_UnaryOp(self, e: ast.UnaryOp) -> Val:
        c = self.c
        if isinstance(e.op, ast.Not):
            return Val(c.reg(f"xor i1 {self.truth(self.expr(e.operand))}, true"), "bool")
        if isinstance(e.op, ast.USub):
            if isinstance(e.operand, ast.Constant):
                return c.constant(_literal(-e.operand.value))  # type: ignore[operator]
            v = self.obj(e.operand)
            made = c.owned(c.checked(c.call("PyNumber_Negative", v.reg)))
            c.release(v)
            return made
        raise self.refuse(e)

    def e_BinOp(self, e: ast.BinOp) -> Val:
        c = self.c
        name = _ARITHMETIC.get(type(e.op))
        if name is None:
            raise self.refuse(e)
        x, y = self.obj(e.left), self.obj(e.right)
        extra = (c.none(),) if name == "Power" else ()
        made = c.owned(c.checked(c.call("PyNumber_" + name, x.reg, y.reg, *extra)))
        c.release(x, y)
        return made

    def e_Compare(self, e: ast.Compare) -> Val:
        c = self.c
        if len(e.ops) != 1:
            # What stands between two comparisons is looked at twice, so it must be a plain name or number.
            if not all(isinstance(m, (ast.Name, ast.Constant)) for m in e.comparators[:-1]):
                raise self.refuse(e, "a chain of comparisons of expressions")
            sides = [e.left, *e.comparators]
            pairs = [ast.Compare(a, [op], [b]) for a, op, b in zip(sides, e.ops, sides[1:])]
            return self.flag(ast.BoolOp(ast.And(), pairs))  # type: ignore[arg-type]
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
        x = self.expr(e.left)
        right = e.comparators[0]
        if x.kind == "int" and isinstance(right, ast.Constant) and isinstance(right.value, int):
            return Val(c.reg(f"icmp {_SIGNED[type(op)]} i64 {x.reg}, {right.value}"), "bool")
        y = self.expr(right)
        if x.kind == "int" and y.kind == "int":
            return Val(c.reg(f"icmp {_SIGNED[type(op)]} i64 {x.reg}, {y.reg}"), "bool")
        x, y = self.boxed(x), self.boxed(y)
        found = c.checked_int(c.call("PyObject_RichCompareBool", x.reg, y.reg, str(_COMPARE[type(op)])))
        c.release(x, y)
        return Val(c.reg(f"icmp ne i32 {found}, 0"), "bool")

    # --- calls --------------------------------------------------------------------------------------------------

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
            if symbol is not None and not target.__closure__:
                return self.direct(symbol, target, e.args, e.keywords)
        elif isinstance(e.func, ast.Attribute) and e.func.attr not in self.world.slots and not e.keywords:
            return self.method(e.func, e.args)
        callee = self.obj(e.func)
        args_ = [self.obj(a) for a in [*e.args, *(k.value for k in e.keywords)]]
        names = tuple(k.arg for k in e.keywords)
        made = self.vectorcall("PyObject_Vectorcall", callee.reg, args_, names)  # type: ignore[arg-type]
        c.release(callee, *args_)
        return made

    def code(self, symbol: str) -> str:
        """The address of another hot function: of this unit, or from the table of constants."""
        if self.world.modules[symbol] == self.unit.name:
            return "@" + symbol
        return self.c.constant(("code", symbol)).reg

    def vectorcall(self, how: str, callee: str, args: list[Val], names: tuple[str, ...] = ()) -> Val:
        c = self.c
        n = len(args) - len(names)
        keywords = c.constant(_literal(names)).reg if names else "null"
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
                placed[name] = c.constant(_literal(defaults[name]))
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
            if not _takes(function, len(given) + 1):
                continue
            yes, no = c.fresh("own"), c.fresh("next")
            c.branch(self.is_one_of(kind, [cls]), yes, no)
            c.label(yes)
            regs = ", ".join(f"ptr {v.reg}" for v in [owner, *given])
            reg = c.checked(c.reg(f"call ptr {self.code(self.world.symbol(function))}(ptr null, {regs})"))
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
        c.checked_int(c.call("PyList_Append", owner.reg, item.reg))
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
        if target is next and len(args) == 1:
            v = self.obj(args[0])
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
        if isinstance(target, type) and not args and _plain(target):
            return self.new(target)
        if isinstance(target, type) and target.__new__ is object.__new__ and type(target) is type:
            symbol = self.world.symbol(target.__init__)
            if symbol is not None and _takes(target.__init__, len(args) + 1):
                made = self.new(target)
                given = [self.obj(a) for a in args]
                regs = ", ".join(f"ptr {v.reg}" for v in [made, *given])
                c.release(c.owned(c.checked(c.reg(f"call ptr {self.code(symbol)}(ptr null, {regs})"))), *given)
                return made
        if target is run_here:
            return self.run_here(args)
        if target is memory.peek:
            address, size = self.words(args)
            return c.owned(c.checked(c.call("PyBytes_FromStringAndSize", self.pointer(address), size)))
        if target is memory.poke:
            (address,) = self.words(args[:1])
            data = self.obj(args[1])
            size = c.call("PyObject_Size", data.reg)
            source = c.checked(c.call("PyBytes_AsString", data.reg))
            to = self.pointer(address)
            c.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")
            c.release(data)
            return c.constant(("builtin", "None"))
        return None

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


def _takes(function: Any, n: int) -> bool:
    """Whether a function takes just so many arguments, all by position."""
    code = function.__code__
    return code.co_argcount == n and not code.co_kwonlyargcount and not code.co_flags & 0x0C


def _plain(cls: type) -> bool:
    """Whether calling a class does nothing but make an empty object."""
    return cls.__new__ is object.__new__ and cls.__init__ is object.__init__ and type(cls) is type


def _literal(value: Any) -> tuple:
    if value is None or value is True or value is False or value is Ellipsis:
        return ("builtin", repr(value))
    if isinstance(value, int):
        return ("int", value)
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, str):
        return ("str", value)
    if isinstance(value, tuple):
        return ("tuple", *[_literal(x) for x in value])
    raise Unsupported(f"a constant of type {type(value).__name__}")
