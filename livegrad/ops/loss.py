"""Losses that are one step of the graph each: terms together with their sum or mean, and the likelihood of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..autograd.mode import MODE
from ..autograd.node import cast_value
from ..devices import cpu
from ..lazy.evaluate import evaluate
from ..lazy.rows import few_long_rows
from ..lazy.value import Value
from ..native import hot
from ..observe import WATCH
from ..runtime.array import numel
from ..tensor import Tensor, wrap
from . import dispatch, rows
from .dims import back_to, cast_like
from .gather import GATHER
from .index import INDEX_BACKWARD, grid
from .instruction import ElementwiseOp
from .operator import Operator, on_either
from .reduce import mean_gradient, mean_value, sum_value
from .registry import operator
from .rowprogram import RowProgram, largest_number, position, total
from .scalar import eq, exp, log, where
from .softmax import LOG_SOFTMAX, SOFTMAX


def reduced(terms: ElementwiseOp) -> Operator:
    """The operator that sums or averages the terms of an elementwise operator of two tensors and then numbers.

    Its gradients are those of the terms, so it records one node where the two steps would record two.
    """

    @hot
    def forward(input: Value, target: Value, numbers: tuple, mean: bool) -> Value:
        made = dispatch.value_call(terms, (input, target, *numbers))
        return (mean_value if mean else sum_value)(made, tuple(range(len(made.shape))), False)

    @hot
    def flow(i: int, g: Any, input: Any, target: Any, numbers: tuple, mean: bool) -> Any:
        rule = terms.gradient(i)
        bare = g.__class__ is Value
        shape = dispatch.broadcast_shapes(tuple(input.shape), tuple(target.shape))
        dims = tuple(range(len(shape)))
        g = mean_gradient(g, shape, g.dtype, dims) if mean else back_to(g, shape, dims)
        if rule != "g":
            given = (input, target, *numbers)
            known = dict(zip(terms.names, given))
            known["g"] = g
            if "result" in rule[1]:
                known["result"] = dispatch.value_call(terms, given) if bare else dispatch.call(terms, given)
            wanted = tuple([known[n] for n in rule[1]])
            g = dispatch.value_call(rule[0], wanted) if bare else dispatch.call(rule[0], wanted)
        x = (input, target)[i]
        wide = tuple(x.shape)
        if wide != shape:
            g = g.sum_to_size(wide)
        return cast_like(g, x.dtype)

    def gradient(i: int) -> Callable:
        return hot(lambda g, input, target, numbers, mean: flow(i, g, input, target, numbers, mean))

    grads = {name: gradient(i) for i, name in enumerate(("input", "target")) if terms.gradient(i) is not None}
    tensors = ("input", "target")
    return operator(terms.name, forward, tensors=tensors, grads=grads, node=terms.node, anywhere=True)


@hot
def _weighed(x: Any, factor: Value | None, ignored: Value | None) -> Any:
    """x times the factors; zero where ignored, whatever x is there."""
    if factor is not None:
        x = x * (factor if x.__class__ is Value else wrap(factor))
    if ignored is not None:
        x = x.masked_zero(ignored if x.__class__ is Value else wrap(ignored))
    return x


def _nll(input: Value, index: Any, dim: int, shape: tuple | None, divisor: Any, **weights: Value | None) -> Value:
    return _finished(_weighed(-GATHER.forward(input, index=index, dim=dim), **weights), shape, divisor)


@hot
def _finished(terms: Value, shape: tuple | None, divisor: Any) -> Value:
    """Terms in the shape that is wanted, or summed up."""
    if shape is not None:
        return terms.reshape(shape)
    dims = tuple(range(len(terms.shape)))
    if divisor.__class__ is int and divisor == numel(terms.shape):
        return mean_value(terms, dims, False)
    total = sum_value(terms, dims, False)
    return total if divisor is None else total / divisor


@hot
def _to_terms(g: Any, index: Any, shape: tuple | None, divisor: Any) -> Any:
    """What flows to each term from a gradient of the loss."""
    if divisor is not None:
        g = g / (wrap(divisor) if divisor.__class__ is Value and g.__class__ is not Value else divisor)
    return back_to(g, index.shape, tuple(range(len(index.shape)))) if shape is None else g.reshape(index.shape)


def _nll_gradient(
    g: Any, input_shape: tuple, index: Any, dim: int, shape: Any, divisor: Any, factor: Any, ignored: Any
) -> Any:
    g = -_to_terms(g, index, shape, divisor)
    return on_either(INDEX_BACKWARD, _weighed(g, factor, ignored), shape=input_shape, index=grid(index, dim))


NLL = operator("nll_loss", _nll, tensors=("input",), grads={"input": _nll_gradient})


# --- by rows, which reads no single elements ------------------------------------------------------------------


def _at_target(x: Any, target: Any) -> Any:
    """The row's element whose place is the target's."""
    return total(where(eq(position, target), x, 0.0))


def _surprise_at_target(x: Any, target: Any) -> Any:
    top = largest_number(x)
    return log(total(exp(x - top))) - (_at_target(x, target) - top)


def _probability_less_one_at_target(x: Any, target: Any, flow: Any) -> Any:
    top = largest_number(x)
    return (exp((x - top) - log(total(exp(x - top)))) - where(eq(position, target), 1.0, 0.0)) * flow


# By whether x holds logits: the loss, and its gradient; where the target is.
_PICKED = {
    True: RowProgram("cross_entropy", _surprise_at_target, 2),
    False: RowProgram("nll_loss", lambda x, target: -_at_target(x, target), 2),
}
_PICKED_GRADIENT = {
    True: RowProgram("cross_entropy_gradient", _probability_less_one_at_target, 3),
    False: RowProgram("nll_loss_gradient", lambda x, target, flow: where(eq(position, target), -flow, 0.0), 3),
}
_IS_TARGET = RowProgram("is_target", lambda x, target: where(eq(position, target), 1.0, 0.0), 2)


def _rows_nll(logits: bool) -> Operator:
    """The same on any device, and for few classes, by row programs: a row's target is found by comparing places."""

    picked, picked_gradient = _PICKED[logits], _PICKED_GRADIENT[logits]

    @hot
    def forward(
        input: Value, index: Value, dim: int, shape: tuple | None, divisor: Any, factor: Any, ignored: Any
    ) -> Value:
        terms = rows.apply(picked, (input, index), (dim,))
        return _finished(_weighed(terms, factor, ignored), shape, divisor)

    @hot
    def flow(g: Any, input: Any, index: Value, dim: int, shape: Any, divisor: Any, factor: Any, ignored: Any) -> Any:
        g = cast_like(_weighed(_to_terms(g, index, shape, divisor), factor, ignored), input.dtype)
        if g.__class__ is Value:
            return rows.apply(picked_gradient, (input, index, g), (dim,))
        chosen = wrap(rows.apply(_IS_TARGET, (input._value(), index), (dim,)))
        return (on_either(SOFTMAX, input, dim=dim) - chosen if logits else -chosen) * g

    name = "cross_entropy" if logits else "nll_loss"
    return operator(name, forward, tensors=("input",), grads={"input": flow}, node="NllLoss", anywhere=True)


