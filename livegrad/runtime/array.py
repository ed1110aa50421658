"""Array: concrete strided memory on a device."""

from __future__ import annotations

import functools
import struct
from typing import Any

import numpy as np

from .. import dtypes
from ..devices import cpu, device
from ..native import hot, slotted
from . import memory, moves, pool
from .raw import array_at, peek, poke
from .refusal import out_of_memory_for


@hot
def contiguous_strides(shape: tuple) -> tuple:
    """Row-major strides, in elements."""
    rank = len(shape)
    if rank == 1:
        return _ONE
    if rank == 2:
        n = shape[1]
        return (n if n > 1 else 1, 1)
    return _strides_of_many(shape) if rank else ()


_ONE = (1,)


@functools.lru_cache(4096)
def _strides_of_many(shape: tuple) -> tuple:
    strides = [1]
    for n in shape[:0:-1]:
        strides.append(strides[-1] * (n if n > 1 else 1))
    return tuple(strides[::-1])


@hot
def is_contiguous(shape: tuple, strides: tuple) -> bool:
    """Whether elements lie in row-major order without gaps (strides of size-1 dimensions do not count)."""
    expected = 1
    for n, s in zip(shape[::-1], strides[::-1]):
        if n == 0:
            return True
        if n != 1:
            if s != expected:
                return False
            expected *= n
    return True


@hot
def overlapping(shape: tuple, strides: tuple) -> bool:
    """Whether a window shows some element of memory more than once, as `expand` and `unfold` make them.

    Of strides that interlock in an unusual way, as those of (2, 3) elements 3 and 2 apart, it is said as well.
    """
    reach = 0  # how far the dimensions seen so far go
    for stride, n in sorted([(s, n) for n, s in zip(shape, strides) if n > 1]):
        if stride <= reach:
            return 0 not in shape
        reach += stride * (n - 1)
    return False


@hot
def numel(shape: tuple) -> int:
    n = 1
    for s in shape:
        n *= s
    return n


@hot
def view_strides(shape: tuple, strides: tuple, new: tuple) -> tuple | None:
    """Strides that walk the same elements in the same order in another shape of as many, or None if there are none."""
    if strides == contiguous_strides(shape):
        return contiguous_strides(new)
    if numel(shape) == 0:
        return strides if shape == new else contiguous_strides(new)
    if not shape:
        return (1,) * len(new)
    # From the last dimension on, collect runs of dimensions that are contiguous among themselves, and give each run to
    # the new dimensions that have as many elements. Strides of single elements come out as PyTorch's.
    out = [0] * len(new)
    k = len(new) - 1
    step = strides[-1]
    run = filled = 1
    for d in range(len(shape) - 1, -1, -1):
        run *= shape[d]
        if d and (shape[d - 1] == 1 or strides[d - 1] == run * step):
            continue
        while k >= 0 and (filled < run or new[k] == 1):
            out[k] = filled * step
            filled *= new[k]
            k -= 1
        if filled != run:
            return None
        if d:
            step = strides[d - 1]
            run = filled = 1
    return tuple(out) if k < 0 else None


# So many elements are read and written one by one; from there on NumPy is faster. By dtype, what unpacks and packs
# 0 (one, without dimensions) to SMALL elements.
SMALL = 16
_LETTERS = {dtypes.float32: "f", dtypes.float64: "d", dtypes.int64: "q", dtypes.int32: "i", dtypes.bool_: "?"}
_STRUCTS = {d: [struct.Struct(f"={n or 1}{c}") for n in range(SMALL + 1)] for d, c in _LETTERS.items()}
_UNPACK = {d: [s.unpack for s in made] for d, made in _STRUCTS.items()}
_PACK = {d: [s.pack for s in made] for d, made in _STRUCTS.items()}
# Of the parts of one complex number.
_PACK_PARTS = {dtypes.complex64: struct.Struct("=ff").pack, dtypes.complex128: struct.Struct("=dd").pack}


@hot
def row_of(values: list, dtype: dtypes.dtype) -> Array | None:
    """A one-dimensional array of a few numbers, or None where this cannot make it.

    Raises what `struct` raises where a number is out of range.
    """
    pack = _PACK.get(dtype)
    n = len(values)
    if pack is None or n > SMALL or n == 0:
        return None
    made = empty((n,), dtype)
    pool.write(made.ptr, pack[n](*values))
    return made


