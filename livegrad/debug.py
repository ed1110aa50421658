"""Finding out what a program did: where a NaN came from, and where the host waited for a GPU.

`find_nan` replays the recorded graph and names the step that made the first NaN or infinity.

>>> import livegrad
>>> x = livegrad.tensor([1.0, 0.0], requires_grad=True)
>>> y = (x.log() * x).sum()
>>> finding = livegrad.debug.find_nan(y)
>>> print(finding.name, finding.kind, finding.operands[0])
LogBackward0 inf x: float32 [2], from 0 to 1

A program is fast on a GPU as long as the host runs ahead of it. Every copy between host and device, and every wait, is
entered in a ledger with the user's line that caused it; `watch_sync` warns or raises where it happens.

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

__all__ = [
    "Entry", "Ledger", "SynchronizationError", "SynchronizationWarning", "clear_ledger", "find_nan", "ledger",
    "watch_sync",
]  # fmt: skip

_MODES: dict[Any, Watch] = {"warn": "warn", "raise": "raise", "error": "raise", "off": "", None: ""}


def find_nan(y: Any, *more: Any, params: Any = None, backward: bool = True) -> Any:
    """The step that made the first NaN or infinity on the way to `y`, as a `livegrad.graph.replay.Finding`.

    The recorded graph is replayed, operator by operator: what is kept for the backward pass is looked at, the rest is
    computed again from the leaves, as they are now. The finding names the step, its line, and its operands with the
    ranges of their numbers; or the operand that came in so, as data with a NaN do. It is false if everything is
    finite. Where a value cannot be had again (an operand that needs no gradient and that no gradient reads, a user's
    `Function`, a graph that backward has freed) it says so. Infinities that a program puts in on purpose, as the number
    of a `masked_fill`, do not count as made.

    y, more: tensors, or tuples, lists and dicts of them. params: what names the leaves, as in `livegrad.graph`.
    backward: whether, if all results are finite, gradients are looked at too. That runs the gradient of each step on
    ones for `y`, calls no hooks and changes no `.grad`.

    >>> import livegrad
    >>> w = livegrad.zeros(1, requires_grad=True)
    >>> y = (w.abs().sqrt() * 2).sum()
    >>> finding = livegrad.debug.find_nan(y)
    >>> finding.phase, finding.name, finding.kind, finding.site.line
    ('backward', 'SqrtBackward0', 'inf', 'y = (w.abs().sqrt() * 2).sum()')
    """
    from .graph import _flatten, replay
    from .graph.names import caller_names, given_names
    from .graph.view import read

    results = _flatten((y, *more))
    names = given_names(params) + caller_names()
    return replay.find(read(results, names), results, names, backward)


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
