"""Operators on lists of tensors, ``torch._foreach_add(tensors, 1)`` and its like, which optimizers are written with.

They are loops: what they record is elementwise, deferred and fused like everything else. The second operand of a
binary operator is one number or tensor for all, or a list with one for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import livegrad

from .tensor import Tensor

_UNARY = (
    "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor", "frac", "lgamma",
    "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh",
    "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
_BOUNDS = {"maximum": "min", "minimum": "max", "clamp_min": "min", "clamp_max": "max"}  # an argument of clamp


def _each(other: Any, count: int, name: str) -> Sequence:
    """One operand for each tensor."""
    if not isinstance(other, (list, tuple)):
        return [other] * count
    if len(other) != count:
        raise RuntimeError(
            f"_foreach_{name}: Tensor lists must have the same number of tensors, got {count} and {len(other)}"
        )
    return other


def _pair(name: str, compute: Callable) -> dict[str, Callable]:
    """The operator that makes new tensors, and the one that changes the given ones, from ``compute(suffix, …)``."""

    def new(tensors: Any, *args: Any, **options: Any) -> tuple:
        return tuple(compute("", tensors, *args, **options))

    def changed(tensors: Any, *args: Any, **options: Any) -> None:
        compute("_", tensors, *args, **options)

    made = {f"_foreach_{name}": new, f"_foreach_{name}_": changed}
    for key, function in made.items():
        function.__name__ = function.__qualname__ = key
        function.__doc__ = f"`{name}` of each tensor of a list" + (", in place." if function is changed else ".")
    return made


def _unary(name: str) -> Callable:
    return lambda suffix, tensors: [getattr(t, name + suffix)() for t in tensors]


def _binary(name: str) -> Callable:
    def compute(suffix: str, tensors: Any, other: Any, **options: Any) -> list:
        if name == "pow" and not isinstance(tensors, (list, tuple)):  # a number to the power of each tensor
            return [livegrad.pow(tensors, t) for t in other]
        parts = zip(tensors, _each(other, len(tensors), name))
        if name in _BOUNDS:
            return [getattr(t, "clamp" + suffix)(**{_BOUNDS[name]: o}) for t, o in parts]
        return [getattr(t, name + suffix)(o, **options) for t, o in parts]

    return compute


def _fused(name: str) -> Callable:
    def compute(suffix: str, tensors: Any, first: Any, second: Any, value: Any = 1) -> list:
        count = len(tensors)
        scales = value.tolist() if isinstance(value, Tensor) and value.dim() else value
        parts = zip(tensors, _each(first, count, name), _each(second, count, name), _each(scales, count, name))
        return [getattr(t, name + suffix)(a, b, value=v) for t, a, b, v in parts]

    return compute


def _lerp(suffix: str, tensors: Any, ends: Any, weight: Any) -> list:
    parts = zip(tensors, _each(ends, len(tensors), "lerp"), _each(weight, len(tensors), "lerp"))
    return [getattr(t, "lerp" + suffix)(e, w) for t, e, w in parts]


FUNCTIONS: dict[str, Callable] = {}
for _name, _compute in [
    *((n, _unary(n)) for n in _UNARY),
    *((n, _binary(n)) for n in ("add", "sub", "mul", "div", "pow", *_BOUNDS)),
    *((n, _fused(n)) for n in ("addcmul", "addcdiv")),
    ("lerp", _lerp),
]:
    FUNCTIONS.update(_pair(_name, _compute))


def _foreach_norm(tensors: Any, ord: Any = 2, dtype: Any = None) -> tuple:  # noqa: A002
    """The norm of each tensor."""
    return tuple([livegrad.linalg.vector_norm(t, ord, dtype=dtype) for t in tensors])


def _foreach_max(tensors: Any) -> tuple:
    """The largest element of each tensor."""
    return tuple([t.max() for t in tensors])


def _foreach_clone(tensors: Any) -> tuple:
    """A copy of each tensor."""
    return tuple([t.clone() for t in tensors])


def _foreach_copy_(tensors: Any, sources: Any, non_blocking: bool = False) -> None:
    """Write the sources into the tensors."""
    for t, source in zip(tensors, _each(sources, len(tensors), "copy_")):
        t.copy_(source)


def _foreach_zero_(tensors: Any) -> None:
    """Write zeros into the tensors."""
    for t in tensors:
        t.zero_()


for _function in (_foreach_norm, _foreach_max, _foreach_clone, _foreach_copy_, _foreach_zero_):
    FUNCTIONS[_function.__name__] = _function
globals().update(FUNCTIONS)
__all__ = [*FUNCTIONS]
