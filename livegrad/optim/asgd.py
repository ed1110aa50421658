"""Averaged stochastic gradient descent."""

import functools
import struct

from livegrad.ops.updates import Update

from .formulas import APPROACH, COPY, DECAY_ADD, followed
from .optimizer import Optimizer, check_options, scalar

__all__ = ["ASGD"]


def _float32(number):
    """A number as PyTorch keeps it between steps."""
    return struct.unpack("f", struct.pack("f", number))[0]


@functools.cache
def _rule(maximize, decay, averaging):
    def formula(param, average, gradient, keep, size, mu, weight_decay):
        gradient = followed(gradient, param, maximize, decay, weight_decay)
        param = DECAY_ADD(param, gradient, keep, size)
        return param, APPROACH(average, param, mu) if averaging else COPY(param)

    return Update(formula)


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

    def _update(self, group, changes):
        lr, lambd = scalar(group["lr"]), group["lambd"]
        maximize, weight_decay = bool(group["maximize"]), group["weight_decay"]
        for param, gradient, state in self._started(group, "ax", eta=_float32(lr), mu=1.0):
            step = state["step"]
            eta, mu = float(state["eta"]), float(state["mu"])
            update = _rule(maximize, bool(weight_decay), mu != 1.0)
            changes.apply(update, (param, state["ax"], gradient), (1 - lambd * eta, -eta, mu, weight_decay))
            eta = _float32(lr / (1 + lambd * lr * step) ** group["alpha"])
            state.update({"eta": eta, "mu": _float32(1 / max(1, step - group["t0"]))})