ROWS_NLL = {logits: _rows_nll(logits) for logits in (True, False)}
ROWS_NLL[True].through = {"input": "LogSoftmaxBackward0"}
# With so many classes comparing each place with the target is no more work than picking the targets' elements.
FEW_CLASSES = 256


# --- the same of logits ----------------------------------------------------------------------------------------------


def _largest_and_log_total(x: Any) -> tuple:
    """Two numbers a row; x minus both is the log-softmax. Their sum would lose digits where x is large."""
    top = largest_number(x)
    return top, log(total(exp(x - top)))


def _with_surprise(x: Any, target: Any) -> tuple:
    top, log_total = _largest_and_log_total(x)
    return top, log_total, log_total - (_at_target(x, target) - top)


def _less_one_at_target(x: Any, target: Any, top: Any, log_total: Any, flow: Any) -> Any:
    return (exp((x - top) - log_total) - where(eq(position, target), 1.0, 0.0)) * flow


_LOG_TOTAL = RowProgram("log_total", _largest_and_log_total)
_SURPRISE = RowProgram("cross_entropy", _with_surprise, 2)
_LOGITS_GRADIENT = RowProgram("cross_entropy_gradient", _less_one_at_target, 5)
MOST_PLACES = 1 << 24  # that float32 can tell apart


