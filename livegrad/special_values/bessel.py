"""Bessel functions of whole orders, Airy's function. DLMF: the Digital Library of Mathematical Functions."""

from __future__ import annotations

import math

import numpy as np

GAMMA = 0.57721566490153286061
# From here on Hankel's expansion has the full precision; below, Miller's recurrence is short.
FAR = 25.0
# Where Airy's function goes over from its power series to its expansion for large negative x.
AIRY_FAR = -7.5


def _recurrence(x: np.ndarray, begin: int = 110) -> list[np.ndarray]:
    """J_0, J_1, … at |x| up to `FAR`, by the recurrence downwards from an order that is far enough (DLMF 3.6)."""
    safe = np.where(x == 0, 1.0, x)
    values = [np.zeros_like(x), np.full_like(x, 1e-280)]
    for n in range(begin, 0, -1):
        below = 2 * n / safe * values[-1] - values[-2]
        large = np.abs(below) > 1e200
        if large.any():
            values = [np.where(large, v * 1e-200, v) for v in values]
            below = np.where(large, below * 1e-200, below)
        values.append(below)
    values.reverse()
    norm = values[0] + 2 * sum(values[2::2], np.zeros_like(x))  # J_0 + 2 J_2 + 2 J_4 + … = 1
    found = [v / norm for v in values]
    for n, v in enumerate(found):
        found[n] = np.where(x == 0, float(n == 0), v)
    return found


def _hankel(x: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """(J, Y) of an order at large x (DLMF 10.17.3)."""
    mu, p, q = 4.0 * order * order, np.ones_like(x), np.zeros_like(x)
    term = np.ones_like(x)
    for k in range(1, 24):
        term = term * (mu - (2 * k - 1) ** 2) / (k * 8 * x)
        if k % 2:
            q = q + (term if k % 4 == 1 else -term)
        else:
            p = p + (term if k % 4 == 0 else -term)
    phase = x - (order / 2 + 0.25) * math.pi
    scale = np.sqrt(2 / (math.pi * x))
    return scale * (p * np.cos(phase) - q * np.sin(phase)), scale * (p * np.sin(phase) + q * np.cos(phase))


def _first(x: np.ndarray, order: int) -> np.ndarray:
    size = np.abs(x)
    near = size <= FAR
    made = np.where(near, _recurrence(np.where(near, size, 1.0))[order], _hankel(np.where(near, FAR, size), order)[0])
    return np.where((x < 0) & (order % 2 == 1), -made, made)


def j0(x: np.ndarray) -> np.ndarray:
    """J_0."""
    return _first(x, 0)


def j1(x: np.ndarray) -> np.ndarray:
    """J_1."""
    return _first(x, 1)


def _second(x: np.ndarray, order: int) -> np.ndarray:
    near = (x > 0) & (x <= FAR)
    inside = np.where(near, x, 1.0)
    j = _recurrence(inside)
    log = np.log(inside / 2) + GAMMA
    if order == 0:  # DLMF 10.8.1 as a series of Bessel functions: Abramowitz and Stegun 9.1.88
        series = sum(((-1) ** k * j[2 * k] / k for k in range(1, 50)), np.zeros_like(x))
        close = (2 * log * j[0] - 4 * series) / math.pi
    else:  # its derivative
        differences = ((-1) ** k * (j[2 * k - 1] - j[2 * k + 1]) / k for k in range(1, 50))
        close = (-2 / inside * j[0] + 2 * log * j[1] + 2 * sum(differences, np.zeros_like(x))) / math.pi
    made = np.where(near, close, _hankel(np.where(x > FAR, x, FAR), order)[1])
    return np.where(x > 0, made, np.where(x == 0, -np.inf, np.nan))


def y0(x: np.ndarray) -> np.ndarray:
    """Y_0: minus infinity at 0, NaN below it."""
    return _second(x, 0)


def y1(x: np.ndarray) -> np.ndarray:
    """Y_1: minus infinity at 0, NaN below it."""
    return _second(x, 1)


def scaled_k(x: np.ndarray, order: float) -> np.ndarray:
    """exp(x) K(x) of an order: the integral of exp(-x (cosh t - 1)) cosh(order t) by equal steps (DLMF 10.32.9).

    The integrand falls so fast that the sum has the full precision.
    """
    positive = (x > 0) & np.isfinite(x)
    inside = np.where(positive, x, 1.0)
    end = np.arccosh(1 + 745.0 / inside)
    steps = 400
    h = end / steps
    total = np.full_like(x, 0.5)
    for k in range(1, steps + 1):
        t = k * h
        total += np.exp(-2 * inside * np.sinh(t / 2) ** 2) * np.cosh(order * t)
    made = np.where(positive, h * total, 0.0)
    return np.where(np.isnan(x) | (x < 0), np.nan, np.where(x == 0, np.inf, made))


def k0(x: np.ndarray) -> np.ndarray:
    """K_0."""
    return scaled_k(x, 0) * np.exp(-x)


def k1(x: np.ndarray) -> np.ndarray:
    """K_1."""
    return scaled_k(x, 1) * np.exp(-x)


def spherical_j0(x: np.ndarray) -> np.ndarray:
    """sin(x) / x."""
    small = np.abs(x) < 0.5
    s = np.where(small, x, 0.0) ** 2
    series = 1 - s / 6 * (1 - s / 20 * (1 - s / 42 * (1 - s / 72 * (1 - s / 110 * (1 - s / 156)))))
    far = np.where(small, 1.0, x)
    return np.where(small, series, np.where(np.isinf(x), 0.0, np.sin(far) / far))


def airy(x: np.ndarray) -> np.ndarray:
    """Ai(x): by K of order 1/3 from 1 on (DLMF 9.6.1), by the power series down to `AIRY_FAR`, by DLMF 9.7.9 below."""
    above, below = x > 1, x < AIRY_FAR
    far = np.where(above, x, 1.0)
    zeta = 2 / 3 * far * np.sqrt(far)
    right = np.sqrt(far / 3) / math.pi * scaled_k(zeta, 1 / 3) * np.exp(-zeta)
    z = np.where(above | below | np.isnan(x), 0.0, x)
    f = term = np.ones_like(x)
    g = other = z
    for k in range(1, 45):
        term = term * z**3 / ((3 * k - 1) * (3 * k))
        other = other * z**3 / ((3 * k) * (3 * k + 1))
        f, g = f + term, g + other
    middle = 0.355028053887817239260 * f - 0.258819403792806798405 * g
    size = np.where(below, -x, 10.0)
    zeta = 2 / 3 * size * np.sqrt(size)
    u, even, odd = np.ones_like(x), np.ones_like(x), np.zeros_like(x)
    for k in range(1, 22):
        u = u * (6 * k - 5) * (6 * k - 3) * (6 * k - 1) / (216 * k * (2 * k - 1)) / zeta
        if k % 2:
            odd = odd + (u if k % 4 == 1 else -u)
        else:
            even = even + (u if k % 4 == 0 else -u)
    phase = zeta - math.pi / 4
    left = (np.cos(phase) * even + np.sin(phase) * odd) / (math.sqrt(math.pi) * size**0.25)
    made = np.where(above, np.where(np.isinf(x), 0.0, right), np.where(below, left, middle))
    return np.where(np.isnan(x) | (x == -np.inf), np.nan, made)
