"""Arrays on CUDA devices: made, viewed, and copied between devices. Memory comes from CuPy's pool."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np

from ... import devices, dtypes
from ...backends import cuda as settings
from ...site import MODULES, user_frame
from ..array import Array, contiguous_strides, from_native, is_contiguous, numel
from ..refusal import no_copy, out_of_memory
from . import checks, driver, ledger, pinned, spare

LARGE = 1 << 16  # bytes of a block from which on it is known who asked for it

# Bytes of live blocks, by device, and the most that there were; blocks made since the counts began, and given back.
_held: dict[int, int] = {}
_peaks: dict[int, int] = {}
_made: dict[int, int] = {}
_freed: dict[int, int] = {}


class Block:
    """Memory of a device: what `runtime.memory.Block` is for the CPU.

    memory: CuPy's pointer to its beginning, which keeps it alive. For `livegrad.memory`: device, owner, and, where it
    is large, the user's line that asked for it (code, lasti) and the path of the `nn.Module` that was running.
    home: where the memory goes when it is given back, if not to CuPy.
    """

    device = "cuda"
    owner = None
    __slots__ = ("nbytes", "memory", "ptr", "index", "code", "lasti", "module", "home")
    __reduce_ex__ = no_copy

    def __init__(self, memory: Any, nbytes: int, index: int, home: spare.Home | None = None):
        self.home = home
        self.memory, self.nbytes, self.ptr, self.index = memory, nbytes, memory.ptr, index
        held = _held[index] = _held.get(index, 0) + nbytes
        if held > _peaks.get(index, 0):
            _peaks[index] = held
        _made[index] = _made.get(index, 0) + 1
        frame = user_frame(2) if nbytes > LARGE else None
        self.code, self.lasti = (None, 0) if frame is None else (frame.f_code, frame.f_lasti)
        self.module = MODULES.path() if nbytes > LARGE and MODULES.running else None

    def __del__(self, held: dict = _held, freed: dict = _freed, give: Any = spare.give) -> None:
        index = self.index
        held[index] -= self.nbytes
        freed[index] = freed.get(index, 0) + 1
        if self.home is not None:
            give(self.home, self.ptr, self.memory)


def wrap(native: Any, device: devices.device) -> Array:
    """A fresh row-major array of the library as ours."""
    d = dtypes.from_numpy_dtype(native.dtype)
    shape = tuple(native.shape)
    made = Array(Block(native.data, native.nbytes, device.index), 0, shape, contiguous_strides(shape), d, True)
    return _on(made, device)


def _on(made: Array, device: devices.device) -> Array:
    """An array that lies on a device. It has no `ptr`: a kernel of the CPU that reads it is an error, not a crash."""
    made.device = device
    del made.ptr
    return made


def _alloc(index: int, nbytes: int) -> Any:
    xp = driver.quiet()
    with xp.cuda.Device(index):
        return xp.cuda.alloc(nbytes)


def empty(shape: tuple, dtype: dtypes.dtype, device: devices.device) -> Array:
    """Uninitialised row-major memory on a device. Raises OutOfMemoryError where there is none."""
    nbytes = numel(shape) * dtype.itemsize
    index = device.index
    xp = driver.quiet()
    held, home, size = driver.HELD, None, nbytes
    if settings.graphs and nbytes <= spare.LARGEST:
        home = spare.home(index, xp.cuda.get_current_stream(index).ptr, nbytes)
        size = home[2]
        memory = spare.take(home)
        if memory is not None:
            return _over(Block(memory, nbytes, index, home), shape, dtype, device)
    if held.entries:
        held.allocating = threading.get_ident()
    try:
        memory = xp.cuda.alloc(size) if xp.cuda.runtime.getDevice() == index else _alloc(index, size)
    except MemoryError:
        driver.cupy()
        spare.clear()
        gc.collect()  # what is only kept by cycles goes back to CuPy's pool
        try:
            memory = _alloc(index, size)
        except MemoryError as error:
            raise out_of_memory(nbytes, str(error), used(index), shape, dtype, "cuda") from None
    finally:
        held.allocating = 0
    return _over(Block(memory, nbytes, index, home), shape, dtype, device)


def _over(block: Block, shape: tuple, dtype: dtypes.dtype, device: devices.device) -> Array:
    return _on(Array(block, 0, shape, contiguous_strides(shape), dtype, True), device)


def again(old: Array, shape: tuple, dtype: dtypes.dtype) -> Array:
    """The memory of a row-major array of as many bytes, for another one."""
    return _on(Array(old.block, old.offset, shape, contiguous_strides(shape), dtype, True), old.device)


def address(a: Array) -> int:
    """Where an array begins in its device's memory."""
    return a.block.ptr + a.offset * a.dtype.itemsize


