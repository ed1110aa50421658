"""Work: an operation on its way, and the thread that does a group's operations one after the other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from ..futures import Future
from .errors import DistBackendError, seconds

__all__ = ["Work"]


class Work:
    """What an operation with ``async_op=True`` returns, and `isend` and `irecv`.

    The results are in the tensors after `wait`, or once `is_completed` has said so.
    """

    def __init__(self, finish: Callable[[], None] | None = None, results: list | None = None):
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._finish = finish  # puts the results into tensors: in the thread that asks, as tensors belong to it
        self._results = results or []
        self._future: _WorkFuture | None = None
        self._lock = threading.RLock()

    def _end(self, error: BaseException | None = None) -> None:
        """Say that the work has been done, or has failed."""
        self._error = error
        self._ended.set()

    def _settle(self) -> None:
        with self._lock:
            finish, self._finish = self._finish, None
            if finish is not None and self._error is None:
                finish()
            if self._future is not None and not self._future.settled():
                if self._error is None:
                    self._future.set_result(self._results)
                else:
                    self._future.set_exception(self._error)

    def wait(self, timeout: Any = None) -> bool:
        """Wait until it is done; True. Raises what went wrong, and DistBackendError after ``timeout``."""
        limit = None if timeout is None else seconds(timeout)
        if not self._ended.wait(limit if limit else None):
            raise DistBackendError(f"Operation timed out: it was not done within {limit:g} seconds")
        self._settle()
        if self._error is not None:
            raise self._error
        return True

    synchronize = wait

    def is_completed(self) -> bool:
        """Whether it is done, or has failed."""
        if not self._ended.is_set():
            return False
        self._settle()
        return True

    def is_success(self) -> bool:
        """Whether it is done, and has not failed."""
        return self.is_completed() and self._error is None

    def exception(self) -> BaseException | None:
        """What went wrong, or None."""
        return self._error

    def result(self) -> list:
        """The tensors with the results."""
        self.wait()
        return self._results

    def get_future(self) -> Future:
        """A `futures.Future` of the list of results. Its value is there once somebody has waited for the work."""
        with self._lock:
            if self._future is None:
                self._future = _WorkFuture(self)
                if self._ended.is_set():
                    self._settle()
            return self._future


class _WorkFuture(Future):
    """A future that is waited for by waiting for its work."""

    def __init__(self, work: Work):
        super().__init__()
        self._work = work

    def settled(self) -> bool:
        """Whether it has its value, or an error, already."""
        return super().done()

    def done(self) -> bool:
        if self._work._ended.is_set():
            self._work._settle()
        return self.settled()

    def wait(self) -> Any:
        self._work._ended.wait()
        self._work._settle()
        return self.value()


class Lane:
    """Does the operations of a group in the order in which they were begun.

    One that is waited for at once is done in the thread that calls it, unless others are still under way.
    """

    def __init__(self, name: str):
        self._name = name
        self._changed = threading.Condition()
        self._queue: deque[tuple[Callable[[], None], Work]] = deque()
        self._busy = False  # somebody does one now
        self._thread: threading.Thread | None = None
        self._closed = False

    def now(self, action: Callable[[], None]) -> None:
        """Do it, and return when it is done."""
        with self._changed:
            inline = not self._busy and not self._queue
            if inline:
                self._busy = True
        if not inline:
            self.later(action, Work()).wait()
            return
        try:
            action()
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def later(self, action: Callable[[], None], work: Work) -> Work:
        """Do it in the lane's own thread."""
        with self._changed:
            self._queue.append((action, work))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return work

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: (self._queue and not self._busy) or self._closed)
                if self._closed and not self._queue:
                    return
                action, work = self._queue.popleft()
                self._busy = True
            error: BaseException | None = None
            try:
                action()
            except BaseException as why:  # it is raised where the work is waited for
                error = why
            with self._changed:
                self._busy = False
                self._changed.notify_all()
            work._end(error)
            del action, work

    def close(self) -> None:
        """End the thread, once all has been done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
