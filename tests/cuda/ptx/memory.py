"""The memory that a kernel sees: buffers of the device, shared memory of blocks, local memory of threads, parameters.

Addresses are numbers. Shared and local memory and parameters are at the same addresses for all blocks or threads, as on a GPU: in
their own space from 0 on, in the generic one in a window each. An access outside of every live buffer, and one that
is not a multiple of its size, is an error that names the thread and the instruction.
"""

from __future__ import annotations

import bisect

import numpy as np

from .kinds import WORDS
from .races import Trace

WINDOWS = {"shared": 1 << 60, "local": 1 << 61, "param": 1 << 62}  # where the generic space shows them
WINDOW = 1 << 32


class Fault(Exception):
    """What a GPU would stop for, or would do without saying so: outside of memory, misaligned, a race, a deadlock."""


class Region:
    """Memory from one address on. copies: into how many equal parts it is divided, one for each block or thread."""

    def __init__(self, name: str, base: int, raw: np.ndarray, copies: int = 1):
        self.name, self.base, self.raw, self.copies = name, base, raw, copies
        self.size = raw.nbytes // copies
        self.trace: Trace | None = None
        self._views: dict = {}

    def view(self, size: int) -> np.ndarray:
        """The memory as words of so many bytes; it begins at a multiple of 16."""
        found = self._views.get(size)
        if found is None:
            whole = self.raw[: self.raw.nbytes // size * size]
            found = self._views[size] = whole.view(WORDS[8 * size])
        return found


class Memory:
    """What one launch can reach. buffers: (address, bytes as an array, name) of the device's memory."""

    def __init__(self, buffers: list[tuple[int, np.ndarray, str]]):
        self.regions = [Region(name, base, raw) for base, raw, name in sorted(buffers, key=lambda b: b[0])]
        self.bases = [r.base for r in self.regions]
        self.windows: dict[str, Region] = {}

    def set(self, space: str, size: int, copies: int) -> None:
        """Shared or local memory, for as many blocks or threads; what has not been written is all ones."""
        size = -(-size // 16) * 16
        self.windows[space] = Region(space, 0, np.full(size * copies, 0xFF, np.uint8), copies)

    def set_parameters(self, raw: np.ndarray) -> None:
        """The bytes of all parameters."""
        self.windows["param"] = Region("param", 0, np.append(raw, np.zeros(-len(raw) % 16, np.uint8)))

    def find(self, space: str, low: int, high: int) -> tuple[Region | None, int]:
        """The region that holds these addresses, if one does, and what to subtract from addresses in it."""
        if space == "generic":
            for name, start in WINDOWS.items():
                if start <= low < start + WINDOW:
                    found, _ = self.find(name, low - start, high - start)
                    return found, start
            space = "global"
        if space in self.windows:
            found = self.windows[space]
            return (found if low >= 0 and high <= found.size else None), 0
        at = bisect.bisect_right(self.bases, low) - 1
        if at >= 0 and high <= self.regions[at].base + self.regions[at].size:
            return self.regions[at], self.regions[at].base
        return None, 0


def locate(memory: Memory, threads, space: str, address, size: int, count: int, where) -> list[tuple]:
    """(region, places of `size` bytes in it, which of the threads) for an access of `count` neighbouring words.

    threads: with `block` and `index` of each. address: one for each thread, or one for all. where: raises a fault.
    """
    whole = size * count
    address = np.asarray(address)
    if address.dtype != np.uint64:
        address = address.astype(np.uint64)
    wrong = address % np.uint64(whole) != 0
    if wrong.any():
        where(wrong, f"address {{:#x}} is not a multiple of {whole}", address)
    low, high = int(address.min()), int(address.max()) + whole
    region, start = memory.find(space, low, high)
    if region is not None:
        return [(region, _places(region, address, start, size, threads, None), None)]
    if address.ndim == 0:
        where(np.True_, _outside(memory, whole), address)
    found = []
    left = np.ones(address.shape, bool)
    while left.any():
        first = int(address[left].min())
        region, start = memory.find(space, first, first + whole)
        if region is None:
            where(left & (address == np.uint64(first)), _outside(memory, whole), address)
        end = start + region.size
        mine = left & (address + np.uint64(whole) <= np.uint64(end))
        if not mine.any():
            where(left & (address == np.uint64(first)), _outside(memory, whole), address)
        who = np.flatnonzero(mine)
        found.append((region, _places(region, address[who], start, size, threads, who), who))
        left &= ~mine
    return found


def _outside(memory: Memory, whole: int) -> str:
    known = ", ".join(f"{r.name} [{r.base:#x}, {r.base + r.size:#x})" for r in memory.regions[:8])
    return f"{whole} bytes at {{:#x}} are in no live buffer ({known})"


def _places(region: Region, address: np.ndarray, start: int, size: int, threads, who) -> np.ndarray:
    offset = (address - np.uint64(start)).astype(np.int64)
    if region.name in ("shared", "local"):
        copy = threads.block if region.name == "shared" else threads.index
        offset = offset + (copy if who is None else copy[who]) * region.size
    return offset // size
