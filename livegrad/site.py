"""Sites: where in the user's program something was recorded, and errors that name it."""

from __future__ import annotations

import linecache
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from .native import held, slotted

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class _Internal(dict):
    """File name -> whether it is part of the library; filled on demand."""

    def __missing__(self, filename: str) -> bool:
        inside = os.path.abspath(filename).startswith(PACKAGE) or filename.startswith("<livegrad")
        self[filename] = inside
        return inside


INTERNAL = _Internal()


class Site(NamedTuple):
    """A place in the user's program: ``filename``, ``lineno``, ``function`` and the source ``line``."""

    filename: str
    lineno: int
    function: str

    @property
    def line(self) -> str:
        return linecache.getline(self.filename, self.lineno).strip()

    def __str__(self) -> str:
        text = f'File "{self.filename}", line {self.lineno}, in {self.function}'
        return f"{text}: {self.line}" if self.line else text


@slotted
class _Modules:
    """Who knows the dotted path of the nn.Module that is running, for the graph; set by `nn.Module`.

    running: its stack of modules, so that nothing is called while none runs.
    """

    __slots__ = ("running", "path")

    def __init__(self) -> None:
        self.running: list = []
        self.path: Callable[[], str | None] = lambda: None


MODULES = _Modules()


def set_module_path(function: Callable[[], str | None], stack: list) -> None:
    """Let `nn` tell which module is running."""
    MODULES.path, MODULES.running = function, stack
    held(MODULES, "path")


def user_frame(depth: int = 1) -> Any:
    """The innermost frame outside the library, from `depth` frames up (None where there is none)."""
    frame: Any = sys._getframe(depth)
    while frame is not None and INTERNAL[frame.f_code.co_filename]:
        frame = frame.f_back
    return frame


def resolve(code: Any, lasti: int) -> Site | None:
    """The site of a code object and an instruction offset."""
    if code is None:
        return None
    lineno = code.co_firstlineno
    for start, end, line in code.co_lines():
        if start <= lasti < end and line is not None:
            lineno = line
            break
    return Site(code.co_filename, lineno, code.co_qualname)


def here() -> Site | None:
    """The user's line that is running now."""
    frame = user_frame(2)
    return Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname) if frame else None


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn about the user's line that is running now."""
    frame, depth = sys._getframe(1), 2
    while frame.f_back is not None and INTERNAL[frame.f_code.co_filename]:
        frame, depth = frame.f_back, depth + 1
    warnings.warn(text, category, stacklevel=depth)
