"""Distributions whose elements each draw as many uniforms as it takes: one after another, in Python.

Poisson is NumPy's legacy sampler, as in PyTorch: Knuth's product of uniforms below a rate of 10, and above it the
transformed rejection of Hoermann (1993). Binomial is by waiting times (Devroye, 1986) below ten expected successes,
and above by Hoermann's rejection (algorithm BTRS).
"""

from __future__ import annotations

import math
from collections.abc import Callable

Uniform = Callable[[], float]


def poisson(rate: float, uniform: Uniform) -> int:
    if not rate >= 0:
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    if rate == 0:
        return 0
    return _poisson_large(rate, uniform) if rate >= 10 else _poisson_small(rate, uniform)


def _poisson_small(rate: float, uniform: Uniform) -> int:
    enough, product, count = math.exp(-rate), uniform(), 0
    while product > enough:
        product *= uniform()
        count += 1
    return count


def _poisson_large(rate: float, uniform: Uniform) -> int:
    root, log_rate = math.sqrt(rate), math.log(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = uniform() - 0.5
        v = uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        left = (math.log(v) if v else -math.inf) + math.log(inverse_alpha) - math.log(a / (us * us) + b)
        if left <= -rate + k * log_rate - math.lgamma(k + 1.0):
            return k


def binomial(count: float, prob: float, uniform: Uniform) -> float:
    """How many of `count` trials succeed."""
    if count <= 0 or prob <= 0:
        return 0
    if prob >= 1:
        return count
    if prob > 0.5:
        return count - binomial(count, 1 - prob, uniform)
    return (_binomial_large if count * prob >= 10 else _binomial_small)(count, prob, uniform)


def _binomial_small(count: float, prob: float, uniform: Uniform) -> float:
    """How many geometric waiting times fit into `count` trials (Devroye, 1986)."""
    log_miss, trials, hits = math.log1p(-prob), 0.0, 0
    while True:
        u = uniform()
        trials += math.ceil(math.log(u) / log_miss) if u > 0 else math.inf
        if trials > count:
            return hits
        hits += 1


def _tail(k: float) -> float:
    """What Stirling's approximation of log k! leaves out: log k! minus (k + ½) log(k + 1) - (k + 1) + ½ log 2π."""
    if k <= 9:
        return math.lgamma(k + 1) - ((k + 0.5) * math.log(k + 1) - (k + 1) + 0.5 * math.log(2 * math.pi))
    square = (k + 1) ** 2
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)


def _binomial_large(count: float, prob: float, uniform: Uniform) -> float:
    """One binomial by transformed rejection (Hörmann, 1993, algorithm BTRS), for count * prob >= 10."""
    spread = math.sqrt(count * prob * (1 - prob))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * prob
    middle, odds, alpha = count * prob + 0.5, prob / (1 - prob), (2.83 + 5.1 / b) * spread
    m = math.floor((count + 1) * prob)
    while True:
        u, v = uniform() - 0.5, uniform()
        edge = 0.5 - abs(u)
        k = math.floor((2 * a / edge + b) * u + middle) if edge > 0 else -1
        if edge >= 0.07 and v <= 0.92 - 4.2 / b:
            return k
        if k < 0 or k > count:
            continue
        v = math.log(v * alpha / (a / (edge * edge) + b)) if v > 0 else -math.inf
        bound = (
            (m + 0.5) * math.log((m + 1) / (odds * (count - m + 1)))
            + (count + 1) * math.log((count - m + 1) / (count - k + 1))
            + (k + 0.5) * math.log(odds * (count - k + 1) / (k + 1))
            + _tail(m) + _tail(count - m) - _tail(k) - _tail(count - k)
        )  # fmt: skip
        if v <= bound:
            return k
