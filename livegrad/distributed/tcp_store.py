"""TCPStore: a store in one process, which others reach through a port.

A request is an operation's number and some byte strings, each after its length; so is a reply. Nothing else is
understood, and nothing that comes in is executed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import struct
import threading
import time
from datetime import timedelta
from typing import Any

from .errors import STORE_TIMEOUT, DistNetworkError, DistStoreError, QueueEmptyError, seconds
from .store import Store, Table, as_bytes

__all__ = ["TCPStore"]

_GREETING = b"livegrad store 1\n"
_HEAD = struct.Struct("!BI")
_LENGTH = struct.Struct("!I")
_AMOUNT = struct.Struct("!q")
_MOST = 1 << 28  # bytes of one entry: what is longer is no request
_DONE, _LATE, _EMPTY, _REFUSED = range(4)
(_SET, _GET, _ADD, _COMPARE, _WAIT, _CHECK, _DELETE, _COUNT, _APPEND, _LIST, _PUSH, _POP, _LEN) = range(13)


def _message(code: int, parts: list[bytes]) -> bytes:
    return b"".join([_HEAD.pack(code, len(parts)), *[x for part in parts for x in (_LENGTH.pack(len(part)), part)]])


def _parse(data: bytearray) -> tuple[int, list[bytes]] | None:
    """The first message in ``data``, which is taken out; None where it is not complete. ValueError: it is none."""
    if len(data) < _HEAD.size:
        return None
    code, count = _HEAD.unpack_from(data)
    at, parts = _HEAD.size, []
    for _ in range(count):
        if len(data) < at + _LENGTH.size:
            return None
        (size,) = _LENGTH.unpack_from(data, at)
        if size > _MOST:
            raise ValueError("no message")
        at += _LENGTH.size
        if len(data) < at + size:
            return None
        parts.append(bytes(data[at : at + size]))
        at += size
    del data[:at]
    return code, parts


class _Waiter:
    """A request that cannot be answered yet: what it waits for, and until when."""

    def __init__(self, keys: list[str], end: float, code: int, parts: list[bytes]):
        self.keys, self.end, self.code, self.parts = keys, end, code, parts


class _Client:
    """A connection, as the server sees it."""

    def __init__(self, connection: socket.socket):
        self.socket = connection
        self.data = bytearray()
        self.greeted = False
        self.waiter: _Waiter | None = None


class Server:
    """Answers requests for one table, in a thread of its own, until `close`."""

    def __init__(self, host: str, port: int):
        self.listener = listen(host, port)
        self.port = self.listener.getsockname()[1]
        self._table = Table()
        self._clients: set[_Client] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="livegrad-store", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and all connections."""
        try:
            self._wake.send(b"x")
        except OSError:
            return
        self._thread.join(5)

    def sockets(self) -> list[socket.socket]:
        """All that it has open."""
        return [self.listener, self._wake, self._woken, *[client.socket for client in self._clients]]

    def _run(self) -> None:
        try:
            while True:
                ends = [c.waiter.end for c in self._clients if c.waiter is not None]
                limit = max(0.0, min(ends) - time.monotonic()) if ends else None
                for key, _ in self._selector.select(limit):
                    if key.fileobj is self._woken:
                        return
                    if key.fileobj is self.listener:
                        connection, _ = self.listener.accept()
                        connection.settimeout(5)  # for replies: a client that does not read them is dropped
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        client = _Client(connection)
                        self._clients.add(client)
                        self._selector.register(connection, selectors.EVENT_READ, client)
                    else:
                        self._serve(key.data)
                self._too_late()
        finally:
            for client in list(self._clients):
                self._drop(client)
            self._selector.close()
            for s in (self.listener, self._wake, self._woken):
                s.close()

    def _drop(self, client: _Client) -> None:
        self._clients.discard(client)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(client.socket)
        client.socket.close()

    def _serve(self, client: _Client) -> None:
        try:
            got = client.socket.recv(1 << 16)
            client.data += got
            if not got:
                raise ConnectionError
            if not client.greeted:
                if not _GREETING.startswith(client.data[: len(_GREETING)]):
                    raise ValueError
                if len(client.data) < len(_GREETING):
                    return
                del client.data[: len(_GREETING)]
                client.greeted = True
                client.socket.sendall(_GREETING)
            while client.waiter is None and (request := _parse(client.data)) is not None:
                self._answer(client, *request)
        except (OSError, ValueError, IndexError, struct.error, UnicodeDecodeError):
            self._drop(client)  # gone, or not one of ours

    def _answer(self, client: _Client, code: int, parts: list[bytes]) -> None:
        if code in (_GET, _WAIT, _POP):
            wait = struct.unpack("!d", parts[0])[0]
            keys = [part.decode() for part in parts[1:]]
            if not self._table.has(keys):
                if code == _POP and wait < 0:
                    client.socket.sendall(_message(_EMPTY, []))
                else:
                    client.waiter = _Waiter(keys, time.monotonic() + wait, code, parts)
                return
        client.socket.sendall(self._reply(code, parts))
        if code in (_SET, _ADD, _COMPARE, _APPEND, _PUSH):
            self._satisfy()

    def _reply(self, code: int, parts: list[bytes]) -> bytes:
        table, found = self._table, []
        if code == _GET:
            found = [table.values[part.decode()] for part in parts[1:]]
        elif code == _POP:
            found = [table.queues[parts[1].decode()].pop(0)]
        elif code == _COUNT:
            found = [_AMOUNT.pack(len(table.values))]
        elif code == _LIST:
            found = [key.encode() for key in table.values]
        elif code == _CHECK:
            found = [_AMOUNT.pack(table.has([part.decode() for part in parts]))]
        elif code != _WAIT:
            key = parts[0].decode()
            if code == _SET:
                table.values[key] = parts[1]
            elif code == _ADD:
                try:
                    found = [_AMOUNT.pack(table.add(key, _AMOUNT.unpack(parts[1])[0]))]
                except (ValueError, struct.error):
                    return _message(_REFUSED, [b"add() to a value that is no number, or beyond 64 bits"])
            elif code == _COMPARE:
                found = [table.compare_set(key, parts[1], parts[2])]
            elif code == _DELETE:
                found = [_AMOUNT.pack(table.values.pop(key, None) is not None)]
            elif code == _APPEND:
                table.append(key, parts[1])
            elif code == _PUSH:
                table.queues.setdefault(key, []).append(parts[1])
            elif code == _LEN:
                found = [_AMOUNT.pack(len(table.queues.get(key, ())))]
            else:
                raise ValueError("no operation")
        return _message(_DONE, found)

    def _satisfy(self) -> None:
        """Answer those who waited for what is there now."""
        for client in list(self._clients):
            waiter = client.waiter
            if waiter is not None and self._table.has(waiter.keys):
                client.waiter = None
                self._send(client, self._reply(waiter.code, waiter.parts))

    def _too_late(self) -> None:
        now = time.monotonic()
        for client in list(self._clients):
            if client.waiter is not None and client.waiter.end <= now:
                client.waiter = None
                self._send(client, _message(_LATE, []))

    def _send(self, client: _Client, data: bytes) -> None:
        try:
            client.socket.sendall(data)
        except OSError:
            self._drop(client)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address of this machine, and at no other.

    Raises DistNetworkError where the port is in use, or the address belongs to another machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise DistNetworkError(f"the name {host!r} leads to no address: {error.strerror}") from None
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        what = f"host: {host}, port: {port}, code: -{error.errno}, name: {errno.errorcode.get(error.errno or 0)}"
        hint = {errno.EADDRINUSE: "; another program listens there: choose another port (MASTER_PORT)",
                errno.EADDRNOTAVAIL: "; that is no address of this machine"}.get(error.errno or 0, "")  # fmt: skip
        raise DistNetworkError(
            f"The server socket has failed to listen. {what}, message: {(error.strerror or '').lower()}{hint}"
        ) from None
    return listener


