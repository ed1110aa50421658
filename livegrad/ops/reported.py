"""Decompositions that report which matrices of a batch have none, instead of raising.

Each returns (the result, info): info is 0 for a matrix that has it, else the number of the step that failed, from 1.
A matrix that failed gets no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..lazy import backend
from ..tensor import Tensor, wrap
from .decompositions import CHOLESKY, SOLVE


def _tensor(a: np.ndarray, like: Tensor) -> Tensor:
    """A tensor of an array, on the device of another."""
    return wrap(backend.copied(a)).to(like.device)  # type: ignore[attr-defined]


def _failed_minor(a: np.ndarray) -> tuple[int, np.ndarray]:
    """The order of the first leading minor that is not positive definite, 0 if all are, and how far the factor came."""
    a = np.tril(a)
    for k in range(len(a)):
        pivot = a[k, k].real
        if not pivot > 0:
            return k + 1, a
        a[k, k] = math.sqrt(pivot)
        a[k + 1 :, k] /= a[k, k]
        a[k + 1 :, k + 1 :] -= np.tril(np.outer(a[k + 1 :, k], a[k + 1 :, k].conj()))
    return 0, a


def _zero_pivot(a: np.ndarray) -> tuple[int, np.ndarray]:
    """The number of the first pivot that is zero in elimination with row exchanges, 0 if none is; and NaN."""
    nothing = np.full_like(a, np.nan)
    a = a.copy()
    for k in range(len(a)):
        row = k + int(np.argmax(np.abs(a[k:, k])))
        if a[row, k] == 0:
            return k + 1, nothing
        a[[k, row]] = a[[row, k]]
        a[k + 1 :] -= np.outer(a[k + 1 :, k] / a[k, k], a[k])
    return 0, nothing


def _looked_at(a: Tensor, whole: Callable, one: Callable) -> tuple[np.ndarray, np.ndarray]:
    """For each matrix the number of the step that fails, and what is known of a result. whole: raises if any fails."""
    x = np.ascontiguousarray(a.detach()._to_numpy())
    info = np.zeros(x.shape[:-2], np.int32)
    partial = np.zeros_like(x)
    try:
        if x.size:
            whole(x)
    except np.linalg.LinAlgError:
        with np.errstate(all="ignore"):
            for place in np.ndindex(*info.shape):
                info[place], partial[place] = one(x[place])
    return info, partial


def _with_info(a: Tensor, info: np.ndarray, partial: np.ndarray, compute: Callable) -> tuple[Tensor, Tensor]:
    """What `compute` makes of the matrices that have it, and what is known of the others; and `info` as a tensor."""
    told = _tensor(info, a)
    if not info.any():
        return compute(a), told
    failed = (told != 0).unsqueeze(-1).unsqueeze(-1)
    eye = _tensor(np.eye(a._shape[-1], dtype=partial.dtype), a)
    made = compute(eye.where(failed, a))  # type: ignore[attr-defined]
    known = _tensor(partial, a)
    return known.where(failed, made), told  # type: ignore[attr-defined]


def cholesky(a: Tensor) -> tuple[Tensor, Tensor]:
    """The lower factors; of a matrix that is not positive definite the columns before the one that failed."""
    info, partial = _looked_at(a, np.linalg.cholesky, _failed_minor)
    return _with_info(a, info, partial, lambda x: CHOLESKY.apply((x,)))


def solve(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The solutions x of a x = b, for matrices b; NaN for a singular matrix."""
    info, _ = _looked_at(a, np.linalg.inv, _zero_pivot)
    shape = (*np.broadcast_shapes(a._shape[:-2], b._shape[:-2]), *b._shape[-2:])
    nothing = np.full(shape, np.nan, a.dtype.np)
    return _with_info(a, info, nothing, lambda x: SOLVE.apply((x, b)))


def inverse(a: Tensor) -> tuple[Tensor, Tensor]:
    """The inverses; NaN for a singular matrix."""
    eye = _tensor(np.eye(a._shape[-1], dtype=a.dtype.np), a)
    return solve(a, eye.expand(a._shape))


__all__ = ["cholesky", "inverse", "solve"]
