"""Finding out what a program did: here, where the host waited for a GPU.

A program is fast on a GPU as long as the host runs ahead of it. Every copy between host and device, and every wait, is
entered in a ledger with the user's line that caused it; `watch_sync` warns or raises where it happens.

>>> import livegrad
>>> with livegrad.debug.watch_sync("raise"):
...     y = livegrad.ones(3) * 2  # on the CPU nobody waits
>>> print(livegrad.debug.ledger())
no copies between host and device, and no waits
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .runtime.cuda.ledger import LEDGER, Entry, SynchronizationError, SynchronizationWarning, Watch
from .runtime.refusal import amount

__all__ = ["Entry", "Ledger", "SynchronizationError", "SynchronizationWarning", "clear_ledger", "ledger", "watch_sync"]

_MODES: dict[Any, Watch] = {"warn": "warn", "raise": "raise", "error": "raise", "off": "", None: ""}


class watch_sync:
    """From here on, or inside a ``with``: warn or raise at each wait for a device and each copy to and from the host.

    mode: "warn", "raise" or "off". Warnings and errors name the user's line; nothing has been copied when an error is
    raised. Copies from pinned memory with ``non_blocking=True`` do not wait. Raises ValueError for another mode.
    """

    def __init__(self, mode: str | None = "warn"):
        if mode not in _MODES:
            raise ValueError(f"watch_sync: the mode is 'warn', 'raise' or 'off', not {mode!r}")
        self.mode = _MODES[mode]
        self._before = LEDGER.watch
        LEDGER.watch = self.mode

    def __enter__(self) -> watch_sync:
        LEDGER.watch = self.mode
        return self

    def __exit__(self, *exc: Any) -> None:
        LEDGER.watch = self._before


class Ledger(list[Entry]):
    """Copies and waits, oldest first. Printed, it is a table by line, those that moved most on top."""

    def by_line(self) -> list[tuple[str, str, int, int]]:
        """(the user's line, kind, how often, bytes in all), sorted by bytes and number."""
        sums: dict[tuple[str, str], list[int]] = {}
        for entry in self:
            line = "outside of any program" if entry.site is None else f"{entry.site.filename}:{entry.site.lineno}"
            held = sums.setdefault((line, entry.kind), [0, 0])
            held[0] += 1
            held[1] += entry.nbytes
        rows = [(line, kind, count, nbytes) for (line, kind), (count, nbytes) in sums.items()]
        return sorted(rows, key=lambda row: (-row[3], -row[2]))

    def __str__(self) -> str:
        if not self:
            return "no copies between host and device, and no waits"
        return "\n".join(
            f"{count:>7} ×  {kind:<16} {amount(nbytes):>11}  {line}" for line, kind, count, nbytes in self.by_line()
        )


def ledger(kinds: Iterable[str] | None = None) -> Ledger:
    """The copies and waits of late (10,000 at most), oldest first; of some kinds only if given."""
    wanted = None if kinds is None else {kinds} if isinstance(kinds, str) else set(kinds)
    return Ledger(entry for entry in LEDGER.entries if wanted is None or entry.kind in wanted)


def clear_ledger() -> None:
    """Forget what the ledger holds."""
    LEDGER.entries.clear()
