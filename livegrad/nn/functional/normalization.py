"""Normalisation over batches, layers, groups and instances."""

import math

import livegrad
from livegrad.native import hot
from livegrad.ops.casting import autocasts
from livegrad.ops.normalise import normalise

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]


def _per_channel(tensor, dimensions):
    """(C,) as (C, 1, 1, ...), to combine with (N, C, *)."""
    return tensor.view(-1, *(1,) * (dimensions - 2))


def _update_running(running, observed, momentum):
    """running = (1 - momentum) running + momentum observed, in place and unrecorded."""
    if running is not None:
        with livegrad.no_grad():
            running.mul_(1 - momentum).add_(observed.detach().reshape(-1), alpha=momentum)


@hot
def _check_channels(name, tensor, channels):
    if tensor is not None and tensor.numel() != channels:
        raise RuntimeError(f"{name} should contain {channels} elements not {tensor.numel()}")


@hot
def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """Normalises every channel (dimension 1) of ``input``, then scales and shifts it.

    In training it uses the batch's own mean and variance, and moves ``running_mean`` and ``running_var`` (unbiased)
    towards them by ``momentum``; otherwise it uses the running ones.
    """
    channels = input.size(1)
    for name, tensor in (
        ("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)
    ):  # fmt: skip
        _check_channels(name, tensor, channels)
    if eps < 0 or training and not eps > 0:
        wanted = "positive during training" if training else "non-negative"
        raise ValueError(f"batch_norm eps must be {wanted}, but got {eps}")
    if not training:
        if running_mean is None or running_var is None:
            missing = "mean" if running_mean is None else "var"
            raise RuntimeError(f"running_{missing} must be defined in evaluation mode")
        scale = (running_var + eps).rsqrt()
        if weight is not None:
            scale = scale * weight
        shift = -running_mean * scale
        if bias is not None:
            shift = shift + bias
        return input * _per_channel(scale, input.dim()) + _per_channel(shift, input.dim())
    count = input.numel() // max(channels, 1)
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")
    result, variance, mean = normalise(
        input, weight, bias, shape=tuple(input.shape), dims=(0, *range(2, input.dim())),
        affine=(channels, *(1,) * (input.dim() - 2)), eps=eps, label="NativeBatchNormBackward0",
    )  # fmt: skip
    if count:  # no values have no mean
        _update_running(running_mean, mean, momentum)
        _update_running(running_var, variance * (count / (count - 1)), momentum)
    return result


def instance_norm(
    input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
):
    """Normalises every channel of every sample of (N, C, *) by itself, then scales and shifts it per channel."""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    count = math.prod(input.shape[2:])
    if count == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.size()}")
    result, variance, mean = normalise(
        input, weight, bias, shape=tuple(input.shape), dims=tuple(range(2, input.dim())),
        affine=(input.size(1), *(1,) * (input.dim() - 2)), eps=eps, label="NativeBatchNormBackward0",
    )  # fmt: skip
    if running_mean is not None:
        _update_running(running_mean, mean.mean(0), momentum)
        _update_running(running_var, (variance * (count / (count - 1))).mean(0), momentum)
    return result


@hot
def _rows(input, normalized_shape, weight, bias, comma):
    """The dimensions that make up a row, and their sizes; raises where sizes do not fit."""
    sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    shape = input._shape
    lead = len(shape) - len(sizes)
    fit = lead >= 0 and shape[lead:] == sizes and sizes != ()
    if fit and weight is not None:
        fit = weight._shape == sizes
    if fit and bias is not None:
        fit = bias._shape == sizes
    if not fit:
        _refuse_normalized(input, sizes, weight, bias, comma)
    return tuple(range(lead, len(shape))), sizes


def _refuse_normalized(input, sizes, weight, bias, comma):
    shape = list(sizes)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, "
            "but got normalized_shape = []"
        )
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and list(tensor.shape) != shape:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{list(tensor.shape)} and normalized_shape = {shape}"
            )
    expected = "".join(f"{comma}{size}" if i == 0 else f", {size}" for i, size in enumerate(shape))
    raise RuntimeError(
        f"Given normalized_shape={shape}, expected input with shape [*{expected}], "
        f"but got input of size{list(input.shape)}"
    )


@autocasts
@hot
def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Normalises over the last dimensions, whose sizes are ``normalized_shape``; then scales and shifts."""
    dims, affine = _rows(input, normalized_shape, weight, bias, ", ")
    label = "NativeLayerNormBackward0"
    return normalise(input, weight, bias, shape=input._shape, dims=dims, affine=affine, eps=eps, label=label)[0]


@autocasts
def rms_norm(input, normalized_shape, weight=None, eps=None):
    """Divides by the root of the mean square over the last dimensions; then scales.

    ``eps`` is the machine epsilon unless given: that of the dtype in which it is computed, float32 for half types.
    """
    dims, affine = _rows(input, normalized_shape, weight, None, "")
    if eps is None:
        eps = livegrad.finfo(livegrad.float32 if input.dtype.itemsize == 2 else input.dtype).eps
    if input.is_complex():
        made = input * (input.square().mean(dims, keepdim=True) + eps).rsqrt()
        return made if weight is None else made * weight
    label = "FusedRmsNormBackward0"
    return normalise(
        input, weight, None, shape=input._shape, dims=dims, affine=affine, eps=eps, label=label, centred=False
    )[0]  # fmt: skip


@autocasts
@hot
def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """Normalises every group of channels of every sample of (N, C, *); then scales and shifts per channel."""
    if input.dim() < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    samples, channels = input.shape[:2]
    if channels % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tuple(tensor.shape) != (channels,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of "
                f"shape {list(tensor.shape)} and input of shape {list(input.shape)}"
            )
    if samples * channels // num_groups * math.prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(input.shape)}")
    each = channels // num_groups
    return normalise(
        input, weight, bias, shape=(samples, num_groups, each, math.prod(input.shape[2:])), dims=(2, 3),
        affine=(num_groups, each, 1), eps=eps, label="NativeGroupNormBackward0",
    )[0]  # fmt: skip


def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Divides by (k + alpha · mean of the squares of ``size`` neighbouring channels) ** beta."""
    if input.dim() < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)")
    if input.numel() == 0:
        return input
    channels = input.size(1)
    squares = input * input
    total = squares
    for offset in range(-(size // 2), (size - 1) // 2 + 1):
        if offset and abs(offset) < channels:
            length = channels - abs(offset)
            moved = livegrad.zeros_like(squares)
            moved[:, max(-offset, 0) : max(-offset, 0) + length] = squares.narrow(1, max(offset, 0), length)
            total = total + moved
    return input / (total * (alpha / size) + k) ** beta
