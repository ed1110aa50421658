"""Rprop: resilient backpropagation."""

import functools

import livegrad
from livegrad.ops.updates import Update

from .formulas import RPROP_KEEP, RPROP_SIZE, RPROP_STEP, followed
from .optimizer import Optimizer, check_options, scalar

__all__ = ["Rprop"]


@functools.cache
def _rule(maximize):
    def formula(param, before, size, gradient, shrink, grow, least, most):
        gradient = followed(gradient, param, maximize, False, 0.0)
        size = RPROP_SIZE(size, gradient, before, shrink, grow, least, most)
        before = RPROP_KEEP(before, gradient)
        return RPROP_STEP(param, before, size), before, size

    return Update(formula)


class Rprop(Optimizer):
    """Steps by the sign of the gradient alone, with a step size of its own for every element.

    Sizes start at ``lr`` and stay within ``step_sizes``. Where the gradient kept its sign, the size is multiplied by
    the second of ``etas``; where it changed, by the first, and no step is made  (Riedmiller and Braun, 1993).
    """

    _numbers = ("step",)

    def __init__(
        self, params, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), *, capturable=False, foreach=None,
        maximize=False, differentiable=False,
    ):  # fmt: skip
        check_options(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
                "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def _update(self, group, changes):
        update = _rule(bool(group["maximize"]))
        numbers = (*map(float, group["etas"]), *map(float, group["step_sizes"]))
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            state = self.state[param]
            if not state:
                lr = scalar(group["lr"])
                size = livegrad.full_like(gradient, complex(lr, lr) if param.is_complex() else lr)
                state.update({"step": 0.0, "prev": livegrad.zeros_like(param), "step_size": size})
            state["step"] = float(state["step"]) + 1.0
            changes.apply(update, (param, state["prev"], state["step_size"], gradient), numbers)
