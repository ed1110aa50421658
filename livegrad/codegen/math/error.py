"""The error function and its relatives.

``erfc`` after Shepherd and Laframboise (1981): its scaled form is smooth in ``(x - 3) / (x + 3)``. ``erfinv`` after
Giles (2010), in ``-log(1 - x**2)``.
"""

from __future__ import annotations

import math

from .coefficients import ERFCX_LOW
from .exponential import exp_near, exp_parts, scale
from .lanes import V, exact_fma, fma, function, horner, poly, where
from .logarithm import plain_log


def _erf_near(x: V) -> V:
    """erf(x) for |x| < 1."""
    return fma(x, poly(x * x, x.f.table["erf"]), x)


def _erfc_far(a: V) -> V:
    """erfc(a) for a >= 1/2: exp(-a**2) times a polynomial in (a - 3) / (a + 3), divided by a + 3."""
    f = a.f
    a = a.at_most(11.0 if f.bits == 32 else 28.0)
    square = a * a
    square_low = exact_fma(a, a, -square)
    p, p_low, n = exp_parts(-square, 2 * f.bias, -square_low)
    d = a + 3.0
    d_low = a - (d - 3.0)
    w = 1.0 / d
    w_low = w * fma(-w, d_low, exact_fma(-w, d, 1.0))
    t = fma(w_low, -6.0, fma(w, -6.0, 1.0))
    constant, *others = f.table["erfcx"]
    if f.bits == 32:
        g = fma(t, horner(t, others), constant)
    else:  # the value falls below the constant term, whose rounding would be felt
        g = fma(t, horner(t, others), ERFCX_LOW) + constant
    y = p * g
    y_low = exact_fma(p, g, -y) + p_low * g
    return scale(fma(y, w, fma(y, w_low, y_low * w)), n, f)


@function
def erf(x: V) -> V:
    """The error function: a polynomial below 1, 1 - exp(-P(x)) (float32) or 1 - erfc(x) (float64) above."""
    a = abs(x)
    if x.f.bits == 32:
        far = 1.0 - exp_near(-poly(a.at_most(3.93), x.f.table["erf_large"]))
    else:
        far = 1.0 - _erfc_far(a)
    return where(a < 1.0, _erf_near(a), far).signed(x)


@function
def erfc(x: V) -> V:
    """1 - erf(x) without cancellation."""
    a = abs(x)
    far = _erfc_far(a)
    far = where(x < 0.0, 2.0 - far, far)
    return where(a < 0.5, 1.0 - _erf_near(x), far)


@function
def erfinv(x: V) -> V:
    """The inverse of erf: x times a polynomial in w = -log(1 - x**2), or in sqrt(w) where w is large."""
    f = x.f
    w = -plain_log((1.0 - x) * (x + 1.0))
    root = w.sqrt()
    if f.bits == 32:
        y = where(w < 5.0, horner(w - 2.5, f.table["erfinv_centre"]), horner(root - 3.0, f.table["erfinv_tail"]))
    else:
        far = where(w < 16.0, horner(root - 3.25, f.table["erfinv_tail"]), horner(root - 5.0, f.table["erfinv_far"]))
        y = where(w < 6.25, horner(w - 3.125, f.table["erfinv_centre"]), far)
    return where(abs(x).eq(1.0), math.inf, abs(x) * y).signed(x)
