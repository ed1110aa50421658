"""NumPy functions of the scalar primitives: the reference, and what runs where no compiler is."""

from __future__ import annotations

import math

import numpy as np


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(np.result_type(x), copy=False)


def _elementwise_math(function, domain_error=np.nan):
    """A NumPy function from one of Python's `math` module, for the special functions that NumPy lacks."""

    def scalar(v):
        try:
            return function(v)
        except (ValueError, OverflowError):
            return domain_error(v) if callable(domain_error) else domain_error

    vectorised = np.vectorize(scalar, otypes=[np.float64])

    def apply(x):
        x = np.asarray(x)
        return vectorised(x.astype(np.float64)).astype(x.dtype) if x.size else x.copy()

    return apply


def _erfc(v):
    return math.erfc(v)


def _erfinv(v):
    """Inverse error function: Giles's starting value (2012), then Newton steps in double precision."""
    if math.isnan(v) or abs(v) > 1:
        return math.nan
    if abs(v) == 1:
        return math.copysign(math.inf, v)
    if v == 0:
        return v
    w = -math.log((1 - v) * (1 + v))
    if w < 5:
        x = v * (1.5014 + w * 0.2460)
    else:
        x = math.copysign(math.sqrt(w), v)
    for _ in range(60):
        tail = math.erfc(abs(x))
        error = (1 - abs(v)) - tail if abs(v) > 0.5 else math.erf(abs(x)) - abs(v)
        density = 2 / math.sqrt(math.pi) * math.exp(-x * x)
        if density == 0:
            break
        step = error / density
        step /= 1 + abs(x) * step
        x = math.copysign(abs(x) - step, v)
        if abs(step) <= 1e-16 * abs(x):
            break
    return x


def _digamma(v):
    """Recurrence to x >= 10, then the asymptotic series (Abramowitz and Stegun 6.3.18)."""
    if math.isinf(v):
        return math.inf if v > 0 else math.nan
    if v == 0:
        return math.copysign(math.inf, -v)
    if v < 0:
        if v == math.floor(v):
            return math.nan
        fraction = v - math.floor(v)
        return _digamma(1 - v) - math.pi / math.tan(math.pi * fraction)
    total = 0.0
    while v < 10:
        total -= 1 / v
        v += 1
    i = 1 / (v * v)
    series = i * (1 / 12 - i * (1 / 120 - i * (1 / 252 - i * (1 / 240 - i * (1 / 132 - i * (691 / 32760 - i / 12))))))
    return total + math.log(v) - 0.5 / v - series


def _floor_divide(x, y):
    with np.errstate(all="ignore"):
        if np.result_type(x, y).kind == "f":
            # Where y is zero PyTorch gives x / y (infinity or nan), as NumPy does.
            return np.floor_divide(x, y) if not np.any(y == 0) else np.where(y == 0, x / y, np.floor_divide(x, y))
        return np.floor_divide(x, y)


def _remainder(x, y):
    """With the sign of y; but a zero has the sign of x, in PyTorch as in the kernels, where NumPy's has that of y."""
    if np.result_type(x, y).kind in "iu":
        return np.remainder(x, y)
    with np.errstate(all="ignore"):
        rest = np.fmod(x, y)
        return np.where((rest != 0) & ((y < 0) != (rest < 0)), rest + y, rest)


def _trunc_divide(x, y):
    if np.result_type(x, y).kind == "f":
        return np.trunc(np.divide(x, y))
    quotient = np.floor_divide(x, y)
    exact = quotient * y == x
    return np.where(~exact & (quotient < 0), quotient + 1, quotient).astype(np.result_type(x, y))


def _divide(x, y):
    return np.true_divide(x, y)


def _where(c, x, y):
    return np.where(c, x, y)


def _shift_right(x, y):
    return np.right_shift(x, y)


NUMPY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _divide,
    "neg": np.negative,
    "conj": np.conj,
    "real": np.real,
    "imag": np.imag,
    "angle": lambda x: np.where(x < 0, np.pi, np.where(np.isnan(x), x, 0)).astype(np.result_type(x), copy=False),
    "abs": np.abs,
    "sign": lambda x: np.where(x != x, np.zeros_like(x), np.sign(x)),  # 0 for NaN, as in PyTorch
    "reciprocal": lambda x: 1 / x,
    "square": lambda x: x * x,
    "fmod": np.fmod,
    "remainder": _remainder,
    "floor_divide": _floor_divide,
    "trunc_divide": _trunc_divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "pow": np.power,
    "copysign": np.copysign,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "logaddexp": np.logaddexp,
    "hypot": np.hypot,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "sigmoid": _sigmoid,
    "erf": _elementwise_math(math.erf),
    "erfc": _elementwise_math(_erfc),
    "erfinv": _elementwise_math(_erfinv),
    "lgamma": _elementwise_math(math.lgamma, math.inf),
    "digamma": _elementwise_math(_digamma),
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.rint,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "where": _where,
    "isnan": np.isnan,
    "isinf": np.isinf,
    "isfinite": np.isfinite,
    "signbit": np.signbit,
    "and_": np.bitwise_and,
    "or_": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not_": np.invert,
    "shl": np.left_shift,
    "shr": _shift_right,
}


def _sign(x):
    """x / |x|, and 0 at 0."""
    size = np.abs(x)
    return np.where(size == 0, np.zeros_like(x), x / size)


def _logaddexp(x, y):
    swap = x.real < y.real
    large, small = np.where(swap, y, x), np.where(swap, x, y)
    return large + np.log1p(np.exp(small - large))


def _complex(x, y):
    real, imag = np.broadcast_arrays(np.real(x), np.real(y))
    return np.stack([real, imag], -1).view(np.result_type(real.dtype, np.complex64))[..., 0]


# Of complex numbers, where NumPy's own function is of real ones only or does something else.
COMPLEX = {
    "angle": np.angle,
    "sign": _sign,
    "exp2": lambda x: np.exp(x * np.asarray(math.log(2.0), x.real.dtype)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "logaddexp": _logaddexp,
    "complex": _complex,
}

# Those that NumPy lacks: on another device its own special functions take their place.
LACKING = frozenset(("erf", "erfc", "erfinv", "lgamma", "digamma"))
