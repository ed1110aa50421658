"""Sine, cosine and tangent."""

from __future__ import annotations

from .angle import reduce_angle
from .lanes import V, exact_fma, fma, function, poly, quick_two_sum, where


def sine_cosine(r: V, low: V) -> tuple[V, V]:
    """Sine and cosine of r + low (of r alone in float32), between -pi/4 and pi/4."""
    f = r.f
    z = r * r
    half = z * 0.5
    if f.bits == 32:
        return fma(r * z, poly(z, f.table["sin"]), r), fma(z * z, poly(z, f.table["cos"]), 1.0 - half)
    sine = r + fma(r * z, poly(z, f.table["sin"]), fma(low, -half, low))
    lead = 1.0 - half
    cosine = lead + (((1.0 - lead) - half) + fma(z * z, poly(z, f.table["cos"]), -(r * low)))
    return sine, cosine


def _flip(y: V, quadrant: V) -> V:
    """y, negated if bit 1 of the quadrant is set."""
    return (y.bits() ^ ((quadrant & 2) << (y.f.bits - 2))).float()


@function
def sin(x: V) -> V:
    """The sine."""
    r, low, quadrant = reduce_angle(x, precise=x.f.bits == 64)
    sine, cosine = sine_cosine(r, low)
    y = _flip(where((quadrant & 1).ne(0), cosine, sine), quadrant)
    return where(x.eq(0.0), x, y)


@function
def cos(x: V) -> V:
    """The cosine."""
    r, low, quadrant = reduce_angle(x, precise=x.f.bits == 64)
    sine, cosine = sine_cosine(r, low)
    return _flip(where((quadrant & 1).ne(0), sine, cosine), quadrant + 1)


@function
def tan(x: V) -> V:
    """The tangent: a polynomial, or minus its reciprocal."""
    r, low, quadrant = reduce_angle(x)
    z = r * r
    # tan(r + low) = tan r + low (1 + tan(r)**2), with the correction's tangent taken from the polynomial's first terms.
    q = poly(z, x.f.table["tan"]) * z
    first = fma(r, q, r)
    tangent, rest = quick_two_sum(r, fma(r, q, fma(low, first * first, low)))
    inverse = -1.0 / tangent
    # One Newton step takes care of the tangent's own rounding.
    error = exact_fma(inverse, tangent, 1.0) + inverse * rest
    inverse_finite = fma(inverse, error, inverse)
    y = where((quadrant & 1).ne(0), inverse_finite, tangent)
    return where(x.eq(0.0), x, y)
