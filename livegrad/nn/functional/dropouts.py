"""Dropout in its forms. Masks are drawn from the global generator, at the call."""

import math

import livegrad
from livegrad.native import hot
from livegrad.random.draws import scaled_mask
from livegrad.random.generators import draws_by_stream
from livegrad.site import warn

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]

SELU_LIMIT = -1.7580993408473766  # what selu tends to for large negative x


@hot
def check_probability(p):
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


@hot
def dropout(input, p=0.5, training=True, inplace=False):
    """In training, sets elements to zero with probability ``p`` and divides the others by 1 - p."""
    check_probability(p)
    return _dropped(input, input.shape, p, training, inplace)


@hot
def _dropped(input, mask_shape, p, training, inplace):
    if p == 0 or not training or input.numel() == 0:
        return input
    if p == 1:
        return (
            input.mul_(livegrad.zeros((), dtype=input.dtype, device=input.device))
            if inplace
            else (input * livegrad.zeros((), dtype=input.dtype, device=input.device))
        )
    if not inplace and _plainly_drawn(input) and input.is_contiguous():
        return input * scaled_mask(tuple(mask_shape), input.dtype, 1 - p)
    return _masked(input, mask_shape, p, inplace)


def _masked(input, mask_shape, p, inplace):
    with livegrad.no_grad():
        order = _memory_order(input) if mask_shape == input.shape else None
        if order is not None:
            mask_shape = [mask_shape[d] for d in order]
        mask = livegrad.empty(mask_shape, dtype=input.dtype, device=input.device).bernoulli_(1 - p)
        mask.div_(1 - p)
        if order is not None:
            mask = mask.permute([order.index(d) for d in range(len(order))])
    return input.mul_(mask) if inplace else input * mask


@hot
def _plainly_drawn(input):
    return (input.dtype is livegrad.float32 or input.dtype is livegrad.float64) and draws_by_stream(input.device)


def _memory_order(input):
    """The dimensions from the outermost in memory, where that is not their own order: masks are drawn in it."""
    if input.is_contiguous():
        return None
    strides = input.stride()
    order = sorted(range(input.dim()), key=lambda d: -strides[d])
    return order if input.permute(order).is_contiguous() else None


def _channel_mask_shape(input):
    return (*input.shape[:2], *(1,) * (input.dim() - 2))


def dropout1d(input, p=0.5, training=True, inplace=False):
    """Drops whole channels of (N, C, L) or (C, L)."""
    check_probability(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. Note that dropout1d exists to "
            "provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional "
            "batch dimension (i.e. 2D or 3D inputs)."
        )
    if input.dim() == 3:
        return _dropped(input, _channel_mask_shape(input), p, training, inplace)
    batch = input.unsqueeze(0)
    result = _dropped(batch, _channel_mask_shape(batch), p, training, inplace)
    return input if inplace else result.squeeze(0)


def dropout2d(input, p=0.5, training=True, inplace=False):
    """Drops whole channels of (N, C, H, W)."""
    check_probability(p)
    _warn_dimensions("dropout2d", input.dim(), (3, 4), 2)
    if input.dim() == 3:
        warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired "
            "- input is interpreted as shape (N, C, L), where C is the channel dim. This behavior will change in a "
            "future release to interpret the input as one without a batch dimension, i.e. shape (C, H, W). To maintain "
            "the 1D channel-wise dropout behavior, please switch to using dropout1d instead.",
        )
    return _feature_dropout(input, p, training, inplace)


def dropout3d(input, p=0.5, training=True, inplace=False):
    """Drops whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    check_probability(p)
    _warn_dimensions("dropout3d", input.dim(), (4, 5), 3)
    if input.dim() == 5:
        return _feature_dropout(input, p, training, inplace)
    result = _feature_dropout(input.unsqueeze(0), p, training, inplace)
    return input if inplace else result.squeeze(0)


def _feature_dropout(input, p, training, inplace):
    if input.dim() < 2 and training and p and input.numel():
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return _dropped(input, _channel_mask_shape(input), p, training, inplace)


def _warn_dimensions(name, dimensions, expected, spatial):
    if dimensions not in expected:
        warn(
            f"{name}: Received a {dimensions}-D input to {name}, which is deprecated and will result in an error in a "
            "future release. To retain the behavior and silence this warning, please use dropout instead. Note that "
            f"{name} exists to provide channel-wise dropout on inputs with {spatial} spatial dimensions, a channel "
            f"dimension, and an optional batch dimension (i.e. {expected[0]}D or {expected[1]}D inputs).",
        )


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Dropout for selu networks: keeps the mean and the variance of its input  (Klambauer et al., 2017)."""
    check_probability(p)
    return _alpha(input, input.shape, p, training, inplace)


def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    """`alpha_dropout` of whole channels."""
    check_probability(p)
    if input.dim() < 2 and training and p and input.numel():
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return _alpha(input, _channel_mask_shape(input), p, training, inplace)


def _alpha(input, mask_shape, p, training, inplace):
    if p == 0 or p == 1 or not training or input.numel() == 0:
        return _dropped(input, mask_shape, p, training, inplace)
    scale = 1 / math.sqrt((SELU_LIMIT * SELU_LIMIT * p + 1) * (1 - p))
    with livegrad.no_grad():
        mask = livegrad.empty(mask_shape, dtype=input.dtype, device=input.device).bernoulli_(1 - p)
        shift = (mask - 1).mul_(-SELU_LIMIT * scale).add_(-SELU_LIMIT * scale * p)
        mask.mul_(scale)
    return input.mul_(mask).add_(shift) if inplace else input * mask + shift
