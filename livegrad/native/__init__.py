"""Machine code for the library's own hot functions.

Recording an operator takes a few dozen attribute accesses and a few objects. The interpreter spends most of that time
on itself, so the functions on this path, marked `@hot`, are compiled: from their own Python source, by the same LLVM
that makes the kernels, to code that calls the interpreter's C interface (`lower`). They stay ordinary Python, which is
what runs until the code is there (it is made or read from disk behind the program's back) and wherever it cannot be
had: without llvmlite, on another interpreter than CPython, or with LIVEGRAD_NATIVE=0.

What a hot function may use is in `lower`'s description. Both forms do the same; the tests run both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable)

# Every marked function, by its code object: a closure that a factory makes many times is compiled once.
HOT: dict[Any, list[Callable]] = {}
# Those of them that run for every operator, and are compiled with more care.
HOTTEST: set[Any] = set()
# Classes whose slots the compiled code reads and writes in place.
SLOTTED: list[type] = []


def hot(function: F) -> F:
    """Decorator: compile this function when native code is installed."""
    HOT.setdefault(function.__code__, []).append(function)
    return function


def hottest(function: F) -> F:
    """Decorator: like `hot`, for the few functions that run for every operator."""
    HOTTEST.add(function.__code__)
    return hot(function)


def slotted(cls: type) -> type:
    """Decorator: compiled code reads and writes the slots of this class in place."""
    SLOTTED.append(cls)
    return cls
