"""Random numbers by element index: the generator Philox 4x32-10, and distributions made from it.

Philox (J. Salmon, M. Moraes, R. Dror, D. Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a counter
of 128 bits and a key of 64 into 128 random bits. Here the counter is (index of the element, number of the draw) and the
key is the seed, so an element's number depends on nothing else: not on the device, the launch or the other elements.

All of it is elementwise formulas, so it is computed by whatever computes elementwise operators, fuses with them, and is
computed anew in a backward pass instead of being kept. Logarithm, sine and cosine are polynomials of additions and
multiplications here, which every device rounds in the same way: numbers are the same to the last bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..lazy import backend
from ..lazy.value import Value, pending
from ..runtime.array import numel
from . import scalar
from .instruction import CASTS, ElementwiseOp
from .scalar import and_, eq, floor, ge, lt, shr, sqrt, where, xor

_LOW = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85


def philox(counter: tuple, key: tuple) -> tuple:
    """Four words from a counter of four and a key of two, each of 32 bits in a 64-bit integer."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p, q = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = xor(xor(_high(q), c1), k0), and_(q, _LOW), xor(xor(_high(p), c3), k1), and_(p, _LOW)
        k0, k1 = and_(k0 + _WEYL[0], _LOW), and_(k1 + _WEYL[1], _LOW)
    return c0, c1, c2, c3


def _high(x: Any) -> Any:
    return and_(shr(x, 32), _LOW)


def _half(which: int) -> Any:
    """The formula of 64 of an element's 128 random bits."""

    def formula(index, draw, draw_high, key, key_high):
        words = philox((and_(index, _LOW), _high(index), draw, draw_high), (key, key_high))
        return words[2 * which] + scalar.shl(words[2 * which + 1], 32)

    return formula


_BITS = [ElementwiseOp(f"philox_bits_{which}", _half(which)) for which in (0, 1)]
_SUM = ElementwiseOp("philox_index", lambda lead, tail: lead + tail)


# --- pieces of 64 random bits, as integers -----------------------------------------------------------------------
# What is made of 32 bits takes the low ones for a radius and the high ones for an angle; what takes 64 for each is made
# of both halves.

_UPPER = ElementwiseOp("philox_upper", lambda bits, shift, mask: and_(shr(bits, shift), mask))
# 1 to 2**32 from the low word, 1 to 2**53 from 64 bits.
_ABOVE_ZERO_32 = ElementwiseOp("philox_above_zero_32", lambda bits: and_(bits, _LOW) + 1)
_ABOVE_ZERO_64 = ElementwiseOp("philox_above_zero_64", lambda bits: and_(shr(bits, 11), (1 << 53) - 1) + 1)
# An angle: the quadrant whose middle is nearest, and how far from that middle.
_QUADRANT_32 = ElementwiseOp("philox_quadrant_32", lambda bits: shr(_high(bits) + (1 << 29), 30) & 3)
_OFF_32 = ElementwiseOp("philox_off_32", lambda bits: and_(_high(bits) + (1 << 29), (1 << 30) - 1) - (1 << 29))
_QUADRANT_64 = ElementwiseOp("philox_quadrant_64", lambda bits: and_(shr(bits + (1 << 61), 62), 3))
_OFF_64 = ElementwiseOp("philox_off_64", lambda bits: and_(bits + (1 << 61), (1 << 62) - 1) - (1 << 61))


# --- functions that are the same on every device ----------------------------------------------------------------


def _polynomial(x: Any, coefficients: list[float]) -> Any:
    total = coefficients[-1]
    for c in coefficients[-2::-1]:
        total = total * x + c
    return total


def _logarithm(u: Any, terms: int) -> Any:
    """log of u from (0, 1], u at least 2**-63: 2 artanh((x - 1) / (x + 1)) as a series, with x near 1."""
    x, halvings = u, 0.0
    for step in (32, 16, 8, 4, 2, 1):
        small = lt(x, 2.0**-step)
        x = where(small, x * 2.0**step, x)
        halvings = where(small, halvings + float(step), halvings)
    small = lt(x, math.sqrt(0.5))
    x = where(small, x * 2.0, x)
    halvings = where(small, halvings + 1.0, halvings)
    t = (x - 1.0) / (x + 1.0)
    series = _polynomial(t * t, [2 / (2 * k + 1) for k in range(terms)])
    return t * series - halvings * math.log(2)


def _sine_and_cosine(quadrant: Any, angle: Any, terms: int) -> tuple:
    """Of quadrant * pi/2 + angle, for an angle from -pi/4 to pi/4: Taylor's series."""
    z = angle * angle
    s = angle * _polynomial(z, [(-1) ** k / math.factorial(2 * k + 1) for k in range(terms)])
    c = _polynomial(z, [(-1) ** k / math.factorial(2 * k) for k in range(terms + 1)])
    odd = eq(quadrant - floor(quadrant / 2.0) * 2.0, 1.0)
    sine, cosine = where(odd, c, s), where(odd, s, c)
    return (
        where(ge(quadrant, 2.0), -sine, sine),
        where(eq(floor((quadrant + 1.0) / 2.0), 1.0), -cosine, cosine),
    )


