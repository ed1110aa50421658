"""RMSprop."""

import livegrad
from livegrad.ops.dispatch import update

from .formulas import (
    DECAY_BY_DEVIATION,
    DECAY_BY_ROOT,
    DECAY_SQUARE,
    LERP,
    STEP,
    STEP_BY_DEVIATION,
    STEP_BY_ROOT,
)  # fmt: skip
from .optimizer import Optimizer, adjusted, check_options, scalar

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """Steps by the gradient over the root of the running mean of its square, whose decay rate is ``alpha``.

    ``centered`` subtracts the square of the running mean of the gradient first; ``momentum`` accumulates the steps.
    """

    _numbers = ("step",)

    def __init__(
        self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, capturable=False,
        foreach=None, maximize=False, differentiable=False,
    ):  # fmt: skip
        check_options(lr)
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_options(momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
                "differentiable": differentiable,
            },
        )  # fmt: skip

    def _update(self, group, changed):
        step = -scalar(group["lr"])
        alpha, eps, momentum = group["alpha"], group["eps"], group["momentum"]
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            gradient = adjusted(gradient, param, group["maximize"], group["weight_decay"])
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["square_avg"] = livegrad.zeros_like(param)
                if momentum > 0:
                    state["momentum_buffer"] = livegrad.zeros_like(param)
                if group["centered"]:
                    state["grad_avg"] = livegrad.zeros_like(param)
            state["step"] = float(state["step"]) + 1.0
            square = state["square_avg"]
            centered = group["centered"]
            update(square, DECAY_SQUARE, (gradient,), (alpha, 1 - alpha))
            changed += (param, square)
            if centered:
                mean = state["grad_avg"]
                update(mean, LERP, (gradient,), (1 - alpha,))
                changed.append(mean)
            if momentum > 0:
                buffer = state["momentum_buffer"]
                if centered:
                    update(buffer, DECAY_BY_DEVIATION, (gradient, mean, square), (momentum, eps))
                else:
                    update(buffer, DECAY_BY_ROOT, (gradient, square), (momentum, eps))
                update(param, STEP, (buffer,), (step,))
                changed.append(buffer)
            elif centered:
                update(param, STEP_BY_DEVIATION, (gradient, mean, square), (step, eps))
            else:
                update(param, STEP_BY_ROOT, (gradient, square), (step, 1.0, eps))
