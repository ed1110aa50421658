"""What the operator tests share: conversion to and from PyTorch, comparison, modes of evaluation, layouts."""

from __future__ import annotations

import os
import warnings
from contextlib import ExitStack, contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import livegrad
from livegrad import dtypes

try:
    import torch
except ImportError:  # the comparisons with float64 and NumPy still run
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch, to compare with, is not installed")

ALL = [d for d in dtypes.ALL if not d.is_complex]  # complex ones have tests of their own
FLOATS = [d for d in ALL if d.is_floating_point]
INTEGERS = [d for d in ALL if d.category == dtypes.INTEGRAL]
# Relative error allowed against PyTorch: both may be 2 units in the last place off, half types one rounding.
RTOL = {"float16": 1.0e-3, "bfloat16": 8.0e-3, "float32": 1.5e-6, "float64": 4e-15}

# Where livegrad's tensors are; `benchmarks/gpu.py --check` runs these tests with "cuda".
DEVICE = os.environ.get("LIVEGRAD_TEST_DEVICE", "cpu")

# --- conversion -------------------------------------------------------------------------------------------------


def to_livegrad(x: Any, requires_grad: bool = False) -> Any:
    """NumPy arrays as tensors, in any nesting."""
    if isinstance(x, np.ndarray):
        t = livegrad.tensor(x, device=DEVICE)
        return t.requires_grad_() if requires_grad and t.is_floating_point() else t
    if isinstance(x, (list, tuple)) and any(isinstance(i, np.ndarray) for i in x):
        return type(x)(to_livegrad(i, requires_grad) for i in x)
    if isinstance(x, dtypes.dtype):
        return x
    return x


def to_torch(x: Any, requires_grad: bool = False) -> Any:
    if isinstance(x, np.ndarray):
        if x.dtype == ml_dtypes.bfloat16:
            t = torch.from_numpy(x.view(np.int16).copy()).view(torch.bfloat16)
        else:
            t = torch.tensor(x)
        return t.requires_grad_() if requires_grad and t.is_floating_point() else t
    if isinstance(x, (list, tuple)) and any(isinstance(i, np.ndarray) for i in x):
        return type(x)(to_torch(i, requires_grad) for i in x)
    if isinstance(x, dtypes.dtype):
        return getattr(torch, x.name)
    return x


def to_numpy(t: Any) -> np.ndarray:
    """A tensor of either library as an array; bfloat16 as ml_dtypes'."""
    if isinstance(t, livegrad.Tensor):
        return np.array(t.detach().cpu()._value().native())
    t = t.detach()
    if t.dtype == torch.bfloat16:
        return t.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return t.numpy()


def as_dtype(x: Any, d: dtypes.dtype) -> Any:
    """The sample's data (its float64 arrays) in another dtype; indices and masks stay as they are."""
    if isinstance(x, np.ndarray) and x.dtype == np.float64:
        with np.errstate(all="ignore"):
            if d is dtypes.bool_:
                return np.asarray(x > np.median(x) if x.size > 1 else x.astype(bool))
            if not d.is_floating_point:
                x = np.rint(x) if d.is_signed else np.abs(np.rint(x))
            return np.asarray(x).astype(d.np)
    if isinstance(x, (list, tuple)):
        return type(x)(as_dtype(i, d) for i in x)
    return x


# --- comparison -------------------------------------------------------------------------------------------------


