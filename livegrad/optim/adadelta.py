"""Adadelta."""

import functools

from livegrad.ops.updates import Update

from .formulas import ADADELTA_MOVED, ADADELTA_STEP, DECAY_SQUARE, followed
from .optimizer import Optimizer, check_options, scalar

__all__ = ["Adadelta"]


@functools.cache
def _rule(maximize, decay):
    def formula(param, square, moved, gradient, size, rho, new, eps, weight_decay):
        gradient = followed(gradient, param, maximize, decay, weight_decay)
        square = DECAY_SQUARE(square, gradient, rho, new)
        param = ADADELTA_STEP(param, moved, square, gradient, size, eps)
        return param, square, ADADELTA_MOVED(moved, square, gradient, rho, new, eps)

    return Update(formula)


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
        check_options(eps=eps, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
            },
        )  # fmt: skip

    def _update(self, group, changes):
        size = -scalar(group["lr"])
        rho = group["rho"]
        update = _rule(bool(group["maximize"]), bool(group["weight_decay"]))
        numbers = (size, rho, 1 - rho, group["eps"], group["weight_decay"])
        for param, gradient, state in self._started(group, "square_avg", "acc_delta"):
            changes.apply(update, (param, state["square_avg"], state["acc_delta"], gradient), numbers)
