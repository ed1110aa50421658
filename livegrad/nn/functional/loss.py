"""Loss functions.

Every one takes ``reduction``: "mean" (of all elements, unless it says otherwise), "sum" or "none".
"""

import math

import livegrad
from livegrad.native import hot
from livegrad.ops.casting import autocasts
from livegrad.ops.composite import broadcast_tensors
from livegrad.ops.instruction import SCALAR_TYPE_NAMES
from livegrad.ops.operator import name_nodes
from livegrad.ops.scalar import abs as abs_
from livegrad.ops.scalar import eq, exp, log, log1p, maximum, minimum, sigmoid, square, where
from livegrad.site import warn

from .loss_terms import (
    PROBABILITIES,
    in_common_shape,
    legacy_reduction,
    loss_of,
    reduce_loss,
    terms_of,
    warn_of_sizes,
    weighted_loss,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]


def _smooth_l1(x, y, beta):
    z = abs_(x - y)
    return where(z < beta, 0.5 * z * z / beta, z - 0.5 * beta)


def _huber(x, y, delta):
    z = abs_(x - y)
    return where(z <= delta, 0.5 * z * z, delta * (z - 0.5 * delta))


def _log_sigmoid(x):
    return minimum(x, 0.0) - log1p(exp(-abs_(x)))


def _kl(input, target):
    return target * (log(where(eq(target, 0.0), 1.0, target)) - input)


_mse = loss_of("_mse_loss", lambda input, target: square(input - target), "MseLoss")
_smooth_l1 = loss_of("_smooth_l1_loss", _smooth_l1, "SmoothL1Loss")
_huber = loss_of("_huber_loss", _huber, "HuberLoss")
# The logarithms are cut off at -100, and the gradient where they are: the two do not follow from one another.
_bce = loss_of(
    "_binary_cross_entropy",
    lambda input, target: (target - 1) * maximum(log1p(-input), -100.0) - target * maximum(log(input), -100.0),
    "BinaryCrossEntropy",
    PROBABILITIES,
    input=lambda g, input, target: g * (input - target) / maximum((1 - input) * input, 1e-12),
    target=lambda g, input: g * (log(1 - input) - log(input)),
)
bce_logits = loss_of(
    "_bce_logits",
    lambda input, target: (1 - target) * input - _log_sigmoid(input),
    "BinaryCrossEntropyWithLogits",
    input=lambda g, input, target: g * (sigmoid(input) - target),
)
_bce_logits_weighted = terms_of(
    "_bce_logits_weighted",
    lambda input, target, weight: (1 - target) * input - ((weight - 1) * target + 1) * _log_sigmoid(input),
    "BinaryCrossEntropyWithLogits",
    input=lambda g, input, target, weight: g * ((1 - target) - ((weight - 1) * target + 1) * sigmoid(-input)),
)
_kl = terms_of(
    "_kl_div",
    _kl,
    "KlDiv",
    PROBABILITIES,
    # target / target is what y log y, taken to be 0 at 0, has for a derivative there: none.
    target=lambda g, input, target: g * (log(where(eq(target, 0.0), 1.0, target)) + target / target - input),
)
_kl_log = terms_of("_kl_div_log", lambda input, target: exp(target) * (target - input), "KlDiv")


@autocasts
@hot
def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """|input - target|."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    warn_of_sizes(input, target)
    input, target = broadcast_tensors(input, target)
    return weighted_loss((input - target).abs(), weight, reduction)


@autocasts
@hot
def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """(input - target)²."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    warn_of_sizes(input, target)
    input, target = in_common_shape("mse_cpu", input, target)
    if weight is None:
        return _mse(input, target, reduction=reduction)
    return weighted_loss(_mse(input, target, reduction="none"), weight, reduction)


