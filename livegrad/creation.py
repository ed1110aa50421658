"""Making tensors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import devices, dtypes
from .devices import cpu as CPU
from .from_data import _finish, _from_numpy_copy, from_numpy, number_as, tensor
from .lazy import backend
from .lazy.value import from_array
from .native import hot
from .observe import WATCH
from .ops.arguments import checked, refuse_unknown
from .ops.batching import batch_like
from .ops.instruction import refuse
from .ops.registry import check_out, write_out
from .overriding import COMPUTE, OVERRIDES, Public, announced, overridden
from .runtime import array as arrays
from .runtime.array import SMALL, row_of
from .runtime.ranges import ranges
from .tensor import Tensor, wrap


def makes(f: Callable) -> Callable:
    """Decorator of functions that make tensors: they take `out=`, a tensor to put the result into (see `write_out`)."""
    within = checked(f, public=False)
    entry = Public()

    @functools.wraps(f)
    @hot
    def function(*args: Any, **kwargs: Any) -> Tensor:
        if OVERRIDES.on:
            made = overridden(entry.function, args, kwargs)
            if made is not COMPUTE:
                return made
        if "dtype" in kwargs and kwargs["dtype"] is not None:
            kwargs["dtype"] = dtypes.given(kwargs["dtype"], f.__name__)
        if "out" not in kwargs:
            return within(*args, **kwargs)
        out = kwargs.pop("out")
        if out is None:
            return within(*args, **kwargs)
        check_out(f.__name__, out)
        kwargs.setdefault("dtype", out.dtype)
        kwargs.setdefault("device", out.device)
        return write_out(out, within(*args, **kwargs))

    return announced(function, entry)


@hot
def _sizes(size: tuple) -> tuple:
    if len(size) == 1 and not isinstance(size[0], (int, np.integer, Tensor)):
        size = tuple(size[0])
    out = []
    for n in size:
        if n.__class__ is int and n >= 0:
            out.append(n)
            continue
        if isinstance(n, bool) or not isinstance(n, (int, np.integer, Tensor)):
            raise TypeError(f"sizes must be integers, got {n!r} of type {type(n).__name__}")
        n = int(n)
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(map(int, size))}")
        out.append(n)
    return tuple(out)


@hot
def legacy_tensor(data: tuple, device: Any) -> Tensor:
    """What `Tensor(...)` gives: a shape, or data as the default dtype."""
    if not data:
        return empty(0)
    if len(data) == 1 and not isinstance(data[0], int):
        (only,) = data
        if isinstance(only, dtypes.Size):
            return empty(*only)
        if isinstance(only, Tensor):
            return only.detach()
        if isinstance(only, np.ndarray) and only.dtype == np.float32:
            return from_numpy(only)
        return tensor(only, dtype=dtypes.get_default_dtype(), device=device)
    return empty(*data)


@hot
def _filled(size: tuple, value: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    where = devices.available(device)
    d = dtype or dtypes.get_default_dtype()
    return _finish(wrap(from_array(arrays.full_on(where, size, d, value))), requires_grad)


@makes
def empty_strided(
    size: Sequence, stride: Sequence, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Uninitialised memory, seen through strides (numbers of elements). Raises RuntimeError for what does not fit.

    >>> import livegrad
    >>> livegrad.empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    shape, strides = _sizes(tuple(size)), tuple(stride)
    if len(shape) != len(strides):
        raise RuntimeError(
            f"mismatch in length of strides and shape: the shape is {list(shape)}, the strides are {list(strides)}"
        )
    if min(strides, default=0) < 0:
        raise RuntimeError(
            f"as_strided: Negative strides are not supported at the moment, got strides: {list(strides)}"
        )
    held = 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, strides))
    memory = empty(held, dtype=dtype, device=device)
    return _finish(memory.as_strided(shape, strides).detach(), requires_grad)  # type: ignore[attr-defined]


@makes
@hot
def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any) -> Tensor:
    """Uninitialised memory of a shape."""
    if ignored:
        refuse_unknown("empty", ignored)
    where = devices.available(device)
    if "size" in ignored:
        size = (ignored["size"],)
    d = dtype or dtypes.get_default_dtype()
    made = wrap(from_array(arrays.empty_on(where, _sizes(size), d)))
    if "memory_format" in ignored:
        made = made.contiguous(memory_format=ignored["memory_format"])
    return _finish(made, requires_grad)


@makes
def empty_permuted(
    size: Sequence, physical_layout: Sequence, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Uninitialised memory of a shape, whose dimensions lie in an order: the first of them furthest apart.

    Raises RuntimeError unless physical_layout is a permutation of the dimensions.

    >>> import livegrad
    >>> livegrad.empty_permuted((2, 3, 5), (0, 2, 1)).stride()
    (15, 1, 3)
    """
    shape, order = _sizes(tuple(size)), tuple(physical_layout)
    if len(shape) != len(order):
        raise RuntimeError(
            "Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) = "
            f"{len(shape)} is not equal to len(physical_layout) = {len(order)}"
        )
    if sorted(order) != list(range(len(order))):
        outside = next(((k, d) for k, d in enumerate(order) if not 0 <= d < len(order)), None)
        raise RuntimeError(
            f"Duplicate dim not allowed: physical_layout is {list(order)}" if outside is None else
            f"Dimension out of range (expected to be between 0 and {len(order) - 1}, but got {outside[1]} at index "
            f"{outside[0]})"
        )  # fmt: skip
    lying = empty(tuple(shape[d] for d in order), dtype=dtype, device=device)
    back = sorted(range(len(order)), key=order.__getitem__)
    return _finish(lying.permute(back).detach(), requires_grad)  # type: ignore[attr-defined]


