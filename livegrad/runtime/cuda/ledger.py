"""The ledger: every copy between host and device and every wait for a device, with the user's line that caused it."""

from __future__ import annotations

import collections
import warnings
from typing import Literal, NamedTuple

from ...site import Site, here, warn


class Entry(NamedTuple):
    """kind: "host to device", "device to host", "device to device" or "synchronize". why: what asked for it."""

    kind: str
    nbytes: int
    why: str
    site: Site | None


class _Ledger:
    """The last entries. watch: what happens where the host has to wait: "" for nothing, "warn" or "raise"."""

    def __init__(self) -> None:
        self.entries: collections.deque[Entry] = collections.deque(maxlen=10_000)
        self.watch: Literal["", "warn", "raise"] = ""


LEDGER = _Ledger()


class SynchronizationWarning(UserWarning):
    """The host has to wait for a device."""


def note(kind: str, nbytes: int, why: str) -> None:
    """Enter a copy or a wait. Raises RuntimeError where waits are forbidden."""
    waits = kind in ("device to host", "synchronize")
    if waits and LEDGER.watch == "raise":
        raise RuntimeError(f"{why} makes the host wait for the device ({kind}, {nbytes} bytes)")
    LEDGER.entries.append(Entry(kind, nbytes, why, here()))
    if waits and LEDGER.watch == "warn":
        warn(f"{why} makes the host wait for the device ({kind}, {nbytes} bytes)", SynchronizationWarning)


warnings.simplefilter("always", SynchronizationWarning)
