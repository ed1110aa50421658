"""Muon."""

import livegrad
from livegrad.ops.writes import update

from .formulas import LERP, SHRINK, STEP
from .optimizer import Optimizer, scalar

__all__ = ["Muon"]


def orthogonalized(matrix, coefficients, steps, eps):
    """The matrix with singular values near 1, by ``steps`` steps of a quintic Newton-Schulz iteration in bfloat16.

    With coefficients (a, b, c), a step maps X to a·X + (b·G + c·G²)·X, where G = X·Xᵀ.
    """
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.bfloat16()
    x = x.T if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = livegrad.addmm(x, livegrad.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(Optimizer):
    """Steps by the running mean of the gradient, made orthogonal: every direction of a matrix moves alike.

    For parameters that are matrices. ``nesterov`` looks one step of momentum ahead. ``ns_coefficients``, ``ns_steps``
    and ``eps`` belong to `orthogonalized`. ``adjust_lr_fn`` makes the learning rate fit the matrix's shape: "original"
    (the default) or "match_rms_adamw"  (Jordan, 2024).
    """

    def __init__(
        self, params, lr=1e-3, weight_decay=0.1, momentum=0.95, nesterov=True,
        ns_coefficients=(3.4445, -4.7750, 2.0315), eps=1e-7, ns_steps=5, adjust_lr_fn=None,
    ):  # fmt: skip
        if isinstance(lr, livegrad.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not momentum >= 0.0:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(
            params,
            {
                "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
                "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
            },
        )  # fmt: skip
        for group in self.param_groups:
            for param in group["params"]:
                if param.dim() != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {param.size()}"
                    )

    def _update(self, group, changes):
        lr, momentum = scalar(group["lr"]), group["momentum"]
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            if gradient.dim() != 2:
                raise ValueError("Param gradient must be a 2D matrix")
            state = self.state[param]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = livegrad.zeros_like(gradient)
            mean = state["momentum_buffer"]
            update(mean, LERP, (gradient,), (1 - momentum,))
            ahead = gradient.lerp(mean, momentum) if group["nesterov"] else mean
            direction = orthogonalized(ahead, group["ns_coefficients"], group["ns_steps"], group["eps"])
            rows, columns = param.shape
            if group["adjust_lr_fn"] == "match_rms_adamw":
                ratio = 0.2 * max(rows, columns) ** 0.5
            else:
                ratio = max(1, rows / columns) ** 0.5
            update(param, SHRINK, (), (1 - lr * group["weight_decay"],))
            update(param, STEP, (direction.to(param.dtype),), (-lr * ratio,))
            changes.recorded += (param, mean)
