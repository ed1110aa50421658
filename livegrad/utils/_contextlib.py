"""Context managers that decorate functions as well: each call, and each run of a generator, is within the block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..decorating import decorated

__all__: list[str] = []


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
