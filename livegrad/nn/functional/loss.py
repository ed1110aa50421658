"""Loss functions.

Every one takes ``reduction``: "mean" (of all elements, unless it says otherwise), "sum" or "none".
"""

import math

import livegrad
from livegrad.native import hot
from livegrad.ops.casting import autocasts
from livegrad.ops.composite import broadcast_tensors
from livegrad.ops.index import check_within
from livegrad.ops.instruction import SCALAR_TYPE_NAMES
from livegrad.ops.loss import nll, reduced
from livegrad.ops.registry import ELEMENTWISE, elementwise
from livegrad.ops.scalar import abs as abs_
from livegrad.ops.scalar import eq, exp, log, log1p, maximum, minimum, sigmoid, square, where
from livegrad.site import warn

from .distance import pairwise_distance

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
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


PROBABILITIES = (0.05, 0.95)


def _terms(name, formula, node, domain=(-3.0, 3.0), **grads):
    """The terms of a loss, as an operator without a name of its own in the package. ``domain``: of its samples."""
    return elementwise(
        name, formula, node=node, grads=grads, function=False, inplace=False, reference="", domain=domain
    )


def _loss(name, formula, node, domain=(-3.0, 3.0), **grads):
    """A loss by the formula of its terms: a function of input, target, numbers and the reduction."""
    terms = _terms(name, formula, node, domain, **grads)
    whole = reduced(ELEMENTWISE[name])

    @hot
    def loss(input, target, *numbers, reduction):
        if reduction in ("mean", "sum"):
            return whole.apply((input, target), numbers=numbers, mean=reduction == "mean")
        return _reduced(terms(input, target, *numbers), reduction)

    return loss


_mse = _loss("_mse_loss", lambda input, target: square(input - target), "MseLoss")
_smooth_l1 = _loss("_smooth_l1_loss", _smooth_l1, "SmoothL1Loss")
_huber = _loss("_huber_loss", _huber, "HuberLoss")
# The logarithms are cut off at -100, and the gradient where they are: the two do not follow from one another.
_bce = _loss(
    "_binary_cross_entropy",
    lambda input, target: (target - 1) * maximum(log1p(-input), -100.0) - target * maximum(log(input), -100.0),
    "BinaryCrossEntropy",
    PROBABILITIES,
    input=lambda g, input, target: g * (input - target) / maximum((1 - input) * input, 1e-12),
    target=lambda g, input: g * (log(1 - input) - log(input)),
)
_bce_logits = _loss(
    "_bce_logits",
    lambda input, target: (1 - target) * input - _log_sigmoid(input),
    "BinaryCrossEntropyWithLogits",
    input=lambda g, input, target: g * (sigmoid(input) - target),
)
_bce_logits_weighted = _terms(
    "_bce_logits_weighted",
    lambda input, target, weight: (1 - target) * input - ((weight - 1) * target + 1) * _log_sigmoid(input),
    "BinaryCrossEntropyWithLogits",
    input=lambda g, input, target, weight: g * ((1 - target) - ((weight - 1) * target + 1) * sigmoid(-input)),
)
_kl = _terms(
    "_kl_div",
    _kl,
    "KlDiv",
    PROBABILITIES,
    # target / target is what y log y, taken to be 0 at 0, has for a derivative there: none.
    target=lambda g, input, target: g * (log(where(eq(target, 0.0), 1.0, target)) + target / target - input),
)
_kl_log = _terms("_kl_div_log", lambda input, target: exp(target) * (target - input), "KlDiv")
_soft_margin = _loss("_soft_margin_loss", lambda input, target: log1p(exp(-target * input)), "SoftMarginLoss")


def legacy_reduction(size_average, reduce):
    """The name of the reduction that the two old arguments stood for."""
    average = size_average is None or size_average
    reduction = "none" if reduce is not None and not reduce else "mean" if average else "sum"
    warn(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.")
    return reduction


@hot
def _reduced(loss, reduction):
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction")


@hot
def _warn_sizes(input, target):
    if target._shape != input._shape:
        warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). This will "
            "likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
        )


@hot
def _together(kernel, input, target):
    """Both in their common shape, which decides the dtype as well: a number's dtype counts there like any other."""
    if input._shape != target._shape:
        input, target = broadcast_tensors(input, target)
    if not (input.is_floating_point() or target.is_floating_point()):
        kind = input.type().rpartition(".")[2].removesuffix("Tensor")
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{kind}'")
    return input, target


