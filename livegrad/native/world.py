"""What compiled functions may know of: one another, classes with slots, names, and how constants are described."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import textwrap
import types
from collections.abc import Callable
from typing import Any

from . import layout


def module_of(function: Any) -> str:
    """The module that a function is written in."""
    return function.__globals__["__name__"]


def written(function: Any) -> Any:
    """The Python form of a function, which may be compiled already."""
    return function.__wrapped__ if type(function).__name__ == "compiled_function" else function


class Unsupported(Exception):
    """A hot function uses something that cannot be compiled."""


class World:
    """What the compiled functions may know of: one another, classes with slots, and which global names change."""

    def __init__(self, functions: dict[Any, Any], symbol: Callable, classes: list[type], inline: set):
        self.functions = list(functions.values())
        self._recursive: set[str] | None = None
        symbols = self.symbols = {code: symbol(f) for code, f in functions.items()}
        self.modules = {symbols[code]: module_of(f) for code, f in functions.items()}
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
        self._all = set(self.modules.values())
        self._all_methods = {
            module_of(f) for kind in (self.methods, self.properties) for places in kind.values() for _, f in places
        }
        self._rebound: dict[str, set[str]] = {}
        self._trees: dict[str, ast.Module] = {}
        self.written: set[tuple[str, str]] = set()  # functions for slots that the unit has already

    def symbol(self, function: Any) -> str | None:
        return self.symbols.get(getattr(written(function), "__code__", None))

    def tree(self, function: Any) -> ast.FunctionDef:
        """The syntax of a function; a lambda's as that of a function that returns its value."""
        if function.__name__ != "<lambda>":
            tree = ast.parse(textwrap.dedent(inspect.getsource(function.__code__))).body[0]
            assert isinstance(tree, ast.FunctionDef)
            return tree
        code = function.__code__
        module = self._trees.get(module_of(function))
        if module is None:
            module = self._trees[module_of(function)] = ast.parse(inspect.getsource(sys.modules[module_of(function)]))
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
                f"{module_of(function)}:{code.co_firstlineno}: more than one lambda like this on the line"
            )
        body: list[ast.stmt] = [ast.Return(found[0].body)]
        return ast.FunctionDef("lambda", found[0].args, body, [], lineno=1)

    def callees(self, module: str) -> set[str]:
        """The modules whose hot functions those of a module may call."""
        names = vars(sys.modules[module])
        found = {module_of(written(f)) for f in names.values() if self.symbol(f) is not None}
        found |= {v.__name__ for v in names.values() if isinstance(v, types.ModuleType) and v.__name__ in self._all}
        return found | self._all_methods

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
        found: set[str | None] = set()
        for node in ast.walk(self.tree(function)):
            if isinstance(node, ast.Name):
                target = function.__globals__.get(node.id)
                found.add(self.symbol(target))
                if isinstance(target, type):
                    found.add(self.symbol(target.__init__))  # type: ignore[misc]
            elif isinstance(node, ast.Attribute):
                found.update(self.symbol(f) for _, f in self.methods.get(node.attr, ()))
                found.update(self.symbol(f) for _, f in self.properties.get(node.attr, ()))
                owner = function.__globals__.get(node.value.id) if isinstance(node.value, ast.Name) else None
                if isinstance(owner, types.ModuleType):
                    target = getattr(owner, node.attr, None)
                    found.add(self.symbol(target))
                    if isinstance(target, type):
                        found.add(self.symbol(target.__init__))  # type: ignore[misc]
        return {symbol for symbol in found if symbol is not None}

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
    raise Unsupported(f"a constant of type {type(value).__name__}")


def takes(function: Any, n: int) -> bool:
    """Whether a function takes just so many arguments, all by position."""
    code = written(function).__code__
    return code.co_argcount == n and not code.co_kwonlyargcount and not code.co_flags & 0x0C


def plain(cls: type) -> bool:
    """Whether calling a class does nothing but make an empty object."""
    return cls.__new__ is object.__new__ and cls.__init__ is object.__init__ and type(cls) is type  # type: ignore[misc]
