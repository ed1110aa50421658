"""Whether autocast is on, by thread and kind of device; what is on it is `livegrad.ops.casting`'s business.

Operators that autocast may change look at `REGIONS.open`, which is 0 nearly always, and only then ask further.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from . import dtypes
from .blocks import over
from .native import hot, slotted


class State(threading.local):
    """One thread's autocast.

    dtype: kind of device -> what its products are computed in; those for which autocast is on are in `enabled`.
    cache: whether casts of parameters are kept until the outermost region ends. regions: those that this thread is in,
    or has left since somebody last looked, and what to put back then.
    """

    def __init__(self) -> None:
        self.regions: list[tuple] = []
        self._enabled: frozenset[str] = frozenset()
        self._dtype: dict[str, Any] = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16}
        self._cache = True
        self.casts: dict[tuple, tuple] = {}

    @property
    @hot
    def enabled(self) -> frozenset[str]:
        if self.regions:
            self._leave()
        return self._enabled

    @property
    def dtype(self) -> dict[str, Any]:
        if self.regions:
            self._leave()
        return self._dtype

    @property
    def cache(self) -> bool:
        if self.regions:
            self._leave()
        return self._cache

    @cache.setter
    def cache(self, kept: bool) -> None:
        if self.regions:
            self._leave()
        self._cache = kept

    def enter(self, block: Any, kind: str, enabled: bool, dtype: Any, cache: bool) -> None:
        """Begin a region of one kind of device."""
        before = self.enabled, kind, self._dtype[kind], self._cache
        self.regions.append((block, before))
        self._dtype[kind], self._cache = dtype, cache
        self.enable(kind, enabled)

    def _leave(self) -> None:
        """Put back what was before the regions that have ended."""
        regions = self.regions
        while regions:
            block, (enabled, kind, dtype, cache) = regions[-1]
            if not over(block):
                return
            self._dtype[kind], self._cache = dtype, cache
            self.set(enabled)
            regions.pop()  # at the end: what an interruption leaves undone is done again
        self.casts.clear()

    def enable(self, kind: str, wanted: bool) -> None:
        """Turn autocast on or off for tensors on one kind of device."""
        self.set(self._enabled | {kind} if wanted else self._enabled - {kind})

    def set(self, enabled: frozenset[str]) -> None:
        """Say for which kinds of device it is on."""
        REGIONS.open += len(enabled) - len(self._enabled)
        self._enabled = enabled


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
