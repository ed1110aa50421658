"""Collective operations on flat arrays: who sends what to whom, in which order.

Every sum is made in an order that depends on its length and the number of processes only, and once: what is added up in
one process is sent to the others. So all ranks have the same bits, in each run.

The ring: P. Patarasuk and X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", J. Parallel
Distrib. Comput. 69 (2009). Recursive doubling and binomial trees: R. Thakur, R. Rabenseifner and W. Gropp,
"Optimization of collective communication operations in MPICH", Int. J. High Perform. Comput. Appl. 19 (2005).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .channel import Call

__all__ = ["all_gather", "all_reduce", "all_to_all", "broadcast", "gather", "reduce", "reduce_scatter", "scatter"]

Combine = Callable[[np.ndarray, np.ndarray, np.ndarray], None]

# Up to so many bytes the number of messages after each other decides, and all of the data goes along; above it, the
# amount of data.
SMALL = 1 << 15


def all_reduce(call: Call, x: np.ndarray, combine: Combine) -> None:
    """Combine the arrays of all processes, in place."""
    if call.size == 1 or not x.size:
        return
    if x.nbytes <= SMALL:
        _doubling(call, x, combine)
    else:
        bounds = _split(x.size, call.size)
        parts = [x[a:b] for a, b in zip(bounds, bounds[1:])]
        _ring_reduce(call, parts, combine, 1)
        _ring_gather(call, parts, 1)


def _split(length: int, count: int) -> list[int]:
    return [length * i // count for i in range(count + 1)]


def _doubling(call: Call, x: np.ndarray, combine: Combine) -> None:
    """In each round, exchange all that one has with a process twice as far away."""
    rank, whole = call.rank, 1 << (call.size.bit_length() - 1)
    other = np.empty_like(x)
    rest = call.size - whole
    if rank >= whole:  # beyond a power of two: a process below stands in
        call.sent(rank - whole, call.send(rank - whole, x))
        call.receive(rank - whole, x)
        return
    if rank < rest:
        call.receive(rank + whole, other)
        combine(x, other, x)
    step = 1
    while step < whole:
        peer = rank ^ step
        call.exchange(peer, x, peer, other)
        # Both add the lower ranks' sum and the higher ranks' in this order.
        combine(x, other, x) if rank < peer else combine(other, x, x)
        step *= 2
    if rank < rest:
        call.sent(rank + whole, call.send(rank + whole, x))


def _ring_reduce(call: Call, parts: list[np.ndarray], combine: Combine, shift: int) -> None:
    """Send sums of parts around; process r has the whole sum of part r + shift at the end."""
    rank, size = call.rank, call.size
    scratch = np.empty(max(p.size for p in parts), parts[0].dtype)
    for step in range(size - 1):
        mine = parts[(rank - step + shift - 1) % size]
        theirs = parts[(rank - step + shift - 2) % size]
        room = scratch[: theirs.size]
        call.exchange((rank + 1) % size, mine, (rank - 1) % size, room)
        combine(room, theirs, theirs)


def _ring_gather(call: Call, parts: list[np.ndarray], shift: int) -> None:
    """Send parts around; process r begins with part r + shift, and all have all of them at the end."""
    rank, size = call.rank, call.size
    for step in range(size - 1):
        mine, theirs = parts[(rank - step + shift) % size], parts[(rank - step + shift - 1) % size]
        call.exchange((rank + 1) % size, mine, (rank - 1) % size, theirs)


def reduce(call: Call, x: np.ndarray, root: int, combine: Combine) -> None:
    """Combine the arrays of all processes, in place in the root's; those of others hold partial results then."""
    if not x.size:
        return
    place = (call.rank - root) % call.size
    other = np.empty_like(x)
    step = 1
    while step < call.size:
        if place & step:
            to = (place - step + root) % call.size
            call.sent(to, call.send(to, x))
            return
        if place + step < call.size:
            call.receive((place + step + root) % call.size, other)
            combine(x, other, x)
        step *= 2


def broadcast(call: Call, x: np.ndarray, root: int) -> None:
    """Put the root's array into those of all, along a binomial tree."""
    place, size = (call.rank - root) % call.size, call.size
    step = 1
    while step < size:
        step *= 2
    if place:
        own = place & -place
        call.receive((place - own + root) % size, x)
        step = own
    tickets = []
    while step > 1:
        step //= 2
        if place + step < size:
            to = (place + step + root) % size
            tickets.append((to, call.send(to, x)))
    for to, ticket in tickets:
        call.sent(to, ticket)


def all_gather(call: Call, parts: list[np.ndarray]) -> None:
    """Put each process's part, which is in ``parts`` at its rank, into those of all."""
    _ring_gather(call, parts, 0)


def gather(call: Call, x: np.ndarray, parts: list[np.ndarray] | None, root: int) -> None:
    """Put each process's array into the root's parts."""
    if call.rank != root:
        call.sent(root, call.send(root, x))
        return
    assert parts is not None
    for other in range(call.size):
        if other != root:
            call.receive(other, parts[other])
    parts[root][...] = x


def scatter(call: Call, x: np.ndarray, parts: list[np.ndarray] | None, root: int) -> None:
    """Put each of the root's parts into the array of one process."""
    if call.rank != root:
        call.receive(root, x)
        return
    assert parts is not None
    tickets = [(other, call.send(other, parts[other])) for other in range(call.size) if other != root]
    x[...] = parts[root]
    for other, ticket in tickets:
        call.sent(other, ticket)


def reduce_scatter(call: Call, parts: list[np.ndarray], combine: Combine) -> np.ndarray:
    """Combine the parts of all processes; the one at this process's rank. The memory of the others is used."""
    if call.size > 1:
        _ring_reduce(call, parts, combine, 0)
    return parts[call.rank]


def all_to_all(call: Call, into: list[np.ndarray], parts: list[np.ndarray]) -> None:
    """Put part i of process j into part j of process i."""
    rank, size = call.rank, call.size
    into[rank][...] = parts[rank]
    for step in range(1, size):
        call.exchange(
            (rank + step) % size, parts[(rank + step) % size], (rank - step) % size, into[(rank - step) % size]
        )
