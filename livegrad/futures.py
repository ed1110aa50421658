"""Values that come later, as `torch.futures` has them: set once, waited for, and followed by functions.

>>> from livegrad.futures import Future
>>> later = Future()
>>> doubled = later.then(lambda done: done.value() * 2)
>>> later.set_result(21)
>>> doubled.wait()
42
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["Future", "collect_all", "wait_all"]

T = TypeVar("T")


class Future(Generic[T]):
    """A value that is set once, with `set_result` or `set_exception`, by this thread or another."""

    def __init__(self, *, devices: Any = None):
        self._changed = threading.Condition()
        self._done = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._followers: list[Callable] = []

    def done(self) -> bool:
        """Whether there is a value, or an error."""
        return self._done

    def wait(self) -> T:
        """The value, as soon as there is one. Raises the error that was set instead."""
        with self._changed:
            self._changed.wait_for(lambda: self._done)
        return self.value()

    def value(self) -> T:
        """The value. Raises RuntimeError where there is none yet, or the error that was set."""
        if not self._done:
            raise RuntimeError("value() of a Future that has no value yet: wait() waits for it")
        if self._error is not None:
            raise self._error
        return self._result

    def set_result(self, result: T) -> None:
        """Set the value, and run what follows. Raises RuntimeError where there is one."""
        self._finish(result, None)

    def set_exception(self, result: BaseException) -> None:
        """Set an error that `wait` and `value` raise. Raises RuntimeError where there is a value."""
        if not isinstance(result, BaseException):
            raise AssertionError(f"{result} is of type {type(result)}, not an Exception.")
        self._finish(None, result)

    def then(self, callback: Callable[[Future[T]], Any]) -> Future:
        """The future of what ``callback`` makes of this one when it is done; at once where it is done already."""
        following: Future = Future()

        def follow() -> None:
            try:
                result = callback(self)
            except Exception as error:
                following.set_exception(error)
            else:
                following.set_result(result)

        self._when_done(follow)
        return following

    def add_done_callback(self, callback: Callable[[Future[T]], Any]) -> None:
        """Call ``callback`` with this future when it is done; at once where it is done already."""
        self._when_done(lambda: callback(self))

    def _when_done(self, follow: Callable) -> None:
        with self._changed:
            if not self._done:
                self._followers.append(follow)
                return
        follow()

    def _finish(self, result: Any, error: BaseException | None) -> None:
        with self._changed:
            if self._done:
                raise RuntimeError("Attempting to mark a completed Future as complete again")
            self._result, self._error, self._done = result, error, True
            followers, self._followers = self._followers, []
            self._changed.notify_all()
        for follow in followers:
            follow()


def collect_all(futures: list[Future]) -> Future[list[Future]]:
    """The future of the list of ``futures``, done when all of them are."""
    whole: Future[list[Future]] = Future()
    left, lock = len(futures), threading.Lock()
    if not futures:
        whole.set_result([])

    def one(_: Future) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            whole.set_result(futures)

    for future in futures:
        future.add_done_callback(one)
    return whole


def wait_all(futures: list[Future]) -> list:
    """The values of all ``futures``, waited for. Raises the first error among them."""
    return [future.wait() for future in collect_all(futures).wait()]
