"""How the launcher comes to know what went wrong in a process that it started: the process writes it to a file."""

from __future__ import annotations

import functools
import json
import os
import time
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["ChildFailedError", "record", "record_exception", "recorded"]

T = TypeVar("T")
_PLACE = "TORCHELASTIC_ERROR_FILE"


class ChildFailedError(RuntimeError):
    """A process that the launcher started has failed."""


def record(fn: Callable[..., T], error_handler: Any = None) -> Callable[..., T | None]:
    """A decorator for a program's main function: the launcher shows the traceback of an error in it.

    >>> from livegrad.distributed.elastic.multiprocessing.errors import record
    >>> @record
    ... def main():
    ...     return 1
    >>> main()
    1
    """

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> T | None:
        try:
            return fn(*args, **kwargs)
        except SystemExit:
            raise
        except Exception as error:
            record_exception(error)
            raise

    return wrapped


def record_exception(error: BaseException, found: Any = None) -> None:
    """Write an error, with its traceback or the part of it that is given, to the file that the launcher named."""
    path = os.environ.get(_PLACE)
    if path is None:
        return
    about = {
        "py_callstack": "".join(traceback.format_exception(type(error), error, found or error.__traceback__)),
        "timestamp": str(int(time.time())),
    }
    text = json.dumps({"message": {"message": f"{type(error).__name__}: {error}", "extraInfo": about}})
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        pass  # the error itself is what matters


def recorded(path: str) -> str | None:
    """The traceback in such a file, if there is one."""
    try:
        with open(path, encoding="utf-8") as file:
            return str(json.load(file)["message"]["extraInfo"]["py_callstack"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
