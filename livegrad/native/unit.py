"""Building the machine code of hot functions, keeping it on disk, and installing it.

The hot functions of one module make one unit: one object on disk, and one job of the helper thread (`llvm.service`),
so that no kernel waits long behind them. Units call one another through their tables of constants, which are filled
when all are there.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from ..llvm import cache, machine, service
from . import COMPILED, FRONTS, HOT, HOTTEST, SLOTTED, Start, layout, originals
from .constants import resolve
from .emit import Unit
from .functions import make, make_class, replace
from .lower import lower
from .world import World, module_of

# What a bound method of a compiled function is made with (`tp_descr_get`): a unit of its own.
_GET = """
define ptr @describe_get(ptr %self, ptr %object, ptr %class) {{
  %none = load ptr, ptr getelementptr (i8, ptr @constants, i64 {none}), !invariant.load !0
  %is.null = icmp eq ptr %object, null
  %is.none = icmp eq ptr %object, %none
  %unbound = or i1 %is.null, %is.none
  br i1 %unbound, label %same, label %bind
same:
  call void @up(ptr %self)
  ret ptr %self
bind:
  %new = load ptr, ptr getelementptr (i8, ptr @api, i64 {new}), !invariant.load !0
  %method = call ptr %new(ptr %self, ptr %object)
  ret ptr %method
}}"""
_METHODS = "methods"
# Machine code and the objects that it refers to stay as long as the process runs.
_kept: list = []


def symbol(function: Any) -> str:
    """The name of a function's code, the same in every process."""
    name = f"{module_of(function)}.{function.__code__.co_qualname}.{function.__code__.co_firstlineno}"
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)


def by_module(functions: dict[Any, list]) -> dict[str, list]:
    """One function of every code object, by module."""
    found: dict[str, list] = {}
    for made in functions.values():
        found.setdefault(module_of(made[0]), []).append(made[0])
    return found


class Builder:
    """Makes the units of the hot functions that there are now."""

    def __init__(self, functions: dict[Any, list]):
        self.functions = functions
        self.modules = by_module(functions)
        classes = sorted(SLOTTED, key=lambda cls: (cls.__module__, cls.__qualname__))
        self.world = World({code: made[0] for code, made in functions.items()}, symbol, classes, HOTTEST)
        shapes = [(cls.__qualname__, sorted(layout.slots(cls).items())) for cls in classes]
        self.common = (
            repr((sys.version, machine.host_description(), shapes, self.world.fixed)).encode() + _own_sources()
        )

    def source(self, module: str) -> tuple[str, dict]:
        """LLVM IR of a module's hot functions, and what its tables are filled with."""
        unit = Unit(module)
        self.world.written.clear()
        for f in self.modules.get(module, ()):
            lower(unit, self.world, f)
        if module == _METHODS:
            none, new = unit.constant(("builtin", "None")), unit.function("PyMethod_New")
            unit.text.append(_GET.format(none=8 * none, new=8 * new))
        return unit.module(), {"api": unit.api, "constants": unit.constants}

    def name(self, module: str) -> str:
        """By what a unit depends on: its source, those of functions that it may call, the interpreter, the layout."""
        h = hashlib.sha256(self.common + module.encode())
        used = {module, *self.world.callees(module)} if module != _METHODS else set()
        for each in sorted(used):
            h.update(repr(sorted(symbol(f) for f in self.modules.get(each, ()))).encode())
            h.update(Path(sys.modules[each].__file__ or "").read_bytes())
        return "native-" + h.hexdigest()

    def read(self, module: str) -> tuple | None:
        """(machine code, tables) of a unit from disk, or None."""
        kept = cache.read(self.name(module))
        if kept is None:
            return None
        head = int.from_bytes(kept[:8], "little")
        return machine.load_object(kept[8 + head :]), json.loads(kept[8 : 8 + head])

    def make(self, module: str) -> tuple:
        """Compile a unit, and keep it on disk."""
        text, tables = self.source(module)
        careful = frozenset(symbol(f) for f in self.modules.get(module, ()) if f.__code__ in HOTTEST)
        compiled = machine.compile_cpu(text, thorough=careful)
        written = json.dumps(tables).encode()
        cache.write(self.name(module), len(written).to_bytes(8, "little") + written + compiled.object_code)
        return compiled, tables


@functools.cache
def _own_sources() -> bytes:
    return b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))


