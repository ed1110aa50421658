"""The connections among the processes of a program.

Each process listens at one port, whose address is in the store together with a secret that all connections begin with.
Between each two processes there is one control connection, over which they say that one has failed or leaves, and
whose end shows that one is gone. Data goes over connections in one direction, one for each group and kind of traffic,
made when first needed.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import selectors
import socket
import struct
import threading
import time

from .errors import DistBackendError, DistNetworkError
from .store import PrefixStore, Store
from .tcp_store import TCPStore, connect, listen
from .wire import Outgoing, set_limit

__all__ = ["Mesh"]

_LENGTH = struct.Struct("!I")
_LONGEST = 1 << 16  # bytes of what is said over a control connection at once
_LOOPBACK = "127.0.0.1"


def _said(what: dict) -> bytes:
    text = json.dumps(what).encode()
    return _LENGTH.pack(len(text)) + text


def _own_address(store: Store) -> str:
    """Where this process listens: where the store is reached from; within this machine only, if that says no more."""
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return store.local_address() if isinstance(store, TCPStore) else _LOOPBACK


class _Line:
    """A connection that is being read by the watching thread."""

    def __init__(self, connection: socket.socket, rank: int | None):
        self.socket = connection
        self.rank = rank  # None: it has not said who it is yet
        self.data = bytearray()

    def messages(self) -> list[dict]:
        """What has been said since; ValueError for what is no message."""
        found = []
        while len(self.data) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self.data)
            if size > _LONGEST:
                raise ValueError("no message")
            if len(self.data) < _LENGTH.size + size:
                break
            found.append(json.loads(self.data[_LENGTH.size : _LENGTH.size + size]))
            del self.data[: _LENGTH.size + size]
            if self.rank is None:
                break  # what follows a greeting belongs to the connection
        return found


class Mesh:
    """This process's connections to the others. Raises DistNetworkError where one does not come within ``limit``."""

    def __init__(self, store: Store, rank: int, size: int, limit: float):
        self.rank, self.size, self.limit = rank, size, limit
        self.gone: dict[int, str] = {}  # ranks that have ended or left, and how
        self.failures: dict[str, str] = {}  # groups in which a process has failed, and what it said
        self.calls: dict[str, int] = {}  # the collective operation that each group is in, by its number
        self.waits: dict[str, int] = {}  # and for which rank this process waits in it, or did last
        self._answers: dict[tuple[int, str], dict] = {}  # where other processes have said that they are
        self.changed = threading.Condition()
        self._incoming: dict[tuple[str, str, int], socket.socket] = {}
        self._outgoing: dict[tuple[str, str, int], Outgoing] = {}
        self._making = threading.Lock()
        self._control: dict[int, socket.socket] = {}
        self._control_lock = threading.Lock()
        self._closed = False
        self._listener = listen(_own_address(store), 0)
        host, port = self._listener.getsockname()[:2]
        self._secret = secrets.token_hex(16)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._watch, name="livegrad-peers", daemon=True)
        self._thread.start()
        try:
            store.set(f"address/{rank}", json.dumps([host, port, self._secret]))
            self._meet(store, limit)
        except BaseException:
            self.close()
            raise

    def _meet(self, store: Store, limit: float) -> None:
        """Be connected to all others: this process connects to the lower ranks, and the higher ones to it."""
        end = time.monotonic() + limit
        self._addresses = [json.loads(store.get(f"address/{rank}")) for rank in range(self.size)]
        for other in range(self.rank):
            line = self._dial(other, "", "control", max(0.1, end - time.monotonic()))
            with self.changed:
                self._control[other] = line
        self._tell_watcher()
        with self.changed:
            if not self.changed.wait_for(lambda: len(self._control) == self.size - 1, max(0.1, end - time.monotonic())):
                missing = [r for r in range(self.size) if r != self.rank and r not in self._control]
                raise DistNetworkError(
                    f"rank {self.rank} waited {limit:g} seconds for connections from ranks {missing}: they did not come"
                )

    def _dial(self, other: int, group: str, lane: str, limit: float) -> socket.socket:
        host, port, secret = self._addresses[other]
        made = connect(host, port, limit)
        made.settimeout(10)
        made.sendall(_said({"secret": secret, "rank": self.rank, "group": group, "lane": lane}))
        return made

    # --- data ---------------------------------------------------------------------------------------------------

    def to(self, group: str, lane: str, other: int, limit: float) -> Outgoing:
        """The connection to a process for a group and a kind of traffic."""
        key = (group, lane, other)
        found = self._outgoing.get(key)
        if found is None:
            with self._making:
                found = self._outgoing.get(key)
                if found is None:
                    if other in self.gone:
                        raise DistBackendError(self.why_gone(other))
                    try:
                        made = self._dial(other, group, lane, min(limit, 30.0))
                    except OSError as error:
                        raise DistNetworkError(f"rank {other} takes no connection: {error}") from None
                    found = self._outgoing[key] = Outgoing(made, limit)
        return found

    def of(self, group: str, lane: str, other: int, limit: float) -> socket.socket | None:
        """The connection from a process, as soon as it has made it; None if it has not within ``limit`` seconds.

        Raises DistBackendError where it is gone, or has failed.
        """
        key = (group, lane, other)
        found = self._incoming.get(key)
        if found is not None:
            return found
        with self.changed:
            self.changed.wait_for(
                lambda: key in self._incoming or other in self.gone or group in self.failures or self._closed, limit
            )
            if other in self.gone and key not in self._incoming:
                # What it sent before it went may still be on its way through the watching thread.
                self.changed.wait_for(lambda: key in self._incoming, 0.2)
            found = self._incoming.get(key)
        if found is None and group in self.failures:
            raise DistBackendError(self.failures[group])
        if found is None and other in self.gone:
            raise DistBackendError(self.why_gone(other))
        return found

    def why_gone(self, other: int) -> str:
        return f"rank {other} {self.gone.get(other, 'is gone: its process has ended, or broken the connection')}"

    # --- what is said over control connections ------------------------------------------------------------------

    def tell_failure(self, group: str, ranks: list[int], text: str) -> None:
        """Say to the processes of a group that this one cannot go on in it."""
        with self.changed:
            if group in self.failures:
                return
            self.failures[group] = text
        for other in ranks:
            self._say(other, {"failed": group, "why": text[: _LONGEST // 8]})
        self._end_reading(group)

    def where(self, other: int, group: str, limit: float) -> tuple[int | None, int | None] | None:
        """In which collective operation of a group another process is, and for whom it waits there.

        None where it does not answer, within ``limit`` seconds.
        """
        key = (other, group)
        with self.changed:
            self._answers.pop(key, None)
        self._say(other, {"where": group})
        with self.changed:
            self.changed.wait_for(lambda: key in self._answers or other in self.gone, limit)
            answer = self._answers.pop(key, None)
        return None if answer is None else (answer["call"], answer["waits"])

    def _say(self, other: int, what: dict) -> None:
        with self._control_lock:
            line = self._control.get(other)
            if line is not None and other not in self.gone:
                with contextlib.suppress(OSError):
                    line.sendall(_said(what))

    def _end_reading(self, group: str) -> None:
        """Wake up whoever reads in a group."""
        with self.changed:
            for (of, _, _), s in self._incoming.items():
                if of == group:
                    with contextlib.suppress(OSError):
                        s.shutdown(socket.SHUT_RD)
            self.changed.notify_all()

    # --- the watching thread ------------------------------------------------------------------------------------

    def _tell_watcher(self) -> None:
        with contextlib.suppress(OSError):
            self._wake.send(b"x")

    def _watch(self) -> None:
        watched: set[int] = set()
        try:
            while not self._closed:
                for key, _ in self._selector.select():
                    if key.fileobj is self._woken:
                        self._woken.recv(64)
                        for rank, line in list(self._control.items()):
                            if rank not in watched and rank < self.rank:
                                watched.add(rank)
                                self._selector.register(line, selectors.EVENT_READ, _Line(line, rank))
                    elif key.fileobj is self._listener:
                        connection, _ = self._listener.accept()
                        connection.setblocking(False)
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        self._selector.register(connection, selectors.EVENT_READ, _Line(connection, None))
                    else:
                        self._hear(key.data)
        except (OSError, ValueError):
            if not self._closed:
                raise

    def _hear(self, line: _Line) -> None:
        try:
            # Of a new connection not a byte more than the greeting: data may follow it.
            room = 1 << 12
            if line.rank is None:
                room = _LENGTH.size - len(line.data)
                if room <= 0:
                    size = _LENGTH.unpack_from(line.data)[0]
                    if size > _LONGEST:
                        raise ValueError("no greeting")
                    room = _LENGTH.size + size - len(line.data)
            try:
                got = line.socket.recv(room, socket.MSG_DONTWAIT) if line.rank is not None else line.socket.recv(room)
            except (BlockingIOError, InterruptedError):
                return
            if not got:
                raise ConnectionError
            line.data += got
            for what in line.messages():
                if line.rank is None:
                    self._greeted(line, what)
                elif "failed" in what:
                    with self.changed:
                        self.failures.setdefault(str(what["failed"]), str(what["why"]))
                    self._end_reading(str(what["failed"]))
                elif "where" in what:
                    group = str(what["where"])
                    here = {"here": group, "call": self.calls.get(group), "waits": self.waits.get(group)}
                    self._say(line.rank, here)
                elif "here" in what:
                    with self.changed:
                        self._answers[line.rank, str(what["here"])] = {"call": what["call"], "waits": what["waits"]}
                        self.changed.notify_all()
                elif "leaves" in what:
                    self._went(line.rank, "has left: its program ended, or called destroy_process_group()")
        except (OSError, ValueError, KeyError, TypeError):
            self._drop(line)

    def _greeted(self, line: _Line, what: dict) -> None:
        rank, group, lane = int(what["rank"]), str(what["group"]), str(what["lane"])
        if not hmac.compare_digest(str(what["secret"]), self._secret) or not 0 <= rank < self.size:
            raise ValueError("not one of ours")
        if lane == "control":
            line.rank = rank
            line.socket.settimeout(10)
            with self.changed:
                self._control[rank] = line.socket
                self.changed.notify_all()
            return
        self._selector.unregister(line.socket)
        set_limit(line.socket, self.limit)
        with self.changed:
            self._incoming[group, lane, rank] = line.socket
            self.changed.notify_all()

    def _drop(self, line: _Line) -> None:
        self._selector.unregister(line.socket)
        if line.rank is None:
            line.socket.close()
        else:
            self._went(line.rank, "is gone: its process has ended, or broken the connection")

    def _went(self, rank: int, how: str) -> None:
        with self.changed:
            self.gone.setdefault(rank, how)
            self.changed.notify_all()

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self, limit: float = 5.0) -> None:
        """Say goodbye and close all connections, once what is on its way has been sent."""
        if self._closed:
            return
        for outgoing in list(self._outgoing.values()):
            outgoing.close(limit)
        for other in list(self._control):
            self._say(other, {"leaves": True})
        self._closed = True
        self._tell_watcher()
        self._thread.join(2)
        with self.changed:
            self.changed.notify_all()
        for s in (*self._control.values(), *self._incoming.values(), self._listener, self._wake, self._woken):
            s.close()
        self._selector.close()

    def forget(self) -> None:
        """Let go of all connections, without a word to the others: they belong to the process that forked this one."""
        self._closed = True
        outgoing = [each.socket for each in self._outgoing.values()]
        for s in (
            *outgoing,
            *self._control.values(),
            *self._incoming.values(),
            self._listener,
            self._wake,
            self._woken,
        ):
            s.close()

    def leave(self, group: str) -> None:
        """Close a group's connections."""
        for key, outgoing in list(self._outgoing.items()):
            if key[0] == group:
                del self._outgoing[key]
                outgoing.close(5.0)
        with self.changed:
            for key in [k for k in self._incoming if k[0] == group]:
                self._incoming.pop(key).close()
