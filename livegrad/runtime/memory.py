"""The block cache: where tensors' memory comes from, and where it goes back to.

`allocate` hands out a `Block`; when the `Block` object dies its memory returns to a shelf of equal-sized pieces, and
the next request of that size takes it from there. Page faults decide the speed of large work, so this is worth a lot.

* Up to 64 KiB (`_SMALL_BYTES`), pieces are carved out of 1 MiB slabs. A slab goes back to the system only in
  `empty_cache()`, once every piece of it is free.
* Larger pieces are mappings of their own, in four sizes per power of two. Freed ones stay mapped while all of them
  together are below the limit (`set_limit`, or `LIVEGRAD_CACHE_BYTES` when this module is imported); above it, the
  sizes that were asked for longest ago go back to the system first.

Every large Block knows the user's line that asked for it, so that what fills the memory can be listed.

There is no lock anywhere. A `Block` may die on any thread, and in a garbage collection that happens inside `allocate`
itself, so shared state changes only through operations that are atomic in CPython: `list.append`, `list.pop`,
`dict.pop`. Mappings are private, so a forked child has its own copy of everything. All sizes are in bytes.
"""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import gc
import itertools
import mmap
import os
import sys
from collections.abc import Callable

import numpy as np

from ..native import hot, slotted
from ..settings import unusable
from ..site import INTERNAL, MODULES
from .raw import address, array_at
from .refusal import no_copy, out_of_memory

__all__ = [
    "Block", "Large", "address", "allocate", "empty_cache", "ndarray", "reset_peak", "set_bound", "set_limit",
    "size_classes", "stats", "watch", "wrap",
]  # fmt: skip

ALIGNMENT = 64
_SMALL_BYTES = 64 << 10  # the largest piece that is carved out of a slab
_SLAB_BYTES = 1 << 20
_REFILL_BYTES = 16 << 10  # how much of a slab one refill of a shelf carves
_HUGE_PAGE = 2 << 20
_HUGE_FROM = 4 << 20  # mappings from here on are aligned to huge pages and ask for them


@slotted
class Block:
    """One piece of memory.

    `ptr` is its address, `nbytes` what was asked for, `capacity` what is there (0 for foreign memory), `owner` the
    object that keeps foreign memory alive, or None. Whoever holds the Block may use the memory; nobody else may, unless
    it is visible from `outside`: work on such memory is done when the operator returns.
    """

    __slots__ = ("__weakref__", "_size", "nbytes", "outside", "ptr")
    owner = None

    # No __init__: `allocate` sets the slots itself, which saves it a call.

    __reduce_ex__ = no_copy

    @property
    def capacity(self) -> int:
        return self._size[2]

    @hot
    def __del__(self):
        # Reaches everything through `self`: it also runs when the module's globals are gone.
        try:  # noqa: SIM105  (a suppress() costs more than the rest)
            self._size[1](self.ptr)
        except AttributeError:  # interrupted before the slots were set
            pass

    def __repr__(self):
        kind = "own" if self.owner is None else "foreign"
        return f"<Block {self.nbytes} bytes at {self.ptr:#x}, {kind}>"


@slotted
class Large(Block):
    """One large piece. code, lasti: the user's line that asked for it, or None; module: the nn.Module running then."""

    __slots__ = ("code", "lasti", "module")


class _Foreign(Block):
    """Memory that belongs to `owner`."""

    __slots__ = ("owner",)

    @property
    def capacity(self) -> int:
        return 0

    @hot
    def __del__(self):
        pass


class _Shelf(list):
    """Addresses of the free pieces of one size.

    `regions` keeps their mappings alive for as long as a Block refers to the shelf.
    `entry` is what a Block of this size refers to: (take a piece, give a piece back, capacity, the shelf).
    """

    __slots__ = ("capacity", "entry", "made", "regions", "tick")

    def __init__(self, capacity, regions):
        self.capacity = capacity
        self.regions = regions
        self.made = 0  # pieces of this size in existence, free or not
        self.tick = 0  # when one was last asked for; large sizes only
        self.entry = (self.pop, self.append, capacity, self)


