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

import numpy as np

from ..devices import cpu
from ..native import hot, slotted
from ..runtime import array as arrays
from ..runtime import moves, pool
from ..runtime.array import Array, contiguous_strides, is_contiguous, numel, overlapping
from ..runtime.refusal import no_copy
from .reuse import OVERWRITTEN
from .turned import contiguous_copy
from .value import UNDEFERRED, Value, from_array, relabelled

_new = object.__new__


@slotted
class Window:
    """Held by whatever reads a storage's memory: windows onto it, and pending values."""

    __slots__ = ("__weakref__",)


@slotted
class Lease:
    """Held by the values that read one state of a storage.

    stale: set when that state has been overwritten. seen: weak reference to what all its readers hold. Counts of
    readers may be too high, as those that die without being evaluated are not subtracted; this is exact.
    """

    __slots__ = ("stale", "seen", "__weakref__")

    @hot
    def __init__(self) -> None:
        self.stale = None
        self.seen: Any = None

    @hot
    def reader(self) -> Window:
        """What a reader holds."""
        made = None if self.seen is None else self.seen()
        if made is None:
            made = Window()
            self.seen = weakref.ref(made)
        return made

    @hot
    def read(self) -> bool:
        """Whether there are readers beside the value whose lease it is: windows, or pending values."""
        return self.seen is not None and self.seen() is not None


@slotted
class Counter:
    """Counts in-place changes, for all tensors that are told of them (a tensor's `.data` counts its own)."""

    __slots__ = ("n",)

    @hot
    def __init__(self, n: int = 0) -> None:
        self.n = n

    def now(self) -> int:
        return self.n


@slotted
class Alias:
    """How a tensor sees its storage: the whole (layout None) or a window (offset, shape, strides) onto it.

    base: the tensor that this is a view of, or None. counter: counts the changes that this tensor is told of.
    silent: what is written through this alias does not count as a change of what was read through others.
    made: None for a view that may be changed in place while recording; else why not: "no_grad" (made while not
    recording) or its number among the views that one operator returned.
    """

    __slots__ = ("storage", "layout", "base", "counter", "silent", "made")

    @hot
    def __init__(
        self,
        storage: Storage,
        layout: tuple | None,
        counter: Counter,
        base: Any = None,
        silent: bool = False,
        made: Any = None,
    ):
        self.storage = storage
        self.layout = layout
        self.counter = counter
        self.base = base
        self.silent = silent
        self.made = made

    @property
    @hot
    def shape(self) -> tuple:
        return self.storage.shape if self.layout is None else self.layout[1]

    @hot
    def geometry(self) -> tuple:
        """(offset, shape, strides)"""
        if self.layout is not None:
            return self.layout
        shape = self.storage.shape
        return 0, shape, contiguous_strides(shape)


