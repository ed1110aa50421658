"""Sparse matrices compressed by rows or by columns, which lie one after the other: of numbers or of blocks."""

from __future__ import annotations

from typing import Any

from .. import dtypes, formats
from ..creation import arange, zeros
from ..dtypes import Size
from ..from_data import as_tensor
from ..ops.joining import cat
from ..ops.registry import FUNCTIONS
from ..tensor import Tensor
from .coordinate import SparseTensor, product
from .held import Sparse

__all__ = [
    "CompressedTensor", "sparse_bsc_tensor", "sparse_bsr_tensor", "sparse_compressed_tensor", "sparse_csc_tensor",
    "sparse_csr_tensor",
]  # fmt: skip

# By layout: whether it is compressed by rows, whether its values are blocks.
_KINDS = {
    formats.sparse_csr: (True, False), formats.sparse_csc: (False, False), formats.sparse_bsr: (True, True),
    formats.sparse_bsc: (False, True),
}  # fmt: skip
_LAYOUT_OF = {kind: layout for layout, kind in _KINDS.items()}
_WORDS = {True: ("crow_indices", "col_indices"), False: ("ccol_indices", "row_indices")}


class CompressedTensor(Sparse):
    """A sparse matrix: for each row where its elements begin (`crow_indices`), their columns and their values.

    By columns it is the other way round. In blocks, values have the shape (blocks, height, width), and both indices
    count blocks.
    """

    def __init__(self, begins: Tensor, across: Tensor, values: Tensor, size: Any, layout: Any):
        self._begins, self._across, self._content = begins, across, values
        self.shape, self.layout = Size(int(n) for n in size), layout
        self._by_rows, self._blocks = _KINDS[layout]

    is_sparse_csr = property(lambda self: self.layout is formats.sparse_csr)  # type: ignore[assignment]

    def _with(self, values: Tensor) -> CompressedTensor:
        begins, across = (t.to(values.device) for t in (self._begins, self._across))  # type: ignore[attr-defined]
        return CompressedTensor(begins, across, values, self.shape, self.layout)

    def _index(self, by_rows: bool, name: str) -> Tensor:
        if by_rows is not self._by_rows:
            kind = "row" if by_rows else "column"
            raise RuntimeError(f"{name} expected sparse {kind} compressed tensor layout but got {self.layout}")
        return self._begins if name.startswith("c") and name != "col_indices" else self._across

    def crow_indices(self) -> Tensor:
        """Where each row begins among the values, and where the last one ends. Raises RuntimeError by columns."""
        return self._index(True, "crow_indices")

    def col_indices(self) -> Tensor:
        """The column of each value. Raises RuntimeError by columns."""
        return self._index(True, "col_indices")

    def ccol_indices(self) -> Tensor:
        """Where each column begins among the values, and where the last one ends. Raises RuntimeError by rows."""
        return self._index(False, "ccol_indices")

    def row_indices(self) -> Tensor:
        """The row of each value. Raises RuntimeError by rows."""
        return self._index(False, "row_indices")

    def values(self) -> Tensor:
        """The values, or blocks of them."""
        return self._content

    def _nnz(self) -> int:
        return self._across.shape[0]

    def sparse_dim(self) -> int:
        """Two: rows and columns."""
        return 2

    def dense_dim(self) -> int:
        """None: every value is a number, or a block of them."""
        return 0

    def _flat(self) -> tuple[Tensor, Tensor, Tensor]:
        """The row, the column and the value of every element that is held."""
        begins = self._begins.to(dtypes.int64)  # type: ignore[attr-defined]
        counts = begins[1:] - begins[:-1]
        own = arange(counts.shape[0], device=begins.device).repeat_interleave(counts)  # type: ignore[attr-defined]
        across = self._across.to(dtypes.int64)  # type: ignore[attr-defined]
        rows, columns = (own, across) if self._by_rows else (across, own)
        if not self._blocks:
            return rows, columns, self._content
        n, height, width = self._content.shape
        rows, columns = (
            (place[:, None, None] * step + arange(step, device=place.device).reshape(shape)).expand(n, height, width)
            for place, step, shape in ((rows, height, (1, -1, 1)), (columns, width, (1, 1, -1)))
        )
        return rows.reshape(-1), columns.reshape(-1), self._content.reshape(-1)  # type: ignore[attr-defined]

    def to_sparse_coo(self) -> SparseTensor:
        """In coordinate form."""
        rows, columns, values = self._flat()
        return SparseTensor(FUNCTIONS["stack"]([rows, columns]), values, self.shape, self.layout is formats.sparse_csr)

    def to_dense(self) -> Tensor:
        """A tensor with all the zeros."""
        rows, columns, values = self._flat()
        return values.new_zeros(self.shape).index_put((rows, columns), values, accumulate=True)  # type: ignore[attr-defined]

    def to_sparse(self, *, layout: Any = formats.sparse_coo, blocksize: Any = None) -> Any:
        """In another layout, with blocks of a size where it has them."""
        if layout is self.layout and blocksize is None:
            return self
        if layout is None or layout is formats.sparse_coo:
            return self.to_sparse_coo()
        return compress(self.to_sparse_coo(), layout, blocksize)

    def to_sparse_csr(self) -> CompressedTensor:
        """Compressed by rows."""
        return self.to_sparse(layout=formats.sparse_csr)

    def to_sparse_csc(self) -> CompressedTensor:
        """Compressed by columns."""
        return self.to_sparse(layout=formats.sparse_csc)

    def clone(self) -> CompressedTensor:
        """A copy."""
        begins, across, values = (t.clone() for t in (self._begins, self._across, self._content))
        return CompressedTensor(begins, across, values, self.shape, self.layout)

    def t(self) -> CompressedTensor:
        """The transposed matrix, compressed the other way."""
        values = self._content.transpose(1, 2) if self._blocks else self._content  # type: ignore[attr-defined]
        layout = _LAYOUT_OF[not self._by_rows, self._blocks]
        return CompressedTensor(self._begins, self._across, values, self.shape[::-1], layout)

    T = property(lambda self: self.t())

    def transpose(self, dim0: int, dim1: int) -> CompressedTensor:
        """The transposed matrix, or the same one for twice the same dimension."""
        return self if dim0 % 2 == dim1 % 2 else self.t()

    def sum(self) -> Tensor:
        """The sum of all elements."""
        return self._content.sum()  # type: ignore[attr-defined]

    def _like(self, made: SparseTensor) -> CompressedTensor:
        return compress(made, self.layout, self._content.shape[1:] if self._blocks else None)

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, (Tensor, CompressedTensor)):
            return super().__mul__(other)
        return self._like(self.to_sparse_coo() * other.to_dense())  # type: ignore[attr-defined]

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Tensor):
            return self.to_dense() + other
        if not isinstance(other, CompressedTensor):
            return NotImplemented
        return self._like(self.to_sparse_coo() + other.to_sparse_coo())

    __radd__ = __add__

    def __matmul__(self, other: Any) -> Any:
        """The product with a dense matrix or vector; with another sparse matrix a sparse one."""
        if isinstance(other, Sparse):
            return self._like(self.to_sparse_coo() @ other.to_sparse_coo())  # type: ignore[attr-defined]
        if not isinstance(other, Tensor):
            return NotImplemented
        if other.dim() not in (1, 2) or self.shape[1] != other.shape[0]:
            raise RuntimeError(
                f"mat1 and mat2 shapes cannot be multiplied ({list(self.shape)} and {list(other.shape)}): a sparse "
                "matrix is multiplied by a matrix or vector"
            )
        return product(*self._flat(), self.shape[0], other)

    mm = matmul = mv = __matmul__

    def __rmatmul__(self, dense: Tensor) -> Tensor:
        return self.t() @ dense if dense.dim() == 1 else (self.t() @ dense.t()).t()  # type: ignore[attr-defined]

    def __getitem__(self, index: Any) -> Any:
        return self.to_sparse_coo()[index]

    def __repr__(self) -> str:
        begins, across = _WORDS[self._by_rows]
        parts = {begins: self._begins, across: self._across, "values": self._content}
        return self._shown(parts, self._nnz(), False)