class _Made:
    """The formulas of one width: 32 bits for each random quantity, or 64 (for float64)."""

    def __init__(self, width: int):
        unit, terms = (2.0**-32, (5, 5)) if width == 32 else (2.0**-53, (11, 9))
        turn = 2 * math.pi * 2.0**-width

        def log_unit(radius):
            return _logarithm(radius * unit, terms[0])

        def normal(radius, quadrant, off, mean, std):
            cosine = _sine_and_cosine(quadrant, (off + 0.5) * turn, terms[1])[1]
            return sqrt(log_unit(radius) * -2.0) * cosine * std + mean

        def cauchy(quadrant, off, median, sigma):
            sine, cosine = _sine_and_cosine(quadrant, (off + 0.5) * turn, terms[1])
            return sine / cosine * sigma + median

        def over_log(radius, divisor):
            return log_unit(radius) / divisor

        self.normal = ElementwiseOp(f"philox_normal_{width}", normal)
        self.cauchy = ElementwiseOp(f"philox_cauchy_{width}", cauchy)
        self.exponential = ElementwiseOp(f"philox_exponential_{width}", over_log)
        self.geometric = ElementwiseOp(f"philox_geometric_{width}", lambda radius, divisor: scalar.ceil(
            over_log(radius, divisor)))  # fmt: skip
        narrow = width == 32
        self.above_zero = _ABOVE_ZERO_32 if narrow else _ABOVE_ZERO_64
        self.quadrant = _QUADRANT_32 if narrow else _QUADRANT_64
        self.off = _OFF_32 if narrow else _OFF_64


_MADE = {width: _Made(width) for width in (32, 64)}
_UNIT = ElementwiseOp("philox_unit", lambda k, scale: k * scale)
_RANGE = ElementwiseOp("philox_range", lambda unit, low, extent: unit * extent + low)
_BELOW = ElementwiseOp("philox_below", lambda x, low, high: where(ge(x, high), low, x))
_HIT = ElementwiseOp("philox_hit", lambda k, limit: lt(k, limit))
_LESS = ElementwiseOp("philox_less", lambda unit, p: lt(unit, p))
_EXP = ElementwiseOp("philox_exp", lambda x: scalar.exp(x))


def _upper_product(x: Any, low: Any, high: Any) -> Any:
    """The upper 64 of the 128 bits of x times a number of two words, all without signs."""
    x0, x1 = and_(x, _LOW), _high(x)
    middle = x1 * low + _high(x0 * low)
    return x1 * high + _high(middle) + _high(x0 * high + and_(middle, _LOW))


# Integers below a span: the upper half of random bits times the span. The probabilities of two of them differ by the
# span's part of 2**32 at most, and of 2**64 where the span takes more than one word.
_SCALED = ElementwiseOp("philox_scaled", lambda bits, span, first: _high(and_(bits, _LOW) * span) + first)
_WIDE = ElementwiseOp("philox_wide", lambda bits, low, high, first: _upper_product(bits, low, high) + first)


def _apply(op: ElementwiseOp, out: Any, *args: Any, compute: Any = None) -> Value:
    """Apply to values and numbers. compute: what the formula is computed in; the result's dtype unless given."""
    pattern = "".join("t" if a.__class__ is Value else "s" for a in args)
    operands = tuple(a for a in args if a.__class__ is Value)
    shape = operands[0].shape
    for o in operands[1:]:
        shape = shape if shape == o.shape else tuple(np.broadcast_shapes(shape, o.shape))
    instruction = op.specialise(pattern, tuple(o.dtype for o in operands), compute or out, out)
    return pending(instruction, operands, tuple(a for a in args if a.__class__ is not Value), shape)


# --- elements and their bits ------------------------------------------------------------------------------------


def indices(shape: tuple, device: devices.device) -> Value:
    """The row-major index of each element, from two small tables where the shape has two or more dimensions."""
    split, best = 0, numel(shape)
    for d in range(1, len(shape)):
        longer = max(numel(shape[:d]), numel(shape[d:]))
        if longer < best:
            split, best = d, longer
    if not split:
        return backend.count(numel(shape), 1, device).reshape(shape)  # type: ignore[attr-defined]
    inner = numel(shape[split:])
    ones = (1,) * (len(shape) - split)
    lead = backend.count(numel(shape[:split]), inner, device).reshape((*shape[:split], *ones))  # type: ignore[attr-defined]
    tail = backend.count(inner, 1, device).reshape(shape[split:])  # type: ignore[attr-defined]
    return _apply(_SUM, dtypes.int64, lead, tail)


