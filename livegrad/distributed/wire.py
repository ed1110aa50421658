"""Messages between two processes: a head, a text that says which call it belongs to, and the bytes.

Both sides know what they call, so a message that comes with another text is a program's mistake, found before a byte of
data is read.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
from collections import deque
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Closed", "Head", "Late", "Outgoing", "Ticket", "as_raw", "read_head", "read_into", "set_limit"]

_HEAD = struct.Struct("!4sHqQQ")  # magic, length of the text, tag, sequence number, bytes of data
_MAGIC = b"lvg1"


class Closed(ConnectionError):
    """The other side has closed the connection, or is gone."""


class Late(TimeoutError):
    """Nothing came within the limit."""


class Head(NamedTuple):
    """What is said about a message before its data."""

    text: bytes
    tag: int
    sequence: int
    size: int


def as_raw(array: np.ndarray) -> memoryview:
    """The memory of a contiguous array as bytes."""
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def set_limit(s: socket.socket, limit: float) -> None:
    """Let reading and writing block, for ``limit`` seconds at most without anything coming or going."""
    s.setblocking(True)
    limit = min(max(limit, 0.001), 1e8)
    if sys.platform == "win32":
        value: Any = int(limit * 1000)
    else:
        value = struct.pack("ll", int(limit), int(limit % 1 * 1e6))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def read_into(s: socket.socket, view: memoryview) -> None:
    """Fill ``view``. One system call for all of it, where the system can, so that other threads run meanwhile."""
    at, size = 0, len(view)
    wait_for_all = getattr(socket, "MSG_WAITALL", 0)
    while at < size:
        try:
            got = s.recv_into(view[at:], size - at, wait_for_all)
        except (BlockingIOError, TimeoutError):
            raise Late from None
        except OSError as error:
            raise Closed(error.strerror or str(error)) from None
        if not got:
            raise Closed("the connection was closed")
        at += got


def read_head(s: socket.socket) -> Head:
    """The next message's head. Raises Closed where it is no message of ours."""
    data = bytearray(_HEAD.size)
    read_into(s, memoryview(data))
    magic, length, tag, sequence, size = _HEAD.unpack(data)
    if magic != _MAGIC:
        raise Closed("something that is no message came")
    text = bytearray(length)
    read_into(s, memoryview(text))
    return Head(bytes(text), tag, sequence, size)


class Ticket:
    """One message on its way: done when the system has taken all of it, so that its memory may change."""

    __slots__ = ("_event", "error")

    def __init__(self) -> None:
        self._event = threading.Event()
        self.error: Exception | None = None

    def finish(self, error: Exception | None = None) -> None:
        self.error = error
        self._event.set()

    def done(self) -> bool:
        return self._event.is_set()

    def wait(self, limit: float | None = None) -> None:
        """Raises what went wrong, and Late after ``limit`` seconds."""
        if not self._event.wait(limit):
            raise Late
        if self.error is not None:
            raise self.error


class Outgoing:
    """A connection that is only written to. What the system does not take at once is written by a thread."""

    def __init__(self, s: socket.socket, limit: float):
        self.socket = s
        set_limit(s, limit)
        self._changed = threading.Condition()
        self._queue: deque[tuple[memoryview, Any, Ticket]] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    def post(self, text: bytes, tag: int, sequence: int, data: memoryview, keep: Any = None) -> Ticket:
        """Begin to send a message; ``data`` must not change until the ticket is done."""
        head = _HEAD.pack(_MAGIC, len(text), tag, sequence, len(data)) + text
        ticket = Ticket()
        with self._changed:
            if self._closed:
                ticket.finish(Closed("the connection was closed"))
                return ticket
            sent = 0
            if not self._queue and hasattr(socket, "MSG_DONTWAIT"):
                try:
                    sent = self.socket.sendmsg([head, data], [], socket.MSG_DONTWAIT)
                except (BlockingIOError, TimeoutError):
                    pass
                except OSError as error:
                    ticket.finish(Closed(error.strerror or str(error)))
                    return ticket
            if sent == len(head) + len(data):
                ticket.finish()
                return ticket
            if sent < len(head):
                self._queue.append((memoryview(head)[sent:], None, Ticket()))
                self._queue.append((data, keep, ticket))
            else:
                self._queue.append((data[sent - len(head) :], keep, ticket))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="livegrad-send", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return ticket

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                data, _, ticket = self._queue[0]
            error: Exception | None = None
            try:
                self.socket.sendall(data)
            except (BlockingIOError, TimeoutError):
                error = Late()
            except (OSError, ValueError) as why:
                error = Closed(getattr(why, "strerror", None) or str(why))
            with self._changed:
                if error is None:
                    self._queue.popleft()
                    ticket.finish()
                    self._changed.notify_all()
                    continue
                self._closed = True
                for _, _, other in self._queue:
                    other.finish(error)
                self._queue.clear()
                self._changed.notify_all()
                return

    def close(self, limit: float = 0.0) -> None:
        """Close the connection, once what is on its way has been sent, or after ``limit`` seconds."""
        with self._changed:
            if limit:
                self._changed.wait_for(lambda: not self._queue, limit)
            self._closed = True
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        self.socket.close()
