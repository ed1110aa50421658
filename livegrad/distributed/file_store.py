"""FileStore: a store for processes that see one file, which grows by a record for each change."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from .store import Store, Table, as_bytes, within

__all__ = ["FileStore"]

_RECORD = struct.Struct("!cII")  # whether a value was put (P) or taken out (D), and how long key and value are
_USERS = "livegrad/users"


class FileStore(Store):
    """A store in a file that all its processes can write to. The last of ``world_size`` that ends removes it.

    A file left over from a run that was killed makes the next run's processes read its keys: choose a new name, or
    remove it first.

    >>> import tempfile, livegrad.distributed as dist
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = dist.FileStore(folder + "/store", 1)
    ...     store.set("key", "value")
    ...     store.get("key")
    b'value'
    """

    def __init__(self, file_name: str, world_size: int = -1):
        super().__init__()
        self.path = os.path.abspath(file_name)
        self._world_size = world_size
        self._table = Table()
        self._read_to = 0
        self._closed = False
        self.add(_USERS, 1)

    # The file is opened for each access: the lock on it then belongs to this access alone, also among threads.
    def _locked(self, action: Callable[[Table], Any], write: bool) -> Any:
        import fcntl

        with open(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
            self._read(file)
            if not write:
                return action(self._table)
            before = dict(self._table.values)
            result = action(self._table)
            after = self._table.values
            records = [(b"P", k, v) for k, v in after.items() if before.get(k) != v]
            records += [(b"D", k, b"") for k in before.keys() - after.keys()]
            text = b"".join(_RECORD.pack(c, len(k.encode()), len(v)) + k.encode() + v for c, k, v in records)
            file.seek(self._read_to)
            file.write(text)
            file.flush()
            self._read_to += len(text)
            return result

    def _read(self, file: Any) -> None:
        file.seek(self._read_to)
        new = file.read()
        at = 0
        while at < len(new):
            change, key_size, size = _RECORD.unpack_from(new, at)
            at += _RECORD.size
            key, value = new[at : at + key_size].decode(), new[at + key_size : at + key_size + size]
            at += key_size + size
            if change == b"P":
                self._table.values[key] = value
            else:
                self._table.values.pop(key, None)
        self._read_to += at

    def set(self, key: str, value: Any) -> None:
        self._locked(lambda t: t.values.__setitem__(key, as_bytes(value)), True)

    def get(self, key: str) -> bytes:
        self.wait([key])
        return self._locked(lambda t: t.values[key], False)

    def add(self, key: str, amount: int) -> int:
        return self._locked(lambda t: t.add(key, amount), True)

    def compare_set(self, key: str, expected: Any, desired: Any) -> bytes:
        return self._locked(lambda t: t.compare_set(key, as_bytes(expected), as_bytes(desired)), True)

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        limit = self._seconds(timeout)
        if not within(limit, lambda: self.check(keys)):
            raise self._missing(keys, limit)

    def check(self, keys: list[str]) -> bool:
        return self._locked(lambda t: t.has(keys), False)

    def delete_key(self, key: str) -> bool:
        return self._locked(lambda t: t.values.pop(key, None) is not None, True)

    def num_keys(self) -> int:
        return self._locked(lambda t: len(t.values) - 1, False)

    def append(self, key: str, value: Any) -> None:
        self._locked(lambda t: t.append(key, as_bytes(value)), True)

    def list_keys(self) -> list[str]:
        return self._locked(lambda t: [k for k in t.values if k != _USERS], False)

    def close(self) -> None:
        """Say that this process is done with it; the last one removes the file, where the number of them is known."""
        if self._closed or not os.path.exists(self.path):
            return
        self._closed = True
        done = self.add("livegrad/done", 1)
        if self._world_size > 0 and done >= self._world_size:
            os.unlink(self.path)

    def forget(self) -> None:
        """Leave the file to the process that forked this one."""
        self._closed = True

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the interpreter's end, files cannot be opened any more
            self.close()
