"""Functions of `nn.functional` under the names, and with the arguments, that they have directly in ``torch``.

There, reductions are numbers (0: none, the default; 1: mean; 2: sum), and some arguments come in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import livegrad

from .nn import functional as F
from .overriding import asks

__all__ = [
    "alpha_dropout", "alpha_dropout_", "batch_norm", "binary_cross_entropy_with_logits", "constant_pad_nd",
    "cosine_embedding_loss", "ctc_loss", "dropout", "dropout_", "embedding", "embedding_bag", "embedding_renorm_",
    "feature_alpha_dropout", "feature_alpha_dropout_", "feature_dropout", "feature_dropout_", "group_norm",
    "hinge_embedding_loss", "instance_norm", "kl_div", "layer_norm", "margin_ranking_loss", "poisson_nll_loss",
    "triplet_margin_loss",
]  # fmt: skip

_REDUCTIONS = ("none", "mean", "sum")


def _reduction(number: int) -> str:
    if number not in (0, 1, 2):
        raise ValueError(f"{number} is not a valid value for reduction")
    return _REDUCTIONS[number]


def dropout(input: Any, p: float, train: bool) -> Any:  # noqa: A002
    """`nn.functional.dropout`."""
    return F.dropout(input, p, train)


def feature_dropout(input: Any, p: float, train: bool) -> Any:  # noqa: A002
    """Dropout of whole channels."""
    return (F.dropout1d if input.dim() == 3 else F.dropout2d)(input, p, train)


def alpha_dropout(input: Any, p: float, train: bool) -> Any:  # noqa: A002
    """`nn.functional.alpha_dropout`."""
    return F.alpha_dropout(input, p, train)


def feature_alpha_dropout(input: Any, p: float, train: bool) -> Any:  # noqa: A002
    """`nn.functional.feature_alpha_dropout`."""
    return F.feature_alpha_dropout(input, p, train)


def _changed(function: Callable, what: str) -> Callable:
    """The form that writes its result into the input."""

    def changed(input: Any, p: float, train: bool) -> Any:  # noqa: A002
        return input.copy_(function(input, p, train)) if train and p else input

    changed.__name__ = changed.__qualname__ = f"{function.__name__}_"
    changed.__doc__ = f"{what}, in place."
    return changed


dropout_ = _changed(dropout, "`nn.functional.dropout`")
feature_dropout_ = _changed(feature_dropout, "Dropout of whole channels")
alpha_dropout_ = _changed(alpha_dropout, "`nn.functional.alpha_dropout`")
feature_alpha_dropout_ = _changed(feature_alpha_dropout, "`nn.functional.feature_alpha_dropout`")


def embedding_renorm_(weight: Any, indices: Any, max_norm: float, norm_type: float) -> Any:
    """Scale those rows of `weight` that `indices` name and that are longer than `max_norm` to that length, in place."""
    F.embedding(indices, weight.detach(), max_norm=max_norm, norm_type=norm_type)
    return weight


def batch_norm(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, momentum: float,  # noqa: A002
    eps: float, cudnn_enabled: bool = True,
) -> Any:  # fmt: skip
    """`nn.functional.batch_norm`."""
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, use_input_stats: bool,  # noqa: A002
    momentum: float, eps: float, cudnn_enabled: bool = True,
) -> Any:  # fmt: skip
    """`nn.functional.instance_norm`."""
    return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5,  # noqa: A002
    cudnn_enable: bool = True,
) -> Any:  # fmt: skip
    """`nn.functional.layer_norm`."""
    return F.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: bool = True  # noqa: A002
) -> Any:  # fmt: skip
    """`nn.functional.group_norm`."""
    return F.group_norm(input, num_groups, weight, bias, eps)


def embedding(
    weight: Any, indices: Any, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Any:
    """Rows of a table; the table comes first. padding_idx: the row that learns nothing; -1 for none."""
    padding = None if padding_idx < 0 else padding_idx
    return F.embedding(indices, weight, padding, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)


def embedding_bag(
    weight: Any, indices: Any, offsets: Any, scale_grad_by_freq: bool = False, mode: int = 0, sparse: bool = False,
    per_sample_weights: Any = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> tuple:  # fmt: skip
    """(bags, bag of each index, size of each bag, largest): `nn.functional.embedding_bag`; the table comes first.

    mode: 0 for sums, 1 for means, 2 for maxima. Beside the bags, all three are zeros, the first of them empty, for
    sums; for means and maxima bag and sizes are given, and for maxima the index that each of the largest came from.
    """
    if mode not in (0, 1, 2):
        raise RuntimeError(f"embedding_bag: mode is 0 for sum, 1 for mean or 2 for max, but is {mode}")
    bags = F.embedding_bag(
        indices, weight, offsets, scale_grad_by_freq=scale_grad_by_freq, mode=("sum", "mean", "max")[mode],
        sparse=sparse, per_sample_weights=per_sample_weights, include_last_offset=include_last_offset,
        padding_idx=padding_idx,
    )  # fmt: skip
    if mode == 0:
        return bags, indices.new_zeros(0), indices.new_zeros(bags.size(0)), indices.new_zeros(bags.size(0))
    starts = offsets.tolist()
    stops = [*starts[1:], indices.size(0)][: bags.size(0)]
    counts = indices.new_tensor([b - a for a, b in zip(starts, stops)])
    bag = livegrad.arange(bags.size(0), device=indices.device).repeat_interleave(counts)
    if padding_idx is not None:
        counts = counts - livegrad.zeros_like(counts).index_add(0, bag, (indices == padding_idx).to(counts.dtype))
    return bags, bag, counts, counts.clone() if mode == 1 else _largest_indices(weight, indices, bags, bag, padding_idx)


def _largest_indices(weight: Any, indices: Any, bags: Any, bag: Any, padding_idx: int | None) -> Any:
    """The index that each element of (B, n) maxima of bags came from, the first of equal ones; 0 for empty bags."""
    found = indices.new_zeros(bags.shape)
    for index, row in reversed(list(zip(indices.tolist(), bag.tolist()))):
        if index != padding_idx:
            found[row] = livegrad.where(weight.detach()[index] == bags.detach()[row], index, found[row])
    return found


def constant_pad_nd(input: Any, pad: Any, value: Any = 0) -> Any:  # noqa: A002
    """`nn.functional.pad` with a number."""
    return F.pad(input, list(pad), "constant", value)


def _loss(function: Callable, count: int, names: tuple[str, ...]) -> Callable:
    """A loss whose arguments after the tensors come by place, with the reduction's number at the end."""
    name = function.__name__

    def loss(*args: Any, reduction: int = 0, **options: Any) -> Any:
        given = dict(zip(names, args[count:]))
        number = given.pop("reduction", reduction)
        return function(*args[:count], **{**given, **options}, reduction=_reduction(number))

    loss.__name__ = loss.__qualname__ = name
    loss.__doc__ = f"`nn.functional.{name}`, with the reduction as a number."
    return loss


