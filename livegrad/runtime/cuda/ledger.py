"""The ledger: every copy between host and device and every wait for a device, with the user's line that caused it."""

from __future__ import annotations

import collections
import warnings
from typing import Literal, NamedTuple

from ...site import Site, here, warn

Watch = Literal["", "warn", "raise"]


class Entry(NamedTuple):
    """A copy or a wait.

    kind: "host to device", "device to host", "device to device" or "synchronize". why: what asked for it.
    waits: whether the host stood still for it; only a copy from pinned memory with ``non_blocking=True`` and one
    between devices do without.
    """

    kind: str
    nbytes: int
    why: str
    site: Site | None
    waits: bool = True

    def __str__(self) -> str:
        size = f" of {self.nbytes} bytes" if self.nbytes else ""
        return f"{self.why}: {self.kind}{size}{'' if self.waits else ', without waiting'}"


class _Ledger:
    """The last entries. watch: what happens where the host has to wait: "" for nothing, "warn" or "raise"."""

    def __init__(self) -> None:
        self.entries: collections.deque[Entry] = collections.deque(maxlen=10_000)
        self.watch: Watch = ""


LEDGER = _Ledger()


class SynchronizationWarning(UserWarning):
    """The host has to wait for a device."""


class SynchronizationError(RuntimeError):
    """The host would have to wait for a device, where `livegrad.debug.watch_sync` forbids it."""


def note(kind: str, nbytes: int, why: str, waits: bool | None = None) -> None:
    """Enter a copy or a wait. waits: whether the host stands still; all but copies between devices, if not given.

    Raises SynchronizationError, before anything is done, where waits are forbidden.
    """
    if waits is None:
        waits = kind != "device to device"
    entry = Entry(kind, nbytes, why, here(), waits)
    if waits and LEDGER.watch == "raise":
        raise SynchronizationError(f"the host has to wait for the device: {entry}\n  asked for here: {entry.site}")
    LEDGER.entries.append(entry)
    if waits and LEDGER.watch == "warn":
        warn(f"the host has to wait for the device: {entry}", SynchronizationWarning)


warnings.simplefilter("always", SynchronizationWarning)