def connect(host: str, port: int, limit: float) -> socket.socket:
    """A connection, tried again until somebody listens there. Raises DistNetworkError after ``limit`` seconds."""
    end = time.monotonic() + limit
    pause, why = 0.01, "nobody listens there"
    while True:
        try:
            made = socket.create_connection((host, port), timeout=max(0.05, end - time.monotonic()))
        except OSError as error:
            why = error.strerror or str(error)
        else:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if made.getsockname() != made.getpeername():  # a port of one's own can be connected to itself
                return made
            made.close()
        if time.monotonic() + pause >= end:
            raise DistNetworkError(
                f"The client socket has timed out after {round(limit * 1000)}ms while trying to connect to "
                f"({host}, {port}): {why.lower()}"
            )
        time.sleep(pause)
        pause = min(2 * pause, 0.5)


class TCPStore(Store):
    """A store that the process with ``is_master`` holds and serves at a port, and that the others reach there.

    Port 0 lets the system choose one, which is in ``port`` then. It listens at the address that ``host_name`` has and
    at no other. ``wait_for_workers``: with ``world_size``, wait until so many processes have come. Raises
    DistNetworkError where the port is in use, and where no store answers within ``timeout``.

    >>> from livegrad.distributed import TCPStore
    >>> server = TCPStore("127.0.0.1", 0, world_size=1, is_master=True)
    >>> client = TCPStore("127.0.0.1", server.port, is_master=False)
    >>> client.set("key", "value")
    >>> server.get("key")
    b'value'
    """

    def __init__(
        self, host_name: str, port: int, world_size: int | None = None, is_master: bool = False,
        timeout: timedelta = STORE_TIMEOUT, wait_for_workers: bool = True, multi_tenant: bool = False,
        master_listen_fd: int | None = None, use_libuv: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.set_timeout(timeout)
        self._server: Server | None = Server(host_name, port) if is_master else None
        self.host = host_name
        self.port = self._server.port if self._server else port
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._data = bytearray()
        try:
            self._connect(seconds(timeout))
            if wait_for_workers and world_size:
                self._wait_for_workers(world_size, seconds(timeout))
        except BaseException:
            self.close()
            raise

    def _connect(self, limit: float) -> None:
        end = time.monotonic() + limit
        host = self.host
        if self._server is not None:
            host = self._server.listener.getsockname()[0]
        while True:
            self._socket = connect(host, self.port, max(0.05, end - time.monotonic()))
            try:
                self._socket.settimeout(max(0.05, min(10.0, end - time.monotonic())))
                self._socket.sendall(_GREETING)
                got = b""
                while len(got) < len(_GREETING):
                    part = self._socket.recv(len(_GREETING) - len(got))
                    if not part:
                        break
                    got += part
                if got == _GREETING:
                    self._socket.settimeout(None)
                    return
            except OSError:
                pass
            self._socket.close()
            if time.monotonic() + 0.2 >= end:
                raise DistNetworkError(f"what listens at {self.host}:{self.port} is no store of livegrad's")
            time.sleep(0.2)

    def _wait_for_workers(self, world_size: int, limit: float) -> None:
        come = self.add("livegrad/workers", 1)
        if come % world_size == 0:
            self.set(f"livegrad/all {(come - 1) // world_size}", "")
        try:
            self.wait([f"livegrad/all {(come - 1) // world_size}"], timedelta(seconds=limit))
        except DistStoreError:
            come = (self.add("livegrad/workers", 0) - 1) % world_size + 1
            raise DistStoreError(
                f"Timed out after {int(limit)} seconds waiting for clients. {come}/{world_size} clients joined."
            ) from None

    def _ask(self, code: int, *parts: bytes, keys: list[str] | None = None, wait: float = 0.0) -> list[bytes]:
        with self._lock:
            if self._socket is None:
                raise DistNetworkError(f"the store at {self.host}:{self.port} is closed")
            try:
                self._socket.sendall(_message(code, list(parts)))
                while (reply := _parse(self._data)) is None:
                    got = self._socket.recv(1 << 16)
                    if not got:
                        raise ConnectionError
                    self._data += got
            except OSError:
                raise DistNetworkError(
                    f"the store at {self.host}:{self.port} is gone: the process that held it has ended"
                ) from None
            except BaseException:  # Ctrl-C: the reply would be taken for that to another request
                self._socket.close()
                self._socket = None
                raise
        status, found = reply
        if status == _LATE:
            raise self._missing(keys or [], wait)
        if status == _EMPTY:
            raise QueueEmptyError("the queue is empty")
        if status == _REFUSED:
            raise ValueError(found[0].decode())
        return found

    def _ask_and_wait(self, code: int, keys: list[str], limit: float) -> list[bytes]:
        return self._ask(code, struct.pack("!d", limit), *[k.encode() for k in keys], keys=keys, wait=limit)

    def _number(self, code: int, *parts: bytes) -> int:
        return _AMOUNT.unpack(self._ask(code, *parts)[0])[0]

    def set(self, key: str, value: Any) -> None:
        self._ask(_SET, key.encode(), as_bytes(value))

    def get(self, key: str) -> bytes:
        return self._ask_and_wait(_GET, [key], self._seconds(None))[0]

    def multi_get(self, keys: list[str]) -> list[bytes]:
        return self._ask_and_wait(_GET, list(keys), self._seconds(None))

    def add(self, key: str, amount: int) -> int:
        return self._number(_ADD, key.encode(), _AMOUNT.pack(amount))

    def compare_set(self, key: str, expected: Any, desired: Any) -> bytes:
        return self._ask(_COMPARE, key.encode(), as_bytes(expected), as_bytes(desired))[0]

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        self._ask_and_wait(_WAIT, list(keys), self._seconds(timeout))

    def check(self, keys: list[str]) -> bool:
        return bool(self._number(_CHECK, *[key.encode() for key in keys]))

    def delete_key(self, key: str) -> bool:
        return bool(self._number(_DELETE, key.encode()))

    def num_keys(self) -> int:
        return self._number(_COUNT)

    def append(self, key: str, value: Any) -> None:
        self._ask(_APPEND, key.encode(), as_bytes(value))

    def list_keys(self) -> list[str]:
        return [key.decode() for key in self._ask(_LIST)]

    def queue_push(self, key: str, value: Any) -> None:
        self._ask(_PUSH, key.encode(), as_bytes(value))

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        return self._ask_and_wait(_POP, [key], self._seconds(None) if block else -1.0)[0]

    def queue_len(self, key: str) -> int:
        return self._number(_LEN, key.encode())

    def clone(self) -> Store:
        return TCPStore(self.host, self.port, timeout=self.timeout)

    def local_address(self) -> str:
        """The address of this machine from which the store is reached."""
        if self._socket is None:
            raise DistNetworkError(f"the store at {self.host}:{self.port} is closed")
        return self._socket.getsockname()[0]

    def close(self) -> None:
        """Close the connection, and end the server where this process holds it."""
        made, self._socket = self._socket, None
        if made is not None:
            made.close()
        if self._server is not None:
            self._server.close()

    def forget(self) -> None:
        """Let go of the connections, which belong to the process that forked this one."""
        made, self._socket = self._socket, None
        server, self._server = self._server, None
        for s in (made, *(() if server is None else server.sockets())):
            if s is not None:
                s.close()

    def __repr__(self) -> str:
        return f"TCPStore(host={self.host!r}, port={self.port}, is_master={self._server is not None})"

    def __del__(self) -> None:
        if getattr(self, "_lock", None) is not None:
            self.close()
