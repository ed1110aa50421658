"""What losses share: elementwise terms, averaging and adding up, older arguments."""

from __future__ import annotations

from ...native import hot
from ...ops.composite import broadcast_tensors
from ...ops.loss import reduced
from ...ops.registry import ELEMENTWISE, elementwise
from ...site import warn

PROBABILITIES = (0.05, 0.95)


def terms_of(name, formula, node, domain=(-3.0, 3.0), **grads):
    """The terms of a loss, as an operator without a name of its own in the package. ``domain``: of its samples."""
    return elementwise(
        name, formula, node=node, grads=grads, function=False, inplace=False, reference="", domain=domain
    )


def loss_of(name, formula, node, domain=(-3.0, 3.0), **grads):
    """A loss by the formula of its terms: a function of input, target, numbers and the reduction."""
    terms = terms_of(name, formula, node, domain, **grads)
    whole = reduced(ELEMENTWISE[name])

    @hot
    def loss(input, target, *numbers, reduction):
        if reduction in ("mean", "sum"):
            return whole.apply((input, target), numbers=numbers, mean=reduction == "mean")
        return reduce_loss(terms(input, target, *numbers), reduction)

    return loss


def legacy_reduction(size_average, reduce):
    """The name of the reduction that the two old arguments stood for."""
    average = size_average is None or size_average
    reduction = "none" if reduce is not None and not reduce else "mean" if average else "sum"
    warn(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.")
    return reduction


@hot
def reduce_loss(loss, reduction):
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction")


@hot
def warn_of_sizes(input, target):
    if target._shape != input._shape:
        warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). This will "
            "likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
        )


@hot
def in_common_shape(kernel, input, target):
    """Both in their common shape, which decides the dtype as well: a number's dtype counts there like any other."""
    if input._shape != target._shape:
        input, target = broadcast_tensors(input, target)
    if not (input.is_floating_point() or target.is_floating_point()):
        kind = input.type().rpartition(".")[2].removesuffix("Tensor")
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{kind}'")
    return input, target


@hot
def weighted_loss(loss, weight, reduction):
    """Reduces with one weight for each element; the mean is the weighted mean."""
    if weight is None:
        return reduce_loss(loss, reduction)
    if tuple(weight.shape) != tuple(loss.shape):
        raise ValueError("Weights and input must have the same size.")
    loss = loss * weight
    if reduction == "mean":
        return loss.sum() / weight.sum()
    return reduce_loss(loss, reduction)
