"""Public functions that a program holds stay the objects that they are.

A program may keep a public function, and ask later whether what it keeps *is* ``livegrad.mean``. So one that somebody
outside of the library holds when compiled functions are put in place keeps its place in the library's modules; what it
calls is compiled all the same. One that nobody holds is replaced, and who takes hold of it then holds what stays.

Whether anybody does is told by the count of references, against what it was when the function became public. (Compiled
functions are there for interpreters that count every stored reference.) What the library itself begins to hold later,
elsewhere than in modules, is taken for a program: the function is a little slower then, and nothing else.
"""

from __future__ import annotations

import sys
import time
import types
from collections import Counter
from collections.abc import Iterable
from typing import Any

from . import Start

__all__ = ["OURS", "held", "public"]

PACKAGE = __name__.partition(".")[0]
# How often, and seconds apart, to look again: a function that is running is held by that.
LOOKS, APART = 5, 0.002

OURS: Counter = Counter()  # references of machine code to functions, by their ids

_before: dict[int, int] = {}  # the count of each public function when it became public, by its id
_public: list[Any] = []  # those functions, whose ids are theirs as long as they are


def _counts(functions: dict[int, Any]) -> dict[int, int]:
    """References to functions, given by their ids, but for those of the library's modules."""
    counts = {i: sys.getrefcount(f) for i, f in functions.items()}
    for name, module in list(sys.modules.items()):
        if name == PACKAGE or name.startswith(PACKAGE + "."):
            for value in list(vars(module).values()):
                if id(value) in counts:
                    counts[id(value)] -= 1
    return counts


def public(names: dict[str, Any], ours: int = 0) -> None:
    """Tell which functions programs can take hold of from now on: those of a namespace.

    ours: how many references to them the caller itself has.
    """
    if Start.mode == "0":
        return
    new = {id(f): f for f in list(names.values()) if isinstance(f, types.FunctionType) and id(f) not in _before}
    _public.extend(new.values())
    _before.update({i: count - ours for i, count in _counts(new).items()})


def held(functions: Iterable[Any], expected: Counter) -> set[int]:
    """The ids of those public functions which somebody else holds. expected: references that
    the caller has, by id."""
    left = {id(f): f for f in functions if id(f) in _before}
    for look in range(LOOKS):
        if look:
            time.sleep(APART)
        counts = _counts(left)
        left = {i: f for i, f in left.items() if counts[i] > _before[i] + expected[i] + OURS[i]}
        if not left:
            break
    return set(left)
