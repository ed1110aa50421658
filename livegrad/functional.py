"""Functions of tensors that PyTorch writes in Python, under its name for their file."""

from __future__ import annotations

import livegrad

_NAMES = (
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes", "broadcast_tensors", "cartesian_prod",
    "cdist", "chain_matmul", "einsum", "istft", "meshgrid", "norm", "pca_lowrank", "split", "stft", "svd_lowrank",
    "tensordot", "unique", "unique_consecutive", "unravel_index",
)  # fmt: skip
globals().update({name: getattr(livegrad, name) for name in _NAMES})
__all__ = [*_NAMES]
