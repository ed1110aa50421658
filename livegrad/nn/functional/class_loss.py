"""Losses over classes."""

from __future__ import annotations

import livegrad

from ...devices import cpu
from ...native import hot
from ...observe import WATCH
from ...ops.along import values_within
from ...ops.batching import level_of, of_wholes
from ...ops.casting import autocasts
from ...ops.indices import check_within, span
from ...ops.loss import nll
from ...runtime.array import numel
from .loss_terms import legacy_reduction, reduce_loss

__all__ = ["cross_entropy", "nll_loss"]


@autocasts
@hot
def nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    """Minus the log-probability of the target class: input (N, C, *) or (C), target (N, *) or () of class indices.

    ``weight`` has one number for each class; the mean is the weighted mean. Targets equal to ``ignore_index`` count
    for nothing.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    _check_class_shapes(input, target)
    return _nll(input, target, weight, ignore_index, reduction)


@hot
def _check_class_shapes(input, target):
    mine, its = input._shape, target._shape
    if target.dtype is livegrad.int64 and len(mine) == 2 and len(its) == 1 and mine[0] == its[0]:
        return  # nearly always
    _refuse_class_shapes(input, target)


def _refuse_class_shapes(input, target):
    """Raise for an input and a target that do not fit each other, if they do not."""
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


@hot
def check_class_weight(weight, classes):
    if weight is not None and (weight.dim() != 1 or weight.size(0) != classes):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor "
            f"of shape: {list(weight.shape)}"
        )


@hot
def _nll(log_probabilities, target, weight, ignore_index, reduction, logits=False):
    if reduction != "mean" and reduction != "sum" and reduction != "none":
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if WATCH.batcher is not None and (level_of(log_probabilities) or level_of(target)):
        return _nll_of_batch(log_probabilities, target, weight, ignore_index, reduction, logits)
    shape = log_probabilities._shape
    class_dim = 0 if len(shape) == 1 else 1
    classes = shape[class_dim]
    if weight is not None:
        check_class_weight(weight, classes)
    wanted = target._shape if reduction == "none" else None
    column = (*shape[:class_dim], 1, *shape[2:])
    if weight is None and target.dtype is livegrad.int64 and target.device is cpu:
        places = target._value()
        if not 0 <= ignore_index < classes and values_within(places.ready(), 0, classes):
            divisor = numel(column) if reduction == "mean" else None
            return nll(log_probabilities, class_dim, places.reshape(column), wanted, divisor, None, None, logits)
    return _nll_of_any(log_probabilities, target, weight, ignore_index, reduction, logits, class_dim, column, wanted)


def _nll_of_batch(log_probabilities, target, weight, ignore_index, reduction, logits):
    """The same where these are batches: all terms at once, and what each example makes of its own."""

    def terms(input, target):
        flat = _nll(input.reshape(-1, *rest), target.reshape(-1, *rest[1:]), None, ignore_index, "none", logits)
        return flat.reshape(target._shape)

    rest = log_probabilities._shape[1:] if log_probabilities.dim() > 1 else log_probabilities._shape
    losses = of_wholes((log_probabilities, target), terms)
    factor = None
    if weight is not None:
        check_class_weight(weight, rest[0])
        factor = weight.detach()[target.where(target != ignore_index, 0)]
        losses = losses * factor
    if reduction != "mean":
        return losses if reduction == "none" else losses.sum()
    counted = (target != ignore_index).to(losses.dtype)
    return losses.sum() / (counted if factor is None else counted * factor).sum()


def _nll_of_any(log_probabilities, target, weight, ignore_index, reduction, logits, class_dim, column, wanted):
    """The same where there are weights, or targets that may have to be ignored, or refused, or are on a device."""
    classes = log_probabilities._shape[class_dim]
    index = (target if target.dtype is livegrad.int64 else target.long()).reshape(column)
    ignored = None
    if target.device is not cpu:
        # Nothing waits to see the classes: a kernel looks at them, and those to ignore may be there.
        every, counted = False, index != ignore_index
        check_within(index, classes, ignore_index, "Target {} is out of bounds.")
        index = index.where(counted, livegrad.zeros_like(index))
        ignored = counted.logical_not()
    else:
        low, high = span(index._to_numpy())
        every = not (low <= ignore_index and ignore_index <= high)
        if not every or low < 0 or high >= classes:
            counted = index != ignore_index
            every = bool(counted.all())
            index = index.where(counted, livegrad.zeros_like(index))
            _check_classes(index, classes)
            ignored = None if every else counted.logical_not()
    factor = None if weight is None else weight.detach()[index]
    divisor = None
    if reduction == "mean":
        if every and factor is None:
            divisor = index.numel()
        else:
            counts = livegrad.ones_like(index) if every else counted
            counts = counts if factor is None else factor * counts
            divisor = counts.sum().to(log_probabilities.dtype)
    return nll(log_probabilities, class_dim, index._value(), wanted, divisor, factor, ignored, logits)


def _check_classes(index, classes):
    if bool(((index < 0) | (index >= classes)).any()):
        wrong = next(c for c in index.reshape(-1).tolist() if not 0 <= c < classes)
        raise IndexError(f"Target {wrong} is out of bounds. There are {classes} classes, from 0 to {classes - 1}.")


@autocasts
@hot
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
    if label_smoothing != 0.0 and not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    class_dim = 0 if input.dim() == 1 else 1
    if target._shape == input._shape and not (input.dim() == 1 and not target.is_floating_point()):
        if not target.is_floating_point():
            kind = target.type().rpartition(".")[2].removesuffix("Tensor")
            raise RuntimeError(f"Expected floating point type for target with class probabilities, got {kind}")
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing, class_dim)
    if target.dim() == input.dim() and input.dim() > 1 and target.is_floating_point():
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    _check_class_shapes(input, target)
    if label_smoothing == 0.0 and input.is_floating_point():
        return _nll(input, target, weight, ignore_index, reduction, True)
    return _smoothed_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing, class_dim)


def _smoothed_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing, class_dim):
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
    return reduce_loss(loss, reduction)


def _soft_cross_entropy(input, target, weight, reduction, label_smoothing, class_dim):
    classes = input.size(class_dim)
    check_class_weight(weight, classes)
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
