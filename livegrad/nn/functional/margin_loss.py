"""Losses with a margin: of pairs, of triplets, of classes."""

from __future__ import annotations

import livegrad
from livegrad.ops.operator import name_nodes

from ...native import hot
from ...ops.casting import autocasts
from ...ops.indices import span
from ...ops.margin import MARGINS
from ...ops.scalar import exp, log1p
from .class_loss import check_class_weight
from .distance import pairwise_distance
from .loss import bce_logits
from .loss_terms import legacy_reduction, loss_of, reduce_loss

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

_soft_margin = loss_of("_soft_margin_loss", lambda input, target: log1p(exp(-target * input)), "SoftMarginLoss")


@autocasts
def hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"):
    """input where the target is 1, max(0, margin - input) where it is -1."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    zero = livegrad.zeros((), dtype=input.dtype, device=input.device)
    apart = livegrad.where(target != 1, (margin - input).clamp_min(0), zero)
    alike = livegrad.where(target != -1, input, zero)
    return reduce_loss(apart + alike, reduction)


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
    return reduce_loss((-target * (input1 - input2) + margin).clamp_min(0), reduction)


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
    return reduce_loss(alike + apart, reduction)


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
    return reduce_loss((margin + near - far).clamp_min(0), reduction)


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
    loss = bce_logits(input, target, reduction="none")
    if weight is not None:
        loss = loss * weight
    return reduce_loss(loss.mean(-1), reduction)


def _rows_of_classes(input):
    """(N, C) or (C) as (N, C); RuntimeError for anything else."""
    if input.dim() > 2 or input.numel() == 0 and (input.dim() != 2 or input.size(1) == 0):
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )
    return input.reshape(1, -1) if input.dim() < 2 else input


@autocasts
@hot
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
    least, greatest = span(index.detach().cpu()._to_numpy())
    if least < 0 or greatest >= x.size(1):
        raise RuntimeError("target out of range")
    check_class_weight(weight, x.size(1))
    loss = MARGINS.apply((x,), index=index.detach()._value(), p=int(p), margin=float(margin)) / x.size(1)
    if weight is not None:
        loss = loss * weight[index]
    return name_nodes(reduce_loss(loss.reshape(target.shape), reduction), "MultiMarginLossBackward", input)


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
    return name_nodes(reduce_loss(loss.reshape(input.shape[:-1]), reduction), "MultilabelMarginLossBackward", input)
