"""Adamax."""

import functools

from livegrad.ops.updates import Update

from .formulas import DECAY_LARGEST, LERP, STEP_OVER, followed
from .optimizer import Optimizer, check_options, scalar

__all__ = ["Adamax"]


@functools.cache
def _rule(maximize, decay):
    def formula(param, mean, greatest, gradient, new1, beta2, size, eps, weight_decay):
        gradient = followed(gradient, param, maximize, decay, weight_decay)
        mean = LERP(mean, gradient, new1)
        greatest = DECAY_LARGEST(greatest, gradient, beta2, eps)
        return STEP_OVER(param, mean, greatest, size), mean, greatest

    return Update(formula)


class Adamax(Optimizer):
    """`Adam` with the greatest gradient, decaying by the second beta, in place of the root  (Kingma and Ba, 2015)."""

    _numbers = ("step",)

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, foreach=None, *, maximize=False,
        differentiable=False, capturable=False,
    ):  # fmt: skip
        check_options(lr, eps=eps, betas=betas, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def _update(self, group, changes):
        lr = scalar(group["lr"])
        beta1, beta2 = group["betas"]
        update = _rule(bool(group["maximize"]), bool(group["weight_decay"]))
        for param, gradient, state in self._started(group, "exp_avg", "exp_inf"):
            step = state["step"]
            numbers = (1 - beta1, beta2, -(lr / (1 - beta1**step)), group["eps"], group["weight_decay"])
            changes.apply(update, (param, state["exp_avg"], state["exp_inf"], gradient), numbers)
