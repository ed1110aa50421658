"""x[...] = value, and its forms with names: writing, or adding, at places that an index names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import MODE
from ..devices import cpu
from ..lazy import backend
from ..lazy.places import shape_of
from ..lazy.value import Value, from_array
from ..native import hot
from ..observe import WATCH
from ..runtime import array as arrays
from ..runtime.array import numel
from ..tensor import Tensor, wrap
from . import batch_index, dispatch, writes
from .arguments import type_name
from .batch_rules import indexed
from .batching import as_batch, level_of
from .casting import autocasts
from .copying import broadcast, checked_number, clone, copied, filled
from .elementwise_functions import where
from .gather import index_array
from .geometry import normal_dim
from .index import INDEX, add_rows, direct_window, elsewhere
from .indices import advanced, as_index, basic, is_mask, items_of
from .instruction import SCALAR_TYPE_NAMES
from .operator import on_either
from .registry import named, operator, public


@hot
def _index_put(x: Value, source: Value, index: Any, accumulate: bool) -> Value:
    if x.device is not cpu:
        if accumulate:
            return elsewhere("combine", _combined, (x, source), index, "sum")
        return elsewhere("put", _put, (x, source), index)
    made = from_array(arrays.copied(x.ready()))
    target, values = made.native(), source.native()
    if not accumulate:
        target[index] = values
    elif not add_rows(target, values, index):
        np.add.at(target, index, values)
    return made


def _put(x: Value, source: Value, index: Any) -> Value:
    return _index_put(x, source, index, False)


def _combined(x: Value, source: Value, index: Any, name: str) -> Value:
    return _index_put(x, source, index, True)


INDEX_CLEAR = operator(
    "index_clear",
    lambda x, index: cleared(x, index),
    tensors=("x",),
    grads={"x": lambda g, index: on_either(INDEX_CLEAR, g, index=index)},
    holds=("index",),
    anywhere=True,
    batch=indexed,
)


def cleared(x: Value, index: Any) -> Value:
    if x.device is not cpu:
        return elsewhere("put", _put, (x, from_array(arrays.full_on(x.device, (), x.dtype, 0))), index)
    made = backend.copied(x.native())
    made.native()[index] = 0
    return made


INDEX_PUT = operator(
    "index_put",
    _index_put,
    tensors=("x", "source"),
    grads={
        "x": lambda g, index, accumulate: g if accumulate else on_either(INDEX_CLEAR, g, index=index),
        "source": lambda g, source_shape, index: on_either(INDEX, g, index=index).sum_to_size(source_shape),
    },
    holds=("index",),
    anywhere=True,
    batch=indexed,
)
INDEX_ADD = operator(
    "index_put",
    _index_put,
    tensors=("x", "source"),
    grads={
        "x": lambda g: g,
        "source": lambda g, source_shape, index: on_either(INDEX, g, index=index).sum_to_size(source_shape),
    },
    holds=("index",),
    anywhere=True,
    batch=indexed,
)


_NUMBERS = (float, int, bool)


@hot
def _as_source(x: Tensor, value: Any) -> Tensor:
    if value.__class__ is Tensor or isinstance(value, Tensor):
        return dispatch.cast(value, x.dtype) if value.dtype is not x.dtype else value
    if value is None or isinstance(value, (str, bytes)):
        raise TypeError(f"can't assign a {type(value).__name__} to a {x.type()}")
    if isinstance(value, (int, float, complex)):
        number = checked_number(value, x.dtype)
        return wrap(from_array(arrays.full_on(x.device, (), x.dtype, number)))
    return _tensor_of(value, x)


def _check_dtypes(x: Tensor, value: Any, left: list | None) -> None:
    """Raise where a tensor of another dtype is written at indices; one number may be where a single mask holds."""
    if not isinstance(value, Tensor) or value.dtype is x.dtype:
        return
    if left is not None and value.numel() == 1:
        indices = [i for i in left if i is not None]
        if len(indices) == 1 and is_mask(indices[0]):
            return
    raise RuntimeError(
        "Index put requires the source and destination dtypes match, got "
        f"{SCALAR_TYPE_NAMES[x.dtype]} for the destination and {SCALAR_TYPE_NAMES[value.dtype]} for the source."
    )


def _tensor_of(value: Any, x: Tensor) -> Tensor:
    from ..from_data import as_tensor

    return as_tensor(value, dtype=x.dtype, device=x.device)


@hot
def _drops(index: Any) -> bool:
    """Whether an index is, or has, an int, so that what it shows is not all: for that PyTorch makes no view."""
    if index.__class__ is tuple:
        return int in [i.__class__ for i in index]
    return index.__class__ is int


@hot
def setitem(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value, in place; `value` broadcasts."""
    if WATCH.batcher is not None:
        batch_index.write(x, index, value, _setitem)
        return
    _setitem(x, index, value)


