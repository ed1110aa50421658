"""Whether operators are recorded: no_grad, enable_grad, set_grad_enabled, inference_mode."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

from ..native import hot, slotted


class _Local(threading.local):
    grad = True
    inference = False


_local = _Local()


@slotted
class _Mode:
    """Whether operators are recorded, in this thread.

    off: how many threads are not recording, or more. While it is 0 nobody has to ask which thread this is, which takes
    longer than anything else about it.
    """

    __slots__ = ("off",)

    def __init__(self) -> None:
        self.off = 0

    @property
    @hot
    def grad(self) -> bool:
        return _local.grad

    @grad.setter
    @hot
    def grad(self, wanted: bool) -> None:
        # In this order, an interruption in between leaves `off` too high, which is harmless.
        if wanted:
            if not _local.grad:
                _local.grad = True
                self.off -= 1
        elif _local.grad:
            self.off += 1
            _local.grad = False

    @property
    @hot
    def inference(self) -> bool:
        return _local.inference

    @inference.setter
    def inference(self, wanted: bool) -> None:
        _local.inference = wanted


MODE = _Mode()


def is_grad_enabled() -> bool:
    """Whether operators on tensors that require gradients are recorded now, in this thread."""
    return MODE.grad


def is_inference_mode_enabled() -> bool:
    """Whether inference mode is on in this thread."""
    return MODE.inference


@slotted
class _Switch:
    """A context manager, and a decorator of functions and generators, that sets the mode for a while."""

    __slots__ = ("wanted", "inference", "before", "__weakref__")

    @hot
    def __init__(self, wanted: bool, inference: bool | None = None):
        self.wanted = wanted
        self.inference = inference
        self.before: list[tuple[bool, bool]] = []

    @hot
    def __enter__(self) -> None:
        self.before.append((MODE.grad, MODE.inference))
        MODE.grad = self.wanted
        if self.inference is not None:
            MODE.inference = self.inference

    @hot
    def __exit__(self, *exc: Any) -> None:
        # Set without a call: Ctrl-C strikes where a function begins, and would leave the mode as it is here.
        before, _local.inference = self.before[-1]
        if before:
            if not _local.grad:
                _local.grad = True
                MODE.off -= 1
        elif _local.grad:
            MODE.off += 1
            _local.grad = False
        self.before.pop()

    def _fresh(self) -> _Switch:
        return _Switch(self.wanted, self.inference)

    def __call__(self, function: Callable) -> Callable:
        if inspect.isclass(function):
            function.__init__ = self(function.__init__)  # type: ignore[misc]
            return function
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Any:
                # The mode is set whenever the generator runs, and what it was before whenever it waits.
                running = function(*args, **kwargs)
                resume, given = running.send, None
                while True:
                    try:
                        with self._fresh():
                            item = resume(given)
                    except StopIteration as stop:
                        return stop.value
                    try:
                        given = yield item
                        resume = running.send
                    except GeneratorExit:
                        with self._fresh():
                            running.close()
                        raise
                    except BaseException as error:
                        resume, given = running.throw, error

            return generator

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._fresh():
                return function(*args, **kwargs)

        return wrapped


def _usable_bare(make: Callable[[], _Switch], args: tuple) -> Any:
    """Support both `@no_grad()` and `@no_grad`."""
    switch = make()
    return switch(args[0]) if args else switch


def no_grad(*function: Callable) -> Any:
    """Stop recording: results do not require gradients. A context manager and a decorator.

    >>> import livegrad
    >>> x = livegrad.ones(2, requires_grad=True)
    >>> with livegrad.no_grad():
    ...     (x * 2).requires_grad
    False
    """
    return _usable_bare(lambda: _Switch(False), function)


def enable_grad(*function: Callable) -> Any:
    """Record again inside `no_grad`. A context manager and a decorator."""
    return _usable_bare(lambda: _Switch(True), function)


class set_grad_enabled(_Switch):
    """Turn recording on or off: a function with lasting effect, a context manager, or a decorator."""

    def __init__(self, mode: bool):
        super().__init__(bool(mode))
        self.outer = (MODE.grad, MODE.inference)
        MODE.grad = self.wanted

    @hot
    def __enter__(self) -> None:
        self.before.append(self.outer)
        MODE.grad = self.wanted

    def __call__(self, function: Callable) -> Callable:
        MODE.grad = self.outer[0]
        return super().__call__(function)


def inference_mode(mode: Any = True) -> Any:
    """Like `no_grad`, for code whose results will never take part in a gradient."""
    if callable(mode):
        return _Switch(False, True)(mode)
    return _Switch(False, True) if mode else _Switch(MODE.grad, False)
