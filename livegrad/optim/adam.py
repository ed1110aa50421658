"""Adam."""

import functools

import livegrad
from livegrad.native import hot
from livegrad.ops.updates import Update

from .formulas import DECAY_SQUARE, GREATER, LERP, SHRINK, STEP_BY_ROOT, followed
from .optimizer import Optimizer, check_modes, check_options, scalar

__all__ = ["Adam"]


@functools.cache
def _rule(maximize, decay, decoupled, amsgrad):
    def formula(param, mean, square, *others):
        greatest = others[0] if amsgrad else None
        gradient, new1, beta2, new2, size, root, eps, weight_decay = others[amsgrad:]
        if decay and decoupled:
            param = SHRINK(param, weight_decay)
        gradient = followed(gradient, param, maximize, decay and not decoupled, weight_decay)
        mean = LERP(mean, gradient, new1)
        square = DECAY_SQUARE(square, gradient, beta2, new2)
        if not amsgrad:
            return STEP_BY_ROOT(param, mean, square, size, root, eps), mean, square
        greatest = GREATER(greatest, square)
        return STEP_BY_ROOT(param, mean, greatest, size, root, eps), mean, square, greatest

    return Update(formula)


class Adam(Optimizer):
    """Steps by the running mean of the gradient over the root of that of its square  (Kingma and Ba, 2015).

    ``betas`` are the decay rates of the two running means, ``eps`` is added to the root. ``weight_decay`` adds that
    much of the parameter to its gradient, or with ``decoupled_weight_decay`` shrinks the parameter itself, as
    `AdamW` does. ``amsgrad`` divides by the greatest second mean so far. ``foreach``, ``fused``, ``capturable`` and
    ``differentiable`` are accepted and change nothing.
    """

    _numbers = ("step",)

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, *, foreach=None,
        maximize=False, capturable=False, differentiable=False, fused=None, decoupled_weight_decay=False,
    ):  # fmt: skip
        check_options(lr, eps=eps, betas=betas, weight_decay=weight_decay)
        check_modes(foreach, fused)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
                "fused": fused, "decoupled_weight_decay": decoupled_weight_decay,
            },
        )  # fmt: skip

    @hot
    def _update(self, group, changes):
        lr = scalar(group["lr"])
        beta1, beta2 = map(scalar, group["betas"])
        eps = group["eps"]
        weight_decay = group["weight_decay"]
        decoupled = bool(group["decoupled_weight_decay"])
        amsgrad = bool(group["amsgrad"])
        update = _rule(bool(group["maximize"]), bool(weight_decay), decoupled, amsgrad)
        decay = 1 - lr * weight_decay if decoupled else weight_decay
        step = numbers = None
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            state = self.state[param]
            if not state:
                begun = {"step": 0.0, "exp_avg": livegrad.zeros_like(param), "exp_avg_sq": livegrad.zeros_like(param)}
                if amsgrad:
                    begun["max_exp_avg_sq"] = livegrad.zeros_like(param)
                state.update(begun)  # at once: an interruption (Ctrl-C) leaves all of it, or nothing
            count = state["step"] = float(state["step"]) + 1.0
            if count != step:  # nearly always the same for all parameters
                step = count
                root = (1 - beta2**step) ** 0.5
                numbers = (1 - beta1, beta2, 1 - beta2, -(lr / (1 - beta1**step)), root, eps, decay)
            mean, square = state["exp_avg"], state["exp_avg_sq"]
            if amsgrad:
                changes.apply(update, (param, mean, square, state["max_exp_avg_sq"], gradient), numbers)
            else:
                changes.apply(update, (param, mean, square, gradient), numbers)
