"""Stochastic gradient descent."""

import functools

from livegrad.native import hot
from livegrad.ops.updates import Update

from .formulas import DECAY_ADD, STEP, followed
from .optimizer import Optimizer, check_modes, check_options, scalar

__all__ = ["SGD"]


@functools.cache
def _plain(maximize, decay):
    return Update(
        lambda param, gradient, size, weight_decay: (
            STEP(param, followed(gradient, param, maximize, decay, weight_decay), size),
        )
    )


@functools.cache
def _with_momentum(maximize, decay, nesterov):
    def formula(param, buffer, gradient, size, weight_decay, momentum, new):
        gradient = followed(gradient, param, maximize, decay, weight_decay)
        buffer = DECAY_ADD(buffer, gradient, momentum, new)
        return STEP(param, STEP(gradient, buffer, momentum) if nesterov else buffer, size), buffer

    return Update(formula)


class SGD(Optimizer):
    """p -= lr · g, or with ``momentum`` p -= lr · b, where b = momentum · b + (1 - dampening) · g.

    ``nesterov`` steps along g + momentum · b. ``weight_decay`` adds that much of the parameter to its gradient.
    ``foreach``, ``fused`` and ``differentiable`` are accepted and change nothing.
    """

    takes_sparse = True

    def __init__(
        self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *, maximize=False,
        foreach=None, differentiable=False, fused=None,
    ):  # fmt: skip
        check_options(lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_modes(foreach, fused)
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                "nesterov": nesterov, "maximize": maximize, "foreach": foreach, "differentiable": differentiable,
                "fused": fused,
            },
        )  # fmt: skip

    @hot
    def _update(self, group, changes):
        momentum = group["momentum"]
        nesterov = bool(group["nesterov"])
        maximize = bool(group["maximize"])
        weight_decay = scalar(group["weight_decay"])
        size = -scalar(group["lr"])
        plain = _plain(maximize, bool(weight_decay))
        if not momentum:
            numbers = (size, weight_decay)
            for param in group["params"]:
                gradient = param.grad
                if gradient is not None:
                    changes.apply(plain, (param, gradient), numbers)
            return
        update = _with_momentum(maximize, bool(weight_decay), nesterov)
        numbers = (size, weight_decay, momentum, 1 - group["dampening"])
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            state = self.state[param]
            buffer = state.get("momentum_buffer")
            if buffer is None:
                gradient = followed(gradient, param, maximize, bool(weight_decay), weight_decay)
                buffer = state["momentum_buffer"] = gradient.detach().clone()
                if nesterov:
                    gradient = gradient.add(buffer, alpha=momentum)
                changes.apply(_plain(False, False), (param, gradient), (size, 0.0))
                changes.recorded.append(buffer)
            else:
                changes.apply(update, (param, buffer, gradient), numbers)