class _Cache:
    """Every mapping and every shelf, and the counters."""

    def __init__(self):
        self.regions = {}  # address of a mapping -> what keeps it mapped
        self.slabs = []  # addresses of the mappings that are slabs
        self.spare = []  # (begin, end): parts of slabs that are not carved yet
        self.large = {}  # capacity -> _Shelf
        self.sizes = {}  # bytes asked for -> entry of a large shelf; a memo of `large`
        self.limit = 0
        self.bound = sys.maxsize  # bytes in use that no allocation may go beyond
        self.settle = lambda: None  # waits until no work that was put off can be in a free piece
        self.watch = None  # told (address, bytes) of every large piece taken, (address, -bytes) of those given back
        self.clock = 0
        self.cached = 0  # bytes on the shelves of large sizes
        self.large_used = 0  # bytes in large pieces in use
        self.carved = 0  # bytes in small pieces, free or not
        self.peak = 0
        self.misses = 0
        self.counter = itertools.count()  # how many allocations; a C function, so cheaper than an attribute

    def note_peak(self):
        self.peak = max(self.peak, self.large_used + self.carved)

    def drop(self, shelf):
        """Gives one free large piece back to the system; False if there is none."""
        try:
            ptr = shelf.pop()
        except IndexError:
            return False
        self.settle()
        self.cached -= shelf.capacity
        shelf.made -= 1
        self.regions.pop(ptr, None)  # the last reference: the mapping goes with it
        return True

    def trim(self):
        """Drops free large pieces, the sizes asked for longest ago first, until the cache is within its limit."""
        for shelf in sorted(self.large.values(), key=lambda shelf: shelf.tick):
            while self.cached > self.limit and self.drop(shelf):
                pass

    def used(self):
        small = sum((shelf.made - len(shelf)) * shelf.capacity for shelf in _small_shelves())
        return self.large_used + max(0, small)