binary_cross_entropy_with_logits = _loss(F.binary_cross_entropy_with_logits, 2, ("weight", "pos_weight", "reduction"))
cosine_embedding_loss = _loss(F.cosine_embedding_loss, 3, ("margin", "reduction"))
hinge_embedding_loss = _loss(F.hinge_embedding_loss, 2, ("margin", "reduction"))
kl_div = _loss(F.kl_div, 2, ("reduction", "log_target"))
margin_ranking_loss = _loss(F.margin_ranking_loss, 3, ("margin", "reduction"))
poisson_nll_loss = _loss(F.poisson_nll_loss, 2, ("log_input", "full", "eps", "reduction"))
triplet_margin_loss = _loss(F.triplet_margin_loss, 3, ("margin", "p", "eps", "swap", "reduction"))
ctc_loss = _loss(F.ctc_loss, 4, ("blank", "reduction", "zero_infinity"))

for _name in __all__:
    globals()[_name] = asks(globals()[_name])


def _softmax_backward_data(grad_output: Any, output: Any, dim: int, input_dtype: Any) -> Any:
    """The gradient of the input of a softmax along `dim`, of its result and that one's gradient, in `input_dtype`."""
    flow = (grad_output - (grad_output * output).sum(dim, keepdim=True)) * output
    return flow.to(input_dtype)


def _log_softmax_backward_data(grad_output: Any, output: Any, dim: int, input_dtype: Any) -> Any:
    """The same for the logarithm of a softmax."""
    flow = grad_output - output.exp() * grad_output.sum(dim, keepdim=True)
    return flow.to(input_dtype)
