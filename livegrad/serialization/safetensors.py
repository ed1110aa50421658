"""Reading safetensors files, ours and others."""

from __future__ import annotations

import json
import math
import struct
import sys
import zlib
from typing import Any

import numpy as np

from .decoding import Decoder
from .errors import Malformed, need
from .layout import FORMAT, FORMAT_VERSION, MARKS, MAX_HEADER, bytes_of, header_checksum
from .objects import NUMPY, from_array
from .placing import Placer
from .reader import Reader

__all__ = ["load_safetensors"]


def load_safetensors(reader: Reader, place: Placer, weights_only: bool = True) -> Any:
    """The object in a file of ours, or a dict of the tensors in another safetensors file."""
    length = struct.unpack("<Q", reader.file.read(8))[0]
    if length > MAX_HEADER:
        raise reader.error(
            f"a safetensors header of at most {MAX_HEADER} bytes",
            f"{length} bytes",
            "Check that this is the right file",
        )
    if 8 + length > reader.size:
        raise reader.damaged(f"a header of {length} bytes", f"only {reader.size - 8} bytes")
    try:
        header = json.loads(reader.file.read(length).decode("utf-8"), object_pairs_hook=_once)
        need(isinstance(header, dict), "a header that is not an object")
        metadata = header.pop("__metadata__", {})
        need(isinstance(metadata, dict), "metadata that is not an object")
        table = _table(reader, header)
    except (ValueError, RecursionError, Malformed) as error:
        raise reader.damaged("a safetensors header", str(error) or type(error).__name__) from None

    # One mark will do, so that damage to the others is noticed.
    if metadata.get("format") != FORMAT and metadata.keys().isdisjoint(MARKS):
        arrays = _arrays(reader, table, None)
        return {name: place(from_array(array), "cpu") for name, array in arrays.items()}

    version = metadata.get("format_version")
    if version != str(FORMAT_VERSION):
        raise reader.error(
            f"version {FORMAT_VERSION} of the livegrad format",
            f"version {version}",
            "A newer livegrad wrote this file: upgrade livegrad, or read the bare tensors with safetensors",
        )
    found = header_checksum(metadata, header)
    if metadata.get("header_crc32") != found:
        raise reader.damaged(f"a header with checksum {metadata.get('header_crc32')}", found)
    try:
        checksums = json.loads(metadata["checksums"])
        structure = json.loads(metadata["structure"])
        need(isinstance(checksums, dict) and checksums.keys() == table.keys(), "checksums for other tensors")
        arrays = _arrays(reader, table, checksums)
        return Decoder(arrays, place, weights_only).decode(structure)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, Malformed) as error:
        what = str(error) or type(error).__name__
        raise reader.damaged("the description of a saved object", what) from error


def _table(reader: Reader, header: dict) -> dict[str, tuple[np.dtype, tuple[int, ...], int]]:
    """The header's tensors as dtype, shape and length, in the order of their bytes, once all of it adds up."""
    entries = []
    for name, entry in header.items():
        need(isinstance(entry, dict), f"no description of tensor {name!r}")
        code, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        need(isinstance(code, str), f"dtype {code!r} of tensor {name!r}")
        if code not in NUMPY:
            raise reader.error(
                f"tensors of dtype {', '.join(NUMPY)}",
                f"{code} of tensor {name!r}",
                "Convert it to one of those where the file was made, and save again",
            )
        for numbers in (shape, offsets):
            whole = isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**63 for n in numbers)
            need(whole, f"shape {shape!r} and offsets {offsets!r} of tensor {name!r}")
        need(len(offsets) == 2 and len(shape) <= 64, f"shape {shape!r} and offsets {offsets!r} of tensor {name!r}")
        begin, end = offsets
        needed = math.prod(shape) * NUMPY[code].itemsize
        need(end - begin == needed, f"{end - begin} bytes for tensor {name!r}, whose shape takes {needed}")
        entries.append((begin, end, name, NUMPY[code], tuple(shape)))
    position = 0
    for begin, end, name, *_ in sorted(entries, key=lambda entry: entry[:2]):
        need(begin == position, f"tensor {name!r} at byte {begin} instead of {position}")
        position = end
    there = reader.size - (reader.file.tell() - reader.start)
    if there < position:
        raise reader.damaged(f"{position} bytes of tensors", f"only {there} bytes")
    if reader.whole_file and there > position:
        raise reader.damaged(f"{position} bytes of tensors", f"{there} bytes")
    # By position for reading; a reader of plain safetensors gets the header's order back in _arrays.
    return {name: (dtype, shape, begin) for begin, _, name, dtype, shape in entries}


def _arrays(reader: Reader, table: dict[str, tuple], checksums: dict[str, int] | None) -> dict[str, np.ndarray]:
    base = reader.file.tell()
    end = base
    arrays = {}
    for name, (dtype, shape, begin) in table.items():
        array = reader.array(base + begin, dtype, shape, f"tensor {name!r}")
        if checksums is not None and zlib.crc32(bytes_of(array)) != checksums[name]:
            raise reader.damaged(f"the bytes of tensor {name!r} that were saved", "others: their checksum differs")
        arrays[name] = _native(array)
        end = max(end, base + begin + array.nbytes)
    reader.file.seek(end)  # where a next saved object may follow
    return arrays


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Of two tensors of one name, one would be lost."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise Malformed(f"{next(name for name in names if names.count(name) > 1)!r} more than once")
    return made


def _native(array: np.ndarray) -> np.ndarray:
    """An array as the file has it, little-endian, in a form that is safe to compute with."""
    if array.dtype == np.bool_:
        return array.view(np.uint8) != 0  # bytes other than 0 and 1 would be neither true nor false
    return array.byteswap() if sys.byteorder == "big" else array
