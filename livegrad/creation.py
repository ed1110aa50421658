"""Making tensors."""

from __future__ import annotations

import functools
import itertools
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import devices, dtypes
from .autograd.node import AccumulateGrad
from .devices import cpu as CPU
from .lazy import backend
from .lazy.value import from_array
from .native import hot
from .ops.arguments import checked, refuse_unknown
from .ops.instruction import refuse
from .ops.registry import write_out
from .runtime import array as arrays
from .runtime.array import SMALL, contiguous_strides, row_of
from .tensor import Tensor, adopt_numpy, require_floating, wrap


@hot
def _finish(t: Tensor, requires_grad: bool, where: devices.device | None = None) -> Tensor:
    if where is not None and where is not CPU:
        t = wrap(from_array(arrays.moved(t._value().ready(), where)))
    if requires_grad:
        require_floating(t.dtype)
        t._edge = AccumulateGrad(t)
    return t


def makes(f: Callable) -> Callable:
    """Decorator of functions that make tensors: they take `out=`, a tensor to put the result into (see `write_out`)."""
    within = checked(f)

    @functools.wraps(f)
    @hot
    def function(*args: Any, **kwargs: Any) -> Tensor:
        if "out" not in kwargs:
            return within(*args, **kwargs)
        out = kwargs.pop("out")
        if out is None:
            return within(*args, **kwargs)
        kwargs.setdefault("dtype", out.dtype)
        kwargs.setdefault("device", out.device)
        return write_out(out, within(*args, **kwargs))

    return function


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
def _from_numpy_copy(a: np.ndarray, dtype: dtypes.dtype) -> Tensor:
    made = arrays.empty(a.shape, dtype)
    made.native()[...] = a
    return wrap(from_array(made))


def _infer_dtype(data: Any) -> dtypes.dtype:
    """bool < int64 < default float over all numbers of nested sequences; a tensor or NumPy number keeps its own."""
    found = None
    stack = [data]
    while stack:
        x = stack.pop()
        c = x.__class__
        if c is list or c is tuple:
            stack.extend(x)
            continue
        if c is float:
            d = dtypes.get_default_dtype()
        elif c is complex:
            d = dtypes.get_default_dtype().to_complex()
        elif c is bool:
            d = dtypes.bool_
        elif c is int:
            d = dtypes.int64
        elif isinstance(x, Tensor):
            d = x.dtype
        elif isinstance(x, (np.ndarray, np.generic)):
            d = dtypes.from_numpy_dtype(x.dtype)
        elif isinstance(x, Sequence) and not isinstance(x, (str, bytes)):
            stack.extend(x)
            continue
        elif hasattr(x, "__float__"):
            d = dtypes.get_default_dtype()
        else:
            raise TypeError(f"new(): data must be numbers or nested sequences of them, got {type(x).__name__}: {x!r}")
        found = d if found is None else dtypes.promote_types(found, d)
    return dtypes.get_default_dtype() if found is None else found


def _check_nested(data: Any) -> tuple:
    """The shape of nested sequences. Raises ValueError where their lengths differ."""
    if isinstance(data, (Tensor, np.ndarray)):
        return tuple(data.shape)
    if not isinstance(data, Sequence) or isinstance(data, (str, bytes)):
        return ()
    if not len(data):
        return (0,)
    first = _check_nested(data[0])
    for i, item in enumerate(data):
        shape = _check_nested(item)
        if shape != first:
            if len(shape) and len(first):
                raise ValueError(
                    f"expected sequence of length {first[0]} at dim 1 (got {shape[0]})"
                    if len(first) == len(shape)
                    else f"nested sequences differ in depth: {first} and {shape} at position {i}"
                )
            raise TypeError(f"not a sequence: element {i} has shape {shape}, the first has {first}")
    return (len(data), *first)


def _regular(data: Any) -> tuple | None:
    """(numbers, shape, their type) of nested lists and tuples of equal lengths that hold numbers of one type.

    None for anything else. All looking is done level by level, in C.
    """
    if not isinstance(data, (list, tuple)):
        return None
    level, width, shape = data, len(data), []
    kind = data.__class__
    while kind is list or kind is tuple:
        shape.append(width)
        kinds = set(map(type, level))
        if len(kinds) != 1:
            return None
        (kind,) = kinds
        if kind is list or kind is tuple:
            widths = set(map(len, level))
            if len(widths) != 1:
                return None
            (width,) = widths
            level = list(itertools.chain.from_iterable(level))
    return (level, tuple(shape), kind) if kind in _NUMBERS else None


# The dtype in which NumPy reads numbers of a type.
_NUMBERS = {float: np.float64, int: np.int64, bool: np.bool_, complex: np.complex128}


