"""Losses that are one step of the graph each: terms together with their sum or mean, and the likelihood of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..lazy.value import Value
from ..native import hot
from ..tensor import Tensor, wrap
from . import dispatch
from .index import GATHER, INDEX_BACKWARD, _grid
from .instruction import ElementwiseOp
from .reduce import _cast_like, _count, _mean, _sum, back_to
from .registry import Operator, operator
from .view import on_either


def reduced(terms: ElementwiseOp) -> Operator:
    """The operator that sums or averages the terms of an elementwise operator of two tensors and then numbers.

    Its gradients are those of the terms, so it records one node where the two steps would record two.
    """

    @hot
    def forward(input: Value, target: Value, numbers: tuple, mean: bool) -> Value:
        made = dispatch.value_call(terms, (input, target, *numbers))
        return (_mean if mean else _sum)(made, tuple(range(len(made.shape))), False)

    @hot
    def flow(i: int, g: Any, input: Any, target: Any, numbers: tuple, mean: bool) -> Any:
        rule = terms.gradient(i)
        shape = dispatch.broadcast_shapes(tuple(input.shape), tuple(target.shape))
        dims = tuple(range(len(shape)))
        g = back_to(g / max(_count(shape, dims), 1) if mean else g, shape, dims)
        if rule != "g":
            call = dispatch.value_call if g.__class__ is Value else dispatch.call
            known = dict(zip(terms.names, (input, target, *numbers)))
            known["g"] = g
            if "result" in rule[1]:
                known["result"] = call(terms, (input, target, *numbers))
            g = call(rule[0], tuple(known[n] for n in rule[1]))
        x = (input, target)[i]
        return _cast_like(g.sum_to_size(tuple(x.shape)), x.dtype)

    def gradient(i: int) -> Callable:
        return lambda g, input, target, numbers, mean: flow(i, g, input, target, numbers, mean)

    grads = {name: gradient(i) for i, name in enumerate(("input", "target")) if terms.gradient(i) is not None}
    return operator(terms.name + "_reduced", forward, tensors=("input", "target"), grads=grads, node=terms.node)


def _weighed(x: Any, factor: Value | None, ignored: Value | None) -> Any:
    """-x times the factors; zero where ignored, whatever x is there."""
    x = -x
    if factor is not None:
        x = x * (factor if x.__class__ is Value else wrap(factor))
    if ignored is not None:
        x = x.masked_zero(ignored if x.__class__ is Value else wrap(ignored))
    return x


def _nll(input: Value, index: Any, dim: int, shape: tuple | None, divisor: Any, **weights: Value | None) -> Value:
    terms = _weighed(GATHER.forward(input, index=index, dim=dim), **weights)
    if shape is not None:
        return terms.reshape(shape)
    total = _sum(terms, tuple(range(len(terms.shape))), False)
    return total if divisor is None else total / divisor


def _nll_gradient(
    g: Any, input_shape: tuple, index: Any, dim: int, shape: Any, divisor: Any, factor: Any, ignored: Any
) -> Any:
    if divisor is not None:
        g = g / (wrap(divisor) if divisor.__class__ is Value and g.__class__ is not Value else divisor)
    g = back_to(g, index.shape, tuple(range(index.ndim))) if shape is None else g.reshape(index.shape)
    return on_either(INDEX_BACKWARD, _weighed(g, factor, ignored), shape=input_shape, index=_grid(index, dim))


NLL = operator("nll_loss", _nll, tensors=("input",), grads={"input": _nll_gradient})


def nll(
    input: Tensor,
    dim: int,
    index: Tensor,
    shape: tuple | None,
    divisor: Tensor | int | None,
    factor: Tensor | None,
    ignored: Tensor | None,
) -> Tensor:
    """Minus the elements of `input` at `index` along `dim`, times `factor`, without those that are `ignored`.

    With a shape they are returned in that shape, else summed up and divided by the divisor.
    """
    # 1 and 2 dimensions have a node of their own, as in PyTorch; other shapes are pictures to it.
    label = "NllLossBackward0" if input.dim() <= 2 else "NllLoss2DBackward0"
    values = {"factor": factor, "ignored": ignored, "divisor": divisor}
    args = {name: t._value() if isinstance(t, Tensor) else t for name, t in values.items()}
    positions = index._value().native()
    return NLL.apply((input,), label, index=positions, dim=dim, shape=shape, **args)
