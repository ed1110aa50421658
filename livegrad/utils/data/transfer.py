"""Objects with much memory in them, sent to another process through a connection of `multiprocessing`.

An object is pickled, and memory of tensors and arrays that is too large for the connection's buffer goes into a file
that has no name. The other side is handed the open file and maps it, so nothing is copied there; each side may end at
any moment and nothing is left behind. The mapping is private: what the receiver writes is its own.

Where files cannot be handed over, everything goes through the connection.
"""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import pickle
import struct
import tempfile
from multiprocessing import reduction
from typing import Any

import numpy as np

from livegrad import dtypes
from livegrad.lazy.value import from_array
from livegrad.runtime import array as arrays
from livegrad.tensor import Tensor, from_native, wrap

__all__ = ["receive", "send"]

_ALIGN = 64
_HANDS_OVER = os.name == "posix" and reduction.HAVE_SEND_HANDLE


def send(connection: Any, obj: Any, limit: int, pid: int | None = None) -> None:
    """Send an object. What goes through the connection itself is at most about `limit` bytes long."""
    sending = _Sending(limit)
    body = sending.pickled(obj)
    if not sending.apart and (len(body) <= limit or not _HANDS_OVER):
        connection.send_bytes(b"\0" + body)
        return
    pieces = [memoryview(body), *sending.apart]
    lengths = [piece.nbytes for piece in pieces]
    file = _nameless_file(pieces)
    try:
        connection.send_bytes(b"\1" + struct.pack(f"={len(lengths)}Q", *lengths))
        reduction.send_handle(connection, file, pid)
    finally:
        os.close(file)


def receive(connection: Any) -> Any:
    """The object that was sent. Raises EOFError or OSError where the other side is gone."""
    message = connection.recv_bytes()
    if message[0] == 0:
        return pickle.loads(memoryview(message)[1:])
    lengths = struct.unpack_from(f"={len(message) // 8}Q", message, 1)
    places, end = [], 0
    for length in lengths:
        places.append((end, end + length))
        end += -(-length // _ALIGN) * _ALIGN
    file = reduction.recv_handle(connection)
    try:
        mapping: Any = np.asarray(_Mapping(file, end))
    finally:
        os.close(file)
    body, *apart = [mapping[begin:stop] for begin, stop in places]
    return pickle.loads(body, buffers=apart)


# Sending


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is Tensor and obj.is_leaf and obj.device.type == "cpu" and not obj.__dict__:
            data: Any = np.ascontiguousarray(obj._to_numpy()).reshape(-1).view(np.uint8)
            return _tensor, (pickle.PickleBuffer(data), obj.dtype.name, tuple(obj.shape), obj.requires_grad)
        return NotImplemented


class _Sending:
    """Pickles one object; `apart` is the memory that does not go into the pickle."""

    def __init__(self, limit: int) -> None:
        self.room = limit
        self.apart: list[memoryview] = []

    def pickled(self, obj: Any) -> bytes:
        out = io.BytesIO()
        _Pickler(out, 5, buffer_callback=self.goes_along if _HANDS_OVER else None).dump(obj)
        return out.getvalue()

    def goes_along(self, buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes <= self.room:
            self.room -= raw.nbytes
            return True
        self.apart.append(raw)
        return False


def _nameless_file(pieces: list[memoryview]) -> int:
    """A file with these pieces of memory, each of which begins at a multiple of `_ALIGN`."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("livegrad", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as named:
            file = os.dup(named.fileno())
    try:
        for piece in pieces:
            padding = memoryview(bytes(-piece.nbytes % _ALIGN))
            for part in (piece, padding):
                while part:
                    part = part[os.write(file, part) :]
    except BaseException:
        os.close(file)
        raise
    return file


# Receiving


class _Mapping:
    """The memory of a file, for as long as somebody refers to it. (Python's own `mmap` would keep the file open.)"""

    def __init__(self, file: int, length: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        map_, self.unmap = libc.mmap, libc.munmap
        map_.restype = ctypes.c_void_p
        map_.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        self.unmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        self.length = 0
        address = map_(None, length, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, file, 0)
        if address == ctypes.c_void_p(-1).value:
            error = ctypes.get_errno()
            raise OSError(error, f"cannot map {length} bytes that another process sent: {os.strerror(error)}")
        self.address, self.length = address, length
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (length,), "data": (address, False)}

    def __del__(self) -> None:
        if self.length:
            self.unmap(self.address, self.length)


def _tensor(data: Any, dtype: str, shape: tuple, requires_grad: bool) -> Tensor:
    found = dtypes.BY_NAME[dtype]
    array = np.frombuffer(data, found.np).reshape(shape)
    if isinstance(data, np.ndarray):
        made = from_native(array)  # mapped for this tensor alone
    else:
        fresh = arrays.empty(shape, found)
        fresh.native()[...] = array
        made = wrap(from_array(fresh))
    if requires_grad:
        made.requires_grad_()
    return made
