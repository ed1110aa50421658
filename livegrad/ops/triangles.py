"""Triangles and diagonals of matrices."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import dtypes
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value
from ..native import hot
from ..tensor import Tensor
from . import dispatch
from .batch_rules import trailing
from .geometry import normal_dim
from .operator import name_nodes, on_either
from .registry import ELEMENTWISE, operator, public
from .view_operators import DIAGONAL, EMBED

_KEPT = 1 << 14  # elements of the largest triangle that is kept as truth values for the next who asks


@functools.lru_cache(64)
def _lower(rows: int, columns: int, diagonal: int) -> Value:
    """Whether an element is on or below a diagonal, to be read only."""
    return backend.copied(np.tri(rows, columns, diagonal, dtype=bool))


def _triangle(name: str) -> Any:
    @hot
    def forward(x: Value, diagonal: int) -> Value:
        n, m = x.shape[-2:]
        if x.device is not cpu or n * m > _KEPT:
            return _compared(x, diagonal)
        nothing = False if x.dtype is dtypes.bool_ else 0
        if name == "tril":
            return dispatch.value_call(ELEMENTWISE["_where"], (_lower(n, m, diagonal), x, nothing))
        return dispatch.value_call(ELEMENTWISE["_where"], (_lower(n, m, diagonal - 1), nothing, x))

    def _compared(x: Value, diagonal: int) -> Value:
        rows, columns = (backend.count(n, 1, x.device) for n in x.shape[-2:])
        nothing = False if x.dtype is dtypes.bool_ else 0
        above = columns.reshape((1, -1)) - rows.reshape((-1, 1))
        return dispatch.value_call(
            ELEMENTWISE["_where"], (above <= diagonal if name == "tril" else above >= diagonal, x, nothing)
        )

    op = operator(
        name, forward, tensors=("x",), grads={"x": lambda g, diagonal: on_either(op, g, diagonal=diagonal)},
        anywhere=True, batch=trailing,
    )  # fmt: skip

    @hot
    def public_form(x: Tensor, diagonal: int = 0) -> Tensor:
        if x.dim() < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        return op.apply((x,), diagonal=diagonal)

    public_form.__name__ = name
    public_form.__doc__ = f"The {'lower' if name == 'tril' else 'upper'} triangle of matrices, zeros elsewhere."
    return public(name, kind="library", op=op, inplace=True)(public_form)


tril, triu = _triangle("tril"), _triangle("triu")


@public("diag", kind="library")
def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """A matrix with this diagonal, or the diagonal of a matrix."""
    if x.dim() not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {x.dim()}D")
    if x.dim() == 1:
        return diag_embed(x, diagonal)
    return name_nodes(x.diagonal(diagonal).clone(), "DiagonalBackward0_copy", x)


@public("diag_embed", kind="library")
def diag_embed(x: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices, in two dimensions of the result, with the last dimension as their diagonal."""
    a, b = normal_dim(dim1, x.dim() + 1), normal_dim(dim2, x.dim() + 1)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if not x._shape:
        raise IndexError("Dimension out of range: diag_embed() needs a tensor with dimensions")
    if (a, b) != (x.dim() - 1, x.dim()):
        return name_nodes(diag_embed(x, offset).movedim((-2, -1), (a, b)), "DiagEmbedBackward", x)
    n = x._shape[-1] + abs(offset)
    k = x.dim()
    shape = x._shape[:-1] + (n, n)
    args = {"shift": offset, "dim1": k - 1, "dim2": k}
    return EMBED.apply((x,), "DiagEmbedBackward", view=DIAGONAL, shape=shape, args=args)
