"""Tier 0: a program evaluated operator by operator with the backend's own arrays.

It is the reference that kernels are tested against, and what runs where no compiler is installed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..native import hot
from ..ops.scalar import Expr, postorder
from ..ops.scalar_numpy import COMPLEX, LACKING, NUMPY


@hot
def _compute_dtype(d: Any) -> np.dtype:
    return np.dtype(np.float32) if d.compute_kind == "f32" else d.np


def _number(value: Any, dtype: np.dtype) -> Any:
    """A Python number in a dtype, wrapping around as a conversion in a kernel does."""
    if dtype.kind in "iu":
        return np.int64(value).astype(dtype)
    return dtype.type(value)


def run_formula(expr: Any, inputs: dict[str, Any], compute: Any) -> Any:
    """A scalar expression over arrays; constants take the dtype that the formula is computed in."""
    dtype = _compute_dtype(compute)

    def constant(value: Any) -> Any:
        return np.bool_(value) if isinstance(value, bool) else _number(value, dtype)

    if expr.__class__ is not Expr:
        return constant(expr)
    made: dict[int, Any] = {}
    for node in postorder(expr):
        if node.primitive is None:
            made[id(node)] = inputs[node.name]
        else:
            args = [made[id(a)] if a.__class__ is Expr else constant(a) for a in node.args]
            made[id(node)] = _call(node.primitive.name, args, dtype)
    return made[id(expr)]


def library(a: Any) -> Any:
    """The array library that an array is of."""
    if isinstance(a, (np.ndarray, np.generic)):
        return np
    from .cuda import driver

    return driver.cupy()


def _special(name: str) -> Any:
    """A special function of CUDA's arrays."""
    import importlib

    return getattr(importlib.import_module("cupyx.scipy.special"), {"lgamma": "gammaln"}.get(name, name))


@hot
def _call(name: str, args: list, dtype: np.dtype) -> Any:
    if dtype.kind == "b" and name in _BOOL:
        return _BOOL[name](*args)
    if dtype.kind == "c" and name in COMPLEX:
        return COMPLEX[name](*args)
    if name in ("floor", "ceil", "trunc", "round") and dtype.kind in "iu":
        return args[0]  # NumPy would go through float64
    if name == "pow" and dtype.kind in "iu":
        return _int_pow(*args)
    if name in ("shl", "shr"):
        return _shift(name, *args)
    if name in LACKING and not isinstance(args[0], (np.ndarray, np.generic)):
        return _special(name)(args[0])
    return NUMPY[name](*args)


_BOOL = {
    "sign": lambda x: x,
    "abs": lambda x: x,
    "square": lambda x: x,
    "pow": lambda x, y: x | ~y,
    "floor": lambda x: x,
    "ceil": lambda x: x,
    "trunc": lambda x: x,
    "round": lambda x: x,
    "signbit": lambda x: np.zeros_like(x),
}


def _int_pow(x: Any, y: Any) -> Any:
    """Integer powers; a negative exponent gives what truncating the true power would: 1, -1 or 0."""
    x, y = np.broadcast_arrays(x, y)
    if y.dtype.kind == "u" or not np.any(y < 0):
        return np.power(x, y)
    # [()] keeps a number a number: CuPy takes numbers, but no array of NumPy's.
    positive = np.power(x, np.where(y < 0, 0, y)[()])
    inverse = np.where(x == 1, 1, np.where(x == -1, np.where(y % 2 == 0, 1, -1)[()], 0)[()]).astype(x.dtype)
    return np.where(y < 0, inverse, positive)


def _shift(name: str, x: Any, y: Any) -> Any:
    """Shifts by the number of bits or more (or by less than none) give what shifting on and on would."""
    bits = np.dtype(x.dtype).itemsize * 8
    inside = (y >= 0) & (y < bits)
    amount = np.where(inside, y, 0).astype(np.result_type(y))[()]
    if name == "shl":
        return np.where(inside, np.left_shift(x, amount), 0).astype(x.dtype)
    beyond = np.where(x < 0, -1, 0)[()] if np.dtype(x.dtype).kind == "i" else 0
    return np.where(inside, np.right_shift(x, amount), beyond).astype(x.dtype)


@hot
def _converted(a: Any, dtype: np.dtype) -> Any:
    """An array in another dtype. Of complex numbers real dtypes hold the real part."""
    if a.dtype.kind == "c" and dtype.kind not in "cb":
        a = a.real
    return a.astype(dtype, copy=False)


def run_instruction(instr: Any, operands: list, params: tuple) -> Any:
    """One elementwise instruction on native arrays; the result is an array of the instruction's dtype."""
    compute = _compute_dtype(instr.compute)
    inputs: dict[str, Any] = {}
    arrays, numbers = iter(operands), iter(params)
    for name, letter in zip(instr.op.names, instr.pattern):
        if letter == "t":
            a = next(arrays)
            inputs[name] = a if name == "condition" else _converted(a, compute)
        else:
            inputs[name] = _number(next(numbers), compute)
    with np.errstate(all="ignore"):
        made = run_formula(instr.op.expr, inputs, instr.compute)
        return _converted(made, instr.dtype.np)


@hot
def run_piece(nodes: list) -> list:
    """Every node of a linearised piece, in order; returns native arrays, which may need broadcasting to their shape."""
    device = nodes[-1].device
    made: dict[Any, Any] = {}
    for v in nodes:
        given = []
        for o in v.operands:
            a = made.get(o)
            if a is None:
                a = made[o] = o.array.native() if o.device is device else o.array.native()[()]  # a number of the CPU's
            given.append(a)
        if v.instr.relabels:
            made[v] = broadcast(given[0], v.operands[0].shape).reshape(v.shape)
        else:
            made[v] = run_instruction(v.instr, given, v.params)
    return [made[v] for v in nodes]


def broadcast(a: Any, shape: tuple) -> Any:
    """A native array read over `shape`."""
    return np.broadcast_to(a, shape)


def reduce(name: str, array: Any, axes: tuple, acc: Any, count: int = 0) -> Any:
    """A reduction without a kernel; `acc` is the dtype of accumulation and of the result.

    count: how many elements a mean of partial sums is over; 0 where `array` holds the elements themselves.
    """
    if name in ("any", "all"):
        return getattr(np, name)(array.astype(bool, copy=False), axis=axes)
    converted = _converted(array, _compute_dtype(acc))
    with np.errstate(all="ignore"):
        if name == "mean":
            return np.sum(converted, axis=axes) / _compute_dtype(acc).type(count or _count(array.shape, axes))
        return getattr(np, name)(converted, axis=axes)


def _count(shape: tuple, axes: tuple) -> int:
    n = 1
    for d in axes:
        n *= shape[d]
    return n
