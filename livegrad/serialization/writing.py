"""Saving."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from .encoding import Encoder, compact
from .layout import FORMAT, FORMAT_VERSION, MAX_HEADER, bytes_of, header_checksum
from .objects import CODES
from .pickling import pickled
from .replacing import replacing
from .zipping import write_archive

__all__ = ["save"]


def save(
    obj: Any, f: str | os.PathLike | BinaryIO, pickle_module: Any = None, pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True, *, format: str | None = None,
) -> None:  # fmt: skip
    """Write an object to a file, which PyTorch's ``torch.load`` reads as well as :func:`load`.

    Args:
        obj: tensors, parameters, dtypes, devices, sizes, NumPy arrays, numbers, strings, bytes, None, and dicts,
            OrderedDicts, lists, tuples and sets of these, such as the ``state_dict()`` of a module or an optimizer.
            A tensor or container that appears in several places is one object again after loading, and tensors that
            see each other's changes do so again. Whole modules too, and any other object that Python can pickle:
            :func:`load` makes them again for ``weights_only=False``.
        f: the file's name, or a binary file object such as ``io.BytesIO()``.
        pickle_module, pickle_protocol: accepted for PyTorch's sake.
        format: ``"torch"``, PyTorch's zip archive; or ``"safetensors"``, whose tensors any reader of safetensors files
            reads, for objects without classes of their own. If it is not given, a file whose name ends with
            ``.safetensors`` is of the second kind, every other one of the first.

    A view is saved with all of the memory that it sees a part of, as in PyTorch; save its ``clone()`` for less.

    A named file is written under another name and takes the place of the old one only when it is complete and on the
    disk: when saving fails or is interrupted, the old file is still there, whole.

    Raises what Python's pickle raises for an object that it cannot name; for safetensors TypeError for an object of a
    class of its own, naming where in ``obj`` it is; ValueError for another format.

    >>> import io, livegrad
    >>> file = io.BytesIO()
    >>> livegrad.save({"step": 3, "weight": livegrad.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> livegrad.load(file)
    {'step': 3, 'weight': tensor([1., 1.])}
    """
    if isinstance(f, (str, bytes, os.PathLike)):
        target = os.fsdecode(f)
    elif callable(getattr(f, "write", None)):
        target = None
        if isinstance(f, io.TextIOBase):
            raise TypeError('save() needs a file opened for bytes, but this one is opened for text; open it with "wb"')
    else:
        raise TypeError(f"save() needs a file name or a binary file object, not {type(f).__name__}")

    if format is None:
        format = "safetensors" if target is not None and target.endswith(".safetensors") else "torch"
    if format not in ("torch", "safetensors"):
        raise ValueError(f"save(): the format is 'torch' or 'safetensors', not {format!r}")
    write = _as_torch(obj) if format == "torch" else _as_safetensors(obj)
    if target is None:
        write(f)  # type: ignore[arg-type]
    else:
        with replacing(target) as out:
            write(out)


def _as_torch(obj: Any) -> Callable[[BinaryIO], None]:
    pickle, storages = pickled(obj)
    return lambda out: write_archive(out, pickle, storages)


def _as_safetensors(obj: Any) -> Callable[[BinaryIO], None]:
    encoder = Encoder()
    structure = encoder.encode(obj)
    # Widest elements first, so that every tensor starts at a multiple of its element size.
    arrays = {
        name: _little_endian(array)
        for name, array in sorted(encoder.arrays.items(), key=lambda item: -item[1].dtype.itemsize)
    }
    header = _header(structure, arrays)
    return lambda out: _write(out, header, arrays)


def _little_endian(array: np.ndarray) -> np.ndarray:
    # ml_dtypes have no byte order of their own; nothing to swap on the machines there are.
    if array.dtype.byteorder == ">" or (sys.byteorder == "big" and array.dtype.byteorder == "="):
        array = array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(array).reshape(array.shape)


def _header(structure: Any, arrays: dict[str, np.ndarray]) -> bytes:
    table, position = {}, 0
    for name, array in arrays.items():
        code = CODES[array.dtype.newbyteorder("=")]
        table[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [position, position + array.nbytes]}
        position += array.nbytes
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "structure": compact(structure),
        "checksums": compact({name: zlib.crc32(bytes_of(array)) for name, array in arrays.items()}),
    }
    metadata["header_crc32"] = header_checksum(metadata, table)
    header = compact({"__metadata__": metadata, **table}).encode("ascii")
    header += b" " * (-len(header) % 8)
    if len(header) > MAX_HEADER:
        raise ValueError(
            f"the description of this object takes {len(header)} bytes and a safetensors file has room for "
            f"{MAX_HEADER}. Put long lists of numbers into tensors"
        )
    return struct.pack("<Q", len(header)) + header


def _write(out: BinaryIO, header: bytes, arrays: dict[str, np.ndarray]) -> None:
    for chunk in (memoryview(header), *map(bytes_of, arrays.values())):
        while chunk:
            # Unbuffered files may take less than they are given.
            written = out.write(chunk)
            chunk = chunk[len(chunk) if written is None else written :]
