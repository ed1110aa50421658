"""How elements lie in memory, as programs of PyTorch name it: `layout` and `memory_format`."""

from __future__ import annotations


class _Named:
    """One of a few objects that are known by their names."""

    __slots__ = ("_name",)
    _name: str

    def __init__(self, name: str):
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"

    def __reduce__(self) -> str:
        return self._name


class layout(_Named):
    """Whether a tensor has all elements in memory (``strided``), some (``sparse_coo``, ``sparse_csr`` and the
    like), or is nested (``jagged``)."""


class memory_format(_Named):
    """An order of dimensions in memory. ``channels_last`` has the channels of images next to each other."""


strided, sparse_coo, jagged = layout("strided"), layout("sparse_coo"), layout("jagged")
sparse_csr, sparse_csc, sparse_bsr, sparse_bsc = (layout(f"sparse_{n}") for n in ("csr", "csc", "bsr", "bsc"))
contiguous_format, preserve_format = memory_format("contiguous_format"), memory_format("preserve_format")
legacy_contiguous_format = contiguous_format
channels_last, channels_last_3d = memory_format("channels_last"), memory_format("channels_last_3d")
# By memory format, the dimensions of a tensor from the outermost in memory to the innermost.
ORDER = {channels_last: (0, 2, 3, 1), channels_last_3d: (0, 2, 3, 4, 1)}


def order(wanted: memory_format | None, ndim: int) -> tuple[int, ...] | None:
    """The dimensions from the outermost in memory to the innermost; None where they stay in their order.

    Raises TypeError for what is no memory format, RuntimeError for one of tensors with other dimensions.
    """
    if wanted is None or wanted is contiguous_format or wanted is preserve_format:
        return None
    if not isinstance(wanted, memory_format):
        raise TypeError(f"argument 'memory_format' must be torch.memory_format, not {type(wanted).__name__}")
    found = ORDER[wanted]
    if len(found) != ndim:
        raise RuntimeError(f"required rank {len(found)} tensor to use {wanted._name} format")
    return found
