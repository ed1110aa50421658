"""Powers, exponentials and products of matrices, and views of them."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..ops.arguments import check_public
from ..ops.matmul import matmul
from ..ops.registry import FUNCTIONS
from ..tensor import Tensor
from .checks import check_square
from .solving import inv, solve

__all__ = ["cross", "diagonal", "matrix_exp", "matrix_power", "multi_dot", "vander", "vecdot"]

# Coefficients of Padé approximants of exp, lowest power first, and the largest 1-norm for which the approximant is good
# to the last place (Higham, The scaling and squaring method for the matrix exponential revisited, 2005).
_PADE = {
    4: ((17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1), 3.9),
    8: (
        (
            64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
            670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
        ),
        5.3,
    ),
}  # fmt: skip


def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of square matrices (..., n, n): the sum of A**k / k!.

    By scaling and squaring with a Padé approximant (Higham, 2005), in differentiable steps. Matrices of a batch are
    scaled alike.

    >>> import livegrad
    >>> livegrad.linalg.matrix_exp(livegrad.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    check_square("matrix_exp", A)
    if not A.numel():
        return A.clone()
    from ..creation import eye

    b, limit = _PADE[A.dtype.to_real().itemsize if A.is_complex() else A.dtype.itemsize]
    size = A.detach().abs().sum(-2).max().item()
    squarings = max(0, math.ceil(math.log2(size / limit))) if 0 < size < math.inf else 0
    x = A / 2.0**squarings
    even = [eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape)]  # powers 0, 2, 4, 6
    even.append(x @ x)
    even.append(even[1] @ even[1])
    even.append(even[2] @ even[1])
    # Powers above 7 are those below times the sixth.
    u = sum(b[2 * k + 1] * even[k] for k in range(4))
    v = sum(b[2 * k] * even[k] for k in range(4))
    if len(b) > 8:
        u = u + even[3] @ sum(b[2 * k + 7] * even[k] for k in range(1, 4))
        v = v + even[3] @ sum(b[2 * k + 6] * even[k] for k in range(1, 4))
    u = x @ u
    made = solve(v - u, v + u)
    for _ in range(squarings):
        made = made @ made
    return made


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A multiplied by itself n times; a negative n powers the inverse."""
    if A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        check_square("matrix_power", A)
    if n < 0:
        A, n = inv(A), -n
    elif n == 1:
        return A.clone()
    made = None
    while n:
        if n & 1:
            made = A if made is None else made @ A
        n >>= 1
        if n:
            A = A @ A
    if made is not None:
        return made
    from ..creation import eye

    # Copied over A, so that it is a function of A, with a gradient of zero.
    return A.clone().copy_(eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape))


def multi_dot(tensors: Any) -> Tensor:
    """The product of several matrices, in the order that takes the fewest multiplications."""
    if isinstance(tensors, Tensor):
        raise TypeError("linalg_multi_dot(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    mats = list(tensors)
    if len(mats) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(mats)}")
    for i, t in enumerate(mats):
        end = i in (0, len(mats) - 1)
        if t.dim() != 2 and not (end and t.dim() == 1):
            which = "the first tensor" if not i else "the last tensor" if end else f"tensor {i}"
            raise RuntimeError(f"multi_dot(): {which} must be {'1D or 2D' if end else '2D'} but got {t.dim()}D")
        if t.dtype is not mats[0].dtype:
            raise RuntimeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {mats[0].dtype} and tensor {i} "
                f"{t.dtype}"
            )
        before = mats[i - 1].shape[-1] if i else 0
        if i and before != t.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i - 1} and {i} with shapes {list(mats[i - 1].shape)} and {list(t.shape)} "
                "cannot be multiplied"
            )
    while len(mats) > 1:
        # Cut away the largest inner size first.
        i = max(range(len(mats) - 1), key=lambda i: mats[i].shape[-1])
        mats[i : i + 2] = [matmul(mats[i], mats[i + 1])]
    return mats[0]


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """Powers of numbers from 0 to N - 1, as many as there are numbers unless given, along a new last dimension."""
    x = x if x.dim() else x.unsqueeze(0)
    n = x.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError("N must be greater than 1.")
    powers = x.unsqueeze(-1).expand((*x.shape, n - 1)).cumprod(-1)
    one = powers.new_ones((*x.shape, 1))

    return FUNCTIONS["cat"]([one, powers], -1)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of products along a dimension, of the conjugate of x with y; the others broadcast."""
    if x.dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {x.dtype}")
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"linalg.vecdot: Expected x and y to have the same dtype, but found x of type {x.dtype} and y of type "
            f"{y.dtype} instead"
        )
    return (x.conj() * y).sum(dim)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of three components, which lie along a dimension; the others broadcast."""
    return input.cross(other, dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A diagonal of matrices, as the last dimension."""
    return A.diagonal(offset, dim1, dim2)


check_public(globals(), "linalg_")
