"""The zip archive that PyTorch's files are: a pickle, and the bytes of every storage."""

from __future__ import annotations

import io
import struct
import sys
import zipfile
import zlib
from typing import Any

import numpy as np

from .placing import Placer
from .reader import KINDS, Reader
from .torchfile import TorchPickle
from .unpickling import run

__all__ = ["load_archive"]


def load_archive(reader: Reader, place: Placer, weights_only: bool) -> Any:
    """The object in a zip archive of PyTorch's."""
    archive = Archive(reader)
    data = archive.read(archive.prefix + "data.pkl").tobytes()
    return run(archive.reader, TorchPickle(archive, place, data), weights_only)


class Archive:
    """The zip archive: finds entries, and keeps all that is read and made within the size of the file."""

    def __init__(self, reader: Reader):
        if reader.start:
            reader.file.seek(reader.start)
            reader = Reader(io.BytesIO(reader.file.read()), reader.source, whole_file=True)
        self.reader = reader
        self.size = reader.size
        try:
            with zipfile.ZipFile(reader.file) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as error:
            raise reader.damaged("a complete PyTorch file (a zip archive)", str(error)) from None
        pickles = [entry.filename for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            what = "a NumPy .npz file" if entries and entries[0].filename.endswith(".npy") else "another zip archive"
            raise reader.error(KINDS, what, "Check that this is the right file")
        self.prefix = pickles[0][: -len("data.pkl")]
        self.entries = {entry.filename: entry for entry in entries}
        if self.prefix + "constants.pkl" in self.entries or any(self.prefix + "code/" in name for name in self.entries):
            raise reader.error(
                "a file of weights",
                "a TorchScript program",
                "In PyTorch, torch.save(torch.jit.load(path).state_dict(), new_path)",
            )
        # PyTorch stores its entries as they are.  Refusing anything else also means that nothing can expand.
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
            raise reader.error(
                "a PyTorch file, whose entries are not compressed",
                "compressed or encrypted entries",
                "Save it again with torch.save",
            )
        total = sum(entry.file_size for entry in entries)
        if total > reader.size or len(self.entries) != len(entries):
            raise reader.damaged(f"at most {reader.size} bytes in the archive", f"entries of {total} bytes or repeated")
        order = bytes(self.read(self.prefix + "byteorder")) if self.prefix + "byteorder" in self.entries else b"little"
        if order not in (b"little", b"big"):
            raise reader.damaged("byte order little or big", repr(order[:20]))
        self.swap = order.decode() != sys.byteorder

    def storage(self, key: str) -> np.ndarray:
        """The bytes of a storage."""
        return self.read(f"{self.prefix}data/{key}")

    def read(self, name: str) -> np.ndarray:
        """The bytes of an entry, checked against the archive's checksum."""
        reader = self.reader
        entry = self.entries.get(name)
        if entry is None:
            raise reader.damaged(f"an entry {name!r}", "none of that name")
        # The local header repeats the name, and may be padded so that the data is aligned.
        local = b""
        if entry.header_offset >= 0:
            reader.file.seek(entry.header_offset)
            local = reader.file.read(30)
        if len(local) < 30 or local[:4] != b"PK\x03\x04":
            raise reader.damaged(f"the entry {name!r} where the archive's directory says", "something else")
        position = entry.header_offset + 30 + sum(struct.unpack("<HH", local[26:30]))
        if position + entry.file_size > reader.size:
            raise reader.damaged(f"{entry.file_size} bytes of {name!r}", "the end of the file")
        data = reader.array(position, np.dtype(np.uint8), (entry.file_size,), repr(name))
        # PyTorch can be told not to compute checksums, and writes 0 then, in both places.
        checksum = entry.CRC or struct.unpack("<I", local[14:18])[0]
        if checksum and zlib.crc32(data.data) != checksum:
            raise reader.damaged(f"the bytes of {name!r} that were saved", "others: their checksum differs")
        return data