@slotted
class Storage:
    """See the module's description.

    value or array: what it holds. lease: weak reference to the lease of whatever reads the present content.
    unnoticed: leases of content that was overwritten silently, still to be told of the next change that counts.
    """

    __slots__ = ("value", "array", "lease", "unnoticed", "pinned", "shape", "dtype", "device", "views", "__weakref__")
    __reduce_ex__ = no_copy

    @hot
    def __init__(self, value: Value):
        self.shape = value.shape
        self.dtype = value.dtype
        self.device = value.device
        self.array: Array | None = None
        self.pinned = False
        self.views: list = []
        self.unnoticed: list = []
        self.value: Value | None = None
        self.lease: Any = None
        self._hold(value)

    @hot
    def _hold(self, value: Value) -> None:
        lease = value.lease
        if lease is not None or (value.array is not None and not value.array.contiguous):
            # What another storage holds, or a window onto it: two storages must not share what each may overwrite.
            value = from_array(contiguous_copy(value.ready()))
        elif value.owner is not None and value.owner is not OVERWRITTEN and value.owner() is not None:
            value.uses += 1  # somebody else has it too
            value.shared = True
        elif value.uses:
            value.shared = True  # its readers know of no lease
        self.value = value
        value.owner = weakref.ref(self)
        lease = value.lease = Lease()
        self.lease = weakref.ref(lease)

    # --- reading ------------------------------------------------------------------------------------------------

    @hot
    def read(self, alias: Alias) -> Value:
        """The present content of a window, as a value."""
        value = self.value
        if value is not None:
            layout = alias.layout
            if layout is None:
                return value
            if value.array is None and numel(layout[1]) == numel(value.shape) and is_contiguous(layout[1], layout[2]):
                return relabelled(value, layout[1])
            array = value.ready()
        else:
            array = self.array  # type: ignore[assignment]
        offset, shape, strides = alias.geometry()
        v = from_array(array.view(array.offset + offset, shape, strides))
        lease = self.lease() if self.lease is not None else None
        if lease is None:
            lease = Lease()
            self.lease = weakref.ref(lease)
        v.lease = lease
        v.window = lease.reader()
        if self.pinned:
            v.weight = UNDEFERRED
        return v

    @hot
    def number(self, offset: int) -> Any:
        """The element at an offset, as a Python number."""
        value = self.value
        array = self.array if value is None else value.ready()
        return array.number(offset)  # type: ignore[union-attr]

    # --- writing ------------------------------------------------------------------------------------------------

    @hot
    def write(self, alias: Alias, v: Value, stale: Any) -> None:
        """Replace the content of a window by `v`, of the same shape and dtype."""
        if alias.layout is None and not self.pinned:
            old = self.value
            self._mark(stale, alias)
            if old is not None and old is not v:
                old.owner = OVERWRITTEN
            self.array = None
            self._hold(v)
            return
        source = v.native() if self.device.type != "meta" else None
        target = self.window(alias, stale)
        if alias.layout is not None and source is not None and overlapping(alias.layout[1], alias.layout[2]):
            # An element may be shown several times, of which the operator changed one: that one counts.
            changed = (target != source) & ((target == target) | (source == source))
            target[changed] = np.broadcast_to(source, target.shape)[changed]
            return
        moves.assign(target, source)

    @hot
    def window(self, alias: Alias, stale: Any) -> Any:
        """A window's memory as the backend's array, for writing into it now."""
        self._make_writable()
        assert self.array is not None
        self._mark(stale, alias)
        if self.device.type == "meta":
            return _sink()
        offset, shape, strides = alias.geometry()
        return self.array.view(self.array.offset + offset, shape, strides).native()

    def watch(self, v: Value) -> None:
        """Tell those who have kept `v`, which was just written into this storage, of the next change."""
        if v.lease is None:
            lease = v.lease = Lease()
            self.unnoticed.append(weakref.ref(lease))

    @hot
    def noticed(self, alias: Alias) -> bool:
        """Whether anybody has to be told when this window is written."""
        return not alias.silent and bool(self.unnoticed or (self.lease is not None and self.lease() is not None))

    @hot
    def changed(self, alias: Alias, stale: Any) -> None:
        """A window was written with what it held already."""
        self._make_writable()
        self._mark(stale, alias)

    @hot
    def _mark(self, stale: Any, alias: Alias) -> None:
        ref = self.lease
        if alias.silent:
            if ref is not None and ref() is not None:
                self.unnoticed = [r for r in self.unnoticed if r() is not None]
                self.unnoticed.append(ref)
        else:
            for reader in (ref, *self.unnoticed) if ref is not None else self.unnoticed:
                lease = reader()
                if lease is not None and lease.stale is None:
                    lease.stale = stale
            self.unnoticed = []
        self.lease = None

    @hot
    def _make_writable(self) -> None:
        """Hold memory that only this storage's readers see, and none of those any more: a copy where need be."""
        if self.own() or self.pinned:
            return
        if self.lease is not None and self.lease() is not None:
            assert self.array is not None
            self.array = contiguous_copy(self.array)

    @hot
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

    @hot
    def pin(self) -> Array:
        """Make the memory visible to the outside; from now on it stays where it is."""
        if not self.pinned:
            self._make_writable()
            self.pinned = True
        assert self.array is not None
        if self.device is cpu:
            self.array.block.outside = True
            pool.finish()
        return self.array

    @hot
    def register(self, tensor: Any) -> None:
        """Remember a view, whose history changes when the base is changed in place."""
        views = self.views
        views.append(weakref.ref(tensor))
        n = len(views)
        if n >= 64 and n & (n - 1) == 0:
            self.views = [r for r in views if r() is not None]


