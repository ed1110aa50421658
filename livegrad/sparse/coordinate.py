"""Sparse tensors in coordinate form: the places of elements and their values."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import dtypes, formats
from ..dtypes import Size
from ..from_data import as_tensor
from ..from_data import tensor as new_tensor
from ..lazy.value import Value
from ..tensor import Tensor, wrap
from .held import Sparse

__all__ = ["DoubleTensor", "FloatTensor", "SparseTensor", "sparse_coo_tensor", "to_sparse"]


class SparseTensor(Sparse):
    """A tensor of which some elements are given: `indices` of shape (sparse dimensions, elements) and their `values`.

    Values may have dimensions of their own after the first, which are then the last ones of the tensor.
    """

    is_sparse = True
    among_gradients = False  # whether there has been a sparse gradient
    layout = formats.sparse_coo

    def __init__(self, indices: Tensor, values: Tensor, size: Any, coalesced: bool = False):
        self._places, self._content = indices, values
        self.shape = Size(int(n) for n in size)
        self._coalesced = coalesced

    def sparse_dim(self) -> int:
        """How many dimensions the indices tell of."""
        return self._places.shape[0]

    def dense_dim(self) -> int:
        """How many dimensions each value has."""
        return self._content.dim() - 1

    def _nnz(self) -> int:
        return self._places.shape[1]

    def _indices(self) -> Tensor:
        return self._places

    def _values(self) -> Tensor:
        return self._content

    def is_coalesced(self) -> bool:
        """Whether it is known that no place is given twice, and that they are in order."""
        return self._coalesced

    def indices(self) -> Tensor:
        """The places. Raises RuntimeError before `coalesce`."""
        self._check("indices")
        return self._places

    def values(self) -> Tensor:
        """The values. Raises RuntimeError before `coalesce`."""
        self._check("values")
        return self._content

    def _check(self, what: str) -> None:
        if not self._coalesced:
            raise RuntimeError(
                f"Cannot get {what} on an uncoalesced tensor, please call .coalesce() first (or read ._{what}())"
            )

    # What can be done with it.
    def coalesce(self) -> SparseTensor:
        """The same tensor with each place given once, in order: values of one place are added up."""
        if self._coalesced:
            return self
        flat = np.ravel_multi_index(self._numbers(), self.shape[: self.sparse_dim()])
        places, own = np.unique(flat, return_inverse=True)
        total = self._content.new_zeros((len(places), *self._content.shape[1:]))  # type: ignore[attr-defined]
        total = total.index_add(0, new_tensor(own.reshape(-1), device=self.device), self._content)
        rows = np.stack(np.unravel_index(places, self.shape[: self.sparse_dim()]))
        return SparseTensor(new_tensor(rows, device=self.device), total, self.shape, True)

    def _numbers(self) -> tuple:
        return tuple(self._places.cpu()._to_numpy())  # type: ignore[attr-defined]

    def to_dense(self) -> Tensor:
        """A tensor with all the zeros."""
        dense = self._content.new_zeros(self.shape)  # type: ignore[attr-defined]
        return dense.index_put(tuple(self._places), self._content, accumulate=True)

    def to_sparse(self, sparse_dim: int | None = None, *, layout: Any = None, blocksize: Any = None) -> Any:
        """In another layout, with blocks of a size where it has them; itself unless one is given."""
        if layout is None or layout is formats.sparse_coo:
            return self
        from .compressed import compress

        return compress(self, layout, blocksize)

    def to_sparse_coo(self) -> SparseTensor:
        """Itself."""
        return self

    def to_sparse_csr(self) -> Any:
        """Compressed by rows."""
        return self.to_sparse(layout=formats.sparse_csr)

    def to_sparse_csc(self) -> Any:
        """Compressed by columns."""
        return self.to_sparse(layout=formats.sparse_csc)

    def _with(self, values: Tensor) -> SparseTensor:
        return SparseTensor(self._places.to(values.device), values, self.shape, self._coalesced)  # type: ignore[attr-defined]

    def clone(self) -> SparseTensor:
        """A copy."""
        return SparseTensor(self._places.clone(), self._content.clone(), self.shape, self._coalesced)

    def t(self) -> SparseTensor:
        """The transposed matrix."""
        return self.transpose(0, 1)

    T = property(lambda self: self.t())

    def transpose(self, dim0: int, dim1: int) -> SparseTensor:
        """With two sparse dimensions exchanged."""
        order = list(range(self.dim()))
        order[dim0], order[dim1] = order[dim1], order[dim0]
        if any(d >= self.sparse_dim() for d in (order[dim0], order[dim1])):
            raise RuntimeError("transpose: only sparse dimensions can be exchanged, but a value's own one was given")
        places = self._places[order[: self.sparse_dim()]]
        return SparseTensor(places, self._content, [self.shape[d] for d in order])

    def _accumulate(self, g: Any) -> Tensor:
        """With a dense gradient more: a dense one."""
        return self.to_dense() + wrap(g)

    def zero_(self) -> SparseTensor:
        """Without any element."""
        self._places, self._content = self._places[:, :0], self._content[:0]
        return self

    def norm(self, p: Any = 2) -> Tensor:
        """The norm of all elements, as `Tensor.norm`."""
        return self.coalesce()._content.norm(p)  # type: ignore[attr-defined]

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, SparseTensor):
            other = other.to_dense()
        if not isinstance(other, Tensor):
            return super().__mul__(other)
        here = self.coalesce()
        return here._with(here._content * other.expand(self.shape)[tuple(here._places)])  # type: ignore[attr-defined]

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Value):  # of gradients
            return self.to_dense()._value() + other  # type: ignore[operator]
        if isinstance(other, Tensor):
            return self.to_dense() + other
        if not isinstance(other, SparseTensor) or other.shape != self.shape:
            return NotImplemented
        from ..ops.joining import cat

        places = cat([self._places, other._places], 1)
        return SparseTensor(places, cat([self._content, other._content]), self.shape).coalesce()

    __radd__ = __add__

    def __matmul__(self, other: Any) -> Any:
        """The product with a dense matrix or vector; with another sparse matrix a sparse one."""
        if isinstance(other, SparseTensor):
            return to_sparse(self.to_dense() @ other.to_dense())  # type: ignore[operator]
        if not isinstance(other, Tensor):
            return NotImplemented
        if self.dim() != 2 or self.sparse_dim() != 2 or other.dim() not in (1, 2) or self.shape[1] != other.shape[0]:
            raise RuntimeError(
                f"mat1 and mat2 shapes cannot be multiplied ({list(self.shape)} and {list(other.shape)}): a sparse "
                "matrix is multiplied by a matrix or vector"
            )
        rows, columns = self._places
        return product(rows, columns, self._content, self.shape[0], other)

    mm = matmul = mv = __matmul__

    def __rmatmul__(self, dense: Tensor) -> Tensor:
        if dense.dim() == 1:
            return self.t() @ dense
        return (self.t() @ dense.t()).t()  # type: ignore[attr-defined]

    def sum(self, dim: Any = None) -> Any:
        """The sum of all elements, or along dimensions: sparse, unless no sparse dimension is left."""
        if dim is None:
            return self._content.sum()  # type: ignore[attr-defined]
        dims = {d % self.dim() for d in ((dim,) if isinstance(dim, int) else dim)}
        n = self.sparse_dim()
        inner = [d - n + 1 for d in sorted(dims) if d >= n]
        content = self._content.sum(inner) if inner else self._content  # type: ignore[attr-defined]
        kept = [d for d in range(n) if d not in dims]
        if not kept:
            return content.sum(0)
        shape = [m for d, m in enumerate(self.shape) if d not in dims]
        return SparseTensor(self._places[kept], content, shape).coalesce()

    def __getitem__(self, index: Any) -> Any:
        """The part at an index of the first dimension: sparse, too."""
        if not isinstance(index, (int, np.integer)):
            raise TypeError(f"a sparse tensor is indexed by one integer, got {index!r}")
        if not -self.shape[0] <= index < self.shape[0]:
            raise IndexError(f"index {index} is out of bounds for dimension 0 with size {self.shape[0]}")
        here = self._places[0] == int(index) % self.shape[0]
        if self.sparse_dim() == 1:
            return self.coalesce().to_dense()[index]
        return SparseTensor(self._places[1:][:, here], self._content[here], self.shape[1:], self._coalesced)

    def __repr__(self) -> str:
        return self._shown({"indices": self._places, "values": self._content}, self._nnz(), True)


def product(rows: Tensor, columns: Tensor, values: Tensor, count: int, dense: Tensor) -> Tensor:
    """What a matrix of `count` rows, given by places and values, makes of a matrix or a vector."""
    weights = values if dense.dim() == 1 else values.unsqueeze(1)  # type: ignore[attr-defined]
    terms = dense.index_select(0, columns) * weights  # type: ignore[attr-defined]
    return terms.new_zeros((count, *dense.shape[1:])).index_add(0, rows, terms)


def sparse_coo_tensor(
    indices: Any, values: Any, size: Any = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    check_invariants: bool | None = None, is_coalesced: bool | None = None,
) -> SparseTensor:  # fmt: skip
    """A sparse tensor of `values` at `indices`, of shape (sparse dimensions, elements); other elements are zero.

    size: its shape; the smallest that holds all places if not given. A place may be given more than once: its values
    add up. Raises RuntimeError for indices that are outside of the size, or that do not fit the values.
    """
    content = as_tensor(values, dtype, device)
    if requires_grad:
        content = content.detach().requires_grad_()
    places = as_tensor(indices, dtypes.int64, content.device)
    if places.dim() != 2 or (content.dim() and places.shape[1] != content.shape[0]) or not content.dim():
        raise RuntimeError(
            f"indices must have the shape (sparse dimensions, elements), and values as many elements, but got "
            f"{list(places.shape)} and {list(content.shape)}"
        )
    highest = [int(row.max()) + 1 if row.numel() else 0 for row in places]  # type: ignore[attr-defined]
    lowest = [int(row.min()) if row.numel() else 0 for row in places]  # type: ignore[attr-defined]
    shape = [*highest, *content.shape[1:]] if size is None else [int(n) for n in size]
    if len(shape) != len(highest) + content.dim() - 1 or list(content.shape[1:]) != shape[len(highest) :]:
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(shape)}, sparse_dim = "
            f"{len(highest)}, dense_dim = {content.dim() - 1}; size {shape}, values of shape {list(content.shape)}"
        )
    for d, (low, high) in enumerate(zip(lowest, highest)):
        if low < 0:
            raise RuntimeError(f"found negative index {low} for dim {d}")
        if high > shape[d]:
            raise RuntimeError(
                f"size is inconsistent with indices: for dim {d}, size is {shape[d]} but found index {high - 1}"
            )
    return SparseTensor(places, content, shape, bool(is_coalesced))


def to_sparse(self: Tensor, sparse_dim: int | None = None) -> SparseTensor:
    """The elements that are not zero, as a sparse tensor; of the first `sparse_dim` dimensions where that is given."""
    n = self.dim() if sparse_dim is None else sparse_dim
    there = self.detach() != 0
    if n < self.dim():
        there = there.flatten(n).any(-1)
    places = there.nonzero()
    return SparseTensor(places.t().contiguous(), self[tuple(places.t())], self.shape, True)


def _legacy(dtype: Any, indices: Any = None, values: Any = None, size: Any = None) -> SparseTensor:
    return sparse_coo_tensor(indices, values, size, dtype=dtype)


FloatTensor = functools.partial(_legacy, dtypes.float32)
DoubleTensor = functools.partial(_legacy, dtypes.float64)
