"""Joining tensors: cat and stack, and their variants."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..autograd.mode import MODE
from ..codegen import joining
from ..devices import cpu
from ..lazy.turned import contiguous_copy
from ..lazy.value import Value, from_array
from ..native import hot
from ..observe import WATCH
from ..runtime import array as arrays
from ..runtime import moves, pool
from ..runtime.array import FEW_BYTES, contiguous_strides, is_contiguous, numel
from ..runtime.raw import peek, poke
from ..tensor import Tensor, wrap
from . import batch_rules, dispatch
from .arguments import checked
from .geometry import normal_dim
from .numpy_names import with_numpy_names
from .operator import on_either
from .registry import FUNCTIONS, operator, write_out
from .view_operators import SELECT


@hot
def _cat_value(values: list, dim: int) -> Value:
    total = 0
    for v in values:
        total += v.shape[dim]
    own = values[0].shape
    shape = (*own[:dim], total, *own[dim + 1 :])
    joined = _side_by_side(values, dim, shape)
    if joined is not None:
        return joined
    out = arrays.empty_on(values[0].device, shape, values[0].dtype)
    if out.device is cpu and _few_copied(values, dim, out):
        return from_array(out)
    if out.device is not cpu or not _copied_together(values, dim, out):
        _copied_in_turn(values, dim, out)
    return from_array(out)


_FEW_PIECES = 16


@hot
def _few_copied(values: list, dim: int, out: Any) -> bool:
    """Copy a few short pieces one by one; False, with nothing done, where they are more, or not row-major.

    Here and below values are put side by side along a dimension, or along a new one.
    """
    size = out.dtype.itemsize
    outer = numel(out.shape[:dim])
    if outer * len(values) > _FEW_PIECES or numel(out.shape) * size > FEW_BYTES:
        return False
    sources = []
    lengths = []
    for v in values:
        a = v.ready()
        if not a.contiguous:
            return False
        sources.append(a.ptr)
        lengths.append(numel(v.shape[dim:]) * size)
    pool.finish()
    target = out.ptr
    for line in range(outer):
        for source, n in zip(sources, lengths):
            poke(target, peek(source + line * n, n))
            target += n
    return True


_PIECE_BYTES = 64  # as many bytes are copied in the time that a piece of a row costs beside its bytes
_ITEM_BYTES = 1 << 17  # of a work item


@hot
def _copied_together(values: list, dim: int, out: Any) -> bool:
    """Fill the result by one kernel; False where there is none (yet)."""
    kernel = joining.kernel()
    size = out.dtype.itemsize
    elements = numel(out.shape)
    if not elements or not kernel.available(elements):
        return False
    words: list = []
    kept: list = []
    place = 0
    outside = False
    for v in values:
        a = v.ready()
        if not a.contiguous:
            a = contiguous_copy(a)
            kept.append(a)
        n = size * numel(v.shape[dim:])
        if n:
            words.append(a.ptr)
            words.append(n)
            words.append(place)
            place += n
        if a.block.outside:
            outside = True
    pieces = len(words) // 3
    total = elements * size
    items = max(1, (total + total // place * pieces * _PIECE_BYTES) // _ITEM_BYTES)
    unit = -(-total // (items * 64)) * 64
    args = kernel.pack(out.ptr, pieces, place, unit, total) + _packed(words)
    pool.enqueue(kernel.address, args, -(-total // unit), 2)
    if outside:
        pool.finish()
    return True


@hot
def _packed(words: list) -> bytes:
    return struct.pack(f"={len(words)}q", *words)


def _copied_in_turn(values: list, dim: int, out: Any) -> None:
    target = out.native()
    start = 0
    before = (slice(None),) * dim
    for v in values:
        n = v.shape[dim]
        target[(*before, slice(start, start + n))] = v.native()
        start += n


@hot
def _side_by_side(values: list, dim: int, shape: tuple) -> Value | None:
    """What values make that lie in one memory as they would in the result: that memory, of which they are windows."""
    arrays_of = [v.ready() for v in values]
    first = arrays_of[0]
    strides = arrays.contiguous_strides(shape)
    place = first.offset
    for v, a in zip(values, arrays_of):
        if a.block is not first.block or a.strides != strides or a.offset != place or v.lease is not None:
            return None
        place += v.shape[dim] * strides[dim]
    for v in values:  # it has a second reader from now on
        v.uses += 1
        v.shared = True
    made = from_array(first.view(first.offset, shape, strides))
    made.uses = 1
    made.shared = True
    return made


@hot
def _cat_gradient(g: Any, shapes: tuple, dim: int) -> list:
    out, start = [], 0
    for shape in shapes:
        out.append(g.narrow_step(dim, start, 1, shape[dim]))
        start += shape[dim]
    return out


CAT = operator(
    "cat",
    _cat_value,
    tensors=("tensors",),
    grads={"tensors": _cat_gradient},
    variadic=True,
    anywhere=True,
    batch=batch_rules.joined,
)


@hot
def _bordered(x: Value, before: tuple, shape: tuple, value: Any) -> Value:
    out = arrays.full_on(x.device, shape, x.dtype, value)
    place = tuple([slice(b, b + n) for b, n in zip(before, x.shape)])
    moves.assign(out.native()[place], x.native())
    return from_array(out)


@hot
def _bordered_gradient(g: Any, x_shape: tuple, before: tuple) -> Any:
    for d, n in enumerate(x_shape):
        if g.shape[d] != n:
            g = g.narrow_step(d, before[d], 1, n)
    return g


BORDERED = operator(
    "pad",
    _bordered,
    tensors=("x",),
    grads={"x": _bordered_gradient},
    node="ConstantPadNd",
    anywhere=True,
    batch=batch_rules.bordered,
)


@hot
def bordered(x: Tensor, before: Sequence[int], shape: Sequence[int], value: Any) -> Tensor:
    """A tensor of some shape with one number everywhere, but for `x`, which begins at `before` in each dimension."""
    if isinstance(value, Tensor):
        value = value.item()
    return BORDERED.apply((x,), before=tuple(before), shape=tuple(shape), value=value)


@hot
def _common_dtype(tensors: Sequence[Tensor]) -> list[Tensor]:
    common = first = tensors[0].dtype
    same = True
    for t in tensors:
        if t.dtype is not first:
            same = False
            common = dtypes.promote_types(common, t.dtype)
    return list(tensors) if same else [dispatch.cast(t, common) for t in tensors]


@with_numpy_names
@hot
def cat(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Join tensors along an existing dimension. Raises RuntimeError where other sizes differ."""
    if isinstance(tensors, Tensor):
        raise TypeError("cat(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    tensors = list(tensors)
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
        if not t._shape:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    tensors = _common_dtype(tensors)
    full = [t for t in tensors if t._shape != (0,)] or tensors[:1]
    shape = full[0]._shape
    d = normal_dim(dim, len(shape))
    for i, t in enumerate(full):
        other = t._shape
        if len(other) != len(shape):
            raise RuntimeError(f"Tensors must have same number of dimensions: got {len(shape)} and {len(other)}")
        for k, (n, m) in enumerate(zip(shape, other)):
            if n != m and k != d:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {d}. Expected size {n} but got size {m} for "
                    f"tensor number {i} in the list."
                )
    made = CAT.apply(full, dim=d)
    if out is not None:
        return write_out(out, made)
    return made


