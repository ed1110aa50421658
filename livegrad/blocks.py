"""`with` blocks whose end is noticed even if Ctrl-C strikes as they end.

Ctrl-C strikes where a Python function begins, so an `__exit__` that puts something back may never run. The `__exit__`
here is that of a lock, which is not Python code: the lock is released, or at least given up with the block that holds
it, whatever happens, and whoever next asks for what the block has set sees that. (`autograd.mode` does the same by
itself, as it has to take no time.)

    class Switch:
        __exit__ = Exit()

        def __enter__(self):
            stack.append((opened(self), what_was_before))

    while stack and over(stack[-1][0]): ...put it back and pop
"""

from __future__ import annotations

import _thread
import threading
import weakref
from typing import Any

__all__ = ["Exit", "opened", "over"]


class _Local(threading.local):
    """opening: the object whose block is being opened in this thread, and a weak reference to the lock that it will
    hold. entered: by id the locks of those that were entered without a block.
    """

    def __init__(self) -> None:
        self.opening: tuple[Any, Any] | None = None
        self.entered: dict[int, list] = {}


_local = _Local()


class Exit:
    """Python looks `__exit__` up when a block is opened, and nobody but the block holds what it gets."""

    def __get__(self, switch: Any, cls: Any = None) -> Any:
        if switch is None:
            return _exit
        entered = _local.entered.get(id(switch))
        while entered:
            if entered[-1].locked():
                return entered[-1].__exit__
            entered.pop()
        _local.entered.pop(id(switch), None)
        lock = _thread.allocate_lock()
        lock.acquire()
        _local.opening = switch, weakref.ref(lock)
        return lock.__exit__


def _exit(switch: Any, *error: Any) -> None:
    switch.__exit__(*error)


def opened(switch: Any) -> weakref.ref:
    """For its `__enter__`: what tells when the block is over."""
    opening, _local.opening = _local.opening, None
    if opening is not None and opening[0] is switch and opening[1]() is not None:
        return opening[1]
    lock = _thread.allocate_lock()
    lock.acquire()
    _local.entered.setdefault(id(switch), []).append(lock)
    return weakref.ref(lock)


def over(block: weakref.ref) -> bool:
    """Whether a block that was opened has ended."""
    lock = block()
    return lock is None or not lock.locked()
