"""Messages from one process of a group to another, matched by their tags."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import DistBackendError
from .mesh import Mesh
from .wire import Closed, Head, Late, Ticket, as_raw, read_head, read_into, set_limit
from .work import Work

__all__ = ["Mailbox"]

_LANE = "one to one"


class Receipt:
    """A message that is waited for: into which memory, with which tag, and what it has to be. Of any rank if None."""

    def __init__(self, into: np.ndarray, tag: int, text: bytes, work: Work):
        self.into, self.tag, self.text, self.work = into, tag, text, work
        self.source: int | None = None
        self.taken = False


class _Sender:
    """The messages from one process: those that have come and nobody waits for, those that are waited for."""

    def __init__(self) -> None:
        self.come: list[tuple[Head, np.ndarray]] = []
        self.awaited: list[Receipt] = []
        self.reading = False


class Mailbox:
    """The point-to-point messages of a group. Ranks are the group's.

    A process reads from another only while it waits for a message from there, so that memory holds no more than what
    came before such a message.
    """

    def __init__(self, mesh: Mesh, group: str, ranks: list[int], limit: float):
        self.mesh, self.group, self.ranks, self.limit = mesh, group, ranks, limit
        self._changed = threading.Condition()
        self._senders = {rank: _Sender() for rank in range(len(ranks)) if ranks[rank] != mesh.rank}

    def send(self, to: int, array: np.ndarray, tag: int, text: bytes) -> Ticket:
        """Begin to send a contiguous array, which must not change until the ticket is done."""
        outgoing = self.mesh.to(self.group, _LANE, self.ranks[to], self.limit)
        return outgoing.post(text, tag, 0, as_raw(array), array)

    def wait_sent(self, to: int, ticket: Ticket, text: bytes) -> None:
        """Wait until a message has left."""
        try:
            ticket.wait(self.limit)
        except Late:
            raise DistBackendError(
                f"rank {self.mesh.rank}, in send(dst={self.ranks[to]}) of {text.decode()}: rank {self.ranks[to]} took "
                f"no data for {self.limit:g} seconds"
            ) from None
        except Closed:
            raise DistBackendError(
                f"rank {self.mesh.rank}, in send(dst={self.ranks[to]}): {self.mesh.why_gone(self.ranks[to])}"
            ) from None

    def receive(self, of: int | None, into: np.ndarray, tag: int, text: bytes, finish: Callable) -> Receipt:
        """Begin to receive into a contiguous array."""
        receipt = Receipt(into, tag, text, Work())
        receipt.work._finish = lambda: finish()
        with self._changed:
            for rank in self._senders if of is None else (of,):
                sender = self._senders[rank]
                for i, (head, data) in enumerate(sender.come):
                    if head.tag == tag:
                        del sender.come[i]
                        receipt.taken = True
                        self._hand_over(rank, receipt, head, data)
                        return receipt
            for rank in self._senders if of is None else (of,):
                sender = self._senders[rank]
                sender.awaited.append(receipt)
                if not sender.reading:
                    sender.reading = True
                    threading.Thread(
                        target=self._read, args=(rank, sender), name=f"livegrad-receive-{rank}", daemon=True
                    ).start()
        return receipt

    def _hand_over(self, rank: int, receipt: Receipt, head: Head, data: np.ndarray) -> None:
        wrong = self._wrong(rank, receipt, head)
        if wrong is None:
            as_raw(receipt.into)[:] = as_raw(data)
        self._end(rank, receipt, wrong)

    def _wrong(self, rank: int, receipt: Receipt, head: Head) -> Exception | None:
        """What is wrong with a message, if anything: what is compared comes before the last `|`."""
        if head.text.rpartition(b"|")[0] == receipt.text.rpartition(b"|")[0]:
            return None
        theirs, mine = (t.decode(errors="replace").rpartition("|")[2] for t in (head.text, receipt.text))
        return DistBackendError(
            f"rank {self.ranks[rank]} sent {theirs}, rank {self.mesh.rank} receives {mine}: number of elements and "
            "dtype have to be the same"
        )

    def _end(self, rank: int, receipt: Receipt, error: Exception | None) -> None:
        receipt.source = rank
        receipt.work._end(error)

    def _read(self, rank: int, sender: _Sender) -> None:
        """Read messages from a process for as long as some are waited for."""
        end = time.monotonic() + self.limit
        try:
            while True:
                with self._changed:
                    sender.awaited = [r for r in sender.awaited if not r.taken]
                    if not sender.awaited:
                        sender.reading = False
                        return
                s = self.mesh.of(self.group, _LANE, self.ranks[rank], 0.2)
                if s is None:
                    if time.monotonic() >= end:
                        raise Late
                    continue
                set_limit(s, self.limit)
                self._one(s, rank, sender)
                end = time.monotonic() + self.limit
        except Exception as error:
            self._give_up(rank, sender, error)

    def _one(self, s: Any, rank: int, sender: _Sender) -> None:
        head = read_head(s)
        with self._changed:
            found = next((r for r in sender.awaited if not r.taken and r.tag == head.tag), None)
            if found is not None:
                found.taken = True
                sender.awaited.remove(found)
        wrong = None if found is None else self._wrong(rank, found, head)
        try:
            if found is None or wrong is not None or head.size != found.into.nbytes:
                data = np.empty(head.size, np.uint8)
                read_into(s, as_raw(data))
            else:
                read_into(s, as_raw(found.into))
        except Exception as error:
            if found is not None:
                self._end(rank, found, self._explained(rank, error))
            raise
        if found is not None:
            self._end(rank, found, wrong)
            return
        with self._changed:
            found = next((r for r in sender.awaited if not r.taken and r.tag == head.tag), None)
            if found is None:
                sender.come.append((head, data))
                return
            found.taken = True
            sender.awaited.remove(found)
        self._hand_over(rank, found, head, data)

    def _explained(self, rank: int, error: Exception) -> Exception:
        other = self.ranks[rank]
        if isinstance(error, Late):
            return DistBackendError(
                f"rank {self.mesh.rank}, in recv(src={other}): rank {other} sent nothing for {self.limit:g} seconds"
            )
        if isinstance(error, Closed):
            with self.mesh.changed:
                self.mesh.changed.wait_for(lambda: other in self.mesh.gone or self.group in self.mesh.failures, 2.0)
            why = self.mesh.failures.get(self.group) or self.mesh.why_gone(other)
            return DistBackendError(f"rank {self.mesh.rank}, in recv(src={other}): {why}")
        return error

    def _give_up(self, rank: int, sender: _Sender, error: Exception) -> None:
        error = self._explained(rank, error).with_traceback(None)
        with self._changed:
            waiting = [r for r in sender.awaited if not r.taken]
            sender.awaited, sender.reading = [], False
            for receipt in waiting:
                # One that any process may answer is given up with the last of them.
                if any(receipt in other.awaited for other in self._senders.values()):
                    continue
                receipt.taken = True
                self._end(rank, receipt, error)
