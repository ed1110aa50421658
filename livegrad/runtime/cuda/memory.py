"""Arrays on CUDA devices: made, viewed, and copied between devices. Memory comes from CuPy's pool."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import devices, dtypes
from ..array import Array, contiguous_strides, from_native, is_contiguous
from . import driver, ledger


class Block:
    """Memory of a device: what `runtime.memory.Block` is for the CPU. owner keeps it alive."""

    __slots__ = ("nbytes", "owner", "ptr")

    def __init__(self, ptr: int, nbytes: int, owner: Any):
        self.ptr, self.nbytes, self.owner = ptr, nbytes, owner


def wrap(native: Any, device: devices.device) -> Array:
    """A fresh row-major array of the library as ours."""
    d = dtypes.from_numpy_dtype(native.dtype)
    shape = tuple(native.shape)
    made = Array(Block(native.data.ptr, native.nbytes, native), 0, shape, contiguous_strides(shape), d, True)
    return _on(made, device, native)


def _on(made: Array, device: devices.device, native: Any) -> Array:
    """An array that lies on a device. It has no `ptr`: a kernel of the CPU that reads it is an error, not a crash."""
    made.device = device
    made._native = native
    del made.ptr
    return made


def empty(shape: tuple, dtype: dtypes.dtype, device: devices.device) -> Array:
    """Uninitialised row-major memory on a device."""
    xp = driver.cupy()
    with xp.cuda.Device(device.index):
        made = wrap(xp.empty(shape, dtype.np), device)
        _peaks[device.index] = max(_peaks.get(device.index, 0), xp.get_default_memory_pool().used_bytes())
    return made


def view(a: Array, offset: int, shape: tuple, strides: tuple) -> Array:
    """Another window onto an array's memory; offset and strides in elements."""
    xp = driver.cupy()
    size = a.dtype.itemsize
    made = Array(a.block, offset, shape, strides, a.dtype, is_contiguous(shape, strides))
    memory = a.block.owner.data + offset * size
    return _on(made, a.device, xp.ndarray(shape, a.dtype.np, memptr=memory, strides=tuple(s * size for s in strides)))


def to_host(a: Array, why: str) -> Array:
    """A copy on the CPU; this waits for the device."""
    ledger.note("device to host", a.block.nbytes, why)
    return from_native(np.asarray(a.native().get(), order="C"))


def to_device(a: Array, device: devices.device) -> Array:
    """A row-major copy on a CUDA device, of an array on the CPU or on another one."""
    xp = driver.cupy()
    made = empty(a.shape, a.dtype, device)
    with xp.cuda.Device(device.index):
        if a.device is devices.cpu:
            ledger.note("host to device", made.block.nbytes, "to")
            made.native().set(np.asarray(a.native(), order="C"))
        else:
            ledger.note("device to device", made.block.nbytes, "to")
            made.native()[...] = xp.asarray(a.native())
    return made


# --- figures, in bytes ------------------------------------------------------------------------------------------

_peaks: dict[int | None, int] = {}


def _pool(index: int, figure: str) -> int:
    xp = driver.cupy()
    with xp.cuda.Device(index):
        return int(getattr(xp.get_default_memory_pool(), figure)())


def used(index: int) -> int:
    """What arrays use on a device."""
    return _pool(index, "used_bytes")


def reserved(index: int) -> int:
    """What CuPy's pool holds of a device."""
    return _pool(index, "total_bytes")


def peak(index: int) -> int:
    """The most that arrays used, as far as it was seen when one was made."""
    return max(_peaks.get(index, 0), used(index))


def reset_peak(index: int) -> None:
    """Begin the peak anew."""
    _peaks[index] = used(index)


def empty_cache() -> None:
    """Give unused memory of all devices back."""
    xp = driver.cupy()
    for index in range(driver.count()):
        with xp.cuda.Device(index):
            xp.get_default_memory_pool().free_all_blocks()
