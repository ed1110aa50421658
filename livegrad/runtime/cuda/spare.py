"""Small pieces of memory that are handed out again, the lowest address first.

CuPy's pool gives what fits, but not the same piece every time: which one depends on the order in which pieces came
back. Where launches are to be started as graphs (see `graphs`), a step that repeats has to get the addresses that it
got before. What is handed out here depends on nothing but which pieces are in use, so a program whose steps hold the
same memory at the same places gets there by itself, whatever the steps before held.

A piece stays with the stream in which it was asked for, like CuPy's.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

LARGEST = 1 << 20  # bytes of a piece
BOUND = 256 << 20  # bytes that wait here, together
_STEP = 512  # CuPy's

Home = tuple[int, int, int]  # device, stream, bytes

_waiting: dict[Home, list[tuple[int, Any]]] = {}
_total = [0]


def home(index: int, stream: int, nbytes: int) -> Home:
    """Where a piece of that many bytes belongs."""
    return index, stream, max(-(-nbytes // _STEP), 1) * _STEP


def take(where: Home) -> Any:
    """A piece's memory, or None."""
    pieces = _waiting.get(where)
    if not pieces:
        return None
    _total[0] -= where[2]
    return heappop(pieces)[1]


def give(
    where: Home, address: int, memory: Any, waiting: dict = _waiting, total: list = _total, push: Any = heappush,
    bound: int = BOUND,
) -> None:  # fmt: skip
    """Put a piece back; beyond the bound it goes to CuPy's pool. (It may be called when modules are gone already.)"""
    if total[0] + where[2] <= bound:
        pieces = waiting.get(where)
        if pieces is None:
            pieces = waiting[where] = []
        total[0] += where[2]
        push(pieces, (address, memory))


def clear() -> None:
    """Let CuPy's pool have all of them."""
    _waiting.clear()
    _total[0] = 0
