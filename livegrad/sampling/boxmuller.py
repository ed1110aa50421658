"""Blocks of sixteen normals from blocks of sixteen uniforms: PyTorch's kernel for tensors of sixteen and more.

In a block, uniforms 0..7 give radii and 8..15 give angles (Box and Muller, 1958); cosines fill the first half, sines
the second.  The float32 kernel takes log and sincos from Cephes polynomials (Moshier) in the shape Pommier gave them
for SIMD, compiled so that a product followed by a sum is one fused operation.  Each such pair is carried out here in
float64 and rounded once, every other step in float32.  The argument of both functions has only 2**24 values; over all
of them the results equal the compiled kernel's bit for bit.
"""

from __future__ import annotations

import numpy as np

from livegrad.sampling import compiled, libm
from livegrad.sampling.fused import fma32, fma64

_F32 = np.float32


def _floats(*values: float) -> list[float]:
    return [float(_F32(v)) for v in values]


LOG_P = _floats(
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
LOG_Q1, LOG_Q2, SQRT_HALF = _floats(-2.12194440e-4, 0.693359375, 0.707106781186547524)
SIN_P = _floats(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COS_P = _floats(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
QUARTER_PI = _floats(0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)  # pi / 4 in three parts
FOUR_OVER_PI, TWO_PI = _floats(1.27323954473516, 6.283185307179586)

_CHUNK = 1024  # blocks at a time: the temporaries of 8192 pairs stay in the cache


def fill32(words: np.ndarray, out: np.ndarray, mean: float, std: float) -> None:
    """Fill float32 `out` (a whole number of blocks) from as many words."""
    mean, std = _F32(mean), _F32(std)
    if compiled.worth_it(out.size) and compiled.fill_normal(words, out, mean, std):
        return
    words, out = words.reshape(-1, 16), out.reshape(-1, 16)
    for start in range(0, len(out), _CHUNK):
        part = slice(start, start + _CHUNK)
        unit = (words[part] & 0xFFFFFF).astype(np.int32).astype(_F32)
        unit *= _F32(2.0**-24)
        radius = log(_F32(1) - np.ascontiguousarray(unit[:, :8]))
        radius *= _F32(-2)
        np.sqrt(radius, out=radius)
        sin, cos = sincos(unit[:, 8:] * _F32(TWO_PI))
        sin *= radius
        cos *= radius
        out[part, :8] = _scale(cos, mean, std)
        out[part, 8:] = _scale(sin, mean, std)


def _scale(x: np.ndarray, mean: np.float32, std: np.float32) -> np.ndarray:
    if mean == 0:
        x *= std
        x += mean
        return x
    return fma32(x, std, mean)


def log(u: np.ndarray) -> np.ndarray:
    """Natural logarithm of normal positive float32 numbers."""
    bits = u.view(np.int32)
    mantissa = (bits & 0x7FFFFF | 0x3F000000).view(_F32)  # in [1/2, 1)
    exponent = (bits >> 23).astype(_F32)
    exponent -= _F32(126)
    low = mantissa < _F32(SQRT_HALF)
    exponent -= low
    x = mantissa - _F32(1)
    np.add(x, mantissa, out=x, where=low)
    z = x * x
    wide_x = x.astype(np.float64)
    wide = wide_x * LOG_P[0]
    wide += LOG_P[1]
    y = wide.astype(_F32)
    for p in LOG_P[2:]:
        np.multiply(y, wide_x, out=wide)
        wide += p
        y[...] = wide
    y *= x
    np.multiply(y, z, out=wide, dtype=np.float64)
    wide += exponent * _F32(LOG_Q1)
    y[...] = wide
    y -= z * _F32(0.5)
    x += y
    x += exponent * _F32(LOG_Q2)  # an exact product, as is the half above: nothing to fuse
    return x


def sincos(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of float32 numbers from 0 to a few turns."""
    octant = (theta * _F32(FOUR_OVER_PI)).astype(np.int32)
    octant += 1
    octant &= ~1
    y = octant.astype(_F32)
    x = theta - y * _F32(QUARTER_PI[0])
    x -= y * _F32(QUARTER_PI[1])
    wide = np.multiply(y, -QUARTER_PI[2], dtype=np.float64)  # unlike the two products above, not exact in float32
    wide += x
    x[...] = wide
    z = x * x
    wide_z = z.astype(np.float64)

    def horner(p: list[float]) -> np.ndarray:
        np.multiply(wide_z, p[0], out=wide)
        np.add(wide, p[1], out=wide)
        acc = wide.astype(_F32)
        np.multiply(acc, wide_z, out=wide)
        np.add(wide, p[2], out=wide)
        acc[...] = wide
        acc *= z
        return acc

    c = horner(COS_P)
    np.multiply(c, wide_z, out=wide)
    wide -= z * _F32(0.5)
    c[...] = wide
    c += _F32(1)
    s = horner(SIN_P)
    np.multiply(s, x, out=wide, dtype=np.float64)
    wide += x
    s[...] = wide
    swap = (octant & 2) != 0
    sin, cos = np.where(swap, c, s), np.where(swap, s, c)
    sin.view(np.int32)[...] ^= (octant & 4) << 29
    cos.view(np.int32)[...] ^= (~(octant - 2) & 4) << 29
    return sin, cos


def fill64(unit: np.ndarray, out: np.ndarray, mean: float, std: float) -> None:
    """Fill float64 `out` (a whole number of blocks) from as many uniforms, with the C library's functions."""
    unit, out = unit.reshape(-1, 16), out.reshape(-1, 16)
    radius = np.sqrt(-2 * libm.log(1 - unit[:, :8]))
    theta = (2 * np.pi) * unit[:, 8:]
    out[:, :8] = fma64(radius * libm.cos(theta), std, mean)
    out[:, 8:] = fma64(radius * libm.sin(theta), std, mean)