def _elsewhere(where: device) -> Any:
    """Arrays on another device; the module stands above this one, and is there when there is one of them."""
    if where.type == "meta":
        from . import meta

        return meta
    from .cuda import memory as cuda_memory

    return cuda_memory


# So many bytes are filled and copied without NumPy, whose arrays cost more than that.
FEW_BYTES = 4096


@hot
def fill(a: Array, value: Any) -> None:
    """One number everywhere, in row-major memory of the CPU."""
    pack = _PACK.get(a.dtype)
    pack_parts = _PACK_PARTS.get(a.dtype)
    one = None
    if pack is not None or pack_parts is not None:
        try:
            one = pack[0](value) if pack is not None else pack_parts(value.real, value.imag)  # type: ignore[misc]
        except (OverflowError, struct.error):
            one = None
    if one is None:
        _fill_converted(a, value)
        return
    n = numel(a.shape)
    nbytes = n * a.dtype.itemsize
    if nbytes <= FEW_BYTES:
        pool.write(a.ptr, one * n)
    elif nbytes < moves.LARGE or not moves.fill(a.ptr, one, nbytes):
        a.native().fill(value)


def _fill_converted(a: Array, value: Any) -> None:
    """By NumPy, which converts the number, or refuses."""
    with np.errstate(all="ignore"):
        a.native()[...] = value


@hot
def copied(a: Array) -> Array:
    """A row-major copy, on the same device."""
    if a.device is not cpu:
        return _elsewhere(a.device).copied(a)
    made = empty(a.shape, a.dtype)
    if a.contiguous:
        nbytes = numel(a.shape) * a.dtype.itemsize
        if nbytes <= FEW_BYTES:
            pool.finish()
            poke(made.ptr, peek(a.ptr, nbytes))
            return made
        if nbytes >= moves.LARGE and moves.copy(made.ptr, a.ptr, nbytes):
            if a.block.outside:
                pool.finish()
            return made
    moves.assign(made.native(), a.native())
    return made


@hot
def copy_of(a: np.ndarray, dtype: dtypes.dtype) -> Array:
    """A row-major copy of a NumPy array on the CPU, as numbers of a dtype."""
    made = empty(a.shape, dtype)
    if a.nbytes <= FEW_BYTES and a.dtype == dtype.np:
        pool.write(made.ptr, a.tobytes())
    else:
        moves.assign(made.native(), a)
    return made


@slotted
class Array:
    """A typed, strided window onto a block of memory. Strides and offset are in elements."""

    __slots__ = ("block", "offset", "shape", "strides", "dtype", "contiguous", "ptr", "device", "_native")

    @hot
    def __init__(self, block: Any, offset: int, shape: tuple, strides: tuple, dtype: dtypes.dtype, contiguous: bool):
        self.block = block
        self.offset = offset
        self.shape = shape
        self.strides = strides
        self.dtype = dtype
        self.contiguous = contiguous
        self.ptr = block.ptr + offset * dtype.itemsize
        self.device = cpu
        self._native = None

    @hot
    def native(self) -> np.ndarray:
        """The same memory as the backend's own array (NumPy on the CPU)."""
        pool.wait()
        made = self._native
        if made is None:
            if self.device is not cpu:
                return _elsewhere(self.device).native(self)  # each time, as whoever asks is about to use it
            self._native = made = self._over_memory()
        return made

    @hot
    def own_native(self) -> np.ndarray:
        """The same as an object that nobody else has, of memory on the CPU."""
        pool.wait()
        made = self._native
        return self._over_memory() if made is None else made.view()

    @hot
    def _over_memory(self) -> np.ndarray:
        if self.contiguous:
            return array_at(self.ptr, self.dtype.np, self.shape, None, self.block)
        size = self.dtype.itemsize
        return array_at(self.ptr, self.dtype.np, self.shape, tuple([s * size for s in self.strides]), self.block)

    @hot
    def number(self, offset: int) -> Any:
        """The element at an offset from the array's own, as a Python number."""
        if self.device is not cpu:
            return on_host(self.view(self.offset + offset, (), ()), "item()").native().item()
        unpack = _UNPACK.get(self.dtype)
        if unpack is None:
            return self.view(self.offset + offset, (), ()).native().item()
        size = self.dtype.itemsize
        pool.wait()
        return unpack[0](peek(self.ptr + offset * size, size))[0]

    @hot
    def numbers(self) -> Any:
        """The elements as nested lists of Python numbers; a number where there are no dimensions."""
        if self.device is not cpu:
            return on_host(self, "reading numbers").native().tolist()
        shape = self.shape
        few = self.few() if len(shape) < 3 else None
        if few is None:
            return self.native().tolist()
        if not shape:
            return few[0]
        flat = list(few)
        if len(shape) == 1:
            return flat
        columns = shape[1]
        return [flat[i * columns : (i + 1) * columns] for i in range(shape[0])]

    @hot
    def few(self) -> tuple | None:
        """The elements of row-major memory of the CPU, if they are few, as Python numbers in one row; else None."""
        unpack = _UNPACK.get(self.dtype)
        if unpack is None or not self.contiguous or self.device is not cpu:
            return None
        n = numel(self.shape)
        if n > SMALL or n == 0:
            return None
        pool.wait()
        return unpack[n](peek(self.ptr, n * self.dtype.itemsize))

    @hot
    def view(self, offset: int, shape: tuple, strides: tuple) -> Array:
        if self.device is not cpu:
            return _elsewhere(self.device).view(self, offset, shape, strides)
        return Array(self.block, offset, shape, strides, self.dtype, is_contiguous(shape, strides))


