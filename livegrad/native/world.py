"""What compiled functions may know of: one another, classes with slots, names, and how constants are described."""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import sys
import textwrap
import types
from collections.abc import Callable
from typing import Any

from . import layout
from .constants import module_of


def written(function: Any) -> Any:
    """The Python form of a function, which may be compiled already."""
    return function.__wrapped__ if type(function).__name__ == "compiled_function" else function


class Unsupported(Exception):
    """A hot function uses something that cannot be compiled."""


class World:
    """What the compiled functions may know of: one another, classes with slots, and which global names change."""

    def __init__(self, functions: dict[Any, Any], symbol: Callable, classes: list[type], inline: set, unit: Callable):
        self.functions = list(functions.values())
        self._recursive: set[str] | None = None
        symbols = self.symbols = {code: symbol(f) for code, f in functions.items()}
        self.units = {symbols[code]: unit(f) for code, f in functions.items()}
        self.inline = inline  # code objects of functions that take the reading of slots into themselves
        self.methods: dict[str, list[tuple[type, Any]]] = {}
        self.properties: dict[str, list[tuple[type, Any]]] = {}
        # What a class states once for all its objects: description of the constant -> classes, by name.
        self.fixed: dict[str, dict[tuple, list[type]]] = {}
        for cls in classes:
            for name in dir(cls):
                found = getattr(cls, name)
                if type(found) in (bool, int) and not name.startswith("__"):
                    self.fixed.setdefault(name, {}).setdefault(literal(found), []).append(cls)
                function = written(found.fget if isinstance(found, property) else found)
                if getattr(function, "__code__", None) in symbols and not function.__closure__:
                    kind = self.properties if isinstance(found, property) else self.methods
                    kind.setdefault(name, []).append((cls, function))
        self.slots: dict[str, list[tuple[int, list[type]]]] = {}
        for cls in [*classes, types.CodeType]:
            for name, offset in layout.slots(cls).items():
                places = self.slots.setdefault(name, [])
                same = next((known for place, known in places if place == offset), None)
                if same is None:
                    places.append((offset, [cls]))
                else:
                    same.append(cls)
        self._rebound: dict[str, set[str]] = {}
        self._lambdas: dict[str, dict[int, list[ast.Lambda]]] = {}  # by module, and by line
        self._parsed: dict[Any, ast.FunctionDef] = {}

    def symbol(self, function: Any) -> str | None:
        return self.symbols.get(getattr(written(function), "__code__", None))

    def tree(self, function: Any) -> ast.FunctionDef:
        """The syntax of a function; a lambda's as that of a function that returns its value."""
        tree = self._parsed.get(function.__code__)
        if tree is None:
            tree = self._lambda(function) if function.__name__ == "<lambda>" else _parse(function.__code__)
            self._parsed[function.__code__] = tree
        return tree

    def _lambda(self, function: Any) -> ast.FunctionDef:
        code, module = function.__code__, module_of(function)
        lines = self._lambdas.get(module)
        if lines is None:
            lines = self._lambdas[module] = {}
            for n in walk(ast.parse(inspect.getsource(sys.modules[module]))):
                if isinstance(n, ast.Lambda):
                    lines.setdefault(n.lineno, []).append(n)
        names = code.co_varnames[: code.co_argcount + bool(code.co_flags & inspect.CO_VARARGS)]
        found = [
            n
            for n in lines.get(code.co_firstlineno, ())
            if tuple(a.arg for a in [*n.args.args, *([n.args.vararg] if n.args.vararg else [])]) == names
        ]
        if len(found) != 1:
            raise Unsupported(f"{module}:{code.co_firstlineno}: more than one lambda like this on the line")
        body: list[ast.stmt] = [ast.Return(found[0].body)]
        return ast.FunctionDef("lambda", found[0].args, body, [], lineno=1)

    def recursive(self) -> set[str]:
        """Functions that may call themselves, by way of others perhaps, without the interpreter in between."""
        if self._recursive is None:
            calls = {self.symbols[f.__code__]: self._calls(f) for f in self.functions}
            self._recursive = set()
            for start in calls:
                found: set[str] = set()
                left = [start]
                while left:
                    new = calls.get(left.pop(), set()) - found
                    found |= new
                    left.extend(new)
                if start in found:
                    self._recursive.add(start)
        return self._recursive

    def _calls(self, function: Any) -> set[str]:
        """The hot functions that a function may call directly, by the names in it; rather too many than too few."""
        names = _names(function.__code__)
        found: set[str | None] = set()
        targets = [function.__globals__[name] for name in names if name in function.__globals__]
        for owner in [t for t in targets if isinstance(t, types.ModuleType)]:
            targets += [vars(owner)[name] for name in names if name in vars(owner)]
        for target in targets:
            found.add(self.symbol(target))
            if isinstance(target, type):
                found.add(self.symbol(target.__init__))  # type: ignore[misc]
        nodes = walk(self.tree(function))
        called = {n.func.attr for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
        for name in called:
            found.update(self.symbol(f) for _, f in self.methods.get(name, ()))
        read = {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}
        for name in read:
            found.update(self.symbol(f) for _, f in self.properties.get(name, ()))
        return {symbol for symbol in found if symbol is not None}

    def rebound(self, module: str) -> set[str]:
        """Global names of a module that its functions assign to."""
        found = self._rebound.get(module)
        if found is None:
            try:
                text = inspect.getsource(sys.modules[module])
            except (OSError, TypeError):  # not written in Python
                text = ""
            # A line of a text that looks like the statement does no harm.
            statements = re.findall(r"^[ \t]+global[ \t]+([^#;\n]+)", text, re.MULTILINE)
            found = self._rebound[module] = {name.strip() for names in statements for name in names.split(",")}
        return found


def walk(tree: ast.AST) -> list[ast.AST]:
    """All nodes of a tree; what `ast.walk` gives, in half its time."""
    found = [tree]
    for node in found:
        for name in node._fields:
            part = getattr(node, name, None)
            if isinstance(part, list):
                found += [each for each in part if isinstance(each, ast.AST)]
            elif isinstance(part, ast.AST):
                found.append(part)
    return found


def _names(code: types.CodeType) -> set[str]:
    """The names in a function that are not of its variables: globals, attributes."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


def _parse(code: types.CodeType) -> ast.FunctionDef:
    """The syntax of the function that begins on a line: what follows until the indentation is that of its head."""
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    margin = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    inside, end = False, len(lines)
    for k, line in enumerate(lines):
        text = line.lstrip()
        if not inside:
            inside = text.startswith("def ")  # decorators come before
        elif text and len(line) - len(text) <= margin and text[0] not in ")]}#":
            end = k
            break
    try:
        tree = ast.parse(textwrap.dedent("".join(lines[:end]))).body[0]
    except (SyntaxError, IndexError):  # what looked like the end was inside a text
        tree = ast.parse(textwrap.dedent(inspect.getsource(code))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    return tree


def literal(value: Any) -> tuple:
    if value is None or value is True or value is False or value is Ellipsis:
        return ("builtin", repr(value))
    if isinstance(value, int):
        return ("int", value)
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, str):
        return ("str", value)
    if isinstance(value, tuple):
        return ("tuple", *[literal(x) for x in value])
    if isinstance(value, frozenset):
        return ("frozenset", *sorted([literal(x) for x in value], key=repr))
    raise Unsupported(f"a constant of type {type(value).__name__}")


def left_out(function: Any, n: int) -> list[tuple] | None:
    """The defaults, as constants, that go with n arguments by position; None of a function that takes others, too."""
    function = written(function)
    code, defaults = function.__code__, function.__defaults__ or ()
    missing = code.co_argcount - n
    if not 0 <= missing <= len(defaults) or code.co_kwonlyargcount or code.co_flags & 0x0C:
        return None
    try:
        return [literal(d) for d in defaults[len(defaults) - missing :]]
    except Unsupported:
        return None


def plain(cls: type) -> bool:
    """Whether calling a class does nothing but make an empty object."""
    return cls.__new__ is object.__new__ and cls.__init__ is object.__init__ and type(cls) is type  # type: ignore[misc]
