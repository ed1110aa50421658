"""The inverse sine, cosine and tangent."""

from __future__ import annotations

import math

from .lanes import V, choose, exact_fma, fma, function, poly, where


def _asin_parts(x: V) -> tuple[V, V, V, V]:
    """For |x| <= 1/2, asin(x) = s + p; above, asin(|x|) = pi/2 - 2 (s + p + c)."""
    a = abs(x)
    big = a > 0.5
    z = where(big, fma(a, -0.5, 0.5), x * x)
    root = z.sqrt()
    s = where(big, root, x)
    p = s * (z * poly(z, x.f.table["asin"]))
    c = exact_fma(-root, root, z) / (root + root + x.f.tiny)
    return big, s, p, c


@function
def asin(x: V) -> V:
    """The inverse sine; above 1/2 through asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2))."""
    big, s, p, c = _asin_parts(x)
    high, low = x.f.half_pi[0], x.f.half_pi[1]
    outer = high - 2.0 * (s + (p + (c - 0.5 * low)))
    return where(big, outer.signed(x), s + p)


@function
def acos(x: V) -> V:
    """The inverse cosine."""
    big, s, p, c = _asin_parts(x)
    high, low = x.f.half_pi[0], x.f.half_pi[1]
    inner = high - (s + (p - low))
    right = 2.0 * (s + (p + c))
    left = 2.0 * (high - (s + (p + (c - low))))
    return where(big, where(x > 0.0, right, left), inner)


def _atan_ratio(num: V, den: V) -> V:
    """atan(num / den) for 0 <= num <= den."""
    f = num.f
    if f.bits == 32:
        t = num / den
        z = t * t
        return fma(t * z, poly(z, f.table["atan"]), t)
    # Above tan(pi/8), turn by pi/4.
    middle = num > den * (math.sqrt(2.0) - 1.0)
    t = where(middle, num - den, num) / where(middle, num + den, den)
    z = t * t
    p = t * z * poly(z, f.table["atan"])
    turned = f.half_pi[0] / 2 + (t + (p + f.half_pi[1] / 2))
    return where(middle, turned, t + p)


def _turn(y: V, swap: V) -> V:
    """pi/2 - y where the ratio was turned upside down."""
    high, low = y.f.half_pi[0], y.f.half_pi[1]
    return where(swap, high - (y - low), y)


@function
def atan(x: V) -> V:
    """The inverse tangent."""
    a = abs(x)
    swap = a > 1.0
    y = _turn(_atan_ratio(where(swap, 1.0, a), where(swap, a, 1.0)), swap)
    return y.signed(x)


@function
def atan2(y: V, x: V) -> V:
    """The angle of the point (x, y), in all four quadrants."""
    f = x.f
    ax, ay = abs(x), abs(y)
    swap = ay > ax
    num, den = where(swap, ax, ay), where(swap, ay, ax)
    both = num.eq(math.inf) & den.eq(math.inf)
    num, den = where(both, 1.0, num), where(both | den.eq(0.0), 1.0, den)
    if f.bits == 64:  # num + den must not overflow
        down = choose(den > 2.0**1000, f.kind, 0.25, 1.0)
        num, den = num * down, den * down
    angle = _turn(_atan_ratio(num, den), swap)
    high, low = 2.0 * f.half_pi[0], 2.0 * f.half_pi[1]
    angle = where(x.bits() < 0, high - (angle - low), angle)
    return angle.signed(y)
