"""Reading and writing at places that index tensors name, on CUDA devices: how operands lie, and what is launched."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..codegen.gpu import grouping
from ..codegen.gpu import places as kernels
from ..codegen.gpu.space import Layout
from ..runtime import array as arrays
from ..runtime.array import Array, contiguous_strides, numel
from ..runtime.cuda import checks, driver, memory
from . import places
from .places import Places, out_of_bounds
from .program import broadcast_strides, merged_dims
from .value import Bound, Value, from_array


def _on(i: Any, where: Any) -> Array:
    """An index tensor's memory on a device."""
    if isinstance(i, np.ndarray):
        return arrays.moved(arrays.from_native(np.ascontiguousarray(i, np.int64)), where)
    a: Array = i.ready()
    return a if a.device is where else arrays.moved(a, where)


class _Given:
    """The index tensors as kernels take them."""

    def __init__(self, p: Places, where: Any):
        self.arrays = [_on(named.index, where) for named in p.indices]
        self.kinds = tuple([a.dtype.kind for a in self.arrays])
        self.pointers = [*(memory.address(a) for a in self.arrays), checks.word(where.index)]
        self.named = p.indices

    def numbers(self, unit: int) -> list[int]:
        """Of each its size, its stride in units, and its report."""
        found = []
        for named in self.named:
            # It must not keep the index tensor alive.
            report = checks.report(functools.partial(out_of_bounds, named.dim, named.size))
            found += [named.size, named.step // unit, report]
        return found


def _finish(index: int) -> None:
    """In eager mode errors are raised where they are made."""
    if Bound.limit < 0:
        driver.cupy().cuda.Device(index).synchronize()
        checks.look()


def _launch(launch: Any, index: int, args: Sequence[int]) -> None:
    driver.launch(launch, index, launch.kernel.pack(*args) + launch.tail)


def usable(x: Value) -> bool:
    """Whether there are kernels for a value on its device."""
    return x.dtype.category <= 2 and driver.loadable(grouping.sort_tiles(1).kernel, x.device.index)


# --- reading ----------------------------------------------------------------------------------------------------


def read(x: Value, index: Any) -> Value:
    """x at the places of an index: a fresh value."""
    a = x.ready()
    p = places.places(a.shape, a.strides, index)
    made = memory.empty(p.shape, a.dtype, a.device)
    if numel(p.shape):
        _move(a, p, made, contiguous_strides(p.shape), False)
    return from_array(made)


def _move(a: Array, p: Places, other: Array, other_strides: tuple, puts: bool) -> None:
    """Copy between places of `a` and another array over the index space."""
    given = _Given(p, a.device)
    sizes, strides, labels = _merged(p.shape, [p.strides, other_strides, *(n.strides for n in p.indices)])
    itemsize = a.dtype.itemsize
    start = memory.address(a) | memory.address(other)
    width = _width(itemsize, start, sizes, strides, [n.step for n in p.indices])
    items = [*sizes[:-1], sizes[-1] // width]
    layout = Layout(items, labels, [[*s[:-1], s[-1] * width] for s in strides])
    index = a.device.index
    multiprocessors = driver.multiprocessors(index)
    launch = kernels.move(kernels.MOVED_AS[itemsize], given.kinds, p.wraps, puts, width, layout, multiprocessors)
    _launch(launch, index, [memory.address(a), memory.address(other), *given.pointers, *given.numbers(1)])
    _finish(index)


def _merged(shape: tuple, strides: list) -> tuple[list, list, list]:
    sizes, merged, labels = merged_dims(shape, strides, ("k",) * len(shape))
    return (sizes, merged, labels) if sizes else ([1], [[0] for _ in strides], ["k"])


def _width(itemsize: int, start: int, sizes: list, strides: list, steps: list) -> int:
    """How many neighbouring elements are moved together."""
    if strides[0][-1] != 1 or strides[1][-1] != 1 or any(s[-1] for s in strides[2:]):
        return 1
    width = 16 // itemsize
    while width > 1 and (
        sizes[-1] % width
        or start % (width * itemsize)
        or any(s % width for each in strides[:2] for s in each[:-1])
        or any(s % width for s in steps)
    ):
        width //= 2
    return width


# --- writing ----------------------------------------------------------------------------------------------------


def put(x: Value, source: Value, index: Any) -> Value:
    """A copy of x with `source` at the places of an index; where several arrive at one, the last one stays."""
    made, p = _copied(x, index)
    a = source.ready()
    if numel(p.shape):
        strides = broadcast_strides(a, p.shape)
        if p.distinct or not any(strides):  # one number for all places
            _move(made, p, a, strides, True)
        else:
            arrivals, words = _sorted(made, p, strides)
            where = made.device.index
            launch = grouping.put_last(a.dtype.itemsize, arrivals, driver.multiprocessors(where))
            _launch(launch, where, [memory.address(made), memory.address(a), memory.address(words)])
            _finish(where)
    return from_array(made)


def combine(x: Value, source: Value, index: Any, name: str) -> Value:
    """A copy of x with `source` combined into the places of an index. name: one of `layout.REDUCTIONS`."""
    made, p = _copied(x, index)
    return _combined(made, p, source, name)


def added_to_zeros(source: Value, index: Any, shape: tuple) -> Value:
    """Zeros of a shape with `source` added at the places of an index."""
    made = memory.full(shape, source.dtype, source.device, 0)
    p = places.places(shape, made.strides, index)
    a = source.ready()
    if p.distinct and numel(p.shape):
        _move(made, p, a, broadcast_strides(a, p.shape), True)
        return from_array(made)
    return _combined(made, p, source, "sum")


def _copied(x: Value, index: Any) -> tuple[Array, Places]:
    made = memory.copied(x.ready())
    return made, places.places(made.shape, made.strides, index)


def _combined(made: Array, p: Places, source: Value, name: str) -> Value:
    a = source.ready()
    d = made.dtype
    if not numel(p.shape):
        return from_array(made)
    if d is dtypes.bool_:
        name = {"sum": "any", "prod": "all", "amax": "any", "amin": "all"}[name]
    arrivals, words = _sorted(made, p, broadcast_strides(a, p.shape))
    index = made.device.index
    taken, level = a, 0
    while True:
        launch = grouping.combine(name, d, arrivals, level, driver.multiprocessors(index))
        chunks = grouping.carried(arrivals.count, level + 1)
        carry = memory.empty((chunks, arrivals.columns), grouping.accumulating(d), made.device)
        _launch(launch, index, [memory.address(v) for v in (made, taken, words, carry)])
        if chunks == 1:
            break
        taken, level = carry, level + 1
    _finish(index)
    return from_array(made)


def _sorted(made: Array, p: Places, source_strides: tuple) -> tuple[grouping.Arrivals, Array]:
    """The arrivals at places of an array, and the sorted words that say what arrives where.

    A dimension of the index space along which no index tensor changes, and the array does, is one of columns.
    """
    columns = [
        not any(n.strides[d] for n in p.indices) and p.strides[d] != 0 and size > 1 for d, size in enumerate(p.shape)
    ]
    kinds = tuple(["k" if column else "r" for column in columns])
    sizes, strides, labels = merged_dims(p.shape, [p.strides, source_strides], kinds)
    rest = [d for d, column in enumerate(columns) if not column and p.shape[d] > 1]
    unit = math.gcd(*(p.strides[d] for d in rest), *(n.step for n in p.indices)) or 1
    arrivals = grouping.Arrivals(Layout(sizes, labels, strides), unit)
    if max(numel(made.shape) // unit, 1) << arrivals.bits >= grouping.LAST:
        raise RuntimeError(f"too many places ({numel(made.shape)}) and arrivals ({arrivals.count})")
    given = _Given(p, made.device)
    own = tuple([p.strides[d] // unit for d in rest])
    along = [tuple([n.strides[d] for d in rest]) for n in p.indices]
    sizes, strides, labels = _merged(tuple([p.shape[d] for d in rest]), [own, *along])
    index = made.device.index
    multiprocessors = driver.multiprocessors(index)
    launch = kernels.name(given.kinds, p.wraps, Layout(sizes, labels, strides), multiprocessors)
    words = memory.empty((arrivals.count,), dtypes.int64, made.device)
    _launch(launch, index, [memory.address(words), *given.pointers, *given.numbers(unit)])
    if arrivals.count > 1:
        _launch(grouping.sort_tiles(arrivals.count), index, [memory.address(words)])
    run = grouping.TILE
    while run < arrivals.count:
        merged = memory.empty(words.shape, words.dtype, made.device)
        launch = grouping.merge(arrivals.count, run, multiprocessors)
        _launch(launch, index, [memory.address(merged), memory.address(words)])
        words, run = merged, 2 * run
    return arrivals, words


# --- checking ---------------------------------------------------------------------------------------------------


def check(index: Value, size: int, besides: int, error: Callable[[int], Exception]) -> None:
    """Have a device look whether an index tensor's elements are below a size, or one number besides.

    error: makes the exception, which is raised where the host next waits.
    """
    a = index.ready()
    if not numel(a.shape):
        return
    if not a.contiguous:
        with driver.on(a.device.index):
            a = memory.wrap(driver.cupy().ascontiguousarray(a.native()), a.device)
    where = a.device.index
    launch = kernels.check(a.dtype.kind, driver.multiprocessors(where), numel(a.shape))
    _launch(launch, where, [memory.address(a), checks.word(where), size, checks.report(error), besides])
    _finish(where)
