"""Making nested tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import livegrad
from livegrad.tensor import Tensor

from .tensor import NestedTensor, Ragged, nest

__all__ = [
    "as_nested_tensor", "masked_select", "narrow", "nested_tensor", "nested_tensor_from_jagged", "to_padded_tensor",
]  # fmt: skip


def _ragged(lengths: Sequence[int], device: Any = None) -> Ragged:
    bounds = [0]
    for n in lengths:
        bounds.append(bounds[-1] + n)
    return Ragged(livegrad.tensor(bounds, dtype=livegrad.int64, device=device))


def as_nested_tensor(ts: Any, dtype: Any = None, device: Any = None, layout: Any = None) -> NestedTensor:
    """A nested tensor of a list of tensors, with their history; of a tensor, whose first dimension is the batch.

    layout: `livegrad.jagged`, or `livegrad.strided` (the default), which prints differently and has no shape. Tensors
    may differ in one dimension only. Raises RuntimeError for others, and for no tensors.
    """
    if isinstance(ts, NestedTensor):
        return ts if dtype is None and device is None else ts.to(device=device, dtype=dtype)
    if not isinstance(ts, (list, tuple, Tensor)):
        raise TypeError("as_nested_tensor(): Expected first argument to be a tensor or a list / tuple of tensors ")
    if not all(isinstance(t, Tensor) for t in ts):
        raise TypeError("as_nested_tensor(): Expected first argument to be a tensor or a list / tuple of tensors ")
    tensors = [t.to(device=device, dtype=dtype) for t in ts]
    if not tensors:
        raise RuntimeError("Cannot construct a nested tensor from an empty list of tensors")
    first = tensors[0]
    if len({t.dim() for t in tensors}) > 1:
        raise RuntimeError("When constructing a nested tensor, all tensors in list must have the same dim")
    if first.dim() == 0:
        raise RuntimeError("Cannot construct a nested tensor from a list of zero-dim tensors")
    different = [d for d, sizes in enumerate(zip(*(t.shape for t in tensors))) if len(set(sizes)) > 1]
    if len(different) > 1:
        shapes = [list(t.shape) for t in tensors]
        raise RuntimeError(f"The given tensors may differ in one dimension only, but have the shapes {shapes}")
    d = different[0] if different else 0
    size = _ragged([t.shape[d] for t in tensors], first.device)
    return nest(livegrad.cat(tensors, dim=d), size, d + 1, livegrad.strided if layout is None else layout)


def nested_tensor(
    tensor_list: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> NestedTensor:  # fmt: skip
    """A nested tensor with a copy of tensors, or of lists of numbers; a leaf.

    See `as_nested_tensor`, which keeps their history.
    """
    tensors = [
        t.detach() if isinstance(t, Tensor) else livegrad.tensor(t, dtype=dtype, device=device) for t in tensor_list
    ]
    made = as_nested_tensor(tensors, dtype, device, layout)
    if made._values_.data_ptr() in {t.data_ptr() for t in tensors}:
        made._values_ = made._values_.clone()
    if requires_grad:
        made._values_.requires_grad_()
    return made


def nested_tensor_from_jagged(
    values: Tensor, offsets: Tensor | None = None, lengths: Tensor | None = None, jagged_dim: int | None = None,
    min_seqlen: int | None = None, max_seqlen: int | None = None,
) -> NestedTensor:  # fmt: skip
    """A nested tensor of values as they are, and where each tensor begins, or how long each is.

    offsets: one more than there are tensors. jagged_dim: which dimension differs, 1 if not given. Raises RuntimeError
    where neither is given.
    """
    if offsets is None:
        if lengths is None:
            raise RuntimeError("nested_tensor_from_jagged(): At least one of offsets or lengths is required.")
        zero = lengths.new_zeros(1)  # type: ignore[attr-defined]
        offsets = livegrad.cat([zero, lengths.cumsum(0)])  # type: ignore[attr-defined]
    elif lengths is not None and lengths.tolist() != offsets.diff().tolist():  # type: ignore[attr-defined]
        raise NotImplementedError("tensors with gaps between them are not there: give offsets or lengths")
    return nest(values, Ragged(offsets), 1 if jagged_dim is None else jagged_dim)


def to_padded_tensor(input: NestedTensor, padding: float, output_size: Any = None) -> Tensor:
    """`NestedTensor.to_padded_tensor`."""
    return input.to_padded_tensor(padding, output_size)


def narrow(tensor: Tensor, dim: int, start: Any, length: Any, layout: Any = None) -> NestedTensor:
    """Rows of a matrix, or of what has more dimensions, cut to `length` from `start` on: numbers, or one for each row.

    The result is a copy. Raises RuntimeError for another dimension than 1.
    """
    if dim != 1:
        raise RuntimeError("only dim=1 supported for jagged layout")

    def each(x: Any) -> list[int]:
        return x.tolist() if isinstance(x, Tensor) else [x] * tensor.shape[0]

    rows = [row[a : a + n] for row, a, n in zip(tensor, each(start), each(length))]
    return as_nested_tensor(rows, layout=livegrad.jagged if layout is None else layout)


def masked_select(tensor: Tensor, mask: Tensor) -> NestedTensor:
    """What a mask of two dimensions leaves of each row."""
    if tensor.layout is not livegrad.strided:
        raise RuntimeError("torch.nested.masked_select requires a strided tensor")
    wide = mask.expand(tensor.shape) if mask.shape != tensor.shape else mask  # type: ignore[attr-defined]
    values = tensor.masked_select(wide)  # type: ignore[attr-defined]
    return nest(values, _ragged(wide.flatten(1).sum(1).tolist(), tensor.device))
