"""Whether autocast is on, by thread and kind of device; what is on it is `livegrad.ops.casting`'s business.

Operators that autocast may change look at `REGIONS.open`, which is 0 nearly always, and only then ask further.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from . import dtypes
from .native import slotted


class State(threading.local):
    """One thread's autocast.

    dtype: kind of device -> what its products are computed in; those for which autocast is on are in `enabled`.
    nesting: how many regions this thread is in. cache: whether casts of parameters are kept until the outermost ends.
    """

    def __init__(self) -> None:
        self.enabled: frozenset[str] = frozenset()
        self.dtype: dict[str, Any] = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16}
        self.nesting = 0
        self.cache = True
        self.casts: dict[tuple, tuple] = {}

    def enable(self, kind: str, wanted: bool) -> None:
        """Turn autocast on or off for tensors on one kind of device."""
        self.set(self.enabled | {kind} if wanted else self.enabled - {kind})

    def set(self, enabled: frozenset[str]) -> None:
        """Say for which kinds of device it is on."""
        REGIONS.open += len(enabled) - len(self.enabled)
        self.enabled = enabled


@slotted
class _Regions:
    """open: for how many threads and kinds of device autocast is on, or more.

    cast: ``cast(name, arguments)`` gives an operator's arguments as autocast wants them; set by `ops.casting`, which
    stands higher.
    """

    __slots__ = ("open", "cast")
    cast: Callable[[str, tuple], tuple]

    def __init__(self) -> None:
        self.open = 0


REGIONS = _Regions()
STATE = State()
