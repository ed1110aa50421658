"""Writing the zip archive that PyTorch's files are: entries as they are, each beginning at a multiple of 64 bytes."""

from __future__ import annotations

import hashlib
import struct
import sys
import zlib
from typing import Any, BinaryIO

import numpy as np

from .layout import bytes_of

__all__ = ["write_archive"]

_ALIGNMENT = 64
_DATE = 0x21  # the first day that zip archives know: the same object gives the same bytes
_TEXT_IS_UTF8 = 0x800
_LARGE = 0xFFFFFFFF  # from here on sizes and places stand in an extra field of 64 bits, and this in their place


def write_archive(out: BinaryIO, pickle: bytes, storages: dict[str, np.ndarray], large: int = _LARGE) -> None:
    """Write an archive to a file that need not be seekable, from its present place on.

    large: from where on sizes and places are written with 64 bits, which they may be below that as well.
    """
    archive = _Archive(out, large)
    archive.add("data.pkl", pickle)
    archive.add(".format_version", b"1")
    archive.add(".storage_alignment", str(_ALIGNMENT).encode())
    archive.add("byteorder", sys.byteorder.encode())
    for key, data in storages.items():
        archive.add(f"data/{key}", bytes_of(data))
    archive.add("version", b"3\n")
    archive.add(".data/serialization_id", str(int(hashlib.sha256(pickle).hexdigest()[:16], 16)).zfill(40).encode())
    archive.finish()


class _Archive:
    """An archive that is being written."""

    def __init__(self, out: BinaryIO, large: int):
        self.out = out
        self.large = large
        self.position = 0  # from the start of the archive
        self.directory: list[bytes] = []

    def _short(self, number: int) -> int:
        """A number where there are 32 bits for it: the largest one says that it stands elsewhere."""
        return number if number < self.large else _LARGE

    def add(self, name: str, data: Any) -> None:
        """Write one entry."""
        path = f"archive/{name}".encode()
        size, checksum, start = len(data), zlib.crc32(data), self.position
        extra = struct.pack("<HHQQ", 1, 16, size, size) if size >= self.large else b""
        begin = start + 30 + len(path) + len(extra) + 4
        extra += b"FB" + struct.pack("<H", -begin % _ALIGNMENT) + b"Z" * (-begin % _ALIGNMENT)
        shown = self._short(size)
        common = struct.pack(
            "<HHHHHIII", 45 if size >= self.large else 20, _TEXT_IS_UTF8, 0, 0, _DATE, checksum, shown, shown
        )
        self._write(b"PK\x03\x04" + common + struct.pack("<HH", len(path), len(extra)) + path + extra)
        self._write(data)
        wide = [n for n in (size, size, start) if n >= self.large]
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        tail = struct.pack("<HHHHHII", len(path), len(extra), 0, 0, 0, 0, self._short(start))
        self.directory.append(b"PK\x01\x02" + struct.pack("<H", 45) + common + tail + path + extra)

    def finish(self) -> None:
        """Write the directory."""
        start, count = self.position, len(self.directory)
        self._write(b"".join(self.directory))
        size = self.position - start
        if count >= 0xFFFF or start >= self.large:
            end = self.position
            self._write(b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, start))
            self._write(b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1))
        shown = min(count, 0xFFFF)
        self._write(
            b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, shown, shown, self._short(size), self._short(start), 0)
        )

    def _write(self, data: Any) -> None:
        chunk = memoryview(data)
        self.position += len(chunk)
        while chunk:
            written = self.out.write(chunk)  # unbuffered files may take less than they are given
            chunk = chunk[len(chunk) if written is None else written :]
