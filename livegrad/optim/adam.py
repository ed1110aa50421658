"""Adam."""

import livegrad
from livegrad.native import hot
from livegrad.ops.dispatch import update

from .formulas import DECAY_SQUARE, LERP, STEP_BY_ROOT
from .optimizer import Optimizer, check_modes, check_options, scalar

__all__ = ["Adam"]


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
        check_options(lr)
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_options(betas=betas, weight_decay=weight_decay)
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
    def _update(self, group, changed):
        lr = scalar(group["lr"])
        beta1, beta2 = map(scalar, group["betas"])
        eps = group["eps"]
        weight_decay = group["weight_decay"]
        decoupled = group["decoupled_weight_decay"]
        amsgrad = group["amsgrad"]
        maximize = group["maximize"]
        new1, new2 = 1 - beta1, 1 - beta2
        shrink = 1 - lr * weight_decay
        step = root = size = None
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["exp_avg"] = livegrad.zeros_like(param)
                state["exp_avg_sq"] = livegrad.zeros_like(param)
                if amsgrad:
                    state["max_exp_avg_sq"] = livegrad.zeros_like(param)
            count = state["step"] = float(state["step"]) + 1.0
            if count != step:  # nearly always the same for all parameters
                step = count
                root = (1 - beta2**step) ** 0.5
                size = -(lr / (1 - beta1**step))
            if maximize:
                gradient = -gradient
            if weight_decay:
                if decoupled:
                    param.mul_(shrink)
                else:
                    gradient = gradient.add(param, alpha=weight_decay)
            mean, square = state["exp_avg"], state["exp_avg_sq"]
            update(mean, LERP, (gradient,), (new1,))
            update(square, DECAY_SQUARE, (gradient,), (beta2, new2))
            changed += (param, mean, square)
            if amsgrad:
                greatest = state["max_exp_avg_sq"]
                square = greatest.copy_(livegrad.maximum(greatest, square))
                changed.append(greatest)
            update(param, STEP_BY_ROOT, (mean, square), (size, root, eps))
