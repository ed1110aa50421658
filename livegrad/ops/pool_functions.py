"""The public functions of pooling: arguments checked, sizes worked out, samples without a batch."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import MODE
from ..devices import cpu
from ..native import hot
from ..runtime.pooling import Window
from ..tensor import Tensor
from . import dispatch
from .arguments import settled
from .casting import autocasts
from .instruction import SCALAR_TYPE_NAMES
from .pool import AVG_POOL, MAX_POOL, PICK, SCATTER, as_tensor, largest_places
from .registry import public
from .resample import RESAMPLE_POOL, averages, bounds

_WORDS = {1: "one", 2: "two", 3: "three"}


def _numbers(function: str, name: str, value: Any, n: int, kinds: str = "int") -> tuple:
    given = (value,) if isinstance(value, int) else tuple(int(v) for v in value)
    if len(given) == 1:
        return given * n
    if len(given) != n:
        many = "a single int, or a tuple of" if n > 1 else "a single int or a tuple of"
        raise RuntimeError(f"{function}: {name} must either be {many} {_WORDS[n]} {kinds}s")
    return given


def _three(values: tuple, missing: int) -> tuple:
    return (missing,) * (3 - len(values)) + tuple(values)


def _out(size: int, window: int, pad: int, step: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows there are; with ceil_mode one that begins inside but ends outside counts."""
    found = (size + 2 * pad - dilation * (window - 1) - 1 + (step - 1 if ceil_mode else 0)) // step + 1
    return found - 1 if ceil_mode and (found - 1) * step >= size + pad else found


@hot
def _window(
    function: str, x: Tensor, n: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    include_pad: bool = True, divisor: int = 0,
) -> Window:  # fmt: skip
    """The window, with all checks."""
    shape = x._shape
    if settled(kernel_size) and settled(stride) and settled(padding) and settled(dilation):
        return _kept_window(
            function, shape, n, kernel_size, stride, padding, dilation, ceil_mode, include_pad, divisor
        )  # fmt: skip
    return _checked_window(
        function, shape, n, kernel_size, stride, padding, dilation, ceil_mode, include_pad, divisor
    )  # fmt: skip


def _checked_window(
    function: str, shape: tuple, n: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    include_pad: bool, divisor: int,
) -> Window:  # fmt: skip
    window = _numbers(function, "kernel_size", kernel_size, n)
    unset = stride is None or (not isinstance(stride, int) and len(tuple(stride)) == 0)
    step = window if unset else _numbers(function, "stride", stride, n)
    pad = _numbers(function, "padding", padding, n)
    dilation = _numbers(function, "dilation", dilation, n)
    if any(s == 0 for s in step):
        raise RuntimeError("stride should not be zero")
    if any(s < 0 for s in step) or any(k <= 0 for k in window):
        raise RuntimeError(f"{function}: kernel size and stride should be greater than zero: {window}, {step}")
    if any(d <= 0 for d in dilation):
        told = " ".join(f"dilation{axis}: {d}" for axis, d in zip("THW"[3 - n :], dilation))
        raise RuntimeError(f"dilation should be greater than zero, but got {told}")
    for k, p, d in zip(window, pad, dilation):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                f"dilation={d}"
            )
    size = shape[len(shape) - n :]
    out = tuple(_out(*each, ceil_mode) for each in zip(size, window, pad, step, dilation))
    if any(m < 1 for m in out):
        channels = shape[len(shape) - n - 1]
        shown, got = (
            f"({'x'.join(map(str, (channels, *(1,) * (n == 1), *v)))})" for v in (size, tuple(map(_zero, out)))
        )
        raise RuntimeError(f"Given input size: {shown}. Calculated output size: {got}. Output size is too small")
    return Window(
        _three(size, 1), _three(out, 1), _three(window, 1), _three(step, 1), _three(pad, 0), _three(dilation, 1),
        include_pad, divisor,
    )  # fmt: skip


# By type as well, as 2.0 is not a size but equal to one.
_kept_window = functools.lru_cache(4096, typed=True)(_checked_window)


def _zero(n: int) -> int:
    return max(n, 0)


@hot
def _need_window(function: str, x: Tensor, n: int) -> None:
    if x.dim() not in (n + 1, n + 2) or 0 in x.shape[x.dim() - n - 1 :]:
        if n == 1 or x.dim() in (n + 1, n + 2):
            raise RuntimeError(
                f"{function + ': ' if n == 1 else ''}Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 "
                f"dim batch size for input, but got:{list(x.shape)}"
            )
        raise RuntimeError(f"non-empty {n + 1}D or {n + 2}D (batch mode) tensor expected for input")


@hot
def _need_kernel(kernel: str, x: Tensor, *missing: Any) -> None:
    if x.dtype in missing:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{SCALAR_TYPE_NAMES[x.dtype]}'")


def _too_few(x: Tensor, n: int) -> IndexError:
    d = x.dim()
    if not d:
        return IndexError(f"Dimension specified as {-n} but tensor has no dimensions")
    return IndexError(f"Dimension out of range (expected to be in range of [{-d}, {d - 1}], but got {-n})")


