"""The incomplete gamma functions, Hurwitz's zeta function, the scaled error function."""

from __future__ import annotations

import math

import numpy as np

# B_2k / (2k)!, of the Euler-Maclaurin formula.
_BERNOULLI = (
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
    -3617 / 10670622842880000, 43867 / 5109094217170944000, -174611 / 802857662698291200000,
)  # fmt: skip
_lgamma = np.vectorize(math.lgamma, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])
MOST = 20_000  # terms; their number grows with the root of a


def _front(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """x^a exp(-x) / Γ(a + 1)."""
    # For large a the logarithm is a difference of large numbers: Stirling's series takes out what cancels.
    large = a > 20
    b = np.where(large, a, 25.0)
    mu = (x - b) / b
    log1pmx = np.where(mu > -1, np.log1p(np.maximum(mu, -1 + 1e-300)) - mu, -np.inf)
    small = np.abs(mu) < 0.05
    s = np.where(small, mu, 0.0)
    series = sum(((-1) ** (k + 1) * s**k / k for k in range(2, 14)), np.zeros_like(s))
    stirling = 1 / (12 * b) - 1 / (360 * b**3) + 1 / (1260 * b**5) - 1 / (1680 * b**7)
    far = np.exp(b * np.where(small, series, log1pmx) - stirling) / np.sqrt(2 * math.pi * b)
    c = np.where(large, 1.0, a)
    near = np.exp(c * np.log(x) - x - _lgamma(c + 1))
    return np.where(large, far, near)


def _series(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """P(a, x) by its power series, for x below a + 1 (DLMF 8.11.4)."""
    total = term = np.ones_like(x)
    for k in range(1, MOST):
        term = term * x / (a + k)
        total = total + term
        if (term <= total * 1e-17).all():
            break
    return _front(a, x) * total


def _fraction(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Q(a, x) by Lentz's evaluation of its continued fraction, for x from a + 1 on (DLMF 8.9.2)."""
    b = x + 1 - a
    tiny = 1e-300
    c, d = np.full_like(x, 1 / tiny), 1 / np.where(b == 0, tiny, b)
    h = d
    for k in range(1, MOST):
        an = -k * (k - a)
        b = b + 2
        d = 1 / np.where((d := an * d + b) == 0, tiny, d)
        c = np.where((c := b + an / c) == 0, tiny, c)
        h = h * c * d
        if (np.abs(c * d - 1) <= 1e-16).all():
            break
    return _front(a, x) * a * h


def _incomplete(a: np.ndarray, x: np.ndarray, upper: bool) -> np.ndarray:
    fine = (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
    b, y = np.where(fine, a, 1.0), np.where(fine, x, 1.0)
    below = y < b + 1
    p = _series(b, np.where(below, y, 0.5 * b))
    q = _fraction(b, np.where(below, b + 2, y))
    made = np.where(below, 1 - p, q) if upper else np.where(below, p, 1 - q)
    at_zero, at_end = (1.0, 0.0) if upper else (0.0, 1.0)
    made = np.where(fine, made, np.nan)
    made = np.where(np.isinf(x), at_end, made)
    made = np.where(np.isinf(a), np.where(np.isinf(x), np.nan, at_zero), made)
    made = np.where(x == 0, at_zero, made)
    made = np.where(a == 0, np.where(x > 0, at_end, np.nan), made)
    return np.where((a < 0) | (x < 0), np.nan, made)


def gammainc(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """P(a, x), the part of Γ(a) below x."""
    return _incomplete(a, x, False)


def gammaincc(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Q(a, x), the part of Γ(a) above x."""
    return _incomplete(a, x, True)


def gamma_density(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The derivative of P(a, x) by x: x^(a - 1) exp(-x) / Γ(a)."""
    fine = (a > 0) & (x > 0)
    b, y = np.where(fine, a, 1.0), np.where(fine, x, 1.0)
    made = _front(b, y) * b / y
    at_zero = np.where(a < 1, np.inf, np.where(a == 1, 1.0, 0.0))
    return np.where(fine, made, np.where((x == 0) & (a > 0), at_zero, np.nan))


def zeta(s: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The sum of (q + k)^-s over k from 0, by Euler and Maclaurin (DLMF 25.11.5): infinite at s = 1, NaN below it."""
    poles = (q <= 0) & (q == np.floor(q))
    wrong = (s < 1) | ((q < 0) & ~poles & (s != np.floor(s))) | np.isnan(s) | np.isnan(q)
    fine = (s > 1) & ~poles & ~wrong
    t, a = np.where(fine, s, 2.0), np.where(fine, q, 1.0)
    count = 12
    total = np.zeros_like(t)
    lead = np.maximum(0.0, np.ceil(-np.min(a, initial=0.0)))  # the steps until a is positive
    for k in range(int(lead) + count):
        total = total + np.power(np.abs(a + k), -t) * np.where((a + k < 0) & (t % 2 == 1), -1.0, 1.0)
    w = a + lead + count
    total = total + w ** (1 - t) / (t - 1) + 0.5 * w**-t
    factor = t * w ** (-t - 1)
    for k, b in enumerate(_BERNOULLI):
        total = total + b * factor
        factor = factor * (t + 2 * k + 1) * (t + 2 * k + 2) / (w * w)
    made = np.where(np.isinf(t), np.where(a == 1, 1.0, np.where(a > 1, 0.0, np.inf)), total)
    made = np.where(s == 1, np.inf, np.where(poles, np.inf, made))
    return np.where(wrong, np.nan, made)


def erfcx(x: np.ndarray) -> np.ndarray:
    """exp(x²) erfc(x)."""
    far = x > 5
    near = np.where(far | np.isnan(x), 0.0, np.maximum(x, -27.0))  # below that it is infinite
    square = near * near
    # exp of the square rounded, times what the rounding left: x² has twice as many digits as there are.
    high = np.float64(134217729.0) * near
    high = high - (high - near)
    rest = (high * high - square) + 2 * high * (near - high) + (near - high) ** 2
    with np.errstate(over="ignore"):
        made = np.exp(square) * _erfc(near) * (1 + rest)
    y = np.where(far, x, 5.0)
    fraction = y  # Laplace's continued fraction (DLMF 7.9.1)
    for k in range(60, 0, -1):
        fraction = y + k / 2 / fraction
    return np.where(np.isnan(x), np.nan, np.where(far, 1 / (math.sqrt(math.pi) * fraction), made))
