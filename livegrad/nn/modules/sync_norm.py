"""Batch normalisation over the batches of all processes of a group.

Each process sends the mean, the sum of squared distances from it and the number of its values, per channel; they are
combined as by T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing
sample variances", COMPSTAT 1982. The gradient needs two more sums over all processes, of the same length.
"""

import livegrad
from livegrad import distributed

__all__ = ["sync_batch_norm"]


class _Normalise(livegrad.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, mean, invstd, count, group):
        view = (1, -1, *(1,) * (x.dim() - 2))
        normal = (x.to(mean.dtype) - mean.view(view)) * invstd.view(view)
        ctx.save_for_backward(normal, weight, invstd)
        ctx.count, ctx.group, ctx.dtype = count, group, x.dtype
        y = normal
        if weight is not None:
            y = y * weight.view(view).to(mean.dtype)
        if bias is not None:
            y = y + bias.view(view).to(mean.dtype)
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        normal, weight, invstd = ctx.saved_tensors
        view, over = (1, -1, *(1,) * (g.dim() - 2)), [0, *range(2, g.dim())]
        g = g.to(normal.dtype)
        of_bias, of_weight = g.sum(over), (g * normal).sum(over)
        dx = None
        if ctx.needs_input_grad[0]:
            sums = livegrad.stack([of_bias, of_weight])
            distributed.all_reduce(sums, group=ctx.group)
            sums = sums / ctx.count
            scale = invstd if weight is None else invstd * weight.to(invstd.dtype)
            dx = (g - sums[0].view(view) - normal * sums[1].view(view)) * scale.view(view)
            dx = dx.to(ctx.dtype)
        return (
            dx,
            of_weight.to(weight.dtype) if weight is not None and ctx.needs_input_grad[1] else None,
            of_bias.to(weight.dtype if weight is not None else g.dtype) if ctx.needs_input_grad[2] else None,
            None, None, None, None,
        )  # fmt: skip


def sync_batch_norm(x, running_mean, running_var, weight, bias, momentum, eps, group):
    """(N, C, *) normalised per channel over all processes' batches, which also move the running statistics in place."""
    with livegrad.no_grad():
        over = [0, *range(2, x.dim())]
        wide = x.detach().to(livegrad.float64 if x.dtype is livegrad.float64 else livegrad.float32)
        channels, here = x.size(1), x.numel() // x.size(1)
        if here:
            mean = wide.mean(over)
            spread = (wide - mean.view(1, -1, *(1,) * (x.dim() - 2))).square().sum(over)
        else:
            mean = spread = livegrad.zeros(channels, dtype=wide.dtype, device=x.device)
        mine = livegrad.cat([mean, spread, livegrad.full((1,), float(here), dtype=wide.dtype, device=x.device)])
        everybody = [livegrad.empty_like(mine) for _ in range(distributed.get_world_size(group))]
        distributed.all_gather(everybody, mine, group)
        table = livegrad.stack(everybody).double()
        means, spreads, counts = table[:, :channels], table[:, channels:-1], table[:, -1:]
        count = float(counts.sum())
        if count <= 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(x.shape)}")
        mean = (means * counts).sum(0) / count
        spread = (spreads + counts * (means - mean).square()).sum(0)
        invstd = (spread / count + eps).rsqrt().to(wide.dtype)
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((spread / (count - 1)).to(running_var.dtype), momentum)
        mean = mean.to(wide.dtype)
    return _Normalise.apply(x, weight, bias, mean, invstd, count, group)
