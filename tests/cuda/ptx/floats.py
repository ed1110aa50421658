"""Floating-point arithmetic of a GPU, over NumPy: every function rounds once, to nearest, as the instruction does.

bfloat16's numbers are float32 arrays (see `kinds`); their sums and products are rounded twice, first to float32, which
gives what rounding once does, as 24 bits are more than twice 8 and two.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

_CANONICAL = {
    np.dtype(np.float16): np.uint16(0x7FFF).view(np.float16), np.dtype(np.float32): np.uint32(0x7FFFFFFF).view(np.float32),
}  # fmt: skip


def canonical(x):
    """What arithmetic makes of NaN: one pattern (double precision keeps those of its operands)."""
    nan = _CANONICAL.get(x.dtype)
    if nan is None:
        return x
    bad = np.isnan(x)
    return np.where(bad, nan, x) if np.any(bad) else x


def add(x, y):
    return canonical(x + y)


def sub(x, y):
    return canonical(x - y)


def mul(x, y):
    return canonical(x * y)


def div(x, y):
    return canonical(x / y)


def rcp(x):
    return canonical(x.dtype.type(1) / x)


def sqrt(x):
    return canonical(np.sqrt(x))


def approximate(function):
    """An approximation of the hardware's, as good as double precision makes it here."""
    return lambda x: canonical(function(x.astype(np.float64)).astype(x.dtype))


ex2 = approximate(np.exp2)
lg2 = approximate(np.log2)
sin = approximate(np.sin)
cos = approximate(np.cos)
tanh = approximate(np.tanh)
rsqrt = approximate(lambda x: 1 / np.sqrt(x))


def _extreme(x, y, larger: bool, nan: bool):
    """Zeros have an order: -0 is below +0. NaN loses against a number, or wins if `nan`."""
    first = (x > y) if larger else (x < y)
    tie = np.where(np.signbit(x), y, x) if larger else np.where(np.signbit(x), x, y)
    found = np.where(x == y, tie, np.where(first, x, y))
    one, other = np.isnan(x), np.isnan(y)
    if nan:
        return canonical(np.where(one | other, x + y, found))
    return canonical(np.where(one, y, np.where(other, x, found)))


def maximum(x, y, nan: bool = False):
    return _extreme(x, y, True, nan)


def minimum(x, y, nan: bool = False):
    return _extreme(x, y, False, nan)


def _two_sum(x, y):
    """Their sum, and what rounding left of it (Knuth)."""
    s = x + y
    t = s - x
    return s, (x - (s - t)) + (y - t)


def _odd(s, rest):
    """A sum of doubles that was rounded to nearest, rounded to odd instead: where something is left, the neighbour with
    an odd last bit. Rounded again to a type at least two bits shorter it gives what rounding once would."""
    bits = s.view(np.int64)
    inexact = (rest != 0) & np.isfinite(s) & ((bits & 1) == 0)
    towards = np.where(rest > 0, np.inf, -np.inf)
    return np.where(inexact, np.nextafter(s, towards), s)


def fma(x, y, z):
    """x * y + z, rounded once, for types up to float32. The product is exact in double precision."""
    p, w = x.astype(np.float64) * y.astype(np.float64), z.astype(np.float64)
    s, rest = _two_sum(p, w)
    return canonical(_odd(s, rest).astype(x.dtype))


def fma_brain(x, y, z):
    """The same for bfloat16, whose numbers come as float32: rounded to odd there, for whoever rounds to 16 bits."""
    p, w = x.astype(np.float64) * y.astype(np.float64), z.astype(np.float64)
    s, rest = _two_sum(p, w)
    odd = _odd(s, rest)
    near = odd.astype(np.float32)
    left = odd - near.astype(np.float64)
    bits = np.asarray(near).view(np.int32)
    inexact = (left != 0) & np.isfinite(near) & ((bits & 1) == 0)
    towards = np.where(left > 0, np.float32(np.inf), np.float32(-np.inf))
    return canonical(np.where(inexact, np.nextafter(near, towards), near))


