"""Adagrad."""

import functools

import livegrad
from livegrad.ops.updates import Update

from .formulas import ADD_SQUARE, STEP_BY_ROOT, followed
from .optimizer import Optimizer, check_modes, check_options, scalar

__all__ = ["Adagrad"]


@functools.cache
def _rule(maximize, decay):
    def formula(param, total, gradient, size, scale, eps, weight_decay):
        gradient = followed(gradient, param, maximize, decay, weight_decay)
        total = ADD_SQUARE(total, gradient)
        return STEP_BY_ROOT(param, gradient, total, size, scale, eps), total

    return Update(formula)


class Adagrad(Optimizer):
    """Steps by the gradient over the root of the sum of all its squares so far  (Duchi et al., 2011).

    The sum starts at ``initial_accumulator_value``. The learning rate falls as lr / (1 + (step - 1) · lr_decay).
    """

    _numbers = ("step",)

    takes_sparse = True
    decays_sparse = False

    def __init__(
        self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10, foreach=None, *,
        maximize=False, differentiable=False, fused=None,
    ):  # fmt: skip
        check_options(
            lr, lr_decay=lr_decay, weight_decay=weight_decay, initial_accumulator_value=initial_accumulator_value
        )
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_modes(foreach, fused)
        super().__init__(
            params,
            {
                "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
                "differentiable": differentiable, "fused": fused,
            },
        )  # fmt: skip
        for group in self.param_groups:
            for param in group["params"]:
                self._start(param, group)

    def _start(self, param, group):
        state = self.state[param]
        start = group["initial_accumulator_value"]
        total = livegrad.full_like(param, complex(start, start) if param.is_complex() else start)
        state.update({"step": 0.0, "sum": total})
        return state

    def share_memory(self):
        """Puts the sums into memory that other processes can share."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def _update(self, group, changes):
        lr = scalar(group["lr"])
        update = _rule(bool(group["maximize"]), bool(group["weight_decay"]))
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            state = self.state[param] or self._start(param, group)
            step = state["step"] = float(state["step"]) + 1.0
            size = -(lr / (1 + (step - 1) * group["lr_decay"]))
            changes.apply(update, (param, state["sum"], gradient), (size, 1.0, group["eps"], group["weight_decay"]))
