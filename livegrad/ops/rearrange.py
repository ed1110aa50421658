"""Windows side by side and back again, and channels exchanged with space: elements moved, and added where they meet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..autograd.node import cast_value
from ..lazy import backend
from ..lazy.value import Value, from_array
from ..native import hot
from ..runtime import array as arrays
from ..tensor import Tensor
from .batch_rules import merged, trailing
from .conv import _wide
from .joining import BORDERED
from .operator import on_either
from .registry import operator, public

# --- windows ----------------------------------------------------------------------------------------------------


@hot
def blocks(size: tuple, window: tuple, dilation: tuple, padding: tuple, stride: tuple) -> tuple:
    """How many windows there are along each dimension."""
    return tuple([
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(size, window, dilation, padding, stride)
    ])  # fmt: skip


def _taps(window: tuple, count: tuple, dilation: tuple, stride: tuple) -> Iterator[tuple]:
    """For each place of the window its slices of the padded input."""
    for i in range(window[0]):
        for j in range(window[1]):
            starts = (i * dilation[0], j * dilation[1])
            yield i, j, tuple(slice(a, a + (m - 1) * s + 1, s) for a, m, s in zip(starts, count, stride))


@hot
def _im2col(x: Value, size: tuple, window: tuple, dilation: tuple, padding: tuple, stride: tuple) -> Value:
    n, c = x.shape[:2]
    if padding[0] or padding[1]:
        x = BORDERED.forward(x, (0, 0, *padding), (n, c, size[0] + 2 * padding[0], size[1] + 2 * padding[1]), 0)
    count = blocks(size, window, dilation, padding, stride)
    a = x.ready()
    planes, channels, down, across = a.strides
    steps = (planes, channels, down * dilation[0], across * dilation[1], down * stride[0], across * stride[1])
    made = arrays.copied(a.view(a.offset, (n, c, *window, *count), steps))
    shape = (n, c * window[0] * window[1], count[0] * count[1])
    return from_array(made.view(made.offset, shape, arrays.contiguous_strides(shape)))


@hot
def _col2im(x: Value, size: tuple, window: tuple, dilation: tuple, padding: tuple, stride: tuple) -> Value:
    count = blocks(size, window, dilation, padding, stride)
    if stride != window or dilation != (1, 1) or padding != (0, 0):
        return _windows_added(x, count, size, window, dilation, padding, stride)
    if count[0] * window[0] != size[0] or count[1] * window[1] != size[1]:
        return _windows_added(x, count, size, window, dilation, padding, stride)
    # Windows that are side by side: nothing is added.
    n, rows = x.shape[:2]
    c = rows // (window[0] * window[1])
    a = x.ready()
    batch, row, column = a.strides
    steps = (batch, row * window[0] * window[1], column * count[1], row * window[1], column, row)
    made = arrays.copied(a.view(a.offset, (n, c, count[0], window[0], count[1], window[1]), steps))
    shape = (n, c, *size)
    return from_array(made.view(made.offset, shape, arrays.contiguous_strides(shape)))


def _windows_added(
    x: Value, count: tuple, size: tuple, window: tuple, dilation: tuple, padding: tuple, stride: tuple
) -> Value:
    (wide,) = _wide(x)
    a = wide.native()
    channels = a.shape[1] // math.prod(window)
    parts = a.reshape(a.shape[0], channels, *window, *count)
    with backend.on(x.device):
        total = backend.of(x).zeros((a.shape[0], channels, *(n + 2 * p for n, p in zip(size, padding))), a.dtype)
        for i, j, place in _taps(window, count, dilation, stride):
            total[(..., *place)] += parts[:, :, i, j]
    inside = tuple(slice(p, p + n) for p, n in zip(padding, size))
    return cast_value(backend.copied(total[(..., *inside)]), x.dtype)


def _other(op: Any) -> Any:
    return {
        "x": lambda g, size, window, dilation, padding, stride: on_either(
            op(), g, size=size, window=window, dilation=dilation, padding=padding, stride=stride
        )
    }


IM2COL = operator("unfold", _im2col, tensors=("x",), grads=_other(lambda: COL2IM), node="Im2Col", anywhere=True)
COL2IM = operator("fold", _col2im, tensors=("x",), grads=_other(lambda: IM2COL), node="Col2Im", anywhere=True)


# --- channels and space -----------------------------------------------------------------------------------------


def _shuffled(x: Value, factor: int) -> Value:
    a = x.native()
    *lead, c, h, w = a.shape
    parts = a.reshape(math.prod(lead), c // factor**2, factor, factor, h, w).transpose(0, 1, 4, 2, 5, 3)
    return backend.copied(parts.reshape(*lead, c // factor**2, h * factor, w * factor))


def _unshuffled(x: Value, factor: int) -> Value:
    a = x.native()
    *lead, c, h, w = a.shape
    parts = a.reshape(math.prod(lead), c, h // factor, factor, w // factor, factor).transpose(0, 1, 3, 5, 2, 4)
    return backend.copied(parts.reshape(*lead, c * factor**2, h // factor, w // factor))


PIXEL_SHUFFLE = operator(
    "pixel_shuffle",
    _shuffled,
    tensors=("x",),
    grads={"x": lambda g, factor: on_either(PIXEL_UNSHUFFLE, g, factor=factor)},
    anywhere=True,
    batch=trailing,
)
PIXEL_UNSHUFFLE = operator(
    "pixel_unshuffle",
    _unshuffled,
    tensors=("x",),
    grads={"x": lambda g, factor: on_either(PIXEL_SHUFFLE, g, factor=factor)},
    anywhere=True,
    batch=trailing,
)


def _mixed(x: Value, groups: int) -> Value:
    a = x.native()
    n, c = a.shape[:2]
    parts = a.reshape(n, groups, c // max(groups, 1), *a.shape[2:])
    return backend.copied(backend.of(x).swapaxes(parts, 1, 2).reshape(a.shape))


CHANNEL_SHUFFLE = operator(
    "channel_shuffle",
    _mixed,
    tensors=("x",),
    grads={"x": lambda g, x_shape, groups: on_either(CHANNEL_SHUFFLE, g, groups=x_shape[1] // groups)},
    anywhere=True,
    batch=merged,
)


def _data(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def _need_three(name: str, x: Tensor) -> None:
    if x.dim() < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {x.dim()} dimension(s)"
        )


def _shuffle_samples() -> Iterator[tuple]:
    yield (_data(2, 8, 2, 3), 2), {}
    yield (_data(4, 1, 2), 2), {}
    yield (_data(0, 4, 2, 2), 2), {}


@public("pixel_shuffle", kind="library", method=False, op=PIXEL_SHUFFLE, samples=_shuffle_samples)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C r², H, W) rearranged to (*, C, H r, W r)."""
    _need_three("pixel_shuffle", input)
    if upscale_factor <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {upscale_factor}")
    if input.shape[-3] % upscale_factor**2:
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={input.shape[-3]} is not divisible by {upscale_factor**2}"
        )
    return PIXEL_SHUFFLE.apply((input,), factor=upscale_factor)


