"""Adafactor."""

import livegrad
from livegrad.ops.writes import update

from .formulas import LERP, SHRINK, STEP
from .optimizer import Optimizer, scalar

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Steps by the gradient over the root of its mean square, of which it keeps only sums over rows and columns.

    So for a matrix of n · m elements the state has n + m. Steps are relative to the parameter's size, at least
    ``eps[1]``; ``d`` is the largest root mean square of a step before it is scaled down  (Shazeer and Stern, 2018).
    """

    _numbers = ("step",)

    def __init__(
        self, params, lr=1e-2, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0, *, foreach=None,
        maximize=False,
    ):  # fmt: skip
        if isinstance(lr, livegrad.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        super().__init__(
            params,
            {
                "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
                "foreach": foreach, "maximize": maximize,
            },
        )  # fmt: skip

    def _start(self, gradient):
        """The state of a parameter before its first step."""
        if gradient.dim() < 2:
            return {"step": 0.0, "variance": livegrad.zeros_like(gradient)}
        shape = list(gradient.shape)
        return {
            "step": 0.0,
            "row_var": gradient.new_zeros([*shape[:-1], 1]),
            "col_var": gradient.new_zeros([*shape[:-2], 1, shape[-1]]),
        }

    def _update(self, group, changes):
        lr, d, weight_decay = scalar(group["lr"]), group["d"], group["weight_decay"]
        least, smallest = group["eps"]
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            if group["maximize"]:
                gradient = -gradient
            state = self.state[param]
            if not state:
                state.update(self._start(gradient))
            step = state["step"] = float(state["step"]) + 1.0
            new = step ** group["beta2_decay"]
            size = max(smallest, param.norm(2).item() / param.numel() ** 0.5) * min(lr, 1 / step**0.5)
            eps = livegrad.finfo(param.dtype).eps if least is None else least
            if weight_decay:
                update(param, SHRINK, (), (1 - lr * weight_decay,))
            if gradient.dim() > 1:
                rows, columns = state["row_var"], state["col_var"]
                for kept, dim in ((rows, -1), (columns, -2)):
                    square = gradient.norm(2, dim=dim, keepdim=True).square() / gradient.size(dim)
                    update(kept, LERP, (square,), (new,))
                    changes.recorded.append(kept)
                estimate = rows @ columns / rows.mean(dim=-2, keepdim=True).clamp(min=eps)
            else:
                estimate = state["variance"]
                update(estimate, LERP, (gradient * gradient,), (new,))
                changes.recorded.append(estimate)
            moved = estimate.clamp(min=eps * eps).rsqrt() * gradient
            scale = max(1.0, moved.norm(2).item() / (moved.numel() ** 0.5 * d))
            update(param, STEP, (moved,), (-size / scale,))
            changes.recorded.append(param)
