"""Reading a file that may be anything, checking every size against what is really there."""

from __future__ import annotations

import os
from typing import BinaryIO

import numpy as np

from .errors import CheckpointError
from .layout import bytes_of

__all__ = ["KINDS", "Reader"]

KINDS = "a file written by livegrad.save or torch.save, or a safetensors file"


class Reader:
    """One saved object in a seekable file."""

    def __init__(self, file: BinaryIO, source: str, whole_file: bool):
        self.file = file
        self.source = source
        self.whole_file = whole_file
        self.start = file.tell()
        self.size = file.seek(0, os.SEEK_END) - self.start
        file.seek(self.start)

    def error(self, expected: str, found: str, advice: str) -> CheckpointError:
        return CheckpointError(f"cannot load {self.source}: expected {expected}, found {found}. {advice}")

    def damaged(self, expected: str, found: str) -> CheckpointError:
        return self.error(expected, found, "The file is damaged or incomplete: copy or download it again, or save anew")

    def array(self, position: int, dtype: np.dtype, shape: tuple[int, ...], what: str) -> np.ndarray:
        """Read an array; the caller has made sure that the file is long enough."""
        try:
            array = np.empty(shape, dtype)
        except (ValueError, OverflowError):
            raise self.damaged("a possible shape", f"{list(shape)} for {what}") from None
        rest = bytes_of(array)
        self.file.seek(position)
        while rest:
            if hasattr(self.file, "readinto"):
                count = self.file.readinto(rest)
            else:
                chunk = self.file.read(len(rest))
                count = len(chunk)
                rest[:count] = chunk
            if not count:
                raise self.damaged(f"{len(rest)} more bytes of {what}", "the end of the file")
            rest = rest[count:]
        return array