@hot
def _weighted(loss, weight, reduction):
    """Reduces with one weight for each element; the mean is the weighted mean."""
    if weight is None:
        return _reduced(loss, reduction)
    if tuple(weight.shape) != tuple(loss.shape):
        raise ValueError("Weights and input must have the same size.")
    loss = loss * weight
    if reduction == "mean":
        return loss.sum() / weight.sum()
    return _reduced(loss, reduction)


@autocasts
@hot
def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """|input - target|."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    _warn_sizes(input, target)
    input, target = broadcast_tensors(input, target)
    return _weighted((input - target).abs(), weight, reduction)


@autocasts
@hot
def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """(input - target)²."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    _warn_sizes(input, target)
    input, target = _together("mse_cpu", input, target)
    if weight is None:
        return _mse(input, target, reduction=reduction)
    return _weighted(_mse(input, target, reduction="none"), weight, reduction)


@autocasts
def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """Half the square of the difference over ``beta`` where it is below beta, else its size minus beta/2."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    _warn_sizes(input, target)
    input, target = _together("smooth_l1_cpu", input, target) if beta else broadcast_tensors(input, target)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return _reduced((input - target).abs(), reduction)
    return _smooth_l1(input, target, beta, reduction=reduction)


@autocasts
def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """Half the square of the difference where it is at most ``delta``, else delta times (its size minus delta/2)."""
    _warn_sizes(input, target)
    input, target = _together("huber_cpu", input, target)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    if weight is None:
        return _huber(input, target, delta, reduction=reduction)
    return _weighted(_huber(input, target, delta, reduction="none"), weight, reduction)


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
    with livegrad.no_grad():
        if not bool(((input >= 0) & (input <= 1)).all()):
            raise RuntimeError("all elements of input should be between 0 and 1")
    if weight is None:
        return _bce(input, target, reduction=reduction)
    return _reduced(_bce(input, target, reduction="none") * weight, reduction)


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
        return _bce_logits(input, target, reduction=reduction)
    else:
        loss = _bce_logits(input, target, reduction="none")
    if weight is not None:
        loss = loss * weight
    return _reduced(loss if loss.dtype is target.dtype else _as_of(target, loss), reduction)


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
def nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    """Minus the log-probability of the target class: input (N, C, *) or (C), target (N, *) or () of class indices.

    ``weight`` has one number for each class; the mean is the weighted mean. Targets equal to ``ignore_index`` count
    for nothing.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    _check_class_shapes(input, target)
    return _nll(input, target, weight, ignore_index, reduction)


def _check_class_shapes(input, target):
    if input.dim() == 0:
        raise ValueError("Expected input to have at least 1 dimension, got 0")
    if target.dtype not in (livegrad.int64, livegrad.uint8):
        kind = target.type().rpartition(".")[2].removesuffix("Tensor")
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {kind}")
    if input.dim() == 1:
        if target.dim() > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if target.dim() == 1 and target.size(0) != 1:
            raise ValueError(f"For 1D input, 1D target must have size 1, but got target size: {target.size(0)}")
        return
    if target.dim() == 0 or input.size(0) != target.size(0):
        size = target.size(0) if target.dim() else 0
        raise ValueError(f"Expected input batch_size ({input.size(0)}) to match target batch_size ({size}).")
    if input.dim() == 2 and target.dim() > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    expected = [input.size(0), *input.shape[2:]]
    if list(target.shape) != expected:
        if input.dim() == 4 and target.dim() == 3:
            raise RuntimeError(f"size mismatch (got input: {list(input.shape)} , target: {list(target.shape)}")
        raise RuntimeError(f"Expected target size {expected}, got {list(target.shape)}")


def _check_class_weight(weight, classes):
    if weight is not None and (weight.dim() != 1 or weight.size(0) != classes):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor "
            f"of shape: {list(weight.shape)}"
        )


def _span(index):
    """The smallest and the largest class; 0 and -1 of none."""
    if not index.numel():
        return 0, -1
    classes = index._to_numpy()
    return int(classes.min()), int(classes.max())


