"""Averaged stochastic gradient descent."""

import struct

import livegrad
from livegrad.ops.dispatch import update

from .formulas import APPROACH, DECAY_ADD
from .optimizer import Optimizer, adjusted, check_options, scalar

__all__ = ["ASGD"]


def _float32(number):
    """A number as PyTorch keeps it between steps."""
    return struct.unpack("f", struct.pack("f", number))[0]


class ASGD(Optimizer):
    """`SGD` that also keeps the average of the parameters, as ``"ax"`` in their state  (Polyak and Juditsky, 1992).

    The learning rate falls as lr / (1 + lambd · lr · step) ** alpha, every step shrinks the parameter by ``lambd``
    times the learning rate, and averaging begins at step ``t0``.
    """

    _numbers = ("step", "eta", "mu")

    def __init__(
        self, params, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0, foreach=None, maximize=False,
        differentiable=False, capturable=False,
    ):  # fmt: skip
        check_options(lr, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def _update(self, group, changed):
        lr, lambd = scalar(group["lr"]), group["lambd"]
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            gradient = adjusted(gradient, param, group["maximize"], group["weight_decay"])
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["eta"] = _float32(lr)
                state["mu"] = 1.0
                state["ax"] = livegrad.zeros_like(param)
            step = state["step"] = float(state["step"]) + 1.0
            eta, mu, average = float(state["eta"]), float(state["mu"]), state["ax"]
            update(param, DECAY_ADD, (gradient,), (1 - lambd * eta, -eta))
            if mu == 1.0:
                average.copy_(param)
            else:
                update(average, APPROACH, (param,), (mu,))
            state["eta"] = _float32(lr / (1 + lambd * lr * step) ** group["alpha"])
            state["mu"] = _float32(1 / max(1, step - group["t0"]))
            changed += (param, average)