def name_of(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def assert_same(got: Any, expected: Any, rtol: float | None = None, atol: float = 0.0, zero_sign: bool = False) -> None:
    """Two results of an operator, in any nesting, have the same structure, dtypes, shapes and values."""
    if isinstance(expected, (tuple, list)) and not isinstance(expected, np.ndarray):
        assert isinstance(got, (tuple, list)), f"{type(got)} for {type(expected)}"
        assert len(got) == len(expected)
        for g, e in zip(got, expected):
            assert_same(g, e, rtol, atol, zero_sign)
        return
    if not hasattr(expected, "dtype"):
        assert type(got) is type(expected), f"{type(got)} for {type(expected)}"
        assert got == expected or got == pytest.approx(expected, nan_ok=True)
        return
    if not isinstance(expected, np.ndarray):
        assert name_of(got.dtype) == name_of(expected.dtype), f"dtype {got.dtype}, expected {expected.dtype}"
        assert tuple(got.shape) == tuple(expected.shape), f"shape {tuple(got.shape)}, not {tuple(expected.shape)}"
        expected = to_numpy(expected)
    a = got if isinstance(got, np.ndarray) else to_numpy(got)
    compare(a, expected, rtol, atol, zero_sign)


def compare(
    a: np.ndarray, b: np.ndarray, rtol: float | None = None, atol: float = 0.0, zero_sign: bool = False
) -> None:
    """Arrays agree: exactly for integers, to `rtol` for floats; NaN equals NaN, infinities must match."""
    assert a.shape == b.shape, f"shape {a.shape}, expected {b.shape}"
    if a.dtype.kind in "biu":
        np.testing.assert_array_equal(a, b)
        return
    if a.dtype.kind == "c":
        for x, y in ((a.real, b.real), (a.imag, b.imag)):
            compare(x, y, rtol, atol, zero_sign)
        return
    if rtol is None:
        rtol = RTOL[dtypes.from_numpy_dtype(a.dtype).name]
    tiny = float(ml_dtypes.finfo(a.dtype).smallest_subnormal) if a.dtype != np.float64 else 5e-324
    x, y = a.astype(np.float64), b.astype(np.float64)
    if zero_sign:
        zero = (x == 0) & (y == 0)
        np.testing.assert_array_equal(np.signbit(x[zero]), np.signbit(y[zero]), err_msg="signs of zeros differ")
    np.testing.assert_allclose(x, y, rtol=rtol, atol=max(atol, 4 * tiny), equal_nan=True)


# --- modes ------------------------------------------------------------------------------------------------------


@contextmanager
def mode(name: str):
    """One way of evaluating: "deferred" or "eager", on kernels or on tier 0 ("reference")."""
    with ExitStack() as stack:
        stack.enter_context(livegrad.compiling("never" if "reference" in name else "always"))
        if "eager" in name:
            stack.enter_context(livegrad.eager())
        yield


MODES = ("deferred", "deferred reference", "eager", "eager reference")


def force(x: Any) -> Any:
    """Evaluate a result, in any nesting, and return it."""
    if isinstance(x, livegrad.Tensor):
        livegrad.eval(x)
    elif isinstance(x, (list, tuple)):
        for i in x:
            force(i)
    return x


class Raised:
    """Stands for the error that a call raised."""

    def __init__(self, error: Exception):
        self.error = error

    def __repr__(self) -> str:
        return f"{type(self.error).__name__}: {self.error}"


ERRORS = (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError, OverflowError, ZeroDivisionError)


def attempt(function: Any, *args: Any, **kwargs: Any) -> Any:
    """The result of a call, or `Raised`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return force(function(*args, **kwargs))
    except ERRORS as error:
        return Raised(error)


def unsupported(result: Any) -> bool:
    """Whether PyTorch only lacks the kernel for a dtype (livegrad may have it)."""
    return isinstance(result, Raised) and ("not implemented for" in str(result.error)
                                           or "Could not run" in str(result.error))  # fmt: skip


# --- layouts ----------------------------------------------------------------------------------------------------


def transposed(t: Any) -> Any:
    """The same elements in column-major memory."""
    n = t.dim()
    return t if n < 2 else t.permute(*range(n)[::-1]).contiguous().permute(*range(n)[::-1])


def strided(t: Any) -> Any:
    """The same elements in every second place of a larger memory, after an offset."""
    if t.dim() == 0:
        return t
    lib = livegrad if isinstance(t, livegrad.Tensor) else torch
    big = lib.zeros([*t.shape[:-1], 2 * t.shape[-1] + 1], dtype=t.dtype, device=t.device)
    big[..., 1::2] = t
    return big[..., 1::2]


LAYOUTS = {"transposed": transposed, "strided": strided}


def laid_out(x: Any, layout: Any) -> Any:
    if isinstance(x, livegrad.Tensor) or (torch is not None and isinstance(x, torch.Tensor)):
        return layout(x)
    if isinstance(x, (list, tuple)) and any(hasattr(i, "dim") for i in x):
        return type(x)(layout(i) for i in x)
    return x


def arranged(a, order, step, spread):
    """An array as a tensor that is permuted, strided and (along `spread`) broadcast, and the same in NumPy."""
    t = to_livegrad(a)
    if spread is not None:
        t = t.narrow(spread, 0, 1).expand(*t.shape)
        a = np.broadcast_to(np.take(a, [0], spread), a.shape)
    return t.permute(*order)[..., ::step], np.transpose(a, order)[..., ::step]