def native(a: Array) -> Any:
    """The same memory as an array of CuPy's."""
    size = a.dtype.itemsize
    strides = tuple([s * size for s in a.strides])
    made = driver.cupy().ndarray(a.shape, a.dtype.np, memptr=a.block.memory + a.offset * size, strides=strides)
    return made.view()  # which does not call the memory its own, so that nobody takes it for a fresh array


def full(shape: tuple, dtype: dtypes.dtype, device: devices.device, value: Any) -> Array:
    """Row-major memory on a device with one number everywhere."""
    made = empty(shape, dtype, device)
    with driver.on(device.index or 0):
        made.native().fill(value)
    return made


def copied(a: Array) -> Array:
    """A row-major copy on the same device."""
    made = empty(a.shape, a.dtype, a.device)
    with driver.on(a.device.index or 0):
        made.native()[...] = a.native()
    return made


def view(a: Array, offset: int, shape: tuple, strides: tuple, dtype: dtypes.dtype | None = None) -> Array:
    """Another window onto an array's memory, of another dtype if given; offset and strides in elements."""
    return _on(Array(a.block, offset, shape, strides, dtype or a.dtype, is_contiguous(shape, strides)), a.device)


def to_host(a: Array, why: str, non_blocking: bool = False) -> Array:
    """A copy on the CPU; this waits for the device, and raises what was found wrong there (see `checks`).

    non_blocking: it does not, and the copy lies in pinned memory: whoever reads it has to wait first.
    """
    nbytes = numel(a.shape) * a.dtype.itemsize
    if not non_blocking or not nbytes:
        ledger.note("device to host", nbytes, why)
        made = from_native(np.asarray(a.native().get(), order="C"))
        checks.look()
        return made
    ledger.note("device to host", nbytes, why, waits=False)
    xp = driver.cupy()
    with driver.on(a.device.index or 0):
        if not a.contiguous:
            a = wrap(xp.array(a.native(), order="C", copy=True), a.device)
        made = pinned.empty(a.shape, a.dtype)
        pinned.copy_to(made, a, address(a), nbytes)
    return made


def to_device(a: Array, device: devices.device, non_blocking: bool = False) -> Array:
    """A row-major copy on a CUDA device, of an array on the CPU or on another one.

    non_blocking: from pinned memory, do not wait for it; from other memory of the CPU it makes no difference.
    """
    xp = driver.cupy()
    made = empty(a.shape, a.dtype, device)
    with xp.cuda.Device(device.index):
        if non_blocking and a.device is devices.cpu and a.contiguous and made.block.nbytes and pinned.is_pinned(a):
            ledger.note("host to device", made.block.nbytes, "to", waits=False)
            pinned.copy_from(a, address(made), made.block.nbytes)
        elif a.device is devices.cpu:
            ledger.note("host to device", made.block.nbytes, "to")
            made.native().set(np.asarray(a.native(), order="C"))
            if pinned.is_pinned(a):  # CuPy does not wait for these: the device may still be reading
                xp.cuda.get_current_stream().synchronize()
        else:
            ledger.note("device to device", made.block.nbytes, "to")
            made.native()[...] = xp.asarray(a.native())
    return made


# --- figures, in bytes ------------------------------------------------------------------------------------------


def used(index: int) -> int:
    """What tensors use on a device."""
    return _held.get(index, 0)


def reserved(index: int) -> int:
    """What CuPy's pool holds of a device."""
    xp = driver.cupy()
    with xp.cuda.Device(index):
        return int(xp.get_default_memory_pool().total_bytes())


def peak(index: int) -> int:
    """The most that tensors used."""
    return _peaks.get(index, 0)


def reset_peak(index: int) -> None:
    """Begin the peak anew."""
    _peaks[index] = used(index)


def stats(index: int) -> dict[str, int]:
    """Figures by PyTorch's names."""
    made, freed = _made.get(index, 0), _freed.get(index, 0)
    return {
        "allocated_bytes.all.current": used(index),
        "allocated_bytes.all.peak": peak(index),
        "reserved_bytes.all.current": reserved(index),
        "allocation.all.allocated": made,
        "allocation.all.freed": freed,
        "allocation.all.current": made - freed,
    }


def reset_counts(index: int) -> None:
    """Count allocations anew: those that are alive are the first ones."""
    _made[index] = _made.get(index, 0) - _freed.get(index, 0)
    _freed[index] = 0


def empty_cache() -> None:
    """Give unused memory of all devices back."""
    xp = driver.cupy()
    spare.clear()
    for index in range(driver.count()):
        with xp.cuda.Device(index):
            xp.get_default_memory_pool().free_all_blocks()
