"""Convolution: three operators that are each other's derivatives, and the public functions made of them.

`CONVOLUTION` (with and without bias), its gradient by the input, which is the transposed convolution, and its gradient
by the weight. Each is linear in both of its tensors, and the gradients of each are the other two, so that they can be
differentiated as often as one likes.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.node import cast_value
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value, from_array, pending, reshaped
from ..native import hot
from ..runtime import array as arrays
from ..runtime import convolution, convolution_numpy
from ..runtime.array import numel
from ..runtime.convolution import Axis, Problem
from .matmul import _conjugate
from .operator import Operator
from .reduce import reduced
from .registry import operator
from .view import SPREAD

_KINDS = {dtypes.float32: "f32", dtypes.float64: "f64"}


@hot
def _wide(*values: Value | None) -> list:
    """Half types as float32, in which they are computed."""
    return [v if v is None or v.dtype.kind not in ("f16", "bf16") else cast_value(v, dtypes.float32) for v in values]


@hot
def _three(values: tuple, missing: Any) -> tuple:
    """One entry for each of depth, height and width; missing ones come first."""
    return (missing,) * (3 - len(values)) + tuple(values)


@hot
def _strides(a: Any) -> tuple:
    return (*a.strides[:2], *_three(a.strides[2:], 0))


_zero_bias: dict[tuple, Any] = {}


@hot
def _bias_address(bias: Value | None, dtype: Any, count: int) -> int:
    """The address of a contiguous bias, of zeros where there is none."""
    if bias is not None:
        return bias.ready().ptr
    size = 1 << max(count - 1, 1).bit_length()
    found = _zero_bias.get((dtype, size))
    if found is None:
        zeros = np.zeros(size, dtype.np)
        found = _zero_bias[dtype, size] = (zeros.ctypes.data, zeros)
    return found[0]


# --- on other devices ---


def _elsewhere(function: str, a: Value, b: Value, bias: Value | None, shape: tuple, *options: Any) -> Value:
    """One of the functions of `runtime.cuda.convolution`; the bias is added by whatever kernel follows."""
    if 0 in (numel(shape), numel(a.shape), numel(b.shape)):
        made = from_array(arrays.full_on(a.device, shape, a.dtype, 0))
    else:
        from ..runtime.cuda import convolution as on_cuda

        made = from_array(getattr(on_cuda, function)(a.ready(), b.ready(), *options))
    return made if bias is None else made + bias.reshape((-1, *(1,) * (len(shape) - 2)))


# --- forward ----------------------------------------------------------------------------------------------------


@functools.lru_cache(4096)
def _axes(size: tuple, out: tuple, window: tuple, stride: tuple, padding: tuple, dilation: tuple) -> tuple:
    """The axes of a convolution. What is read beyond the end of the input is zero, so `out` may be of any size."""
    three = (_three(size, 1), _three(out, 1), _three(window, 1), _three(stride, 1), _three(padding, 0))
    return tuple(
        Axis(n, m, s, p, tuple((i, i * d) for i in range(k)))
        for n, m, k, s, p, d in zip(*three, _three(dilation, 1))
    )  # fmt: skip


def _empty(shape: tuple, bias: Value | None, dtype: Any) -> Value:
    """The result where nothing is summed: the bias, or zeros."""
    made = np.zeros(shape, dtype.np)
    if bias is not None:
        made += bias.native().reshape(1, -1, *(1,) * (len(shape) - 2))
    return backend.fresh(made)


@hot
def _convolve(
    x: Value, weight: Value, bias: Value | None, out: tuple, stride: tuple, padding: tuple, dilation: tuple,
    groups: int,
) -> Value:  # fmt: skip
    dtype = x.dtype
    shape = (x.shape[0], weight.shape[0], *out)
    if x.device is not cpu:
        return _elsewhere("forward", x, weight, bias, shape, out, stride, padding, dilation, groups)
    x, weight, bias = _wide(x, weight, bias)
    size, window = x.shape[2:], weight.shape[2:]
    if 0 in (numel(shape), numel(x.shape)):
        return cast_value(_empty(shape, bias, x.dtype), dtype)
    a, w = x.ready(), weight.ready()
    made = arrays.empty(shape, x.dtype)
    if bias is not None and not bias.ready().contiguous:
        bias = backend.copied(bias.native())
    outputs = shape[1] // groups
    kind = _KINDS.get(x.dtype)
    problem = kind and Problem(
        kind, shape[0], groups, x.shape[1] // groups, outputs,
        _axes(size, out, window, stride, padding, dilation), _strides(a), _strides(made),
        (outputs * w.strides[0], *w.strides[:2]), _three(w.strides[2:], 0),
    )  # fmt: skip
    address = _bias_address(bias, x.dtype, shape[1])
    if not kind or not convolution.convolve(problem, a.ptr, w.ptr, address, made.ptr):
        found = convolution_numpy.forward(a.native(), w.native(), out, stride, padding, dilation, groups)
        if bias is not None:
            found += bias.native().reshape(1, -1, *(1,) * len(out))
        made.native()[...] = found
    return cast_value(from_array(made), dtype)


# --- the gradient by the input, which is the transposed convolution ---------------------------------------------


def _transposed_axes(size: int, out: int, window: int, stride: int, padding: int, dilation: int) -> list[Axis]:
    """The axes, one per residue of the result's position, of a transposed convolution from `size` to `out`.

    Result i reads input j through tap k where i + padding = j * stride + k * dilation.
    """
    found = []
    for start in range(min(stride, out)):
        taps = [
            (k, (start + padding - k * dilation) // stride)
            for k in range(window)
            if (start + padding - k * dilation) % stride == 0
        ]
        first = min((at for _, at in taps), default=0)
        moved = tuple((k, at - first) for k, at in taps)
        found.append(Axis(size, -(-(out - start) // stride), 1, -first, moved, start, stride))
    return found


def _transpose(
    g: Value, weight: Value, bias: Value | None, size: tuple, stride: tuple, padding: tuple, dilation: tuple,
    groups: int,
) -> Value:  # fmt: skip
    dtype = g.dtype
    channels = weight.shape[1] * groups
    shape = (g.shape[0], channels, *size)
    if g.device is not cpu:
        return _elsewhere("by_input", g, weight, bias, shape, size, stride, padding, dilation, groups)
    g, weight, bias = _wide(g, weight, bias)
    if 0 in (numel(shape), numel(g.shape)):
        return cast_value(_empty(shape, bias, g.dtype), dtype)
    a, w = g.ready(), weight.ready()
    if bias is not None and not bias.ready().contiguous:
        bias = backend.copied(bias.native())
    made = arrays.empty(shape, g.dtype)
    per_dim = [
        _transposed_axes(*options)
        for options in zip(
            _three(g.shape[2:], 1), _three(size, 1), _three(weight.shape[2:], 1), _three(stride, 1), _three(padding, 0),
            _three(dilation, 1),
        )
    ]  # fmt: skip
    outputs = weight.shape[0] // groups
    strides = _strides(made)
    kind = _KINDS.get(g.dtype)
    address = _bias_address(bias, g.dtype, channels)
    for axes in ((d, h, w_) for d in per_dim[0] for h in per_dim[1] for w_ in per_dim[2]):
        at = sum(axis.start * s for axis, s in zip(axes, strides[2:]))
        if not all(axis.taps for axis in axes):  # places that no tap reaches
            place = (slice(None), slice(None), *(slice(x.start, None, x.stride) for x in axes[3 - len(size) :]))
            made.native()[place] = 0 if bias is None else bias.native().reshape(-1, *(1,) * len(size))
            continue
        problem = kind and Problem(
            kind, shape[0], groups, outputs, weight.shape[1], axes, _strides(a), strides,
            (outputs * w.strides[0], w.strides[1], w.strides[0]), _three(w.strides[2:], 0),
        )  # fmt: skip
        if not kind or not convolution.convolve(problem, a.ptr, w.ptr, address, made.ptr + at * g.dtype.itemsize):
            found = convolution_numpy.by_input(a.native(), w.native(), size, stride, padding, dilation, groups)
            if bias is not None:
                found += bias.native().reshape(1, -1, *(1,) * len(size))
            made.native()[...] = found
            break
    return cast_value(from_array(made), dtype)


# --- the gradient by the weight ---------------------------------------------------------------------------------


def _in_order(total: Value, parts: tuple, groups: int, outputs: int, shape: tuple) -> Value:
    """The gradient from the order in which the kernel writes it: [group, tile of outputs, tap, output of the tile]."""
    _, _, tiles, rows, block = parts
    each = (groups, tiles, block, rows)
    turned = reshaped(total, total.ready().offset, each, (tiles * rows * block, rows * block, 1, block))
    copy = pending(SPREAD.specialise("t", (total.dtype,), total.dtype, total.dtype), (turned,), (), each)
    taps = math.prod(shape[1:])
    if (tiles * block, rows) == (outputs, taps):
        return copy.reshape(shape)
    found = copy.native().reshape(groups, tiles * block, rows)[:, :outputs, :taps]
    return backend.copied(found.reshape(shape))


def _sum(total: Value) -> float:
    with np.errstate(all="ignore"):
        return float(total.native().sum())


def _by_weight(x: Value, y: Value, window: tuple, stride: tuple, padding: tuple, dilation: tuple, groups: int) -> Value:
    dtype = x.dtype
    if x.device is not cpu:
        shape = (y.shape[1], x.shape[1] // groups, *window)
        return _elsewhere("by_weight", x, y, None, shape, window, stride, padding, dilation, groups)
    x, y = _wide(x, y)
    channels, outputs = x.shape[1] // groups, y.shape[1] // groups
    shape = (y.shape[1], channels, *window)
    if numel(shape) == 0 or numel(y.shape) == 0 or numel(x.shape) == 0:
        return cast_value(backend.fresh(np.zeros(shape, x.dtype.np)), dtype)
    a, b = x.ready(), y.ready()
    if x.dtype in _KINDS:
        axes = _axes(x.shape[2:], y.shape[2:], window, stride, padding, dilation)
        nothing = (0, 0, 0)
        problem = Problem(
            _KINDS[x.dtype], x.shape[0], groups, channels, outputs, axes, _strides(a), _strides(b), nothing, nothing
        )
        for directly in (False, True):
            parts = convolution.weight_partials(problem, a.ptr, b.ptr, x.dtype, directly)
            if parts is None:
                break
            total = from_array(parts)
            if parts.shape[0] > 1:
                total = reduced(total, "sum", (0,), False, x.dtype)
            # Places between rows count as zero times what lies there, which is not zero beside an infinity; and sums of
            # large numbers may overflow where the result does not.
            if math.isfinite(_sum(total)) or (directly and np.isfinite(a.native()).all()):
                return cast_value(_in_order(total, parts.shape, groups, outputs, shape), dtype)
    with np.errstate(all="ignore"):
        found = convolution_numpy.by_weight(a.native(), b.native(), window, stride, padding, dilation, groups)
    return cast_value(backend.fresh(found), dtype)


# --- the operators ----------------------------------------------------------------------------------------------


def _apply(op: Operator, tensors: tuple, **args: Any) -> Any:
    """A gradient: an operator on bare values, or on tensors, where the graph shows it by PyTorch's name."""
    if tensors[0].__class__ is Value:
        return op.forward(*tensors, **args)
    return op.apply(tensors, "ConvolutionBackwardBackward", **args)


