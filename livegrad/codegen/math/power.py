"""Powers and roots."""

from __future__ import annotations

import math

from .exponential import exp_parts, scale
from .lanes import V, choose, exact_fma, fma, function, poly, quick_two_sum, two_sum, where
from .logarithm import split


def _pow_log(a: V) -> tuple[V, V]:
    """log(a) in double length, for positive finite a in float64."""
    f = a.f
    e, m = split(a)
    g = m - 1.0
    d = g + 2.0
    d_low = g - (d - 2.0)
    inverse = 1.0 / d
    s = g * inverse
    s_low = (exact_fma(-s, d, g) - s * d_low) * inverse
    u = s * s
    u_low = exact_fma(s, s, -u) + (s + s) * s_low
    uq = u * poly(u, f.table["log_precise"])
    third = 0.3333333333333333
    t, t_low = quick_two_sum(a.const(third), uq)
    t_low = t_low + 1.850371707708594e-17
    w = u * t
    w_low = exact_fma(u, t, -w) + fma(u, t_low, u_low * t)
    two_s, two_low = s + s, s_low + s_low
    v = two_s * w
    v_low = exact_fma(two_s, w, -v) + fma(two_s, w_low, two_low * w)
    high, low = quick_two_sum(two_s, v)
    low = low + (two_low + v_low)
    total, error = two_sum(e * f.ln2[0], high)
    return quick_two_sum(total, error + fma(e, f.ln2[1], low))


def _pow_log_short(a: V) -> V:
    """log(a) in float64 with some 36 correct bits: enough for a result in float32."""
    f = a.f
    e, m = split(a)
    g = m - 1.0
    s = g / (g + 2.0)
    z = s * s
    return fma(e, math.log(2.0), fma(s * z, poly(z, f.table["log_short"]), s + s))


def _pow(x: V, y: V, short: bool) -> V:
    f = x.f
    a = abs(x)
    if short:
        product = (y * _pow_log_short(a)).at_least(-200.0).at_most(200.0)
        shifted = fma(product, f.log2e[0], f.magic + f.bias)
        r = fma(shifted - (f.magic + f.bias), -math.log(2.0), product)
        p = poly(r, (1.0, 1.0, *f.table["exp_short"]))
        size = p * (shifted.bits() << f.fraction).float()
    else:
        high, low = _pow_log(a)
        product = y * high
        rest = exact_fma(y, high, -product) + y * low
        inside = abs(product) < 800.0
        product = where(inside, product, choose(product > 0.0, f.kind, f.exp_high, f.exp_low))
        p, p_low, n = exp_parts(product, 2 * f.bias, where(inside, rest, 0.0))
        size = scale(p + p_low, n, f)
    # Zeros and infinities, and 1 to an infinite power.
    grows = (a.eq(0.0) & (y < 0.0)) | (a.eq(math.inf) & (y > 0.0))
    size = where(a.eq(0.0) | a.eq(math.inf), choose(grows, f.kind, math.inf, 0.0), size)
    size = where(a.eq(1.0), 1.0, size)
    # Negative bases.
    whole = y.rint().eq(y)
    half = y * 0.5
    odd = whole & half.rint().ne(half)
    size = where(odd, size.signed(x), size)
    size = where((x < 0.0) & (a < math.inf) & ~whole, math.nan, size)
    size = where(x.isnan() | y.isnan(), math.nan, size)
    return where(x.eq(1.0) | y.eq(0.0), 1.0, size)


@function
def pow(x: V, y: V) -> V:
    """x**y with C's rules for special values: exp(y log x), the logarithm in double length."""
    if x.r.kind == "f32":
        return _pow(x.to("f64"), y.to("f64"), short=True).to("f32")
    return _pow(x, y, short=False)


@function
def rsqrt(x: V) -> V:
    """1 / sqrt(x)"""
    return 1.0 / x.sqrt()


@function
def hypot(x: V, y: V) -> V:
    """sqrt(x**2 + y**2) without overflow or underflow on the way."""
    f = x.f
    ax, ay = abs(x), abs(y)
    infinite = ax.eq(math.inf) | ay.eq(math.inf)
    swap = ax < ay
    large, small = where(swap, ay, ax), where(swap, ax, ay)
    reach, shift = (60, 90) if f.bits == 32 else (500, 600)
    big, little = large > 2.0**reach, large < 2.0**-reach
    down = where(big, 2.0**-shift, choose(little, f.kind, 2.0**shift, 1.0))
    up = where(big, 2.0**shift, choose(little, f.kind, 2.0**-shift, 1.0))
    large, small = large * down, small * down
    return where(infinite, math.inf, fma(large, large, small * small).sqrt() * up)
