"""Views: operators that only change how memory is walked. The result shares memory with the input.

What they record is in `view_operators`, how they walk memory in `geometry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..lazy.value import Value, pending, relabelled, reshaped
from ..native import hot
from ..observe import WATCH
from ..runtime.array import contiguous_strides, numel, view_strides
from ..tensor import Tensor
from . import dispatch, scalar
from .batching import hide, level_of, show
from .geometry import (
    diagonal_geometry,
    expand_geometry,
    infer_shape,
    normal_dim,
    permute_geometry,
    select_geometry,
    sizes_of,
    slice_geometry,
    squeeze_geometry,
    unsqueeze_geometry,
)
from .instruction import ElementwiseOp
from .registry import public
from .view_dtypes import view_dtype
from .view_operators import AS_STRIDED, DIAGONAL, EXPAND, PERMUTE, RESHAPE, SELECT, SLICE, SQUEEZE, UNFOLD, UNSQUEEZE

# --- broadcasting a value ---------------------------------------------------------------------------------------

# Expanding as an elementwise copy into a larger shape, which stays pending and fuses. It shares no memory.
SPREAD = ElementwiseOp("expand", scalar.Expr(None, (), "x"), names=("x",))
_SPREADS = {d: SPREAD.specialise("t", (d,), d, d) for d in dtypes.ALL}


@hot
def spread(x: Any, shape: tuple) -> Any:
    """A value or a tensor broadcast to a shape, pending."""
    if x.__class__ is Value:
        return x if x.shape == shape else pending(_SPREADS[x.dtype], (x,), (), shape)
    v = x._value()
    if v.shape == shape:
        return x
    return dispatch.emit(_SPREADS[v.dtype], (v,), (), shape, (x,), (v.shape,))


@hot
def sum_to_size(x: Any, *size: Any) -> Any:
    """Sum over the dimensions along which `size` was broadcast to the shape of `x`."""
    shape = sizes_of(size)
    own = tuple(x.shape)
    if own == shape:
        return x
    lead = len(own) - len(shape)
    if lead < 0 or any(m not in (1, n) for n, m in zip(own[lead:], shape)):
        raise RuntimeError(f"size {list(shape)} is not expandable to size {list(own)}.")
    dims = tuple(range(lead)) + tuple(d + lead for d, m in enumerate(shape) if m == 1 and own[d + lead] != 1)
    total = x.sum(dims, keepdim=False) if dims else x
    return total.reshape(shape)


# --- methods of values, for gradient formulas -------------------------------------------------------------------


@hot
def _reshape_value(v: Value, *shape: Any) -> Value:
    new = infer_shape(sizes_of(shape), numel(v.shape))
    if new == v.shape:
        return v
    a = v.array
    if a is None:
        return relabelled(v, new)
    return reshaped(v, a.offset, new, contiguous_strides(new)) if a.contiguous else RESHAPE.of_value(v, {"new": new})


@hot
def _permute_value(v: Value, *dims: Any) -> Value:
    return PERMUTE.of_value(v, {"dims": tuple([d % len(v.shape) for d in sizes_of(dims)])})


@hot
def _transpose_value(v: Value, a: int, b: int) -> Value:
    dims = list(range(len(v.shape)))
    dims[a], dims[b] = dims[b], dims[a]
    return PERMUTE.of_value(v, {"dims": tuple(dims)})


@hot
def _unsqueeze_value(v: Value, dim: int) -> Value:
    dim = normal_dim(dim, len(v.shape) + 1)
    return _reshape_value(v, v.shape[:dim] + (1,) + v.shape[dim:])


@hot
def _slice_value(v: Value, dim: int, start: int, step: int, length: int) -> Value:
    return SLICE.forward(v, dim=dim, start=start, step=step, length=length)


for _name, _function in {
    "reshape": _reshape_value,
    "permute": _permute_value,
    "transpose": _transpose_value,
    "unsqueeze": _unsqueeze_value,
    "expand": hot(lambda v, *shape: spread(v, sizes_of(shape))),
    "sum_to_size": sum_to_size,
    "narrow_step": _slice_value,
    "mT": property(hot(lambda v: _transpose_value(v, -1, -2))),
}.items():
    setattr(Value, _name, _function)

# --- functions on tensors ---------------------------------------------------------------------------------------


@hot
def _narrow_step(t: Tensor, dim: int, start: int, step: int, length: int) -> Tensor:
    return SLICE.apply((t,), dim=dim, start=start, step=step, length=length)


Tensor.narrow_step = _narrow_step  # type: ignore[attr-defined]


@public("view", kind="view", function=False)
@hot
def view(x: Tensor, *shape: Any, size: Any = None, dtype: Any = None) -> Tensor:
    """The same elements in another shape, sharing memory; or, for a dtype, the same bytes in that (`view_dtype`).

    One size may be -1. Raises RuntimeError where the memory cannot be walked that way (use `reshape`), or sizes do
    not fit.
    """
    if not shape:
        if dtype is not None:
            return view_dtype(x, dtype)
        if size is not None:
            shape = (size,)
    if len(shape) == 1 and isinstance(shape[0], dtypes.dtype):
        return view_dtype(x, shape[0])
    new = infer_shape(sizes_of(shape), x.numel())
    offset, own, strides = x._geometry()
    found = view_strides(own, strides, new)
    if found is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    if _unrecorded(x):
        return x._window(offset, new, found)
    return RESHAPE.apply((x,), new=new)


@public("reshape", kind="view")
@hot
def reshape(x: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; a view where possible, else a copy."""
    new = infer_shape(sizes_of(shape), x.numel())
    offset, own, strides = x._geometry()
    found = view_strides(own, strides, new)
    label = None
    if x._edge is not None:
        if not x.is_contiguous():
            label = "UnsafeViewBackward" if found is None else "ReshapeAliasBackward"
    elif found is not None and WATCH.batcher is None:  # nothing to record
        return x._window(offset, new, found)
    return RESHAPE.apply((x,), label=label, new=new)


