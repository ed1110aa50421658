"""What kernels find wrong with indices, which are on the device: the host looks at it when it next waits.

A kernel takes a wrong index for 0 and keeps the least of (number of the report, index) in a word of pinned memory,
which device and host see. So nothing waits for the check, and the device goes on. The error is raised where the host
next waits for the device, and names the line that used the index. PyTorch's assertions on a device come as late, and
leave the process without one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ...site import Site, here
from . import driver

CLEAN = (1 << 64) - 1
KEPT = 4096  # reports that are still known when one turns out to be wrong; of an older one only the index is known

_words: dict[int, tuple[Any, np.ndarray]] = {}  # by device: pinned memory, and the word in it
_reports: dict[int, tuple[Callable[[int], Exception], Site | None]] = {}
_numbers = itertools.count(1)


def word(index: int) -> int:
    """The address of a device's word."""
    found = _words.get(index)
    if found is None:
        memory = driver.cupy().cuda.alloc_pinned_memory(8)
        found = _words[index] = (memory, np.frombuffer(memory, np.uint64, 1))
        found[1][0] = CLEAN
    return int(found[1].__array_interface__["data"][0])


def report(error: Callable[[int], Exception]) -> int:
    """A report as kernels take it. error: makes the exception for an index that is wrong."""
    number = next(_numbers) & 0x7FFFFFFF
    _reports[number] = (error, here())
    if len(_reports) > KEPT:
        del _reports[next(iter(_reports))]
    return number << 32


def look() -> None:
    """Raise what has been found wrong. To be called when the host has waited for a device."""
    for _, found in _words.values():
        if int(found[0]) != CLEAN:
            number, index = divmod(int(found[0]), 1 << 32)
            found[0] = CLEAN
            bad = index - (1 << 32) if index >= 1 << 31 else index
            error, site = _reports.get(number, (_forgotten, None))
            made = error(bad)
            if site is not None:
                made = type(made)(f"{made}\n  (found on the device; the index was used here: {site})")
            raise made


def _forgotten(index: int) -> Exception:
    return IndexError(f"index {index} is out of bounds")