@makes
@hot
def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any) -> Tensor:
    """Zeros of a shape.

    >>> import livegrad
    >>> livegrad.zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    if ignored:
        refuse_unknown("zeros", ignored)
    if "size" in ignored:
        size = (ignored["size"],)
    return _filled(_sizes(size), 0, dtype, device, requires_grad)


@makes
@hot
def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any) -> Tensor:
    """Ones of a shape."""
    if ignored:
        refuse_unknown("ones", ignored)
    if "size" in ignored:
        size = (ignored["size"],)
    return _filled(_sizes(size), 1, dtype, device, requires_grad)


@makes
@hot
def full(
    size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
) -> Tensor:
    """One number everywhere; the dtype follows from it unless given."""
    if ignored:
        refuse_unknown("full", ignored)
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    d = dtype or dtypes.of_scalar(fill_value)
    size = (size,) if isinstance(size, int) else tuple(size)
    if (
        d.is_floating_point
        and fill_value.__class__ is not complex
        and math.isfinite(fill_value)
        and abs(fill_value) > dtypes.finfo(d).max
    ):
        raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
    return _filled(_sizes(size), number_as(fill_value, d), d, device, requires_grad)


def _like(make: Any) -> Any:
    @hot
    def function(
        input: Tensor, *args: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
    ) -> Tensor:
        if ignored:
            refuse_unknown(make.__name__ + "_like", ignored)
        d = input.dtype if dtype is None else dtypes.given(dtype, function.__name__)
        options = {"dtype": d, "device": device or input.device, "requires_grad": requires_grad}
        made = make(input._shape, *args, **options)
        return made if WATCH.batcher is None else batch_like(made, input)

    function.__name__ = function.__qualname__ = make.__name__ + "_like"
    function.__doc__ = f"`{make.__name__}` with the shape and dtype of `input`."
    return checked(function)


empty_like, zeros_like, ones_like = _like(empty), _like(zeros), _like(ones)


@checked
@hot
def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **ignored: Any,
) -> Tensor:
    """`full` with the shape and dtype of `input`."""
    if ignored:
        refuse_unknown("full_like", ignored)
    d = input.dtype if dtype is None else dtypes.given(dtype, "full_like")
    return full(input._shape, fill_value, dtype=d, device=device or input.device, requires_grad=requires_grad)


@hot
def _plain(x: Any) -> Any:
    if isinstance(x, (Tensor, np.generic)):
        x = x.item()
    return float(x) if isinstance(x, float) else x


@makes
@hot
def arange(
    *args: Any,
    start: Any = None,
    end: Any = None,
    step: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **ignored: Any,
) -> Tensor:
    """start, start + step, ... below end. Integers give int64, else the default float dtype.

    >>> import livegrad
    >>> livegrad.arange(1., 4.)
    tensor([1., 2., 3.])
    """
    if ignored:
        refuse_unknown("arange", ignored)
    where = devices.available(device)
    lo: Any = 0
    hi: Any = None
    by: Any = 1
    if len(args) == 1:
        hi = args[0]
    elif args:
        lo, hi = args[0], args[1]
        by = args[2] if len(args) > 2 else 1
    lo = _plain(start if start is not None else lo)
    hi = _plain(end if end is not None else hi)
    by = _plain(step if step is not None else by)
    if not (math.isfinite(lo) and math.isfinite(hi)):
        raise RuntimeError(f"unsupported range: {lo} -> {hi}")
    if dtype is dtypes.int64:
        lo, hi, by = int(lo), int(hi), int(by)
    if by == 0:
        raise RuntimeError("step must be nonzero")
    if (hi - lo) / by < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype is None:
        floating = lo.__class__ is float or hi.__class__ is float or by.__class__ is float
        dtype = dtypes.get_default_dtype() if floating else dtypes.int64
    if dtype.category == dtypes.COMPLEX:
        refuse("arange_cpu", dtype)
    n = max(0, math.ceil((hi - lo) / by))
    if where is not CPU:
        return _finish(_range_elsewhere(lo, by, n, dtype, where), requires_grad)
    if n <= SMALL:
        row = _short_range(lo, by, n, dtype)
        if row is not None:
            return _finish(wrap(from_array(row)), requires_grad, where)
    return _finish(wrap(from_array(_long_range(lo, by, n, dtype))), requires_grad, where)


def _long_range(lo: Any, by: Any, n: int, dtype: dtypes.dtype) -> Any:
    """In parts, which stay in the cache while they are worked out."""
    whole = dtype.category != dtypes.FLOATING
    if whole:
        lo, by = int(lo), int(by)
    part = 1 << 15
    if n <= part:
        with np.errstate(all="ignore"):  # numbers that a half type does not hold
            return arrays.copy_of(lo + np.arange(n, dtype=np.int64 if whole else np.float64) * by, dtype)
    made = arrays.empty((n,), dtype)
    target = made.native()
    counted = np.arange(part, dtype=np.int64) * by if whole else np.arange(part, dtype=np.float64)
    numbers = np.empty_like(counted)
    with np.errstate(all="ignore"):
        for first in range(0, n, part):
            count = min(part, n - first)
            if whole:
                np.add(counted, lo + first * by, out=numbers)
            else:
                np.add(counted, first, out=numbers)
                numbers *= by
                numbers += lo
            target[first : first + count] = numbers[:count]
    return made


def _range_elsewhere(lo: Any, by: Any, n: int, dtype: dtypes.dtype, where: devices.device) -> Tensor:
    """`arange` on another device, by operators."""
    from .ops import dispatch

    counted = wrap(backend.count(n, 1, where))
    if dtype.category == dtypes.FLOATING:
        return dispatch.cast(dispatch.cast(counted, dtypes.float64) * by + lo, dtype)
    return dispatch.cast(counted * int(by) + int(lo), dtype)


@hot
def _short_range(lo: Any, by: Any, n: int, dtype: dtypes.dtype) -> Any:
    if dtype.category != dtypes.FLOATING:
        lo = int(lo)
        by = int(by)
    try:
        return row_of([lo + i * by for i in range(n)], dtype)
    except OverflowError:
        return None


@makes
def range_(
    start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False, **ignored: Any,
) -> Tensor:  # fmt: skip
    """Like `arange`, with the end included, as floats."""
    if ignored:
        refuse_unknown("range", ignored)
    if not step:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) / step < 0:
        raise RuntimeError(f"upper bound and lower bound inconsistent with step sign: from {start} to {end} by {step}")
    n = math.floor((end - start) / step) + 1
    return tensor(
        start + np.arange(n) * step,
        dtype=dtype or dtypes.get_default_dtype(),
        device=device,
        requires_grad=requires_grad,
    )


@makes
def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` numbers evenly spaced from start to end, both included."""
    where = devices.available(device)
    start, end = (v.item() if isinstance(v, Tensor) else v for v in (start, end))
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if isinstance(start, complex) or isinstance(end, complex) or (dtype is not None and dtype.is_complex):
        d = dtype or dtypes.get_default_dtype().to_complex()
        first, last = complex(start), complex(end)
        made = np.empty(max(steps, 0), d.np)
        made.real = linspace(first.real, last.real, steps, dtype=d.to_real())._to_numpy()
        made.imag = linspace(first.imag, last.imag, steps, dtype=d.to_real())._to_numpy()
        return _finish(_from_numpy_copy(made, d), requires_grad, where)
    d = dtype or dtypes.get_default_dtype()
    if d.category < dtypes.FLOATING:
        start, end = _whole_ends("linspace", start, end, d)
    if d is dtypes.float32 and 1 < steps <= SMALL and where is CPU:
        return _finish(_few_between(start, end, steps), requires_grad)
    # Counted from both ends in the dtype itself, so that the last number is `end` exactly.
    work = d.np if d.itemsize >= 4 and d.is_floating_point else np.float32 if d.is_floating_point else np.float64
    work = np.dtype(work)
    i = np.arange(steps)
    if steps > 1:
        by = work.type((work.type(end) - work.type(start)) / work.type(steps - 1))
        # Multiply and add with one rounding, as PyTorch's loop is compiled.
        wide = np.longdouble if work == np.float64 else np.float64
        low = wide(work.type(start)) + wide(by) * i
        high = wide(work.type(end)) - wide(by) * (steps - 1 - i)
        a = np.where(i < steps // 2, low, high).astype(work)
    else:
        a = np.full(steps, start, work)
    return _finish(_from_numpy_copy(a, d), requires_grad, where)


def _whole_ends(function: str, start: Any, end: Any, dtype: dtypes.dtype) -> tuple:
    """Both ends as numbers of an integer dtype, in which steps between them are counted."""
    from .ops.copying import checked_number

    if dtype is dtypes.bool_:
        raise NotImplementedError(f"\"{function}_cpu\" not implemented for 'Bool'; use an integer dtype and .bool()")
    return checked_number(start, dtype), checked_number(end, dtype)


@hot
def _few_between(start: Any, end: Any, steps: int) -> Tensor:
    """`linspace` in float32, in the same arithmetic, without NumPy's arrays."""
    first, last = np.float32(start), np.float32(end)
    by = float((last - first) / np.float32(steps - 1))
    low, high, half = float(first), float(last), steps // 2
    numbers = [low + by * i if i < half else high - by * (steps - 1 - i) for i in range(steps)]
    return wrap(from_array(row_of(numbers, dtypes.float32)))  # type: ignore[arg-type]


@makes
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False, **ignored: Any,
) -> Tensor:  # fmt: skip
    """base to the power of `linspace(start, end, steps)`."""
    if ignored:
        refuse_unknown("logspace", ignored)
    if steps < 0:
        raise RuntimeError(f"number of steps must be non-negative, got {steps}")
    for t in (start, end):
        if isinstance(t, Tensor) and t.dim():
            raise RuntimeError(
                f"logspace only supports 0-dimensional start and end tensors, but got one with {t.dim()} dimension(s)"
            )
    start, end = (t.item() if isinstance(t, Tensor) else t for t in (start, end))
    d = dtype or dtypes.get_default_dtype()
    if d.category < dtypes.FLOATING:
        start, end = _whole_ends("logspace", start, end, d)
    exponents = np.linspace(start, end, steps)
    return tensor(base**exponents, dtype=d, device=device, requires_grad=requires_grad)