@hot
def _label(name: str, n: int, suffix: str = "") -> str:
    return f"{name}{max(n, 2)}D{suffix}Backward"


@hot
def max_pool(
    n: int, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window, over the last `n` dimensions, and where it is, if asked for."""
    function = f"max_pool{n}d"
    _need_window(function, x, n)
    _need_kernel("max_pool1d_impl" if n == 1 else function, x, dtypes.bool_)
    window = _window(function, x, n, kernel_size, stride, padding, dilation, ceil_mode)
    indexed = return_indices or (MODE.grad and x.requires_grad)
    made = MAX_POOL.apply((x,), _label("MaxPool", n, "WithIndices"), window=window, n=n, indexed=indexed)
    if not indexed:
        return made
    return (made[0], as_tensor(made[1]._value())) if return_indices else made[0]


def avg_pool(
    n: int, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window, over the last `n` dimensions."""
    function = f"avg_pool{n}d"
    if x.dim() not in (n + 1, n + 2):
        if n == 1:
            raise RuntimeError(
                f"Expected 2 to 3 dimensions, but got {x.dim()}-dimensional tensor for argument #1 'self' (while "
                f"checking arguments for {function})"
            )
        if n == 2 and x.dim() <= n:
            raise _too_few(x, n + 1)
        if n == 2:
            raise RuntimeError(
                "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but got:"
                f"{list(x.shape)}"
            )
        raise RuntimeError(f"non-empty {n + 1}D or {n + 2}D (batch mode) tensor expected for input")
    _need_kernel("avg_pool3d_out_frame" if n == 3 else "avg_pool2d", x, dtypes.bool_, dtypes.uint8)
    if divisor_override is not None and divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    window = _window(
        function, x, n, kernel_size, stride, padding, 1, ceil_mode, count_include_pad, divisor_override or 0
    )  # fmt: skip
    return AVG_POOL.apply((x,), _label("AvgPool", n), window=window, n=n)


def _adaptive_size(function: str, x: Tensor, n: int, output_size: Any, kind: str) -> tuple:
    if x.dim() not in (n + 1, n + 2):
        if n == 1:
            raise RuntimeError(
                f"Expected 2 to 3 dimensions, but got {x.dim()}-dimensional tensor for argument #1 'self' (while "
                f"checking arguments for {function})"
            )
        colon = ":" if kind == "max" else ","
        told = f"but got: {list(x.shape)}" if kind == "max" else f"but got {list(x.shape)}"
        raise RuntimeError(f"{function}(): Expected {n + 1}D or {n + 2}D tensor{',' if colon else ''} {told}")
    if output_size is None:
        wanted = f"{function}(): argument 'output_size' (position 2) must be tuple of ints, not NoneType"
        raise TypeError(wanted if n == 1 else "object of type 'NoneType' has no len()")
    given = (output_size,) * n if isinstance(output_size, int) else tuple(output_size)
    if len(given) != n:
        raise RuntimeError(f"{function}: output_size must be {n}")
    size = x.shape[x.dim() - n :]
    out = tuple(m if wanted is None else int(wanted) for wanted, m in zip(given, size))
    if any(m < 0 for m in out):
        raise RuntimeError(
            f"{function}: elements of output_size must be greater than or equal to 0 but received "
            f"{{{', '.join(map(str, out))}}}"
        )
    for axis in range(1 if kind == "max" or n == 3 else x.dim() - n, x.dim()):
        if x.shape[axis] == 0:
            raise RuntimeError(
                f"{function}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes "
                f"{list(x.shape)} with dimension {axis} being empty"
            )
    return out


def _even(x: Tensor, n: int, out: tuple) -> Window | None:
    """Adaptive windows as ordinary ones, where sizes divide."""
    size = x.shape[x.dim() - n :]
    if any(m == 0 or s % m for s, m in zip(size, out)):
        return None
    each = _three(tuple(s // m for s, m in zip(size, out)), 1)
    return Window(_three(size, 1), _three(out, 1), each, each, (0, 0, 0))


def adaptive_avg_pool(n: int, x: Tensor, output_size: Any) -> Tensor:
    """The mean over windows that share out the last `n` dimensions into `output_size` results."""
    if output_size in (1, (1,) * n, [1] * n):
        # The mean of everything, which PyTorch takes of any tensor that has these dimensions.
        if x.dim() < n:
            raise _too_few(x, max(n, 2) if x.dim() > 1 else 2)
        if n > 1 or x.dim() in (2, 3):
            return x.mean(tuple(range(-n, 0)), keepdim=True)
    out = _adaptive_size(f"adaptive_avg_pool{n}d", x, n, output_size, "avg")
    window, label = _even(x, n, out), _label("AdaptiveAvgPool", n)
    if window is not None:
        return AVG_POOL.apply((x,), label, window=window, n=n)
    tables = tuple(averages(s, m) for s, m in zip(x.shape[x.dim() - n :], out))
    return RESAMPLE_POOL.apply((x,), label, tables=tables)


def adaptive_max_pool(n: int, x: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of windows that share out the last `n` dimensions into `output_size` results."""
    out = _adaptive_size(f"adaptive_max_pool{n}d", x, n, output_size, "max")
    if not x.is_floating_point():
        _need_kernel("adaptive_max_pool3d_cpu" if n == 3 else "adaptive_max_pool2d", x, x.dtype)
    window, label = _even(x, n, out), _label("AdaptiveMaxPool", n)
    if window is not None:
        made, index = MAX_POOL.apply((x,), label, window=window, n=n, indexed=True)
        index = index._value()
    else:
        index = largest_places(x._value(), [bounds(s, m) for s, m in zip(x.shape[x.dim() - n :], out)], n)
        made = PICK.apply((x,), label, index=index, n=n)
    return (made, as_tensor(index)) if return_indices else made


def max_unpool(
    n: int, x: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Elements put back where `max_pool` with `return_indices` found them; zeros elsewhere."""
    function = f"max_unpool{n}d"
    window = _numbers(function, "kernel_size", kernel_size, n)
    step = window if stride is None else _numbers(function, "stride", stride, n)
    pad = _numbers(function, "padding", padding, n)
    size = x.shape[x.dim() - n :]
    usual = tuple((m - 1) * s + k - 2 * p for m, s, k, p in zip(size, step, window, pad))
    out = usual
    if output_size is not None:
        out = tuple(output_size)
        if len(out) == n + 2:
            out = out[2:]
        if len(out) != n:
            raise ValueError(
                f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of "
                f"'{len(out)}'"
            )
        for d, (wanted, m, s) in enumerate(zip(out, usual, step)):
            if not m - s < wanted < m + s:
                raise ValueError(f'invalid output_size "{out}" (dim {d} must be between {m - s} and {m + s})')
    if indices.dtype is not dtypes.int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {SCALAR_TYPE_NAMES[indices.dtype]}")
    if tuple(indices.shape) != tuple(x.shape):
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(x.shape)}) but got indices "
            f"tensor with shape: {list(indices.shape)}"
        )
    if indices.device is not x.device:
        dispatch.check_devices((x, indices))
    if x.device is not cpu:  # the kernels look whether the indices are good
        index = indices.detach()._value()
        return SCATTER.apply((x,), _label("MaxUnpool", n), index=index, size=out, n=n, adds=False)
    places = indices._to_numpy()
    wrong = (places < 0) | (places >= math.prod(out))
    if wrong.any():
        volumes = "x".join(map(str, out if n > 1 else (1, *out)))
        raise RuntimeError(f"Found an invalid max index: {places[wrong][0]} (output volumes are of size {volumes})")
    from ..lazy import backend

    index = backend.copied(places.astype(np.int32))
    return SCATTER.apply((x,), _label("MaxUnpool", n), index=index, size=out, n=n, adds=False)


# --- the functions of the package -------------------------------------------------------------------------------


def _data(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def _max_samples(n: int) -> Callable[[], Iterator[tuple]]:
    def samples() -> Iterator[tuple]:
        yield (_data(1, 2, *(4,) * n), 2), {}
        yield (_data(2, *(5,) * n), 3, 2, 1), {"ceil_mode": True}
        yield (_data(0, 2, *(4,) * n), 2), {}
        yield (_data(1, 1, *(7,) * n), 2, 3), {"dilation": 2}

    return samples


def _max_function(n: int) -> Callable:
    name = f"max_pool{n}d"

    def function(
        input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Tensor:  # fmt: skip
        return max_pool(n, input, kernel_size, stride, padding, dilation, ceil_mode)

    function.__name__ = name
    function.__doc__ = f"The largest element of each window of (N, C, *) or (C, *), of {n} spatial dimensions."
    return public(name, kind="library", method=False, op=MAX_POOL, samples=_max_samples(n))(autocasts(function))


max_pool1d, max_pool2d, max_pool3d = (_max_function(n) for n in (1, 2, 3))


def _one_samples() -> Iterator[tuple]:
    yield (_data(2, 2, 6), 2), {}
    yield (_data(2, 7), 3), {}


@public("avg_pool1d", kind="library", method=False, op=AVG_POOL, samples=_one_samples)
def avg_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The mean of each window of (N, C, L) or (C, L)."""
    return avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


@public("adaptive_avg_pool1d", kind="library", method=False, op=AVG_POOL, samples=_one_samples)
def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The mean over windows that share out (N, C, L) or (C, L) into `output_size` results."""
    return adaptive_avg_pool(1, input, output_size)


@public("adaptive_max_pool1d", kind="library", method=False, op=MAX_POOL, samples=_one_samples)
def adaptive_max_pool1d(input: Tensor, output_size: Any) -> Any:
    """(largest, position) over windows that share out (N, C, L) or (C, L) into `output_size` results."""
    return adaptive_max_pool(1, input, output_size, True)
