"""Convolutions of batches: examples with one weight for all are more examples, those with a weight each are groups.

The operators of the second kind have the examples along the first dimension of both tensors. A weight that only
stands for each example's own, because it is to be differentiated by for each, lies in memory once: its convolution is
that of more examples as well, and only its gradient is not.
"""

from __future__ import annotations

from typing import Any

from ..lazy.value import Value
from ..native import hot
from ..tensor import Tensor
from . import conv
from .batch_rules import merged
from .batching import Call
from .matmul import _conjugate
from .registry import operator
from .view_operators import SELECT


def _beside(x: Any) -> Any:
    """(examples, n, channels, ...) as (n, examples * channels, ...)."""
    b, n, c, *space = x.shape
    return x.permute(1, 0, 2, *range(3, 3 + len(space))).reshape((n, b * c, *space))


def _apart(x: Any, b: int) -> Any:
    """The reverse of `_beside`."""
    n, c, *space = x.shape
    return x.reshape((n, b, c // b, *space)).permute(1, 0, 2, *range(3, 3 + len(space)))


def _first(weight: Value) -> Value | None:
    """The weight that all examples have in memory together, or None."""
    return SELECT.of_value(weight, {"dim": 0, "index": 0}) if weight.ready().strides[0] == 0 else None


def _one_after_other(x: Value) -> Value:
    return x.reshape((-1, *x.shape[2:]))  # type: ignore[attr-defined]


def _by_groups(plain: Any) -> Any:
    def forward(x: Value, weight: Value, groups: int, **options: Any) -> Value:
        b = x.shape[0]
        shared = _first(weight)
        if shared is not None:
            made: Any = plain(_one_after_other(x), shared, None, groups=groups, **options)
            return made.reshape((*x.shape[:2], *made.shape[1:]))
        made = plain(_beside(x), _one_after_other(weight), None, groups=b * groups, **options)
        return _apart(made, b)

    return forward


def _weights(x: Value, y: Value, groups: int, **options: Any) -> Value:
    b = x.shape[0]
    made: Any = conv._by_weight(_beside(x), _beside(y), groups=b * groups, **options)
    return made.reshape((b, made.shape[0] // b, *made.shape[1:]))


def _call(op: Any, x: Any, y: Any, **options: Any) -> Any:
    return op.forward(x, y, **options) if x.__class__ is Value else op.apply((x, y), **options)


@hot
def _window(shape: tuple) -> tuple:
    return tuple(shape[3:])


def _of_more(call: Call) -> Any:
    """The rule of these operators themselves, which are of batches already."""
    made = call.apply([t.flatten(0, 1) for t in call.wholes()])
    return made.unflatten(0, (call.size, made._shape[0] // call.size))


EACH_PLAIN = operator(
    "convolution",
    _by_groups(conv._convolve),
    tensors=("x", "weight"),
    grads={
        "x": lambda g, weight, x_shape, stride, padding, dilation, groups: _call(
            EACH_TRANSPOSED, g, _conjugate(weight), size=_window(x_shape), stride=stride, padding=padding,
            dilation=dilation, groups=groups,
        ),
        "weight": lambda g, x, weight_shape, stride, padding, dilation, groups: _call(
            EACH_WEIGHT, _conjugate(x), g, window=_window(weight_shape), stride=stride, padding=padding,
            dilation=dilation, groups=groups,
        ),
    },
    anywhere=True,
    batch=_of_more,
)  # fmt: skip
EACH_TRANSPOSED = operator(
    "conv_transpose",
    _by_groups(conv._transpose),
    tensors=("x", "weight"),
    grads={
        "x": lambda g, weight, x_shape, stride, padding, dilation, groups: _call(
            EACH_PLAIN, g, _conjugate(weight), out=_window(x_shape), stride=stride, padding=padding,
            dilation=dilation, groups=groups,
        ),
        "weight": lambda g, x, weight_shape, stride, padding, dilation, groups: _call(
            EACH_WEIGHT, g, _conjugate(x), window=_window(weight_shape), stride=stride, padding=padding,
            dilation=dilation, groups=groups,
        ),
    },
    node="Convolution",
    anywhere=True,
    batch=_of_more,
)  # fmt: skip
EACH_WEIGHT = operator(
    "conv_weight",
    _weights,
    tensors=("x", "y"),
    grads={
        "x": lambda g, y, x_shape, stride, padding, dilation, groups: _call(
            EACH_TRANSPOSED, _conjugate(y), g, size=_window(x_shape), stride=stride, padding=padding,
            dilation=dilation, groups=groups,
        ),
        "y": lambda g, x, y_shape, stride, padding, dilation, groups: _call(
            EACH_PLAIN, _conjugate(x), g, out=_window(y_shape), stride=stride, padding=padding, dilation=dilation,
            groups=groups,
        ),
    },
    node="Convolution",
    anywhere=True,
    batch=_of_more,
)  # fmt: skip


def _rule(each: Any, plain: Any) -> Any:
    """The rule of a convolution; plain: the operator without a bias."""

    def rule(call: Call) -> Any:
        if not any(call.batched[1:]):
            return merged(call)
        if call.batched[1]:
            made = each.apply((call.whole(0), call.whole(1)), **call.args)
        else:
            x = call.tensors[0]
            made = plain.apply((x.flatten(0, 1) if call.batched[0] else x, call.tensors[1]), **call.args)
            made = made.unflatten(0, x._shape[:2]) if call.batched[0] else made.expand(call.size, *made._shape)
        if len(call.tensors) == 3:
            bias: Tensor = call.whole(2)
            made = made + bias.reshape((call.size, 1, bias._shape[1], *(1,) * (made.dim() - 3)))  # type: ignore[attr-defined]
        return made

    return rule


def _weights_of_batch(call: Call) -> Any:
    return EACH_WEIGHT.apply(call.wholes(), **call.args)


conv.PLAIN.batch = conv.CONVOLUTION.batch = _rule(EACH_PLAIN, conv.PLAIN)
conv.TRANSPOSED.batch = conv.BIASED_TRANSPOSED.batch = _rule(EACH_TRANSPOSED, conv.TRANSPOSED)
conv.BY_WEIGHT.batch = _weights_of_batch
