"""Distributions whose elements each draw as many uniforms as it takes: one after another, in Python.

Poisson is NumPy's legacy sampler, as in PyTorch: Knuth's product of uniforms below a rate of 10, and above it the
transformed rejection of Hoermann (1993).
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
