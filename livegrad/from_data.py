"""Making tensors from data: Python numbers and lists, NumPy arrays, buffers, other libraries' tensors."""

from __future__ import annotations

import functools
import itertools
import math
import os
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import capsules, devices, dtypes
from .autograd.node import AccumulateGrad
from .devices import cpu as CPU
from .lazy.value import from_array
from .native import hot
from .ops.arguments import checked
from .runtime import array as arrays
from .runtime.array import SMALL, contiguous_strides, row_of
from .site import warn
from .tensor import Tensor, adopt_numpy, require_floating, wrap


@hot
def _finish(t: Tensor, requires_grad: bool, where: devices.device | None = None) -> Tensor:
    if where is not None and where is not CPU:
        t = wrap(from_array(arrays.moved(t._value().ready(), where)))
    if requires_grad:
        require_floating(t.dtype)
        t._edge = AccumulateGrad(t)
    return t


@hot
def _from_numpy_copy(a: np.ndarray, dtype: dtypes.dtype) -> Tensor:
    return wrap(from_array(arrays.copy_of(a, dtype)))


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
        elif hasattr(x, "__float__") and not isinstance(x, type):
            d = dtypes.get_default_dtype()
        else:
            if isinstance(x, (str, bytes)):
                if x is not data and all(isinstance(item, str) for item in stack) and isinstance(x, str):
                    raise ValueError(f"too many dimensions 'str': data must be numbers or sequences of them, got {x!r}")
                raise TypeError(
                    f"new(): invalid data type '{type(x).__name__}': data must be numbers or nested sequences of them, "
                    f"got {x!r}"
                )
            raise RuntimeError(
                f"Could not infer dtype of {type(x).__name__}: data must be numbers or nested sequences of them, "
                f"got {x!r}"
            )
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


@hot
def _regular(data: Any) -> tuple | None:
    """(numbers, shape, their type) of nested lists and tuples of equal lengths that hold numbers of one type.

    None for anything else. All looking is done level by level, in C.
    """
    if not isinstance(data, (list, tuple)):
        return None
    level, width = data, len(data)
    shape: list[int] = []
    kind = data.__class__
    while kind is list or kind is tuple:
        if len(shape) == 64:  # deeper than arrays can be: a list that holds itself, say
            return None
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


@hot
def of_few(numbers: list, shape: tuple, d: dtypes.dtype) -> Tensor | None:
    """The tensor of a few Python numbers; None where they are more, or one is out of the dtype's range."""
    try:
        row = row_of(numbers, d)
    except (OverflowError, struct.error):  # too large a whole number, or infinite in float32
        return None
    if row is None:
        return None
    return wrap(from_array(arrays.Array(row.block, 0, shape, contiguous_strides(shape), d, True)))


def _of_numbers(regular: tuple, dtype: Any) -> Tensor:
    """The tensor of what `_regular` has found."""
    numbers, shape, kind = regular
    d = dtype or dtypes.of_scalar(kind())
    if len(numbers) <= SMALL and (d.category == dtypes.FLOATING) == (kind is float) and dtype is None:
        few = of_few(numbers, shape, d)
        if few is not None:
            return few
    if kind is complex and d.category != dtypes.COMPLEX:
        raise TypeError(f"must be real number, not complex: the data holds one, and dtype is {d}")
    try:
        a: np.ndarray = np.array(numbers, _NUMBERS[kind] if d.category != dtypes.FLOATING else np.float64)
    except OverflowError:
        raise ValueError(f"Overflow: a number does not fit into {d.name}") from None
    if d.category == dtypes.INTEGRAL:
        _check_range(a, d)
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


@hot
def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A tensor with a copy of `data`: numbers, nested sequences of them, a tensor, an array of any library.

    The dtype follows from the data (Python floats become the default dtype, ints int64) unless given.
    Raises ValueError for ragged sequences, and RuntimeError for requires_grad=True with an integer dtype.

    >>> import livegrad
    >>> livegrad.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    where = devices.available(device)
    if dtype is not None:
        dtype = dtypes.given(dtype, "tensor")
    if data.__class__ is np.ndarray:
        own = dtypes.from_numpy_dtype(data.dtype)
        if dtype is None or dtype is own:
            return _finish(_from_numpy_copy(data, own), requires_grad, where)
        if data.size <= SMALL and data.dtype.kind == "f" and dtype.category == dtypes.FLOATING:
            few = of_few(data.reshape(-1).tolist(), data.shape, dtype)
            if few is not None:
                return _finish(few, requires_grad, where)
    return _tensor_of(data, dtype, where, requires_grad)


