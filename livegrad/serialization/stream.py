"""What ``torch.save`` wrote before PyTorch 1.6, and still writes when told to: pickles, and then bytes.

The pickles are: a number that marks the format, its version, facts about the machine, the object, and a list of the
storages that the object's pickle refers to. For each of these follow the number of its elements, in eight bytes, and
its bytes. The format has no checksums: damage to numbers cannot be noticed.
"""

from __future__ import annotations

import struct
import sys
from typing import Any

import numpy as np

from .machine import Machine, refuse
from .objects import BY_NAME
from .placing import Placer
from .reader import Reader
from .torchfile import StorageType, TorchPickle, storage_reference
from .unpickling import References, run

__all__ = ["is_stream", "load_stream"]

MAGIC = 0x1950A86A20F9469CFC6C
_BEGINNING = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
_VERSION = 1001


def is_stream(first: bytes) -> bool:
    """Whether a file that begins like this is of that format."""
    return first.startswith(_BEGINNING)


def load_stream(reader: Reader, place: Placer, weights_only: bool) -> Any:
    """The object in a file of that format."""
    reader.file.seek(reader.start)
    data = reader.file.read(reader.size)
    file = _Stream(reader, data, weights_only)
    found = run(reader, TorchPickle(file, place, data, file.object_at), weights_only)
    reader.file.seek(reader.start + file.end)  # where a next saved object may follow
    return found


class _Plain(Machine):
    """A pickle of plain objects."""

    def named(self, module: Any, name: Any) -> Any:
        raise refuse("its pickle is damaged: a class where there should be a plain object")

    def persistent(self, reference: Any) -> Any:
        raise refuse("its pickle is damaged: a storage where there should be a plain object")


class _References(TorchPickle):
    """Looks the types of all storages up in the object's pickle, whose tensors it does not make."""

    def __init__(self, file: _Stream, data: bytes, position: int):
        super().__init__(file, Placer(None), data, position)
        self.types: dict[str, StorageType] = {}

    def persistent(self, reference: Any) -> Any:
        kind, key, _ = storage_reference(reference)
        if self.types.setdefault(key, kind) != kind:
            raise refuse("its pickle is damaged: a storage has two types")
        return None

    def _view(self, *args: Any) -> None:
        return None

    def _parameter(self, *args: Any) -> None:
        return None


class _Stream:
    """The parts of such a file."""

    def __init__(self, reader: Reader, data: bytes, weights_only: bool):
        self.size = len(data)
        self.swap = False
        self.data = data
        self.reader = reader
        position = len(_BEGINNING)
        version, position = self.plain(position)
        if version != _VERSION:
            raise reader.error(
                f"version {_VERSION} of PyTorch's old format", repr(version), "Save it again with torch.save"
            )
        system, position = self.plain(position)
        if type(system) is dict and system.get("little_endian") is not None:
            self.swap = system["little_endian"] is not (sys.byteorder == "little")
        self.object_at = position
        references = _References(self, data, position)
        if weights_only:
            run(reader, references)
            position = references.position
        else:
            position = References(references, references.persistent).end()
        keys, position = self.plain(position)
        if type(keys) is not list or set(keys) != set(references.types) or len(keys) != len(references.types):
            raise reader.damaged("a list of the storages that tensors are views of", "another one")
        self.places: dict[str, tuple[int, int]] = {}
        for key in keys:
            position = self.place(key, position, BY_NAME[references.types[key].dtype].itemsize)
        self.end = position
        if reader.whole_file and position != len(data):
            raise reader.damaged(f"{position} bytes", f"{len(data)} bytes")

    def plain(self, position: int) -> tuple[Any, int]:
        """A plain object, and where the next one is."""
        machine = _Plain(self.data, position)
        return run(self.reader, machine), machine.position

    def place(self, key: str, position: int, itemsize: int) -> int:
        """Note where a storage's bytes are; returns their end."""
        begin = position + 8
        if begin > len(self.data):
            raise self.reader.damaged(f"the bytes of storage {key!r}", "the end of the file")
        (count,) = struct.unpack_from("<q", self.data, position)
        end = begin + count * itemsize
        if count < 0 or end > len(self.data):
            raise self.reader.damaged(f"{count} elements of storage {key!r}", "the end of the file")
        self.places[key] = begin, end
        return end

    def storage(self, key: str) -> np.ndarray:
        """The bytes of a storage, for their reader to own."""
        begin, end = self.places[key]
        return np.frombuffer(self.data, np.uint8, end - begin, begin).copy()