@hot
def _setitem(x: Tensor, index: Any, value: Any) -> None:
    direct = x._edge is None and WATCH.batcher is None and _drops(index)
    window = direct_window(x, index) if direct else None
    if window is None:
        window, left = basic(x, items_of(x, index))
        for i in left:
            if i is not None:
                _set_at(x, window, left, value)
                return
    if isinstance(value, (int, float, complex)):
        writes.check_in_place(window, MODE.grad)
        filled(window, value, "FillBackward3" if window._shape else "CopyBackwards")
        return
    source = _as_source(x, value)
    shape = window._shape
    if source._shape != shape:
        extra = len(source._shape) - len(shape)
        if extra > 0 and all(n == 1 for n in source._shape[:extra]):
            source = source.reshape(source._shape[extra:])
        if broadcast(source._shape, shape) != shape:
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(source._shape)} cannot be broadcast to indexing "
                f"result of shape {list(shape)}"
            )
    copied(window, source, "CopyBackwards" if source._shape or not shape else "FillBackward3")


@hot
def _set_at(x: Tensor, window: Tensor, left: list, value: Any) -> None:
    """x[index] = value where an index is an advanced one: `left` of them, for the dimensions of a window onto x."""
    if window._edge is None and value.__class__ in _NUMBERS and window.device is cpu:
        number = checked_number(value, x.dtype)
        index = advanced(window, left)
        writes.check_in_place(window, MODE.grad, repeated=True)
        window._written()[index] = number
        return
    _check_dtypes(x, value, left)
    source = _as_source(x, value)
    if window.device is not cpu and source.numel() == 1 and _write_where(window, left, source):
        return
    write_at(window, advanced(window, left), source, False)


def _write_where(window: Tensor, left: list, source: Tensor) -> bool:
    """Write one number where the only index, a mask, holds, which nobody has to count for that; False for others."""
    places = [d for d, i in enumerate(left) if i is not None]
    mask = left[places[0]]
    if len(places) > 1 or mask.__class__ is not Value or not is_mask(mask):
        return False
    writes.check_in_place(window, MODE.grad, repeated=True)
    after = len(window._shape) - places[0] - len(mask.shape)
    wide = wrap(mask).reshape(*mask.shape, *(1,) * after)
    writes.assign_result(window, where(wide, source.reshape(()), window))
    return True


def write_at(window: Tensor, index: tuple, source: Tensor, accumulate: bool) -> None:
    """Write `source` at advanced indices of a tensor, in place."""
    writes.check_in_place(window, MODE.grad, repeated=True)
    if window.device is cpu:
        shape = np.empty(window._shape, np.bool_)[index].shape
    else:
        shape = shape_of(window._shape, index)
    own = source._shape
    lead = len(own) - len(shape)
    if lead > 0 and all(n == 1 for n in own[:lead]):
        source = source.reshape(own[lead:])
    if broadcast(source._shape, shape) != shape:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(own)} cannot be broadcast to indexing result of shape "
            f"{list(shape)}"
        )
    recorded = MODE.grad and (window._edge is not None or source._edge is not None)
    if recorded:
        writes.check_view(window)
    writes.check_overlap(window, source, whole=True)
    if not recorded and window.device is cpu:
        values = source._to_numpy()
        if source._s is not None and source._s.storage is window._storage().storage:
            values = values.copy()
        target = window._written()
        if not accumulate:
            target[index] = values
        elif not add_rows(target, values, index):
            np.add.at(target, index, values)
        return
    made = INDEX_PUT.apply((window, source), index=index, accumulate=accumulate)
    writes.assign_result(window, made)


Tensor.__setitem__ = setitem  # type: ignore[attr-defined]