def _tensor_of(data: Any, dtype: Any, where: devices.device, requires_grad: bool) -> Tensor:
    c = data.__class__
    if c is float or c is int or c is bool or c is complex:
        d = dtype or dtypes.of_scalar(data)
        if c is int and not -(2**63) <= data < 2**63 and not d.is_floating_point:
            raise ValueError(f"Overflow: {data} does not fit into 64 bits")
        made = arrays.empty((), d)
        made.native()[()] = number_as(data, d)
        return _finish(wrap(from_array(made)), requires_grad, where)
    if hasattr(c, "__array__") and not isinstance(data, (Tensor, np.ndarray, np.generic)):
        data = np.asarray(data)  # another library's array
    if isinstance(data, (np.ndarray, np.generic)):
        d = dtype or dtypes.from_numpy_dtype(data.dtype)
        with np.errstate(all="ignore"):
            t = _from_numpy_copy(np.asarray(data), d)
    elif isinstance(data, Tensor):
        if type(data) is not Tensor:
            data = data._alias(silent=True)
        warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor)."
        )
        d = dtype or data.dtype
        with np.errstate(all="ignore"):
            t = _from_numpy_copy(data.detach()._to_numpy(), d)
    else:
        regular = _regular(data)
        if regular is not None:
            return _finish(_of_numbers(regular, dtype), requires_grad, where)
        try:
            shape = _check_nested(data)
        except RecursionError:
            raise ValueError(
                "too many dimensions: sequences are nested without an end (a list holds itself?)"
            ) from None
        d = dtype or _infer_dtype(data)
        nested = _to_nested(data)
        if d.category >= dtypes.FLOATING:
            a = np.array(nested, np.float64 if d.category == dtypes.FLOATING else np.complex128)
        elif d is dtypes.bool_:
            a = np.array(nested, np.bool_)
        else:
            a = np.array(nested)
            if a.dtype == object:
                raise ValueError(f"Overflow: a number does not fit into {d.name}")
            if a.dtype == np.float64 and a.size and 2.0**53 <= abs(a).max() < 2.0**63:
                # Floats among whole numbers that float64 would round.
                a = np.array([int(x) for x in np.array(nested, object).flat], np.int64)
            _check_range(a, d)
        with np.errstate(all="ignore"):
            t = _from_numpy_copy(a.reshape(shape), d)
    if requires_grad:
        require_floating(d)
    return _finish(t, requires_grad, where)


def _check_range(a: np.ndarray, d: dtypes.dtype) -> None:
    """Raise where numbers do not fit into a dtype of whole numbers; of bytes negative ones wrap around."""
    if not a.size or a.dtype == d.np or a.dtype.kind not in "iuf":
        return
    limits = dtypes.iinfo(d)
    least = -limits.max if d is dtypes.uint8 else limits.min
    if not (a.min() >= least and (a.max() < 2.0**63 if d is dtypes.int64 else np.trunc(a.max()) <= limits.max)):
        raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")


@hot
def number_as(x: Any, d: dtypes.dtype) -> Any:
    if x.__class__ is complex and d.category != dtypes.COMPLEX:
        if x.imag:
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        x = x.real
    if d.category == dtypes.INTEGRAL:
        limits = dtypes.iinfo(d)
        if x.__class__ is float and not math.isfinite(x):
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        whole = int(x)
        if d is dtypes.uint8 and x.__class__ is int and -limits.max <= whole < 0:
            return whole + 256  # whole numbers wrap around
        if not limits.min <= whole <= limits.max:
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        return whole
    return x


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A zero-dimensional tensor, of the default dtype unless given."""
    return tensor(s, dtype=dtype or dtypes.get_default_dtype(), device=device, requires_grad=requires_grad)


@functools.partial(checked, public=False)
@hot
def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a tensor, sharing memory and history where that is possible."""
    if isinstance(data, Tensor):
        return data if device is None and dtype is None else data.to(device=device, dtype=dtype)
    if hasattr(data, "__array__") and not isinstance(data, np.generic):
        data = np.asarray(data)
    if isinstance(data, np.ndarray) and dtypes.known_numpy_dtype(data.dtype) is not None:
        t = from_numpy(data)
        return t.to(device=device, dtype=dtype)
    return tensor(data, dtype=dtype, device=device)


