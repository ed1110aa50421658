"""The inner formulas of the optimizers.

Each is one operator, so that a step records few of them. An optimizer's `Update` combines them to the whole of what a
step does to a parameter (see `ops.updates`). The order of operations is that of the step-by-step form, which decides
how results round.
"""

from livegrad.ops.registry import ELEMENTWISE, elementwise
from livegrad.ops.scalar import abs, maximum, minimum, sign, sqrt, where  # noqa: A004

STEP = ELEMENTWISE["_add_scaled"]
LERP = ELEMENTWISE["_lerp"]
NEGATE = ELEMENTWISE["neg"]
GREATER = ELEMENTWISE["maximum"]


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
# Sums and running means of other things than the gradient.
ADD_SQUARE = _formula("_add_square", lambda total, gradient: total + gradient * gradient)
DECAY_LARGEST = _formula(
    "_decay_largest",
    lambda greatest, gradient, keep, eps: maximum(greatest * keep, abs(gradient) + eps),
)
DECAY_BY_ROOT = _formula(
    "_decay_by_root",
    lambda buffer, gradient, square, keep, eps: buffer * keep + gradient / (sqrt(square) + eps),
)
DECAY_BY_DEVIATION = _formula(
    "_decay_by_deviation",
    lambda buffer, gradient, mean, square, keep, eps: buffer * keep + gradient / (sqrt(square - mean * mean) + eps),
)
COPY = _formula("_copy", lambda x: x)
APPROACH = _formula("_approach", lambda average, param, share: average + (param - average) * share)
# Steps.
SHRINK = _formula("_shrink", lambda param, factor: param * factor)
STEP_OVER = _formula("_step_over", lambda param, mean, greatest, size: param + mean * size / greatest)
STEP_BY_DEVIATION = _formula(
    "_step_by_deviation",
    lambda param, gradient, mean, square, size, eps: param + gradient * size / (sqrt(square - mean * mean) + eps),
)
NADAM_STEP = _formula(
    "_nadam_step",
    lambda param, gradient, mean, square, now, ahead, correction, eps: (
        param + gradient * now / (sqrt(square / correction) + eps) + mean * ahead / (sqrt(square / correction) + eps)
    ),
)
RADAM_STEP = _formula("_radam_step", lambda param, mean, correction, lr: param - mean / correction * lr)
RADAM_TRUSTED_STEP = _formula(
    "_radam_trusted_step",
    lambda param, mean, square, correction, lr, root, eps, trust: (
        param - mean / correction * lr * (root / (sqrt(square) + eps)) * trust
    ),
)


def _adadelta_step(moved, square, gradient, eps):
    return sqrt(moved + eps) / sqrt(square + eps) * gradient


ADADELTA_STEP = _formula(
    "_adadelta_step",
    lambda param, moved, square, gradient, size, eps: param + _adadelta_step(moved, square, gradient, eps) * size,
)
ADADELTA_MOVED = _formula(
    "_adadelta_moved",
    lambda moved, square, gradient, keep, new, eps: (
        moved * keep + _adadelta_step(moved, square, gradient, eps) * new * _adadelta_step(moved, square, gradient, eps)
    ),
)
# Rprop: step sizes grow where the gradient keeps its sign; where it turned round, they shrink, and no step is made.
RPROP_SIZE = _formula(
    "_rprop_size",
    lambda size, gradient, before, shrink, grow, least, most: minimum(
        maximum(size * where(gradient * before > 0, grow, where(gradient * before < 0, shrink, 1.0)), least), most
    ),
)
RPROP_KEEP = _formula("_rprop_keep", lambda before, gradient: where(gradient * before < 0, 0.0, gradient))
RPROP_STEP = _formula("_rprop_step", lambda param, gradient, size: param - sign(gradient) * size)


def followed(gradient, param, maximize, decay, weight_decay):
    """The gradient to follow: turned round to maximise, and if ``decay``, with some of the parameter added."""
    if maximize:
        gradient = NEGATE(gradient)
    return STEP(gradient, param, weight_decay) if decay else gradient
