"""Orthogonal polynomials, by their recurrences: p_(n+1) from p_n and p_(n-1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Step = Callable[[int, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _chebyshev(k: int, x: np.ndarray, p: np.ndarray, before: np.ndarray) -> np.ndarray:
    return 2 * x * p - before


# For each: p_1, and p_(k+1) of (k, x, p_k, p_(k-1)).
RECURRENCES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Step]] = {
    "chebyshev_polynomial_t": (lambda x: x, _chebyshev),
    "chebyshev_polynomial_u": (lambda x: 2 * x, _chebyshev),
    "chebyshev_polynomial_v": (lambda x: 2 * x - 1, _chebyshev),
    "chebyshev_polynomial_w": (lambda x: 2 * x + 1, _chebyshev),
    "hermite_polynomial_h": (lambda x: 2 * x, lambda k, x, p, before: 2 * x * p - 2 * k * before),
    "hermite_polynomial_he": (lambda x: x, lambda k, x, p, before: x * p - k * before),
    "laguerre_polynomial_l": (
        lambda x: 1 - x, lambda k, x, p, before: ((2 * k + 1 - x) * p - k * before) / (k + 1)
    ),
    "legendre_polynomial_p": (lambda x: x, lambda k, x, p, before: ((2 * k + 1) * x * p - k * before) / (k + 1)),
}  # fmt: skip


def values(name: str, x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The polynomials of degrees n, rounded to zero, at x; 0 for a degree below 0."""
    if name.startswith("shifted_"):
        name, x = name.removeprefix("shifted_"), 2 * x - 1
    first, step = RECURRENCES[name]
    x, degrees = np.broadcast_arrays(x, np.trunc(n))
    before, p = np.ones_like(x), first(x)
    made = np.where(degrees == 0, before, np.where(degrees == 1, p, 0.0))
    highest = int(np.max(degrees, initial=0.0)) if degrees.size else 0
    for k in range(1, highest):
        before, p = p, step(k, x, p, before)
        made = np.where(degrees == k + 1, p, made)
    return np.where(np.isnan(x) & (degrees > 0), np.nan, made)
