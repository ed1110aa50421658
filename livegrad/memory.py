"""Memory: how much is in use, and by which tensors of which lines.

>>> import livegrad
>>> x = livegrad.ones(512, 512)
>>> livegrad.memory.largest_tensors(1)[0].shape
(512, 512)
>>> livegrad.memory_allocated() >= 512 * 512 * 4
True

Nothing is noted for this but the user's line of every allocation above 64 KiB: what is listed is found by looking at
the objects that exist. So recording and small tensors cost what they did, and asking costs some milliseconds.

The functions take a device, as PyTorch's do. Memory that came from outside (`from_numpy`, DLPack) is not counted.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from .autograd.node import AccumulateGrad, Node
from .devices import device as _device
from .lazy.value import Value
from .runtime import memory as cpu_allocator
from .runtime.array import Array, numel
from .runtime.refusal import OutOfMemoryError, _Census, amount
from .site import Site, resolve
from .tensor import Tensor

__all__ = [
    "Live", "OutOfMemoryError", "empty_cache", "largest_tensors", "live_tensors", "max_memory_allocated",
    "memory_allocated", "memory_reserved", "memory_stats", "memory_summary", "reset_peak_memory_stats",
    "set_memory_limit",
]  # fmt: skip


class Allocator(Protocol):
    """What a device's memory has to tell: see `runtime.memory`, which is the CPU's."""

    def stats(self) -> dict: ...
    def size_classes(self) -> list[tuple[int, int, int]]: ...
    def reset_peak(self) -> None: ...
    def empty_cache(self) -> None: ...
    def set_bound(self, nbytes: int | None) -> None: ...


ALLOCATORS: dict[str, Allocator] = {"cpu": cpu_allocator}  # by type of device


def _allocator(device: Any) -> Allocator:
    kind = "cpu" if device is None else _device(device).type
    if kind not in ALLOCATORS:
        raise RuntimeError(f"no memory is in use on {kind}: its allocator has not been started")
    return ALLOCATORS[kind]


# --- figures ----------------------------------------------------------------------------------------------------


def memory_allocated(device: Any = None) -> int:
    """Bytes of tensors that are alive, rounded up to the allocator's sizes."""
    return _allocator(device).stats()["in_use"]


def max_memory_allocated(device: Any = None) -> int:
    """The most that `memory_allocated` has been since the start, or since `reset_peak_memory_stats`.

    Tensors up to 64 KiB count from when their memory was first used, whether or not they are alive.
    """
    return _allocator(device).stats()["peak"]


