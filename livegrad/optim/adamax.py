"""Adamax."""

import livegrad
from livegrad.ops.dispatch import update

from .formulas import DECAY_LARGEST, LERP, STEP_OVER
from .optimizer import Optimizer, adjusted, check_options, scalar

__all__ = ["Adamax"]


class Adamax(Optimizer):
    """`Adam` with the greatest gradient, decaying by the second beta, in place of the root  (Kingma and Ba, 2015)."""

    _numbers = ("step",)

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, foreach=None, *, maximize=False,
        differentiable=False, capturable=False,
    ):  # fmt: skip
        check_options(lr)
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_options(betas=betas, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def _update(self, group, changed):
        lr = scalar(group["lr"])
        beta1, beta2 = group["betas"]
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            gradient = adjusted(gradient, param, group["maximize"], group["weight_decay"])
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["exp_avg"] = livegrad.zeros_like(param)
                state["exp_inf"] = livegrad.zeros_like(param)
            step = state["step"] = float(state["step"]) + 1.0
            mean, greatest = state["exp_avg"], state["exp_inf"]
            update(mean, LERP, (gradient,), (1 - beta1,))
            update(greatest, DECAY_LARGEST, (gradient,), (beta2, group["eps"]))
            update(param, STEP_OVER, (mean, greatest), (-(lr / (1 - beta1**step)),))
            changed += (param, mean, greatest)