@autocasts
def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """Half the square of the difference over ``beta`` where it is below beta, else its size minus beta/2."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    warn_of_sizes(input, target)
    input, target = in_common_shape("smooth_l1_cpu", input, target) if beta else broadcast_tensors(input, target)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return reduce_loss((input - target).abs(), reduction)
    return _smooth_l1(input, target, beta, reduction=reduction)


@autocasts
def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """Half the square of the difference where it is at most ``delta``, else delta times (its size minus delta/2)."""
    warn_of_sizes(input, target)
    input, target = in_common_shape("huber_cpu", input, target)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    if weight is None:
        return _huber(input, target, delta, reduction=reduction)
    return weighted_loss(_huber(input, target, delta, reduction="none"), weight, reduction)


@autocasts
def binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """-(t log p + (1 - t) log(1 - p)) for probabilities ``input``; logarithms are cut off at -100.

    RuntimeError where an element of ``input`` is not between 0 and 1.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if target._shape != input._shape:
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is "
            "deprecated. Please ensure they have the same size."
        )
    if target.dtype is not input.dtype:
        found, wanted = (SCALAR_TYPE_NAMES[t.dtype] for t in (target, input))
        raise RuntimeError(f"Found dtype {found} but expected {wanted}: that of the input")
    with livegrad.no_grad():
        if not bool(((input >= 0) & (input <= 1)).all()):
            raise RuntimeError("all elements of input should be between 0 and 1")
    if weight is None:
        made = _bce(input, target, reduction=reduction)
    else:
        made = reduce_loss(_bce(input, target, reduction="none") * weight, reduction)
    return name_nodes(made, "BinaryCrossEntropyBackward", input, target)


@autocasts
@hot
def binary_cross_entropy_with_logits(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """`binary_cross_entropy` of sigmoid(input), computed without overflow.

    ``pos_weight`` multiplies the term of the positive class; it broadcasts against the input.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if target._shape != input._shape:
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    if pos_weight is not None:
        loss = _bce_logits_weighted(input, target, pos_weight)
    elif weight is None and target.dtype is input.dtype:
        return bce_logits(input, target, reduction=reduction)
    else:
        loss = bce_logits(input, target, reduction="none")
    if weight is not None:
        loss = loss * weight
    return reduce_loss(loss if loss.dtype is target.dtype else _as_of(target, loss), reduction)


def _as_of(target, loss):
    """The terms in the dtype of the target, which PyTorch begins with."""
    if not target.is_floating_point():
        names = [SCALAR_TYPE_NAMES[t.dtype] for t in (loss, target)]
        raise RuntimeError(
            "result type {} can't be cast to the desired output type {}: convert the target, as by "
            "target.to(input.dtype)".format(*names)
        )
    return loss.to(target.dtype)


@autocasts
def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    """target (log target - input), where ``input`` holds log-probabilities (and so does the target, if ``log_target``).

    ``reduction="batchmean"`` divides the sum by the batch size, which is the mathematical definition.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    elif reduction == "mean":
        warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
        )
    loss = _kl_log(input, target) if log_target else _kl(input, target)
    if reduction == "batchmean":
        return loss.sum() / input.size(0) if input.dim() else loss.sum()
    return reduce_loss(loss, reduction)


@autocasts
def poisson_nll_loss(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction="mean"
):
    """Minus the log-likelihood of counts ``target`` under a Poisson rate exp(input), or ``input`` if not ``log_input``.

    ``full`` adds Stirling's approximation of the term that depends on the target alone.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if log_input:
        loss = input.exp() - target * input
    else:
        loss = input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return reduce_loss(loss, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """Minus the log-likelihood of ``target`` under normal distributions of mean ``input`` and variance ``var``.

    The variance (a number, or a tensor that may lack the last dimension or have 1 there) is at least ``eps``.
    ``full`` adds the constant log(2π)/2.
    """
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * livegrad.ones_like(input)
    elif bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    if var.size() != input.size():
        if input.size()[:-1] == var.size():
            var = var.unsqueeze(-1)
        elif not (input.size()[:-1] == var.size()[:-1] and var.size(-1) == 1):
            if any(size not in (1, have) for size, have in zip(var.shape[::-1], input.shape[::-1])):
                raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(reduction + " is not valid")
    with livegrad.no_grad():
        floored = var.clamp(min=eps)
    var = var + (floored - var).detach()  # the value is cut off, the gradient is not
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduce_loss(loss, reduction)
