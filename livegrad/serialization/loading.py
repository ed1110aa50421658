"""Loading: what kind of file it is."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

from .archive import load_archive
from .placing import NotPlaced, Placer
from .reader import KINDS, Reader
from .safetensors import load_safetensors
from .stream import is_stream, load_stream

__all__ = ["load"]


def load(
    f: str | os.PathLike | BinaryIO, map_location: Any = None, pickle_module: Any = None, *, weights_only: bool = True,
    mmap: bool | None = None, encoding: str = "utf-8",
) -> Any:  # fmt: skip
    """Read what :func:`save` wrote, or a safetensors file, or a file written by PyTorch's ``torch.save``.

    Args:
        f: the file's name, or a binary file object positioned where the saved object begins.
        map_location: where to put tensors: a device or its name, a dict from devices they were saved on to others, or
            a function of a tensor (on the CPU) and the name of the device it was saved on, that returns the tensor to
            use or None.  Without it, tensors go back to the devices they were saved on.
        weights_only: whether objects of other classes than tensors, plain containers and NumPy's arrays are refused,
            whole modules among them.  Making such an object again runs what the file says, so pass False only for files
            that you trust; or name the classes that you do trust with ``serialization.add_safe_globals``.
        pickle_module, mmap, encoding: accepted for PyTorch's sake.  Tensors are always read into memory.

    A safetensors file from elsewhere gives a dict of tensors by name.  Files of PyTorch's old format are read too.
    Tensors that were views of one memory are so again.  Damage is noticed by checksums, which all these files have
    but for safetensors files from elsewhere and PyTorch's old format.

    Raises CheckpointError for a file that is damaged, cut short or of another kind, and ``pickle.UnpicklingError`` for
    a file that holds objects of other classes, without ``weights_only=False``.

    >>> import os, tempfile, livegrad
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
    >>> livegrad.save([livegrad.zeros(2), "done"], path)
    >>> livegrad.load(path)
    [tensor([0., 0.]), 'done']
    """
    place = Placer(map_location)
    try:
        return _load(f, place, weights_only)
    except NotPlaced as error:
        raise error.__cause__ from None  # type: ignore[misc]


def _load(f: Any, place: Placer, weights_only: bool) -> Any:
    if isinstance(f, (str, bytes, os.PathLike)):
        path = os.fsdecode(f)
        with open(path, "rb") as file:
            return _from(Reader(file, repr(path), whole_file=True), place, weights_only)
    if not callable(getattr(f, "read", None)):
        raise TypeError(f"load() needs a file name or a binary file object, not {type(f).__name__}")
    if isinstance(f, io.TextIOBase):
        raise TypeError('load() needs a file opened for bytes, but this one is opened for text; open it with "rb"')
    name = getattr(f, "name", None)
    source = repr(name) if isinstance(name, str) else f"a {type(f).__name__} object"
    try:
        f.seek(f.tell())
    except (AttributeError, OSError):
        f = io.BytesIO(f.read())
    return _from(Reader(f, source, whole_file=False), place, weights_only)


_ELSEWHERE = [
    (b"version https://git-lfs", "a Git LFS pointer, which stands for the real file; fetch that with `git lfs pull`"),
    (b"\x93NUMPY", "a NumPy .npy file; read it with numpy.load"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"GGUF", "a GGUF file"),
    (b"\x80", "a Python pickle; livegrad does not run pickles"),
    (b"<", "a web page or XML, perhaps an error page saved in place of a download"),
]


def _from(reader: Reader, place: Placer, weights_only: bool) -> Any:
    """What is in the file, by its first bytes."""
    first = reader.file.read(32)
    if not isinstance(first, bytes):
        raise TypeError(f"load() needs a file that reads as bytes; reading this one gives {type(first).__name__}")
    reader.file.seek(reader.start)
    if not first:
        raise reader.error(KINDS, "nothing: the file is empty, or has been read to its end", "Save again, or seek(0)")
    if first.startswith(b"PK\x03\x04"):
        return load_archive(reader, place, weights_only)
    if is_stream(first):
        return load_stream(reader, place, weights_only)
    # A header is JSON, so a brace follows its length.
    if first[8:9] == b"{":
        return load_safetensors(reader, place, weights_only)
    known = [name for beginning, name in _ELSEWHERE if first.startswith(beginning)]
    what = known[0] if known else f"a file that begins with {first[:16]!r}"
    if not first.strip(b"\0"):
        what = "only zeros, as after a crash while the file was written"
    raise reader.error(KINDS, what, "Check that this is the right file")
