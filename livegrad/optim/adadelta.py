"""Adadelta."""

import livegrad
from livegrad.ops.dispatch import update

from .formulas import ADADELTA_MOVED, ADADELTA_STEP, DECAY_SQUARE
from .optimizer import Optimizer, adjusted, check_options, scalar

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """Steps by the gradient times the ratio of two roots of running means: of the steps' and the gradients' squares.

    ``rho`` is the decay rate of both means  (Zeiler, 2012).
    """

    _numbers = ("step",)

    def __init__(
        self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, foreach=None, *, capturable=False, maximize=False,
        differentiable=False,
    ):  # fmt: skip
        check_options(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_options(weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
            },
        )  # fmt: skip

    def _update(self, group, changed):
        size = -scalar(group["lr"])
        rho, eps = group["rho"], group["eps"]
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            gradient = adjusted(gradient, param, group["maximize"], group["weight_decay"])
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["square_avg"] = livegrad.zeros_like(param)
                state["acc_delta"] = livegrad.zeros_like(param)
            state["step"] = float(state["step"]) + 1.0
            square, moved = state["square_avg"], state["acc_delta"]
            update(square, DECAY_SQUARE, (gradient,), (rho, 1 - rho))
            update(param, ADADELTA_STEP, (moved, square, gradient), (size, eps))
            update(moved, ADADELTA_MOVED, (square, gradient), (rho, 1 - rho, eps))
            changed += (param, square, moved)
