"""Stores: where processes find each other. Keys with bytes, which can be waited for.

`HashStore` is for the threads of one process, `FileStore` (`file_store`) for the processes that see one file,
`TCPStore` (`tcp_store`) for all that reach one port; `PrefixStore` gives each user of a store a part of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from .errors import STORE_TIMEOUT, DistStoreError, QueueEmptyError, seconds

__all__ = ["HashStore", "PrefixStore", "Store"]


def as_bytes(value: Any) -> bytes:
    """Text or bytes as bytes. Raises TypeError for anything else: a store never holds objects."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"a store holds text and bytes, not {type(value).__name__}")


class Table:
    """What a store holds, and each change of it in one step. Not for several threads at once."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.queues: dict[str, list[bytes]] = {}

    def has(self, keys: Sequence[str]) -> bool:
        return all(key in self.values or self.queues.get(key) for key in keys)

    def add(self, key: str, amount: int) -> int:
        total = int(self.values.get(key, b"0")) + amount
        self.values[key] = b"%d" % total
        return total

    def compare_set(self, key: str, expected: bytes, desired: bytes) -> bytes:
        held = self.values.get(key)
        if held is None:
            if expected:
                return expected
            held = self.values[key] = desired
        elif held == expected:
            held = self.values[key] = desired
        return held

    def append(self, key: str, value: bytes) -> None:
        self.values[key] = self.values.get(key, b"") + value


class Store:
    """What all stores can do; each kind says how.

    `get` and `wait` wait for keys that are not there yet, for `timeout` at most, and raise DistStoreError then.
    """

    def __init__(self) -> None:
        self._timeout = STORE_TIMEOUT

    @property
    def timeout(self) -> timedelta:
        """How long `get` and `wait` wait."""
        return self._timeout

    def set_timeout(self, timeout: timedelta) -> None:
        """Say how long `get` and `wait` wait."""
        seconds(timeout)
        self._timeout = timeout

    def _seconds(self, timeout: timedelta | None) -> float:
        return seconds(timeout, self._timeout)

    def _missing(self, keys: Sequence[str], waited: float) -> DistStoreError:
        return DistStoreError(f"wait timeout after {int(waited * 1000)}ms, keys: {', '.join('/' + k for k in keys)}")

    def set(self, key: str, value: Any) -> None:
        """Put text or bytes under a key, in place of what is there."""
        raise NotImplementedError

    def get(self, key: str) -> bytes:
        """What is under a key, as soon as something is."""
        raise NotImplementedError

    def add(self, key: str, amount: int) -> int:
        """Add to the number under a key (0 if there is none), in one step; the sum."""
        raise NotImplementedError

    def compare_set(self, key: str, expected: Any, desired: Any) -> bytes:
        """Put ``desired`` where ``expected`` is (empty: nothing is there), in one step; what is there then."""
        raise NotImplementedError

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        """Return as soon as all keys are there."""
        raise NotImplementedError

    def check(self, keys: list[str]) -> bool:
        """Whether all keys are there now."""
        raise NotImplementedError

    def delete_key(self, key: str) -> bool:
        """Take a key out; whether it was there."""
        raise NotImplementedError

    def num_keys(self) -> int:
        """How many keys there are."""
        raise NotImplementedError

    def append(self, key: str, value: Any) -> None:
        """Put text or bytes behind what is under a key."""
        raise NotImplementedError

    def list_keys(self) -> list[str]:
        """All keys."""
        raise NotImplementedError

    def queue_push(self, key: str, value: Any) -> None:
        """Put text or bytes at the end of a queue."""
        raise NotImplementedError("queue support is not implemented.")

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        """Take what is first in a queue; QueueEmptyError if nothing is and ``block`` is False."""
        raise NotImplementedError("queue support is not implemented.")

    def queue_len(self, key: str) -> int:
        """How many entries a queue has."""
        raise NotImplementedError("queue support is not implemented.")

    def multi_get(self, keys: list[str]) -> list[bytes]:
        """`get` of several keys."""
        self.wait(keys)
        return [self.get(key) for key in keys]

    def multi_set(self, keys: list[str], values: list[Any]) -> None:
        """`set` of several keys."""
        if len(keys) != len(values):
            raise ValueError(f"multi_set of {len(keys)} keys and {len(values)} values")
        for key, value in zip(keys, values):
            self.set(key, value)

    def has_extended_api(self) -> bool:
        """Whether `append`, `multi_get` and `multi_set` are there: yes."""
        return True

    def clone(self) -> Store:
        """The same store, for another thread."""
        return self


class HashStore(Store):
    """A store for the threads of this process.

    >>> from livegrad.distributed import HashStore
    >>> store = HashStore()
    >>> store.set("name", "value")
    >>> store.get("name"), store.add("count", 2), store.add("count", 3), store.num_keys()
    (b'value', 2, 5, 2)
    """

    def __init__(self) -> None:
        super().__init__()
        self._table = Table()
        self._changed = threading.Condition()

    def _do(self, action: Callable[[Table], Any]) -> Any:
        with self._changed:
            result = action(self._table)
            self._changed.notify_all()
            return result

    def _when(self, keys: list[str], timeout: timedelta | None, action: Callable[[Table], Any]) -> Any:
        limit = self._seconds(timeout)
        with self._changed:
            if not self._changed.wait_for(lambda: self._table.has(keys), limit):
                raise self._missing(keys, limit)
            return action(self._table)

    def set(self, key: str, value: Any) -> None:
        self._do(lambda t: t.values.__setitem__(key, as_bytes(value)))

    def get(self, key: str) -> bytes:
        return self._when([key], None, lambda t: t.values[key])

    def add(self, key: str, amount: int) -> int:
        return self._do(lambda t: t.add(key, amount))

    def compare_set(self, key: str, expected: Any, desired: Any) -> bytes:
        return self._do(lambda t: t.compare_set(key, as_bytes(expected), as_bytes(desired)))

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        self._when(list(keys), timeout, lambda t: None)

    def check(self, keys: list[str]) -> bool:
        return self._do(lambda t: t.has(keys))

    def delete_key(self, key: str) -> bool:
        return self._do(lambda t: t.values.pop(key, None) is not None)

    def num_keys(self) -> int:
        return self._do(lambda t: len(t.values))

    def append(self, key: str, value: Any) -> None:
        self._do(lambda t: t.append(key, as_bytes(value)))

    def list_keys(self) -> list[str]:
        return self._do(lambda t: list(t.values))

    def queue_push(self, key: str, value: Any) -> None:
        self._do(lambda t: t.queues.setdefault(key, []).append(as_bytes(value)))

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        if not block and not self.queue_len(key):
            raise QueueEmptyError(f"the queue {key!r} is empty")
        return self._when([key], None, lambda t: t.queues[key].pop(0))

    def queue_len(self, key: str) -> int:
        return self._do(lambda t: len(t.queues.get(key, ())))


class PrefixStore(Store):
    """Another store, in which all keys of this one begin with a prefix.

    >>> from livegrad.distributed import HashStore, PrefixStore
    >>> store = HashStore()
    >>> PrefixStore("first", store).set("key", "1")
    >>> store.get("first/key")
    b'1'
    """

    def __init__(self, prefix: str, store: Store):
        super().__init__()
        self._prefix = prefix
        self._store = store

    @property
    def underlying_store(self) -> Store:
        """The store in which this one is a part."""
        return self._store

    @property
    def timeout(self) -> timedelta:
        return self._store.timeout

    def set_timeout(self, timeout: timedelta) -> None:
        self._store.set_timeout(timeout)

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}"

    def set(self, key: str, value: Any) -> None:
        self._store.set(self._key(key), value)

    def get(self, key: str) -> bytes:
        return self._store.get(self._key(key))

    def add(self, key: str, amount: int) -> int:
        return self._store.add(self._key(key), amount)

    def compare_set(self, key: str, expected: Any, desired: Any) -> bytes:
        return self._store.compare_set(self._key(key), expected, desired)

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        self._store.wait([self._key(key) for key in keys], timeout)

    def check(self, keys: list[str]) -> bool:
        return self._store.check([self._key(key) for key in keys])

    def delete_key(self, key: str) -> bool:
        return self._store.delete_key(self._key(key))

    def num_keys(self) -> int:
        return self._store.num_keys()

    def append(self, key: str, value: Any) -> None:
        self._store.append(self._key(key), value)

    def list_keys(self) -> list[str]:
        return [k.removeprefix(self._prefix + "/") for k in self._store.list_keys() if k.startswith(self._prefix + "/")]

    def queue_push(self, key: str, value: Any) -> None:
        self._store.queue_push(self._key(key), value)

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        return self._store.queue_pop(self._key(key), block)

    def queue_len(self, key: str) -> int:
        return self._store.queue_len(self._key(key))

    def clone(self) -> Store:
        return PrefixStore(self._prefix, self._store.clone())


def within(limit: float, ready: Callable[[], bool], pause: float = 0.01) -> bool:
    """Look again and again until something is ready; whether it was within the limit (seconds)."""
    end = time.monotonic() + limit
    while not ready():
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
    return True
