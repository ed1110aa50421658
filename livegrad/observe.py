"""The one switch for watching what runs: the log of launches and the profiler are observers.

Whatever launches something looks at `WATCH.observer`, which is None nearly always. So watching costs nothing while
nobody does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from .native import slotted


class Observer:
    """What is told of every launch, library call, operator and step of a backward pass."""

    def begin(self, name: str, nodes: Sequence, leaves: Sequence, outputs: Sequence, shape: tuple, reason: str) -> Any:
        """A kernel (or tier 0) is about to compute `nodes` from `leaves`, and then, if `name` is one, a reduction.

        outputs: numbers of the nodes that are written. Returns what `end` or `postponed` is called with.
        """

    def end(self, token: Any, how: str) -> None:
        """What was begun is done; how: see `lazy.log`."""

    def postponed(self, token: Any, how: str) -> None:
        """What was begun waits for others to be launched with it."""

    def begin_batch(self) -> Any:
        """What was postponed is launched now; `end` follows."""

    def begin_call(self, name: str, shapes: tuple, flops: int) -> Any:
        """A library (BLAS, convolution, ...) is about to be called; `end` follows."""

    def begin_graph(self, launches: int) -> Any:
        """So many launches that were put off are started together, as a CUDA graph; `end` follows."""
        return self.begin_call(f"CUDA graph of {launches} launches", (), 0)

    def recorded(self, v: Any) -> bool:
        """An elementwise operator was recorded. Told only while `WATCH.bound` is set; True leaves it pending."""
        return False

    def node(self, node: Any, g: Any, recording: bool, edges: tuple) -> Any:
        """Run a node of a backward pass."""
        return node.run(g, recording, edges)

    def operator(self, op: Any, tensors: Sequence, label: str | None, args: dict) -> Any:
        """Run an operator that is not elementwise."""
        return op._apply(tensors, label, args)

    def range(self, name: str) -> Any:
        """A named stretch of the program begins; `end` follows."""


@slotted
class _Watch:
    """observer: who watches, or None. bound: the bound on pending work in force while every record is looked at.

    batcher: what applies operators to batches (see `ops.batching`) while `func.vmap` runs a function, or None.
    """

    __slots__ = ("observer", "bound", "batcher")

    def __init__(self) -> None:
        self.observer: Observer | None = None
        self.bound: int | None = None
        self.batcher: Any = None


WATCH = _Watch()

F = TypeVar("F", bound=Callable)


def library(name: str) -> Callable[[F], F]:
    """Decorator: the function is a call of a library, shown under this name."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def observed(*args: Any, **kwargs: Any) -> Any:
            observer = WATCH.observer
            if observer is None:
                return function(*args, **kwargs)
            token = observer.begin_call(name, (), 0)
            try:
                return function(*args, **kwargs)
            finally:
                observer.end(token, "")

        return observed  # type: ignore[return-value]

    return decorate
