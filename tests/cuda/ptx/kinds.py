"""PTX's types over NumPy. A register is an array of unsigned integers, one for each thread; a type says how to read it.

A number that is the same in all threads may be a NumPy scalar instead. Packed types (``f16x2``) have one more
dimension, of two.
"""

from __future__ import annotations

import functools
import re

import numpy as np

WORDS = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
SIGNED = {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64}
FLOATS = {"f16": np.float16, "f32": np.float32, "f64": np.float64}


class Type:
    """A type: `bits` of the whole, its `lanes`, and the type of a lane.

    letter: b, u, s (integers), f (also bfloat16, whose numbers are float32 arrays here) or p (a predicate).
    """

    def __init__(self, name: str):
        self.name = name
        if name == "pred":
            self.letter, self.bits, self.lanes, self.lane = "p", 1, 1, self
            return
        found = re.fullmatch(r"(b|u|s|f|bf)(8|16|32|64|128)(x2)?", name)
        if not found:
            raise NotImplementedError(f"type .{name}")
        letter, bits, packed = found[1], int(found[2]), bool(found[3])
        self.letter = "f" if letter == "bf" else letter
        self.lanes = 2 if packed else 1
        self.bits = bits * self.lanes
        self.lane = kind(name[:-2]) if packed else self
        self.brain = letter == "bf"
        self.word = WORDS[bits]

    def read(self, raw):
        """A register's numbers."""
        if self.letter == "p":
            return raw
        if self.lanes == 2:
            pair = np.asarray(raw)[..., None].astype(WORDS[self.bits], copy=False).view(self.word)
            return self.lane.read(pair)
        if raw.dtype.itemsize * 8 != self.bits:
            raw = raw.astype(self.word)
        if self.letter == "s":
            return raw.view(SIGNED[self.bits])
        if self.brain:
            return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return raw.view(FLOATS[self.name]) if self.letter == "f" else raw

    def write(self, numbers, bits: int):
        """Numbers as a register of so many bits: signed ones are extended by their sign, others by zeros."""
        if self.letter == "p":
            return numbers
        if self.lanes == 2:
            pair = np.ascontiguousarray(self.lane.write(numbers, self.lane.bits))
            return pair.view(WORDS[self.bits])[..., 0]
        if self.letter == "f":
            raw = round_to_brain(numbers) if self.brain else numbers.view(self.word)
        elif self.letter == "s":
            raw = numbers.astype(SIGNED[max(bits, self.bits)], copy=False).view(WORDS[max(bits, self.bits)])
        else:
            raw = numbers
        return raw if raw.dtype.itemsize * 8 == bits else raw.astype(WORDS[bits])


kind = functools.cache(Type)


def round_to_brain(x):
    """float32 to the bits of bfloat16: to nearest, ties to even; NaN is PTX's."""
    word = np.asarray(x, np.float32).view(np.uint32)
    word = word + np.uint32(0x7FFF) + ((word >> np.uint32(16)) & np.uint32(1))
    return np.where(np.isnan(x), np.uint16(0x7FFF), (word >> np.uint32(16)).astype(np.uint16))
