"""Decompositions of matrices, with their gradients: Cholesky, QR, eigenvalues and singular values.

A gradient exists where the decomposition is a smooth function: eigenvalues or singular values that its vectors need
are distinct, matrices have full rank. Elsewhere it is infinite or not a number, as in PyTorch.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import dtypes
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value, from_array
from ..native import hot
from ..runtime import array as arrays
from ..runtime import lapack, lapack_routines, numpy_threads
from ..tensor import wrap
from . import dispatch
from .batch_rules import broadcasting, trailing
from .instruction import SCALAR_TYPE_NAMES
from .matmul import _either
from .operator import on_either
from .parts import VIEW_AS_REAL
from .registry import operator
from .view_operators import SELECT


class LinAlgError(RuntimeError):
    """There is no such decomposition or solution of this matrix."""


def library(name: str, *values: Value, **options: Any) -> Any:
    """Call the backend's linear algebra. Raises RuntimeError with what it found, such as a singular matrix."""
    for v in values:
        if v.dtype.category not in (dtypes.FLOATING, dtypes.COMPLEX):
            raise RuntimeError(f"linalg.{name}: Expected a floating point or complex tensor as input. Got {v.dtype}")
        if v.dtype.itemsize < 4:
            raise NotImplementedError(f"\"linalg.{name}\" not implemented for '{SCALAR_TYPE_NAMES[v.dtype]}'")
    if values[0].ndim < 2:
        raise RuntimeError(f"linalg.{name}: The input tensor A must have at least 2 dimensions.")
    arrays = [v.native() for v in values]
    try:
        if values[0].device is not cpu:
            from ..runtime.cuda import solver

            return solver.call(name, values[0].device, arrays, options)
        found = lapack_routines.decomposition(name, arrays[0], options)
        return numpy_threads.call(getattr(np.linalg, name), arrays, options) if found is None else found
    except np.linalg.LinAlgError as error:
        shapes = ", ".join(str(list(v.shape)) for v in values)
        raise LinAlgError(f"linalg.{name}: {error} (for input of shape {shapes})") from None


@hot
def _of_one_batch(a: Value, b: Value) -> tuple | None:
    """The arrays of matrices a and b with the same leading dimensions; None where `lapack` is not for them."""
    if a.device is not cpu or a.dtype is not b.dtype or len(a.shape) < 2 or len(b.shape) < 2:
        return None
    x, y = a.ready(), b.ready()
    if not lapack.usable(x):
        return None
    lead = a.shape[:-2]
    if lead != b.shape[:-2]:
        lead = dispatch.broadcast_shapes(lead, b.shape[:-2])
        x = _spread(x, lead)
        y = _spread(y, lead)
    return x, y


def _spread(x: Any, lead: tuple) -> Any:
    shape = (*lead, *x.shape[-2:])
    return x.view(x.offset, shape, (0,) * (len(shape) - len(x.shape)) + x.strides)


@hot
def solve_value(a: Value, b: Value) -> Value:
    both = _of_one_batch(a, b)
    made = None if both is None else lapack.solution(both[0], both[1])
    return backend.fresh(library("solve", a, b)) if made is None else from_array(made)


@hot
def _cholesky(x: Value) -> Value:
    made = None
    if x.device is cpu and len(x.shape) > 1 and lapack.usable(x.ready()):
        made = lapack.cholesky(x.ready())
    return backend.copied(library("cholesky", x)) if made is None else from_array(made)


@hot
def inverse_value(x: Value) -> Value:
    """The inverses of matrices."""
    made = None
    if x.device is cpu and len(x.shape) > 1 and lapack.usable(x.ready()):
        made = lapack.inverse(x.ready())
    return backend.fresh(library("inv", x)) if made is None else from_array(made)


@hot
def _parts(name: str, x: Value, **options: Any) -> tuple:
    return tuple(backend.copied(part) for part in library(name, x, **options))