def _of_numbers(regular: tuple, dtype: Any) -> Tensor:
    """The tensor of what `_regular` has found."""
    numbers, shape, kind = regular
    d = dtype or dtypes.of_scalar(kind())
    if len(numbers) <= SMALL and (d.category == dtypes.FLOATING) == (kind is float) and dtype is None:
        try:
            row = row_of(numbers, d)
        except (OverflowError, struct.error):  # said below, or infinite in float32
            row = None
        if row is not None:
            return wrap(from_array(arrays.Array(row.block, 0, shape, contiguous_strides(shape), d, True)))
    if kind is complex and d.category != dtypes.COMPLEX:
        raise TypeError(f"must be real number, not complex: the data holds one, and dtype is {d}")
    try:
        a: np.ndarray = np.array(numbers, _NUMBERS[kind] if d.category != dtypes.FLOATING else np.float64)
    except OverflowError:
        raise ValueError(f"Overflow: a number does not fit into {d.name}") from None
    with np.errstate(all="ignore"):
        return _from_numpy_copy(a.reshape(shape), d)


def _to_nested(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data.detach()._to_numpy()
    if isinstance(data, (list, tuple)):
        return [_to_nested(x) for x in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return [_to_nested(x) for x in data]
    return data


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A tensor with a copy of `data`: numbers, nested sequences of them, a NumPy array or a tensor.

    The dtype follows from the data (Python floats become the default dtype, ints int64) unless given.
    Raises ValueError for ragged sequences, and RuntimeError for requires_grad=True with an integer dtype.

    >>> import livegrad
    >>> livegrad.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    where = devices.available(device)
    c = data.__class__
    if c is float or c is int or c is bool or c is complex:
        d = dtype or dtypes.of_scalar(data)
        if c is int and not -(2**63) <= data < 2**63 and not d.is_floating_point:
            raise ValueError(f"Overflow: {data} does not fit into 64 bits")
        made = arrays.empty((), d)
        made.native()[()] = _number(data, d)
        return _finish(wrap(from_array(made)), requires_grad, where)
    if isinstance(data, (np.ndarray, np.generic)):
        d = dtype or dtypes.from_numpy_dtype(data.dtype)
        with np.errstate(all="ignore"):
            t = _from_numpy_copy(np.asarray(data), d)
    elif isinstance(data, Tensor):
        d = dtype or data.dtype
        with np.errstate(all="ignore"):
            t = _from_numpy_copy(data.detach()._to_numpy(), d)
    else:
        regular = _regular(data)
        if regular is not None:
            return _finish(_of_numbers(regular, dtype), requires_grad, where)
        d = dtype or _infer_dtype(data)
        shape = _check_nested(data)
        nested = _to_nested(data)
        if d.category >= dtypes.FLOATING:
            a = np.array(nested, np.float64 if d.category == dtypes.FLOATING else np.complex128)
        elif d is dtypes.bool_:
            a = np.array(nested, np.bool_)
        else:
            a = np.array(nested)
            if a.dtype == object:
                raise ValueError(f"Overflow: a number does not fit into {d.name}")
        with np.errstate(all="ignore"):
            t = _from_numpy_copy(a.reshape(shape), d)
    if requires_grad:
        require_floating(d)
    return _finish(t, requires_grad, where)


@hot
def _number(x: Any, d: dtypes.dtype) -> Any:
    if x.__class__ is complex and d.category != dtypes.COMPLEX:
        if x.imag:
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        x = x.real
    if d.category == dtypes.INTEGRAL:
        limits = dtypes.iinfo(d)
        whole = int(x)
        if not limits.min <= whole <= limits.max:
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        return whole
    return x


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A zero-dimensional tensor, of the default dtype unless given."""
    return tensor(s, dtype=dtype or dtypes.get_default_dtype(), device=device, requires_grad=requires_grad)


@checked
def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a tensor, sharing memory and history where that is possible."""
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype)
    if hasattr(data, "__array__") and not isinstance(data, np.generic):
        data = np.asarray(data)
    if isinstance(data, np.ndarray) and dtypes.known_numpy_dtype(data.dtype) is not None:
        t = from_numpy(data)
        return t.to(device=device, dtype=dtype)
    return tensor(data, dtype=dtype, device=device)


asarray = as_tensor


@hot
def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor that shares memory with a NumPy array. Raises TypeError for anything else or an unsupported dtype."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    kind, size = ndarray.dtype, ndarray.itemsize
    dtypes.from_numpy_dtype(kind)
    odd = False
    for s in ndarray.strides:
        if s < 0:
            raise ValueError(
                "At least one stride in the given numpy array is negative, and tensors with negative strides are not "
                "currently supported. (You can probably work around this by making a copy of your array with "
                "array.copy().)"
            )
        if s % size:
            odd = True
    if not kind.isnative:
        raise ValueError("given numpy array has byte order different from the native byte order; convert it first")
    if odd:
        raise ValueError("given numpy array strides not a multiple of the element byte size; copy the array first")
    return adopt_numpy(ndarray)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor that shares memory with any object that speaks DLPack on the CPU."""
    a = np.from_dlpack(ext_tensor)
    return from_numpy(a)


def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A one-dimensional tensor over an object's memory."""
    return _finish(adopt_numpy(np.frombuffer(buffer, dtype.np, count, offset)), requires_grad)


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
@hot
def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any) -> Tensor:
    """Uninitialised memory of a shape."""
    if ignored:
        refuse_unknown("empty", ignored)
    where = devices.available(device)
    if "size" in ignored:
        size = (ignored["size"],)
    d = dtype or dtypes.get_default_dtype()
    return _finish(wrap(from_array(arrays.empty_on(where, _sizes(size), d))), requires_grad)


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
    if d.is_floating_point and math.isfinite(fill_value) and abs(fill_value) > dtypes.finfo(d).max:
        raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
    return _filled(_sizes(size), _number(fill_value, d), d, device, requires_grad)


