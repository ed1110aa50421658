"""What distributions are written with, for programs that write their own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import sqrt
from typing import Any

import livegrad
from livegrad import Tensor

from ..nn import functional as F
from .distribution import broadcast_all
from .distribution import sum_rightmost as _sum_rightmost

__all__ = [
    "_standard_normal", "_sum_rightmost", "broadcast_all", "clamp_probs", "euler_constant", "lazy_property",
    "logits_to_probs", "probs_to_logits", "tril_matrix_to_vec", "vec_to_tril_matrix",
]  # fmt: skip

euler_constant = 0.57721566490153286060


def _standard_normal(shape: Any, dtype: Any, device: Any) -> Tensor:
    """Standard normal numbers of a shape, drawn as distributions do."""
    options: dict = {"dtype": dtype, "device": device}
    return livegrad.normal(livegrad.zeros(shape, **options), livegrad.ones(shape, **options))


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities between the dtype's epsilon and 1 minus that, so that their logarithms are finite."""
    eps = livegrad.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Logarithms of probabilities, which are clamped; of binary ones the log of the odds.

    >>> import livegrad
    >>> from livegrad.distributions.utils import probs_to_logits
    >>> probs_to_logits(livegrad.tensor([0.5, 0.25]), is_binary=True)
    tensor([ 0.0000, -1.0986])
    """
    clamped = clamp_probs(probs)
    return clamped.log() - (-clamped).log1p() if is_binary else clamped.log()


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """The softmax of the last dimension; of binary ones the sigmoid."""
    return logits.sigmoid() if is_binary else F.softmax(logits, dim=-1)


class lazy_property:
    """A property that is computed when it is first asked for, while gradients are recorded, and then is an attribute.

    On the class it gives the property itself.
    """

    def __init__(self, wrapped: Callable):
        self.wrapped = wrapped
        functools.update_wrapper(self, wrapped)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with livegrad.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The lower triangular matrix of whose elements, row by row, a vector is made. Batches of vectors give batches.

    diag: the last diagonal that is filled, 0 or below. Raises ValueError for a length that no triangle has.

    >>> import livegrad
    >>> from livegrad.distributions.utils import vec_to_tril_matrix
    >>> vec_to_tril_matrix(livegrad.tensor([1., 2., 3.]))
    tensor([[1., 0.],
            [2., 3.]])
    """
    length = vec.shape[-1]
    n = (-(1 + 2 * diag) + sqrt((1 + 2 * diag) ** 2 + 8 * length + 4 * abs(diag) * (diag + 1))) / 2
    if abs(round(n) - n) > livegrad.finfo(vec.dtype).eps:
        raise ValueError(
            f"The size of last dimension is {length} which cannot be expressed as the lower triangular part of a "
            "square D x D matrix."
        )
    n = round(n)
    mask = livegrad.ones(n, n, dtype=livegrad.bool, device=vec.device).tril(diag)
    made = vec.new_zeros((*vec.shape[:-1], n, n))
    made[..., mask] = vec
    return made


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The elements of the lower triangle of a matrix, row by row. Raises ValueError for a diagonal outside of it.

    >>> import livegrad
    >>> from livegrad.distributions.utils import tril_matrix_to_vec
    >>> tril_matrix_to_vec(livegrad.tensor([[1., 0.], [2., 3.]]))
    tensor([1., 2., 3.])
    """
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    return mat[..., livegrad.ones(n, n, dtype=livegrad.bool, device=mat.device).tril(diag)]
