"""What the processes of one group send each other in a collective operation."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import DistBackendError, DistNetworkError
from .mesh import Mesh
from .wire import Closed, Head, Late, Outgoing, Ticket, as_raw, read_head, read_into, set_limit

__all__ = ["Call", "Channel"]

_PAUSE = 0.2  # how long one waits for a first connection before looking whether anything has gone wrong


def shown(text: bytes) -> str:
    """A call's text as errors show it: without what is there to be compared only."""
    name, _, shape = text.decode(errors="replace").partition("|")
    return f"{name} on {shape.rpartition('|')[2]}" if shape else name


class Call:
    """One collective operation of a group: what was called, and the messages that belong to it.

    text: what all processes have to agree on, then after the last ``|`` what is only shown. Group ranks throughout.
    """

    def __init__(self, channel: Channel, text: str, limit: float):
        self.channel = channel
        self.text = text.encode()
        self.sequence = channel.sequence
        self.limit = limit
        self.rank, self.size = channel.rank, channel.size

    def send(self, to: int, array: np.ndarray) -> Ticket:
        """Begin to send a contiguous array, which must not change until the ticket is done."""
        return self.channel.outgoing(to, self).post(self.text, 0, self.sequence, as_raw(array), array)

    def receive(self, of: int, into: np.ndarray) -> None:
        """Receive a contiguous array."""
        s, head = self._next(of)
        view = as_raw(into)
        if head.size != len(view):
            self.channel.disagree(self, of, head)
        self._read(s, of, view)

    def receive_any(self, of: int) -> np.ndarray:
        """Receive bytes, as many as come."""
        s, head = self._next(of)
        into = np.empty(head.size, np.uint8)
        self._read(s, of, as_raw(into))
        return into

    def exchange(self, to: int, array: np.ndarray, of: int, into: np.ndarray) -> None:
        """Send one array and receive another; both memories are free then."""
        ticket = self.send(to, array)
        self.receive(of, into)
        self.sent(to, ticket)

    def sent(self, to: int, ticket: Ticket) -> None:
        """Wait until a message has left."""
        try:
            ticket.wait(self.limit)
        except Late:
            self.channel.late(self, to, "took no data")
        except Closed:
            self.channel.lost(self, to)

    def _next(self, of: int) -> tuple[Any, Head]:
        s = self.channel.incoming(of, self)
        try:
            head = read_head(s)
        except Late:
            self.channel.late(self, of, "sent nothing")
        except Closed:
            self.channel.lost(self, of)
        if head.sequence != self.sequence or head.text.rpartition(b"|")[0] != self.text.rpartition(b"|")[0]:
            self.channel.disagree(self, of, head)
        return s, head

    def _read(self, s: Any, of: int, view: memoryview) -> None:
        try:
            read_into(s, view)
        except Late:
            self.channel.late(self, of, "stopped sending")
        except Closed:
            self.channel.lost(self, of)


