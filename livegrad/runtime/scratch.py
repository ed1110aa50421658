"""Scratch memory of kernels: a slot for each thread, which takes one that is free (`codegen.conv_layout`)."""

from __future__ import annotations

from typing import Any

from ..native import hot
from . import pool
from .memory import allocate


def aligned(n: int) -> int:
    """So many bytes in whole lines of the cache."""
    return -(-n // 64) * 64


@hot
def slots_of(slots: int, slot_bytes: int) -> Any:
    """Memory for `slots` slots, and before them their flags, 64 bytes each, at zero."""
    block = allocate(slots * (64 + slot_bytes))
    pool.write(block.ptr, bytes(slots * 64))
    return block
