"""The operators of Fourier transforms: complex to complex, real to complex and complex to real, over any dimensions.

The gradient of each is the adjoint transform, one of the three again, so they can be differentiated as often as wanted.
Single precision stays single precision. On the CPU rows of lengths with small factors are transformed by a kernel of
our own, one dimension after the other; the rest is the array library's.

forward: the exponent is negative. scale: what every result is multiplied by; the sums themselves are not scaled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.node import cast_value
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value, from_array
from ..native import hot
from ..runtime import array as arrays
from ..runtime import fourier
from ..runtime.array import Array, numel
from ..runtime.fourier import COMPLEX, HALF, REAL, REAL_ALONE
from ..tensor import wrap
from . import dispatch
from .batch_rules import along
from .operator import on_either
from .registry import operator

_KINDS = {dtypes.float32: "f32", dtypes.float64: "f64", dtypes.complex64: "f32", dtypes.complex128: "f64"}


# --- by rows ----------------------------------------------------------------------------------------------------


@hot
def _by_rows(x: Value, sizes: tuple, dims: tuple) -> bool:
    """Whether the kernel takes all these dimensions, of so many points each."""
    if x.device is not cpu or not dims or not numel(x.shape):
        return False
    kind = _KINDS[x.dtype]
    for d, n in zip(dims, sizes):  # noqa: SIM110  (hot functions have no generators)
        if not fourier.possible(kind, numel(x.shape) // x.shape[d], n):
            return False
    return True


@hot
def _rows(a: Array, dim: int, n: int, reads: int, writes: int, forward: bool, scale: float) -> Array:
    """The transform along one dimension, of n points."""
    kind = _KINDS[a.dtype]
    rank = len(a.shape)
    last = rank - 1
    if dim != last:
        order = tuple([d for d in range(rank) if d != dim]) + (dim,)
        a = a.view(a.offset, tuple([a.shape[d] for d in order]), tuple([a.strides[d] for d in order]))
    if not a.contiguous:
        a = arrays.copied(a)
    lead = a.shape[:-1]
    points = n // 2 + 1 if writes == HALF else n
    single = a.dtype.itemsize == 4 or a.dtype is dtypes.complex64
    if writes == REAL:
        dtype = dtypes.float32 if single else dtypes.float64
    else:
        dtype = dtypes.complex64 if single else dtypes.complex128
    out = arrays.empty((*lead, points), dtype)
    x_row = a.shape[last] if reads in (REAL, REAL_ALONE) else 2 * a.shape[last]
    out_row = points if writes == REAL else 2 * points
    fourier.transform(kind, a.ptr, out.ptr, numel(lead), n, x_row, out_row, reads, writes, not forward, scale)
    if dim == last:
        return out
    order = tuple([d if d < dim else last if d == dim else d - 1 for d in range(rank)])
    return out.view(0, tuple([out.shape[d] for d in order]), tuple([out.strides[d] for d in order]))


@hot
def _one_by_one(a: Array, dims: tuple, forward: bool, scale: float) -> Array:
    """Complex numbers, along one dimension after the other; the factor goes with the last one."""
    for k, d in enumerate(dims):
        a = _rows(a, d, a.shape[d], COMPLEX, COMPLEX, forward, scale if k == len(dims) - 1 else 1.0)
    return a


# --- forward ----------------------------------------------------------------------------------------------------


@hot
def _scaled(a: Any, scale: float) -> Value:
    if scale != 1:
        a *= scale
    return backend.fresh(a)


@hot
def _complex(library: Any, a: Any, dims: tuple, forward: bool) -> Any:
    """Over one dimension by the function for one, which has less to find out."""
    if len(dims) == 1:
        return library.fft(a, None, dims[0]) if forward else library.ifft(a, None, dims[0], "forward")
    return library.fftn(a, None, dims) if forward else library.ifftn(a, None, dims, "forward")


@hot
def _sizes(x: Value, dims: tuple) -> tuple:
    return tuple([x.shape[d] for d in dims])


@hot
def _c2c(x: Value, dims: tuple, forward: bool, scale: float) -> Value:
    if _by_rows(x, _sizes(x, dims), dims):
        return from_array(_one_by_one(x.ready(), dims, forward, float(scale)))
    return _scaled(_complex(backend.of(x).fft, x.native(), dims, forward), scale)


@hot
def _r2c(x: Value, dims: tuple, forward: bool, scale: float, halved: bool) -> Value:
    """halved: of the last of the dimensions only the half that is not the conjugate of the other."""
    if _by_rows(x, _sizes(x, dims), dims):
        return _r2c_by_rows(x, dims, forward, float(scale), halved)
    library = backend.of(x).fft
    a = x.native()
    if not halved:
        return _scaled(_complex(library, a, dims, forward), scale)
    made = library.rfft(a, None, dims[0]) if len(dims) == 1 else library.rfftn(a, None, dims)
    return _scaled(made if forward else made.conj(), scale)


@hot
def _r2c_by_rows(x: Value, dims: tuple, forward: bool, scale: float, halved: bool) -> Value:
    last, others = dims[-1], dims[:-1]
    first_scale = 1.0 if others else scale
    if not halved:
        made = _rows(x.ready(), last, x.shape[last], REAL_ALONE, COMPLEX, forward, first_scale)
        return from_array(_one_by_one(made, others, forward, scale))
    made = _one_by_one(_rows(x.ready(), last, x.shape[last], REAL, HALF, True, first_scale), others, True, scale)
    if not forward:
        a = made.native()
        np.conjugate(a, a)
    return from_array(made)


@hot
def _c2r(x: Value, dims: tuple, forward: bool, scale: float, n: int) -> Value:
    """n: the size of the last of the dimensions, which is halved in x."""
    last, others = dims[-1], dims[:-1]
    if x.shape[last] == n // 2 + 1 and _by_rows(x, (*_sizes(x, others), n), dims):
        a = backend.copied(x.native().conj()).ready() if forward else x.ready()
        made = _one_by_one(a, others, False, 1.0)
        return from_array(_rows(made, last, n, HALF, REAL, False, float(scale)))
    library = backend.of(x).fft
    a = x.native()
    if forward:
        a = a.conj()
    if len(dims) == 1:
        return _scaled(library.irfft(a, n, dims[0], "forward"), scale)
    sizes = [x.shape[d] for d in dims[:-1]] + [n]
    return _scaled(library.irfftn(a, s=sizes, axes=dims, norm="forward"), scale)


# --- gradients --------------------------------------------------------------------------------------------------


def _times(g: Any, n: int, dim: int, factor: float) -> Any:
    """g with a factor for what stands for its conjugate too, in a halved dimension that is of size n in full."""
    weights = np.full(g.shape[dim], factor, dtypes.REAL_OF[g.dtype].np)
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    shape = [1] * len(g.shape)
    shape[dim] = -1
    v = backend.fresh(backend.of(g if g.__class__ is Value else g._value()).asarray(weights.reshape(shape)))
    return g * (v if g.__class__ is Value else wrap(v))


def _r2c_gradient(g: Any, x_shape: tuple, dims: tuple, forward: bool, scale: float, halved: bool) -> Any:
    if not halved:
        return _real_part(on_either(C2C, g, dims=dims, forward=not forward, scale=scale))
    n = x_shape[dims[-1]]
    return on_either(C2R, _times(g, n, dims[-1], 0.5), dims=dims, forward=not forward, scale=scale, n=n)


def _real_part(g: Any) -> Any:
    d = dtypes.REAL_OF[g.dtype]
    return cast_value(g, d) if g.__class__ is Value else dispatch.cast(g, d)


def _c2r_gradient(g: Any, dims: tuple, forward: bool, scale: float, n: int) -> Any:
    made = on_either(R2C, g, dims=dims, forward=not forward, scale=scale, halved=True)
    return _times(made, n, dims[-1], 2.0)


# --- the operators ----------------------------------------------------------------------------------------------

C2C: Any = operator(
    "fft_c2c",
    _c2c,
    tensors=("x",),
    grads={"x": lambda g, dims, forward, scale: on_either(C2C, g, dims=dims, forward=not forward, scale=scale)},
    node="FftC2C",
    anywhere=True,
    batch=along("dims"),
)
R2C = operator(
    "fft_r2c",
    _r2c,
    tensors=("x",),
    grads={"x": _r2c_gradient},
    node="FftR2C",
    anywhere=True,
    batch=along("dims"),
)
C2R = operator(
    "fft_c2r",
    _c2r,
    tensors=("x",),
    grads={"x": _c2r_gradient},
    node="FftC2R",
    anywhere=True,
    batch=along("dims"),
)
