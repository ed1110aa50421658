"""Comparing results in tests.

>>> import livegrad
>>> livegrad.testing.assert_close(livegrad.tensor([1.0]), livegrad.tensor([1.0 + 1e-7]))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor

__all__ = ["assert_close"]

# Relative and absolute error allowed, by dtype; integers must be equal.
_TOLERANCES = {
    dtypes.float16: (1e-3, 1e-5), dtypes.bfloat16: (1.6e-2, 1e-5), dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
}  # fmt: skip


def assert_close(
    actual: Any, expected: Any, *, allow_subclasses: bool = True, rtol: float | None = None, atol: float | None = None,
    equal_nan: bool = False, check_device: bool = True, check_dtype: bool = True, check_layout: bool = True,
    check_stride: bool = False, msg: str | Callable[[str], str] | None = None,
) -> None:  # fmt: skip
    """Raise AssertionError unless tensors, or numbers, are close: |actual - expected| <= atol + rtol * |expected|.

    Sequences and mappings are compared item by item. The tolerances depend on the dtype unless both are given.
    """
    if (rtol is None) != (atol is None):
        name, other = ("rtol", "atol") if atol is None else ("atol", "rtol")
        raise ValueError(f"Either both rtol and atol have to be specified or neither: {name} is given, {other} is not")

    def fail(text: str, where: str) -> None:
        text += f"\n\nThe failure occurred for item {where}" if where else ""
        raise AssertionError(msg(text) if callable(msg) else msg or text)

    def compare(a: Any, b: Any, where: str) -> None:
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            if set(a) != set(b):
                fail(f"The keys of the mappings do not match: {sorted(map(str, a))} != {sorted(map(str, b))}", where)
            for key in a:
                compare(a[key], b[key], f"{where}[{key!r}]")
            return
        if _is_sequence(a) and _is_sequence(b):
            if len(a) != len(b):
                fail(f"The length of the sequences mismatch: {len(a)} != {len(b)}", where)
            for k, (x, y) in enumerate(zip(a, b)):
                compare(x, y, f"{where}[{k}]")
            return
        numbers = not isinstance(a, Tensor) and not isinstance(b, Tensor)
        x, y = _tensor(a), _tensor(b)
        if x is None or y is None:
            if a is None and b is None:
                return
            raise TypeError(f"No comparison pair was able to handle inputs of type {type(a)} and {type(b)}.")
        kind = "Tensor-likes" if x.dim() else "Scalars"
        if x.shape != y.shape:
            fail(f"The values for attribute 'shape' do not match: {x.shape} != {y.shape}.", where)
        if check_dtype and not numbers and x.dtype is not y.dtype:
            fail(f"The values for attribute 'dtype' do not match: {x.dtype} != {y.dtype}.", where)
        if check_stride and x.stride() != y.stride():
            fail(f"The values for attribute 'stride()' do not match: {x.stride()} != {y.stride()}.", where)
        allowed = [_TOLERANCES.get(t.dtype, (0.0, 0.0)) for t in (x, y)]
        relative = max(t[0] for t in allowed) if rtol is None else rtol
        absolute = max(t[1] for t in allowed) if atol is None else atol
        text = _difference(_numbers(x), _numbers(y), relative, absolute, equal_nan)
        if text:
            fail(f"{kind} are not {'equal' if not relative and not absolute else 'close'}!\n\n{text}", where)

    compare(actual, expected, "")


def _is_sequence(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, (str, bytes))


def _tensor(x: Any) -> Tensor | None:
    from ..from_data import tensor

    if isinstance(x, Tensor):
        return x.detach()
    if isinstance(x, (bool, int, float, np.ndarray, np.generic)):
        return tensor(x, dtype=dtypes.float64) if isinstance(x, float) else tensor(x)
    return None


def _numbers(t: Tensor) -> np.ndarray:
    a = t._to_numpy()
    return a.astype(np.float64) if t.dtype.is_floating_point else a


def _difference(a: np.ndarray, b: np.ndarray, relative: float, absolute: float, equal_nan: bool) -> str:
    """What differs, in words; empty where nothing does."""
    close = np.isclose(a, b, rtol=relative, atol=absolute, equal_nan=equal_nan)
    if close.all():
        return ""
    with np.errstate(all="ignore"):
        away = np.abs(np.subtract(a, b, dtype=np.float64))
        share = away / np.abs(b)
    away, share = (np.where(close, 0, x) for x in (away, share))
    if a.ndim == 0:
        return (
            f"Expected {b.item()} but got {a.item()}.\n"
            f"Absolute difference: {away.item()} (up to {absolute} allowed)\n"
            f"Relative difference: {share.item()} (up to {relative} allowed)"
        )
    wrong = int((~close).sum())

    def worst(name: str, x: np.ndarray, bound: float) -> str:
        at = np.unravel_index(int(np.nanargmax(np.nan_to_num(x, nan=np.inf))), x.shape)
        place = tuple(int(i) for i in at)
        return f"Greatest {name} difference: {x[at].item()} at index {place} (up to {bound} allowed)"

    return "\n".join((
        f"Mismatched elements: {wrong} / {a.size} ({100 * wrong / a.size:.1f}%)",
        worst("absolute", away, absolute), worst("relative", share, relative),
    ))  # fmt: skip
