"""RAdam: Adam that waits until its second mean can be trusted."""

import functools

from livegrad.ops.updates import Update

from .formulas import DECAY_SQUARE, LERP, RADAM_STEP, RADAM_TRUSTED_STEP, SHRINK, followed
from .optimizer import Optimizer, check_options, scalar

__all__ = ["RAdam"]


@functools.cache
def _rule(maximize, decay, decoupled, trusted):
    def formula(param, mean, square, gradient, new1, beta2, new2, start, lr, root, eps, trust, weight_decay):
        if decay and decoupled:
            param = SHRINK(param, weight_decay)
        gradient = followed(gradient, param, maximize, decay and not decoupled, weight_decay)
        mean = LERP(mean, gradient, new1)
        square = DECAY_SQUARE(square, gradient, beta2, new2)
        if trusted:
            return RADAM_TRUSTED_STEP(param, mean, square, start, lr, root, eps, trust), mean, square
        return RADAM_STEP(param, mean, start, lr), mean, square

    return Update(formula)


class RAdam(Optimizer):
    """`Adam` whose step is scaled by how far the running mean of squares can be trusted  (Liu et al., 2020).

    In the first steps it cannot, and momentum alone is used.
    """

    _numbers = ("step",)

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled_weight_decay=False, *,
        foreach=None, maximize=False, capturable=False, differentiable=False,
    ):  # fmt: skip
        check_options(lr, eps=eps, betas=betas, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                "foreach": foreach, "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )  # fmt: skip

    def _update(self, group, changes):
        lr = scalar(group["lr"])
        beta1, beta2 = group["betas"]
        weight_decay = group["weight_decay"]
        decoupled = bool(group["decoupled_weight_decay"])
        maximize, decay = bool(group["maximize"]), bool(weight_decay)
        if decoupled:
            weight_decay = 1 - lr * weight_decay
        limit = 2 / (1 - beta2) - 1
        for param, gradient, state in self._started(group, "exp_avg", "exp_avg_sq"):
            step = state["step"]
            mean, square = state["exp_avg"], state["exp_avg_sq"]
            correction = 1 - beta2**step
            length = limit - 2 * step * (beta2**step) / correction  # of the running mean, in effective samples
            start = 1 - beta1**step
            trusted = length > 5.0
            trust = 1.0
            if trusted:
                trust = ((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)) ** 0.5
            numbers = (
                1 - beta1, beta2, 1 - beta2, start, lr, correction**0.5, group["eps"], trust, weight_decay
            )  # fmt: skip
            changes.apply(_rule(maximize, decay, decoupled, trusted), (param, mean, square, gradient), numbers)
