"""Indexing, gathering and scattering; joining and splitting."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import MODE
from ..autograd.node import cast_value
from ..codegen.kernels import Kernel
from ..lazy.scan import run as run_scan
from ..lazy.storage import contiguous_copy
from ..lazy.value import Value, from_array, pending
from ..runtime import array as arrays
from ..runtime import backend, machine, pool
from ..runtime.array import numel
from ..tensor import Tensor, from_native, wrap
from . import dispatch
from .instruction import CAST
from .registry import FUNCTIONS, Operator, operator, public, with_numpy_names
from .view import SELECT, _Meta, normal_dim, on_either, select, unsqueeze

# --- copying ----------------------------------------------------------------------------------------------------

CLONE = operator(
    "clone",
    lambda x: from_array(contiguous_copy(x.ready())),
    tensors=("x",),
    grads={"x": lambda g: g},
)


@public("clone", kind="library", op=CLONE)
def clone(x: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with memory of its own; gradients flow through."""
    return CLONE.apply((x,))


def contiguous(x: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if its elements lie in row-major order, else a copy that does."""
    return x if x.is_contiguous() else clone(x)


Tensor.contiguous = contiguous  # type: ignore[attr-defined]


ZEROS = operator("zeros", lambda x: from_array(arrays.from_native(np.zeros(x.shape, x.dtype.np))), tensors=("x",))


def _recorded_only(*values: Value) -> Value:
    raise AssertionError("recorded only: the write itself has been done in place")


COPY = operator(
    "copy",
    _recorded_only,
    tensors=("x", "src"),
    grads={
        "x": lambda g: on_either(ZEROS, g),
        "src": lambda g, src_shape, src_dtype: _converted(g, src_dtype).sum_to_size(src_shape),
    },
)
FILL = operator("fill", _recorded_only, tensors=("x",), grads={"x": lambda g: on_either(ZEROS, g)})


def _converted(g: Any, dtype: dtypes.dtype) -> Any:
    return cast_value(g, dtype) if g.__class__ is Value else dispatch.cast(g, dtype)


def _meta(t: Tensor) -> _Meta:
    return _Meta(t._shape, t.dtype)


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Copy the elements of `src`, broadcast and converted to this tensor's dtype, into this tensor."""
    if isinstance(src, (int, float)):
        from ..creation import tensor

        src = tensor(src)
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_(): argument 'other' must be Tensor, not {type(src).__name__}")
    return _copied(self, src, "CopyBackwards")


def _copied(self: Tensor, src: Tensor, label: str) -> Tensor:
    dispatch.check_in_place(self, MODE.grad, repeated=src is self)
    recorded = MODE.grad and (self._edge is not None or src._edge is not None)
    if recorded:
        dispatch.check_view(self)
    dispatch.check_overlap(self, src)
    shape, dtype = self._shape, self.dtype
    if src._shape != shape and _broadcast(src._shape, shape) != shape:
        dispatch.broadcast_shapes(shape, src._shape)
        raise RuntimeError(
            f"output with shape {list(shape)} doesn't match the broadcast shape {list(_broadcast(src._shape, shape))}"
        )
    a, b = self._s, src._s
    same = src is self or (a is not None and b is not None and a.storage is b.storage and a.geometry() == b.geometry())
    if same and not recorded:
        self._touch()
        return self
    v = src._value()
    if a is not None and a.layout is not None and not recorded and v.dtype is dtype:
        # A part of a memory is written: straight from the source.
        if b is not None and b.storage is a.storage:
            v = from_array(contiguous_copy(v.ready()))
        self._assign(v)
        return self
    result = wrap(pending(CAST.specialise("t", (v.dtype,), dtype, dtype), (v,), (), shape))
    del v
    if recorded:
        COPY.record((result,), (_meta(self), _meta(src)), (self, src), None, {})
        if result._edge is not None:
            result._edge.label = label
    return dispatch.assign_result(self, result)


def _broadcast(a: tuple, b: tuple) -> tuple | None:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


Tensor.copy_ = copy_  # type: ignore[attr-defined]


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element, in place."""
    if isinstance(value, Tensor):
        if value.dim():
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {value.dim()} dimensions."
            )
        return _copied(self, value, "FillBackward1")
    return _filled(self, value, "FillBackward0")


def _filled(self: Tensor, value: Any, label: str) -> Tensor:
    dispatch.check_in_place(self, MODE.grad, repeated=True)
    d = self.dtype
    number = _checked_number(value, d)
    if not (MODE.grad and self._edge is not None):
        with np.errstate(all="ignore"):
            self._written(fresh=True)[...] = number
        return self
    full = arrays.empty(self._shape, d)
    full.native()[...] = number
    result = wrap(from_array(full))
    FILL.record((result,), (_meta(self),), (self,), label, {})
    return dispatch.assign_result(self, result)


def _checked_number(value: Any, d: dtypes.dtype) -> Any:
    if d.category == dtypes.INTEGRAL:
        if isinstance(value, float) and not np.isfinite(value):
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        limits = dtypes.iinfo(d)
        if not limits.min <= int(value) <= limits.max:
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        return int(value)
    return value


def zero_(self: Tensor) -> Tensor:
    """Set every element to zero, in place."""
    return _filled(self, 0, "ZeroBackward0")


Tensor.fill_ = fill_  # type: ignore[attr-defined]
Tensor.zero_ = zero_  # type: ignore[attr-defined]

# --- x[...] -----------------------------------------------------------------------------------------------------


def _index_value(x: Value, index: tuple) -> Value:
    return backend.copied(x.native()[index])


@functools.cache
def _added_rows(kind: str) -> Kernel:
    """The kernel that adds rows to rows."""
    from ..codegen import added_rows

    return Kernel(lambda: ("added rows", kind), lambda: added_rows.source(kind), added_rows.FORMATS, 1)


def _rows_backward(g: Value, shape: tuple, places: np.ndarray) -> Value | None:
    """Zeros with the rows of g added at the places; None where there is no kernel for it."""
    kind = g.dtype.kind
    columns = numel(shape[1:])
    rows = places.size
    if kind not in ("f32", "f64") or not columns or not rows or not _added_rows(kind).available(rows * columns):
        return None
    array = g.ready()
    if not array.contiguous:
        array = contiguous_copy(array)
    places = np.ascontiguousarray(places, np.int64).reshape(-1)
    if places.min() < 0:
        places = places % shape[0]
    out = arrays.empty(shape, g.dtype)
    out.native()[...] = 0
    kernel = _added_rows(kind)
    args = kernel.pack(out.ptr, array.ptr, places.__array_interface__["data"][0], rows, columns)
    items = -(-columns * g.dtype.itemsize // machine.host_vector_bytes())
    grain = max(1, min(-(-items // pool.get_num_threads()), (1 << 16) // rows))
    pool.launch(kernel.address, args, items, grain)
    return from_array(out)


def _index_backward(g: Value, shape: tuple, index: tuple) -> Value:
    if len(index) == 1 and isinstance(index[0], np.ndarray) and index[0].dtype.kind == "i":
        made = _rows_backward(g, shape, index[0])
        if made is not None:
            return made
    xp = backend.of(g)
    out = xp.zeros(shape, g.dtype.np)
    source = g.native()
    if any(isinstance(i, np.ndarray) and i.dtype == np.bool_ for i in index):
        out[index] = source  # a mask names no place twice
    else:
        xp.add.at(out, index, source)
    return backend.fresh(out)


INDEX_BACKWARD = operator(
    "index_backward",
    _index_backward,
    tensors=("x",),
    grads={"x": lambda g, index: on_either(INDEX, g, index=index)},
)
INDEX = operator(
    "index",
    _index_value,
    tensors=("x",),
    grads={"x": lambda g, x_shape, index: on_either(INDEX_BACKWARD, g, shape=x_shape, index=index)},
)


def _is_advanced(i: Any) -> bool:
    return isinstance(i, (Tensor, list, tuple, np.ndarray, range)) and not (isinstance(i, Tensor) and _is_int0(i))


def _is_int0(t: Tensor) -> bool:
    return t._shape == () and t.dtype.category == dtypes.INTEGRAL and t.dtype is not dtypes.uint8


def _as_index(i: Any) -> np.ndarray:
    """An advanced index as the backend's array. Raises IndexError for floating-point ones."""
    if isinstance(i, Tensor):
        if i.dtype.category == dtypes.FLOATING:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        a = i._value().native()
        return a.astype(np.bool_) if i.dtype is dtypes.uint8 else np.array(a)
    a = np.asarray([x.item() if isinstance(x, Tensor) else x for x in i] if isinstance(i, (list, tuple)) else i)
    if a.size == 0:
        a = a.astype(np.int64)
    if a.dtype.kind not in "iub":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return a


def _items(x: Tensor, index: Any) -> list:
    """The index as a list with Ellipsis filled in."""
    items = list(index) if isinstance(index, tuple) else [index]
    used = 0
    for i in items:
        if i is None or i is Ellipsis or i is True or i is False:
            continue
        if isinstance(i, (Tensor, np.ndarray)) and i.dtype in (dtypes.bool_, np.bool_, dtypes.uint8):
            used += i.ndim
        elif isinstance(i, (list, tuple)) and len(i) and isinstance(i[0], (bool, list, tuple)):
            a = np.asarray(i)
            used += a.ndim if a.dtype == np.bool_ else 1
        else:
            used += 1
    n = x.dim()
    if used > n:
        raise IndexError(f"too many indices for tensor of dimension {n}")
    missing = [slice(None)] * (n - used)
    where = [k for k, i in enumerate(items) if i is Ellipsis]
    for k in reversed(where[1:]):  # the first one takes all that is left
        del items[k]
    if where:
        items[where[0] : where[0] + 1] = missing
    return items


def _slice_bounds(s: slice, n: int) -> tuple[int, int, int]:
    """(start, step, length). Raises ValueError for a step that is not positive."""
    step = 1 if s.step is None else int(s.step)
    if step <= 0:
        raise ValueError("step must be greater than zero")
    start, stop, _ = slice(
        None if s.start is None else int(s.start), None if s.stop is None else int(s.stop), step
    ).indices(n)
    return start, step, max(0, -(-(stop - start) // step))


def _basic(x: Tensor, items: list) -> tuple[Tensor, list]:
    """Apply ints, slices and None one by one; returns the view and, per remaining dimension, an advanced index."""
    dim = 0
    left: list = []
    for i in items:
        if i is None:
            x = unsqueeze(x, dim)
            left.append(None)
            dim += 1
        elif i is True or i is False:
            x = unsqueeze(x, dim)
            left.append(np.asarray([0] if i else [], np.int64))
            dim += 1
        elif isinstance(i, slice):
            n = x._shape[dim]
            start, step, length = _slice_bounds(i, n)
            if i.start or step != 1 or not (i.stop is None or i.stop >= n):
                x = x.narrow_step(dim, start, step, length)
            left.append(None)
            dim += 1
        elif _is_advanced(i):
            a = _as_index(i)
            width = a.ndim if a.dtype == np.bool_ else 1
            if a.dtype == np.bool_:
                expected = x._shape[dim : dim + width]
                if tuple(a.shape) != expected:
                    bad = next(k for k in range(width) if a.shape[k] != expected[k])
                    raise IndexError(
                        f"The shape of the mask {list(a.shape)} at index {bad} does not match the shape of the indexed "
                        f"tensor {list(x._shape)} at index {dim + bad}"
                    )
                if width == 0:
                    x = unsqueeze(x, dim)
                    a = np.asarray([0] if a else [], np.int64)
                    width = 1
            left.append(a)
            dim += width
        else:
            try:
                k = i.__index__()
            except (AttributeError, TypeError):
                raise (TypeError if isinstance(i, str) else IndexError)(
                    "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                    f"(got {type(i).__name__})"
                ) from None
            n = x._shape[dim]
            if not -n <= k < n:
                raise IndexError(f"index {k} is out of bounds for dimension {dim} with size {n}")
            x = select(x, dim, k)
    return x, left


def _advanced(x: Tensor, left: list) -> tuple:
    """The advanced indices as the backend takes them, checked against the sizes that they index."""
    index: list = []
    dim = 0
    for i in left:
        if i is None:
            index.append(slice(None))
            dim += 1
            continue
        if i.dtype != np.bool_:
            n = x._shape[dim]
            if i.size and (int(i.max()) >= n or int(i.min()) < -n):
                bad = int(i.max()) if int(i.max()) >= n else int(i.min())
                raise IndexError(f"index {bad} is out of bounds for dimension {dim} with size {n}")
            dim += 1
        else:
            dim += i.ndim
        index.append(i)
    shapes = [i.shape for i in index if isinstance(i, np.ndarray) and i.dtype != np.bool_]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        text = ", ".join(str(list(s)) for s in shapes)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {text}"
        ) from None
    return tuple(index)


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index]: ints, slices, None and Ellipsis give a view; masks and integer tensors a copy."""
    if index.__class__ is int:
        if x._shape:
            n = x._shape[0]
            if not -n <= index < n:
                raise IndexError(f"index {index} is out of bounds for dimension 0 with size {n}")
            if index < 0:
                index += n
            if x._edge is None:  # nothing to record: the same, without the operator around it
                offset, shape, strides = x._geometry()
                return x._window(offset + index * strides[0], shape[1:], strides[1:])
            return SELECT.apply((x,), dim=0, index=index)
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
            "0-dim tensor to a number"
        )
    if index.__class__ is slice and x._shape:
        return x.narrow_step(0, *_slice_bounds(index, x._shape[0]))
    made, left = _basic(x, _items(x, index))
    if not any(i is not None for i in left):
        return made._alias_view() if made is x else made
    return INDEX.apply((made,), index=_advanced(made, left))


def _alias_view(x: Tensor) -> Tensor:
    """The whole tensor as a view of itself, as x[...] and x[:] give."""
    from .view import EXPAND

    return EXPAND.apply((x,), label="AliasBackward", size=x._shape)


Tensor._alias_view = _alias_view  # type: ignore[attr-defined]


def _index_put(x: Value, source: Value, index: tuple, accumulate: bool) -> Value:
    made = backend.copied(x.native())
    target, values = made.native(), source.native()
    if accumulate:
        np.add.at(target, index, values)
    else:
        target[index] = values
    return made


INDEX_CLEAR = operator(
    "index_clear",
    lambda x, index: _cleared(x, index),
    tensors=("x",),
    grads={"x": lambda g, index: on_either(INDEX_CLEAR, g, index=index)},
)


def _cleared(x: Value, index: tuple) -> Value:
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
)


def _as_source(x: Tensor, value: Any) -> Tensor:
    from ..creation import as_tensor, tensor

    if isinstance(value, Tensor):
        return dispatch.cast(value, x.dtype) if value.dtype is not x.dtype else value
    if isinstance(value, (int, float)):
        return tensor(_checked_number(value, x.dtype), dtype=x.dtype)
    return as_tensor(value, dtype=x.dtype)


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value, in place; `value` broadcasts."""
    window, left = _basic(x, _items(x, index))
    if any(i is not None for i in left):
        put(window, _advanced(window, left), _as_source(x, value), False)
        return
    if isinstance(value, (int, float)):
        dispatch.check_in_place(window, MODE.grad)
        _filled(window, value, "FillBackward0" if window._shape else "CopyBackwards")
        return
    source = _as_source(x, value)
    shape = window._shape
    if source._shape != shape:
        extra = len(source._shape) - len(shape)
        if extra > 0 and all(n == 1 for n in source._shape[:extra]):
            source = source.reshape(source._shape[extra:])
        if _broadcast(source._shape, shape) != shape:
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(source._shape)} cannot be broadcast to indexing "
                f"result of shape {list(shape)}"
            )
    _copied(window, source, "CopyBackwards" if source._shape or not shape else "FillBackward1")


