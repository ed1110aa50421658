"""Batch normalisation."""

import livegrad

from ...native import hot
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"]


class _NormBase(Module):
    """The parameters and running statistics that batch and instance normalisation share."""

    _version = 2
    __constants__ = ["track_running_stats", "momentum", "eps", "num_features", "affine"]

    def __init__(
        self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None,
        *, bias=True,
    ):  # fmt: skip
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = Parameter(livegrad.empty(num_features, device=device, dtype=dtype))
        else:
            self.register_parameter("weight", None)
        if affine and bias:
            self.bias = Parameter(livegrad.empty(num_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        if track_running_stats:
            self.register_buffer("running_mean", livegrad.zeros(num_features, device=device, dtype=dtype))
            self.register_buffer("running_var", livegrad.ones(num_features, device=device, dtype=dtype))
            self.register_buffer("num_batches_tracked", livegrad.tensor(0, dtype=livegrad.int64, device=device))
        else:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                self.register_buffer(name, None)
        self.reset_parameters()

    def reset_running_stats(self):
        """Forgets all batches: mean 0, variance 1."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self):
        """Forgets all batches, and sets the weight to ones and the bias to zeros."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    @hot
    def _check_input_dim(self, input):
        raise NotImplementedError

    def extra_repr(self):
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        # Version 1 did not count batches.
        if (local_metadata.get("version") or 1) < 2 and self.track_running_stats:
            key = prefix + "num_batches_tracked"
            if key not in state_dict:
                counted = self.num_batches_tracked
                state_dict[key] = livegrad.tensor(0, dtype=livegrad.int64) if counted is None else counted
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class _BatchNorm(_NormBase):
    @hot
    def _count_batch(self):
        """Counts a batch in training; how much it moves the running statistics."""
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the plain average of all batches
                momentum = 1.0 / float(self.num_batches_tracked)
        return momentum

    @hot
    def forward(self, input):
        self._check_input_dim(input)
        momentum = self._count_batch()
        use_batch = self.training or (self.running_mean is None and self.running_var is None)
        tracking = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if tracking else None,
            self.running_var if tracking else None,
            self.weight,
            self.bias,
            use_batch,
            momentum,
            self.eps,
        )


@hot
def _expect(input, allowed):
    if input.dim() not in allowed:
        text = " or ".join(f"{dimensions}D" for dimensions in allowed)
        raise ValueError(f"expected {text} input (got {input.dim()}D input)")


class BatchNorm1d(_BatchNorm):
    """Normalises every channel over the batch: (N, C) or (N, C, L).

    In training by the batch's own mean and variance, which also move the running ones by ``momentum`` (None: their
    plain average over all batches); in evaluation by the running ones. Then scales and shifts, unless not ``affine``.

    >>> import livegrad
    >>> from livegrad import nn
    >>> layer = nn.BatchNorm1d(3)
    >>> _ = layer(livegrad.randn(8, 3))
    >>> layer.num_batches_tracked.item()
    1
    """

    @hot
    def _check_input_dim(self, input):
        _expect(input, (2, 3))


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for (N, C, H, W)."""

    @hot
    def _check_input_dim(self, input):
        _expect(input, (4,))


class BatchNorm3d(_BatchNorm):
    """`BatchNorm1d` for (N, C, D, H, W)."""

    @hot
    def _check_input_dim(self, input):
        _expect(input, (5,))


class SyncBatchNorm(_BatchNorm):
    """`BatchNorm1d` for (N, C, *), over the batches of all processes of a group.

    In a group of one process, or none, that is the batch of this one. Input may be on the CPU, too, which PyTorch
    refuses.
    """

    def __init__(
        self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, process_group=None,
        device=None, dtype=None, *, bias=True,
    ):  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    @hot
    def _check_input_dim(self, input):
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")
        if input.size(1) == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    def forward(self, input):
        self._check_input_dim(input)
        group = self.process_group
        if (
            not (self.training and livegrad.distributed.is_initialized())
            or livegrad.distributed.get_world_size(group) < 2
        ):
            return super().forward(input)
        from .sync_norm import sync_batch_norm

        return sync_batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, self._count_batch(), self.eps, group
        )

    @classmethod
    def convert_sync_batchnorm(cls, module, process_group=None):
        """The module with every batch normalisation in it replaced by one of this class, with the same state."""
        made = module
        if isinstance(module, _BatchNorm):
            made = cls(
                module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats,
                process_group, bias=module.bias is not None,
            )  # fmt: skip
            if module.affine:
                made.weight = module.weight
                made.bias = module.bias
            made.running_mean = module.running_mean
            made.running_var = module.running_var
            made.num_batches_tracked = module.num_batches_tracked
            made.training = module.training
        for name, child in module.named_children():
            made.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made
