"""NAdam: Adam with Nesterov momentum."""

import livegrad
from livegrad.ops.dispatch import update

from .formulas import DECAY_SQUARE, LERP, NADAM_STEP, SHRINK
from .optimizer import Optimizer, adjusted, check_options, scalar

__all__ = ["NAdam"]


class NAdam(Optimizer):
    """`Adam` that looks one step of momentum ahead  (Dozat, 2016). ``momentum_decay`` warms the momentum up."""

    _numbers = ("step", "mu_product")

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3,
        decoupled_weight_decay=False, *, foreach=None, maximize=False, capturable=False, differentiable=False,
    ):  # fmt: skip
        check_options(lr)
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_options(betas=betas, weight_decay=weight_decay, momentum_decay=momentum_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
                "capturable": capturable, "differentiable": differentiable,
            },
        )  # fmt: skip

    def _update(self, group, changed):
        lr = scalar(group["lr"])
        beta1, beta2 = group["betas"]
        decay = group["momentum_decay"]
        weight_decay = group["weight_decay"]
        decoupled = group["decoupled_weight_decay"]
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["mu_product"] = 1.0
                state["exp_avg"] = livegrad.zeros_like(param)
                state["exp_avg_sq"] = livegrad.zeros_like(param)
            if weight_decay and decoupled:
                update(param, SHRINK, (), (1 - lr * weight_decay,))
            gradient = adjusted(gradient, param, group["maximize"], 0 if decoupled else weight_decay)
            step = state["step"] = float(state["step"]) + 1.0
            momentum = beta1 * (1.0 - 0.5 * (0.96 ** (step * decay)))
            next_momentum = beta1 * (1.0 - 0.5 * (0.96 ** ((step + 1) * decay)))
            product = state["mu_product"] = float(state["mu_product"]) * momentum
            mean, square = state["exp_avg"], state["exp_avg_sq"]
            now = -lr * (1.0 - momentum) / (1.0 - product)
            ahead = -lr * next_momentum / (1.0 - product * next_momentum)
            update(mean, LERP, (gradient,), (1 - beta1,))
            update(square, DECAY_SQUARE, (gradient,), (beta2, 1 - beta2))
            update(param, NADAM_STEP, (gradient, mean, square), (now, ahead, 1 - beta2**step, group["eps"]))
            changed += (param, mean, square)