@hot
def _meets_target(shape: tuple, dim: int, kept: dtypes.dtype) -> bool:
    """Whether the target is found on the way through the row: not where threads share a row."""
    return shape[dim] <= MOST_PLACES and not few_long_rows(shape, (dim,), kept.itemsize)


def _cross_entropy(
    input: Value, index: Value, dim: int, shape: tuple | None, divisor: Any, factor: Value | None, ignored: Value | None
) -> tuple:
    """The loss, and the two numbers of each row."""
    input.ready()  # the gradient reads it again
    kept = rows.computing(input.dtype)
    if _meets_target(input.shape, dim, kept):
        top, log_total, terms = rows.apply(_SURPRISE, (input, index), (dim,), (), (kept, kept, kept))
    else:
        top, log_total = rows.apply(_LOG_TOTAL, (input,), (dim,), (), (kept, kept))
        picked = cast_value(GATHER.forward(input, index=index.native(), dim=dim), kept)
        terms = log_total - (picked - top)
    terms = cast_value(_weighed(terms, factor, ignored), input.dtype)
    return _finished(terms, shape, divisor), top, log_total


def _cross_entropy_gradient(
    g: Any, input: Any, top: Value, log_total: Value, index: Value, dim: int, shape: Any, divisor: Any, factor: Any,
    ignored: Any,
) -> Any:  # fmt: skip
    """The probabilities less one at the target, times what flows to each row's term."""
    if g.__class__ is not Value:
        flowing = _nll_gradient(g, tuple(input.shape), index.native(), dim, shape, divisor, factor, ignored)
        return LOG_SOFTMAX.grads["x"].function(flowing, on_either(LOG_SOFTMAX, input, dim=dim), dim)
    flow = cast_value(_weighed(_to_terms(g, index, shape, divisor), factor, ignored), top.dtype)
    if _meets_target(input.shape, dim, top.dtype):
        return rows.apply(_LOGITS_GRADIENT, (input, index, top, log_total, flow), (dim,), (), (input.dtype,))
    evaluate(flow, "read twice")
    made = cast_value((((input - top) - log_total).exp()) * flow, input.dtype)  # type: ignore[operator]
    made.native()[grid(index.native(), dim)] -= flow.native().astype(made.dtype.np, copy=False)
    return made


class _CrossEntropy(Operator):
    """Keeps two numbers a row for its gradient, beside the logits."""

    __slots__ = ()

    def recorded(self, input: Tensor, label: str, args: dict) -> Tensor:
        v = input._value()
        made, top, log_total = _cross_entropy(v, **args)
        out = wrap(made)
        if MODE.grad and input._edge is not None:
            self.record((out,), (v,), (input,), label, {**args, "top": top, "log_total": log_total})
        return out


_CROSS_ENTROPY = _CrossEntropy(
    "cross_entropy", _cross_entropy, ("input",), {"input": _cross_entropy_gradient}, "NllLossBackward", False
)
_CROSS_ENTROPY.through = {"input": "LogSoftmaxBackward0"}


@hot
def nll(
    input: Tensor,
    dim: int,
    index: Value,
    shape: tuple | None,
    divisor: Tensor | int | None,
    factor: Tensor | None,
    ignored: Tensor | None,
    logits: bool = False,
) -> Tensor:
    """Minus the elements of `input` at `index` along `dim`, times `factor`, without those that are `ignored`.

    With a shape they are returned in that shape, else summed up and divided by the divisor. `logits` says that the
    input has yet to become log-probabilities along `dim`.
    """
    # 1 and 2 dimensions have a node of their own, as in PyTorch; other shapes are pictures to it.
    label = "NllLossBackward0" if len(input._shape) <= 2 else "NllLoss2DBackward0"
    args = {
        "factor": None if factor is None else factor._value(),
        "ignored": None if ignored is None else ignored._value(),
        "divisor": divisor._value() if isinstance(divisor, Tensor) else divisor,
        "dim": dim,
        "shape": shape,
    }
    if input.device is not cpu or input._shape[dim] <= FEW_CLASSES:
        args["index"] = index
        op = ROWS_NLL[logits]
        if WATCH.observer is None and WATCH.batcher is None:
            return op._apply((input,), label, args)
        return op.apply((input,), label, **args)
    if logits:
        args["index"] = index
        return _CROSS_ENTROPY.recorded(input, label, args)
    args["index"] = index.native()
    return NLL.apply((input,), label, **args)