class Face(Storage):
    """Another storage's memory with other numbers in it: complex numbers as their parts, or pairs as complex numbers.

    What it holds, who reads that and who has a view of it is the other storage's business. shape: of the whole memory,
    flat, in elements of this dtype.
    """

    __slots__ = ("source",)

    @hot
    def __init__(self, source: Storage, dtype: Any):
        self.source = source
        self.dtype = dtype
        self.device = source.device
        self.shape = (numel(source.shape) * source.dtype.itemsize // dtype.itemsize,)

    value = property(lambda self: None)  # type: ignore[assignment]
    array = property(lambda self: self._reread(self.source.array))  # type: ignore[assignment]
    pinned = property(lambda self: self.source.pinned)  # type: ignore[assignment]
    views = property(lambda self: self.source.views)  # type: ignore[assignment]

    @hot
    def _reread(self, array: Array | None) -> Any:
        """The whole memory of the source's, in this dtype."""
        if array is None:
            return None
        offset = array.offset * array.dtype.itemsize // self.dtype.itemsize
        return arrays.reread(array, self.dtype, offset, self.shape, (1,))

    def read(self, alias: Alias) -> Value:
        source = self.source
        if source.value is not None:
            source.value.ready()
        whole = source.read(Alias(source, (0, (numel(source.shape),), (1,)), alias.counter))
        array = self._reread(whole.ready())
        offset, shape, strides = alias.geometry()
        v = from_array(array.view(array.offset + offset, shape, strides))
        v.lease, v.window = whole.lease, whole.window
        if source.pinned:
            v.weight = UNDEFERRED
        return v

    def number(self, offset: int) -> Any:
        source = self.source
        return self._reread(source.array if source.value is None else source.value.ready()).number(offset)

    def write(self, alias: Alias, v: Value, stale: Any) -> None:
        source = v.native()
        moves.assign(self.window(alias, stale), source)

    def window(self, alias: Alias, stale: Any) -> Any:
        self.changed(alias, stale)
        offset, shape, strides = alias.geometry()
        array = self.array
        return array.view(array.offset + offset, shape, strides).native()

    def watch(self, v: Value) -> None:
        self.source.watch(v)

    def noticed(self, alias: Alias) -> bool:
        return self.source.noticed(alias)

    def changed(self, alias: Alias, stale: Any) -> None:
        self.source.changed(alias, stale)

    def own(self) -> bool:
        return self.source.own()

    @hot
    def pin(self) -> Array:
        return self._reread(self.source.pin())

    @hot
    def register(self, tensor: Any) -> None:
        self.source.register(tensor)


@hot
def face_of(storage: Storage, dtype: Any) -> Storage:
    """A storage's memory as numbers of another dtype."""
    source = storage.source if isinstance(storage, Face) else storage
    return source if source.dtype is dtype else Face(source, dtype)


def _sink() -> Any:
    from ..runtime import meta

    return meta.SINK


@hot
def pinned_alone(v: Value) -> Storage | None:
    """The storage of a tensor that is about to be read from outside: of a value on the CPU that nobody else has.

    None where others may have it, now or later.
    """
    if v.uses or v.kept or v.shared or v.lease is not None or v.device is not cpu:
        return None
    array = v.array
    if array is None:
        array = v.ready()
    if v.uses or v.shared or v.lease is not None or not array.contiguous:
        return None
    v.owner = None
    s = _new(Storage)
    s.value = None
    s.array = array
    s.lease = None
    s.unnoticed = []
    s.pinned = True
    s.shape = v.shape
    s.dtype = v.dtype
    s.device = cpu
    s.views = []
    array.block.outside = True
    pool.finish()
    return s


@hot
def adopt(array: Array) -> Storage:
    """A storage over memory that the outside can see."""
    s = Storage(from_array(array))
    s.array = array
    s.value = None
    s.lease = None
    s.pinned = True
    if s.device is cpu:
        array.block.outside = True
        pool.finish()
    return s
