"""How values of several processes become one."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np

__all__ = ["ReduceOp", "combiner", "reduce_op"]


class RedOpType(IntEnum):
    """The operations themselves, as PyTorch names their type."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7

    def __repr__(self) -> str:
        return f"<RedOpType.{self.name}: {self.value}>"

    def __str__(self) -> str:
        return f"RedOpType.{self.name}"


class ReduceOp:
    """How values of several processes become one: ``ReduceOp.SUM``, ``AVG``, ``PRODUCT``, ``MIN``, ``MAX``, and of
    integers and booleans ``BAND``, ``BOR``, ``BXOR``.
    """

    RedOpType = RedOpType
    SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR, BXOR = RedOpType


class reduce_op:  # noqa: N801  (PyTorch's old name)
    """The old name of `ReduceOp`."""

    SUM, PRODUCT, MIN, MAX = RedOpType.SUM, RedOpType.PRODUCT, RedOpType.MIN, RedOpType.MAX


_COMBINE: dict[RedOpType, Any] = {
    RedOpType.SUM: np.add,
    RedOpType.AVG: np.add,
    RedOpType.PRODUCT: np.multiply,
    RedOpType.MIN: np.minimum,
    RedOpType.MAX: np.maximum,
    RedOpType.BAND: np.bitwise_and,
    RedOpType.BOR: np.bitwise_or,
    RedOpType.BXOR: np.bitwise_xor,
}


def check(name: str, op: Any, dtype: Any) -> RedOpType:
    """The operation, if it can be done on a dtype. TypeError for what is none, and as PyTorch for what it cannot."""
    if not isinstance(op, RedOpType):
        raise TypeError(f"{name}(): op is a ReduceOp such as ReduceOp.SUM, not {op!r}")
    if dtype.is_complex and op > RedOpType.AVG:
        raise ValueError(f"{name} does not support {op} on complex tensors")
    numbers = dtype.is_floating_point or dtype.is_complex
    if op is RedOpType.AVG and not numbers:
        raise RuntimeError(f"result type Float can't be cast to the desired output type {dtype}: AVG is for floats")
    if op >= RedOpType.BAND and numbers:
        raise RuntimeError(f"Cannot use ReduceOp.{op.name} with non-integral dtype ({dtype})")
    return op


def combiner(op: RedOpType) -> Callable[[np.ndarray, np.ndarray, np.ndarray], None]:
    """A function that puts what two arrays make together into a third, which may be one of them."""
    function = _COMBINE[op]

    def combine(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        with np.errstate(all="ignore"):
            function(a, b, out=out)

    return combine


def finish(op: RedOpType, total: np.ndarray, size: int) -> None:
    """Make an average of a sum."""
    if op is RedOpType.AVG:
        parts = as_real(total)
        with np.errstate(all="ignore"):
            np.divide(parts, parts.dtype.type(size), out=parts)


def as_real(x: np.ndarray) -> np.ndarray:
    """The memory of an array, with complex numbers as their parts: these are scaled without a complex product."""
    return x.view(x.real.dtype) if x.dtype.kind == "c" else x
