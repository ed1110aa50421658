"""Sparse tensors: in coordinate form (places and values), or compressed by rows or columns; all else is zero.

What programs on graphs use: making one, adding up places that are given twice, products with dense matrices, functions
that leave zero as it is, and turning one into a dense tensor. All of it has gradients, by the values and by the dense
matrix. A sparse tensor is no `Tensor`: it has these operations and no others.

>>> import livegrad
>>> a = livegrad.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3))
>>> a.to_dense()
tensor([[0., 0., 3.],
        [4., 0., 5.]])
>>> a @ livegrad.ones(3, 1)
tensor([[3.],
        [9.]])
>>> a.to_sparse_csr().crow_indices()
tensor([0, 1, 3])
"""

from .compressed import (
    CompressedTensor,
    sparse_bsc_tensor,
    sparse_bsr_tensor,
    sparse_compressed_tensor,
    sparse_csc_tensor,
    sparse_csr_tensor,
)  # fmt: skip
from .coordinate import DoubleTensor, FloatTensor, SparseTensor, sparse_coo_tensor, to_sparse
from .functions import addmm, log_softmax, mm, sampled_addmm, softmax, spdiags, spmm, sum  # noqa: A004

__all__ = [
    "CompressedTensor", "DoubleTensor", "FloatTensor", "SparseTensor", "addmm", "log_softmax", "mm", "sampled_addmm",
    "softmax", "sparse_bsc_tensor", "sparse_bsr_tensor", "sparse_compressed_tensor", "sparse_coo_tensor",
    "sparse_csc_tensor", "sparse_csr_tensor", "spdiags", "spmm", "sum", "to_sparse",
]  # fmt: skip
