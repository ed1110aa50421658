"""Convolution and its gradients on CUDA devices: by cuDNN, or by a product of cuBLAS for each place of the window."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import convolution_numpy
from ..array import Array
from . import cudnn, driver, memory


def forward(x: Array, w: Array, out: tuple, stride: tuple, padding: tuple, dilation: tuple, groups: int) -> Array:
    """The convolution of x (N, C, *size) with w (O, C / groups, *window), without bias, to `out`."""
    shape = (x.shape[0], w.shape[0], *out)
    asked = cudnn.describe("forward", x, w, shape, x.shape[2:], out, w.shape[2:], stride, padding, dilation)
    made = cudnn.convolve(asked, x, w)
    return made or _tap_by_tap(convolution_numpy.forward, x, w, out, stride, padding, dilation, groups)


def by_input(g: Array, w: Array, size: tuple, stride: tuple, padding: tuple, dilation: tuple, groups: int) -> Array:
    """The gradient by an input of spatial `size`: the transposed convolution."""
    shape = (g.shape[0], w.shape[1] * groups, *size)
    asked = cudnn.describe("input", g, w, shape, size, g.shape[2:], w.shape[2:], stride, padding, dilation)
    made = cudnn.convolve(asked, g, w)
    return made or _tap_by_tap(convolution_numpy.by_input, g, w, size, stride, padding, dilation, groups)


def by_weight(x: Array, g: Array, window: tuple, stride: tuple, padding: tuple, dilation: tuple, groups: int) -> Array:
    """The gradient by a weight of that `window`."""
    shape = (g.shape[1], x.shape[1] // groups, *window)
    asked = cudnn.describe("weight", x, g, shape, x.shape[2:], g.shape[2:], window, stride, padding, dilation)
    made = cudnn.convolve(asked, x, g)
    return made or _tap_by_tap(convolution_numpy.by_weight, x, g, window, stride, padding, dilation, groups)


def _tap_by_tap(function: Any, a: Array, b: Array, *options: Any) -> Array:
    """With the device's arrays; half types are summed in float32."""
    work = np.float32 if a.dtype.itemsize < 4 else a.dtype.np
    with driver.on(a.device.index or 0):
        made = function(*(x.native().astype(work, copy=False) for x in (a, b)), *options)
        return memory.wrap(driver.cupy().ascontiguousarray(made.astype(a.dtype.np, copy=False)), a.device)
