"""The inner formulas of the optimizers.

Each is one operator, so that a step records few of them. `ops.dispatch.update` uses them in place.
The order of operations is that of the step-by-step form, which decides how results round.
"""

from livegrad.ops.registry import ELEMENTWISE, elementwise
from livegrad.ops.scalar import sqrt

__all__ = ["DECAY_ADD", "DECAY_SQUARE", "LERP", "STEP", "STEP_BY_ROOT"]

STEP = ELEMENTWISE["_add_scaled"]
LERP = ELEMENTWISE["_lerp"]


def _formula(name, formula):
    elementwise(name, formula, function=False, differentiable=False, reference="")
    return ELEMENTWISE[name]


# A running mean of gradients, and one of their squares.
DECAY_ADD = _formula("_decay_add", lambda mean, gradient, keep, new: mean * keep + gradient * new)
DECAY_SQUARE = _formula("_decay_square", lambda mean, gradient, keep, new: mean * keep + gradient * new * gradient)
# A step of `size` along `mean`, divided by the root of `square` over `scale` (1 or a bias correction).
STEP_BY_ROOT = _formula(
    "_step_by_root",
    lambda param, mean, square, size, scale, eps: param + mean * size / (sqrt(square) / scale + eps),
)
