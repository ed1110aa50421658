"""Machine code for the library's own hot functions.

Recording an operator takes a few dozen attribute accesses and a few objects. The interpreter spends most of that time
on itself, so the functions on this path, marked `@hot`, are compiled: from their own Python source, by the same LLVM
that makes the kernels, to code that calls the interpreter's C interface (`lower`). They stay ordinary Python, which is
what runs until the code is there (it is made or read from disk behind the program's back) and wherever it cannot be
had: without llvmlite, on another interpreter than CPython, or with LIVEGRAD_NATIVE=0 ("always" puts it there at
once).

What a hot function may use is in `lower`'s description. Both forms do the same; the tests run both.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any, TypeVar

from ..settings import unusable

# After so many launches and operators code that is on disk is read, and after so many more what is missing is made: by
# then the program is one that runs for a while. A process that makes code is looked after every so many.
READ_AFTER, MAKE_AFTER, LOOK_EVERY = 8, 150, 200

F = TypeVar("F", bound=Callable)

# Every marked function, by its code object: a closure that a factory makes many times is compiled once.
HOT: dict[Any, list[Callable]] = {}
# What the interpreter had of each before it ran; see `has_run`.
_NEW: dict[Any, int] = {}
# Those of them that run for every operator, and are compiled with more care.
HOTTEST: set[Any] = set()
# What makes the compiled form of a function, by its code object, once that code is there.
COMPILED: dict[Any, Callable] = {}
# (wrapper, hot function) pairs; see `front`.
FRONTS: list[tuple[Callable, Callable]] = []
# (object, attribute) pairs; see `held`.
HOLDERS: list[tuple[Any, str]] = []
# Classes whose slots the compiled code reads and writes in place.
SLOTTED: list[type] = []
# The modules that classes are written in whose `__module__` is where users find them.
HOMES: dict[type, str] = {}
OWN = __name__.partition(".")[0]


class Shown:
    """The name of the package that classes say they are of."""

    root = OWN


class Start:
    """Counts launches and operators until the next step towards compiled functions.

    left: so many, 0 if none is to come.
    """

    mode = os.environ.get("LIVEGRAD_NATIVE", "") or "1"
    if mode not in ("0", "1", "always"):
        raise unusable("LIVEGRAD_NATIVE", "0, 1 or always", mode)
    # What is there at the package's import is put in place then ("always"), after a while, or never ("0").
    left = 0 if mode in ("0", "always") else READ_AFTER
    step = "read"  # the next one: "read", "make", "wait"; see `unit.step`
    begun = mode == "always"  # whether modules that are imported now are late

    @classmethod
    def again(cls) -> None:
        """Begin anew: a module has been imported late."""
        if cls.mode == "always":
            cls.left = 1
        elif cls.mode != "0":
            cls.left, cls.step = READ_AFTER, "read"


def launched() -> None:
    """Called for each launch, and each operator of a function of values, while `Start.left` is not 0."""
    Start.left = max(Start.left - 1, 0)  # threads may count at the same time
    if Start.left == 0:
        from ..llvm import machine, service

        if not machine.compiler_available():
            return
        service.load("livegrad.native.unit")
        from . import unit

        Start.begun = True
        if Start.mode == "always":
            unit.install(wait=True)
        else:
            unit.step()


def hot(function: F) -> F:
    """Decorator: compile this function when native code is installed."""
    if Start.begun and function.__code__ not in HOT:  # a module that was imported late
        Start.again()
    if function.__code__ in COMPILED:
        return COMPILED[function.__code__](function)  # another closure over code that is there already
    if function.__code__ not in HOT:
        _NEW[function.__code__] = _trace(function.__code__)
    HOT.setdefault(function.__code__, []).append(function)
    return function


def _trace(code: Any) -> int:
    # The interpreter rewrites the instructions of what runs, and counts in them.
    return hash(getattr(code, "_co_code_adaptive", None))


def has_run(code: Any) -> bool:
    """Whether the code of a hot function has run a few times, as far as one can tell; what never has may be said to."""
    return _NEW.get(code) != _trace(code) or not hasattr(code, "_co_code_adaptive")


def hottest(function: F) -> F:
    """Decorator: like `hot`, for the few functions that run for every operator."""
    HOTTEST.add(function.__code__)
    return hot(function)


def front(wrapper: Callable, function: Callable) -> None:
    """Let a hot function be called in the place of a wrapper that only arranges its arguments.

    What does not fit the function's own parameters goes to the wrapper; where anything fits, the wrapper stays.
    """
    if not function.__code__.co_flags & inspect.CO_VARKEYWORDS:
        FRONTS.append((wrapper, function))


def held(owner: Any, attribute: str) -> None:
    """Tell of an object that lasts and holds a function, which may be hot or close over hot ones, in an attribute.

    What modules, classes and closures hold is found without that.
    """
    HOLDERS.append((owner, attribute))


def home(cls: type) -> str:
    """The module that a class is written in."""
    return HOMES.get(cls, cls.__module__)


def shown_in(module: str, *classes: type) -> None:
    """Let classes say that they are of the module in which users find them, as PyTorch's do."""
    own, _, rest = module.partition(".")
    for cls in classes:
        HOMES.setdefault(cls, cls.__module__)
        cls.__module__ = f"{Shown.root}.{rest}" if rest and own == OWN else Shown.root if own == OWN else module


def show_as(root: str) -> None:
    """Let all these classes, and those to come, say that they are of a package of another name."""
    for cls in HOMES:
        top, dot, rest = cls.__module__.partition(".")
        if top == Shown.root:
            cls.__module__ = root + dot + rest
    Shown.root = root


def slotted(cls: type) -> type:
    """Decorator: compiled code reads and writes the slots of this class in place."""
    SLOTTED.append(cls)
    return cls