def _nll(log_probabilities, target, weight, ignore_index, reduction, logits=False):
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    class_dim = 0 if log_probabilities.dim() == 1 else 1
    classes = log_probabilities.size(class_dim)
    _check_class_weight(weight, classes)
    index = target.detach().long().reshape(log_probabilities.shape[:class_dim] + (1,) + log_probabilities.shape[2:])
    if target.is_cuda:
        # Nothing waits to see the classes: a kernel looks at them, and those to ignore may be there.
        every, counted = False, index != ignore_index
        check_within(index, classes, ignore_index, "Target {} is out of bounds.")
        index = index.where(counted, livegrad.zeros_like(index))
    else:
        low, high = _span(index)
        every = not low <= ignore_index <= high
        if not every or low < 0 or high >= classes:
            counted = index != ignore_index
            every = bool(counted.all())
            index = index.where(counted, livegrad.zeros_like(index))
            if bool(((index < 0) | (index >= classes)).any()):
                wrong = next(c for c in index.reshape(-1).tolist() if not 0 <= c < classes)
                raise IndexError(f"Target {wrong} is out of bounds.")
    factor = None if weight is None else weight.detach()[index]
    divisor = None
    if reduction == "mean":
        if every and factor is None:
            divisor = index.numel()
        else:
            counts = livegrad.ones_like(index) if every else counted
            counts = counts if factor is None else factor * counts
            divisor = counts.sum().to(log_probabilities.dtype)
    shape = target.shape if reduction == "none" else None
    return nll(log_probabilities, class_dim, index, shape, divisor, factor, None if every else ~counted, logits)


@autocasts
def cross_entropy(
    input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean",
    label_smoothing=0.0,
):  # fmt: skip
    """The cross-entropy between logits ``input`` (N, C, *) and a target.

    The target is class indices (N, *), or class probabilities of the input's own shape. ``weight`` has one number for
    each class. ``label_smoothing`` mixes that much of the uniform distribution into the target.

    >>> import livegrad
    >>> import livegrad.nn.functional as F
    >>> round(F.cross_entropy(livegrad.zeros(2, 4), livegrad.tensor([0, 3])).item(), 4)
    1.3863
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    class_dim = 0 if input.dim() == 1 else 1
    if target.shape == input.shape and not (input.dim() == 1 and not target.is_floating_point()):
        if not target.is_floating_point():
            kind = target.type().rpartition(".")[2].removesuffix("Tensor")
            raise RuntimeError(f"Expected floating point type for target with class probabilities, got {kind}")
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing, class_dim)
    if target.dim() == input.dim() > 1 and target.is_floating_point():
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    _check_class_shapes(input, target)
    if label_smoothing == 0.0 and input.is_floating_point():
        return _nll(input, target, weight, ignore_index, reduction, logits=True)
    log_probabilities = input.log_softmax(class_dim)
    loss = _nll(log_probabilities, target, weight, ignore_index, reduction)
    smooth = _smoothing_loss(log_probabilities, target, weight, ignore_index, reduction, class_dim)
    return loss * (1 - label_smoothing) + smooth * (label_smoothing / input.size(class_dim))


def _smoothing_loss(log_probabilities, target, weight, ignore_index, reduction, class_dim):
    """The loss against the sum of all classes, over the targets that count."""
    if weight is not None:
        shape = (-1, *(1,) * (log_probabilities.dim() - class_dim - 1))
        loss = -(log_probabilities * weight.view(shape)).sum(class_dim)
    else:
        loss = -log_probabilities.sum(class_dim)
    counted = target.reshape(loss.shape) != ignore_index
    loss = loss.masked_fill(~counted, 0.0)
    if reduction == "mean":
        if weight is None:
            return loss.sum() / counted.to(loss.dtype).sum()
        safe = target.long().reshape(loss.shape).where(counted, livegrad.zeros_like(target).long().reshape(loss.shape))
        return loss.sum() / (weight[safe] * counted).sum()
    return _reduced(loss, reduction)


def _soft_cross_entropy(input, target, weight, reduction, label_smoothing, class_dim):
    classes = input.size(class_dim)
    _check_class_weight(weight, classes)
    if label_smoothing > 0.0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    terms = input.log_softmax(class_dim) * target
    if weight is not None:
        terms = terms * weight.view(-1, *(1,) * (input.dim() - class_dim - 1))
    if reduction == "mean":
        return -terms.sum() / (input.numel() // classes) if input.numel() else -terms.sum() / 0
    if reduction == "sum":
        return -terms.sum()
    if reduction == "none":
        return -terms.sum(class_dim)
    raise ValueError(f"{reduction} is not a valid value for reduction")


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
    return _reduced(loss, reduction)


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
    return _reduced(loss, reduction)


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
    return _reduced(loss, reduction)


@autocasts
def hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"):
    """input where the target is 1, max(0, margin - input) where it is -1."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    zero = livegrad.zeros((), dtype=input.dtype, device=input.device)
    apart = livegrad.where(target != 1, (margin - input).clamp_min(0), zero)
    alike = livegrad.where(target != -1, input, zero)
    return _reduced(apart + alike, reduction)


