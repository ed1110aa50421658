"""What users say about deferral: `eval` and `eager`."""

from __future__ import annotations

import os
from typing import Any

from ..native import hot
from ..observe import WATCH
from ..runtime import pool
from .evaluate import evaluate_all
from .value import DEFAULT_LIMIT, Bound


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


class eager:
    """Evaluate each operator as it is recorded: as a context manager, or for good by `eager(True)` / `eager(False)`.

    For debugging and tests; results are the same either way. The environment variable LIVEGRAD_EAGER=1 turns it on
    from the start.

    >>> import livegrad
    >>> with livegrad.eager():
    ...     x = livegrad.ones(2) + 1   # computed at once
    """

    def __init__(self, lasting: bool | None = None):
        self.before: list[int] = []
        if lasting is not None:
            set_bound(-1 if lasting else DEFAULT_LIMIT)

    def __enter__(self) -> None:
        self.before.append(bound())
        set_bound(-1)

    def __exit__(self, *exc: Any) -> None:
        set_bound(self.before.pop())


def is_eager() -> bool:
    """Whether operators are evaluated as they are recorded."""
    return bound() < 0


def bound() -> int:
    """The bound on pending work that is in force."""
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


if os.environ.get("LIVEGRAD_EAGER", "0") not in ("", "0"):
    set_bound(-1)
