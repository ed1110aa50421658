"""Putting machine code in the place of the hot functions.

The code comes from the disk (`library`), where another process puts it if need be (`process`): that of the functions
which the program runs first, made in little time, then that of all, which takes its place. Functions that are not the
library's own are compiled in this process (`build`), and so are all that have run where there can be no other.

All of this happens on the helper thread (`llvm.service`).
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import time
from collections import Counter
from typing import Any

from ..llvm import machine, service
from . import (
    COMPILED,
    FRONTS,
    HOT,
    LOOK_EVERY,
    MAKE_AFTER,
    SLOTTED,
    Start,
    has_run,
    home,
    layout,
    library,
    numpys,
    originals,
)
from .constants import METHODS, defaults, is_whole, module_of, resolve, symbol
from .functions import aim, make, make_class, replace
from .holding import OURS, held
from .process import MAKER

__all__ = ["INSTALLER", "Installer", "failure", "install", "installed"]

# How long the import waits, where it is to, for the other process: many times what that takes. Then what is missing is
# compiled here.
AWAIT_SECONDS = 120.0

# Machine code and the objects that it refers to stay as long as the process runs.
_kept: list = []


class Installer:
    """Which functions run as machine code, and of what kind."""

    def __init__(self) -> None:
        self.libraries: dict[bool, library.Library] = {}  # by whether it is the quick one
        self.sizes: dict[bool, int] = {}  # of their entries, when they were read
        self.quick: set = set()  # code objects of functions whose code took little time
        self.careful: set = set()  # those whose code is that of the whole library
        self.error: Exception | None = None
        self.unusable: set[bool] = set()  # libraries that could not be put in place: the quick one, the other
        self.possibly = True  # whether compiling in this process has not failed
        self.cls: type | None = None
        self.entries: dict[str, int] = {}  # of functions, for the interpreter: the newest
        self.defaults: dict[str, str] = {}  # which are part of that code
        self.objects: dict[int, Any] = {}  # what stands for functions, by the ids of their Python forms
        self.forms: dict[Any, list] = {}  # the same and their defaults, by code object

    # --- what there is --------------------------------------------------------------------------------------------

    def possible(self) -> bool:
        return self.possibly and layout.supported() and layout.check()

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

    def complete(self) -> bool:
        """Whether the whole library's code is there."""
        return False in self.libraries

    def read(self) -> None:
        """Put in place what is on disk, for modules that are imported."""
        for quick in (False, True):
            if not self.possible() or self.complete() and quick or quick in self.unusable:
                continue
            try:
                found, size = self.libraries.get(quick), library.size(quick)
                if found is None or size != self.sizes[quick]:  # the quick one grows
                    found = library.read(quick) or found
                if found is not None:
                    self.sizes[quick] = size
                    self._link_library(found)
                    self.libraries[quick] = found
            except Exception as error:  # what is in place stays; the rest can be made here
                self.libraries.pop(quick, None)
                self.unusable.add(quick)
                self._failed(error)

    def _link_library(self, found: library.Library) -> None:
        for cls in [cls for cls in SLOTTED if cls not in found.checked and is_whole(home(cls))]:
            if not found.fits(cls):
                raise RuntimeError(f"the code on disk was made for another {home(cls)}.{cls.__qualname__}")
            found.checked.add(cls)
        units = [unit for unit in found.tables if unit not in found.linked and is_whole(unit)]
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
        self._link(found.load(units), tables, functions, found)
        found.linked.update(units)
        (self.quick if found.quick else self.careful).update(functions)

    # --- made here ------------------------------------------------------------------------------------------------

    def make(self, functions: dict[Any, list]) -> None:
        """Compile functions in this process, quickly, and put them in place."""
        from .build import Builder

        if not functions or not self.possible():
            return
        try:
            builder = Builder(functions, "here")
            ready = {unit: builder.make(unit, quick=True) for unit in ["here", *([] if self.cls else [METHODS])]}
            self._link(*_loaded(ready), functions, None)
            self.quick.update(functions)
        except Exception as error:
            self.possibly = False
            self._failed(error)

    def compile(self, functions: list) -> list:
        """The compiled forms of some functions, which call each other directly; nothing is installed."""
        from .build import Builder

        by_code = {f.__code__: [f] for f in functions}
        builder = Builder(by_code)
        ready = {unit: builder.make(unit, quick=False) for unit in [*builder.units, METHODS]}
        self._fill(*_loaded(ready), by_code, None)
        return [self.objects[id(f)] for f in functions]

    # --- both -----------------------------------------------------------------------------------------------------

    def _failed(self, error: Exception) -> None:
        """What is Python stays so."""
        self.error = error
        if os.environ.get("LIVEGRAD_STRICT"):
            raise error

    def _link(self, compiled: Any, tables: dict, functions: dict[Any, list], found: library.Library | None) -> None:
        """Put the functions of some units, whose code is loaded, where the Python ones are; see `_fill`."""
        before = dict(self.objects)
        listed = [f for made in functions.values() for f in made if id(f) not in self.objects]
        fronts = [wrapper for wrapper, _ in FRONTS if id(wrapper) not in self.objects]
        replaced = [*listed, *fronts]
        # Those of `functions` are in it, and all of them in two of these lists.
        kept = held(replaced, Counter(map(id, [*listed, *listed, *listed, *fronts, *fronts])))
        try:
            new = self._fill(compiled, tables, functions, found)
        except Exception:
            self.objects = before  # what was made is nowhere yet
            raise
        for code, made in functions.items():
            COMPILED[code] = functools.partial(self.again, made[0])
        named = [f for f in replaced if id(f) in new and id(f) not in kept and originals.is_named(f)]
        replace(new, kept)
        for f in named:
            originals.keep(f)

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
        self, compiled: Any, units: dict[str, dict], functions: dict[Any, list], found: library.Library | None
    ) -> dict[int, Any]:
        """Fill the tables of units, and let `functions` run their code.

        found: the library that they are of, if they are of one. Returns what stands for functions that had no machine
        code before, by their ids.
        """
        addresses: dict[str, int] = {} if found is None else found.addresses
        names = {code: symbol(made[0]) for code, made in functions.items()}
        wanted, waiting = set(names.values()), [] if found is None else found.open
        for unit, tables in units.items():
            api, constants, own = _words(_call(compiled.address(f"tables.{unit}")), 3)
            _words(api, len(tables["api"]))[:] = [_function(name) for name in tables["api"]]
            places = _words(own, 2 * len(tables["functions"]))
            for k, (name, written) in enumerate(tables["functions"].items()):
                addresses[name], entry = places[2 * k : 2 * k + 2]
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
        left = self._fill_constants(waiting, addresses, found)
        if found is not None:
            found.open = left
        for code, name in names.items():
            for made, written in self.forms.get(code, ()):
                if written == self.defaults[name]:
                    aim(made, self.entries[name])
        return new

    def _fill_constants(self, waiting: list, addresses: dict, found: library.Library | None) -> list:
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
        slotted = {} if found is None else found.classes
        for place in others:
            table, k, what = place
            if what[0] == "global" and what in slotted and not is_whole(what[1]):  # no object has this class
                left.append(place)
                continue
            constant = resolve(what)
            constant = self.objects.get(id(constant), constant)
            _kept.append(constant)
            OURS[id(constant)] += 1
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
    """The address of a function of the interpreter, or of NumPy."""
    if name in numpys.PLACES:
        return numpys.function(name)
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value