class Channel:
    """A group's connections for collective operations. ranks: the world's ranks of its processes."""

    def __init__(self, mesh: Mesh, group: str, ranks: Sequence[int], limit: float):
        self.mesh, self.group, self.ranks, self.limit = mesh, group, list(ranks), limit
        self.rank, self.size = self.ranks.index(mesh.rank), len(self.ranks)
        self.sequence = 0
        self._limits: dict[int, float] = {}

    def call(self, text: str, limit: float | None = None) -> Call:
        """The next collective operation."""
        if self.group in self.mesh.failures:
            raise DistBackendError(f"{self._me()} cannot call {shown(text.encode())}: {self.mesh.failures[self.group]}")
        self.sequence += 1
        return Call(self, text, self.limit if limit is None else limit)

    def outgoing(self, to: int, call: Call) -> Outgoing:
        try:
            return self.mesh.to(self.group, "collective", self.ranks[to], call.limit)
        except (DistBackendError, DistNetworkError) as error:
            return self._fail(f"{self._me()}, in {shown(call.text)}: {error}")

    def incoming(self, of: int, call: Call) -> Any:
        end = time.monotonic() + call.limit
        self.mesh.waits[self.group] = self.ranks[of]
        try:
            while (s := self.mesh.of(self.group, "collective", self.ranks[of], _PAUSE)) is None:
                if time.monotonic() >= end:
                    self.late(call, of, "has not come")
        except DistBackendError as error:
            return self._fail(f"{self._me()}, in {shown(call.text)}: {error}")
        if self._limits.get(of) != call.limit:
            self._limits[of] = call.limit
            set_limit(s, call.limit)
        return s

    def arrived(self, call: Call, note: np.ndarray, all_of_them: bool) -> list[int]:
        """Receive a note from each other process; the world's ranks of those from which none came in time."""
        end = time.monotonic() + call.limit
        missing = []
        for other in range(1, self.size):
            rank, s = self.ranks[other], None
            while s is None and rank not in self.mesh.gone and time.monotonic() < end:
                try:
                    s = self.mesh.of(self.group, "collective", rank, min(_PAUSE, max(0.0, end - time.monotonic())))
                except DistBackendError:
                    break
            if s is not None and select.select([s], [], [], max(0.0, end - time.monotonic()))[0]:
                try:
                    call.receive(other, note)
                    continue
                except DistBackendError:
                    if rank not in self.mesh.gone:
                        raise
            missing.append(rank)
            if not all_of_them:
                break
        return missing

    def failed(self, text: str) -> str:
        """Say to all what went wrong; it, or what went wrong first."""
        try:
            self._fail(text)
        except DistBackendError as error:
            return str(error)
        return text

    def _me(self) -> str:
        return f"rank {self.mesh.rank}"

    def _fail(self, text: str) -> Any:
        """Say to all that this process cannot go on, and raise what went wrong, or what went wrong first."""
        first = self.mesh.failures.get(self.group)
        if first is None:
            self.mesh.tell_failure(self.group, [r for r in self.ranks if r != self.mesh.rank], text)
            first = text
        raise DistBackendError(first) from None

    def late(self, call: Call, other: int, what: str) -> Any:
        self._fail(
            f"{self._me()}, in {shown(call.text)} (collective {call.sequence} of group {self.group}): rank "
            f"{self.ranks[other]} {what} for {call.limit:g} seconds (the timeout of init_process_group or new_group)"
            f"{self._whose_fault(call, self.ranks[other])}"
        )

    def _whose_fault(self, call: Call, other: int) -> str:
        """Who keeps the process waiting for which this one waits: found by asking one after the other."""
        asked = {self.mesh.rank}
        while other not in asked:
            asked.add(other)
            found = self.mesh.where(other, self.group, 1.0)
            if found is None:
                return f"; rank {other} does not answer"
            number, waits = found
            if number is None or number < call.sequence:
                return f"; rank {other} has not called it"
            if waits is None or number > call.sequence:
                break
            other = waits
        return ""

    def lost(self, call: Call, other: int) -> Any:
        # Who has failed says why before it closes its connections: that comes by another way, and may take a moment.
        with self.mesh.changed:
            self.mesh.changed.wait_for(
                lambda: self.group in self.mesh.failures or self.ranks[other] in self.mesh.gone, 2.0
            )
        self._fail(f"{self._me()}, in {shown(call.text)}: {self.mesh.why_gone(self.ranks[other])}")

    def disagree(self, call: Call, other: int, head: Head) -> Any:
        theirs, mine = f"rank {self.ranks[other]} called {shown(head.text)}", f"{self._me()} {shown(call.text)}"
        if head.sequence != call.sequence:
            theirs += f" as collective {head.sequence}"
            mine += f" as collective {call.sequence}"
        self._fail(
            f"the ranks of group {self.group} disagree: {theirs}, {mine}; all of them must call the same collective "
            "operations in the same order, with the same shapes and dtypes"
        )
