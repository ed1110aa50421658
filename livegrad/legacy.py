"""Older ways to make and reshape tensors that programs still use: `FloatTensor` and its like, `new`, `resize_`."""

from __future__ import annotations

from typing import Any

from . import creation, devices, dtypes, from_data
from .dtypes import Size
from .lazy.storage import Alias, Counter
from .runtime.array import contiguous_strides, numel
from .tensor import Tensor

__all__ = [
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor",
    "IntTensor", "LongTensor", "ShortTensor", "get_default_device", "set_default_device", "set_default_tensor_type",
]  # fmt: skip


class TensorType(type):
    """The type of the classes below: calling one makes a tensor, and tensors of its dtype are its instances.

    where: the type of device that they are on.
    """

    dtype: Any
    where: str

    def __call__(cls, *data: Any, device: Any = None) -> Tensor:
        return _made(cls.dtype, data, cls.where if device is None else device)

    def __instancecheck__(cls, obj: Any) -> bool:
        return isinstance(obj, Tensor) and obj.dtype is cls.dtype and obj.device.type == cls.where


def _made(dtype: Any, data: tuple, device: Any) -> Tensor:
    """A tensor of a shape, or of data, in a dtype."""
    if len(data) == 1 and not isinstance(data[0], int):
        (only,) = data
        if isinstance(only, Size):
            return creation.empty(only, dtype=dtype, device=device)
        if isinstance(only, Tensor):
            if only.dtype is not dtype:
                raise TypeError(f"expected {dtype} (got {only.dtype})")
            return only.detach()
        return from_data.tensor(only, dtype=dtype, device=device)
    return creation.empty(data or (0,), dtype=dtype, device=device)


def _type(name: str, dtype: Any, where: str = "cpu", module: str = "livegrad") -> TensorType:
    made = TensorType(name, (), {"dtype": dtype, "where": where, "__module__": module})
    made.__doc__ = f"``{name}(2, 3)`` is uninitialised, ``{name}([1, 2])`` holds that data, as {dtype.name}."
    return made


FloatTensor = _type("FloatTensor", dtypes.float32)
DoubleTensor = _type("DoubleTensor", dtypes.float64)
HalfTensor = _type("HalfTensor", dtypes.float16)
BFloat16Tensor = _type("BFloat16Tensor", dtypes.bfloat16)
ByteTensor = _type("ByteTensor", dtypes.uint8)
CharTensor = _type("CharTensor", dtypes.int8)
ShortTensor = _type("ShortTensor", dtypes.int16)
IntTensor = _type("IntTensor", dtypes.int32)
LongTensor = _type("LongTensor", dtypes.int64)
BoolTensor = _type("BoolTensor", dtypes.bool_)


def on_cuda(name: str) -> TensorType:
    """The type of that name whose tensors are on CUDA devices."""
    return _type(name, globals()[name].dtype, "cuda", "livegrad.cuda")


def set_default_tensor_type(t: Any) -> None:
    """Make the dtype of a type such as `DoubleTensor`, or of its name, the default for floating-point tensors.

    After a type of `livegrad.cuda`, tensors are made on the current CUDA device. Raises TypeError for what is no such
    type, RuntimeError where there is no such device.
    """
    found = t
    if isinstance(t, str):
        module, _, name = t.rpartition(".")
        found = globals().get(name)
        if isinstance(found, TensorType) and module.endswith("cuda"):
            found = on_cuda(name)
    if not isinstance(found, TensorType):
        raise TypeError(f"invalid type object: {t!r}")
    chosen = devices.available(found.where)  # raises before anything is changed
    dtypes.set_default_dtype(found.dtype)
    if found.where != devices.DEFAULT[0].type:
        devices.DEFAULT[0] = chosen


def set_default_device(device: Any) -> None:
    """Say where tensors are made that no device is named for. Raises RuntimeError for a device that is not there."""
    devices.DEFAULT[0] = devices.cpu if device is None else devices.available(device)


def get_default_device() -> devices.device:
    """Where tensors are made that no device is named for."""
    return devices.default()