@makes
@hot
def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal of an n x m matrix."""
    where = devices.available(device)
    d, m = dtype or dtypes.get_default_dtype(), n if m is None else m
    if n < 0 or m < 0:
        which, size = ("n", n) if n < 0 else ("m", m)
        raise RuntimeError(f"{which} must be greater or equal to 0, got {size}")
    if where is CPU:
        return _finish(_from_numpy_copy(np.eye(n, m), d), requires_grad)
    rows, columns = (wrap(backend.count(k, 1, where)) for k in (n, m))
    return _finish((rows.reshape((n, 1)) == columns).to(d), requires_grad)


def _check_triangle(function: str, row: int, col: int, dtype: Any, ignored: dict) -> None:
    if ignored:
        refuse_unknown(function, ignored)
    if dtype not in (dtypes.int64, dtypes.int32):
        raise NotImplementedError(f"{function}() makes tensors of dtype torch.int64 or torch.int32, not {dtype}")
    for which, size in (("row", row), ("col", col)):
        if size < 0:
            raise RuntimeError(f"{which} must be non-negative, got {size}")


@makes
def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = dtypes.int64, device: Any = None, requires_grad: bool = False,
    **ignored: Any,
) -> Tensor:  # fmt: skip
    """Row and column numbers of the lower triangle, of dtype int64 or int32."""
    _check_triangle("tril_indices", row, col, dtype, ignored)
    ends = np.clip(np.arange(1, row + 1) + offset, 0, col)
    places = np.stack(ranges(np.zeros_like(ends), ends))
    return tensor(places, dtype=dtype, device=device, requires_grad=requires_grad)


@makes
def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = dtypes.int64, device: Any = None, requires_grad: bool = False,
    **ignored: Any,
) -> Tensor:  # fmt: skip
    """Row and column numbers of the upper triangle, of dtype int64 or int32."""
    _check_triangle("triu_indices", row, col, dtype, ignored)
    firsts = np.clip(np.arange(row) + offset, 0, col)
    places = np.stack(ranges(firsts, col - firsts))
    return tensor(places, dtype=dtype, device=device, requires_grad=requires_grad)


@checked
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple:
    """Coordinate grids of one-dimensional tensors."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for t in tensors:
        if t.dim() > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {list(t.shape)}")
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if len({t.dtype for t in tensors}) > 1:
        raise RuntimeError(f"meshgrid expects all tensors to have the same dtype, but got {[t.dtype for t in tensors]}")
    swap = indexing == "xy" and len(tensors) >= 2
    order = [1, 0, *range(2, len(tensors))] if swap else list(range(len(tensors)))
    shape = tuple(tensors[k].numel() for k in order)
    out = []
    for k, t in enumerate(tensors):
        place = order.index(k)
        own = tuple(t.numel() if d == place else 1 for d in range(len(shape)))
        out.append(t.reshape(own).expand(shape))
    return tuple(out)


def _new(make: Any) -> Any:
    @hot
    def method(
        self: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
    ) -> Tensor:
        if ignored:
            refuse_unknown("new_" + make.__name__, ignored)
            if "size" in ignored:
                size = (ignored["size"],)
        options = {"dtype": dtype or self.dtype, "device": device or self.device, "requires_grad": requires_grad}
        made = make(*size, **options)
        return made if WATCH.batcher is None else batch_like(made, self)

    return method


Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty = _new(zeros), _new(ones), _new(empty)  # type: ignore[attr-defined]
Tensor.new_full = lambda self, size, fill_value, *, dtype=None, device=None, requires_grad=False, **o: batch_like(  # type: ignore[attr-defined]
    full(size, fill_value, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad), self
)
Tensor.new_tensor = lambda self, data, *, dtype=None, device=None, requires_grad=False, **o: tensor(  # type: ignore[attr-defined]
    data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad
)
