"""The machine code of the library's hot functions, kept on disk.

There are two entries: one of all functions, and a quick one, in code that takes a third of the time to make: first of
those that programs ran while there was nothing better, then of all. They are made with all modules that have hot
functions imported, so they do not depend on what a program imports: the one that reads them links the units of the
modules that are there (see `unit`). An entry tells what it was made from, and is only used where that is still the
same.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..llvm import cache, machine
from . import layout
from .constants import describe_class, module_of

PACKAGE = Path(__file__).parent.parent
_MARKS = re.compile(rb"^ *@(native\.)?hot(test)?$|(?<!def )\bhot\(", re.MULTILINE)


@functools.cache
def _own_digest() -> str:
    """Of what makes machine code from functions."""
    paths = [*sorted((PACKAGE / "native").glob("*.py")), PACKAGE / "llvm" / "machine.py"]
    return cache.sha256(b"".join([path.read_bytes() for path in paths])).hexdigest()


def name(quick: bool) -> str:
    """The name of an entry: by the interpreter, the machine, and where the library is."""
    parts = (quick, cache.VERSION, sys.version, machine.host_description(), _own_digest(), str(PACKAGE))
    return "native-" + cache.sha256(repr(parts).encode()).hexdigest()


def file_of(module: str) -> Path:
    """Where a module of the library is written."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def digest(module: str) -> str:
    return cache.sha256(file_of(module).read_bytes()).hexdigest()


def marked() -> list[str]:
    """The modules of the library that mark functions."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent.name != "native" and _MARKS.search(path.read_bytes()):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def stated(cls: type) -> list:
    """What compiled code takes for granted of a class: where its slots are, and numbers that it states for all."""
    numbers = {n: repr(v) for n in dir(cls) if type(v := getattr(cls, n)) in (bool, int) and not n.startswith("__")}
    return [sorted(layout.slots(cls).items()), sorted(numbers.items())]


class Library:
    """What an entry holds, and what of it is in place in this process.

    tables: of every unit. classes: what is taken for granted of each, by its description.
    """

    def __init__(self, head: dict, code: memoryview, quick: bool) -> None:
        self.quick = quick
        self.linked: set[str] = set()  # units that are in place
        self.addresses: dict[str, int] = {}  # of functions, for one another
        self.open: list = []  # constants that wait for a module's import: table, place, description
        self.checked: set[type] = set()  # classes that are what the code takes them for
        self.sources: dict[str, str] = head["sources"]
        self.classes = {tuple(description): facts for description, facts in head["classes"]}
        self.tables: dict[str, dict] = {unit: tables for unit, (_, _, tables) in head["units"].items()}
        self.units = {f: unit for unit, tables in self.tables.items() for f in tables["functions"]}  # of functions
        self._places = {unit: (start, end) for unit, (start, end, _) in head["units"].items()}
        self._code = code

    def callees(self, unit: str) -> set[str]:
        """The units whose functions those of a unit may call."""
        return {self.units[name] for kind, name, *_ in self.tables[unit]["constants"] if kind == "code"}

    def load(self, units: Iterable[str]) -> machine.CompiledObject:
        return machine.load_object(*[bytes(self._code[slice(*self._places[unit])]) for unit in units])

    def fits(self, cls: type) -> bool:
        """Whether a class is what the code takes it for, if it knows of it."""
        facts = self.classes.get(describe_class(cls))
        return facts is None or facts == json.loads(json.dumps(stated(cls)))


def is_ours(function: Any) -> bool:
    return module_of(function).partition(".")[0] == PACKAGE.name


def read(quick: bool) -> Library | None:
    """An entry, if there is one that was made from the same sources."""
    kept = cache.read(name(quick))
    if kept is None:
        return None
    head, code = _split(kept)
    library = Library(head, code, quick)
    try:
        same = all(digest(module) == known for module, known in library.sources.items())
    except OSError:  # a module that is no more
        return None
    return library if same else None


def size(quick: bool) -> int:
    """How large an entry is; 0 where there is none."""
    return cache.size(name(quick))


def write(quick: bool, units: dict[str, tuple[bytes, dict]], classes: list[type]) -> None:
    """Keep the units: object code and tables, by module."""
    places: dict[str, tuple[int, int, Any]] = {}
    end = 0
    for unit, (code, tables) in units.items():
        places[unit] = end, end + len(code), tables
        end += len(code)
    head = {
        "sources": {module: digest(module) for module in units if module.partition(".")[0] == PACKAGE.name},
        "classes": [[describe_class(cls), stated(cls)] for cls in classes],
        "units": places,
    }
    cache.write(name(quick), _joined(head, b"".join([code for code, _ in units.values()])))


def part(modules: Iterable[str], unit: str) -> str:
    """The name of a unit that is kept until all are there."""
    sources = [digest(module) for module in sorted(modules)]
    return "native-" + cache.sha256(repr((name(False), sources, unit)).encode()).hexdigest()


def read_part(part: str) -> tuple[bytes, dict] | None:
    kept = cache.read(part)
    if kept is None:
        return None
    tables, code = _split(kept)
    return bytes(code), tables


def write_part(part: str, code: bytes, tables: dict) -> None:
    cache.write(part, _joined(tables, code))


def _joined(head: dict, code: bytes) -> bytes:
    text = json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + code


def _split(kept: bytes) -> tuple[dict, memoryview]:
    end = 8 + int.from_bytes(kept[:8], "little")
    return json.loads(kept[8:end]), memoryview(kept)[end:]
