"""Logarithms: the exponent apart, and a polynomial.

In float64 log(1 + f) has the form ``2 s + s R(s**2)`` with ``s = f / (2 + f)``, as in Sun's fdlibm.
"""

from __future__ import annotations

import math

from .exponential import exp_negative
from .lanes import V, choose, fma, function, poly, quick_two_sum, where


def split(x: V) -> tuple[V, V]:
    """``x = 2**e * m`` with m between sqrt(1/2) and sqrt(2), for positive finite x; e is a float."""
    f = x.f
    lift = f.fraction + 2
    tiny = x < f.tiny
    word = where(tiny, x * 2.0**lift, x).bits() + ((f.bias << f.fraction) - f.root_half)
    m = ((word & ((1 << f.fraction) - 1)) + f.root_half).float()
    # An integer below 2**fraction becomes a float by or-ing the exponent of 2**fraction to it.
    power = 2.0**f.fraction
    lead = (f.bias + f.fraction) << f.fraction
    biased = ((word >> f.fraction) | lead).float()
    return biased - choose(tiny, f.kind, power + f.bias + lift, power + f.bias), m


def _log_near_one(g: V) -> tuple[V, V]:
    """log(1 + g) as a sum of two, the second one much smaller, for 1 + g between sqrt(1/2) and sqrt(2)."""
    f = g.f
    if f.bits == 32:
        return g, g * g * poly(g, f.table["log"])
    s = g / (g + 2.0)
    z = s * s
    half = g * g * 0.5
    return g, s * fma(z, poly(z, f.table["log"]), half) - half


def _log_of(e: V, g: V) -> V:
    """e * ln 2 + log(1 + g)"""
    f = e.f
    high, low = _log_near_one(g)
    return fma(e, f.ln2[0], high + fma(e, f.ln2[1], low))


def _log_edges(x: V, y: V) -> V:
    """The logarithm y of x, with what belongs to zero, negative numbers, infinity and NaN."""
    y = where(x < math.inf, y, x)
    return where(x <= 0.0, where(x.eq(0.0), x.const(-math.inf), math.nan), y)


def plain_log(x: V) -> V:
    e, m = split(x)
    return _log_edges(x, _log_of(e, m - 1.0))


def _log_other(x: V, scale: tuple[float, float], unit: tuple[float, float]) -> V:
    """A logarithm to another base, given 1 / ln(base) and log_base(2), each in two parts."""
    e, m = split(x)
    high, low = _log_near_one(m - 1.0)
    if x.f.bits == 64:
        high, low = quick_two_sum(high, low)
    product = high * scale[0]
    rest = fma(high, scale[0], -product) + fma(high, scale[1], low * scale[0])
    total, error = quick_two_sum(e * unit[0], product)
    # With e = 0 the first term is zero and the sum is exact all the same.
    total, error = (where(e.eq(0.0), product, total), where(e.eq(0.0), 0.0, error))
    return _log_edges(x, total + (error + (fma(e, unit[1], rest) if unit[1] else rest)))


@function
def log(x: V) -> V:
    """The natural logarithm."""
    return plain_log(x)


@function
def log2(x: V) -> V:
    """The logarithm to base 2, exact for powers of two."""
    return _log_other(x, x.f.log2e, (1.0, 0.0))


@function
def log10(x: V) -> V:
    """The logarithm to base 10."""
    return _log_other(x, x.f.log10e, x.f.lg2)


def plain_log1p(x: V) -> V:
    f = x.f
    u = x + 1.0
    e, m = split(u)
    # 2**-e, and with it the fraction without the rounding of 1 + x; beyond 2**60 the 1 does not matter.
    biased = (f.bias - e) + (2.0**f.fraction)
    power = (biased.bits() << f.fraction).float()
    g = where(x < 2.0**60, fma(x, power, power - 1.0), m - 1.0)
    y = where(u.eq(math.inf), u, _log_of(e, g))
    y = where(x <= -1.0, where(x.eq(-1.0), x.const(-math.inf), math.nan), y)
    # Tiny numbers, zeros with their sign, and NaN.
    return where(abs(x) >= 2.0 ** -(f.fraction + 2), y, x)


@function
def log1p(x: V) -> V:
    """log(1 + x) without rounding 1 + x."""
    return plain_log1p(x)


@function
def log1pexp(x: V) -> V:
    """log(1 + exp(x)), the softplus function, without overflow."""
    return x.at_least(0.0) + plain_log1p(exp_negative(-abs(x)))


@function
def logaddexp(x: V, y: V) -> V:
    """log(exp(x) + exp(y)) without overflow."""
    larger = V(x.b, x.b.fmax_ieee(x.r, y.r))
    distance = where(x.eq(y), 0.0, abs(x - y))
    return larger + plain_log1p(exp_negative(-distance))
