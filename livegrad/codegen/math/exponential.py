"""Exponentials, and the sigmoid: reduction by multiples of ln 2, and a polynomial.

The reduction is Cody and Waite's, *Software Manual for the Elementary Functions* (1980); where numbers can be looked up
in a register, by multiples of ln 2 / 16 as in Tang, *Table-driven implementation of the exponential function in IEEE
floating-point arithmetic* (1989).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from struct import pack, unpack

from .coefficients import EXP_SHORT
from .lanes import Format, V, fma, function, poly, quick_two_sum, where

# 2**(k / 16), and what these lack in float32.
_ROOTS = [2.0 ** (k / 16) for k in range(16)]
_LOW_ROOTS = [root - unpack("f", pack("f", root))[0] for root in _ROOTS]


def _exp_shift(x: V, shift: int) -> tuple[V, V, V]:
    """n with shift added in the low bits of an integer, ``x - n * ln 2`` (the high part, exact), and n as a float."""
    f = x.f
    magic = f.magic + shift
    shifted = fma(x, f.log2e[0], magic)
    n = shifted - magic
    return shifted.bits(), fma(n, -f.ln2[0], x), n


def exp_parts(x: V, shift: int, tail: V) -> tuple[V, V, V]:
    """``exp(x + tail) = (high + low) * 2**n``; the third result has n + shift in its low bits."""
    word, r, n = _exp_shift(x, shift)
    r, rest = quick_two_sum(r, fma(n, -x.f.ln2[1], tail))
    curve = fma(r * r, poly(r, x.f.table["exp"]), rest)
    high, rest = quick_two_sum(r.const(1.0), r)
    return high, rest + curve, word


def _exp_fraction(x: V, shift: int) -> tuple[V, V, V, V]:
    """``exp(x) = (1 + r * q) * 2**n``: r, q, an integer with n + shift in its low bits, and n as a float."""
    word, r, n = _exp_shift(x, shift)
    r = fma(n, -x.f.ln2[1], r)
    return r, fma(r, poly(r, x.f.table["exp"]), 1.0), word, n


def _times(r: V, q: V, power: V) -> V:
    """``(1 + r * q) * power`` for a power of two, with one rounding; the product with r does not wait for q."""
    return fma(r * power, q, power)


def _powers(n: V, f: Format) -> tuple[V, V]:
    """Two powers of two whose product is ``2**n`` for any n, given ``n + 2 * bias`` in the low bits."""
    first = (n << (f.fraction - 1)) & -(1 << f.fraction)
    return first.float(), ((n << f.fraction) - first).float()


def scale(p: V, n: V, f: Format) -> V:
    """``p * 2**n`` for any n, given ``n + 2 * bias`` in the low bits: two steps, so only the last one rounds."""
    first, second = _powers(n, f)
    return p * first * second


def _zero_below(x: V, limit: float, function: Callable[[V], V]) -> V:
    """function(x), and 0 below a limit, where that rounds to 0: a processor takes hundreds of cycles to find out."""
    below = x < limit
    return where(below, 0.0, function(where(below, 0.0, x)))


def _exp_with_avx512(x: V, shift: int = 0, limit: float | None = None, precise: bool = False) -> V:
    """``exp(x) * 2**shift``, for x below overflow; 0 below a limit.

    In float32, n goes in steps of 1/16, and 2 to the fraction of n comes from a table that fits into a register.
    precise: with what the numbers of the table lack, so that the error is little more than half an ulp, not one.
    """
    if x.f.bits == 64:
        r, q, _, n = _exp_fraction(x, 0)
        p = fma(r, q, 1.0)
    else:
        magic = x.f.magic / 16
        shifted = fma(x, x.f.log2e[0], magic)
        n = shifted - magic
        r = fma(n, -x.f.ln2[1], fma(n, -x.f.ln2[0], x))
        k = shifted.bits()
        root = k.of(_ROOTS)
        curve = fma(r, fma(r, EXP_SHORT[1], EXP_SHORT[0]), 1.0)
        p = root + fma(root * r, curve, k.of(_LOW_ROOTS)) if precise else fma(root * r, curve, root)
    n = n + shift if shift else n
    return p.scaled(n) if limit is None else p.scaled(n, ~(x < limit))


def plain_exp(x: V, shift: int = 0, precise: bool = False) -> V:
    """``exp(x) * 2**shift``; precise: see above"""
    f = x.f
    limit, high = f.exp_low - max(shift, 0), f.exp_high - shift
    if x.b.has_avx512:
        return _exp_with_avx512(x.at_most(high), shift, limit, precise)

    def above(x: V) -> V:
        # The constant is the amount by which the scale is to exceed n, so a shift enters there.
        r, q, n, _ = _exp_fraction(x.at_most(high), 2 * f.bias + shift)
        first, second = _powers(n, f)
        return _times(r, q, first) * second

    return _zero_below(x, limit, above)


def exp_near(x: V) -> V:
    """exp(x) where the result is known to be normal: half the scaling."""
    f = x.f
    if x.b.has_avx512:
        return _exp_with_avx512(x)
    r, q, n, _ = _exp_fraction(x, f.bias)
    return _times(r, q, (n << f.fraction).float())


def exp_negative(x: V) -> V:
    """exp(x) for x <= 0, down to subnormals and zero."""
    f = x.f
    if x.b.has_avx512:
        return _exp_with_avx512(x, limit=f.exp_low, precise=True)
    # The power of two is larger by 2**up, so that it is a normal number where the result is none, and 0, which no
    # processor takes long to multiply with, just where the result rounds to 0.
    up = f.fraction + 1
    r, q, n, _ = _exp_fraction(x.at_least(-(f.bias + up) * math.log(2.0)), f.bias + up)
    return _times(r, q, (n << f.fraction).float()) * 2.0**-up


@function
def exp(x: V) -> V:
    """e**x: reduction by multiples of ln 2 and a polynomial."""
    return plain_exp(x)


@function
def exp_below_one(x: V) -> V:
    """e**x where x is known not to be above 0, which takes fewer instructions; with the bits of :func:`exp`."""
    return plain_exp(x) if x.b.has_avx512 else exp_negative(x)


@function
def exp2(x: V) -> V:
    """2**x"""
    return _zero_below(x, -152.0 if x.f.bits == 32 else -1077.0, _exp2)


def _exp2(x: V) -> V:
    """2**x where it does not round to 0."""
    f = x.f
    x = x.at_most(130.0 if f.bits == 32 else 1026.0)
    magic = f.magic + 2 * f.bias
    shifted = x + magic
    r = x - (shifted - magic)
    # Multiply by ln 2 in two parts, the lower one entering after the leading 1.
    high, low = 0.6931471805599453, 2.3190468138462996e-17
    if f.bits == 32:
        high, low = 0.6931471824645996, -1.9046542121259336e-09
    t = r * high
    q = fma(t * t, poly(t, f.table["exp"]), r * low)
    return scale((t + q) + 1.0, shifted.bits(), f)


def half_expm1(x: V) -> V:
    """(e**x - 1) / 2 where e**x is normal, or just overflows: ``2**(n - 1) * expm1(r) + (2**(n - 1) - 1/2)``."""
    f = x.f
    word, r, n = _exp_shift(x, f.bias - 1)
    r = fma(n, -f.ln2[1], r)
    power = (word << f.fraction).float()
    return fma(power * (r * r), poly(r, f.table["exp"]), fma(power, r, power - 0.5))


@function
def expm1(x: V) -> V:
    """e**x - 1 without cancellation."""
    f = x.f
    small = abs(x) < 2.0 ** -(f.fraction + 2)
    half = half_expm1(x.at_least(-18.0 if f.bits == 32 else -38.0).at_most(f.exp_high))
    return where(small, x, half + half)


@function
def sigmoid(x: V) -> V:
    """1 / (1 + exp(-x)), from e = exp(-|x|), so that it neither overflows nor loses small results.

    It is 1 - e / (1 + e), and for negative x that times e: so the roundings of sum and quotient count for little where
    e is small.
    """
    e = exp_negative(-abs(x))
    num = where(x.bits() < 0, e, 1.0)
    return fma(-num, e / (e + 1.0), num)
