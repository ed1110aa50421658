"""PyTorchFileReader: the entries of a file in PyTorch's format, for programs that read it piece by piece."""

from __future__ import annotations

import os
from typing import Any

from .archive import Archive
from .reader import Reader

__all__ = ["PyTorchFileReader"]


class PyTorchFileReader:
    """The entries of the zip archive that `save` writes, and PyTorch's ``torch.save``.

    file: a path, or a seekable file opened for bytes. Raises CheckpointError for any other file, and for a damaged one.

    >>> import io, livegrad
    >>> file = io.BytesIO()
    >>> livegrad.save({"w": livegrad.ones(2)}, file)
    >>> reader = livegrad.PyTorchFileReader(file)
    >>> reader.has_record("data.pkl"), len(reader.get_record("data/0"))
    (True, 8)
    """

    def __init__(self, file: Any):
        opened = isinstance(file, (str, bytes, os.PathLike))
        self._file = open(file, "rb") if opened else file  # noqa: SIM115 - closed with the reader
        self._file.seek(0)
        source = repr(os.fsdecode(file)) if opened else f"a {type(file).__name__} object"
        self._archive = Archive(Reader(self._file, source, whole_file=opened))

    def get_all_records(self) -> list[str]:
        """The names of all entries, without the folder that all of them are in."""
        return [name.removeprefix(self._archive.prefix) for name in self._archive.entries]

    def has_record(self, name: str) -> bool:
        """Whether there is an entry of a name."""
        return self._archive.prefix + name in self._archive.entries

    def get_record(self, name: str) -> bytes:
        """The bytes of an entry, checked against the archive's checksum."""
        return self._archive.read(self._archive.prefix + name).tobytes()
