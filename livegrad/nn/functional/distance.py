"""Norms and distances along a dimension."""

from livegrad.creation import triu_indices
from livegrad.native import hot
from livegrad.ops.casting import autocasts
from livegrad.ops.composite import broadcast_tensors, result_type
from livegrad.ops.distances import cdist
from livegrad.ops.instruction import SCALAR_TYPE_NAMES
from livegrad.ops.numpy_names import with_numpy_names

__all__ = ["cosine_similarity", "normalize", "pairwise_distance", "pdist"]


@hot
def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """``input`` divided by its p-norm along ``dim`` (by ``eps`` where the norm is smaller)."""
    result = input / input.norm(p, dim, keepdim=True).clamp_min(eps)
    return result if out is None else out.copy_(result)


@with_numpy_names
@autocasts
@hot
def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """The cosine of the angle between ``x1`` and ``x2`` along ``dim``; their shapes broadcast, their dtypes promote.

    Raises RuntimeError where the dtype that they have in common has no fractions.
    """
    dtype = result_type(x1, x2)
    if not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError(
            f"expected common dtype to be floating point, yet common dtype is {SCALAR_TYPE_NAMES[dtype]}"
        )
    x1, x2 = broadcast_tensors(x1.to(dtype), x2.to(dtype))
    norm1 = x1.norm(2, dim, keepdim=True).clamp_min(eps)
    norm2 = x2.norm(2, dim, keepdim=True).clamp_min(eps)
    return ((x1 / norm1) * (x2 / norm2)).sum(dim)


@with_numpy_names
def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of ``x1 - x2 + eps`` over the last dimension."""
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)


def pdist(input, p=2.0):
    """The p-norm distances between rows of ``input`` (N, M): (N (N - 1) / 2), those of the first row to others first.

    Raises RuntimeError for another number of dimensions, for a dtype without fractions, and for a negative ``p``.

    >>> import livegrad
    >>> livegrad.pdist(livegrad.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]))
    tensor([5.0000, 1.0000, 4.2426])
    """
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if not input.is_floating_point():
        raise RuntimeError(f"pdist only supports floating-point dtypes, but got {input.dtype}")
    if p < 0:
        raise RuntimeError(f"pdist only supports non-negative p values, but got {p}")
    n = input.shape[0]
    first, second = triu_indices(n, n, 1, device=input.device)
    return cdist(input, input, p)[first, second]