def transposed_solution(a: Any, g: Any) -> Any:
    """x of a^H x = g, on tensors or bare values."""
    return solve_value(a.mH, g) if g.__class__ is Value else SOLVE.apply((a.mH, g))


def _solution(a: Any, g: Any) -> Any:
    return solve_value(a, g) if g.__class__ is Value else SOLVE.apply((a, g))


SOLVE = operator(
    "linalg_solve",
    solve_value,
    tensors=("a", "b"),
    grads={
        "a": lambda g, a, result: -_either(transposed_solution(a, g), result.mH),
        "b": lambda g, a, b_shape: transposed_solution(a, g).sum_to_size(b_shape),
    },
    node="LinalgSolveEx",
    anywhere=True,
    batch=broadcasting,
)


def _pattern(like: Any, diagonal: float, below: float, above: float, dtype: Any = None) -> Any:
    """A square matrix with a number on, below and above its diagonal: a value or a tensor as `like` is, of its size.

    It is to be read only.
    """
    n = like.shape[-1]
    make = _kept_pattern if n <= _KEPT else _made_pattern
    v = make(n, diagonal, below, above, dtype or like.dtype, like.device)
    return v if like.__class__ is Value else wrap(v)


_KEPT = 128  # rows of the largest pattern that is kept for the next who asks


def _made_pattern(n: int, diagonal: float, below: float, above: float, dtype: Any, where: Any) -> Value:
    def made(xp: Any) -> Any:
        ones = xp.ones((n, n), dtype.np)
        return xp.eye(n, dtype=dtype.np) * diagonal + xp.tril(ones, -1) * below + xp.triu(ones, 1) * above

    if where.type != "cuda":
        return from_array(arrays.moved(backend.copied(made(np).astype(dtype.np)).ready(), where))
    with backend.on(where):  # it is made there: nothing is copied
        return backend.copied(made(backend.of(backend.count(1, 1, where))))


_kept_pattern = functools.lru_cache(128)(_made_pattern)


def _on_diagonal(x: Any, dtype: Any) -> Any:
    """Vectors as the diagonals of matrices of a dtype: real ones may be put into complex matrices."""
    return x.unsqueeze(-1) * _pattern(x, 1, 0, 0, dtype)


def _cholesky_gradient(g: Any, result: Any) -> Any:
    inner = _either(result.mH, g) * _pattern(g, 0.5, 1, 0)
    left = _triangular(result.mH, inner, True, False)
    both = _triangular(result.mH, left.mH, True, False)
    return (both + both.mH) * 0.5


CHOLESKY = operator(
    "linalg_cholesky",
    _cholesky,
    tensors=("x",),
    grads={"x": _cholesky_gradient},
    node="LinalgCholeskyEx",
    anywhere=True,
    batch=trailing,
)


def _differences(x: Any) -> Any:
    """x_j - x_i for row i and column j, with ones on the diagonal."""
    return x.unsqueeze(-2) - x.unsqueeze(-1) + _pattern(x, 1, 0, 0)


def _off_diagonal(x: Any) -> Any:
    return x * _pattern(x, 0, 1, 1)


def _sum_of(*terms: Any) -> Any:
    given = [t for t in terms if t is not None]
    total = given[0]
    for t in given[1:]:
        total = total + t
    return total


def _eigh_gradient(g: Any, result: Any, result_1: Any) -> Any:
    by_values, by_vectors = g
    inner = None if by_values is None else _on_diagonal(by_values, result_1.dtype)
    if by_vectors is not None:
        turned = _off_diagonal(_either(result_1.mH, by_vectors)) / _differences(result)
        inner = turned if inner is None else inner + turned
    return _either(_either(result_1, inner), result_1.mH)


EIGH = operator(
    "linalg_eigh",
    lambda x, UPLO: _parts("eigh", x, UPLO=UPLO),
    tensors=("x",),
    grads={"x": _eigh_gradient},
    anywhere=True,
    batch=trailing,
)


