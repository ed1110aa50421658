"""NumPy's arrays and numbers in pickles: of plain numbers and text only, no longer than the bytes that are there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .machine import refuse

__all__ = ["fill_array", "fill_dtype", "numpy_functions"]

_PLAIN = re.compile(r"[biufcSU]\d+|[?]")


def _array_class(*args: Any) -> Any:
    raise refuse("its pickle would make an array in another way than NumPy writes them")


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    if getattr(kind, "run", None) is not _array_class or shape != (0,):
        raise refuse("its pickle would make an array of a class of its own")
    return np.empty(0, np.int8)


def _dtype(text: Any, align: Any = False, copy: Any = False) -> np.dtype:
    if type(text) is not str or not _PLAIN.fullmatch(text):
        raise refuse(f"it holds an array of dtype {text!r}; only numbers and text are read")
    return np.dtype(text, copy=True)


def _scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(dtype, np.dtype) or type(data) is not bytes or len(data) != dtype.itemsize:
        raise refuse("its pickle is damaged: a number of NumPy's without its bytes")
    return np.frombuffer(data, dtype)[0]


def fill_dtype(dtype: np.dtype, state: Any) -> None:
    """Give a dtype its order of bytes."""
    if type(state) is not tuple or len(state) != 8 or state[1] not in ("<", ">", "|", "=") or state[2:5] != (None,) * 3:
        raise refuse("its pickle is damaged: a dtype of NumPy's with parts")
    dtype.__setstate__(state)  # type: ignore[attr-defined]


def fill_array(array: np.ndarray, state: Any) -> None:
    """Give an array its shape, dtype and numbers."""
    if type(state) is not tuple or len(state) != 5:
        raise refuse("its pickle is damaged: an array without its parts")
    _, shape, dtype, _, data = state
    if not isinstance(dtype, np.dtype) or dtype.hasobject or type(data) is not bytes or type(shape) is not tuple:
        raise refuse("its pickle is damaged: an array of something else than numbers or text")
    count = 1
    for n in shape:
        if type(n) is not int or n < 0 or n >= 2**62:
            raise refuse("its pickle is damaged: an array's shape is not made of sizes")
        count *= n
    if count * dtype.itemsize != len(data):
        raise refuse(f"its pickle is damaged: {len(data)} bytes for an array of shape {list(shape)}")
    array.__setstate__(state)  # type: ignore[attr-defined]


def numpy_functions() -> dict[tuple[str, str], Callable[..., Any]]:
    """What the pickles of arrays and of NumPy's numbers call, under its old name and its present one."""
    made: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "dtype"): _dtype,
        ("numpy", "ndarray"): _array_class,
    }
    for package in ("numpy.core", "numpy._core"):
        made[f"{package}.multiarray", "_reconstruct"] = _reconstruct
        made[f"{package}.multiarray", "scalar"] = _scalar
    return made
