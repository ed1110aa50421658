"""Context managers that decorate functions as well: each call, and each run of a generator, is within the block."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__: list[str] = []


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


class _DecoratorContextManager:
    """A base for context managers that decorate. One that is made with arguments says in `clone` how to make it again.

    >>> class loud(_DecoratorContextManager):
    ...     def __enter__(self):
    ...         print("in")
    ...     def __exit__(self, *exc):
    ...         print("out")
    >>> @loud()
    ... def f():
    ...     print("f")
    >>> f()
    in
    f
    out
    """

    def __call__(self, orig_func: Callable) -> Callable:
        return decorated(orig_func, self.clone)

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *exc: Any) -> None:
        raise NotImplementedError

    def clone(self) -> Any:
        """Another one like this, for one call of a decorated function."""
        return type(self)()


class _NoParamDecoratorContextManager(_DecoratorContextManager):
    """One that is made without arguments, and decorates with or without parentheses."""

    def __new__(cls, orig_func: Callable | None = None) -> Any:
        made = super().__new__(cls)
        return made if orig_func is None else made(orig_func)
