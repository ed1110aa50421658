"""Numbers that PyTorch's compiler does not know yet: here sizes are always known, so these functions are Python's.

>>> import livegrad
>>> livegrad.sym_max(livegrad.ones(3).shape[0], 2), isinstance(3, livegrad.SymInt)
(3, False)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

__all__ = [
    "SymBool", "SymFloat", "SymInt", "sym_float", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not", "sym_sqrt",
    "sym_sum",
]  # fmt: skip


class _Unknown:
    """A name to compare with: nothing is traced, so no number is unknown."""

    def __init__(self, *args: Any):
        raise TypeError(f"{type(self).__name__} cannot be made: programs are never traced, and all sizes are numbers")


class SymInt(_Unknown):
    __doc__ = _Unknown.__doc__


class SymFloat(_Unknown):
    __doc__ = _Unknown.__doc__


class SymBool(_Unknown):
    __doc__ = _Unknown.__doc__


def sym_int(a: Any) -> int:
    """``int(a)``."""
    return int(a)


def sym_float(a: Any) -> float:
    """``float(a)``."""
    return float(a)


def sym_not(a: Any) -> bool:
    """``not a``."""
    return not a


def sym_max(a: Any, b: Any) -> Any:
    """The larger one; a float if one of them is."""
    return type(a + b)(max(a, b)) if isinstance(a, float) or isinstance(b, float) else max(a, b)


def sym_min(a: Any, b: Any) -> Any:
    """The smaller one; a float if one of them is."""
    return type(a + b)(min(a, b)) if isinstance(a, float) or isinstance(b, float) else min(a, b)


def sym_sqrt(a: Any) -> float:
    """``math.sqrt(a)``."""
    return math.sqrt(a)


def sym_sum(args: Iterable[Any]) -> Any:
    """``sum(args)``."""
    return sum(args)


def sym_ite(b: Any, t: Any, f: Any) -> Any:
    """``t if b else f``."""
    return t if b else f
