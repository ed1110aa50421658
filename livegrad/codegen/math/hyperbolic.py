"""Hyperbolic functions and their inverses."""

from __future__ import annotations

import math

from .coefficients import TANH_SHORT
from .exponential import exp_near, half_expm1, plain_exp
from .lanes import V, exact_fma, fma, function, horner, in_double, poly, reciprocal, two_sum, where
from .logarithm import plain_log, plain_log1p


def _odd(a: V, name: str) -> V:
    """a + a**3 P(a**2)"""
    z = a * a
    return fma(a * z, poly(z, a.f.table[name]), a)


@function
def sinh(x: V) -> V:
    """The hyperbolic sine: a polynomial below 1, exponentials above."""
    a = abs(x)
    e = plain_exp(a, -1, precise=True)
    return where(a < 1.0, _odd(a, "sinh"), e - 0.25 / e).signed(x)


@function
def cosh(x: V) -> V:
    """The hyperbolic cosine."""
    e = plain_exp(abs(x), -1, precise=True)
    return e + 0.25 / e


# Steps of a table for float32: tanh of 1 to 6 of them, and 1 less its square, happen to lie close to float32 numbers.
_STEP = 77388 / 2**18
_STEPS = [math.tanh(n * _STEP) for n in range(32)]
_SLOPES = [math.cosh(n * _STEP) ** -2 for n in range(32)]


def _tanh_by_table(a: V) -> V:
    """tanh(a) for a >= 0 in float32: with a = n steps + r, t + (1 - t**2) tanh(r) / (1 + t tanh(r))."""
    a = a.at_most(31 * _STEP)  # where it is 1
    shifted = fma(a, 1.0 / _STEP, a.f.magic)
    n = shifted.bits()
    r = fma(shifted - a.f.magic, -_STEP, a)
    z = r * r
    small = fma(r * z, horner(z, TANH_SHORT), r)
    t = n.of(_STEPS)
    return t + n.of(_SLOPES) * small / fma(t, small, 1.0)


@function
def tanh(x: V) -> V:
    """The hyperbolic tangent.

    In float32 h / (1 + h) with h = (exp(2 |x|) - 1) / 2. That is h - h**2 / (1 + h), and 1 - 1 / (1 + h): the roundings
    of sum and quotient count for little in the first where h is small, in the second where it is large. With AVX-512
    there a table.

    In float64, where these would still be felt, a polynomial below 0.5625, above it 1 - 2 / (exp(2 x) + 1).
    """
    a = abs(x)
    if x.f.bits == 64:
        e = exp_near((a + a).at_most(40.0))
        return where(a < 0.5625, _odd(a, "tanh"), fma(reciprocal(e + 1.0), -2.0, 1.0)).signed(x)
    if x.b.has_avx512:
        return _tanh_by_table(a).signed(x)
    h = half_expm1((a + a).at_most(20.0))
    c = h.at_most(1.0)
    return fma(-c, c / (h + 1.0), c).signed(x)


def _log_sum(t: V, w: V, w_low: V) -> V:
    """log(1 + t + sqrt(w + w_low)), for t >= 0 in float64, with the roundings of root and sum made up for."""
    root = w.sqrt()
    root_low = (exact_fma(-root, root, w) + w_low) / (root + root + w.f.tiny)
    v, v_low = two_sum(t, root)
    return plain_log1p(v) + (v_low + root_low) / (v + 1.0)


@function
@in_double
def asinh(x: V) -> V:
    """The inverse hyperbolic sine: a polynomial below 1/2, log(x + sqrt(x**2 + 1)) above."""
    a = abs(x)
    square = a * a
    square_low = exact_fma(a, a, -square)
    w, w_low = two_sum(square, square.const(1.0))
    middle = _log_sum(a - 1.0, w, w_low + square_low)
    far = plain_log(a) + math.log(2.0)
    y = where(a < 2.0**28, middle, far)
    return where(a < 0.5, _odd(a, "asinh"), y).signed(x)


@function
@in_double
def acosh(x: V) -> V:
    """The inverse hyperbolic cosine, with t = x - 1 as log1p(t + sqrt(t (t + 2)))."""
    t = x - 1.0
    u = t + 2.0
    w = t * u
    w_low = exact_fma(t, u, -w) + t * (t - (u - 2.0))
    y = where(x < 2.0**28, _log_sum(t, w, w_low), plain_log(x) + math.log(2.0))
    return where(x < 1.0, math.nan, y)


@function
@in_double
def atanh(x: V) -> V:
    """The inverse hyperbolic tangent: a polynomial below 1/2, log((1 + x) / (1 - x)) / 2 above."""
    a = abs(x)
    y = 0.5 * plain_log((a + 1.0) / (1.0 - a))
    return where(a < 0.5, _odd(a, "atanh"), y).signed(x)
