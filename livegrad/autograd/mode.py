"""Whether operators are recorded: no_grad, enable_grad, set_grad_enabled, inference_mode."""

from __future__ import annotations

import _thread
import threading
import weakref
from collections.abc import Callable
from typing import Any

from ..decorating import decorated
from ..native import hot, slotted


@slotted
class _Thread:
    """What is on in one thread.

    blocks: for every `with` block that the thread is in, or has left since somebody last looked, the lock that is held
    in it and what was on before. opening: the block that is being opened, and its lock.
    """

    __slots__ = ("grad", "inference", "blocks", "opening")

    def __init__(self) -> None:
        self.grad = True
        self.inference = False
        self.blocks: list[tuple[Any, bool, bool]] = []
        self.opening: tuple[Any, Any] | None = None

    def __del__(self) -> None:
        if MODE is not None:  # as it is at the end of the program
            MODE.off -= len(self.blocks) + (not self.grad)


class _Local(threading.local):
    def __init__(self) -> None:
        self.own = _Thread()


@slotted
class _Mode:
    """Whether operators are recorded, in this thread.

    off: how many threads are not recording, and how many `with` blocks they are in, or more. While it is 0 nobody has
    to ask which thread this is, which takes longer than anything else about it.
    """

    __slots__ = ("off",)

    def __init__(self) -> None:
        self.off = 0

    @property
    @hot
    def grad(self) -> bool:
        own = _local.own
        if own.blocks:
            _leave(own)
        return own.grad

    @grad.setter
    @hot
    def grad(self, wanted: bool) -> None:
        own = _local.own
        if own.blocks:
            _leave(own)
        _set(own, wanted)

    @property
    @hot
    def inference(self) -> bool:
        own = _local.own
        if own.blocks:
            _leave(own)
        return own.inference


MODE = _Mode()
_local = _Local()


@hot
def _set(own: _Thread, wanted: bool) -> None:
    # In this order, an interruption in between leaves `off` too high, which is harmless.
    if wanted:
        if not own.grad:
            own.grad = True
            MODE.off -= 1
    elif own.grad:
        MODE.off += 1
        own.grad = False


@hot
def _leave(own: _Thread) -> None:
    """Put back what was on before the blocks that the thread has left."""
    blocks = own.blocks
    while blocks:
        reference, grad, inference = blocks[-1]
        lock = reference()
        if lock is not None and lock.locked():
            return
        _set(own, grad)
        own.inference = inference
        blocks.pop()  # at the end: what an interruption leaves undone is done again
        MODE.off -= 1


def is_grad_enabled() -> bool:
    """Whether operators on tensors that require gradients are recorded now, in this thread."""
    return MODE.grad


def is_inference_mode_enabled() -> bool:
    """Whether inference mode is on in this thread."""
    return MODE.inference


class _Exit:
    """The `__exit__` of a switch: that of a lock, which is not Python code.

    Ctrl-C strikes where a Python function begins, so one that puts the mode back may never run. A lock is released, or
    at least given up with the block that holds it, whatever happens, and whoever next asks for the mode sees that.
    Python looks `__exit__` up when a block is opened, and nobody but the block holds what it gets.
    """

    @hot
    def __get__(self, switch: Any, cls: Any = None) -> Any:
        if switch is None:
            return _exit
        entered = switch.entered
        while entered:  # without a block
            if entered[-1].locked():
                return entered[-1].__exit__
            entered.pop()
        lock = _thread.allocate_lock()
        lock.acquire()
        _local.own.opening = switch, weakref.ref(lock)
        return lock.__exit__


def _exit(switch: Any, *exc: Any) -> None:
    switch.__exit__(*exc)


@slotted
class _Switch:
    """A context manager, and a decorator of functions and generators, that sets the mode for a while."""

    __slots__ = ("wanted", "inference", "entered", "__weakref__")
    __exit__ = _Exit()

    @hot
    def __init__(self, wanted: bool, inference: bool | None = None):
        self.wanted = wanted
        self.inference = inference
        self.entered: list = []  # the locks of calls of `__enter__` that are not the beginning of a block

    @hot
    def __enter__(self) -> None:
        own = _local.own
        if own.blocks:
            _leave(own)
        self._enter(own, own.grad, own.inference)

    @hot
    def _enter(self, own: _Thread, grad: bool, inference: bool) -> None:
        """Set the mode until the block is left, and then to what is given here."""
        opening, own.opening = own.opening, None
        if opening is not None and opening[0] is self and opening[1]() is not None:
            reference = opening[1]
        else:
            lock = _thread.allocate_lock()
            lock.acquire()
            self.entered.append(lock)
            reference = weakref.ref(lock)
        MODE.off += 1
        own.blocks.append((reference, grad, inference))
        _set(own, self.wanted)
        if self.inference is not None:
            own.inference = self.inference

    def _fresh(self) -> _Switch:
        return _Switch(self.wanted, self.inference)

    def __call__(self, function: Callable) -> Callable:
        return decorated(function, self._fresh)


@hot
def _used(switch: _Switch, function: tuple) -> Any:
    """Support both `@no_grad()` and `@no_grad`."""
    return switch(function[0]) if function else switch


def no_grad(*function: Callable) -> Any:
    """Stop recording: results do not require gradients. A context manager and a decorator.

    >>> import livegrad
    >>> x = livegrad.ones(2, requires_grad=True)
    >>> with livegrad.no_grad():
    ...     (x * 2).requires_grad
    False
    """
    return _used(_Switch(False), function)


@hot
def enable_grad(*function: Callable) -> Any:
    """Record again inside `no_grad`. A context manager and a decorator."""
    return _used(_Switch(True), function)


class set_grad_enabled(_Switch):
    """Turn recording on or off: a function with lasting effect, a context manager, or a decorator."""

    def __init__(self, mode: bool):
        super().__init__(bool(mode))
        self.outer = (MODE.grad, MODE.inference)
        MODE.grad = self.wanted

    @hot
    def __enter__(self) -> None:
        self._enter(_local.own, self.outer[0], self.outer[1])

    def __call__(self, function: Callable) -> Callable:
        MODE.grad = self.outer[0]
        return super().__call__(function)


def inference_mode(mode: Any = True) -> Any:
    """Like `no_grad`, for code whose results will never take part in a gradient."""
    if callable(mode):
        return _Switch(False, True)(mode)
    return _Switch(False, True) if mode else _Switch(MODE.grad, False)