@public("view_as", kind="view", function=False)
def view_as(x: Tensor, other: Tensor) -> Tensor:
    """`x.view(other.size())`"""
    return view(x, other.shape)


@public("reshape_as", kind="view", function=False)
def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    """`x.reshape(other.shape)`"""
    return reshape(x, other.shape)


@public("flatten", kind="view")
@hot
def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge the dimensions from start_dim to end_dim into one."""
    shape = x._shape
    n = len(shape)
    start, end = normal_dim(start_dim, n), normal_dim(end_dim, n)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if n == 0:
        return reshape(x, (1,))
    if start == end:
        return x
    return reshape(x, shape[:start] + (numel(shape[start : end + 1]),) + shape[end + 1 :])


@public("ravel", kind="view")
def ravel(x: Tensor) -> Tensor:
    """All elements in one dimension."""
    return reshape(x, (-1,)) if x.numel() else reshape(x, (0,))


@public("unflatten", kind="view")
def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Split one dimension into several."""
    dim = normal_dim(dim, x.dim())
    if not x._shape:
        raise RuntimeError("unflatten: a tensor without dimensions has none to split")
    shape = x._shape
    sizes = infer_shape(tuple(sizes), shape[dim])
    return view(x, shape[:dim] + sizes + shape[dim + 1 :])


@hot
def _unrecorded(x: Tensor) -> bool:
    """Whether a view is a window and nothing else: no step of a graph, of no batch, and nobody watches."""
    return x._edge is None and WATCH.observer is None and WATCH.batcher is None


@hot
def _seen(x: Tensor, window: tuple) -> Tensor:
    offset, shape, strides = window
    return x._window(offset, shape, strides)


@hot
def _permuted(x: Tensor, dims: tuple, label: str | None) -> Tensor:
    if _unrecorded(x):
        offset, shape, strides = x._geometry()
        return _seen(x, permute_geometry(offset, shape, strides, dims))
    return PERMUTE.apply((x,), label=label, dims=dims)