def memory_reserved(device: Any = None) -> int:
    """Bytes that the process holds: of tensors that are alive, and kept for the next ones."""
    return _allocator(device).stats()["reserved"]


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let `max_memory_allocated` start again from what is in use now."""
    _allocator(device).reset_peak()


def empty_cache(device: Any = None) -> None:
    """Give memory that is kept for the next tensors back to the system."""
    _allocator(device).empty_cache()


def set_memory_limit(nbytes: int | None, device: Any = None) -> None:
    """Let no more than `nbytes` be in use; None, as at the start, is no limit.

    What would go beyond raises `OutOfMemoryError`, which says what was asked for, the user's line, and the largest
    live tensors with their lines. Raises ValueError below zero.

    >>> import livegrad
    >>> livegrad.set_memory_limit(64 << 20)
    >>> try:
    ...     livegrad.zeros(1 << 14, 1 << 14)
    ... except livegrad.OutOfMemoryError as error:
    ...     print(str(error)[:62])
    ... finally:
    ...     livegrad.set_memory_limit(None)
    out of memory: cannot allocate 1073741824 bytes (1.00 GiB) for
    """
    _allocator(device).set_bound(nbytes)


def memory_stats(device: Any = None) -> dict[str, Any]:
    """Figures by name. In bytes: what `memory_allocated` and the like return, under PyTorch's names; `cached_bytes`
    (kept for the next tensors), `cache_limit_bytes` and `limit_bytes` (None where there is none). And counts:
    `blocks` alive, `allocation.all.allocated` since the start and `cache_hits`, those of them that reused memory.
    """
    allocator = _allocator(device)
    found = allocator.stats()
    return {
        "allocated_bytes.all.current": found["in_use"],
        "allocated_bytes.all.peak": found["peak"],
        "reserved_bytes.all.current": found["reserved"],
        "cached_bytes": found["cached"],
        "cache_limit_bytes": found["limit"],
        "limit_bytes": found["bound"],
        "blocks": sum(used for _, used, _ in allocator.size_classes()),
        "allocation.all.allocated": found["allocations"],
        "cache_hits": found["hits"],
    }


# --- what is alive ----------------------------------------------------------------------------------------------


class Live(NamedTuple):
    """One piece of memory in use, and the tensor that it is.

    nbytes: what was asked for. shape, dtype: of the largest array on it; None where there is none (workspace). kind:
    "parameter", "gradient", "tensor", "kept" (only for the backward pass), "awaited" (only by pending work), or
    "other". site: the user's line that made it, where known: the one that recorded it, or else the one that was running
    when it was computed. module: the path of the module that was running. name: as given, or None.
    """

    nbytes: int
    shape: tuple | None
    dtype: Any
    kind: str
    site: Site | None
    module: str | None
    name: str | None

    @property
    def where(self) -> str:
        """The line as "train.py:31: y = x @ w", or an empty string."""
        if self.site is None:
            return ""
        place = f"{os.path.basename(self.site.filename)}:{self.site.lineno}"
        return f"{place}: {self.site.line}" if self.site.line else place

    def __str__(self) -> str:
        what = "workspace" if self.shape is None else f"{self.dtype.name} {list(self.shape)}"
        parts = [f"{amount(self.nbytes):>10}", what, self.kind, self.name, self.module and f"in {self.module}"]
        return "  ".join(part for part in [*parts, self.where] if part)


# What holds a piece of memory, the more telling one first.
_KINDS = ("parameter", "gradient", "tensor", "kept", "awaited", "other")


class _Holding:
    """What is found out about one block. maker: (sequence number, node) of the first node that made what is on it."""

    __slots__ = ("block", "array", "kind", "maker", "name")

    def __init__(self, block: Any) -> None:
        self.block = block
        self.array: Array | None = None
        self.kind = len(_KINDS) - 1
        self.maker: Any = None
        self.name: str | None = None

    def add(self, kind: str, maker: Any = None) -> None:
        self.kind = min(self.kind, _KINDS.index(kind))
        if maker is not None and not maker.is_leaf and (self.maker is None or maker.seq < self.maker.seq):
            self.maker = maker

    def told(self) -> Live:
        maker, block, array = self.maker, self.block, self.array
        if maker is not None and maker.code is not None:
            site, module = maker.site(), maker.module
        else:
            site, module = resolve(getattr(block, "code", None), getattr(block, "lasti", 0)), None
            module = getattr(block, "module", None)
        shape, dtype = (None, None) if array is None else (array.shape, array.dtype)
        return Live(block.nbytes, shape, dtype, _KINDS[self.kind], site, module, self.name)


def live_tensors(device: Any = None, names: Any = None) -> list[Live]:
    """What is alive, the largest first: see `Live`.

    names: a module, or pairs or a dict of names and tensors, by which to call what is listed.
    """
    _allocator(device)  # raises for one that is not there
    return _alive("cpu" if device is None else _device(device).type, names)


def _alive(kind: str, names: Any = None) -> list[Live]:
    """What is alive on a type of device."""
    found: dict[int, _Holding] = {}
    values: list[Value] = []
    tensors: list[Tensor] = []
    nodes: list[Node] = []
    for o in gc.get_objects():
        c = type(o)  # not isinstance, which asks proxies
        if c is Array:
            if o.block.owner is None:
                holding = found.setdefault(id(o.block), _Holding(o.block))
                if holding.array is None or numel(o.shape) > numel(holding.array.shape):
                    holding.array = o
        elif c is Value:
            values.append(o)
        elif issubclass(c, Tensor):
            tensors.append(o)
        elif issubclass(c, Node):
            nodes.append(o)
        elif issubclass(c, cpu_allocator.Block) and o.owner is None:
            found.setdefault(id(o), _Holding(o))

    def note(array: Array | None, kind: str, maker: Any = None) -> None:
        if array is not None and id(array.block) in found:
            found[id(array.block)].add(kind, maker)

    for v in values:
        for o in v.operands:
            note(o.array, "awaited")
    for node in nodes:
        for _, v in node.held():
            note(v.array, "kept", node.source_of(v)[0])
            for leaf in _leaves(v):  # what is pending will be computed in the backward pass, from these
                note(leaf.array, "kept")
        if type(node) is AccumulateGrad and node.grad is not None:
            note(_array(node.grad), "gradient")
    for t in tensors:
        is_leaf = t._edge is not None and t._edge.is_leaf
        note(_array(t), "parameter" if is_leaf else "tensor", t._edge)
    if names is not None:
        from .graph.names import given_names

        for name, t in given_names(names):
            array = _array(t)
            if array is not None and id(array.block) in found:
                found[id(array.block)].name = name
    told = [h.told() for h in found.values() if _device_of(h) == kind]
    return sorted(told, key=lambda live: -live.nbytes)


def _array(t: Tensor) -> Array | None:
    """The memory of a tensor, None while it is pending."""
    a = t._s
    if a is None:
        return t._v.array
    content = a.storage.value
    return a.storage.array if content is None else content.array


def _leaves(v: Value) -> list[Value]:
    """What a pending value will be computed from."""
    waiting, seen = [v], {v}
    leaves: list[Value] = []
    for each in waiting:
        for o in each.operands:
            if o not in seen:
                seen.add(o)
                (waiting if o.array is None else leaves).append(o)
    return leaves


def _device_of(holding: _Holding) -> str:
    return getattr(holding.block, "device", "cpu")


def largest_tensors(n: int = 10, device: Any = None, names: Any = None) -> list[Live]:
    """The `n` largest of `live_tensors`.

    >>> import livegrad
    >>> w = livegrad.ones(300, 400, requires_grad=True)
    >>> big = [live for live in livegrad.memory.largest_tensors(names={"w": w}) if live.name == "w"]
    >>> print(*big)  # doctest: +ELLIPSIS
    468.75 KiB  float32 [300, 400]  parameter  w ...
    """
    return live_tensors(device, names)[:n]


# --- the table --------------------------------------------------------------------------------------------------


def memory_summary(device: Any = None, abbreviated: bool = False, names: Any = None) -> str:
    """A table to print: figures, what is alive by kind, dtype and size, and the largest tensors by line.

    abbreviated: the figures alone. names: see `live_tensors`.
    """
    stats = memory_stats(device)
    limit = stats["limit_bytes"]
    hits, calls = stats["cache_hits"], stats["allocation.all.allocated"]
    lines = [
        f"in use      {amount(stats['allocated_bytes.all.current']):>11}   in {stats['blocks']} blocks",
        f"peak        {amount(stats['allocated_bytes.all.peak']):>11}",
        f"cached      {amount(stats['cached_bytes']):>11}   "
        f"of tensors that died, at most {amount(stats['cache_limit_bytes'])}",
        f"reserved    {amount(stats['reserved_bytes.all.current']):>11}   in use and cached",
        f"limit       {'none' if limit is None else amount(limit):>11}",
        f"allocations {calls:>11}   {hits / max(calls, 1):.0%} of them reused memory",
    ]
    if not abbreviated:
        alive = live_tensors(device, names)
        lines += ["", "by kind", *_sums((live.kind, live.nbytes) for live in alive)]
        by_dtype = ((live.dtype.name if live.dtype is not None else "workspace", live.nbytes) for live in alive)
        lines += ["", "by dtype", *_sums(by_dtype)]
        lines += ["", "by size     " + f"{'in use':>11} {'cached':>11}", *_sizes(_allocator(device).size_classes())]
        lines += ["", "largest", *(f"  {live}" for live in alive[:10])]
    return "\n".join(lines)


def _sums(pairs: Iterable[tuple[str, int]]) -> list[str]:
    sums: dict[str, list[int]] = {}
    for key, nbytes in pairs:
        entry = sums.setdefault(key, [0, 0])
        entry[0] += 1
        entry[1] += nbytes
    ranked = sorted(sums.items(), key=lambda item: -item[1][1])
    return [f"  {key:<10}{amount(nbytes):>11}   in {count} blocks" for key, (count, nbytes) in ranked]


def _sizes(classes: list[tuple[int, int, int]]) -> list[str]:
    """The allocator's sizes, a line for each factor of 8, with bytes in use and cached."""
    sums: dict[int, list[int]] = {}
    for capacity, used, free in classes:
        bits = (capacity - 1).bit_length()
        entry = sums.setdefault(-(-bits // 3) * 3, [0, 0])
        entry[0] += used * capacity
        entry[1] += free * capacity
    lines = []
    for bits, (used, free) in sorted(sums.items()):
        lines.append(f"  <= {amount(1 << bits):<11}".ljust(12) + f"{amount(used):>11} {amount(free):>11}"[-23:])
    return lines


def _largest_lines(kind: str) -> list[str]:
    return [str(live).strip() for live in _alive(kind)[:5]]


_Census.largest = staticmethod(_largest_lines)
