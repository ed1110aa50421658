"""Views that read the same bytes as another dtype."""

from __future__ import annotations

from .. import dtypes
from ..lazy.storage import Alias, face_of
from ..tensor import Tensor
from .batching import hide, level_of, show
from .instruction import SCALAR_TYPE_NAMES


def _window(x: Tensor, dtype: dtypes.dtype, told: str) -> tuple[int, tuple, tuple]:
    """(offset, shape, strides) of the view, in its own elements. RuntimeError where elements would be torn apart."""
    offset, shape, strides = x._geometry()
    old, new = x.dtype.itemsize, dtype.itemsize
    if old == new:
        return offset, shape, strides
    if strides[-1] != 1:
        raise RuntimeError(f"self.stride(-1) must be 1 {told}, but got {strides[-1]}")
    if old > new:
        n = old // new
        return offset * n, (*shape[:-1], shape[-1] * n), (*[s * n for s in strides[:-1]], 1)
    n = new // old
    if shape[-1] % n:
        raise RuntimeError(f"self.size(-1) must be divisible by {n} {told}, but got {shape[-1]}")
    if offset % n:
        raise RuntimeError(f"self.storage_offset() must be divisible by {n} {told}, but got {offset}")
    for d, s in enumerate(strides[:-1]):
        if s % n:
            raise RuntimeError(f"self.stride({d}) must be divisible by {n} {told}, but got {s}")
    return offset // n, (*shape[:-1], shape[-1] // n), (*[s // n for s in strides[:-1]], 1)


def view_dtype(x: Tensor, dtype: dtypes.dtype) -> Tensor:
    """The same bytes read as another dtype, in the same memory; without history, as nothing can flow through it.

    Where sizes of elements differ, the last dimension takes it. Raises RuntimeError where its elements do not lie next
    to each other, or do not fill whole elements of the dtype.
    """
    told = f"to view {SCALAR_TYPE_NAMES[x.dtype]} as {SCALAR_TYPE_NAMES[dtype]} (different element sizes)"
    if not x._shape and x.dtype.itemsize != dtype.itemsize:
        raise RuntimeError(f"self.dim() cannot be 0 {told}")
    level = level_of(x)
    if level:
        return hide(view_dtype(show(x, level), dtype), level)  # type: ignore[arg-type]
    window = _window(x, dtype, told)
    made = x.detach()
    alias = made._storage()
    made._s = Alias(face_of(alias.storage, dtype), window, alias.counter, None, alias.silent, alias.made)
    return made
