"""Integer arithmetic of a GPU over NumPy. Operands have the instruction's type; sums and products wrap."""

from __future__ import annotations

import numpy as np

from .kinds import SIGNED, WORDS


def _bits(x) -> int:
    return x.dtype.itemsize * 8


def wide(x):
    """The same numbers in twice the bits."""
    kinds = SIGNED if x.dtype.kind == "i" else WORDS
    return x.astype(kinds[2 * _bits(x)])


def mul_wide(x, y):
    return wide(x) * wide(y)


def mul_high(x, y):
    """The upper half of the product."""
    bits = _bits(x)
    if bits < 64:
        return (mul_wide(x, y) >> mul_wide(x, y).dtype.type(bits)).astype(x.dtype)
    u, v = x.view(np.uint64), y.view(np.uint64)
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    a, b, c, d = u >> half, u & mask, v >> half, v & mask
    middle = (b * d >> half) + (a * d & mask) + (b * c & mask)
    high = a * c + (a * d >> half) + (b * c >> half) + (middle >> half)
    if x.dtype.kind == "i":
        high = high - np.where(x < 0, v, np.uint64(0)) - np.where(y < 0, u, np.uint64(0))
    return high.view(x.dtype)


def div(x, y):
    """Towards zero; all ones where the divisor is zero."""
    zero = y == 0
    safe = np.where(zero, y.dtype.type(1), y)
    q = x // safe
    if x.dtype.kind == "i":
        q = np.where((x % safe != 0) & ((x < 0) != (safe < 0)), q + x.dtype.type(1), q)
    return np.where(zero, x.dtype.type(-1 if x.dtype.kind == "i" else np.iinfo(x.dtype).max), q)


def rem(x, y):
    """What `div` leaves, with the sign of x."""
    return np.where(y == 0, x, x - div(x, y) * y)


def shl(x, n):
    """n is 32 bits; what is too far gives zero."""
    far = n >= _bits(x)
    return np.where(far, x.dtype.type(0), x << np.where(far, np.uint32(0), n).astype(x.dtype))


def shr(x, n):
    """Signed numbers keep their sign."""
    bits = _bits(x)
    if x.dtype.kind == "i":
        return x >> np.minimum(n, np.uint32(bits - 1)).astype(x.dtype)
    far = n >= bits
    return np.where(far, x.dtype.type(0), x >> np.where(far, np.uint32(0), n).astype(x.dtype))


def funnel(low, high, n, left: bool, wrap: bool):
    """`shf`: 32 bits out of 64."""
    n = n & np.uint32(31) if wrap else np.minimum(n, np.uint32(32))
    both = (high.astype(np.uint64) << np.uint64(32)) | low
    moved = both << n.astype(np.uint64) >> np.uint64(32) if left else both >> n.astype(np.uint64)
    return moved.astype(np.uint32)


def extract(x, start, count):
    """`bfe`: a field of bits; a signed one is extended by the highest bit of it that exists."""
    bits = _bits(x)
    start, count = start & np.uint32(255), count & np.uint32(255)
    unsigned = x.view(WORDS[bits])
    field = shr(unsigned, start)
    word = WORDS[bits]
    mask = shl(np.asarray(word(1)), count) - word(1)
    field = np.where(count >= bits, field, field & mask)
    if x.dtype.kind == "u":
        return field
    last = np.minimum(start + count - np.uint32(1), np.uint32(bits - 1))
    sign = np.where(count == 0, word(0), shr(unsigned, last) & word(1)) != 0
    return np.where(sign, field | np.where(count >= bits, word(0), ~mask), field).view(x.dtype)


def insert(field, x, start, count):
    """`bfi`: x with a field of bits replaced."""
    bits = _bits(x)
    word = WORDS[bits]
    start, count = start & np.uint32(255), count & np.uint32(255)
    ones = np.where(count >= bits, word(np.iinfo(word).max), shl(np.asarray(word(1)), count) - word(1))
    mask = shl(ones, start)
    return (x & ~mask) | (shl(field, start) & mask)


def permute(a, b, selector):
    """`prmt`: four bytes out of eight; bit 3 of a selector repeats its byte's sign instead."""
    both = (b.astype(np.uint64) << np.uint64(32)) | a
    made = np.uint32(0)
    for i in range(4):
        s = (selector >> np.uint32(4 * i)) & np.uint32(15)
        byte = (both >> ((s & np.uint32(7)).astype(np.uint64) * np.uint64(8))).astype(np.uint32) & np.uint32(255)
        byte = np.where(s & np.uint32(8), np.where(byte & np.uint32(128), np.uint32(255), np.uint32(0)), byte)
        made = made | (byte << np.uint32(8 * i))
    return made


def logic3(a, b, c, table: int):
    """`lop3`: any function of three bits."""
    made = a ^ a
    for row in range(8):
        if table >> row & 1:
            made = made | ((a if row & 4 else ~a) & (b if row & 2 else ~b) & (c if row & 1 else ~c))
    return made


def count_ones(x):
    return np.bitwise_count(x).astype(np.uint32) if hasattr(np, "bitwise_count") else _loop(x, lambda v: v.bit_count())


def leading_zeros(x):
    return _loop(x, lambda v: _bits(x) - v.bit_length())


def reverse(x):
    width = _bits(x)
    return _loop(x, lambda v: int(f"{v:0{width}b}"[::-1], 2)).astype(x.dtype)


def find_leading(x, shift: bool = False):
    """`bfind`: where the highest bit is that is not the sign; all ones if there is none."""
    width = _bits(x)

    def place(v: int) -> int:
        v = ~v if v < 0 else v
        if not v:
            return 0xFFFFFFFF
        return width - v.bit_length() if shift else v.bit_length() - 1

    return _loop(x, place)


def _loop(x, f):
    return np.array([f(int(v)) for v in np.atleast_1d(x)], np.uint64).astype(np.uint32).reshape(np.shape(x))
