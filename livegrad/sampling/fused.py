"""`a * b + c` rounded once, the fused multiply-add of x86 kernels, which NumPy does not offer.

For float32 the product of two values is exact in float64, so only the sum rounds before the result does.  For float64
the rounding errors of the product (Dekker, 1971) and of the sum (Knuth) are computed exactly and added last.
"""

from __future__ import annotations

import math

import numpy as np

_SPLIT = 134217729.0  # 2**27 + 1


def fma32(a: np.ndarray, b: np.float32, c: np.float32) -> np.ndarray:
    wide = np.multiply(a, np.float64(b), dtype=np.float64)
    wide += np.float64(c)
    return wide.astype(np.float32)


def fma64(a: np.ndarray, b: float, c: float) -> np.ndarray:
    """For an array (or float) `a` and floats `b`, `c`."""
    if b == 1.0:
        return a + c
    product = a * b
    if c == 0.0 or not (abs(b) < 2.0**995 and math.isfinite(c)):
        return product + c
    ah = a * _SPLIT
    ah = ah - (ah - a)
    al = a - ah
    bh = b * _SPLIT
    bh = bh - (bh - b)
    bl = b - bh
    product_error = ((ah * bh - product) + ah * bl + al * bh) + al * bl
    total = product + c
    back = total - product
    return total + (((product - (total - back)) + (c - back)) + product_error)
