"""Putting machine code in the place of the hot functions.

Where the code comes from: from the disk, where all of the library's is one entry (`library`); in the meantime, and
for functions that are not in that, this process makes it of those that have run, in little time (`build`). Code from
the disk takes the place of the other later on.

All of this happens on the helper thread (`llvm.service`), in parts, so that no kernel waits long behind it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from ..llvm import machine, service
from . import COMPILED, FRONTS, HOT, LOOK_EVERY, MAKE_AFTER, SLOTTED, Start, has_run, layout, library, originals
from .constants import METHODS, defaults, is_whole, module_of, resolve, symbol
from .functions import aim, make, make_class, replace
from .process import MAKER

__all__ = ["INSTALLER", "Installer", "failure", "install", "installed", "symbol"]

# Machine code and the objects that it refers to stay as long as the process runs.
_kept: list = []


class Installer:
    """Which functions run as machine code, and of what kind."""

    def __init__(self) -> None:
        self.library: library.Library | None = None
        self.linked: set[str] = set()  # units of the library that are in place
        self.quick: set = set()  # code objects of functions that were made here
        self.careful: set = set()  # those whose code is the library's
        self.error: Exception | None = None
        self.cls: type | None = None
        self.addresses: dict[str, int] = {}  # of the library's functions, for one another
        self.entries: dict[str, int] = {}  # of functions, for the interpreter: the newest
        self.defaults: dict[str, str] = {}  # which are part of that code
        self.objects: dict[int, Any] = {}  # what stands for functions, by the ids of their Python forms
        self.forms: dict[Any, list] = {}  # the same and their defaults, by code object
        self.open: list = []  # constants of the library's units that wait for a module's import: table, place, which
        self.classes: set[type] = set()  # those that are what the library takes them for

    # --- what there is --------------------------------------------------------------------------------------------

    def possible(self) -> bool:
        return self.error is None and layout.supported() and layout.check()

    def left(self, ran: bool = False) -> dict[Any, list]:
        """The hot functions that are still Python, as `HOT` has them. ran: of those that have run."""
        # Copies, for other threads may import modules. What is being imported comes when it is whole.
        hot = {code: list(made) for code, made in list(HOT.items())}
        whole = {code: made for code, made in hot.items() if is_whole(module_of(made[0]))}
        if len(whole) < len(hot):
            Start.again()
        done = self.quick | self.careful
        return {code: made for code, made in whole.items() if code not in done and not (ran and not has_run(code))}

    # --- from the disk --------------------------------------------------------------------------------------------

    def read(self) -> bool:
        """Link what is on disk, for modules that are imported. Whether there is something."""
        try:
            if self.library is None and self.possible():
                self.library = library.read()
            if self.library is None or self.error is not None:
                return False
            self._check_classes(self.library)
            self._link_library(self.library)
        except Exception as error:
            self._failed(error)
            return False
        return True

    def _check_classes(self, found: library.Library) -> None:
        for cls in [cls for cls in SLOTTED if cls not in self.classes and is_whole(cls.__module__)]:
            if not found.fits(cls):
                raise RuntimeError(f"the code on disk was made for another {cls.__module__}.{cls.__qualname__}")
            self.classes.add(cls)

    def _link_library(self, found: library.Library) -> None:
        units = [unit for unit in found.tables if unit not in self.linked and is_whole(unit)]
        # A unit may call another one whose module is halfway through its import; one that has not begun to is only
        # called for objects of classes that are there after it.
        halfway = {unit for unit in found.tables if unit in sys.modules and not is_whole(unit)}
        if halfway:
            units = [unit for unit in units if halfway.isdisjoint(found.callees(unit))]
            Start.again()
        if not units:
            return
        if self.cls is None:
            units.append(METHODS)
        written = {name for unit in units for name in found.tables[unit]["functions"]}
        functions = {code: list(made) for code, made in list(HOT.items()) if symbol(made[0]) in written}
        tables = {unit: found.tables[unit] for unit in units}
        self.open = self._link(found.load(units), tables, functions, self.addresses, self.open)
        self.linked.update(units)
        self.careful.update(functions)

    # --- made here ------------------------------------------------------------------------------------------------

    def start_quick(self, every: bool = False) -> list[service.Job]:
        """Begin to make code of the functions that have run (or of all) and have none: the jobs to wait for."""
        functions = self.left(ran=not every) if self.possible() else {}
        if not functions:
            return []
        from .build import Builder

        builder = Builder(functions)
        ready: dict[str, tuple] = {}
        jobs = [
            service.submit(self._quick, builder, module, ready)
            for module in [*builder.modules, *([] if self.cls else [METHODS])]
        ]
        return [*jobs, service.submit(self._quick, builder, None, ready)]

    def _quick(self, builder: Any, module: str | None, ready: dict) -> None:
        if self.error is not None:
            return
        try:
            if module is not None:
                ready[module] = builder.make(module, quick=True)
                return
            codes = builder.world.symbols.keys() - self.careful
            functions = {code: list(HOT[code]) for code in codes}
            self._link(*_loaded(ready), functions, {})
            self.quick.update(functions)
        except Exception as error:
            self._failed(error)

    def compile(self, functions: list) -> list:
        """The compiled forms of some functions, which call each other directly; nothing is installed."""
        from .build import Builder

        by_code = {f.__code__: [f] for f in functions}
        builder = Builder(by_code)
        ready = {module: builder.make(module, quick=False) for module in [*builder.modules, METHODS]}
        self._fill(*_loaded(ready), by_code, {})
        return [self.objects[id(f)] for f in functions]

    # --- both -----------------------------------------------------------------------------------------------------

    def _failed(self, error: Exception) -> None:
        """What is Python stays so."""
        self.error = error
        if os.environ.get("LIVEGRAD_STRICT"):
            raise error

    def _link(
        self, compiled: Any, tables: dict, functions: dict[Any, list], addresses: dict, waiting: Sequence = ()
    ) -> list:
        """Put the functions of some units, whose code is loaded, where the Python ones are; see `_fill`."""
        new, waiting = self._fill(compiled, tables, functions, addresses, waiting)
        for code, made in functions.items():
            COMPILED[code] = functools.partial(self.again, made[0])
        replaced = [f for made in functions.values() for f in made] + [wrapper for wrapper, _ in FRONTS]
        named = [f for f in replaced if id(f) in new and originals.is_named(f)]
        replace(new)
        for f in named:
            originals.keep(f)
        return waiting

    def again(self, first: Any, function: Any) -> Any:
        """The compiled form of another closure over code that is there already."""
        name = symbol(first)
        return self._object(name, function) if defaults(function) == self.defaults[name] else function

    def _object(self, name: str, function: Any, wrapper: Any = None) -> Any:
        assert self.cls is not None
        made = make(self.cls, self.entries[name], function, wrapper)
        self.objects[id(wrapper or function)] = made
        self.forms.setdefault(function.__code__, []).append((made, defaults(function)))
        return made

    def _fill(
        self, compiled: Any, units: dict[str, dict], functions: dict[Any, list], addresses: dict, waiting: Sequence = ()
    ) -> tuple[dict[int, Any], list]:
        """Fill the tables of units, and let `functions` run their code.

        addresses: of functions that the units may call; theirs are added. waiting: constants of other units that were
        not there yet. Returns what stands for functions that had no machine code before, by their ids, and constants
        that are not there yet.
        """
        names = {code: symbol(made[0]) for code, made in functions.items()}
        wanted, waiting = set(names.values()), list(waiting)
        for unit, tables in units.items():
            api, constants, own = _words(_call(compiled.address(f"tables.{unit}")), 3)
            _words(api, len(tables["api"]))[:] = [_function(name) for name in tables["api"]]
            found = _words(own, 2 * len(tables["functions"]))
            for k, (name, written) in enumerate(tables["functions"].items()):
                addresses[name], entry = found[2 * k : 2 * k + 2]
                if name in wanted:
                    self.entries[name], self.defaults[name] = entry, written
            table = _words(constants, len(tables["constants"]))
            waiting += [(table, k, tuple(what)) for k, what in enumerate(tables["constants"])]
        _kept.append(compiled)
        if self.cls is None:
            self.cls = make_class(compiled.address("describe_get"))
        new: dict[int, Any] = {}
        pairs = [(f, None) for made in functions.values() for f in made]
        for f, wrapper in [*pairs, *((f, wrapper) for wrapper, f in FRONTS if f.__code__ in functions)]:
            name, held = names[f.__code__], id(wrapper or f)
            if held not in self.objects and defaults(f) == self.defaults[name]:
                new[held] = self._object(name, f, wrapper)
        waiting = self._fill_constants(waiting, addresses)
        for code, name in names.items():
            for made, written in self.forms.get(code, ()):
                if written == self.defaults[name]:
                    aim(made, self.entries[name])
        return new, waiting

    def _fill_constants(self, waiting: list, addresses: dict) -> list:
        """Fill places of tables; those that cannot be filled yet.

        Functions first: once there is a class in a table, the methods of its objects are called.
        """
        left, others = [], []
        for place in waiting:
            table, k, what = place
            if what[0] != "code":
                others.append(place)
            elif what[1] in addresses:
                table[k] = addresses[what[1]]
            else:
                left.append(place)
        slotted = self.library.classes if self.library is not None else {}
        for place in others:
            table, k, what = place
            if what in slotted and not is_whole(what[1]):  # no object has this class
                left.append(place)
                continue
            constant = resolve(what)
            constant = self.objects.get(id(constant), constant)
            _kept.append(constant)
            table[k] = id(constant)
        return left


def _loaded(ready: dict[str, tuple[bytes, dict]]) -> tuple[Any, dict[str, dict]]:
    """Units that were just made: their code, and their tables."""
    compiled = machine.load_object(*[code for code, _ in ready.values()])
    return compiled, {unit: tables for unit, (_, tables) in ready.items()}


def _words(address: int, count: int) -> Any:
    return (ctypes.c_size_t * count).from_address(address)


def _call(address: int) -> int:
    return ctypes.CFUNCTYPE(ctypes.c_size_t)(address)()


@functools.cache
def _function(name: str) -> int | None:
    """The address of a function of the interpreter."""
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value


INSTALLER = Installer()


def step() -> None:
    """Go on with what `Start` says, after so many launches."""
    step, Start.step = Start.step, "wait"
    if step == "read":
        service.submit(INSTALLER.read)
        Start.step, Start.left = "make", MAKE_AFTER
    elif step == "make" and INSTALLER.possible():
        service.load("livegrad.native.build", "subprocess")
        service.submit(_make)
        Start.left = LOOK_EVERY
    elif step == "wait" and INSTALLER.library is None:
        if MAKER.running():
            Start.left = LOOK_EVERY
        else:
            service.submit(INSTALLER.read)


def _make() -> None:
    INSTALLER.start_quick()
    if INSTALLER.library is None:
        service.submit(MAKER.start)  # behind what has just been begun


def install(wait: bool = True) -> None:
    """Put machine code in the place of the hot functions; all of it, which may take a while, if this waits."""
    begun = service.submit(INSTALLER.read)
    if not wait:
        return
    begun.wait()
    if INSTALLER.possible():
        service.load("livegrad.native.build", "subprocess")
        if INSTALLER.library is None and service.call(MAKER.start, True):
            while MAKER.running():
                time.sleep(0.01)
            service.submit(INSTALLER.read).wait()
        begun = service.submit(INSTALLER.start_quick, True)
        begun.wait()
        for job in begun.result or ():
            job.wait()
    if INSTALLER.error is not None and os.environ.get("LIVEGRAD_STRICT"):
        raise INSTALLER.error


def installed() -> bool:
    """Whether hot functions run as machine code."""
    return bool(INSTALLER.linked or INSTALLER.quick)


def failure() -> Exception | None:
    """Why they do not, where it was tried."""
    return INSTALLER.error