@hot
def reread(a: Array, dtype: dtypes.dtype, offset: int, shape: tuple, strides: tuple) -> Array:
    """A window onto an array's memory that reads it as another dtype; offset and strides in elements of that one."""
    if a.device is not cpu:
        return _elsewhere(a.device).view(a, offset, shape, strides, dtype)
    return Array(a.block, offset, shape, strides, dtype, is_contiguous(shape, strides))


@hot
def empty(shape: tuple, dtype: dtypes.dtype) -> Array:
    """Uninitialised row-major memory."""
    n = dtype.itemsize
    for s in shape:
        n *= s
    try:
        block = memory.allocate(n)
    except MemoryError as refused:
        raise out_of_memory_for(refused, shape, dtype)  # noqa: B904  (hot functions know no `from`)
    return Array(block, 0, shape, contiguous_strides(shape), dtype, True)


@hot
def from_native(a: np.ndarray) -> Array:
    """Wrap a NumPy array without copying. Its strides must be whole multiples of the item size."""
    dt = dtypes.from_numpy_dtype(a.dtype)
    size = dt.itemsize
    strides = tuple([s // size for s in a.strides])
    block = memory.wrap(a)
    offset = 0
    for s in strides:
        if s < 0 and a.size:  # the first element is not the one at the lowest address
            offset = (a.__array_interface__["data"][0] - block.ptr) // size
            break
    made = Array(block, offset, a.shape, strides, dt, is_contiguous(a.shape, strides))
    made._native = a
    return made


@hot
def empty_on(where: device, shape: tuple, dtype: dtypes.dtype) -> Array:
    """Uninitialised row-major memory on a device."""
    return empty(shape, dtype) if where is cpu else _elsewhere(where).empty(shape, dtype, where)


@hot
def full_on(where: device, shape: tuple, dtype: dtypes.dtype, value: Any) -> Array:
    """Row-major memory on a device with one number everywhere."""
    if where is not cpu:
        return _elsewhere(where).full(shape, dtype, where, value)
    made = empty(shape, dtype)
    fill(made, value)
    return made


@hot
def on_host(a: Array, why: str) -> Array:
    """An array on the CPU with that content: the same one if it is there already."""
    return a if a.device is cpu else _elsewhere(a.device).to_host(a, why)


def moved(a: Array, where: device, non_blocking: bool = False) -> Array:
    """A copy on another device. non_blocking: do not wait for a copy from pinned memory, or to the CPU."""
    if where is cpu:
        return a if a.device is cpu else _elsewhere(a.device).to_host(a, "to", non_blocking)
    meta = a.device if a.device.type == "meta" else where
    return _elsewhere(meta).to_device(a, where, non_blocking)