@autocasts
def margin_ranking_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """max(0, -target (input1 - input2) + margin): the target is 1 where input1 should be the greater, else -1."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return _reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


@autocasts
def cosine_embedding_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """1 - cos(input1, input2) where the target is 1, max(0, cos - margin) where it is -1."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if target.dim() > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    expected = target.dim() + 1
    if input1.dim() != expected or input2.dim() != expected:
        sizes = f"{list(input1.shape)} and {list(input2.shape)}"
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {expected}D input tensors, but found inputs with sizes {sizes}."
        )
    eps = 1e-12  # added to the squared lengths
    product = (input1 * input2).sum(-1)
    cosine = product / (((input1 * input1).sum(-1) + eps) * ((input2 * input2).sum(-1) + eps)).sqrt()
    zero = livegrad.zeros((), dtype=cosine.dtype, device=cosine.device)
    alike = livegrad.where(target == 1, 1 - cosine, zero)
    apart = livegrad.where(target == -1, (cosine - margin).clamp_min(0), zero)
    return _reduced(alike + apart, reduction)


def _check_triplet(anchor, positive, negative):
    a, p, n = anchor.dim(), positive.dim(), negative.dim()
    if not a == p == n:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {a}D, positive {p}D, and negative {n}D inputs"
        )


@autocasts
def triplet_margin_loss(
    anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, size_average=None, reduce=None,
    reduction="mean",
):  # fmt: skip
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), with `pairwise_distance` as d.

    With ``swap`` the negative's distance to the positive counts where it is the smaller one.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_triplet(anchor, positive, negative)
    return _triplet(anchor, positive, negative, lambda x, y: pairwise_distance(x, y, p, eps), margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False, reduction="mean"
):
    """`triplet_margin_loss` with any function of two tensors as the distance."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_triplet(anchor, positive, negative)
    return _triplet(anchor, positive, negative, distance_function or pairwise_distance, margin, swap, reduction)


def _triplet(anchor, positive, negative, distance, margin, swap, reduction):
    near = distance(anchor, positive)
    far = distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return _reduced((margin + near - far).clamp_min(0), reduction)


@autocasts
def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """log(1 + exp(-target · input)), for targets 1 and -1."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    return _soft_margin(input, target, reduction=reduction)


def multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """`binary_cross_entropy_with_logits` of (N, C), averaged over the classes first."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    loss = _bce_logits(input, target, reduction="none")
    if weight is not None:
        loss = loss * weight
    return _reduced(loss.mean(-1), reduction)


def _rows_of_classes(input):
    """(N, C) or (C) as (N, C); RuntimeError for anything else."""
    if input.dim() > 2 or input.numel() == 0 and (input.dim() != 2 or input.size(1) == 0):
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )
    return input.reshape(1, -1) if input.dim() < 2 else input


@autocasts
def multi_margin_loss(input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"):
    """max(0, margin - input[target] + input[i]) to the power p (1 or 2), summed over the other classes i, over C.

    input (N, C) or (C), target (N) or (); ``weight`` has a number for each class, of which the target's multiplies.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    x, index = _rows_of_classes(input), target.reshape(-1, 1)
    if index.size(0) != x.size(0):
        raise RuntimeError(f"inconsistent target size, expected {x.size(0)} but got {list(target.shape)}")
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < x.size(1):
        raise RuntimeError("target out of range")
    _check_class_weight(weight, x.size(1))
    terms = (margin - x.gather(1, index) + x).clamp_min(0)
    if p == 2:
        terms = terms * terms
    if weight is not None:
        terms = terms * weight[index]
    own = livegrad.zeros_like(x, dtype=livegrad.bool).scatter(1, index, True)
    loss = terms.masked_fill(own, 0).sum(1) / x.size(1)
    return _reduced(loss.reshape(target.shape), reduction)


@autocasts
def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """max(0, 1 - input[j] + input[i]), summed over the classes j that are targets and all i that are not, over C.

    input and target are (N, C) or (C); a row of the target lists classes and ends at the first -1.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    x = _rows_of_classes(input)
    if target.shape != input.shape:
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    index = target.reshape(x.shape)
    listed = (index < 0).cumsum(1) == 0
    safe = index.masked_fill(~listed, 0)
    chosen = livegrad.zeros_like(x).scatter_add(1, safe, listed.to(x.dtype)) > 0
    terms = (1 - x.gather(1, safe).unsqueeze(2) + x.unsqueeze(1)).clamp_min(0)
    counted = listed.unsqueeze(2) & ~chosen.unsqueeze(1)
    loss = (terms * counted).sum((1, 2)) / x.size(1)
    return _reduced(loss.reshape(input.shape[:-1]), reduction)