@with_numpy_names
@hot
def stack(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Join tensors of one shape along a new dimension."""
    tensors = list(tensors)
    made = _stack_pieces(tensors) if dim == 0 and tensors and WATCH.batcher is None else None
    if made is None:
        made = _stack(tensors, dim)
    return made if out is None else write_out(out, made)


@hot
def _stack(tensors: list, dim: int) -> Tensor:
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = tensors[0]._shape
    for i, t in enumerate(tensors):
        if t._shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and {list(t._shape)} "
                f"at entry {i}"
            )
    d = normal_dim(dim, len(shape) + 1)
    return STACK.apply(_common_dtype(tensors), dim=d)


# Pieces up to so many bytes are copied one by one; larger ones are worth a look at how to copy them.
_PIECE = 1 << 16


@hot
def _stack_pieces(tensors: list) -> Tensor | None:
    """The stack along a first dimension of many small tensors, as the samples of a batch are.

    Each is read where it lies, without a value made for a view. None where the tensors are not alike, or not small, or
    not contiguous, or the graph is to show the stack.
    """
    first = tensors[0]
    if first.__class__ is not Tensor:
        return None
    shape, dtype = first._shape, first.dtype
    size = numel(shape) * dtype.itemsize
    if size == 0 or size > _PIECE:
        return None
    steps = contiguous_strides(shape)
    recording = MODE.off == 0 or MODE.grad
    made = arrays.empty((len(tensors), *shape), dtype)
    target = made.ptr
    for t in tensors:
        if t.__class__ is not Tensor or (t._edge is not None and recording):
            return None
        v = t._v
        a = None
        if v is None:
            a = t._s
            storage = a.storage
            v = storage.value
            array = storage.array if v is None else v.ready()
        else:
            array = v.ready()
        if array.dtype is not dtype or not array.contiguous or array.device is not cpu:
            return None
        address = array.ptr
        own = array.shape
        if a is not None and a.layout is not None:
            offset, own, strides = a.layout
            if strides != steps and not is_contiguous(own, strides):
                return None
            address += offset * dtype.itemsize
        if own != shape:
            return None
        pool.finish()
        poke(target, peek(address, size))
        target += size
    return wrap(from_array(made))


@hot
def _stack_value(values: list, dim: int) -> Value:
    shape = values[0].shape
    out = arrays.empty_on(values[0].device, shape[:dim] + (len(values),) + shape[dim:], values[0].dtype)
    if out.device is cpu:
        if _few_copied(values, dim, out):
            return from_array(out)
        size = out.dtype.itemsize
        if numel(shape[dim:]) * size >= _PIECE_BYTES or numel(out.shape) * size <= _PIECE:
            if _copied_together(values, dim, out):
                return from_array(out)
    _stacked_in_turn(values, dim, out)
    return from_array(out)


def _stacked_in_turn(values: list, dim: int, out: Any) -> None:
    target = out.native()
    before = (slice(None),) * dim
    for i, v in enumerate(values):
        target[(*before, i)] = v.native()


@hot
def _stack_gradient(g: Any, shapes: tuple, dim: int) -> list:
    return [on_either(SELECT, g, dim=dim, index=i) for i in range(len(shapes))]


STACK = operator(
    "stack",
    _stack_value,
    tensors=("tensors",),
    grads={"tensors": _stack_gradient},
    variadic=True,
    anywhere=True,
    batch=batch_rules.joined,
)

for _function, _names in ((cat, ("cat", "concat", "concatenate")), (stack, ("stack",))):
    for _name in _names:
        FUNCTIONS[_name] = checked(_function)


def _joined(name: str, dim_of: Any, at_least: int) -> Any:
    def function(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
        raised = []
        if isinstance(tensors, Tensor):
            raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
        if not len(tensors):
            raise RuntimeError(f"{name} expects a non-empty TensorList")
        for t in tensors:
            while t.dim() < at_least:
                t = t.unsqueeze(0)
            raised.append(t)
        return cat(raised, dim_of(raised[0].dim()), out=out)

    function.__name__ = name
    FUNCTIONS[name] = checked(function)
    return function


vstack = _joined("vstack", lambda n: 0, 2)
hstack = _joined("hstack", lambda n: 0 if n == 1 else 1, 1)
FUNCTIONS["row_stack"] = FUNCTIONS["vstack"]
