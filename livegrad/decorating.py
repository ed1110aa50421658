"""Functions that run within a `with` block: each call, and each run of a generator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def decorated(function: Callable, block: Callable[[], Any]) -> Callable:
    """A function that runs within ``with block():``; of a class, its `__init__` does.

    A generator is within the block whenever it runs, and outside whenever it waits.
    """
    if inspect.isclass(function):
        function.__init__ = decorated(function.__init__, block)  # type: ignore[misc, method-assign]
        return function
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Any:
            running = function(*args, **kwargs)
            resume, given = running.send, None
            while True:
                try:
                    with block():
                        item = resume(given)
                except StopIteration as stop:
                    return stop.value
                try:
                    given = yield item
                    resume = running.send
                except GeneratorExit:
                    with block():
                        running.close()
                    raise
                except BaseException as error:
                    resume, given = running.throw, error

        return generator

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with block():
            return function(*args, **kwargs)

    return wrapped
