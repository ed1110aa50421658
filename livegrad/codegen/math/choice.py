"""Rounding, sign, and the smaller and larger of two."""

from __future__ import annotations

from .lanes import V, choose, function, where


@function
def round(x: V) -> V:
    """The nearest integer, ties to even."""
    return x.rint()


@function
def sign(x: V) -> V:
    """-1, 0 or 1; 0 for NaN, as in PyTorch."""
    return where(x > 0.0, 1.0, choose(x < 0.0, x.r.kind, -1.0, 0.0))


@function
def minimum(x: V, y: V) -> V:
    """The smaller one; NaN if either is."""
    return V(x.b, x.b.fmin_ieee(x.r, y.r))


@function
def maximum(x: V, y: V) -> V:
    """The larger one; NaN if either is."""
    return V(x.b, x.b.fmax_ieee(x.r, y.r))
