"""A file that takes the place of another only when it is complete."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

__all__ = ["replacing"]


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` if the block succeeds, and vanishes if it does not."""
    path = os.path.realpath(path)  # a symbolic link stays one
    folder, name = os.path.split(path)
    old = None
    if os.path.exists(path):
        old = os.stat(path)
        if stat.S_ISDIR(old.st_mode):
            raise IsADirectoryError(f"cannot save to {path!r}: it is a folder; add a file name")
        if not stat.S_ISREG(old.st_mode):  # a device or a pipe cannot be replaced, only written to
            with open(path, "wb") as out:
                yield out
            return
        if not os.access(path, os.W_OK):
            raise PermissionError(f"cannot save to {path!r}: the file there is read-only")
    elif not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot save to {path!r}: there is no folder {folder!r}; create it first")
    temporary = os.path.join(folder, f".{name[:60]}.{secrets.token_hex(6)}.tmp")
    try:
        # Mode 0o666 less the umask: what a plain open() would give a new file.
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        with open(temporary, "wb", opener=lambda file, _: os.open(file, flags, 0o666)) as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        if old is not None:
            os.chmod(temporary, stat.S_IMODE(old.st_mode))
        os.replace(temporary, path)
    except BaseException:  # an interrupt too
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Have the new name on the disk as well, where the system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    with suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)