def _eig(x: Value) -> tuple:
    wide = x.dtype.to_complex().np
    return tuple(backend.copied(part.astype(wide, copy=False)) for part in library("eig", x))


def _eig_gradient(g: Any, result: Any, result_1: Any, x_dtype: Any) -> Any:
    """From A V = V Λ, by Giles, "Collected matrix derivative results" (2008), for vectors of length 1."""
    by_values, by_vectors = g
    inner = None if by_values is None else _on_diagonal(by_values, result_1.dtype)
    if by_vectors is not None:
        turned = _either(result_1.mH, by_vectors)
        own = (turned * _pattern(turned, 1, 0, 0)).sum(-2)
        along = (own + own.conj()) * 0.5  # what would change their lengths
        turned = turned - _either(result_1.mH, result_1) * along.unsqueeze(-2)
        turned = _off_diagonal(turned) / _differences(result).conj()
        inner = turned if inner is None else inner + turned
    made = transposed_solution(result_1, _either(inner, result_1.mH))
    return made if x_dtype.is_complex else on_either(SELECT, on_either(VIEW_AS_REAL, made), dim=made.ndim, index=0)


EIG = operator(
    "linalg_eig",
    _eig,
    tensors=("x",),
    grads={"x": _eig_gradient},
    anywhere=True,
    batch=trailing,
)


def _undifferentiable(text: str) -> Any:
    """The gradient of a form of a decomposition that has none: it says why."""

    def gradient(g: Any) -> Any:
        raise RuntimeError(text)

    return gradient


def _skew(x: Any) -> Any:
    return x - x.mH


def _svd_gradient(g: Any, result: Any, result_1: Any, result_2: Any) -> Any:
    by_u, by_s, by_vh = g
    u, s, vh = result, result_1, result_2
    m, n, k = u.shape[-2], vh.shape[-1], s.shape[-1]
    gaps = _differences(s * s) if by_u is not None or by_vh is not None else None
    inner, outer = [], []
    if by_s is not None:
        inner.append(_on_diagonal(by_s, u.dtype))
    if by_u is not None:
        turned = _skew(_either(u.mH, by_u))
        inner.append(_off_diagonal(turned) / gaps * s.unsqueeze(-2))
        if u.dtype.is_complex:  # the common phase of a column of u and one of v, which is on an imaginary diagonal
            inner.append(turned * _pattern(turned, 0.5, 0, 0) / s.unsqueeze(-2))
        if m > k:
            away = (by_u - _either(u, _either(u.mH, by_u))) / s.unsqueeze(-2)
            outer.append(_either(away, vh))
    if by_vh is not None:
        inner.append(s.unsqueeze(-1) * (_off_diagonal(_skew(_either(vh, by_vh.mH))) / gaps))
        if n > k:
            away = (by_vh - _either(_either(by_vh, vh.mH), vh)) / s.unsqueeze(-1)
            outer.append(_either(u, away))
    if inner:
        outer.append(_either(_either(u, _sum_of(*inner)), vh))
    return _sum_of(*outer)


SVD = operator(
    "linalg_svd",
    lambda x: _parts("svd", x, full_matrices=False),
    tensors=("x",),
    grads={"x": _svd_gradient},
    anywhere=True,
    batch=trailing,
)


def _svd_whole_gradient(g: Any, result: Any, result_1: Any, result_2: Any) -> Any:
    """Only the first columns of U and rows of Vh are functions of the matrix."""
    by_u, by_s, by_vh = g
    k, d = result_1.shape[-1], len(result.shape) - 1
    u, vh = result.narrow_step(d, 0, 1, k), result_2.narrow_step(d - 1, 0, 1, k)
    by_u = None if by_u is None else by_u.narrow_step(d, 0, 1, k)
    by_vh = None if by_vh is None else by_vh.narrow_step(d - 1, 0, 1, k)
    return _svd_gradient([by_u, by_s, by_vh], u, result_1, vh)


