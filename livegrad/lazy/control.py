"""What users say about deferral: `eval` and `eager`."""

from __future__ import annotations

from typing import Any

from ..blocks import Exit, opened, over
from ..native import hot
from ..observe import WATCH
from ..runtime import pool
from ..settings import switch
from . import value as values
from .evaluate import evaluate_all
from .value import DEFAULT_LIMIT, EAGER, Bound


@hot
def eval(*tensors: Any) -> None:  # noqa: A001
    """Compute everything that is pending in these tensors (or nested lists, tuples and dicts of them), together.

    It is done on the return, as is whatever was launched before and nobody has waited for.

    >>> import livegrad
    >>> x = livegrad.ones(3) * 2
    >>> livegrad.eval(x)
    """
    values: list = []
    _collect(tensors, values)
    evaluate_all(values, "livegrad.eval")
    pool.wait()


@hot
def _collect(x: Any, values: list) -> None:
    if isinstance(x, (list, tuple)):
        for item in x:
            _collect(item, values)
    elif isinstance(x, dict):
        for item in x.values():
            _collect(item, values)
    elif x is not None:
        values.append(x._value())


class _Leave(Exit):
    """What ends a block of `eager`, at once where nothing comes between."""

    def __get__(self, switch: Any, cls: Any = None) -> Any:
        release = super().__get__(switch, cls)

        def leave(*error: Any) -> None:
            release(*error)
            end_blocks()

        return leave


def end_blocks() -> None:
    """Put back the bound that was in force before the blocks of `eager` that are over."""
    while EAGER and over(EAGER[-1][0]):
        set_bound(EAGER[-1][1])
        EAGER.pop()


values.end_eager_blocks = end_blocks


class eager:
    """Evaluate each operator as it is recorded: as a context manager, or for good by `eager(True)` / `eager(False)`.

    For debugging and tests; results are the same either way. The environment variable LIVEGRAD_EAGER=1 turns it on
    from the start.

    >>> import livegrad
    >>> with livegrad.eager():
    ...     x = livegrad.ones(2) + 1   # computed at once
    """

    __exit__ = _Leave()

    def __init__(self, lasting: bool | None = None):
        if lasting is not None:
            set_bound(-1 if lasting else DEFAULT_LIMIT)

    def __enter__(self) -> None:
        block = opened(self)
        EAGER.append((block, bound()))
        set_bound(-1)


def is_eager() -> bool:
    """Whether operators are evaluated as they are recorded."""
    return bound() < 0


def bound() -> int:
    """The bound on pending work that is in force."""
    end_blocks()
    return Bound.limit if WATCH.bound is None else WATCH.bound


def set_bound(limit: int) -> None:
    """Put another bound in force."""
    if WATCH.bound is None:
        Bound.limit = limit
    else:
        WATCH.bound = limit
    pool.QUEUE.eager = limit < 0
    pool.wait()


def watch_records(on: bool) -> None:
    """Let the observer look at each elementwise operator as it is recorded: to the hot path each is over the bound."""
    if on:
        pool.finish()  # what was launched before is not to be watched
        WATCH.bound, Bound.limit = Bound.limit, -1
    elif WATCH.bound is not None:
        Bound.limit, WATCH.bound = WATCH.bound, None


if switch("LIVEGRAD_EAGER", False):
    set_bound(-1)