def put(window: Tensor, index: tuple, source: Tensor, accumulate: bool) -> None:
    """Write `source` at advanced indices of a tensor, in place."""
    dispatch.check_in_place(window, MODE.grad, repeated=True)
    shape = np.empty(window._shape, np.bool_)[index].shape
    own = source._shape
    lead = len(own) - len(shape)
    if lead > 0 and all(n == 1 for n in own[:lead]):
        source = source.reshape(own[lead:])
    if _broadcast(source._shape, shape) != shape:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(own)} cannot be broadcast to indexing result of shape "
            f"{list(shape)}"
        )
    recorded = MODE.grad and (window._edge is not None or source._edge is not None)
    if recorded:
        dispatch.check_view(window)
    dispatch.check_overlap(window, source, whole=True)
    if not recorded:
        values = source._value().native()
        if source._s is not None and source._s.storage is window._storage().storage:
            values = values.copy()
        target = window._written()
        if accumulate:
            np.add.at(target, index, values)
        else:
            target[index] = values
        return
    made = INDEX_PUT.apply((window, source), index=index, accumulate=accumulate)
    dispatch.assign_result(window, made)


Tensor.__getitem__ = getitem  # type: ignore[attr-defined]
Tensor.__setitem__ = setitem  # type: ignore[attr-defined]


