"""Indexing by tensors below `func.vmap`, which needs no translation here."""

from __future__ import annotations

from typing import Any


class TransformGetItemToIndex:
    """A block in which functions that `func.vmap` maps may index tensors by numbers that are tensors.

    They may anywhere: `vmap` is a loop, so such an index is a tensor without dimensions, and ``x[i]`` takes it.

    >>> import livegrad
    >>> from livegrad._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
    >>> table = livegrad.tensor([10, 20, 30])
    >>> with TransformGetItemToIndex():
    ...     livegrad.vmap(lambda i: table[i])(livegrad.tensor([2, 0]))
    tensor([30, 10])
    """

    def __enter__(self) -> TransformGetItemToIndex:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


__all__ = ["TransformGetItemToIndex"]
