"""Storages: the cell that a tensor and all its views and aliases share. In-place operators change what it holds.

A storage holds either
  * a value, contiguous and possibly pending: an in-place operator on the whole simply puts a new value there; or
  * memory of its own, since a part of it was written: what reads it takes a lease, and a write while a lease is out
    moves the storage to a fresh copy first. So a pending value never sees a later write, and a write that nobody
    looks at happens in place; or
  * memory that the outside can see (pinned): it cannot move, so what reads it is never deferred.
"""

from __future__ import annotations

import weakref
from typing import Any

from ..runtime import array as arrays
from ..runtime.array import Array, contiguous_strides
from .evaluate import OVERWRITTEN
from .value import UNDEFERRED, Value, from_array, reshaped


class Lease:
    """Held by the values that read one state of a storage. stale: set when that state has been overwritten."""

    __slots__ = ("stale", "__weakref__")

    def __init__(self) -> None:
        self.stale = None


class Alias:
    """How a tensor sees its storage: the whole (layout None) or a window (offset, shape, strides) onto it.

    base: the tensor whose differentiable view this is, or None. silent: writes do not count as changes for autograd.
    """

    __slots__ = ("storage", "layout", "cache", "seen", "base", "silent")

    def __init__(self, storage: Storage, layout: tuple | None, base: Any = None, silent: bool = False):
        self.storage = storage
        self.layout = layout
        self.cache: Value | None = None
        self.seen = -1
        self.base = base
        self.silent = silent

    @property
    def shape(self) -> tuple:
        return self.storage.shape if self.layout is None else self.layout[1]

    def geometry(self) -> tuple:
        """(offset, shape, strides)"""
        if self.layout is not None:
            return self.layout
        shape = self.storage.shape
        return 0, shape, contiguous_strides(shape)


class Storage:
    """See the module's description."""

    __slots__ = ("value", "array", "lease", "pinned", "version", "shape", "dtype", "device", "views", "__weakref__")

    def __init__(self, value: Value, version: int = 0):
        if value.array is not None and not value.array.contiguous:
            value = from_array(contiguous_copy(value.array))
        self.shape = value.shape
        self.dtype = value.dtype
        self.device = value.device
        self.array: Array | None = None
        self.pinned = False
        self.version = version
        self.views: list = []
        self.value: Value | None = None
        self.lease: Any = None
        self._hold(value)

    def _hold(self, value: Value) -> None:
        if value.owner is not None and value.owner is not OVERWRITTEN and value.owner() is not None:
            value.uses += 1  # somebody else has it too
        self.value = value
        value.owner = weakref.ref(self)
        lease = value.lease
        if lease is None:
            lease = value.lease = Lease()
        self.lease = weakref.ref(lease)

    # --- reading ------------------------------------------------------------------------------------------------

    def read(self, alias: Alias) -> Value:
        """The present content of a window, as a value."""
        if self.value is not None:
            if alias.layout is None:
                return self.value
            if alias.seen != self.version or alias.cache is None:
                offset, shape, strides = alias.layout
                alias.cache = reshaped(self.value, self.value.ready().offset + offset, shape, strides)
                alias.seen = self.version
            return alias.cache
        array = self.array
        assert array is not None
        offset, shape, strides = alias.geometry()
        v = from_array(array.view(array.offset + offset, shape, strides))
        lease = self.lease() if self.lease is not None else None
        if lease is None:
            lease = Lease()
            self.lease = weakref.ref(lease)
        v.lease = lease
        if self.pinned:
            v.weight = UNDEFERRED
        return v

    # --- writing ------------------------------------------------------------------------------------------------

    def write(self, alias: Alias, v: Value, stale: Any) -> None:
        """Replace the content of a window by `v`, of the same shape and dtype."""
        if alias.layout is None and not self.pinned:
            old = self.value
            if v.array is not None and not v.array.contiguous:
                v = from_array(contiguous_copy(v.array))
            self._mark(stale, alias)
            if old is not None and old is not v:
                old.owner = OVERWRITTEN
            self.array = None
            self._hold(v)
            self.version += 1
            return
        source = v.native()
        self._make_writable()
        assert self.array is not None
        self._mark(stale, alias)
        offset, shape, strides = alias.geometry()
        target = self.array.view(self.array.offset + offset, shape, strides).native()
        target[...] = source
        self.version += 1

    def _mark(self, stale: Any, alias: Alias) -> None:
        lease = self.lease() if self.lease is not None else None
        if lease is not None and not alias.silent and lease.stale is None:
            lease.stale = stale
        self.lease = None

    def _make_writable(self) -> None:
        """Hold memory that only this storage's readers see, and none of those any more: a copy where need be."""
        if self.own() or self.pinned:
            return
        if self.lease is not None and self.lease() is not None:
            assert self.array is not None
            self.array = contiguous_copy(self.array)

    def own(self) -> bool:
        """Hold memory instead of a value. Returns whether that took a copy, because others may read the value.

        Such readers keep the value's lease, so that they are told when this storage is written.
        """
        value = self.value
        if value is None:
            return False
        array = value.ready()
        copied = bool(value.uses or value.kept) or not array.contiguous
        self.array = contiguous_copy(array) if copied else array
        self.value = None
        value.owner = None
        return copied

    def pin(self) -> Array:
        """Make the memory visible to the outside; from now on it stays where it is."""
        if not self.pinned:
            self._make_writable()
            self.pinned = True
        assert self.array is not None
        return self.array

    def register(self, tensor: Any) -> None:
        """Remember a view, whose history changes when the base is changed in place."""
        views = self.views
        views.append(weakref.ref(tensor))
        n = len(views)
        if n >= 64 and n & (n - 1) == 0:
            self.views = [r for r in views if r() is not None]


def adopt(array: Array) -> Storage:
    """A storage over memory that the outside can see."""
    s = Storage(from_array(array))
    s.array = array
    s.value = None
    s.lease = None
    s.pinned = True
    return s


def contiguous_copy(array: Array) -> Array:
    made = arrays.empty(array.shape, array.dtype)
    made.native()[...] = array.native()
    return made