def _like(make: Any) -> Any:
    @hot
    def function(
        input: Tensor, *args: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
    ) -> Tensor:
        if ignored:
            refuse_unknown(make.__name__ + "_like", ignored)
        d = dtype or input.dtype
        options = {"dtype": d, "device": device or input.device, "requires_grad": requires_grad}
        return make(input._shape, *args, **options)

    function.__name__ = make.__name__ + "_like"
    function.__doc__ = f"`{make.__name__}` with the shape and dtype of `input`."
    return checked(function)


empty_like, zeros_like, ones_like, full_like = _like(empty), _like(zeros), _like(ones), _like(full)


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
    if dtype.category == dtypes.FLOATING:
        a = lo + np.arange(n, dtype=np.float64) * by
    else:
        a = int(lo) + np.arange(n, dtype=np.int64) * int(by)
    return _finish(_from_numpy_copy(a, dtype), requires_grad, where)


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
def range_(start: Any = 0, end: Any = None, step: Any = 1, **options: Any) -> Tensor:
    """Like `arange`, with the end included, as floats."""
    n = math.floor((end - start) / step) + 1
    return tensor(start + np.arange(n) * step, dtype=options.get("dtype") or dtypes.get_default_dtype())


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


def _few_between(start: Any, end: Any, steps: int) -> Tensor:
    """`linspace` in float32, in the same arithmetic, without NumPy's arrays."""
    first, last = np.float32(start), np.float32(end)
    by = float((last - first) / np.float32(steps - 1))
    low, high, half = float(first), float(last), steps // 2
    numbers = [low + by * i if i < half else high - by * (steps - 1 - i) for i in range(steps)]
    return wrap(from_array(row_of(numbers, dtypes.float32)))  # type: ignore[arg-type]


@makes
def logspace(start: Any, end: Any, steps: int, base: float = 10.0, **options: Any) -> Tensor:
    """base to the power of `linspace(start, end, steps)`."""
    exponents = np.linspace(start, end, steps)
    return tensor(base**exponents, dtype=options.get("dtype") or dtypes.get_default_dtype())


@makes
@hot
def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal of an n x m matrix."""
    where = devices.available(device)
    d, m = dtype or dtypes.get_default_dtype(), n if m is None else m
    if where is CPU:
        return _finish(_from_numpy_copy(np.eye(n, m), d), requires_grad)
    rows, columns = (wrap(backend.count(k, 1, where)) for k in (n, m))
    return _finish((rows.reshape((n, 1)) == columns).to(d), requires_grad)


@makes
def tril_indices(row: int, col: int, offset: int = 0, **options: Any) -> Tensor:
    """Row and column numbers of the lower triangle."""
    return tensor(np.stack(np.tril_indices(row, offset, col)))


@makes
def triu_indices(row: int, col: int, offset: int = 0, **options: Any) -> Tensor:
    """Row and column numbers of the upper triangle."""
    return tensor(np.stack(np.triu_indices(row, offset, col)))


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
        options = {"dtype": dtype or self.dtype, "device": device or self.device, "requires_grad": requires_grad}
        return make(*size, **options)

    return method


Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty = _new(zeros), _new(ones), _new(empty)  # type: ignore[attr-defined]
Tensor.new_full = lambda self, size, fill_value, *, dtype=None, device=None, **o: full(  # type: ignore[attr-defined]
    size, fill_value, dtype=dtype or self.dtype, device=device or self.device
)  # type: ignore[attr-defined]
Tensor.new_tensor = lambda self, data, *, dtype=None, device=None, requires_grad=False, **o: tensor(  # type: ignore[attr-defined]
    data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad
)
