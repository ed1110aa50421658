"""Functions of sparse tensors: products, sums, softmax along a dimension, matrices of diagonals."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..creation import arange
from ..from_data import as_tensor
from ..ops.registry import FUNCTIONS
from ..overriding import asks
from ..tensor import Tensor
from .compressed import CompressedTensor
from .coordinate import SparseTensor
from .held import Sparse

__all__ = ["addmm", "log_softmax", "mm", "sampled_addmm", "softmax", "spdiags", "spmm", "sum"]


def mm(mat1: Any, mat2: Any) -> Any:
    """The product of two matrices of which one may be sparse; its gradients are dense."""
    return _matmul(mat1, mat2) if isinstance(mat1, Sparse) or isinstance(mat2, Sparse) else mat1 @ mat2


spmm = asks(mm)


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:  # noqa: A002
    """beta * input + alpha * (mat1 @ mat2), where matrices may be sparse."""
    product = mm(mat1, mat2)
    return product * alpha + input * beta if isinstance(product, Sparse) else input * beta + product * alpha


def sampled_addmm(input: Any, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Any:  # noqa: A002
    """beta * input + alpha * (mat1 @ mat2) at the places of a sparse matrix, which the result has as well.

    >>> import livegrad
    >>> mask = livegrad.eye(2).to_sparse_csr()
    >>> livegrad.sparse.sampled_addmm(mask, livegrad.ones(2, 3), livegrad.ones(3, 2)).values()
    tensor([4., 4.])
    """
    if not isinstance(input, CompressedTensor) or input._blocks:
        raise RuntimeError(f"sampled_addmm: Expected a matrix compressed by rows, got {type(input).__name__}")
    rows, columns, values = input._flat()
    left, right = mat1.index_select(0, rows), mat2.index_select(1, columns)  # type: ignore[attr-defined]
    return input._with(values * beta + (left * right.t()).sum(1) * alpha)


def sum(input: Any, dim: Any = None, dtype: Any = None) -> Any:  # noqa: A001, A002
    """The sum of all elements, or along dimensions: sparse, unless no sparse dimension is left."""
    if dtype is not None:
        input = input.to(dtype)
    return input.sum() if dim is None else input.sum(dim)


def softmax(input: Any, dim: int, *, dtype: Any = None) -> SparseTensor:  # noqa: A002
    """softmax along a dimension of the elements that are held: the others count as minus infinity.

    >>> import livegrad
    >>> a = livegrad.sparse_coo_tensor([[0, 0, 1], [0, 2, 1]], [1.0, 1.0, 7.0], (2, 3))
    >>> livegrad.sparse.softmax(a, 1).values()
    tensor([0.5000, 0.5000, 1.0000])
    """
    return _along(input, dim, dtype, False)


def log_softmax(input: Any, dim: int, *, dtype: Any = None) -> SparseTensor:  # noqa: A002
    """The logarithm of `softmax`."""
    return _along(input, dim, dtype, True)


def _along(given: SparseTensor, dim: int, dtype: Any, log: bool) -> SparseTensor:
    given = given.coalesce()
    content = given._content if dtype is None else given._content.to(dtype)  # type: ignore[attr-defined]
    dim, n = dim % given.dim(), given.sparse_dim()
    if dim >= n:
        name = "log_softmax" if log else "softmax"
        return given._with(FUNCTIONS[name](content, dim - n + 1))
    group = content.new_zeros(content.shape[0], dtype=dtypes.int64)  # type: ignore[attr-defined]
    for d in range(n):  # elements that differ in this dimension only have one number
        if d != dim:
            group = group * given.shape[d] + given._places[d]
    keys, own = FUNCTIONS["unique"](group, return_inverse=True)
    groups = (len(keys), *content.shape[1:])
    least = content.detach().new_full(groups, -float("inf"))  # type: ignore[attr-defined]
    highest = least.index_reduce(0, own, content.detach(), "amax")
    moved = content - highest[own]
    total = moved.new_zeros(groups).index_add(0, own, moved.exp())
    return given._with(moved - total.log()[own] if log else moved.exp() / total[own])


def spdiags(diagonals: Tensor, offsets: Any, shape: Any, layout: Any = None) -> Any:
    """A sparse matrix of diagonals: row k of `diagonals` on the diagonal `offsets[k]`, by the number of the column.

    Raises ValueError for offsets given twice or more or fewer than there are diagonals.

    >>> import livegrad
    >>> livegrad.sparse.spdiags(livegrad.ones(1, 3), livegrad.tensor([1]), (3, 3)).to_dense()
    tensor([[0., 1., 0.],
            [0., 0., 1.],
            [0., 0., 0.]])
    """
    rows, moved = FUNCTIONS["atleast_2d"](diagonals), as_tensor(offsets).reshape(-1).tolist()  # type: ignore[attr-defined]
    if len(moved) != rows.shape[0]:
        raise ValueError(f"Number of diagonals ({rows.shape[0]}) does not match the number of offsets ({len(moved)})")
    if len(set(moved)) != len(moved):
        raise ValueError(f"Offset tensor contains duplicate values: {moved}")
    places, values = [], []
    for row, offset in zip(rows, moved):
        first, last = max(offset, 0), min(shape[1], shape[0] + offset, rows.shape[1])
        columns = arange(first, max(last, first), device=rows.device)
        places.append(FUNCTIONS["stack"]([columns - offset, columns]))
        values.append(row[first : max(last, first)])
    made = SparseTensor(FUNCTIONS["cat"](places, 1), FUNCTIONS["cat"](values), shape)
    return made if layout is None else made.to_sparse(layout=layout)


def cat(tensors: Any, dim: int = 0) -> SparseTensor:
    """Tensors in coordinate form, one after the other along a sparse dimension.

    Raises RuntimeError for dense tensors among them, and for shapes that differ in another dimension.

    >>> import livegrad
    >>> a = livegrad.eye(2).to_sparse()
    >>> livegrad.cat([a, a], 1).indices()
    tensor([[0, 0, 1, 1],
            [0, 2, 1, 3]])
    """
    first = tensors[0]
    if not all(isinstance(t, SparseTensor) for t in tensors):
        kinds = [str(t.layout) for t in tensors]
        raise RuntimeError(f"cat: tensors must all be in coordinate form, but their layouts are {kinds}")
    dim %= first.dim()
    shapes = [list(t.shape) for t in tensors]
    if dim >= first.sparse_dim() or any(
        s[:dim] + s[dim + 1 :] != shapes[0][:dim] + shapes[0][dim + 1 :] for s in shapes
    ):
        raise RuntimeError(f"cat: shapes {shapes} do not go together along the sparse dimension {dim}")
    places, start = [], 0
    for t in tensors:
        moved = t._places.clone()
        moved[dim] += start
        places.append(moved)
        start += t.shape[dim]
    shape = [start if d == dim else n for d, n in enumerate(first.shape)]
    made = SparseTensor(FUNCTIONS["cat"](places, 1), FUNCTIONS["cat"]([t._content for t in tensors]), shape)
    return made.coalesce() if all(t.is_coalesced() for t in tensors) else made


def _matmul(a: Any, b: Any) -> Any:
    return a.__matmul__(b) if isinstance(a, Sparse) else b.__rmatmul__(a)


def _add(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    b = b if alpha == 1 else b * alpha
    return a.__add__(b) if isinstance(a, Sparse) else b.__add__(a)


def _sub(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    return _add(a, b * -alpha)


def _mul(a: Any, b: Any) -> Any:
    return a.__mul__(b) if isinstance(a, Sparse) else b.__mul__(a)


def _add_(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    return a.add_(b.to_dense(), alpha=alpha)


def _sub_(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    return a.sub_(b.to_dense(), alpha=alpha)


Sparse.functions.update(
    {
        **dict.fromkeys(("add_", "__iadd__"), _add_),
        **dict.fromkeys(("sub_", "__isub__"), _sub_),
        **dict.fromkeys(("mm", "matmul", "mv", "spmm", "smm", "__matmul__"), _matmul),
        **dict.fromkeys(("add", "__add__"), _add),
        **dict.fromkeys(("sub", "subtract", "__sub__"), _sub),
        **dict.fromkeys(("mul", "multiply", "__mul__"), _mul),
        "addmm": addmm, "cat": cat, "concat": cat, "concatenate": cat, "softmax": softmax, "log_softmax": log_softmax,
    }
)  # fmt: skip