def _round_up(value, unit):
    return -(-value // unit) * unit


def _size_class(nbytes):
    """The capacity that serves `nbytes`: multiples of 64 up to 1 KiB, from there on four sizes per power of two."""
    if nbytes <= 1024:
        return max(ALIGNMENT, _round_up(nbytes, ALIGNMENT))
    return _round_up(nbytes, 1 << ((nbytes - 1).bit_length() - 3))


def _default_limit():
    text = os.environ.get("LIVEGRAD_CACHE_BYTES", "")
    if text:
        try:
            return max(0, int(float(text)))
        except (ValueError, OverflowError):
            raise unusable("LIVEGRAD_CACHE_BYTES", "a number of bytes", text) from None
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        memory = 8 << 30
    return min(memory // 4, 4 << 30)


_cache = _Cache()
_cache.limit = _default_limit()


# The system's side


def _map(nbytes):
    """Maps `nbytes` of zeroed private memory and returns its address; raises MemoryError."""
    huge = nbytes >= _HUGE_FROM
    length = nbytes + _HUGE_PAGE if huge else nbytes  # room to align; what is never touched costs nothing
    try:
        if os.name == "posix":
            # The default would be shared with forked children.
            region = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            region = mmap.mmap(-1, length)
    except (OSError, OverflowError, ValueError):
        raise MemoryError from None
    export = ctypes.c_char.from_buffer(region)  # keeps `region` mapped
    ptr = ctypes.addressof(export)
    if huge:
        with contextlib.suppress(AttributeError, OSError):  # a hint; kernels without huge pages refuse it
            region.madvise(mmap.MADV_HUGEPAGE)
        ptr = _round_up(ptr, _HUGE_PAGE)
    _cache.regions[ptr] = export
    return ptr


def _map_or_clear(nbytes):
    """`_map`, with a second attempt after the cache is emptied and a third after cycles of garbage are collected."""
    for make_room in (empty_cache, gc.collect):
        try:
            return _map(nbytes)
        except MemoryError:
            make_room()
    empty_cache()
    try:
        return _map(nbytes)
    except MemoryError:
        pass
    raise out_of_memory(nbytes, "the system refuses", _cache.used())


def _check_bound(nbytes):
    """OutOfMemoryError if that many bytes more are above the bound, also when cycles of garbage are collected."""
    cache = _cache
    if cache.used() + nbytes > cache.bound:
        gc.collect()
        if cache.used() + nbytes > cache.bound:
            why = f"that would exceed the limit of {cache.bound} bytes, which livegrad.set_memory_limit has set"
            raise out_of_memory(nbytes, why, cache.used())


# Small pieces


def _carve(shelf):
    """Takes at least one new piece for `shelf` out of a slab and returns its address; puts the others on the shelf."""
    size = shelf.capacity
    if _cache.large_used + _cache.carved + size > _cache.bound:
        _check_bound(size)
    try:
        begin, end = _cache.spare.pop()
    except IndexError:
        begin = end = 0
    if end - begin < size:
        _scrap(begin, end)
        begin = _map_or_clear(_SLAB_BYTES)
        end = begin + _SLAB_BYTES
        _cache.slabs.append(begin)
    count = min((end - begin) // size, max(1, _REFILL_BYTES // size))
    stop = begin + count * size
    _note_carved(shelf, count)
    if stop < end:
        _cache.spare.append((stop, end))
    shelf.extend(range(stop - size, begin, -size))
    return begin


def _scrap(begin, end):
    """Cuts the rest of a slab, too short for what is asked, into pieces of smaller sizes."""
    while begin < end:
        size = end - begin
        while _size_class(size) != size:
            size -= ALIGNMENT
        shelf = _SMALL[size >> 6][3]
        _note_carved(shelf, 1)
        shelf.append(begin)
        begin += size


def _note_carved(shelf, count):
    shelf.made += count
    _cache.carved += count * shelf.capacity
    _cache.misses += 1
    _cache.note_peak()


def _small_table():
    """One entry of a shelf (see `_Shelf`) per 64 bytes of request."""
    table, shelf = [], None
    for nbytes in range(0, _SMALL_BYTES + 1, ALIGNMENT):
        capacity = _size_class(nbytes)
        if shelf is None or shelf.capacity != capacity:
            shelf = _Shelf(capacity, _cache.regions)
        table.append(shelf.entry)
    return table


def _small_shelves():
    return list({id(entry): entry[3] for entry in _SMALL}.values())


# Large pieces


def _large_entry(nbytes):
    """The entry for a large size, and the shelf with it where there is none yet."""
    cache, capacity = _cache, _size_class(nbytes)
    shelf = _Shelf(capacity, cache.regions)
    put = shelf.append

    def give(ptr):
        cache.large_used -= capacity
        cache.cached += capacity
        put(ptr)
        if cache.watch is not None:
            cache.watch(ptr, -capacity)
        if cache.cached > cache.limit:
            cache.trim()

    shelf.entry = (shelf.pop, give, capacity, shelf)
    entry = cache.large.setdefault(capacity, shelf).entry
    if len(cache.sizes) > 10_000:
        cache.sizes.clear()
    cache.sizes[nbytes] = entry
    return entry


@hot
def _allocate_large(nbytes):
    cache = _cache
    entry = cache.sizes.get(nbytes) or _large_entry(nbytes)
    take, _, capacity, shelf = entry
    if cache.large_used + cache.carved + capacity > cache.bound:
        _check_bound(capacity)
    cache.clock = shelf.tick = cache.clock + 1
    try:
        ptr = take()
        cache.cached -= capacity
    except IndexError:
        ptr = _map_or_clear(capacity)
        shelf.made += 1
        cache.misses += 1
    cache.large_used += capacity
    if cache.large_used + cache.carved > cache.peak:
        cache.note_peak()
    if cache.watch is not None:
        cache.watch(ptr, capacity)
    next(_counter)
    block = Large()
    block.ptr = ptr
    block.nbytes = nbytes
    block.outside = False
    block._size = entry
    frame = _getframe(1)
    while frame is not None and INTERNAL[frame.f_code.co_filename]:
        frame = frame.f_back
    if frame is None:
        block.code = None
        block.lasti = 0
    else:
        block.code = frame.f_code
        block.lasti = frame.f_lasti
    block.module = MODULES.path() if MODULES.running else None
    return block


# What others use


@hot
def allocate(nbytes: int) -> Block:
    """A Block of `nbytes` uninitialised bytes at a multiple of 64; with `nbytes` 0, its pointer is valid all the same.

    Raises OutOfMemoryError when the system refuses, or above the bound; ValueError below zero.
    """
    if nbytes > _SMALL_BYTES:
        return _allocate_large(nbytes)
    if nbytes < 0:
        _refuse(nbytes)
    entry = _SMALL[(nbytes + 63) >> 6]
    try:
        ptr = entry[0]()
    except IndexError:
        ptr = _carve(entry[3])
    next(_counter)
    block = Block()
    block.ptr = ptr
    block.nbytes = nbytes
    block.outside = False
    block._size = entry
    return block


def _refuse(nbytes):
    raise ValueError(f"cannot allocate {nbytes} bytes")


@hot
def wrap(array: np.ndarray) -> Block:
    """A Block over the memory of `array`, which it keeps alive; nothing is copied.

    `ptr` is the lowest address that the array reaches (with a negative stride, not its first element) and `nbytes` the
    distance from there to the end of its highest element. The caller has to respect memory that is read-only.
    """
    low = address(array)
    nbytes = array.nbytes
    if nbytes and not array.flags.c_contiguous:
        nbytes = array.itemsize
        for length, stride in zip(array.shape, array.strides):
            nbytes += (length - 1) * abs(stride)
            if stride < 0:
                low += (length - 1) * stride
    block = _Foreign()
    block.ptr = low
    block.nbytes = nbytes
    block.outside = True
    block.owner = array
    return block


@hot
def ndarray(block: Block, dtype: np.dtype, shape, byte_strides=None, byte_offset: int = 0) -> np.ndarray:
    """An array on the memory of `block`, which lives as long as the array or any view of it.

    `byte_strides` defaults to row-major. The caller answers for shape, strides and offset being inside the block.
    """
    return array_at(block.ptr + byte_offset, dtype, shape, byte_strides, block)


def set_settle(settle: Callable[[], None]) -> None:
    """What is called before memory goes back to the system."""
    _cache.settle = settle


def empty_cache() -> None:
    """Gives every free mapping back to the system: large pieces, and slabs of which no piece is in use."""
    for shelf in list(_cache.large.values()):
        while _cache.drop(shelf):
            pass
    _release_slabs()


def _release_slabs():
    """Takes all free small pieces, returns the slabs that they fill completely, and puts the other pieces back."""
    _cache.settle()
    slabs = sorted(_cache.slabs)
    free = dict.fromkeys(slabs, 0)
    taken = []
    for shelf in _small_shelves():
        for _ in range(len(shelf)):
            try:
                ptr = shelf.pop()
            except IndexError:
                break
            taken.append((shelf, ptr))
    spare = []
    for _ in range(len(_cache.spare)):
        try:
            spare.append(_cache.spare.pop())
        except IndexError:
            break

    def slab_of(ptr):
        index = bisect.bisect_right(slabs, ptr) - 1
        if index < 0 or ptr >= slabs[index] + _SLAB_BYTES:
            return None  # from a slab that another thread has made meanwhile
        return slabs[index]

    for shelf, ptr in taken:
        slab = slab_of(ptr)
        if slab is not None:
            free[slab] += shelf.capacity
    for begin, end in spare:
        slab = slab_of(begin)
        if slab is not None:
            free[slab] += end - begin
    gone = {slab for slab, nbytes in free.items() if nbytes == _SLAB_BYTES}
    for shelf, ptr in taken:
        if slab_of(ptr) in gone:
            shelf.made -= 1
            _cache.carved -= shelf.capacity
        else:
            shelf.append(ptr)
    for begin, end in spare:
        if slab_of(begin) not in gone:
            _cache.spare.append((begin, end))
    for slab in gone:
        _cache.slabs.remove(slab)
        _cache.regions.pop(slab, None)


def stats() -> dict:
    """Counters. In bytes: `in_use`, `cached` (free, not given back), `reserved` (their sum: what is mapped), `peak` of
    `in_use`, `limit` of `cached`, `bound` on `in_use` (None for none). Since the start: `allocations` and `hits` (those
    served without new memory).

    Foreign memory is not counted. `peak` counts small pieces as they are carved, not as they are used: that costs
    nothing and is above the truth by the free ones at most.
    """
    cache = _cache
    used = cache.used()
    large = sum(shelf.made * shelf.capacity for shelf in list(cache.large.values()))
    reserved = len(cache.slabs) * _SLAB_BYTES + large
    allocations = cache.counter.__reduce__()[1][0]
    return {
        "in_use": used,
        "cached": max(0, reserved - used),
        "reserved": reserved,
        "peak": max(used, cache.peak),
        "limit": cache.limit,
        "bound": None if cache.bound == sys.maxsize else cache.bound,
        "allocations": allocations,
        "hits": max(0, allocations - cache.misses),
    }


def level() -> int:
    """Bytes in use, small pieces counted as they are carved: what costs nothing to know."""
    return _cache.large_used + _cache.carved


def reserved() -> int:
    """Bytes that are mapped for large pieces, in use or not, and those of small ones as they are carved."""
    return _cache.large_used + _cache.carved + _cache.cached


def set_limit(nbytes: int) -> None:
    """How many bytes of freed large pieces stay mapped, 0 for none; what is above goes back to the system now."""
    if nbytes < 0:
        raise ValueError(f"the cache's limit must not be negative, got {nbytes}")
    _cache.limit = nbytes
    _cache.trim()


def set_bound(nbytes: int | None) -> None:
    """How many bytes may be in use: what would go beyond raises OutOfMemoryError. None: as many as there are."""
    if nbytes is not None and nbytes < 0:
        raise ValueError(f"the limit of memory must not be negative, got {nbytes}")
    _cache.bound = sys.maxsize if nbytes is None else nbytes


def watch(function: Callable[[int, int], None] | None) -> Callable[[int, int], None] | None:
    """Call function(address, bytes) for every large piece taken, with -bytes when it is given back; None for nobody.

    It must not allocate tensors. Returns what was called before.
    """
    before, _cache.watch = _cache.watch, function
    return before


def size_classes() -> list[tuple[int, int, int]]:
    """(capacity, pieces in use, free pieces) for each size of which there are any, in bytes, ascending."""
    shelves = [*_small_shelves(), *(shelf for _, shelf in sorted(_cache.large.items()))]
    counts = [(shelf.capacity, shelf.made, min(len(shelf), shelf.made)) for shelf in shelves]
    return [(capacity, made - free, free) for capacity, made, free in counts if made]


def reset_peak() -> None:
    """Lets `peak` start again from what is in use now."""
    _cache.peak = _cache.used()


_SMALL = _small_table()
_counter = _cache.counter
_getframe = sys._getframe