INSTALLER = Installer()


def step() -> None:
    """Go on with what `Start` says, after so many launches."""
    global _making
    if Start.step == "read":
        service.submit(INSTALLER.read)
        Start.step, Start.left = "make", MAKE_AFTER
    elif Start.step == "make":
        if INSTALLER.left(ran=True) or not INSTALLER.complete():
            service.load("livegrad.native.build", "subprocess")
            _making = service.submit(_make)
        Start.step, Start.left = "wait", LOOK_EVERY
        _stand_back(_making)
    elif INSTALLER.possible() and not INSTALLER.complete():
        now = time.monotonic()
        if now < _Looks.due:
            Start.left = LOOK_EVERY
            return
        going = _making is not None and not _making.done or MAKER.running()  # first this, then a last look
        looking = service.submit(INSTALLER.read if going else _finish)
        Start.left = LOOK_EVERY if going else 0
        _stand_back(looking)
        _Looks.due = now + max(_Looks.APART, _Looks.SHARE * (time.monotonic() - now))


class _Looks:
    """When the disk is looked at again: a look takes milliseconds, and a program of small operators has many."""

    APART, SHARE = 0.25, 20  # seconds at least, and times what the last one took
    due = 0.0


def _stand_back(job: service.Job | None) -> None:
    """Let the helper thread go on, which hardly gets the interpreter's lock from a thread that runs small kernels."""
    if job is not None:
        job.wait(0.1)


_making: service.Job | None = None  # the call of `_make`


def _make() -> None:
    """Have made what has run and is still Python: in another process, but for functions that are not the library's."""
    if not INSTALLER.possible():
        return
    functions = INSTALLER.left(ran=True)
    ours = {code: made for code, made in functions.items() if library.is_ours(made[0])}
    wanted = not INSTALLER.complete() and False not in INSTALLER.unusable
    if wanted and MAKER.start([symbol(made[0]) for made in ours.values()]):
        functions = {code: made for code, made in functions.items() if code not in ours}
    INSTALLER.make(functions)


def _finish() -> None:
    """The other process has ended: read what it has made. What it owes is made here."""
    INSTALLER.read()
    if not INSTALLER.complete() and MAKER.process is not None:
        INSTALLER.make(INSTALLER.left(ran=True))


def install(wait: bool = True) -> None:
    """Put machine code in the place of the hot functions; all of it, which may take a while, if this waits."""
    begun = service.submit(INSTALLER.read)
    if not wait:
        return
    begun.wait()
    if INSTALLER.possible():
        service.load("livegrad.native.build", "subprocess")
        wanted = not INSTALLER.complete() and False not in INSTALLER.unusable
        if wanted and service.call(MAKER.start, [], True):
            MAKER.wait(AWAIT_SECONDS)
            MAKER.stop()  # one that takes so long may be stuck
            service.submit(INSTALLER.read).wait()
        service.submit(_make_rest).wait()
    if INSTALLER.error is not None and os.environ.get("LIVEGRAD_STRICT"):
        raise INSTALLER.error


def _make_rest() -> None:
    INSTALLER.make(INSTALLER.left())


def installed() -> bool:
    """Whether hot functions run as machine code."""
    return bool(INSTALLER.careful or INSTALLER.quick)


def failure() -> Exception | None:
    """Why they do not, where it was tried."""
    return INSTALLER.error
