"""Resampling: every result is a weighted sum of a few elements along one dimension.

Interpolation of all kinds and averages over windows of uneven size are this, one dimension after the other. The
gradient is the transposed map, which is of the same kind.
"""

from __future__ import annotations

import functools
import math
import struct
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.node import cast_value
from ..codegen.kernels import Kernel
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value, from_array
from ..llvm import service
from ..native import hot
from ..runtime import array as arrays
from ..runtime import pool
from . import dispatch
from .batch_rules import trailing
from .index import INDEX
from .operator import on_either
from .registry import ELEMENTWISE, operator

_KINDS = {dtypes.float32: "f32", dtypes.float64: "f64"}
SERIAL_WORK = 100_000


class Table:
    """Which elements make each result: `index` and `weight`, (taps, outputs), into `size` elements."""

    def __init__(self, size: int, index: Any, weight: Any):
        self.size = size
        self.index = np.ascontiguousarray(index, np.int64)
        self.weight = np.ascontiguousarray(weight, np.float64)
        self.single = self.weight.astype(np.float32)
        self._transposed: Table | None = None
        self._whole: tuple[Any, int] | None = None
        self._there: dict[Any, list[tuple[Value, Value]]] = {}

    def there(self, where: Any, dtype: dtypes.dtype) -> list[tuple[Value, Value]]:
        """For each tap the index and the weight as values on a device, copied once."""
        found = self._there.get((where, dtype))
        if found is None:
            found = self._there[where, dtype] = [
                (_copied(index, where), _copied(weight.astype(dtype.np), where))
                for index, weight in zip(self.index, self.weight)
            ]
        return found

    @property
    def transposed(self) -> Table:
        """The table of the gradient, made once (twice if two threads ask: a lock could be left locked by a fork)."""
        if self._transposed is None:
            self._transposed = self._transpose()
        return self._transposed

    @property
    def whole(self) -> tuple[Any, int]:
        """The weights as whole numbers of 16 bits, and how many of their bits stand behind the point.

        What images of bytes are resampled with: an element that several taps name, as beyond an edge, counts once,
        with the sum of their weights.
        """
        if self._whole is None:
            weight = self.weight.copy()
            for t in range(1, len(weight)):
                for earlier in range(t):
                    same = self.index[t] == self.index[earlier]
                    weight[earlier][same] += weight[t][same]
                    weight[t][same] = 0
            most, bits = weight.max(initial=0), 0
            while bits < 22 and int(0.5 + most * (1 << (bits + 1))) < 1 << 15:
                bits += 1
            weight *= 1 << bits
            self._whole = np.trunc(weight + np.copysign(0.5, weight)).astype(np.int32), bits
        return self._whole

    def _transpose(self) -> Table:
        taps, outputs = self.index.shape
        used = [[] for _ in range(self.size)]  # type: list[list]
        for t in range(taps):
            for o in range(outputs):
                if self.weight[t, o]:
                    used[self.index[t, o]].append((o, self.weight[t, o]))
        most = max([1, *map(len, used)])
        index, weight = np.zeros((most, self.size), np.int64), np.zeros((most, self.size))
        for i, pairs in enumerate(used):
            for t in range(most):
                # Places left over repeat a tap with weight zero.
                index[t, i], weight[t, i] = pairs[t] if t < len(pairs) else (pairs[0][0] if pairs else 0, 0.0)
        return Table(outputs, index, weight)


def _copied(a: Any, where: Any) -> Value:
    return from_array(arrays.moved(arrays.from_native(a), where))


_kernels: dict[tuple, Kernel] = {}


def _kernel(kind: str, last: bool) -> Kernel:
    key = (kind, last)
    if key not in _kernels:
        service.load("livegrad.codegen.resample")
        from ..codegen import resample as writer

        _kernels[key] = Kernel(lambda: ("resample", *key), lambda: writer.source(kind, last), "q", 1)
    return _kernels[key]