def _unshuffle_samples() -> Iterator[tuple]:
    yield (_data(2, 2, 4, 6), 2), {}
    yield (_data(1, 2, 4), 2), {}


@public("pixel_unshuffle", kind="library", method=False, op=PIXEL_UNSHUFFLE, samples=_unshuffle_samples)
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(*, C, H r, W r) rearranged to (*, C r², H, W)."""
    _need_three("pixel_unshuffle", input)
    if downscale_factor <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {downscale_factor}")
    for what, dim in (("height", -2), ("width", -1)):
        if input.shape[dim] % downscale_factor:
            raise RuntimeError(
                f"pixel_unshuffle expects {what} to be divisible by downscale_factor, but "
                f"input.size({dim})={input.shape[dim]} is not divisible by {downscale_factor}"
            )
    return PIXEL_UNSHUFFLE.apply((input,), factor=downscale_factor)


def _channel_samples() -> Iterator[tuple]:
    yield (_data(2, 6, 2, 3), 2), {}
    yield (_data(1, 4, 3), 2), {}


@public("channel_shuffle", kind="library", method=False, op=CHANNEL_SHUFFLE, samples=_channel_samples)
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of (N, C, *) dealt out anew: the first of each group, then the second of each, and so on."""
    if input.dim() < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    if input.shape[1] % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {input.shape[1]} channels and {groups} groups."
        )
    return CHANNEL_SHUFFLE.apply((input,), groups=groups)
