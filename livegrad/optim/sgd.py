"""Stochastic gradient descent."""

from livegrad.native import hot
from livegrad.ops.dispatch import update

from .formulas import DECAY_ADD, STEP
from .optimizer import Optimizer, adjusted, check_modes, check_options, scalar

__all__ = ["SGD"]


class SGD(Optimizer):
    """p -= lr · g, or with ``momentum`` p -= lr · b, where b = momentum · b + (1 - dampening) · g.

    ``nesterov`` steps along g + momentum · b. ``weight_decay`` adds that much of the parameter to its gradient.
    ``foreach``, ``fused`` and ``differentiable`` are accepted and change nothing.
    """

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
    def _update(self, group, changed):
        step = -scalar(group["lr"])
        momentum = group["momentum"]
        keep = 1 - group["dampening"]
        nesterov = group["nesterov"]
        weight_decay = scalar(group["weight_decay"])
        maximize = group["maximize"]
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            if maximize or weight_decay:
                gradient = adjusted(gradient, param, maximize, weight_decay)
            if momentum:
                state = self.state[param]
                buffer = state.get("momentum_buffer")
                if buffer is None:
                    buffer = state["momentum_buffer"] = gradient.detach().clone()
                else:
                    update(buffer, DECAY_ADD, (gradient,), (momentum, keep))
                changed.append(buffer)
                gradient = gradient.add(buffer, alpha=momentum) if nesterov else buffer
            update(param, STEP, (gradient,), (step,))
            changed.append(param)
