"""The margin of the right class over the others, row by row."""

from __future__ import annotations

from typing import Any

from ..lazy import backend
from ..lazy.value import Value
from ..native import hot
from ..tensor import wrap
from . import rows
from .registry import FUNCTIONS, operator
from .rowprogram import RowProgram, position, total
from .scalar import eq, gt, maximum, where


def _above(x: Any, target: Any, margin: Any) -> Any:
    """margin - x[target] + x; 0 at the target."""
    own = eq(position, target)
    return where(own, 0.0, (margin - total(where(own, x, 0.0))) + x)


def _less_at_target(terms: Any, target: Any, flow: Any) -> Any:
    return where(eq(position, target), -total(terms), terms) * flow


def _linear(x: Any, target: Any, margin: Any) -> Any:
    return total(maximum(_above(x, target, margin), 0.0))


def _square(x: Any, target: Any, margin: Any) -> Any:
    term = maximum(_above(x, target, margin), 0.0)
    return total(term * term)


def _linear_gradient(x: Any, target: Any, flow: Any, margin: Any) -> Any:
    return _less_at_target(where(gt(_above(x, target, margin), 0.0), 1.0, 0.0), target, flow)


def _square_gradient(x: Any, target: Any, flow: Any, margin: Any) -> Any:
    return _less_at_target(maximum(_above(x, target, margin), 0.0) * 2.0, target, flow)


_ROWS = {1: RowProgram("margin_loss", _linear, 2), 2: RowProgram("margin_loss_squares", _square, 2)}
_GRADIENT = {
    1: RowProgram("margin_loss_gradient", _linear_gradient, 3),
    2: RowProgram("margin_loss_squares_gradient", _square_gradient, 3),
}


@hot
def _margins(input: Value, index: Value, p: int, margin: float) -> Value:
    return rows.apply(_ROWS[p], (input, index), (1,), (margin,))


def _margins_gradient(g: Any, input: Any, index: Value, p: int, margin: float) -> Any:
    if g.__class__ is Value:
        return rows.apply(_GRADIENT[p], (input, index, g), (1,), (margin,), (input.dtype,))
    target = wrap(index)
    own = target == wrap(backend.count(input._shape[1], 1, input.device))
    above = (margin - input.gather(1, target) + input).masked_fill(own, 0.0)
    terms = (above > 0).to(input.dtype) if p == 1 else above.clamp_min(0.0) * 2.0
    return FUNCTIONS["where"](own, -terms.sum(1, keepdim=True), terms) * g


# Of (N, C) and indices (N, 1): for each row the sum of max(0, margin - x[index] + x[i]) ** p over the other places i.
MARGINS = operator(
    "multi_margin_loss",
    _margins,
    tensors=("input",),
    grads={"input": _margins_gradient},
    node="MultiMarginLoss",
    anywhere=True,
)