@public("index_put", kind="library", inplace=False)
@autocasts
def index_put(x: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of x with `values` written (or added) at x[indices]."""
    made = clone(x if WATCH.batcher is None else as_batch(x, (*indices, values)))
    index_put_(made, indices, values, accumulate)
    return made


def index_put_(x: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """Write (or add) `values` at x[indices], in place."""
    if WATCH.batcher is not None:
        return batch_index.in_place(_index_put_, x, (*indices, values), indices, values, accumulate)
    return _index_put_(x, indices, values, accumulate)


def _index_put_(x: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool) -> Tensor:
    window, left = basic(x, items_of(x, tuple(slice(None) if i is None else i for i in indices)))
    if accumulate or any(i is not None for i in left):
        _check_dtypes(x, values, None if accumulate else left)
    write_at(window, advanced(window, left), _as_source(x, values), accumulate)
    return x


Tensor.index_put_ = index_put_  # type: ignore[attr-defined]


@hot
def check_slices(x: Tensor, d: int, index: Tensor, source: Tensor, name: str) -> None:
    """Raise where `source` does not have one slice of x's shape for each index."""
    own, shape = source._shape, x._shape
    if len(own) != len(shape) or own[:d] + own[d + 1 :] != shape[:d] + shape[d + 1 :]:
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. Got "
            f"self.shape = {list(shape)} source.shape = {list(own)}"
        )
    if (own[d] if own else 1) != index.numel():
        raise RuntimeError(
            f"{name}_(): Number of indices ({index.numel()}) should be equal to source.size(dim): "
            f"({own[d] if own else 1}), for dim: {d}"
        )


def _check_copied(x: Tensor, d: int, index: Tensor, source: Tensor) -> None:
    """Raise where `index_copy` cannot put slices of `source` into x; a number stands for a slice of a vector."""
    shape, own = x._shape, source._shape
    if shape and own and len(shape) != len(own):
        raise IndexError(
            "index_copy_(): When source and destination are not scalars, their dimensionality must match. Source "
            f"dimensionality ({len(own)}), destination dimensionality ({len(shape)})"
        )
    if not own and index.numel() != 1:
        raise IndexError(f"index_copy_(): When source is scalar, index should have one element (got {index.numel()})")
    if own and shape and own[:d] + own[d + 1 :] != shape[:d] + shape[d + 1 :]:
        raise RuntimeError(
            "index_copy_(): Source/destination tensor must have same slice shapes. Destination slice shape: "
            f"{list(shape[:d] + shape[d + 1 :])} at dimension {d} and source slice shape: "
            f"{list(own[:d] + own[d + 1 :])} at dimension {d}."
        )
    if own and own[d] != index.numel():
        raise IndexError(
            f"index_copy_(): Number of indices ({index.numel()}) should be equal to source.size(dim) ({own[d]})"
        )


@hot
def _slices(x: Tensor, dim: int, index: Tensor, name: str) -> tuple:
    """A tensor of at least one dimension, and the place of the named slices of a dimension in it."""
    d = normal_dim(dim, x.dim())
    if index.dim() > 1:
        refused = (RuntimeError, "Index has to be a vector/scalar") if name == "index_fill" else (
            IndexError, f"{name}_(): Index is supposed to be a vector")  # fmt: skip
        raise refused[0](f"{refused[1]}, but got dim: {index.dim()} and size: {list(index._shape)}")
    where = index_array(name, index, x, d)
    return x if x._shape else x.reshape(1), (slice(None),) * d + (where.reshape(-1) if not index._shape else where,)


@public("index_add", kind="library", inplace=True)
@hot
def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """A copy of x with source's slices, times alpha, added at the named indices of one dimension.

    Raises RuntimeError where they are not slices of x, or of another dtype, IndexError for an index out of range.
    """
    wide, where = _slices(x, dim, index, "index_add")
    if source.dtype is not x.dtype:
        raise RuntimeError(f"index_add_(): self ({x.dtype}) and source ({source.dtype}) must have the same scalar type")
    check_slices(x, len(where) - 1, index, source, "index_add")
    if alpha != 1:
        source = source * checked_number(alpha, x.dtype)
    source = source if source._shape else source.reshape(1)
    made = INDEX_ADD.apply((wide, source), "IndexAddBackward", index=where, accumulate=True)
    return made if x._shape else made.reshape(())