def sparse_compressed_tensor(
    compressed_indices: Any, plain_indices: Any, values: Any, size: Any = None, *, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> CompressedTensor:  # fmt: skip
    """A sparse matrix from where its rows (or columns) begin, the places across them, and the values there.

    size: its shape; the smallest that holds all places if not given. layout: `sparse_csr`, `sparse_csc`, `sparse_bsr`
    or `sparse_bsc`. check_invariants: whether places are checked, which reads them.
    Raises RuntimeError for another layout, and for what does not fit.

    >>> import livegrad
    >>> a = livegrad.sparse_csr_tensor([0, 1, 3], [2, 0, 2], [3., 4., 5.], (2, 3))
    >>> a.to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 5.]])
    >>> a @ livegrad.ones(3)
    tensor([3., 9.])
    """
    if layout not in _KINDS:
        raise RuntimeError(f"sparse_compressed_tensor expected sparse compressed tensor layout but got {layout}")
    content = as_tensor(values, dtype, device)
    if requires_grad:
        content = content.detach().requires_grad_()
    begins, across = (_places(given, content.device) for given in (compressed_indices, plain_indices))
    by_rows, blocks = _KINDS[layout]
    if begins.dim() != 1 or across.dim() != 1 or content.dim() != (3 if blocks else 1):
        raise RuntimeError(
            f"indices of a matrix have one dimension and values of layout {layout} {'3' if blocks else '1'}, but got "
            f"the shapes {list(begins.shape)}, {list(across.shape)} and {list(content.shape)}"
        )
    height, width = content.shape[1:] if blocks else (1, 1)
    if size is None:
        along = begins.shape[0] - 1
        other = int(across.max()) + 1 if across.numel() else 0  # type: ignore[attr-defined]
        rows, columns = (along, other) if by_rows else (other, along)
        size = (rows * height, columns * width)
    made = CompressedTensor(begins, across, content, size, layout)
    _check(made, height if by_rows else width, bool(check_invariants))
    return made


def _places(given: Any, device: Any) -> Tensor:
    """Indices as a tensor of int32 or int64, as they are given."""
    t = as_tensor(given, None, device)
    return t if t.dtype in (dtypes.int32, dtypes.int64) else t.to(dtypes.int64)  # type: ignore[attr-defined]


def _check(made: CompressedTensor, step: int, wholly: bool) -> None:
    """Raise RuntimeError where sizes do not go together; `wholly`: or places."""
    along, begins = ("rows", "crow_indices") if made._by_rows else ("columns", "ccol_indices")
    across = _WORDS[made._by_rows][1]
    n = made.shape[0 if made._by_rows else 1] // step
    if made._begins.shape[0] != n + 1:
        raise RuntimeError(
            f"{begins}.shape[-1] must be equal to the number of {along} + 1 (={n + 1}), but got {made._begins.shape[0]}"
        )
    held = made._content.shape[0]
    if made._nnz() != held:
        raise RuntimeError(
            f"{across}.shape[-1] must be equal to nnz (={held}) as defined by values.shape[0], but got {made._nnz()}"
        )
    if not wholly:
        return
    starts, places = made._begins.tolist(), made._across.tolist()  # type: ignore[attr-defined]
    size = made._content.shape[1:]
    limit = made.shape[1] // (size[1] if size else 1) if made._by_rows else made.shape[0] // (size[0] if size else 1)
    bound = "ncols" if made._by_rows else "nrows"
    if starts[0] != 0:
        raise RuntimeError(f"`{begins}[..., 0] == 0` is not satisfied: it is {starts[0]}")
    if starts[-1] != held:
        raise RuntimeError(f"`{begins}[..., -1] == nnz` is not satisfied: they are {starts[-1]} and {held}")
    wrong = [p for p in places if not 0 <= p < limit]
    if wrong:
        raise RuntimeError(f"`0 <= {across} < {bound}` is not satisfied: {bound} is {limit}, but found {wrong[0]}")
    for k in range(n):
        part = places[starts[k] : starts[k + 1]]
        if starts[k + 1] < starts[k] or any(a >= b for a, b in zip(part, part[1:])):
            raise RuntimeError(
                f"`{across}[..., {begins}[..., i - 1]:{begins}[..., i]] for all i = 1, ..., n{along} are sorted and "
                f"distinct along the last dimension values` is not satisfied: {part} for i = {k + 1}"
            )


def compress(given: SparseTensor, layout: Any, blocksize: Any = None) -> CompressedTensor:
    """A sparse matrix in coordinate form as one of a compressed layout."""
    if layout not in _KINDS:
        raise RuntimeError(f"to_sparse: conversion from {given.layout} to {layout} is not there")
    if given.dim() != 2 or given.sparse_dim() != 2:
        raise RuntimeError(f"a compressed layout is for matrices, but the tensor has the shape {list(given.shape)}")
    by_rows, blocks = _KINDS[layout]
    given = given.coalesce()
    rows, columns = given._places
    height, width = (int(n) for n in blocksize) if blocks and blocksize is not None else (1, 1)
    if blocks and (blocksize is None or given.shape[0] % height or given.shape[1] % width):
        raise RuntimeError(f"tensor sparse size {list(given.shape)} must be divisible by given blocksize {blocksize}")
    down, along = given.shape[0] // height, given.shape[1] // width
    outer, inner = (rows // height, columns // width) if by_rows else (columns // width, rows // height)
    counts, other = (down, along) if by_rows else (along, down)
    keys, own = FUNCTIONS["unique"](outer * max(other, 1) + inner, return_inverse=True)
    content = given._content
    if blocks:
        values = content.new_zeros((len(keys), height, width))  # type: ignore[attr-defined]
        content = values.index_put((own, rows % height, columns % width), content)
    elif not by_rows:
        content = content[FUNCTIONS["argsort"](own)]
    per = FUNCTIONS["bincount"](keys // max(other, 1), minlength=counts)
    begins = cat([zeros(1, dtype=dtypes.int64, device=content.device), FUNCTIONS["cumsum"](per, 0)])
    return CompressedTensor(begins, keys % max(other, 1), content, given.shape, layout)


def _maker(layout: Any) -> Any:
    begins, across = _WORDS[_KINDS[layout][0]]

    def make(*args: Any, **kwargs: Any) -> CompressedTensor:
        given = (kwargs.pop(name) for name in (begins, across, "values")[len(args) :])
        return sparse_compressed_tensor(*args, *given, layout=layout, **kwargs)

    make.__name__ = f"{layout}".removeprefix("torch.") + "_tensor"
    make.__doc__ = f"`sparse_compressed_tensor` of this layout: {begins}, {across}, values and size."
    return make


sparse_csr_tensor, sparse_csc_tensor = _maker(formats.sparse_csr), _maker(formats.sparse_csc)
sparse_bsr_tensor, sparse_bsc_tensor = _maker(formats.sparse_bsr), _maker(formats.sparse_bsc)
