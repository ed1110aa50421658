"""The logarithm of the gamma function, and its derivative."""

from __future__ import annotations

import math

from .coefficients import DIGAMMA_ROOT
from .lanes import V, fma, function, horner, in_double, poly, where
from .logarithm import plain_log
from .trigonometric import sine_cosine


def _sine_cosine_pi(a: V) -> tuple[V, V]:
    """sin(pi a) and cos(pi a) for a >= 0, up to sign: of the distance to the nearest integer."""
    f = a - a.floor()
    f = where(f > 0.5, 1.0 - f, f)
    swap = f > 0.25
    r = where(swap, 0.5 - f, f)
    sine, cosine = sine_cosine(r * math.pi, r * 1.2246467991473532e-16)
    return where(swap, cosine, sine), where(swap, sine, cosine)


def _lgamma_positive(a: V) -> V:
    """For a >= 0: (y = z - 2) P(y) with 3/2 <= z < 5/2, log of the factors that lead there, or Stirling's series."""
    low, middle, large = a < 0.5, a < 1.5, a >= 8.0
    z, product = a, a.const(1.0)
    for _ in range(6):
        step = z >= 2.5
        z = where(step, z - 1.0, z)
        product = where(step, product * z, product)
    y = where(low, a, where(middle, a - 1.0, z - 2.0))
    product = where(low, fma(a, a, a), where(middle, a, product))
    logarithm = plain_log(where(large, a, product))
    near = fma(y, horner(y, a.f.table["lgamma"]), where(middle, -logarithm, logarithm))
    inverse = 1.0 / a
    series = inverse * poly(inverse * inverse, a.f.table["lgamma_large"])
    constant = 0.5 * math.log(2.0 * math.pi) - 0.5
    far = fma(a - 0.5, logarithm - 1.0, series + constant)
    return where(large, far, near)


@function
@in_double
def lgamma(x: V) -> V:
    """log |gamma(x)|, by reflection for negative x (near the zeros there, only the absolute error is small)."""
    a = abs(x)
    y = _lgamma_positive(a)
    sine, _ = _sine_cosine_pi(a)
    reflected = plain_log(math.pi / (a * sine)) - y
    y = where((x < 0.0) & (a > 1e-300), reflected, y)
    y = where(x < -(2.0**52), math.inf, y)  # an integer, so a pole
    return where(a.eq(math.inf), math.inf, y)


@function
@in_double
def digamma(x: V) -> V:
    """The derivative of lgamma: a polynomial on [1, 2] around the zero, recurrence, asymptotic series, reflection."""
    f = x.f
    a = abs(x)
    below, large = a < 1.0, a >= 10.0
    z = where(below, a + 1.0, a)
    num, den = a.const(0.0), a.const(1.0)
    for _ in range(8):
        step = z > 2.0
        z = where(step, z - 1.0, z)
        num = where(step, fma(num, z, den), num)
        den = where(step, den * z, den)
    root, root_low = DIGAMMA_ROOT
    distance = where(below, a - (root - 1.0), z - root) - root_low
    offset = where(below, a - 0.5, z - 1.5)
    ratio = where(below, -1.0, num) / where(below, a, den)
    near = fma(distance, horner(offset, f.table["digamma"]), ratio)
    inverse = 1.0 / a
    square = inverse * inverse
    far = plain_log(a) - fma(square, poly(square, f.table["digamma_large"]), 0.5 * inverse)
    y = where(large, far, near)
    sine, cosine = _sine_cosine_pi(a)
    fraction = a - a.floor()
    slope = math.pi * cosine / sine
    slope = where(fraction > 0.5, -slope, slope)
    reflected = where(fraction.eq(0.0), math.nan, (y + inverse) + slope)
    y = where(x < 0.0, reflected, y)
    y = where(a.eq(math.inf), where(x > 0.0, x, math.nan), y)
    return where(a < 1e-290, -1.0 / x, y)
