"""The C library's functions over float64 arrays, rounded as it rounds them.

PyTorch's kernels call them number by number.  NumPy has vector forms of its own on processors with AVX-512, whose last
bit differs now and then; Python's `math` calls the library that PyTorch calls.  A compiled loop does so for many.
"""

from __future__ import annotations

import ctypes
import functools
import math

import numpy as np

from livegrad.sampling import compiled

from ..native import hot


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm; -inf at 0."""
    return _over("log", x)


@hot
def log1p(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of 1 + x."""
    return _over("log1p", x)


def exp(x: np.ndarray) -> np.ndarray:
    """The exponential function; infinity where the result is too large."""
    return _over("exp", x)


def sin(x: np.ndarray) -> np.ndarray:
    return _over("sin", x)


def cos(x: np.ndarray) -> np.ndarray:
    return _over("cos", x)


def tan(x: np.ndarray) -> np.ndarray:
    return _over("tan", x)


@hot
def _over(name: str, x: np.ndarray) -> np.ndarray:
    x = np.ascontiguousarray(x, np.float64)
    address = _address(name) if compiled.worth_it(x.size) else None
    if address is not None:
        out = np.empty_like(x)
        if compiled.apply(address, x, out):
            return out
    function, flat = getattr(math, name), x.ravel().tolist()
    try:
        values = [function(v) for v in flat]
    except (ValueError, OverflowError):  # how Python says -inf and inf
        values = [_unbounded(function, v) for v in flat]
    return np.array(values).reshape(x.shape)


def _unbounded(function: object, v: float) -> float:
    try:
        return function(v)  # type: ignore[operator]
    except ValueError:
        return -math.inf if v == 0 else math.nan
    except OverflowError:
        return math.inf


@functools.cache
def _address(name: str) -> int | None:
    """Where the function is in this process; None where the system does not say."""
    try:
        return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value
    except (AttributeError, TypeError, OSError):
        return None