@functools.partial(checked, public=False)
def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool | None = None
) -> Tensor:
    """`obj` as a tensor, sharing memory where that is possible, as the array API has it.

    copy: True for memory of its own, False to raise ValueError where there is no other way. requires_grad: whether the
    tensor requires a gradient; unless given, it does if `obj` is a tensor that does.
    """
    shares = isinstance(obj, Tensor) or (hasattr(obj, "__array__") and not isinstance(obj, np.generic))
    if copy is False and not shares:
        raise ValueError("can't alias arbitrary sequence into a tensor.")
    made = plain = as_tensor(obj, None if shares else dtype, None if shares else device)
    if shares:
        made = made.to(device=device, dtype=dtype)
        if copy is False and made is not plain:
            wanted = f"device {made.device}" if made.device != plain.device else f"dtype {made.dtype}"
            raise ValueError(f"can't alias tensor with dtype {plain.dtype} into {wanted}.")
        if copy and made is plain:
            made = made.clone()
    if requires_grad is None or made.requires_grad == requires_grad:
        return made
    return made.requires_grad_() if requires_grad else made.detach()


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
    """A tensor that shares memory with any object that speaks DLPack on the CPU, or with a capsule made by one."""
    if type(ext_tensor).__name__ != "PyCapsule":
        if isinstance(ext_tensor, Tensor) and ext_tensor.device.type == "cpu":
            return from_dlpack(ext_tensor.__dlpack__())
        try:
            return from_numpy(np.from_dlpack(ext_tensor))
        except RuntimeError:
            ext_tensor = ext_tensor.__dlpack__()
            if capsules.kind_of(ext_tensor) != capsules.BFLOAT:
                raise
    if capsules.kind_of(ext_tensor) != capsules.BFLOAT:
        return from_numpy(np.from_dlpack(_Capsule(ext_tensor)))
    bits = np.from_dlpack(_Capsule(capsules.relabel(ext_tensor, capsules.SIGNED)))
    return adopt_numpy(bits.view(dtypes.bfloat16.np))


class _Capsule:
    """An object that gives out a capsule which was made before; whose memory is where, it does not tell."""

    def __init__(self, capsule: Any):
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A one-dimensional tensor over an object's memory."""
    return _finish(adopt_numpy(np.frombuffer(buffer, dtype.np, count, offset)), requires_grad)


def from_file(
    filename: Any, shared: bool | None = None, size: int = 0, *, dtype: Any = None, requires_grad: bool = False,
    layout: Any = None, device: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A one-dimensional tensor of a file's first `size` elements, which are read where they are asked for.

    shared: whether writing into the tensor writes into the file, which is then made, or made longer, if need be;
    otherwise changes are the tensor's own. Raises RuntimeError where there is no such file, or it is too short, and
    for a device other than the CPU; TypeError where `shared` is no bool.

    >>> import livegrad, tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     livegrad.from_file(file.name, shared=True, size=2).fill_(1.0)
    ...     livegrad.from_file(file.name, size=2)
    tensor([1., 1.])
    tensor([1., 1.])
    """
    d = dtypes.get_default_dtype() if dtype is None else dtype
    if shared is not None and not isinstance(shared, bool):
        raise TypeError(f"from_file(): argument 'shared' (position 2) must be bool, not {type(shared).__name__}")
    if device is not None and devices.device(device).type != "cpu":
        raise RuntimeError(f"from_file(): files are seen on the CPU only, not on {device}")
    path = os.fspath(filename)
    if not shared and not os.path.exists(path):
        raise RuntimeError(f"unable to open file <{path}> in read-only mode: No such file or directory (2)")
    wanted = size * d.itemsize
    there = os.path.getsize(path) if os.path.exists(path) else 0
    if there < wanted:
        if not shared:
            raise RuntimeError(f"file <{path}> size <{there}> is smaller than the required mapping size <{wanted}>")
        with open(path, "ab") as file:
            file.truncate(wanted)
    if size == 0:
        return _finish(adopt_numpy(np.empty(0, d.np)), requires_grad)
    return _finish(adopt_numpy(np.memmap(path, d.np, "r+" if shared else "c", shape=(size,))), requires_grad)
