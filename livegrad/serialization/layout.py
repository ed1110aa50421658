"""How a file of ours is laid out, for its writer and its reader."""

from __future__ import annotations

import json
import zlib

import numpy as np

__all__ = ["FORMAT", "FORMAT_VERSION", "MARKS", "MAX_HEADER", "bytes_of", "header_checksum"]

FORMAT = "livegrad"
FORMAT_VERSION = 1
MARKS = frozenset({"checksums", "header_crc32", "structure"})  # what others have no cause to write
MAX_HEADER = 100_000_000  # bytes; the limit of other safetensors readers


def bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def header_checksum(metadata: dict, table: dict) -> str:
    covered = {key: value for key, value in metadata.items() if key != "header_crc32"}
    text = json.dumps([covered, table], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return format(zlib.crc32(text.encode("ascii")), "08x")
