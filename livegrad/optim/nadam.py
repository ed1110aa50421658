"""NAdam: Adam with Nesterov momentum."""

import functools

from livegrad.ops.updates import Update

from .formulas import DECAY_SQUARE, LERP, NADAM_STEP, SHRINK, followed
from .optimizer import Optimizer, check_options, scalar

__all__ = ["NAdam"]


@functools.cache
def _rule(maximize, decay, decoupled):
    def formula(param, mean, square, gradient, new1, beta2, new2, now, ahead, correction, eps, weight_decay):
        if decay and decoupled:
            param = SHRINK(param, weight_decay)
        gradient = followed(gradient, param, maximize, decay and not decoupled, weight_decay)
        mean = LERP(mean, gradient, new1)
        square = DECAY_SQUARE(square, gradient, beta2, new2)
        return NADAM_STEP(param, gradient, mean, square, now, ahead, correction, eps), mean, square

    return Update(formula)


class NAdam(Optimizer):
    """`Adam` that looks one step of momentum ahead  (Dozat, 2016). ``momentum_decay`` warms the momentum up."""

    _numbers = ("step", "mu_product")

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3,
        decoupled_weight_decay=False, *, foreach=None, maximize=False, capturable=False, differentiable=False,
    ):  # fmt: skip
        check_options(lr, eps=eps, betas=betas, weight_decay=weight_decay, momentum_decay=momentum_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
                "capturable": capturable, "differentiable": differentiable,
            },
        )  # fmt: skip

    def _update(self, group, changes):
        lr = scalar(group["lr"])
        beta1, beta2 = group["betas"]
        decay = group["momentum_decay"]
        weight_decay = group["weight_decay"]
        decoupled = bool(group["decoupled_weight_decay"])
        update = _rule(bool(group["maximize"]), bool(weight_decay), decoupled)
        if decoupled:
            weight_decay = 1 - lr * weight_decay
        for param, gradient, state in self._started(group, "exp_avg", "exp_avg_sq", mu_product=1.0):
            step = state["step"]
            momentum = beta1 * (1.0 - 0.5 * (0.96 ** (step * decay)))
            next_momentum = beta1 * (1.0 - 0.5 * (0.96 ** ((step + 1) * decay)))
            product = state["mu_product"] = float(state["mu_product"]) * momentum
            mean, square = state["exp_avg"], state["exp_avg_sq"]
            now = -lr * (1.0 - momentum) / (1.0 - product)
            ahead = -lr * next_momentum / (1.0 - product * next_momentum)
            numbers = (
                1 - beta1, beta2, 1 - beta2, now, ahead, 1 - beta2**step, group["eps"], weight_decay
            )  # fmt: skip
            changes.apply(update, (param, mean, square, gradient), numbers)
