"""functionalize: functions without writes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["functionalize"]


def functionalize(func: Callable, *, remove: str = "mutations") -> Callable:
    """The function, for programs that ask for one whose writes into tensors have become new tensors.

    Whoever calls it sees the same: arguments that `func` writes into have changed afterwards, as in PyTorch. What goes
    on inside needs no change, since nothing pending sees a later write. remove: "mutations", or "mutations_and_views".

    >>> import livegrad
    >>> x = livegrad.ones(2)
    >>> livegrad.func.functionalize(lambda t: t.add_(1) * 2)(x), x
    (tensor([4., 4.]), tensor([2., 2.]))
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}. Valid options are "
            "'mutations' and 'mutations_and_views'."
        )

    @functools.wraps(func)
    def same(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return same
