"""Losses."""

from __future__ import annotations

from .table import translates


def _reduced(w, x, reduction):
    if reduction == "none":
        return x
    return w.reduced("ReduceMean" if reduction == "mean" else "ReduceSum", x, None, False)


@translates()
def mse_loss(w, input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    away = w("Sub", input, target)
    return _reduced(w, w("Mul", away, away), reduction)


@translates()
def l1_loss(w, input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    return _reduced(w, w("Abs", w("Sub", input, target)), reduction)


@translates()
def cross_entropy(
    w, input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean",
    label_smoothing=0.0,
):  # fmt: skip
    if label_smoothing or target.dtype.is_floating_point or input.rank < 2:
        raise w.refuse("only for class indices of a batch, without label_smoothing")
    return w("SoftmaxCrossEntropyLoss", input, target, weight, ignore_index=ignore_index, reduction=reduction)


@translates()
def nll_loss(w, input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    if input.rank < 2:
        raise w.refuse("only for a batch")
    return w("NegativeLogLikelihoodLoss", input, target, weight, ignore_index=ignore_index, reduction=reduction)


@translates()
def binary_cross_entropy_with_logits(
    w, input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    if pos_weight is not None:
        raise w.refuse("with pos_weight")
    losses = w("Sub", w("Softplus", input), w("Mul", input, target))
    return _reduced(w, losses if weight is None else w("Mul", losses, weight), reduction)
