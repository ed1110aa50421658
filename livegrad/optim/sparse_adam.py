"""SparseAdam."""

import livegrad

from .optimizer import Optimizer, scalar

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam that changes only what a sparse gradient tells of: other rows, and their running means, stay as they are.

    For parameters whose gradients are sparse, such as those of ``nn.Embedding(sparse=True)``. ``lr``, ``betas``,
    ``eps`` and ``maximize`` are those of `Adam`. Raises RuntimeError for a dense gradient, and ValueError for complex
    parameters.

    >>> import livegrad
    >>> from livegrad import nn, optim
    >>> table = nn.Embedding(4, 2, sparse=True)
    >>> before = table.weight.detach().clone()
    >>> table(livegrad.tensor([1, 1, 3])).sum().backward()
    >>> optim.SparseAdam(table.parameters(), lr=0.5).step()
    >>> (table.weight != before).any(1).tolist()
    [False, True, False, True]
    """

    _numbers = ()
    takes_sparse = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, maximize=False):
        if isinstance(lr, livegrad.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr > 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        places = [
            [i, j] for i, group in enumerate(self.param_groups) for j, param in enumerate(group["params"])
            if param.is_complex()
        ]  # fmt: skip
        if places:
            raise ValueError(f"Complex params at indices {places}: SparseAdam does not support complex parameters")

    def _made_dense(self):
        """Nothing is made dense."""
        return []

    def _update(self, group, changes):
        lr, eps = scalar(group["lr"]), group["eps"]
        beta1, beta2 = map(scalar, group["betas"])
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            if not gradient.is_sparse:
                raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")
            state = self.state[param]
            if not state:
                state.update(
                    {"step": 0, "exp_avg": livegrad.zeros_like(param), "exp_avg_sq": livegrad.zeros_like(param)}
                )
            state["step"] += 1
            gradient = gradient.coalesce()
            values = gradient.values()
            if values.numel() == 0:
                continue
            if group["maximize"]:
                values = -values
            places = tuple(gradient.indices())
            mean, square = state["exp_avg"], state["exp_avg_sq"]
            # Differences are added, as in PyTorch: their rounding is part of the result.
            old_mean, old_square = mean[places], square[places]
            more_mean = (values - old_mean) * (1 - beta1)
            more_square = (values * values - old_square) * (1 - beta2)
            mean.index_put_(places, more_mean, accumulate=True)
            square.index_put_(places, more_square, accumulate=True)
            root = (old_square + more_square).sqrt() + eps
            size = lr * (1 - beta2 ** state["step"]) ** 0.5 / (1 - beta1 ** state["step"])
            param.index_put_(places, (more_mean + old_mean) / root * -size, accumulate=True)
