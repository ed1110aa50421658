"""Sparse tensors in coordinate form: the places of elements and their values; every other element is zero.

What programs on graphs use: making one, adding up places that are given twice, products with dense matrices, and
turning one into a dense tensor. All of it has gradients, by the values and by the dense matrix. A `SparseTensor` is no
`Tensor`: it has these operations and no others. Places are always checked against the size.

>>> import livegrad
>>> a = livegrad.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3))
>>> a.to_dense()
tensor([[0., 0., 3.],
        [4., 0., 5.]])
>>> a @ livegrad.ones(3, 1)
tensor([[3.],
        [9.]])
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import dtypes, formats
from .dtypes import Size
from .from_data import as_tensor
from .from_data import tensor as new_tensor
from .lazy.value import Value
from .overriding import asks
from .printing import contents, unsaid, with_notes
from .tensor import Tensor, wrap

__all__ = ["DoubleTensor", "FloatTensor", "SparseTensor", "mm", "sparse_coo_tensor", "spmm", "sum", "to_sparse"]


class SparseTensor:
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

    # What it is.
    dtype = property(lambda self: self._content.dtype)
    device = property(lambda self: self._content.device)
    requires_grad = property(lambda self: self._content.requires_grad)
    grad_fn = property(lambda self: self._content.grad_fn)
    is_cuda = property(lambda self: self._content.is_cuda)
    ndim = property(lambda self: len(self.shape))

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def numel(self) -> int:
        """How many elements there are, zeros included."""
        return self.shape.numel()

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

    def to_sparse(self) -> SparseTensor:
        """Itself."""
        return self

    def _with(self, values: Tensor) -> SparseTensor:
        return SparseTensor(self._places.to(values.device), values, self.shape, self._coalesced)  # type: ignore[attr-defined]

    def to(self, *args: Any, **kwargs: Any) -> SparseTensor:
        """On another device or in another dtype, as `Tensor.to`."""
        return self._with(self._content.to(*args, **kwargs))  # type: ignore[attr-defined]

    def cuda(self, *args: Any, **kwargs: Any) -> SparseTensor:
        """On a CUDA device."""
        return self._with(self._content.cuda(*args, **kwargs))  # type: ignore[attr-defined]

    def cpu(self) -> SparseTensor:
        """On the CPU."""
        return self._with(self._content.cpu())  # type: ignore[attr-defined]

    def float(self) -> SparseTensor:
        """With float32 values."""
        return self.to(dtypes.float32)

    def double(self) -> SparseTensor:
        """With float64 values."""
        return self.to(dtypes.float64)

    def detach(self) -> SparseTensor:
        """Without history."""
        return self._with(self._content.detach())

    def clone(self) -> SparseTensor:
        """A copy."""
        return SparseTensor(self._places.clone(), self._content.clone(), self.shape, self._coalesced)

    def requires_grad_(self, requires_grad: bool = True) -> SparseTensor:
        """Let its values require gradients, or not; they are then where the gradient is, as ``_values().grad``."""
        self._content.requires_grad_(requires_grad)
        return self

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

    def __mul__(self, number: Any) -> SparseTensor:
        if isinstance(number, (Tensor, SparseTensor)):
            return NotImplemented
        return self._with(self._content * number)

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> SparseTensor:
        return self._with(self._content / number)

    def __neg__(self) -> SparseTensor:
        return self._with(-self._content)

    def _accumulate(self, g: Any) -> Tensor:
        """With a dense gradient more: a dense one."""
        return self.to_dense() + wrap(g)

    def detach_(self) -> SparseTensor:
        """Drop the history."""
        self._content.detach_()
        return self

    def zero_(self) -> SparseTensor:
        """Without any element."""
        self._places, self._content = self._places[:, :0], self._content[:0]
        return self

    def norm(self, p: Any = 2) -> Tensor:
        """The norm of all elements, as `Tensor.norm`."""
        return self.coalesce()._content.norm(p)  # type: ignore[attr-defined]

    def mul_(self, number: Any) -> SparseTensor:
        """Multiply all values, in place."""
        self._content = self._content * number
        return self

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Value):  # of gradients
            return self.to_dense()._value() + other  # type: ignore[operator]
        if isinstance(other, Tensor):
            return self.to_dense() + other
        if not isinstance(other, SparseTensor) or other.shape != self.shape:
            return NotImplemented
        from .ops.joining import cat

        places = cat([self._places, other._places], 1)
        return SparseTensor(places, cat([self._content, other._content]), self.shape).coalesce()

    __radd__ = __add__

    def __matmul__(self, dense: Tensor) -> Tensor:
        """The product with a dense matrix or vector."""
        if not isinstance(dense, Tensor):
            return NotImplemented
        if self.dim() != 2 or self.sparse_dim() != 2 or dense.dim() not in (1, 2) or self.shape[1] != dense.shape[0]:
            raise RuntimeError(
                f"mat1 and mat2 shapes cannot be multiplied ({list(self.shape)} and {list(dense.shape)}): a sparse "
                "matrix is multiplied by a dense matrix or vector"
            )
        rows, columns = self._places
        weights = self._content if dense.dim() == 1 else self._content.unsqueeze(1)
        terms = dense.index_select(0, columns) * weights  # type: ignore[attr-defined]
        return terms.new_zeros((self.shape[0], *dense.shape[1:])).index_add(0, rows, terms)

    mm = matmul = __matmul__

    def __rmatmul__(self, dense: Tensor) -> Tensor:
        if dense.dim() == 1:
            return self.t() @ dense
        return (self.t() @ dense.t()).t()  # type: ignore[attr-defined]

    def sum(self, dim: Any = None) -> Any:
        """The sum of all elements, or along dimensions, of which the result is dense."""
        return self._content.sum() if dim is None else self.to_dense().sum(dim)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        parts = []
        for name, t in (("indices", self._places), ("values", self._content)):
            start = f"{name}=tensor("
            size = f", size={tuple(t._shape)}" if t.numel() == 0 else ""
            parts.append(f"{start}{contents(t.detach().cpu()._to_numpy(), 7 + len(start))}{size})")
        notes = [f"size={tuple(self.shape)}", f"nnz={self._nnz()}"]
        if self.device.type != "cpu":
            notes.insert(0, f"device='{self.device}'")
        if not unsaid(self.dtype.name, dtypes.get_default_dtype().name):
            notes.append(f"dtype={self.dtype}")
        notes.append(f"layout={self.layout}")
        if self.grad_fn is not None:
            notes.append(f"grad_fn=<{self.grad_fn.name()}>")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return with_notes("tensor(" + ",\n       ".join(parts), notes, 7, force_newline=True)


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


def mm(mat1: Any, mat2: Any) -> Any:
    """The product of two matrices of which one may be sparse; its gradients are dense."""
    return mat1 @ mat2


spmm = asks(mm)


def sum(input: SparseTensor, dim: Any = None) -> Any:  # noqa: A001, A002
    """See `SparseTensor.sum`."""
    return input.sum(dim)


def _legacy(dtype: Any, indices: Any = None, values: Any = None, size: Any = None) -> SparseTensor:
    return sparse_coo_tensor(indices, values, size, dtype=dtype)


FloatTensor = functools.partial(_legacy, dtypes.float32)
DoubleTensor = functools.partial(_legacy, dtypes.float64)