def fma64(x, y, z):
    """x * y + z in double precision (Boldo and Melquiond, 2008); what could leave its range goes by exact fractions."""
    x, y, z = np.broadcast_arrays(*map(np.atleast_1d, (x, y, z)))
    high = x * y
    plain = high + z
    small = 2.0**-900
    large = 2.0**900
    sizes = [np.abs(v) for v in (x, y, z, high, plain)]
    split = 134217729.0  # 2**27 + 1 (Dekker)

    def halves(v):
        t = split * v
        upper = t - (t - v)
        return upper, v - upper

    (a, b), (c, d) = halves(x), halves(y)
    low = b * d - (((high - a * c) - b * c) - a * d)
    uh, ul = _two_sum(z, low)
    vh, vl = _two_sum(high, uh)
    s, rest = _two_sum(ul, vl)
    made = vh + _odd(s, rest)
    easy = np.ones(x.shape, bool)
    for size in sizes[:4]:
        easy &= ((size > small) | (size == 0)) & (size < large)
    easy &= (sizes[4] > small) & (high != 0)
    made = np.where(easy, made, plain)
    odd = ~easy & np.isfinite(x) & np.isfinite(y) & np.isfinite(z) & (x != 0) & (y != 0)
    if odd.any():
        made = made.copy()
        made[odd] = [_exact(*map(float, v)) for v in zip(x[odd], y[odd], z[odd])]
    return made


def _exact(x: float, y: float, z: float) -> float:
    total = Fraction(x) * Fraction(y) + Fraction(z)
    if total == 0:
        return x * y + z  # the sign of a zero
    try:
        return float(total)  # rounds to nearest, ties to even
    except OverflowError:
        return float("inf") if total > 0 else float("-inf")


# Conversions


def _directed(x, exact, mode: str):
    """x is `exact` rounded to nearest; move it where rounding in this direction asks for the other neighbour."""
    back = x.astype(exact.dtype)
    down = {"rz": np.abs(back) > np.abs(exact), "rm": back > exact, "rp": back < exact}[mode]
    towards = {"rz": x.dtype.type(0), "rm": x.dtype.type(-np.inf), "rp": x.dtype.type(np.inf)}[mode]
    return np.where(down, np.nextafter(x, towards), x)


def narrow(x, dtype, mode: str = "rn"):
    """To another floating-point type."""
    made = x.astype(dtype)
    return canonical(made if mode == "rn" else _directed(made, x, mode))


def to_float(numbers, dtype, mode: str = "rn"):
    """Integers to floating point."""
    if np.dtype(dtype).itemsize == 2:
        numbers = numbers.astype(np.float64)  # exact, as far as 16 bits reach
    made = numbers.astype(dtype)
    if mode == "rn":
        return made
    exact = numbers.astype(np.longdouble)  # 64 bits
    return _directed(made, exact, mode).astype(dtype)


def integral(x, mode: str):
    """Rounded to an integer of the same type; mode: rni, rzi, rmi or rpi."""
    return canonical({"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}[mode](x))


def to_integer(x, dtype, mode: str):
    """To an integer: what is too large is the largest; for NaN see the table of `cvt` in PTX's manual."""
    info = np.iinfo(dtype)
    wide = integral(x, mode).astype(np.float64)
    low, high = float(info.min), float(info.max)
    inside = (wide > low) & (wide < high)  # high rounds up to a power of two where it is not a double
    made = np.where(inside, wide, 0).astype(dtype)
    made = np.where(wide >= high, dtype(info.max), np.where(wide <= low, dtype(info.min), made))
    bits = info.bits
    zero = x.dtype.itemsize < 8 and bits < 64
    nothing = dtype(0) if zero else dtype(info.min if info.min else 1 << (bits - 1))
    return np.where(np.isnan(x), nothing, made)