SVD_WHOLE = operator(
    "linalg_svd",
    lambda x: _parts("svd", x, full_matrices=True),
    tensors=("x",),
    grads={"x": _svd_whole_gradient},
    anywhere=True,
    batch=trailing,
)


def _qr_gradient(g: Any, result: Any, result_1: Any) -> Any:
    by_q, by_r = g
    q, r = result, result_1
    inner = _sum_of(None if by_r is None else _either(by_r, r.mH), None if by_q is None else -_either(q.mH, by_q))
    inner = inner * _pattern(inner, 1, 0, 1)
    both = (inner + inner.mH) * _pattern(inner, 0.5, 1, 1)
    whole = _sum_of(by_q, _either(q, both))
    return _solution(r, whole.mH).mH


QR = operator(
    "linalg_qr",
    lambda x: _parts("qr", x, mode="reduced"),
    tensors=("x",),
    grads={"x": _qr_gradient},
    anywhere=True,
    batch=trailing,
)


def _qr_whole(x: Value, mode: str) -> tuple:
    if mode == "complete":
        return _parts("qr", x, mode=mode)
    return from_array(arrays.full_on(x.device, (0,), x.dtype, 0)), backend.copied(library("qr", x, mode="r"))


QR_WHOLE = operator(
    "linalg_qr",
    _qr_whole,
    tensors=("x",),
    grads={
        "x": _undifferentiable(
            "The QR decomposition is not differentiable with mode='r', or mode='complete' where there are more rows "
            "than columns: use mode='reduced'"
        )
    },
    anywhere=True,
    batch=trailing,
)


def _pinv_gradient(g: Any, x: Any, result: Any) -> Any:
    m, n = x.shape[-2:]
    p, pt, gt = result, result.mH, g.mH
    if m <= n:
        k = _either(gt, p)
        kp = _either(k, pt)
        rest = _either(_either(pt, p), gt - _either(k, x))
        return kp - _either(p, k).mH - _either(_either(x, p), kp) + rest
    k = _either(p, gt)
    pk = _either(pt, k)
    rest = _either(_either(gt - _either(x, k), p), pt)
    return pk - _either(k, p).mH + rest - _either(_either(pk, p), x)