@hot
def _along(x: Value, table: Table, dim: int) -> Value:
    """A row-major float or integer value resampled along one dimension."""
    a = x.native()
    taps, outputs = table.index.shape
    shape = (*a.shape[:dim], outputs, *a.shape[dim + 1 :])
    made = arrays.empty(shape, x.dtype)
    rows, inner = math.prod(a.shape[:dim]), math.prod(a.shape[dim + 1 :])
    work = rows * outputs * inner * taps
    kind = _KINDS.get(x.dtype)
    if kind is not None and work:
        kernel = _kernel(kind, inner == 1)
        if kernel.available(work):
            weight = table.single if kind == "f32" else table.weight
            args = struct.pack(
                "=8q", a.ctypes.data, made.ptr, table.index.ctypes.data, weight.ctypes.data, a.shape[dim], outputs,
                inner, taps,
            )  # fmt: skip
            pool.launch(kernel.address, args, rows, max(1, SERIAL_WORK * rows // work))
            return from_array(made)
    spread = [1] * a.ndim
    spread[dim] = outputs
    if x.dtype is dtypes.uint8:
        weights, bits = table.whole
        whole = np.full(shape, 1 << bits >> 1, np.int32)
        for index, weight in zip(table.index, weights):
            whole += a.take(index, dim) * weight.reshape(spread)
        made.native()[...] = np.clip(whole >> bits, 0, 255)
        return from_array(made)
    total = np.zeros(shape)
    for index, weight in zip(table.index, table.weight):
        total += a.take(index, dim) * weight.reshape(spread)
    made.native()[...] = total if a.dtype.kind == "f" else np.rint(total)
    return from_array(made)


def _elsewhere(x: Value, table: Table, dim: int) -> Value:
    """The same on a device: a reading for each tap, and their sum."""
    lead = (slice(None),) * dim
    spread = tuple([-1 if d == dim else 1 for d in range(x.dim())])
    total: Any = None
    for index, weight in table.there(x.device, x.dtype):
        part: Any = INDEX.forward(x, index=(*lead, index)) * weight.reshape(spread)
        total = part if total is None else total + part
    return total


@hot
def _resample(x: Value, tables: tuple) -> Value:
    dtype = x.dtype
    if x.device is not cpu:
        x = cast_value(
            x, dtypes.float64 if dtype.category != dtypes.FLOATING or dtype.itemsize == 8 else dtypes.float32
        )
        for k, table in enumerate(reversed(tables)):
            x = _elsewhere(x, table, x.dim() - 1 - k)
            if dtype.category != dtypes.FLOATING:
                x = dispatch.value_call(ELEMENTWISE["_round"], (x,))
        return cast_value(x, dtype)
    if dtype.kind in ("f16", "bf16"):
        x = cast_value(x, dtypes.float32)
    if not x.ready().contiguous:
        x = backend.copied(x.native())
    for k, table in enumerate(reversed(tables)):
        x = _along(x, table, len(x.shape) - 1 - k)
    return cast_value(x, dtype)


def _resample_gradient(g: Any, tables: tuple) -> Any:
    return on_either(RESAMPLE, g, tables=tuple([t.transposed for t in tables]))


# tables: one for each of the last dimensions.
RESAMPLE = operator(
    "interpolate", _resample, tensors=("x",), grads={"x": _resample_gradient}, anywhere=True, batch=trailing
)
# As a pooling its node is freed by going backward, like those of other windows.
RESAMPLE_POOL = operator(
    "interpolate",
    _resample,
    tensors=("x",),
    grads={"x": _resample_gradient},
    holds=("tables",),
    anywhere=True,
    batch=trailing,
)


# --- tables -----------------------------------------------------------------------------------------------------


def bounds(size: int, out: int) -> list:
    """The windows (start, stop) of adaptive pooling."""
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


@functools.lru_cache(256)
def averages(size: int, out: int) -> Table:
    """Averages over the windows of adaptive pooling."""
    windows = bounds(size, out)
    most = max([1, *(stop - start for start, stop in windows)])
    index, weight = np.zeros((most, out), np.int64), np.zeros((most, out))
    for o, (start, stop) in enumerate(windows):
        index[:, o] = start
        index[: stop - start, o] = range(start, stop)
        weight[: stop - start, o] = 1 / (stop - start)
    return Table(size, index, weight)


def _step(size: int, out: int, scale: float | None, align: bool) -> float:
    """How far the source moves from one result to the next."""
    if align:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return 1 / scale if scale else size / out


@functools.lru_cache(256)
def nearest(size: int, out: int, scale: float | None, exact: bool) -> Table:
    """The element nearest to each result; `exact` measures from the middle of an element."""
    step = np.float32(_step(size, out, scale, False))
    places = (np.arange(out, dtype=np.float32) + np.float32(0.5 if exact else 0.0)) * step
    index = np.minimum(np.floor(places).astype(np.int64), size - 1)
    return Table(size, index[None], np.ones((1, out)))


@functools.lru_cache(256)
def linear(size: int, out: int, scale: float | None, align: bool) -> Table:
    """Between the two neighbours of each result."""
    step = _step(size, out, scale, align)
    places = np.arange(out) * step if align else np.maximum((np.arange(out) + 0.5) * step - 0.5, 0)
    low = np.minimum(places.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    part = np.minimum(places - low, 1.0)
    return Table(size, [low, high], [1 - part, part])


def _cubic(distance: Any, a: float = -0.75) -> Any:
    """The weight of an element at that distance, in cubic convolution."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = (((d - 5) * d + 8) * d - 4) * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


@functools.lru_cache(256)
def cubic(size: int, out: int, scale: float | None, align: bool) -> Table:
    """Cubic convolution of the four neighbours of each result; beyond an edge its element is repeated."""
    step = _step(size, out, scale, align)
    places = np.arange(out) * step if align else (np.arange(out) + 0.5) * step - 0.5
    low = np.floor(places).astype(np.int64)
    taps = [low + t for t in (-1, 0, 1, 2)]
    return Table(size, [np.clip(t, 0, size - 1) for t in taps], [_cubic(places - t) for t in taps])


@functools.lru_cache(256)
def smooth(size: int, out: int, scale: float | None, align: bool, kind: str) -> Table:
    """Linear or cubic, with a filter as wide as the step where the result is smaller: without aliasing."""
    step = _step(size, out, scale, align)
    stretch = max(step, 1.0)
    support = (1.0 if kind == "linear" else 2.0) * stretch
    rows = []
    for o in range(out):
        centre = step * (o + 0.5)
        start, stop = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), size)
        places = np.arange(start, stop)
        distance = (places - centre + 0.5) / stretch
        w = np.maximum(1 - np.abs(distance), 0) if kind == "linear" else _cubic(distance, -0.5)
        rows.append((places, w / w.sum()))
    most = max(len(p) for p, _ in rows)
    index, weight = np.zeros((most, out), np.int64), np.zeros((most, out))
    for o, (places, w) in enumerate(rows):
        index[:, o] = places[0]
        index[: len(places), o], weight[: len(w), o] = places, w
    return Table(size, index, weight)