@public("index_put", kind="library", inplace=False)
def index_put(x: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of x with `values` written (or added) at x[indices]."""
    made = clone(x)
    index_put_(made, indices, values, accumulate)
    return made


def index_put_(x: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """Write (or add) `values` at x[indices], in place."""
    window, left = _basic(x, _items(x, tuple(slice(None) if i is None else i for i in indices)))
    put(window, _advanced(window, left), _as_source(x, values), accumulate)
    return x


Tensor.index_put_ = index_put_  # type: ignore[attr-defined]

# --- gather, scatter, index_select ------------------------------------------------------------------------------


def _index_array(name: str, index: Any, n: int, dim: int) -> np.ndarray:
    """An index tensor as an array, checked."""
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, but got {index.dtype}")
    a = np.array(index._value().native(), np.int64)
    if a.size and (int(a.min()) < 0 or int(a.max()) >= n):
        bad = int(a.max()) if int(a.max()) >= n else int(a.min())
        wrong = IndexError if name.startswith("index_") and name != "index_add" else RuntimeError
        raise wrong(f"index {bad} is out of bounds for dimension {dim} with size {n}")
    return a


def _grid(a: np.ndarray, dim: int) -> tuple:
    """Full indices that vary along `dim` as `a` says and run along the others."""
    grid = list(np.ogrid[tuple(slice(n) for n in a.shape)])
    grid[dim] = a
    return tuple(grid)


def elements_at(x: Tensor, dim: int, places: np.ndarray, keepdim: bool, label: str) -> Tensor:
    """One element along `dim` for each place along the other dimensions."""
    grid = _grid(places if keepdim else np.expand_dims(places, dim), dim)
    return INDEX.apply((x,), label, index=grid if keepdim else tuple(i.squeeze(dim) for i in grid))


GATHER = operator(
    "gather",
    lambda x, index, dim: backend.copied(x.native()[_grid(index, dim)]),
    tensors=("x",),
    grads={"x": lambda g, x_shape, index, dim: on_either(INDEX_BACKWARD, g, shape=x_shape, index=_grid(index, dim))},
)


@public("gather", kind="library", op=GATHER)
def gather(x: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j] = x[index[i][j]][j] for dim 0, and so on."""
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        return clone(x).reshape(()).expand(index._shape).clone() if index.dim() else clone(x)
    if index.dim() != x.dim():
        raise RuntimeError(
            f"Index tensor must have the same number of dimensions as input tensor: got {index.dim()} and {x.dim()}"
        )
    for k in range(x.dim()):
        if k != d and index._shape[k] > x._shape[k]:
            raise RuntimeError(
                f"Size does not match at dimension {k} expected index {list(index._shape)} to be no larger than self "
                f"{list(x._shape)} apart from dimension {d}"
            )
    return GATHER.apply((x,), index=_index_array("gather", index, x._shape[d], d), dim=d)


@public("take_along_dim", kind="library")
def take_along_dim(x: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Like `gather`, with broadcasting."""
    if dim is None:
        return gather(x.reshape(-1), 0, indices.reshape(-1))
    d = normal_dim(dim, x.dim())
    shape = list(dispatch.broadcast_shapes(
        tuple(1 if k == d else n for k, n in enumerate(x._shape)),
        tuple(1 if k == d else n for k, n in enumerate(indices._shape)),
    ))  # fmt: skip
    xs, js = list(shape), list(shape)
    xs[d], js[d] = x._shape[d], indices._shape[d]
    return gather(x.expand(xs), d, indices.expand(js))


def _scatter_value(x: Value, source: Value, index: np.ndarray, dim: int, reduce: str | None) -> Value:
    made = backend.copied(x.native())
    where = _grid(index, dim)
    values = source.native()[tuple(slice(n) for n in index.shape)]
    if reduce is None:
        made.native()[where] = values
    elif reduce == "add":
        np.add.at(made.native(), where, values)
    else:
        np.multiply.at(made.native(), where, values)
    return made


def _scatter_gradient_x(g: Any, index: np.ndarray, dim: int, reduce: str | None) -> Any:
    return g if reduce == "add" else on_either(INDEX_CLEAR, g, index=_grid(index, dim))


def _scatter_gradient_source(g: Any, source_shape: tuple, index: np.ndarray, dim: int) -> Any:
    part = on_either(GATHER, g, index=index, dim=dim)
    if index.shape == source_shape:
        return part
    return on_either(PAD_TO, part, shape=source_shape)


PAD_TO = operator(
    "pad_to",
    lambda x, shape: _padded(x, shape),
    tensors=("x",),
    grads={"x": lambda g, x_shape: _corner(g, x_shape)},
)


def _padded(x: Value, shape: tuple) -> Value:
    out = np.zeros(shape, x.dtype.np)
    out[tuple(slice(n) for n in x.shape)] = x.native()
    return backend.fresh(out)


def _corner(g: Any, shape: tuple) -> Any:
    for d, n in enumerate(shape):
        g = g.narrow_step(d, 0, 1, n)
    return g


SCATTER = operator(
    "scatter",
    _scatter_value,
    tensors=("x", "source"),
    grads={"x": _scatter_gradient_x, "source": _scatter_gradient_source},
)


def _scatter(name: str, x: Tensor, dim: int, index: Tensor, src: Any, reduce: str | None) -> Tensor:
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        x = x.reshape(1)
    a = _index_array(name, index, x._shape[d], d)
    if not isinstance(src, Tensor):
        full = arrays.empty(index._shape, x.dtype)
        full.native()[...] = src
        src = wrap(from_array(full))
    if src.dtype is not x.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
    if (
        index.dim() != x.dim()
        or any(n > s for n, s in zip(index._shape, src._shape))
        or any(n > s for k, (n, s) in enumerate(zip(index._shape, x._shape)) if k != d)
    ):
        raise RuntimeError(
            f"Expected index {list(index._shape)} to be no larger than self {list(x._shape)} apart from dimension {d} "
            f"and to be no larger size than src {list(src._shape)}"
        )
    return SCATTER.apply((x, src), label=name.capitalize().replace("_a", "A") + "Backward", index=a, dim=d,
                         reduce=reduce)  # fmt: skip


_REDUCE = {"add": "add", "multiply": "multiply", None: None}


@public("scatter", kind="library", op=SCATTER, inplace=True)
def scatter(
    x: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """A copy of x with out[index[i][j]][j] = src[i][j] for dim 0, and so on; src may be a number."""
    return _scatter("scatter", x, dim, index, value if src is None else src, _REDUCE[reduce])


@public("scatter_add", kind="library", inplace=True)
def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Like `scatter`, adding to what is there."""
    return _scatter("scatter_add", x, dim, index, src, "add")


@public("index_select", kind="library")
def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """The named indices of one dimension, in order."""
    d = normal_dim(dim, x.dim())
    if index.dim() > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if x.dim() == 0:
        return clone(x)
    a = _index_array("index_select", index, x._shape[d], d).reshape(-1)
    where = (slice(None),) * d + (a,)
    return INDEX.apply((x,), "IndexSelectBackward", index=where)


def rows_at(table: Tensor, index: Tensor) -> Tensor:
    """The rows of a table that an index of any shape names: what an embedding is."""
    a = _index_array("index_select", index, table._shape[0], 0)
    return INDEX.apply((table,), "EmbeddingBackward", index=(a,))


@public("index_add", kind="library", inplace=True)
def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """A copy of x with source's slices added at the named indices of one dimension."""
    d = normal_dim(dim, x.dim())
    where = (slice(None),) * d + (_index_array("index_add", index, x._shape[d], d),)
    return INDEX_PUT.apply(
        (x, source if alpha == 1 else source * alpha), "IndexAddBackward", index=where, accumulate=True
    )


@public("index_copy", kind="library", inplace=True)
def index_copy(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of x with source's slices put at the named indices of one dimension."""
    d = normal_dim(dim, x.dim())
    where = (slice(None),) * d + (_index_array("index_copy", index, x._shape[d], d),)
    return INDEX_PUT.apply((x, source), "IndexCopyBackward", index=where, accumulate=False)


@public("index_fill", kind="library", inplace=True)
def index_fill(x: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy of x with a number put at the named indices of one dimension."""
    d = normal_dim(dim, x.dim())
    where = (slice(None),) * d + (_index_array("index_fill", index, x._shape[d], d),)
    return INDEX_PUT.apply((x, _as_source(x, value)), "IndexFillBackward", index=where, accumulate=False)


@public("masked_select", kind="library")
def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, in one dimension."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = dispatch.broadcast_shapes(x._shape, mask._shape)
    return INDEX.apply((x.expand(shape),), "MaskedSelectBackward", index=(_as_index(mask.expand(shape)),))


@public("masked_scatter", kind="library", inplace=True)
def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy of x with consecutive elements of source put where the mask holds."""
    where = (_as_index(mask.expand(x._shape)),)
    n = int(where[0].sum())
    return INDEX_PUT.apply((x, source.reshape(-1)[:n]), index=where, accumulate=False)


@public("take", kind="library")
def take(x: Tensor, index: Tensor) -> Tensor:
    """Elements of the flattened tensor at the given indices."""
    return getitem(x.reshape(-1), index)


@public("nonzero", kind="library")
def nonzero(x: Tensor, *, as_tuple: bool = False) -> Any:
    """Indices of the elements that are not zero: one row each, or one tensor per dimension."""
    a = x._value().native()
    if as_tuple:
        return tuple(from_native(np.ascontiguousarray(i)) for i in np.nonzero(np.atleast_1d(a)))
    return wrap(backend.copied(np.argwhere(a).astype(np.int64)))


@public("argwhere", kind="library")
def argwhere(x: Tensor) -> Tensor:
    """Indices of the elements that are not zero, one row each."""
    return nonzero(x)


# --- joining and splitting --------------------------------------------------------------------------------------


def _cat_value(values: list, dim: int) -> Value:
    total = sum(v.shape[dim] for v in values)
    shape = values[0].shape[:dim] + (total,) + values[0].shape[dim + 1 :]
    out = arrays.empty(shape, values[0].dtype)
    target = out.native()
    start = 0
    before = (slice(None),) * dim
    for v in values:
        n = v.shape[dim]
        target[(*before, slice(start, start + n))] = v.native()
        start += n
    return from_array(out)


def _cat_gradient(g: Any, shapes: tuple, dim: int) -> list:
    out, start = [], 0
    for shape in shapes:
        out.append(g.narrow_step(dim, start, 1, shape[dim]))
        start += shape[dim]
    return out


CAT = operator("cat", _cat_value, tensors=("tensors",), grads={"tensors": _cat_gradient}, variadic=True)


def _common_dtype(tensors: Sequence[Tensor]) -> list[Tensor]:
    common = first = tensors[0].dtype
    same = True
    for t in tensors:
        if t.dtype is not first:
            same = False
            common = dtypes.promote_types(common, t.dtype)
    return list(tensors) if same else [dispatch.cast(t, common) for t in tensors]


@with_numpy_names
def cat(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Join tensors along an existing dimension. Raises RuntimeError where other sizes differ."""
    if isinstance(tensors, Tensor):
        raise TypeError("cat(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    tensors = list(tensors)
    if not tensors:
        raise RuntimeError("torch.cat(): expected a non-empty list of Tensors")
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
        from .registry import write_out

        return write_out(out, made)
    return made


@with_numpy_names
def stack(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Join tensors of one shape along a new dimension."""
    tensors = list(tensors)
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
    tensors = _common_dtype(tensors)
    made = _stack_windows(tensors) if d == 0 else None
    if made is None:
        made = STACK.apply(tensors, dim=d)
    if out is not None:
        from .registry import write_out

        return write_out(out, made)
    return made


def _stack_windows(tensors: list) -> Tensor | None:
    """The stack of views of one memory that differ in where they begin, as the items of a data set do.

    All are copied at once. None where the views are not like that, or the graph is to show the stack.
    """
    first = tensors[0]._s
    if first is None or first.layout is None:
        return None
    storage, (_, shape, strides) = first.storage, first.layout
    starts = []
    for t in tensors:
        a = t._s
        if a is None or a.storage is not storage or a.layout is None or a.layout[2] != strides:
            return None
        if t._edge is not None and MODE.grad:
            return None
        starts.append(a.layout[0])
    array = storage.array if storage.value is None else storage.value.ready()
    if not array.contiguous or not numel(shape) or min(strides, default=0) < 0:
        return None
    flat = array.native().reshape(-1)
    last = sum((n - 1) * s for n, s in zip(shape, strides))
    item = flat.itemsize
    windows = np.lib.stride_tricks.as_strided(
        flat, (flat.size - last, *shape), (item, *(s * item for s in strides)), writeable=False
    )
    return wrap(backend.fresh(windows[starts]))


def _stack_value(values: list, dim: int) -> Value:
    shape = values[0].shape
    out = arrays.empty(shape[:dim] + (len(values),) + shape[dim:], values[0].dtype)
    target = out.native()
    before = (slice(None),) * dim
    for i, v in enumerate(values):
        target[(*before, i)] = v.native()
    return from_array(out)


def _stack_gradient(g: Any, shapes: tuple, dim: int) -> list:
    return [g.narrow_step(dim, i, 1, 1).reshape(shape) for i, shape in enumerate(shapes)]


STACK = operator("stack", _stack_value, tensors=("tensors",), grads={"tensors": _stack_gradient}, variadic=True)

for _function, _names in ((cat, ("cat", "concat", "concatenate")), (stack, ("stack",))):
    for _name in _names:
        FUNCTIONS[_name] = _function


def _joined(name: str, dim_of: Any, at_least: int) -> Any:
    def function(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
        raised = []
        for t in tensors:
            while t.dim() < at_least:
                t = t.unsqueeze(0)
            raised.append(t)
        return cat(raised, dim_of(raised[0].dim()), out=out)

    function.__name__ = name
    FUNCTIONS[name] = function
    return function


vstack = _joined("vstack", lambda n: 0, 2)
hstack = _joined("hstack", lambda n: 0 if n == 1 else 1, 1)
FUNCTIONS["row_stack"] = vstack


@public("split", kind="view")
def split(x: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple:
    """Views of pieces along a dimension: of one size (the last may be smaller), or of the sizes listed."""
    d = normal_dim(dim, x.dim())
    n = x._shape[d]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0 or (size == 0 and n):
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
        sizes = [min(size, n - s) for s in range(0, n, size)] if n else [0]
    else:
        sizes = [int(s) for s in split_size_or_sections]
        if sum(sizes) != n:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {d}), "
                f"but got split_sizes={sizes}"
            )
    offset, shape, strides = x._geometry()
    out = []
    for s in sizes:
        out.append(x._window(offset, (*shape[:d], s, *shape[d + 1 :]), strides))
        offset += s * strides[d] if strides else 0
    label = "SplitBackward" if isinstance(split_size_or_sections, int) else "SplitWithSizesBackward"
    return _several(x, out, SPLIT, label, dim=d, sizes=tuple(sizes))


def _several(x: Tensor, pieces: list, op: Operator, label: str, **args: Any) -> tuple:
    """The views that one operator returns together: one node, whose gradient puts theirs together in one copy."""
    made = tuple(pieces)
    if MODE.grad:
        for i, piece in enumerate(made):
            if piece._s.made != "no_grad":
                piece._s.made = i
        if made and x._edge is not None:
            op.record(made, (_Meta(x._shape, x.dtype),), (x,), label, args)
    return made


def _put_together(g: Any, op: Operator, shapes: list, dtype: dtypes.dtype, dim: int) -> Any:
    """The gradients of several pieces as one; zeros for a piece that has none."""
    from ..creation import zeros

    gs = g if isinstance(g, (list, tuple)) else [g]
    some = next(x for x in gs if x is not None)
    whole = [zeros(s, dtype=dtype) if x is None else x for x, s in zip(gs, shapes)]
    if some.__class__ is Value:
        return op.forward([x if x.__class__ is Value else x._value() for x in whole], dim=dim)
    return op.apply(whole, dim=dim)


def _split_gradient(g: Any, x_shape: tuple, x_dtype: Any, dim: int, sizes: tuple) -> Any:
    shapes = [(*x_shape[:dim], s, *x_shape[dim + 1 :]) for s in sizes]
    return _put_together(g, CAT, shapes, x_dtype, dim)


def _split_value(x: Value, dim: int, sizes: tuple) -> tuple:
    out, start = [], 0
    for s in sizes:
        out.append(x.narrow_step(dim, start, 1, s))
        start += s
    return tuple(out)


def _unbind_gradient(g: Any, x_shape: tuple, x_dtype: Any, dim: int) -> Any:
    return _put_together(g, STACK, [x_shape[:dim] + x_shape[dim + 1 :]] * x_shape[dim], x_dtype, dim)


def _unbind_value(x: Value, dim: int) -> tuple:
    return tuple(SELECT.forward(x, dim=dim, index=i) for i in range(x.shape[dim]))


SPLIT = operator("split", _split_value, tensors=("x",), grads={"x": _split_gradient})
UNBIND = operator("unbind", _unbind_value, tensors=("x",), grads={"x": _unbind_gradient})


@public("split_with_sizes", kind="view")
def split_with_sizes(x: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple:
    """`split` by a list of sizes."""
    return split(x, list(split_sizes), dim)


@public("chunk", kind="view")
def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple:
    """Views of so many equal pieces along a dimension (the last may be smaller, or missing)."""
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    d = normal_dim(dim, x.dim())
    n = x._shape[d]
    return split(x, -(-n // chunks), d) if n else split(x, [0] * chunks, d)


@public("tensor_split", kind="view")
def tensor_split(x: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple:
    """Views of nearly equal pieces, or of what lies between the given indices."""
    d = normal_dim(dim, x.dim())
    n = x._shape[d]
    if isinstance(indices_or_sections, int):
        k = indices_or_sections
        sizes = [n // k + (i < n % k) for i in range(k)]
        return split(x, sizes, d)
    edges = [0, *[min(max(int(i) + (n if i < 0 else 0), 0), n) for i in indices_or_sections], n]
    return tuple(x.narrow_step(d, a, 1, max(b - a, 0)) for a, b in zip(edges, edges[1:]))


@public("unbind", kind="view")
def unbind(x: Tensor, dim: int = 0) -> tuple:
    """Views of every index of a dimension."""
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        return (select(x, d, 0),)  # raises
    offset, shape, strides = x._geometry()
    rest, steps = shape[:d] + shape[d + 1 :], strides[:d] + strides[d + 1 :]
    pieces = [x._window(offset + i * strides[d], rest, steps) for i in range(shape[d])]
    return _several(x, pieces, UNBIND, "UnbindBackward", dim=d)


def _repeated(x: Value, reps: tuple, between: tuple) -> Value:
    tiled = np.broadcast_to(x.native().reshape(between), [k for pair in zip(reps, between[1::2]) for k in pair])
    return backend.copied(tiled).reshape(tuple(r * n for r, n in zip(reps, between[1::2])))


def _repeat_gradient(g: Any, x_shape: tuple, reps: tuple, between: tuple) -> Any:
    parts = g.reshape(tuple(k for pair in zip(reps, between[1::2]) for k in pair))
    return parts.sum(tuple(range(0, len(between), 2))).reshape(x_shape)


REPEAT = operator("repeat", _repeated, tensors=("x",), grads={"x": _repeat_gradient})


def repeat(x: Tensor, *sizes: Any) -> Tensor:
    """Tile a tensor so many times along each dimension."""
    from .view import sizes_of

    reps = sizes_of(sizes)
    lead = len(reps) - x.dim()
    if lead < 0:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    shape = (1,) * lead + x._shape
    made = [r * n for r, n in zip(reps, shape)]
    for n in made:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {made}")
    return REPEAT.apply((x,), reps=tuple(reps), between=tuple(k for n in shape for k in (1, n)))


Tensor.repeat = repeat  # type: ignore[attr-defined]


@public("tile", kind="view")
def tile(x: Tensor, *dims: Any) -> Tensor:
    """Like `repeat`, with missing leading counts taken as 1."""
    from .view import sizes_of

    reps = sizes_of(dims)
    return repeat(x, (1,) * max(x.dim() - len(reps), 0) + reps)


@public("repeat_interleave", kind="library")
def repeat_interleave(x: Tensor, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Repeat each element, or each slice of a dimension, so many times in a row."""
    if dim is None:
        x, dim = x.reshape(-1), 0
    d = normal_dim(dim, x.dim())
    n = x._shape[d]
    counts = repeats._value().native() if isinstance(repeats, Tensor) else repeats
    a = np.repeat(np.arange(n), counts)
    return INDEX.apply((x,), "IndexSelectBackward", index=(slice(None),) * d + (a,))


@public("flip", kind="library")
def flip(x: Tensor, *dims: Any) -> Tensor:
    """Reverse the order along dimensions."""
    from .view import sizes_of

    wanted = {normal_dim(d, x.dim()) for d in sizes_of(dims)}
    index = tuple(np.arange(n)[::-1].copy() if d in wanted else np.arange(n) for d, n in enumerate(x._shape))
    return INDEX.apply((x,), "FlipBackward", index=np.ix_(*index)) if wanted else clone(x)


@public("roll", kind="library")
def roll(x: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Shift around along dimensions, or over the flattened tensor."""
    if dims is None:
        return roll(x.reshape(-1), shifts, 0).reshape(x._shape)
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    for s, d in zip(shifts, dims):
        d = normal_dim(d, x.dim())
        n = x._shape[d]
        if n:
            order = (np.arange(n) - s) % n
            x = INDEX.apply((x,), "RollBackward", index=(slice(None),) * d + (order,))
    return x


def _triangle(name: str) -> Any:
    function = getattr(np, name)

    def forward(x: Value, diagonal: int) -> Value:
        if x.dtype is dtypes.bfloat16:
            return backend.copied(x.native() * function(np.ones(x.shape[-2:], bool), diagonal))
        return backend.copied(function(x.native(), diagonal))

    op = operator(name, forward, tensors=("x",), grads={"x": lambda g, diagonal: on_either(op, g, diagonal=diagonal)})

    def public_form(x: Tensor, diagonal: int = 0) -> Tensor:
        if x.dim() < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        return op.apply((x,), diagonal=diagonal)

    public_form.__name__ = name
    public_form.__doc__ = f"The {'lower' if name == 'tril' else 'upper'} triangle of matrices, zeros elsewhere."
    return public(name, kind="library", op=op, inplace=True)(public_form)


tril, triu = _triangle("tril"), _triangle("triu")


@public("diag", kind="library")
def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """A matrix with this diagonal, or the diagonal of a matrix."""
    if x.dim() not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {x.dim()}D")
    if x.dim() == 1:
        return diag_embed(x, diagonal)
    return x.diagonal(diagonal).clone()


@public("diag_embed", kind="library")
def diag_embed(x: Tensor, offset: int = 0) -> Tensor:
    """Matrices with the last dimension as their diagonal."""
    n = x._shape[-1] + abs(offset)
    from .view import DIAGONAL, EMBED

    k = x.dim()
    shape = x._shape[:-1] + (n, n)
    args = {"shift": offset, "dim1": k - 1, "dim2": k}
    return EMBED.apply((x,), "DiagEmbedBackward", view=DIAGONAL, shape=shape, args=args)


# --- order ------------------------------------------------------------------------------------------------------


def _comparable(a: Any) -> Any:
    return a.astype(np.float32) if a.dtype.kind not in "fiub" else a


def _order(a: Any, dim: int, descending: bool) -> Any:
    """Indices that sort stably; NaN counts as the largest."""
    a = _comparable(a)
    if not descending:
        return np.argsort(a, axis=dim, kind="stable")
    # Sorting the reversed array and reversing the result keeps equal elements in order.
    back = np.argsort(np.flip(a, dim), axis=dim, kind="stable")
    return a.shape[dim] - 1 - np.flip(back, dim)


def _picked(x: Tensor, index: Any, dim: int, label: str) -> tuple[Tensor, Tensor]:
    values = GATHER.apply((x,), label, index=np.ascontiguousarray(index), dim=dim)
    return values, wrap(backend.copied(index.astype(np.int64)))


@public("sort", kind="library")
def sort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    """(values, indices) in order along a dimension."""
    from .results import Sort

    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        return Sort(clone(x), wrap(backend.copied(np.zeros((), np.int64))))
    return Sort(*_picked(x, _order(x._value().native(), d, descending), d, "SortBackward"))


@public("argsort", kind="library")
def argsort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """The indices that sort along a dimension."""
    return sort(x.detach(), dim, descending)[1]


@public("topk", kind="library")
def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """(values, indices) of the k largest (or smallest) elements along a dimension, in order."""
    from .results import TopK

    d = normal_dim(dim, x.dim())
    if not 0 <= k <= (x._shape[d] if x.dim() else 1):
        raise RuntimeError("selected index k out of range")
    if x.dim() == 0:
        return TopK(clone(x), wrap(backend.copied(np.zeros((), np.int64))))
    order = _order(x._value().native(), d, largest)
    return TopK(*_picked(x, order[(slice(None),) * d + (slice(k),)], d, "TopkBackward"))


@public("kthvalue", kind="library")
def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """(value, index) of the k-th smallest element along a dimension."""
    from .results import KthValue

    values, index = topk(x, k, dim, largest=False)
    values, index = values.narrow(dim, k - 1, 1), index.narrow(dim, k - 1, 1)
    return KthValue(values, index) if keepdim else KthValue(values.squeeze(dim), index.squeeze(dim))


def _median(x: Value) -> Value:
    """The lower median of all elements; NaN if there is one, or if there are no elements."""
    a = x.native().reshape(-1)
    if not a.size or (x.dtype.is_floating_point and np.isnan(_comparable(a)).any()):
        return backend.copied(np.full((), np.nan).astype(a.dtype))
    k = (a.size - 1) // 2
    return backend.copied(np.partition(_comparable(a), k)[k].astype(a.dtype).reshape(()))


def _median_gradient(g: Any, x: Any, result: Any) -> Any:
    """Equal elements share it."""
    chosen = x.eq(result)
    return chosen * (g / chosen.sum())


MEDIAN = operator("median", _median, tensors=("x",), grads={"x": _median_gradient})


@public("median", kind="library", op=MEDIAN)
def median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median: of all elements, or (values, indices) along a dimension."""
    from .results import Median

    if dim is None:
        return MEDIAN.apply((x,))
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        return Median(clone(x), wrap(backend.copied(np.zeros((), np.int64))))
    a = _comparable(x._value().native())
    if not a.shape[d]:
        raise IndexError(f"median(): Expected reduction dim {d} to have non-zero size.")
    order = np.argsort(a, axis=d, kind="stable")
    index = np.take(order, [(a.shape[d] - 1) // 2], axis=d)
    if a.dtype.kind == "f":
        missing = np.isnan(a)
        index = np.where(missing.any(axis=d, keepdims=True), missing.argmax(axis=d, keepdims=True), index)
    values, places = _picked(x, index, d, "MedianBackward")
    return Median(values, places) if keepdim else Median(values.squeeze(d), places.squeeze(d))


def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """The distinct elements in order; optionally where each element went, and how often each occurs."""
    found = np.unique(_comparable(input._value().native()), return_inverse=True, return_counts=True, axis=dim)
    values, inverse, counts = found
    out = [wrap(backend.copied(values.astype(input.dtype.np)))]
    if return_inverse:
        shape = input._shape if dim is None else (input._shape[dim],)
        out.append(wrap(backend.copied(inverse.reshape(shape).astype(np.int64))))
    if return_counts:
        out.append(wrap(backend.copied(counts.astype(np.int64))))
    return out[0] if len(out) == 1 else tuple(out)


FUNCTIONS["unique"] = unique
Tensor.unique = unique  # type: ignore[attr-defined]


@public("bincount", kind="library")
def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative integer occurs, or the sum of its weights."""
    if x.dim() != 1 or x.dtype.category != dtypes.INTEGRAL:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    a = x._value().native()
    if a.size and int(a.min()) < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is None:
        return wrap(backend.copied(np.bincount(a, None, minlength)))
    made = np.bincount(a, weights._value().native(), minlength)
    return wrap(backend.copied(made.astype(np.float32) if weights.dtype is dtypes.float32 else made))


def searchsorted(
    sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where elements would be inserted into a sorted sequence."""
    from ..creation import as_tensor

    side = side or ("right" if right else "left")
    sequence, x = sorted_sequence._value().native(), as_tensor(input)._value().native()
    if sequence.ndim == 1:
        a = np.searchsorted(sequence, x, side)
    else:  # one sequence for each row
        if sequence.shape[:-1] != x.shape[:-1]:
            raise RuntimeError(
                "searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
                f"tensor and input value tensor must match, but we got {list(sequence.shape)} and {list(x.shape)}"
            )
        a = np.empty(x.shape, np.int64)
        for row in np.ndindex(x.shape[:-1]):
            a[row] = np.searchsorted(sequence[row], x[row], side)
    made = wrap(backend.copied(np.asarray(a, np.int32 if out_int32 else np.int64)))
    if out is not None:
        from .registry import write_out

        return write_out(out, made)
    return made


FUNCTIONS["searchsorted"] = searchsorted
FUNCTIONS["bucketize"] = lambda input, boundaries, *, out_int32=False, right=False, out=None: searchsorted(
    boundaries, input, out_int32=out_int32, right=right, out=out
)

# --- running totals ---------------------------------------------------------------------------------------------


def _running(name: str, x: Value, dim: int, backwards: bool = False) -> Value:
    """Running totals; those of integers are int64."""
    return run_scan(x, name, dim, x.dtype if x.dtype.is_floating_point else dtypes.int64, backwards)


def _total_of_one(x: Tensor) -> Tensor:
    return clone(x) if x.dtype.is_floating_point else dispatch.cast(x, dtypes.int64)


def _cumsum(x: Value, dim: int) -> Value:
    return _running("cumsum", x, dim)


def _reverse_cumsum(g: Value, dim: int) -> Value:
    return _running("cumsum", g, dim, backwards=True)


REVERSE_CUMSUM = operator(
    "reverse_cumsum", _reverse_cumsum, tensors=("x",), grads={"x": lambda g, dim: on_either(CUMSUM, g, dim=dim)}
)
CUMSUM = operator("cumsum", _cumsum, tensors=("x",), grads={"x": lambda g, dim: on_either(REVERSE_CUMSUM, g, dim=dim)})


@public("cumsum", kind="library", op=CUMSUM, inplace=True)
def cumsum(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sums along a dimension."""
    if dtype is not None:
        x = dispatch.cast(x, dtype)
    d = normal_dim(dim, x.dim())
    return CUMSUM.apply((x,), dim=d) if x.dim() else _total_of_one(x)


def _cumprod_gradient(g: Any, x: Any, result: Any, dim: int) -> Any:
    values = x if x.__class__ is Value else x._value()
    if bool((values.native() == 0).any()):
        if x.__class__ is not Value:
            raise RuntimeError("the recorded gradient of cumprod() is not available where an element is zero")
        return _cumprod_gradient_with_zeros(g, x, dim)
    return on_either(REVERSE_CUMSUM, g * result, dim=dim) / x


def _cumprod_gradient_with_zeros(g: Value, x: Value, dim: int) -> Value:
    """Sum over k >= i of g[k] times the product of x[0..k] without x[i], formed position by position."""
    a, gg = np.moveaxis(x.native(), dim, 0), np.moveaxis(g.native(), dim, 0)
    out = np.zeros_like(a)
    before = np.ones_like(a[0])
    for i in range(a.shape[0]):
        running = before.copy()
        for k in range(i, a.shape[0]):
            if k > i:
                running = running * a[k]
            out[i] += gg[k] * running
        before = before * a[i]
    return backend.copied(np.moveaxis(out, 0, dim))


def _cumprod(x: Value, dim: int) -> Value:
    return _running("cumprod", x, dim)


CUMPROD = operator(
    "cumprod",
    lambda x, dim: _cumprod(x, dim),
    tensors=("x",),
    grads={"x": _cumprod_gradient},
)


@public("cumprod", kind="library", op=CUMPROD, inplace=True)
def cumprod(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running products along a dimension."""
    if dtype is not None:
        x = dispatch.cast(x, dtype)
    d = normal_dim(dim, x.dim())
    return CUMPROD.apply((x,), dim=d) if x.dim() else _total_of_one(x)


def _running_extreme(x: Tensor, dim: int, largest: bool, result: Any) -> Any:
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        return result(clone(x), wrap(backend.copied(np.zeros((), np.int64))))
    a = _comparable(x._value().native())
    best = (np.maximum if largest else np.minimum).accumulate(a, axis=d)
    steps = np.arange(a.shape[d]).reshape([-1 if k == d else 1 for k in range(a.ndim)])
    hit = (a == best) | (np.isnan(a) if a.dtype.kind == "f" else False)
    index = np.maximum.accumulate(np.where(hit, steps, 0), axis=d)
    return result(*_picked(x, index, d, "CummaxBackward" if largest else "CumminBackward"))


@public("cummax", kind="library")
def cummax(x: Tensor, dim: int) -> Any:
    """(values, indices) of the running maximum along a dimension."""
    from .results import CumMax

    return _running_extreme(x, dim, True, CumMax)


@public("cummin", kind="library")
def cummin(x: Tensor, dim: int) -> Any:
    """(values, indices) of the running minimum along a dimension."""
    from .results import CumMin

    return _running_extreme(x, dim, False, CumMin)


__all__ = ["cat", "getitem", "numel", "setitem", "stack"]