def _window(shape: tuple) -> tuple:
    return tuple(shape[2:])


def _bias_gradient(g: Any) -> Any:
    return g.sum((0, *range(2, len(g.shape))))


CONVOLUTION = operator(
    "convolution",
    lambda x, weight, bias, **options: _convolve(x, weight, bias, **options),
    tensors=("x", "weight", "bias"),
    grads={
        "x": lambda g, weight, x_shape, stride, padding, dilation, groups: _apply(
            TRANSPOSED, (g, _conjugate(weight)),
            size=_window(x_shape), stride=stride, padding=padding, dilation=dilation,
            groups=groups,
        ),
        "weight": lambda g, x, weight_shape, stride, padding, dilation, groups: _apply(
            BY_WEIGHT, (_conjugate(x), g),
            window=_window(weight_shape), stride=stride, padding=padding, dilation=dilation,
            groups=groups,
        ),
        "bias": lambda g: _bias_gradient(g),
    },
    anywhere=True,
    shape_of=lambda x, weight, bias, out, **_: (x.shape[0], weight.shape[0], *out),
)  # fmt: skip
PLAIN = operator(
    "convolution",
    lambda x, weight, **options: _convolve(x, weight, None, **options),
    tensors=("x", "weight"),
    grads={name: CONVOLUTION.grads[name].function for name in ("x", "weight")},
    anywhere=True,
    shape_of=lambda x, weight, out, **_: (x.shape[0], weight.shape[0], *out),
)
TRANSPOSED = operator(
    "conv_transpose",
    lambda x, weight, **options: _transpose(x, weight, None, **options),
    tensors=("x", "weight"),
    grads={
        "x": lambda g, weight, x_shape, stride, padding, dilation, groups: _apply(
            PLAIN, (g, _conjugate(weight)),
            out=_window(x_shape), stride=stride, padding=padding, dilation=dilation, groups=groups
        ),
        "weight": lambda g, x, weight_shape, stride, padding, dilation, groups: _apply(
            BY_WEIGHT, (g, _conjugate(x)),
            window=_window(weight_shape), stride=stride, padding=padding, dilation=dilation,
            groups=groups,
        ),
    },
    node="Convolution",
    anywhere=True,
    shape_of=lambda x, weight, size, groups, **_: (x.shape[0], weight.shape[1] * groups, *size),
)  # fmt: skip
BIASED_TRANSPOSED = operator(
    "conv_transpose",
    lambda x, weight, bias, **options: _transpose(x, weight, bias, **options),
    tensors=("x", "weight", "bias"),
    grads={
        **{name: TRANSPOSED.grads[name].function for name in ("x", "weight")},
        "bias": lambda g: _bias_gradient(g),
    },
    node="Convolution",
    anywhere=True,
    shape_of=lambda x, weight, bias, size, groups, **_: (x.shape[0], weight.shape[1] * groups, *size),
)
BY_WEIGHT = operator(
    "conv_weight",
    _by_weight,
    tensors=("x", "y"),
    grads={
        "x": lambda g, y, x_shape, stride, padding, dilation, groups: _apply(
            TRANSPOSED,
            (_conjugate(y), g),
            size=_window(x_shape),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        ),
        "y": lambda g, x, y_shape, stride, padding, dilation, groups: _apply(
            PLAIN,
            (_conjugate(x), g),
            out=_window(y_shape),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        ),
    },
    node="Convolution",
    anywhere=True,
)
