"""Discrete Fourier transforms. All of them are three operators (`ops.fourier`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import dtypes
from .devices import available
from .from_data import _finish, _from_numpy_copy
from .native import hot
from .native.holding import public as _are_public
from .ops import dispatch
from .ops.arguments import check_public
from .ops.fourier import C2C, C2R, R2C
from .ops.geometry import normal_dim
from .ops.instruction import SCALAR_TYPE_NAMES
from .ops.registry import write_out
from .runtime.array import numel
from .tensor import Tensor

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift",
    "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip


# --- arguments --------------------------------------------------------------------------------------------------


@hot
def _factor(norm: str | None, n: int, forward: bool) -> float:
    """What a transform of n points is multiplied by."""
    if norm == "ortho":
        return 1 / math.sqrt(n)
    if norm in (None, "backward"):
        return 1.0 if forward else 1 / n
    if norm == "forward":
        return 1 / n if forward else 1.0
    raise RuntimeError(f'Invalid normalization mode: "{norm}"')


@hot
def _ready(x: Tensor, over_complex: bool = False) -> Tensor:
    """In a dtype that is transformed: integers become the default dtype."""
    d = x.dtype
    if d.category == dtypes.FLOATING and d.itemsize < 4:
        raise RuntimeError(f"Unsupported dtype {SCALAR_TYPE_NAMES[d]}")
    if d.category < dtypes.FLOATING:
        d = dtypes.get_default_dtype()
    return dispatch.cast(x, d.to_complex() if over_complex else d)


@hot
def _resized(x: Tensor, dims: tuple, sizes: Any) -> Tensor:
    """Cut off, or padded by zeros, at the end of each dimension that has a size given."""
    shape = x._shape
    as_it_is = numel(shape) > 0
    for d, n in zip(dims, sizes):
        if n is not None and n != shape[d]:
            as_it_is = False
    return x if as_it_is else _cut_or_padded(x, dims, sizes)


def _cut_or_padded(x: Tensor, dims: tuple, sizes: Sequence[int | None]) -> Tensor:
    from .nn.functional import pad

    added = [0] * (2 * x.dim())
    for d, n in zip(dims, sizes):
        if n is None or n == -1:
            n = x.shape[d]
        if n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")
        if n < x.shape[d]:
            x = x.narrow(d, 0, n)
        added[2 * (x.dim() - 1 - d) + 1] = n - x.shape[d]
    return pad(x, added) if any(added) else x


@hot
def _one(x: Tensor, dim: int) -> tuple:
    if not x.dim():
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return (normal_dim(dim, x.dim()),)


def _several(x: Tensor, s: Any, dim: Any) -> tuple[tuple, list]:
    """(dimensions, size wanted along each or None)."""
    n = x.dim()
    if isinstance(s, int):
        s = (s,)
    if dim is not None:
        given = (dim,) if isinstance(dim, int) else tuple(dim)
        dims = tuple(normal_dim(d, n) for d in given)
        if len(set(dims)) != len(dims):
            raise RuntimeError("FFT dims must be unique")
        if s is not None and len(s) != len(dims):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
    elif s is not None:
        if len(s) > n:
            raise RuntimeError(f"Got shape with {len(s)} values but input tensor only has {n} dimensions.")
        dims = tuple(range(n - len(s), n))
    else:
        dims = tuple(range(n))
    return dims, list(s) if s is not None else [None] * len(dims)


@hot
def _points(x: Tensor, dims: tuple) -> int:
    return numel(tuple([x._shape[d] for d in dims]))


@hot
def _given(out: Tensor | None, made: Tensor) -> Tensor:
    return made if out is None else write_out(out, made)


# --- what all of them do ----------------------------------------------------------------------------------------


@hot
def _full(x: Tensor, dims: tuple, sizes: list, norm: str | None, forward: bool) -> Tensor:
    """Between complex numbers; real ones are taken as such."""
    x = _resized(_ready(x), dims, sizes)
    scale = _factor(norm, _points(x, dims), forward)
    if not dims:
        return dispatch.cast(x, x.dtype.to_complex())
    if x.is_complex():
        return C2C.apply((x,), dims=dims, forward=forward, scale=scale)
    label = "FftC2CBackward" if len(dims) > 1 else None
    return R2C.apply((x,), label, dims=dims, forward=forward, scale=scale, halved=False)


@hot
def _to_half(x: Tensor, dims: tuple, sizes: list, norm: str | None, forward: bool) -> Tensor:
    """From real numbers to half of their spectrum."""
    x = _resized(_ready(x), dims, sizes)
    return R2C.apply((x,), dims=dims, forward=forward, scale=_factor(norm, _points(x, dims), forward), halved=True)


@hot
def _from_half(x: Tensor, dims: tuple, sizes: list, norm: str | None, forward: bool) -> Tensor:
    """From half of a spectrum to the real numbers that have it."""
    x = _ready(x, over_complex=True)
    n = sizes[-1]
    if n is None or n == -1:
        n = 2 * (x.shape[dims[-1]] - 1)
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    x = _resized(x, dims, [*sizes[:-1], n // 2 + 1])
    scale = _factor(norm, _points(x, dims[:-1]) * n, forward)
    return C2R.apply((x,), dims=dims, forward=forward, scale=scale, n=n)


@hot
def _refuse_complex(x: Tensor, text: str) -> None:
    if x.is_complex():
        raise RuntimeError(text.format(SCALAR_TYPE_NAMES[x.dtype]))


def _need_axes(name: str, dims: tuple) -> None:
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")


# --- one dimension ----------------------------------------------------------------------------------------------


@hot
def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None) -> Tensor:
    """The discrete Fourier transform along a dimension.

    n: how many points, the input being cut off or padded by zeros. norm: "backward" (the default: the inverse is
    divided by n), "forward" (this one is) or "ortho" (both are, by the root of n).
    Raises RuntimeError for a half type, and for no points.

    >>> import livegrad
    >>> livegrad.fft.fft(livegrad.tensor([1.0, 0.0, -1.0, 0.0]))
    tensor([0.+0.j, 2.+0.j, 0.+0.j, 2.+0.j])
    """
    return _given(out, _full(input, _one(input, dim), [n], norm, True))


@hot
def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None) -> Tensor:
    """The inverse of `fft`."""
    return _given(out, _full(input, _one(input, dim), [n], norm, False))


@hot
def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None) -> Tensor:
    """`fft` of real numbers: the first n // 2 + 1 results, of which the others are the conjugates.

    >>> import livegrad
    >>> livegrad.fft.rfft(livegrad.tensor([1.0, 0.0, -1.0, 0.0]))
    tensor([0.+0.j, 2.+0.j, 0.+0.j])
    """
    _refuse_complex(input, "rfft expects a real input tensor, but got {}")
    return _given(out, _to_half(input, _one(input, dim), [n], norm, True))


@hot
def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None) -> Tensor:
    """The inverse of `rfft`: n real numbers, 2 * (size - 1) of them unless given."""
    return _given(out, _from_half(input, _one(input, dim), [n], norm, False))


@hot
def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None) -> Tensor:
    """`fft` of a signal whose second half is the conjugate of the first, which is given: n real numbers."""
    return _given(out, _from_half(input, _one(input, dim), [n], norm, True))


@hot
def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None) -> Tensor:
    """The inverse of `hfft`."""
    _refuse_complex(input, "ihfft expects a real input tensor, but got {}")
    return _given(out, _to_half(input, _one(input, dim), [n], norm, False))


# --- several dimensions -----------------------------------------------------------------------------------------


@hot
def fftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None) -> Tensor:
    """`fft` along several dimensions: all of them, the last len(s), or those named; s: the size along each."""
    return _given(out, _full(input, *_several(input, s, dim), norm, True))


def ifftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None) -> Tensor:
    """The inverse of `fftn`."""
    return _given(out, _full(input, *_several(input, s, dim), norm, False))


def rfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None) -> Tensor:
    """`fftn` of real numbers; the last of the dimensions is halved, as in `rfft`."""
    _refuse_complex(input, "rfftn expects a real-valued input tensor, but got {}")
    dims, sizes = _several(input, s, dim)
    _need_axes("rfftn", dims)
    return _given(out, _to_half(input, dims, sizes, norm, True))


def irfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None) -> Tensor:
    """The inverse of `rfftn`."""
    dims, sizes = _several(input, s, dim)
    _need_axes("irfftn", dims)
    return _given(out, _from_half(input, dims, sizes, norm, False))


def hfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None) -> Tensor:
    """`fftn` of a signal that is half of one with the symmetry that makes the transform real (see `hfft`)."""
    dims, sizes = _several(input, s, dim)
    _need_axes("hfftn", dims)
    return _given(out, _from_half(input, dims, sizes, norm, True))


def ihfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None) -> Tensor:
    """The inverse of `hfftn`."""
    _refuse_complex(input, "Only supports floating-point dtypes, but found: {}")
    dims, sizes = _several(input, s, dim)
    _need_axes("ihfftn", dims)
    return _given(out, _to_half(input, dims, sizes, norm, False))


def _of_two(function: Any, name: str) -> Any:
    def transform(
        input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None, *, out: Any = None
    ) -> Any:
        return function(input, s, dim, norm, out=out)

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"`{function.__name__}` along two dimensions, the last ones unless named."
    return transform


fft2, ifft2, rfft2, irfft2, hfft2, ihfft2 = (
    _of_two(f, f.__name__[:-1] + "2") for f in (fftn, ifftn, rfftn, irfftn, hfftn, ihfftn)
)


# --- frequencies ------------------------------------------------------------------------------------------------


def _frequencies(name: str, places: np.ndarray, n: int, d: float, options: dict) -> Tensor:
    dtype = options.get("dtype") or dtypes.get_default_dtype()
    if dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"{name} requires a floating point or complex dtype")
    work: Any = np.float64 if dtype in (dtypes.float64, dtypes.complex128) else np.float32
    values = places.astype(work) * work(1.0 / (n * d))
    where = available(options.get("device"))
    made = _finish(_from_numpy_copy(values, dtype), bool(options.get("requires_grad")), where)
    return _given(options.get("out"), made)


def fftfreq(n: int, d: float = 1.0, **options: Any) -> Tensor:
    """The frequency of each result of an `fft` of n points that are d apart: 0, 1, ..., -2, -1 over n * d.

    >>> import livegrad
    >>> livegrad.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    places = np.arange(n)
    places[(n + 1) // 2 :] -= n
    return _frequencies("fftfreq", places, n, d, options)


def rfftfreq(n: int, d: float = 1.0, **options: Any) -> Tensor:
    """The frequency of each result of an `rfft` of n points that are d apart."""
    return _frequencies("rfftfreq", np.arange(n // 2 + 1), n, d, options)


def _shift(x: Tensor, dim: Any, sign: int) -> Tensor:
    dims = range(x.dim()) if dim is None else (dim,) if isinstance(dim, int) else dim
    dims = tuple(normal_dim(d, x.dim()) for d in dims)
    if not dims:
        return x.clone()
    return x.roll(tuple(sign * (x.shape[d] // 2) for d in dims), dims)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Reordered so that the frequency 0 is in the middle.

    >>> import livegrad
    >>> livegrad.fft.fftshift(livegrad.fft.fftfreq(4))
    tensor([-0.5000, -0.2500,  0.0000,  0.2500])
    """
    return _shift(input, dim, 1)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shift(input, dim, -1)


check_public(globals(), "fft_")

_are_public(globals())
