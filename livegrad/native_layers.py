"""Layers by the names of PyTorch's own operators behind them, which give more than a layer does or take plain numbers.

>>> import livegrad
>>> out, mean, rstd = livegrad.native_layer_norm(livegrad.tensor([[1.0, 3.0]]), (2,), None, None, 0.0)
>>> out.tolist(), mean.tolist(), rstd.tolist()
([[-1.0, 1.0]], [[2.0]], [[1.0]])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import livegrad

from .nn import functional as F
from .overriding import asks

__all__ = [
    "affine_grid_generator", "conv_tbc", "convolution", "frobenius_norm", "grid_sampler", "grid_sampler_2d",
    "grid_sampler_3d", "max_pool1d_with_indices", "native_batch_norm", "native_channel_shuffle", "native_dropout",
    "native_group_norm", "native_layer_norm", "norm_except_dim", "nuclear_norm",
]  # fmt: skip


def _moments(x: Any, dims: tuple, eps: float, keepdim: bool = False) -> tuple:
    """The mean over dimensions, and 1 / sqrt(variance + eps); no gradient goes through them."""
    with livegrad.no_grad():
        variance, mean = livegrad.var_mean(x, dims, correction=0, keepdim=keepdim)
        return mean, (variance + eps).rsqrt()


def native_layer_norm(input: Any, normalized_shape: Sequence, weight: Any, bias: Any, eps: float) -> tuple:  # noqa: A002
    """(`nn.functional.layer_norm`, mean, 1 / standard deviation); the latter keep the normalised dimensions as 1."""
    out = F.layer_norm(input, normalized_shape, weight, bias, eps)
    dims = tuple(range(input.dim() - len(normalized_shape), input.dim()))
    return out, *_moments(input, dims, eps, keepdim=True)


def native_group_norm(
    input: Any, weight: Any, bias: Any, N: int, C: int, HxW: int, group: int, eps: float  # noqa: A002
) -> tuple:  # fmt: skip
    """(`nn.functional.group_norm`, mean, 1 / standard deviation), the latter of shape (N, group)."""
    if input.numel() != N * C * HxW:
        raise RuntimeError(f"expected an input of N * C * HxW = {N * C * HxW} elements, but it has {input.numel()}")
    out = F.group_norm(input, group, weight, bias, eps)
    return out, *_moments(input.reshape(N, group, -1), (2,), eps)


def native_batch_norm(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, momentum: float,  # noqa: A002
    eps: float,
) -> tuple:  # fmt: skip
    """(`nn.functional.batch_norm`, mean, 1 / standard deviation of each channel); the latter empty if not training."""
    out = F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        return out, input.new_empty(0), input.new_empty(0)
    return out, *_moments(input, (0, *range(2, input.dim())), eps)


def native_dropout(input: Any, p: float, train: bool | None) -> tuple:  # noqa: A002
    """(`nn.functional.dropout`, where elements were kept)."""
    if train is False or p == 0:
        return input.clone(), livegrad.ones_like(input, dtype=livegrad.bool)
    kept = F.dropout(livegrad.ones_like(input.detach()), p, True)
    return input * kept, kept != 0


def native_channel_shuffle(input: Any, groups: int) -> Any:  # noqa: A002
    """`nn.functional.channel_shuffle`."""
    return F.channel_shuffle(input, groups)


def convolution(
    input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,  # noqa: A002
    output_padding: Any, groups: int,
) -> Any:  # fmt: skip
    """The convolution of as many dimensions as `weight` (with two more) has, or the transposed one."""
    n = weight.dim() - 2
    if n not in (1, 2, 3):
        raise RuntimeError(f"expected a weight of 3 to 5 dimensions, but it has {weight.dim()}")
    each = [tuple(v) * n if len(v) == 1 else tuple(v) for v in (stride, padding, dilation, output_padding)]
    if transposed:
        f = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[n - 1]
        return f(input, weight, bias, each[0], each[1], each[3], groups, each[2])
    f = (F.conv1d, F.conv2d, F.conv3d)[n - 1]
    return f(input, weight, bias, each[0], each[1], each[2], groups)


def conv_tbc(input: Any, weight: Any, bias: Any, pad: int = 0) -> Any:  # noqa: A002
    """`conv1d` over (time, batch, channels), with a weight (window, channels, output channels)."""
    if input.dim() != 3 or weight.dim() != 3:
        raise RuntimeError(
            f"Input and weight must have 3 dims: time, batch, channels; got {input.dim()}, {weight.dim()}"
        )
    return F.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)


_SAMPLING = ("bilinear", "nearest", "bicubic")
_PADDING = ("zeros", "border", "reflection")


def grid_sampler(input: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Any:  # noqa: A002
    """`nn.functional.grid_sample`, with its modes as numbers: bilinear, nearest, bicubic; zeros, border, reflection."""
    if interpolation_mode not in range(3) or padding_mode not in range(3):
        raise ValueError(f"expected modes from 0 to 2, but got {interpolation_mode} and {padding_mode}")
    return F.grid_sample(input, grid, _SAMPLING[interpolation_mode], _PADDING[padding_mode], align_corners)


grid_sampler_2d = grid_sampler_3d = grid_sampler


def affine_grid_generator(theta: Any, size: Sequence, align_corners: bool) -> Any:
    """`nn.functional.affine_grid`."""
    return F.affine_grid(theta, size, align_corners)


def max_pool1d_with_indices(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False  # noqa: A002
) -> Any:  # fmt: skip
    """`nn.functional.max_pool1d` with the places of the largest elements."""
    return F.max_pool1d(input, kernel_size, stride or None, padding, dilation, ceil_mode, return_indices=True)


def frobenius_norm(input: Any, dim: Any, keepdim: bool = False) -> Any:  # noqa: A002
    """The root of the sum of squares over one or two dimensions."""
    return livegrad.linalg.vector_norm(input, 2, dim, keepdim)


def nuclear_norm(input: Any, dim: Any = (-2, -1), keepdim: bool = False) -> Any:  # noqa: A002
    """The sum of the singular values of matrices."""
    return livegrad.linalg.matrix_norm(input, "nuc", dim, keepdim)


def norm_except_dim(v: Any, pow: int = 2, dim: int = 0) -> Any:  # noqa: A002
    """The norms over all dimensions but one, which are kept as 1; over all of them for -1, as a number."""
    if dim == -1:
        return v.norm(pow)
    return v.norm(pow, tuple(d for d in range(v.dim()) if d != dim % v.dim()), keepdim=True)


for _name in __all__:  # whatever overrides them is asked
    globals()[_name] = asks(globals()[_name])
