"""The inner formulas of the optimizers.

Each is one operator, so that a step records few of them. They are used in place: ``square._decay_square_(g, ...)``.
The order of operations is that of the step-by-step form, which decides how results round.
"""

from livegrad.ops.registry import elementwise
from livegrad.ops.scalar import sqrt

__all__ = []


def _formula(name, formula):
    elementwise(name, formula, function=False, differentiable=False, reference="")


# A running mean of gradients, and one of their squares.
_formula("_decay_add", lambda mean, gradient, keep, new: mean * keep + gradient * new)
_formula("_decay_square", lambda mean, gradient, keep, new: mean * keep + gradient * new * gradient)
# A step of `size` along `mean`, divided by the root of `square` over `scale` (1 or a bias correction).
_formula(
    "_step_by_root",
    lambda param, mean, square, size, scale, eps: param + mean * size / (sqrt(square) / scale + eps),
)
