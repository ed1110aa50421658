"""The kinds of numbers there are, how types and constants are written, and registers."""

from __future__ import annotations

import functools
import math
import struct

KINDS = ("f16", "bf16", "f32", "f64", "i1", "i8", "i16", "i32", "i64", "c64", "c128")

ELEMENT = {
    "f16": "i16", "bf16": "i16", "f32": "float", "f64": "double",
    "i1": "i1", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64",
}  # fmt: skip
BITS = {
    "f16": 16, "bf16": 16, "f32": 32, "f64": 64, "i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64,
    "c64": 64, "c128": 128,
}  # fmt: skip
# The kind of the parts of complex kinds, whose registers have both parts of a lane side by side, as in memory.
PART = {"c64": "f32", "c128": "f64"}
FLOATS = frozenset(("f16", "bf16", "f32", "f64"))


@functools.cache
def type_text(kind: str, width: int = 1) -> str:
    """The LLVM type of a register: ``float``, ``<8 x float>``, ..."""
    if kind in PART:
        kind, width = PART[kind], 2 * width
    element = ELEMENT[kind]
    return element if width == 1 else f"<{width} x {element}>"


@functools.cache
def memory_type(kind: str, width: int = 1) -> str:
    return type_text("i8" if kind == "i1" else kind, width)


@functools.cache
def suffix_text(kind: str, width: int = 1) -> str:
    """The mangled type in the name of an overloaded intrinsic: ``f32``, ``v8f32``, ..."""
    name = "i16" if kind in ("f16", "bf16") else kind
    return name if width == 1 else f"v{width}{name}"


def kind_bits(kind: str) -> int:
    """Bits of a kind in a register."""
    return BITS[kind]


def kind_bytes(kind: str) -> int:
    """Bytes of a kind in memory; a truth value takes one."""
    return max(1, BITS[kind] // 8)


def kind_alignment(kind: str) -> int:
    """What the address of an element is a multiple of: its size, or that of a part."""
    return kind_bytes(PART.get(kind, kind))


@functools.lru_cache(maxsize=4096)
def _float_text(kind: str, bits: int) -> str:
    """The text of a floating-point constant, given the bit pattern of a double."""
    value = struct.unpack("<d", struct.pack("<Q", bits))[0]
    if kind == "f64":
        return f"0x{bits:016X}"
    if kind == "f32":
        if math.isnan(value):
            return "0x7FF8000000000000" if bits >> 63 == 0 else "0xFFF8000000000000"
        rounded = _to_f32(value)
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
    if kind == "f16":
        if math.isnan(value):
            return str(0x7E00)
        try:
            return str(struct.unpack("<h", struct.pack("<e", value))[0])
        except OverflowError:
            return str(0x7C00 if value > 0 else 0xFC00 - 0x10000)
    if math.isnan(value):  # bf16
        return str(0x7FC0)
    word = struct.unpack("<I", struct.pack("<f", _to_f32(value)))[0]
    word = (word + 0x7FFF + ((word >> 16) & 1)) >> 16
    return str(word - 0x10000 if word >= 0x8000 else word)


def _to_f32(value: float) -> float:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


class Reg:
    """A value in a kernel: the text that names it, its kind, and its number of lanes."""

    __slots__ = ("name", "kind", "width")

    def __init__(self, name: str, kind: str, width: int = 1) -> None:
        self.name = name
        self.kind = kind
        self.width = width

    @property
    def type(self) -> str:
        """The LLVM type, as text."""
        return type_text(self.kind, self.width)

    @property
    def operand(self) -> str:
        """Type and name, as an operand of a call or a store is written."""
        return f"{type_text(self.kind, self.width)} {self.name}"

    def __repr__(self) -> str:
        return f"Reg({self.operand})"


def constant_text(kind: str, value: float | int | bool) -> str:
    """The text of a scalar constant."""
    if kind in FLOATS:
        return _float_text(kind, struct.unpack("<Q", struct.pack("<d", value))[0])
    if kind == "i1":
        return "true" if value else "false"
    bits = BITS[kind]
    value = int(value) & ((1 << bits) - 1)
    return str(value - (1 << bits) if value >> (bits - 1) else value)