class Draw:
    """One draw: random bits for each element of a shape. number: which one it is, of those with this seed."""

    def __init__(self, seed: int, number: int, shape: tuple, device: devices.device):
        self.index = indices(shape, device)
        self.numbers = (number & _LOW, number >> 32 & _LOW, seed & _LOW, seed >> 32 & _LOW)
        self.device = device

    def bits(self, which: int = 0) -> Value:
        """64 random bits for each element, as int64: the first half of its 128, or the second."""
        return _apply(_BITS[which], dtypes.int64, self.index, *self.numbers)

    def _upper(self, digits: int) -> Value:
        """The upper bits of the first half's."""
        return _apply(_UPPER, dtypes.int64, self.bits(), 64 - digits, (1 << digits) - 1)

    def uniform(self, d: dtypes.dtype, low: float = 0.0, high: float = 1.0) -> Value:
        """From low up to but not including high: as many bits as the dtype holds."""
        digits = _DIGITS[d]
        made = _apply(_UNIT, d, self._upper(digits), 2.0**-digits)
        if low == 0 and high == 1:
            return made
        # Rounded, it can reach `high`; what a half type holds is looked at after it has been rounded to it.
        return _apply(_BELOW, d, _apply(_RANGE, d, made, low, high - low), low, high)

    def _pieces(self, d: dtypes.dtype) -> tuple:
        """The formulas for a dtype, bits for a radius, and bits for an angle."""
        if d is dtypes.float64:
            return _MADE[64], lambda: self.bits(0), lambda: self.bits(1)
        return _MADE[32], lambda: self.bits(0), lambda: self.bits(0)

    def normal(self, d: dtypes.dtype, mean: float = 0.0, std: float = 1.0) -> Value:
        """Normal numbers, by Box and Muller (1958): one for each element, so that it needs no other."""
        made, radius, angle = self._pieces(d)
        r = _apply(made.above_zero, dtypes.int64, radius())
        turned = angle()
        quadrant, off = _apply(made.quadrant, dtypes.int64, turned), _apply(made.off, dtypes.int64, turned)
        return _apply(made.normal, d, r, quadrant, off, mean, std)

    def log_normal(self, d: dtypes.dtype, mean: float, std: float) -> Value:
        """exp of normal numbers; exp rounds as the device does."""
        return _apply(_EXP, d, self.normal(d, mean, std))

    def exponential(self, d: dtypes.dtype, rate: float = 1.0) -> Value:
        """-log(u) / rate."""
        made, radius, _ = self._pieces(d)
        return _apply(made.exponential, d, _apply(made.above_zero, dtypes.int64, radius()), -rate)

    def geometric(self, d: dtypes.dtype, p: float) -> Value:
        """How many trials until the first success: log(u) / log(1 - p), rounded up, and 1 at least."""
        work = d if d.category == dtypes.FLOATING else dtypes.float32
        made, radius, _ = self._pieces(work)
        k = _apply(made.geometric, work, _apply(made.above_zero, dtypes.int64, radius()), math.log1p(-p))
        return self.converted(_apply(_BELOW_ONE, work, k), d)

    def cauchy(self, d: dtypes.dtype, median: float, sigma: float) -> Value:
        """The tangent of an angle."""
        made, _, angle = self._pieces(d)
        turned = angle()
        quadrant, off = _apply(made.quadrant, dtypes.int64, turned), _apply(made.off, dtypes.int64, turned)
        return _apply(made.cauchy, d, quadrant, off, median, sigma)

    def bernoulli(self, p: float, d: dtypes.dtype) -> Value:
        """One with probability p, to 53 bits."""
        hits = _apply(_HIT, dtypes.bool_, self._upper(53), math.ceil(p * 2.0**53), compute=dtypes.int64)
        return self.converted(hits, d)

    def bernoulli_of(self, p: Value, d: dtypes.dtype) -> Value:
        """One with the probability that each element of p says."""
        work = p.dtype if p.dtype is dtypes.float64 else dtypes.float32
        hits = _apply(_LESS, dtypes.bool_, self.uniform(work), p, compute=work)
        return self.converted(hits, d)

    def integers(self, low: int, high: int, d: dtypes.dtype) -> Value:
        """From low up to but not including high."""
        span = high - low
        bits = self.bits()
        if span <= _LOW:
            made = _apply(_SCALED, dtypes.int64, bits, span, low)
        elif span <= (1 << 64) - 1:
            made = _apply(_WIDE, dtypes.int64, bits, span & _LOW, span >> 32, low)
        else:
            made = bits
        return self.converted(made, d)

    def converted(self, v: Value, d: dtypes.dtype) -> Value:
        """As another dtype."""
        return v if v.dtype is d else pending(CASTS[v.dtype, d], (v,), (), v.shape)


_BELOW_ONE = ElementwiseOp("philox_at_least_one", lambda k: where(lt(k, 1.0), 1.0, k))
_DIGITS = {dtypes.float16: 11, dtypes.bfloat16: 8, dtypes.float32: 24, dtypes.float64: 53}