class Installer:
    """Gets all units, one job each, and then puts the compiled functions where the Python ones are."""

    def __init__(self) -> None:
        self.installed: set[str] = set()
        self.codes: set = set()  # code objects whose functions are compiled
        self.error: Exception | None = None
        self.cls: type | None = None
        self.addresses: dict[str, int] = {}  # of functions, for one another
        self.entries: dict[str, int] = {}  # for the interpreter

    def start(self, may_make: bool) -> list[service.Job]:
        """Begin; without `may_make` only if everything is on disk. The jobs that are left to do."""
        # A copy, for another thread may import modules. Those that are being imported come when they are whole.
        hot = {code: list(made) for code, made in list(HOT.items()) if _is_whole(module_of(made[0]))}
        if len(hot) < len(HOT):
            Start.again()
        functions = {code: made for code, made in hot.items() if code not in self.codes}
        if not functions or self.error is not None or not (layout.supported() and layout.check()):
            return []
        try:
            builder = Builder(hot)
            wanted = [m for m in by_module(functions) if m not in self.installed]
            if self.cls is None:
                wanted.append(_METHODS)
            ready = {}
            for module in wanted:
                found = builder.read(module)
                if found is not None:
                    ready[module] = found
            missing = [module for module in wanted if module not in ready]
            if missing and not may_make:
                return []
            jobs = [service.submit(self._step, builder, module, ready) for module in missing]
            return [*jobs, service.submit(self._step, builder, None, ready)]
        except Exception as error:
            self._failed(error)
            return []

    def _step(self, builder: Builder, module: str | None, ready: dict) -> None:
        if self.error is not None:
            return
        try:
            if module is not None:
                ready[module] = builder.make(module)
            else:
                self._finish(builder, ready)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Everything stays as it is, in Python."""
        self.error = error
        if os.environ.get("LIVEGRAD_STRICT"):
            raise error

    def _finish(self, builder: Builder, ready: dict[str, tuple]) -> None:
        functions = {code: HOT[code] for code, made in builder.functions.items() if module_of(made[0]) in ready}
        compiled = self._link(ready, functions)
        for code, made in functions.items():
            COMPILED[code] = functools.partial(self.again, made[0])
        replaced = [f for made in functions.values() for f in made] + [wrapper for wrapper, _ in FRONTS]
        named = [f for f in replaced if id(f) in compiled and originals.is_named(f)]
        replace(compiled)
        for f in named:
            originals.keep(f)
        self.installed.update(ready)
        self.codes.update(functions)

    def again(self, first: Any, function: Any) -> Any:
        """The compiled form of another closure over code that is there already."""
        assert self.cls is not None
        return make(self.cls, self.entries[symbol(first)], function) if like(function, first) else function

    def compile(self, functions: list) -> list:
        """The compiled forms of some functions, which call each other directly; nothing is installed."""
        builder = Builder({f.__code__: [f] for f in functions})
        ready = {module: builder.make(module) for module in [*builder.modules, _METHODS]}
        made = self._link(ready, {f.__code__: [f] for f in functions})
        return [made[id(f)] for f in functions]

    def _link(self, ready: dict[str, tuple], functions: dict[Any, list]) -> dict[int, Any]:
        """Fill the tables of the units; the compiled functions, by the ids of the originals."""
        for made in functions.values():
            name, unit = symbol(made[0]), ready[module_of(made[0])][0]
            self.addresses[name] = unit.address(name)
        for compiled, tables in ready.values():
            api = [ctypes.cast(getattr(ctypes.pythonapi, n), ctypes.c_void_p).value for n in tables["api"]]
            _fill(compiled, "get_api", api)
            _kept.append(compiled)
        cls = self.cls
        if cls is None:
            cls = self.cls = make_class(ready[_METHODS][0].address("describe_get"))
        compiled_functions = {}
        for made in functions.values():
            unit = ready[module_of(made[0])][0]
            address = self.entries[symbol(made[0])] = unit.address("enter." + symbol(made[0]))
            for f in made:
                if like(f, made[0]):
                    compiled_functions[id(f)] = make(cls, address, f)
        for wrapper, f in FRONTS:
            if f.__code__ in functions and like(f, functions[f.__code__][0]):
                compiled_functions[id(wrapper)] = make(cls, self.entries[symbol(f)], f, wrapper)
        for compiled, tables in ready.values():
            words = []
            for description in tables["constants"]:
                if description[0] == "code":
                    words.append(self.addresses[description[1]])
                else:
                    constant = resolve(description)
                    constant = compiled_functions.get(id(constant), constant)
                    _kept.append(constant)
                    words.append(id(constant))
            _fill(compiled, "get_constants", words)
        return compiled_functions


def like(function: Any, other: Any) -> bool:
    """Whether two functions of the same code have the same defaults, which are part of the machine code."""
    mine, others = ((f.__defaults__, f.__kwdefaults__) for f in (function, other))
    return repr(mine) == repr(others)


def _is_whole(module: str) -> bool:
    """Whether a module's import has come to its end."""
    return not getattr(sys.modules[module].__spec__, "_initializing", False)


def _fill(compiled: Any, name: str, words: list) -> None:
    table = ctypes.CFUNCTYPE(ctypes.c_void_p)(compiled.address(name))()
    (ctypes.c_void_p * len(words)).from_address(table)[:] = words


INSTALLER = Installer()


def install(may_make: bool = True, wait: bool = False) -> None:
    """Put machine code in the place of the hot functions; see `Installer.start`. wait: until it is there."""
    begun = service.submit(INSTALLER.start, may_make)
    if wait:
        begun.wait()
        for job in begun.result or ():
            job.wait()
        if INSTALLER.error is not None and os.environ.get("LIVEGRAD_STRICT"):
            raise INSTALLER.error


def installed() -> bool:
    """Whether hot functions run as machine code."""
    return bool(INSTALLER.installed)


def failure() -> Exception | None:
    """Why they do not, where it was tried."""
    return INSTALLER.error