@public("index_copy", kind="library", inplace=True)
@autocasts
def index_copy(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of x with source's slices put at the named indices of one dimension.

    Raises RuntimeError where they are not slices of x, or of another dtype, IndexError for an index out of range.
    """
    if index.dim() > 1:
        raise IndexError(f"index_copy_(): Index should have dimension 1 or 0 (got {index.dim()})")
    d = normal_dim(dim, x.dim())
    _check_copied(x, d, index, source)
    if source.dtype is not x.dtype:
        raise RuntimeError(
            "index_copy_(): self and source expected to have the same dtype, but got "
            f"(self) {x.dtype} and (source) {source.dtype}"
        )
    wide, where = _slices(x, dim, index, "index_copy")
    if not source._shape:
        source = source.reshape(1)
    made = INDEX_PUT.apply((wide, source), "IndexCopyBackward", index=where, accumulate=False)
    return made if x._shape else made.reshape(())


@public("index_fill", kind="library", inplace=True)
def index_fill(x: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy of x with a number put at the named indices of one dimension. The value may be a tensor of one number."""
    if isinstance(value, Tensor):
        if value._shape:
            raise RuntimeError(
                "index_fill_ only supports a 0-dimensional value tensor, "
                f"but got tensor with {value.dim()} dimension(s)."
            )
        label = "IndexFillBackward1"
        if value.requires_grad and isinstance(index, Tensor) and not level_of(index):
            index = index.unique()  # type: ignore[attr-defined]  # a place named twice counts once in the gradient
    elif not isinstance(value, (int, float, complex)):
        raise TypeError(f"index_fill(): argument 'value' (position 3) must be Number, not {type_name(value)}")
    else:
        if isinstance(value, complex) and not x.is_complex():
            raise RuntimeError("index_fill_(): Converting complex Scalar to non-complex type is not supported")
        label = "IndexFillBackward0"
    wide, where = _slices(x, dim, index, "index_fill")
    made = INDEX_PUT.apply((wide, _as_source(x, value)), label, index=where, accumulate=False)
    return made if x._shape else made.reshape(())


@public("masked_scatter", kind="library", inplace=True)
def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy of x with consecutive elements of source put where the mask holds."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask.dtype}")
    if source.dtype is not x.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got {x.dtype} and {source.dtype}"
        )
    shape = dispatch.broadcast_shapes(mask._shape, x._shape)
    if shape != x._shape:
        x = x.expand(shape)
    where = advanced(x, [as_index(mask.expand(shape), x.device)]) if shape else (as_index(mask, x.device),)
    n = numel(shape_of(shape, where)) if x.device is not cpu else int(where[0].sum())
    if source.numel() < n:
        raise RuntimeError(f"Number of elements of source < number of ones in mask: {source.numel()} < {n}")
    return INDEX_PUT.apply((x, source.reshape(-1)[:n]), "MaskedScatterBackward", index=where, accumulate=False)


@named("put")
def put(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of x with numbered elements, as if it were one row, replaced by source's, or added to."""
    if source.dtype is not x.dtype:
        raise RuntimeError(
            "put_(): self and source expected to have the same dtype, but got "
            f"self.dtype = {x.dtype} and source.dtype = {source.dtype}"
        )
    if index.numel() != source.numel():
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {source.numel()}, index.numel() = {index.numel()}"
        )
    flat = x.reshape(-1)
    places = index_array("put", index.reshape(-1), flat, 0)
    op = INDEX_ADD if accumulate else INDEX_PUT
    made = op.apply((flat, source.reshape(-1)), "PutBackward", index=(places,), accumulate=bool(accumulate))
    return made.reshape(x._shape)


def _into(name: str, window: Any) -> None:
    """A copy with a window replaced: the functional form of writing into a view."""

    def function(x: Tensor, src: Tensor, *args: Any, **options: Any) -> Tensor:
        made = x.clone()
        part = window(made, *args, **options)
        if part._shape != src._shape:
            raise RuntimeError(
                "expected src to have a size equal to the slice of self. "
                f"src size = {list(src._shape)}, slice size = {list(part._shape)}"
            )
        part.copy_(src)
        return made

    function.__name__ = window.__qualname__ = name
    function.__doc__ = f"A copy of x with what `{name.partition('_')[0]}` shows of it replaced by src."
    named(name)(function)


def _slice(x: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    if step < 1:
        raise RuntimeError("slice step must be positive")
    return x[(slice(None),) * normal_dim(dim, x.dim()) + (slice(start, end, step),)]


_into("select_scatter", lambda x, dim, index: x.select(dim, index))
_into("slice_scatter", _slice)
_into("diagonal_scatter", lambda x, offset=0, dim1=0, dim2=1: x.diagonal(offset, dim1, dim2))


Tensor.put_ = writes.in_place(put, "put_")  # type: ignore[attr-defined]
