"""Windows: smooth pieces of M numbers, the largest near the middle.

``sym=True`` gives windows that are the same from both ends, for filters; ``sym=False`` leaves out the last of one more
number, for spectra, where the next piece begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import dtypes, formats
from ..from_data import tensor
from ..tensor import Tensor

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming",
    "hann", "kaiser", "nuttall",
]  # fmt: skip


def _window(name: str, M: int, formula: Callable, sym: bool, options: dict) -> Tensor:
    """The formula of (number, how many numbers a period has). Raises ValueError for what is no window."""
    known = {"dtype", "layout", "device", "requires_grad"}
    unknown = [key for key in options if key not in known]
    if unknown:
        raise TypeError(f"{name}() got an unexpected keyword argument '{unknown[0]}'")
    dtype = options.get("dtype") or dtypes.get_default_dtype()
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if options.get("layout") not in (None, formats.strided):
        raise ValueError(f"{name} is implemented for strided tensors only, got: {options['layout']}")
    if dtype not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    length = M if not sym and M > 1 else M - 1
    values = formula(np.arange(M, dtype=np.float64), length) if M > 0 else np.zeros(0)
    return tensor(values, dtype=dtype, device=options.get("device"), requires_grad=options.get("requires_grad", False))


def _share(k: np.ndarray, length: int) -> np.ndarray:
    """How far each number is along a period."""
    return k / length if length > 0 else np.zeros_like(k)


def exponential(M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, **options: Any) -> Tensor:
    """exp(-|k - center| / tau); `center` is the middle, and can be chosen where the window is not symmetric.

    >>> from livegrad.signal import windows
    >>> windows.exponential(3)
    tensor([0.3679, 1.0000, 0.3679])
    """
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def formula(k: np.ndarray, length: int) -> np.ndarray:
        return np.exp(-np.abs(k - (length / 2 if center is None else center)) / tau)

    return _window("exponential", M, formula, sym, options)


def cosine(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Half a period of a sine, at the middles of M equal parts."""
    return _window("cosine", M, lambda k, n: np.sin(math.pi * (k + 0.5) / (n + 1)), sym, options)


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, **options: Any) -> Tensor:
    """exp(-(k - middle)² / (2 std²))."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    return _window("gaussian", M, lambda k, n: np.exp(-(((k - n / 2) / (std * math.sqrt(2))) ** 2)), sym, options)


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, **options: Any) -> Tensor:
    """I₀(beta √(1 - x²)) / I₀(beta) with x from -1 to 1."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")

    def formula(k: np.ndarray, length: int) -> np.ndarray:
        if len(k) == 1:
            return np.ones(1)
        x = 2 * k / length - 1
        return np.i0(beta * np.sqrt(np.maximum(1 - x * x, 0))) / np.i0(beta)

    return _window("kaiser", M, formula, sym, options)


def general_cosine(M: int, *, a: Iterable[float], sym: bool = True, **options: Any) -> Tensor:
    """Σ aᵢ (-1)ⁱ cos(2πi x): a sum of cosines."""
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    weights = list(a)
    if not weights:
        raise ValueError("Coefficients cannot be empty")

    def formula(k: np.ndarray, length: int) -> np.ndarray:
        if len(k) == 1:
            return np.ones(1)
        x = 2 * math.pi * _share(k, length)
        return sum((w * (-1) ** i * np.cos(i * x) for i, w in enumerate(weights)), np.zeros_like(k))

    return _window("general_cosine", M, formula, sym, options)


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **options: Any) -> Tensor:
    """alpha - (1 - alpha) cos(2πx)."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, **options)


def hamming(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """0.54 - 0.46 cos(2πx)."""
    return general_hamming(M, sym=sym, **options)


def hann(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """(1 - cos(2πx)) / 2.

    >>> from livegrad.signal import windows
    >>> windows.hann(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return general_hamming(M, alpha=0.5, sym=sym, **options)


def blackman(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """0.42 - 0.5 cos(2πx) + 0.08 cos(4πx)."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, **options)


def bartlett(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """A triangle from 0 up to 1 and down to 0."""

    def formula(k: np.ndarray, length: int) -> np.ndarray:
        return 1 - np.abs(2 * k / length - 1) if len(k) > 1 else np.ones(1)

    return _window("bartlett", M, formula, sym, options)


def nuttall(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """A sum of four cosines whose side lobes are low."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, **options)
