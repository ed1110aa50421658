"""What is said when there is no memory: how much was asked for, of what, where, and what fills the memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..site import here


class OutOfMemoryError(MemoryError, RuntimeError):
    """There is no memory for a tensor. A RuntimeError as well, which is what programs written for PyTorch catch.

    nbytes: what was asked for. why: who refused it.
    """

    nbytes = 0
    in_use = 0
    why = ""


def no_copy(self: Any, protocol: Any = None) -> Any:
    """The ``__reduce_ex__`` of what must be there once: pieces of memory, values and their counts, recorded nodes.

    Python would copy them field by field, and memory that two objects own is given back twice.
    """
    raise TypeError(f"cannot copy or pickle {type(self).__name__!r} object; copy the tensors, without their history")


class _Census:
    """largest: lines that describe the largest live tensors on a type of device; set by `livegrad.memory`."""

    largest: Callable[[str], list[str]] = staticmethod(lambda kind: [])


def out_of_memory(
    nbytes: int, why: str, in_use: int, shape: tuple | None = None, dtype: Any = None, kind: str = "cpu"
) -> OutOfMemoryError:
    """The error to raise where `nbytes` cannot be had on a type of device."""
    what = "" if shape is None else f" for a {dtype.name} tensor of shape {list(shape)}"
    lines = [
        f"out of memory: cannot allocate {nbytes} bytes ({amount(nbytes)}){what}: {why}; "
        f"{in_use} bytes ({amount(in_use)}) are in use"
    ]
    site = here()
    if site is not None:
        lines.append(f"  asked for here: {site}")
    largest = _Census.largest(kind)
    if largest:
        lines += ["  the largest live tensors:", *(f"    {line}" for line in largest)]
    error = OutOfMemoryError("\n".join(lines))
    error.nbytes, error.in_use, error.why = nbytes, in_use, why
    return error


def out_of_memory_for(refused: MemoryError, shape: tuple, dtype: Any) -> MemoryError:
    """The same, now that it is known what the memory was for."""
    if not isinstance(refused, OutOfMemoryError):
        return refused
    # What was refused was rounded up to a capacity that others can use again.
    nbytes = min(refused.nbytes, math.prod(shape) * dtype.itemsize)
    made = out_of_memory(nbytes, refused.why, refused.in_use, shape, dtype)
    made.__suppress_context__ = True  # it says all that `refused` says
    return made


def amount(nbytes: float) -> str:
    """A number of bytes, in the unit that suits it."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if abs(nbytes) >= size:
            return f"{nbytes / size:.2f} {unit}"
    return f"{nbytes:.0f} B"