@public("permute", kind="view")
@hot
def permute(x: Tensor, *dims: Any) -> Tensor:
    """Reorder the dimensions."""
    wanted = sizes_of(dims)
    n = x.dim()
    if len(wanted) != n:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {n} is not equal to len(dims) = {len(wanted)}"
        )
    order = tuple(normal_dim(d, n) for d in wanted)
    if len(set(order)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return _permuted(x, order, None)


@public("transpose", kind="view", aliases=("swapaxes", "swapdims"), keywords={"axis0": "dim0", "axis1": "dim1"})
@hot
def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swap two dimensions."""
    n = x.dim()
    a, b = normal_dim(dim0, n), normal_dim(dim1, n)
    order = list(range(n))
    if n:
        order[a], order[b] = order[b], order[a]
    return _permuted(x, tuple(order), "TransposeBackward")


@public("t", kind="view")
@hot
def t(x: Tensor) -> Tensor:
    """The transpose of a matrix; a tensor of fewer dimensions as it is."""
    n = x.dim()
    if n > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {n}D")
    return _permuted(x, (1, 0) if n == 2 else tuple(range(n)), "TBackward")


@public("movedim", kind="view", aliases=("moveaxis",))
def movedim(x: Tensor, source: Any, destination: Any) -> Tensor:
    """Move dimensions to other places."""
    n = x.dim()
    src = [normal_dim(d, n) for d in ([source] if isinstance(source, int) else source)]
    dst = [normal_dim(d, n) for d in ([destination] if isinstance(destination, int) else destination)]
    if len(src) != len(dst):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source ("
            f"{src} dims) should contain the same number of dims as destination ({dst} dims)"
        )
    for which, dims in (("source", src), ("destination", dst)):
        if len(set(dims)) < len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{which}` ({dims})")
    if n == 0:
        return x.view_as(x)
    rest = [d for d in range(n) if d not in src]
    order: list[int] = [-1] * n
    for s, d in zip(src, dst):
        order[d] = s
    remaining = iter(rest)
    return permute(x, tuple(o if o >= 0 else next(remaining) for o in order))


@public("squeeze", kind="view")
@hot
def squeeze(x: Tensor, dim: Any = None) -> Tensor:
    """Drop dimensions of size 1: all of them, or those named."""
    n = x.dim()
    if dim is None:
        dims = tuple(range(n))
    else:
        dims = tuple([normal_dim(d, n) for d in ((dim,) if isinstance(dim, int) else dim)])
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"dim {dims[0]} appears multiple times in the list of dims")
    if _unrecorded(x):
        offset, shape, strides = x._geometry()
        return _seen(x, squeeze_geometry(offset, shape, strides, dims))
    if dim is None:
        return SQUEEZE.apply((x,), label="SqueezeBackward0", dims=dims)
    return SQUEEZE.apply((x,), label="SqueezeBackward1" if isinstance(dim, int) else "SqueezeBackward2", dims=dims)


@public("unsqueeze", kind="view")
@hot
def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """Insert a dimension of size 1."""
    d = normal_dim(dim, x.dim() + 1)
    if _unrecorded(x):
        offset, shape, strides = x._geometry()
        return _seen(x, unsqueeze_geometry(offset, shape, strides, d))
    return UNSQUEEZE.apply((x,), dim=d)


@public("expand", kind="view", function=False)
@hot
def expand(x: Tensor, *size: Any) -> Tensor:
    """Broadcast to a shape without copying; -1 keeps a size."""
    wanted, shape = sizes_of(size), x._shape
    lead = len(wanted) - len(shape)
    if lead < 0:
        raise RuntimeError(
            f"expand({list(shape)}, size={list(wanted)}): the number of sizes provided ({len(wanted)}) must be greater "
            f"or equal to the number of dimensions in the tensor ({len(shape)})"
        )
    full = []
    for d, n in enumerate(wanted):
        own = shape[d - lead] if d >= lead else None
        if n == -1:
            if own is None:
                raise RuntimeError(f"The expanded size of the tensor (-1) isn't allowed in a leading dimension {d}")
            n = own
        elif own not in (None, 1, n):
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({own}) at non-singleton "
                f"dimension {d}.  Target sizes: {list(wanted)}.  Tensor sizes: {list(shape)}"
            )
        full.append(n)
    if _unrecorded(x):
        offset, own_shape, strides = x._geometry()
        return _seen(x, expand_geometry(offset, own_shape, strides, tuple(full)))
    return EXPAND.apply((x,), size=tuple(full))


@public("expand_as", kind="view", function=False)
def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """`x.expand(other.size())`"""
    return expand(x, other.shape)


@public("broadcast_to", kind="view")
def broadcast_to(x: Tensor, *size: Any) -> Tensor:
    """Broadcast to a shape without copying."""
    return expand(x, *size)


@public("select", kind="view")
@hot
def select(x: Tensor, dim: int, index: int) -> Tensor:
    """One index of a dimension, which is dropped. Raises IndexError if it is out of range."""
    shape = x._shape
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim = normal_dim(dim, len(shape))
    n = shape[dim]
    if not -n <= index < n:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(shape)} at dimension {dim}")
    if index < 0:
        index += n
    if _unrecorded(x):
        offset, own, strides = x._geometry()
        return _seen(x, select_geometry(offset, own, strides, dim, index))
    return SELECT.apply((x,), dim=dim, index=index)


@public("narrow", kind="view")
@hot
def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A stretch of one dimension."""
    if not x._shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if length < 0:
        raise RuntimeError(f"narrow(): length must be non-negative, but got {length}.")
    if isinstance(start, Tensor) and (start._shape or start.dtype.category != dtypes.INTEGRAL):
        raise RuntimeError(
            f"start must be an 0-dim integral Tensor, but got {start.dtype} of shape {list(start._shape)}."
        )
    dim = normal_dim(dim, x.dim())
    n = x._shape[dim]
    start = int(start)
    if not -n <= start <= n:
        raise IndexError(f"start out of range (expected to be in range of [{-n}, {n}], but got {start})")
    if start < 0:
        start += n
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    if _unrecorded(x):
        offset, own, strides = x._geometry()
        return _seen(x, slice_geometry(offset, own, strides, dim, start, 1, length))
    return SLICE.apply((x,), dim=dim, start=start, step=1, length=length)


@public("diagonal", kind="view")
@hot
def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A diagonal of two dimensions, as the last dimension."""
    n = x.dim()
    a, b = normal_dim(dim1, n), normal_dim(dim2, n)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if _unrecorded(x):
        start, own, strides = x._geometry()
        return _seen(x, diagonal_geometry(start, own, strides, offset, a, b))
    return DIAGONAL.apply((x,), shift=offset, dim1=a, dim2=b)


@public("unfold", kind="view", function=False)
def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` every `step` along a dimension; the window is the last dimension."""
    dim = normal_dim(dimension, x.dim())
    n = x._shape[dim] if x._shape else 1
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {dim} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return UNFOLD.apply((x,), dim=dim, size=size, step=step)


@public("as_strided", kind="view")
def as_strided(x: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """Any window onto the storage. Raises RuntimeError where it would reach outside.

    Of batches under `vmap`: the window that an example would have if it was the first, and the same one for the others.
    """
    size, stride = tuple(size), tuple(stride)
    if WATCH.batcher is not None and level_of(x):
        level = level_of(x)
        whole = show(x, level)
        windows = as_strided(whole, (whole._shape[0], *size), (whole.stride(0), *stride), storage_offset)
        return hide(windows, level)
    start = x.storage_offset() if storage_offset is None else storage_offset
    extent = start + sum((n - 1) * s for n, s in zip(size, stride)) + 1 if 0 not in size else start
    held = numel(x._storage().storage.shape)
    if len(size) != len(stride) or min((*size, *stride, start), default=0) < 0 or extent > held:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {start} are out of bounds for "
            f"storage of {held} elements"
        )
    return AS_STRIDED.apply((x,), size=size, stride=stride, start=start, base=x._geometry())


@hot
def _mT(x: Tensor) -> Tensor:
    if x.dim() == 0:
        return x
    if x.dim() < 2:
        raise RuntimeError("tensor.mT is only supported on matrices or batches of matrices. Got a tensor of fewer dims")
    return transpose(x, -2, -1)


@hot
def _T(x: Tensor) -> Tensor:
    n = x.dim()
    return _permuted(x, (1, 0) if n == 2 else tuple([n - 1 - d for d in range(n)]), None)


Tensor.mT = property(_mT)  # type: ignore[attr-defined]
Tensor.T = property(_T)  # type: ignore[attr-defined]
Tensor.sum_to_size = sum_to_size  # type: ignore[attr-defined]
