"""Memory by its address: what lies there, writing there, NumPy's arrays on it, and where their elements are."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import numpy as np

from ..native import hot


@hot
def peek(address: int, nbytes: int) -> bytes:
    """What lies in memory now (`native` writes this out)."""
    return ctypes.string_at(address, nbytes)


def poke(address: int, data: bytes) -> None:
    """Write into memory (`native` writes this out)."""
    ctypes.memmove(address, data, len(data))


class _View(ctypes.c_char * ((1 << (8 * ctypes.sizeof(ctypes.c_void_p) - 16)) - 1)):
    """The buffer that NumPy sees: all memory from an address on, of which it owns none, and what keeps it."""

    __slots__ = ("keeper",)


def array_at(address: int, dtype: np.dtype, shape: tuple, byte_strides: tuple | None, keeper: Any) -> np.ndarray:
    """An array on memory that `keeper` keeps for as long as there is the array or any view of it.

    `native` writes this out, by the way of NumPy's C interface, which takes a fraction of the time. The caller answers
    for shape and strides (row-major where there are none) being inside that memory.
    """
    view = _View.from_address(address)
    view.keeper = keeper
    return np.ndarray(shape, dtype, view, 0, byte_strides)


# An array of NumPy's is an object of C: what every object begins with, then where the first element is.
_HEAD = object.__basicsize__
_WORD = struct.Struct("=Q").unpack
_samples = (np.zeros(3)[1:], np.frombuffer(bytes(9), np.uint8, 8, 1))
IN_HEAD = all(_WORD(peek(id(a) + _HEAD, 8))[0] == a.__array_interface__["data"][0] for a in _samples)


@hot
def address(array: np.ndarray) -> int:
    """Where the first element of an array of the CPU is."""
    if IN_HEAD:  # several times faster than any way that NumPy offers
        return _WORD(peek(id(array) + _HEAD, 8))[0]
    return array.__array_interface__["data"][0]