def _new(self: Tensor, *data: Any, device: Any = None) -> Tensor:
    """A tensor of this one's dtype: of a shape, uninitialised, or of data."""
    return _made(self.dtype, data, self.device if device is None else device)


def _resize(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Give the tensor another shape, in place: the elements stay in order, new ones are uninitialised.

    Raises RuntimeError if the tensor requires a gradient.
    """
    if self._edge is not None:
        raise RuntimeError("cannot resize variables that require grad")
    shape = tuple(int(n) for n in (sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes))
    if shape == tuple(self._shape):
        return self
    count = min(self.numel(), numel(shape))
    made = creation.empty(shape, dtype=self.dtype, device=self.device)
    made.view(-1)[:count] = self.detach().reshape(-1)[:count]
    memory = made._storage()
    self._s, self._v = Alias(memory.storage, memory.layout, Counter(self._version + 1)), None
    return self


def _set(self: Tensor, source: Any = None, storage_offset: int = 0, size: Any = None, stride: Any = None) -> Tensor:
    """Have this tensor show the memory of another one, or of a storage, from then on; of nothing where none is given.

    storage_offset, size, stride: which elements of a storage, in elements; all of them in a row by default. Raises
    RuntimeError for another dtype, and for a tensor that is the result of a recorded operator.
    """
    if source is None:
        self.data = creation.empty(0, dtype=self.dtype, device=self.device)
        return self
    if isinstance(source, Tensor) and size is None:
        shown = source.detach()
    else:
        from .storages import _Storage

        whole = source._all if isinstance(source, _Storage) else source.detach()
        if isinstance(source, _Storage) and whole.dtype is not self.dtype:
            whole = whole.view(self.dtype)
        sizes = (whole.numel(),) if size is None else tuple(size)
        shown = whole.as_strided(sizes, contiguous_strides(sizes) if stride is None else tuple(stride), storage_offset)
    if shown.dtype is not self.dtype:
        raise RuntimeError(
            f"Could not set tensor of type {shown.dtype} to a tensor of type {self.dtype}: convert it with .to(dtype)"
        )
    self.data = shown
    return self


def _map(self: Tensor, *others_and_function: Any) -> Tensor:
    """Write what a Python function makes of this tensor's elements, and of those of others, in the place of each."""
    *others, function = others_and_function
    lists = [t.expand(self._shape).reshape(-1).tolist() for t in (self, *others)]
    made = [function(*numbers) for numbers in zip(*lists)]
    return self.copy_(from_data.tensor(made, dtype=self.dtype).reshape(self._shape))  # type: ignore[no-any-return]


def _new_empty_strided(
    self: Tensor, size: Any, stride: Any, dtype: Any = None, device: Any = None, **options: Any
) -> Tensor:
    """An uninitialised tensor of these strides, of this one's dtype and device if no others are given."""
    return creation.empty_strided(size, stride, dtype=dtype or self.dtype, device=device or self.device, **options)


def _is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both see the same elements of the same memory, in the same order."""
    a, b = self._s, tensor._s
    if a is None or b is None:
        return self is tensor
    return a.storage is b.storage and self._geometry() == tensor._geometry()


Tensor.set_ = _set  # type: ignore[attr-defined]
Tensor.map_ = lambda self, tensor, callable: _map(self, tensor, callable)  # type: ignore[attr-defined]
Tensor.map2_ = lambda self, x, y, callable: _map(self, x, y, callable)  # type: ignore[attr-defined]
Tensor.new_empty_strided = _new_empty_strided  # type: ignore[attr-defined]
# Memory is reused in the order of streams.
Tensor.record_stream = lambda self, stream: None  # type: ignore[attr-defined]
Tensor.is_distributed = lambda self: False  # type: ignore[attr-defined]
Tensor.is_set_to = _is_set_to  # type: ignore[attr-defined]
Tensor.new = _new  # type: ignore[attr-defined]
Tensor.resize_ = _resize  # type: ignore[attr-defined]
Tensor.resize_as_ = lambda self, other, memory_format=None: _resize(self, tuple(other._shape))  # type: ignore[attr-defined]