def _pinv(x: Value, atol: Any, rtol: Any, hermitian: bool) -> Value:
    """By singular values, or eigenvalues: those up to the tolerance, absolute or by the largest, count as zeros."""
    if 0 in x.shape:
        return from_array(arrays.full_on(x.device, (*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype, 0))
    xp = backend.of(x)
    if hermitian:
        values, u = (part.native() for part in _parts("eigh", x, UPLO="L"))
        vh = xp.conj(xp.swapaxes(u, -1, -2))
        sizes = xp.abs(values)
    else:
        u, values, vh = (part.native() for part in _parts("svd", x, full_matrices=False))
        sizes = values
    largest = sizes.max(-1, keepdims=True)
    small = sizes <= xp.maximum(_tolerance(atol), _tolerance(rtol) * largest)
    with np.errstate(divide="ignore"):
        inverse = xp.where(small, 0, 1 / xp.where(small, 1, values))
    made = xp.conj(xp.swapaxes(vh, -1, -2)) * inverse[..., None, :]
    return backend.copied((made @ xp.conj(xp.swapaxes(u, -1, -2))).astype(x.dtype.np))


def _tolerance(x: Any) -> Any:
    return x.ready().native()[..., None] if x.__class__ is Value else x


PINV = operator(
    "linalg_pinv",
    _pinv,
    tensors=("x",),
    grads={"x": _pinv_gradient},
    anywhere=True,
    batch=trailing,
)


def _least_squares(a: Value, b: Value, rtol: float, pivots: bool) -> tuple:
    """(X, ranks) of matrices with the same leading dimensions; pivots: by a QR factorisation, where there is one."""
    found = None
    if pivots and a.device is cpu:
        found = lapack_routines.least_squares(a.native(), b.native(), rtol)
    if found is not None:
        return tuple([backend.copied(part) for part in found])
    sizes = library("svd", a, full_matrices=False)[1] if 0 not in a.shape else np.zeros((*a.shape[:-2], 1))
    rank = (sizes > rtol * sizes.max(-1, keepdims=True)).sum(-1)
    return _either(_pinv(a, 0.0, rtol, False), b), backend.copied(rank.astype(np.int64))


def _pseudo_inverse(x: Any, rtol: float) -> Any:
    return on_either(PINV, x, atol=0.0, rtol=rtol, hermitian=False)


def _least_squares_gradient(g: Any, a: Any, b: Any, rtol: float) -> Any:
    return _pinv_gradient(_either(g[0], b.mH), a, _pseudo_inverse(a, rtol))


LEAST_SQUARES = operator(
    "linalg_lstsq",
    _least_squares,
    tensors=("a", "b"),
    grads={
        "a": _least_squares_gradient,
        "b": lambda g, a, rtol: _either(_pseudo_inverse(a, rtol).mH, g[0]),
    },
    anywhere=True,
)


def _triangle(a: Value, upper: bool, unitriangular: bool) -> Any:
    """One triangle of matrices, as an array, with ones on the diagonal if that is not read either."""
    xp, n = backend.of(a), a.shape[-1]
    part = xp.triu(a.native()) if upper else xp.tril(a.native())
    if unitriangular:
        part = part * (1 - xp.eye(n, dtype=a.dtype.np)) + xp.eye(n, dtype=a.dtype.np)
    return part


def _by_substitution(a: Any, b: Any, upper: bool) -> Any:
    """x of a x = b, row by row; a zero on the diagonal divides, so what depends on it is infinite or NaN."""
    n = a.shape[-1]
    x = b.copy()
    with np.errstate(all="ignore"):
        for i in range(n - 1, -1, -1) if upper else range(n):
            x[..., i, :] /= a[..., i, i, None]
            rest = slice(0, i) if upper else slice(i + 1, n)
            x[..., rest, :] -= a[..., rest, i, None] * x[..., i : i + 1, :]
    return x


@hot
def _solve_triangular(a: Value, b: Value, upper: bool, unitriangular: bool) -> Value:
    both = _of_one_batch(a, b)
    if both is not None:
        return from_array(lapack.triangular(both[0], both[1], upper, unitriangular))
    return _solve_triangle_of(a, b, upper, unitriangular)


def _solve_triangle_of(a: Value, b: Value, upper: bool, unitriangular: bool) -> Value:
    part = _triangle(a, upper, unitriangular)
    try:
        return backend.fresh(library("solve", backend.copied(part), b))
    except LinAlgError:
        return backend.fresh(_by_substitution(part, b.native(), upper))


def _triangular(a: Any, b: Any, upper: bool, unitriangular: bool) -> Any:
    if a.__class__ is Value:
        return _solve_triangular(a, b, upper, unitriangular)
    return SOLVE_TRIANGULAR.apply((a, b), upper=upper, unitriangular=unitriangular)


def _triangular_gradient_a(g: Any, a: Any, result: Any, upper: bool, unitriangular: bool) -> Any:
    made = -_either(_triangular(a.mH, g, not upper, unitriangular), result.mH)
    return made * _pattern(made, 0 if unitriangular else 1, 0 if upper else 1, 1 if upper else 0)


SOLVE_TRIANGULAR = operator(
    "linalg_solve_triangular",
    _solve_triangular,
    tensors=("a", "b"),
    grads={
        "a": _triangular_gradient_a,
        "b": lambda g, a, upper, unitriangular: _triangular(a.mH, g, not upper, unitriangular),
    },
    anywhere=True,
    batch=broadcasting,
)
