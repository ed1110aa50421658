"""RMSprop."""

import functools

from livegrad.ops.updates import Update

from .formulas import (
    DECAY_BY_DEVIATION,
    DECAY_BY_ROOT,
    DECAY_SQUARE,
    LERP,
    STEP,
    STEP_BY_DEVIATION,
    STEP_BY_ROOT,
    followed,
)  # fmt: skip
from .optimizer import Optimizer, check_options, scalar

__all__ = ["RMSprop"]


@functools.cache
def _rule(maximize, decay, centered, with_momentum):
    def formula(param, square, *others):
        mean = others[0] if centered else None
        buffer = others[centered] if with_momentum else None
        gradient, size, scale, alpha, new, momentum, eps, weight_decay = others[centered + with_momentum :]
        gradient = followed(gradient, param, maximize, decay, weight_decay)
        square = DECAY_SQUARE(square, gradient, alpha, new)
        changed = (square,)
        if centered:
            mean = LERP(mean, gradient, new)
            changed = (square, mean)
        if with_momentum:
            if centered:
                buffer = DECAY_BY_DEVIATION(buffer, gradient, mean, square, momentum, eps)
            else:
                buffer = DECAY_BY_ROOT(buffer, gradient, square, momentum, eps)
            return STEP(param, buffer, size), *changed, buffer
        if centered:
            return STEP_BY_DEVIATION(param, gradient, mean, square, size, eps), *changed
        return STEP_BY_ROOT(param, gradient, square, size, scale, eps), *changed

    return Update(formula)


class RMSprop(Optimizer):
    """Steps by the gradient over the root of the running mean of its square, whose decay rate is ``alpha``.

    ``centered`` subtracts the square of the running mean of the gradient first; ``momentum`` accumulates the steps.
    """

    _numbers = ("step",)

    def __init__(
        self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, capturable=False,
        foreach=None, maximize=False, differentiable=False,
    ):  # fmt: skip
        check_options(lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
                "differentiable": differentiable,
            },
        )  # fmt: skip

    def _update(self, group, changes):
        alpha, momentum, centered = group["alpha"], group["momentum"], bool(group["centered"])
        weight_decay = group["weight_decay"]
        update = _rule(bool(group["maximize"]), bool(weight_decay), centered, momentum > 0)
        numbers = (-scalar(group["lr"]), 1.0, alpha, 1 - alpha, momentum, group["eps"], weight_decay)
        mean = ["grad_avg"] if centered else []
        steps = ["momentum_buffer"] if momentum > 0 else []
        kept = ["square_avg", *mean, *steps]
        for param, gradient, state in self._started(group, "square_avg", *steps, *mean):
            changes.apply(update, (param, *[state[name] for name in kept], gradient), numbers)
