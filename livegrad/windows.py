"""Window functions, by which a piece of a signal is multiplied before its spectrum is taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import dtypes
from .from_data import tensor
from .tensor import Tensor

__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"]


def _window(
    name: str, formula: Callable[[np.ndarray], np.ndarray], length: int, periodic: bool, dtype: Any, device: Any,
    requires_grad: bool,
) -> Tensor:  # fmt: skip
    """The formula at places from 0 to 1; of a periodic window the last of one more place is left out."""
    d = dtype or dtypes.get_default_dtype()
    if d.category != dtypes.FLOATING:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {d}")
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={length}")
    steps = length if periodic else length - 1
    values = formula(np.arange(length) / steps) if length > 1 else np.ones(length)
    return tensor(values, dtype=d, device=device, requires_grad=requires_grad)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """alpha - beta cos(2πx)."""
    return _window(
        "hamming_window", lambda x: alpha - beta * np.cos(2 * math.pi * x), window_length, periodic, dtype, device,
        requires_grad,
    )  # fmt: skip


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """(1 - cos(2πx)) / 2.

    >>> import livegrad
    >>> livegrad.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _window(
        "hann_window", lambda x: 0.5 - 0.5 * np.cos(2 * math.pi * x), window_length, periodic, dtype, device,
        requires_grad,
    )  # fmt: skip


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """0.08 cos(4πx) - 0.5 cos(2πx) + 0.42."""
    return _window(
        "blackman_window", lambda x: 0.08 * np.cos(4 * math.pi * x) - 0.5 * np.cos(2 * math.pi * x) + 0.42,
        window_length, periodic, dtype, device, requires_grad,
    )  # fmt: skip


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A triangle: 1 - |2x - 1|."""
    return _window(
        "bartlett_window", lambda x: 1 - np.abs(2 * x - 1), window_length, periodic, dtype, device, requires_grad
    )


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """I0(beta √(1 - (2x - 1)²)) / I0(beta), for the modified Bessel function I0."""
    return _window(
        "kaiser_window", lambda x: np.i0(beta * np.sqrt(np.maximum(1 - (2 * x - 1) ** 2, 0))) / np.i0(beta),
        window_length, periodic, dtype, device, requires_grad,
    )  # fmt: skip
