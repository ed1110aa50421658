"""What PyTorch's ``torch.save`` writes: a pickle, and the bytes of the storages that its tensors are views of.

Since version 1.6 it is a zip archive (`archive`), before that a stream of pickles and bytes (`stream`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..runtime.array import is_contiguous
from .arrays import fill_array, fill_dtype, numpy_functions
from .machine import Function, Machine, Special, elements, hashable, name_of, refuse
from .objects import BY_NAME, dress, dtype_named, from_array, kind_of, library, window_onto
from .placing import Placer
from .safe import inert, safe_class

__all__ = ["STORAGES", "File", "StorageType", "TorchPickle"]

STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}

_TORCH_DTYPES = {
    *("uint16", "uint32", "uint64", "complex32", "chalf"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"),
    *("quint8", "qint8", "qint32", "quint4x2", "quint2x4", "bits8", "bits16"),
}


class _OfStorage(Special):
    dtype: str

    @property
    def shown(self) -> str:
        return f"a storage of {self.dtype}"


@dataclass
class Storage(_OfStorage):
    """Memory that tensors of a PyTorch file are views of."""

    key: str
    data: np.ndarray  # bytes
    dtype: str
    location: str


@dataclass(frozen=True)
class StorageType(_OfStorage):
    """The class of storages of a dtype."""

    dtype: str


@dataclass(frozen=True)
class TensorClass(Special):
    """The class of plain tensors, as what a tensor with attributes is to be."""

    name: str

    @property
    def shown(self) -> str:
        return f"torch.{self.name}"


_TENSOR_CLASSES = {("torch", "Tensor"), ("torch._tensor", "Tensor"), ("torch.nn.parameter", "Parameter")}


@dataclass(frozen=True)
class UnknownDtype(Special):
    """A dtype that PyTorch has and livegrad has not: an error only where a tensor or the caller needs it."""

    name: str

    @property
    def shown(self) -> str:
        return f"torch.{self.name}, a dtype that livegrad has not"


class File(Protocol):
    """Where the storages of a file are."""

    size: int  # of the whole file
    swap: bool  # whether its numbers have their bytes in the other order

    def storage(self, key: str) -> np.ndarray:
        """The bytes of a storage."""
        ...


class TorchPickle(Machine):
    """The pickle of the object that was saved: tensors, parameters and plain containers."""

    fillers = {np.ndarray: fill_array, np.dtype: fill_dtype}

    def __init__(self, file: File, place: Placer, data: bytes, position: int = 0):
        super().__init__(data, position)
        self.file = file
        self.place = place
        self.storages: dict[str, Storage] = {}
        self.wholes: dict[tuple[str, str], Any] = {}  # by storage and dtype: a tensor that is all of its memory
        self.tensor_budget = 4 * file.size + 2**26

    def tensor_functions(self) -> dict[tuple[str, str], Callable[..., Any]]:
        """What makes tensors and what belongs to them."""
        return {
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor_v2,
            ("torch._utils", "_rebuild_tensor_v3"): self._tensor_v3,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): self._parameter_with_state,
            ("torch._tensor", "_rebuild_from_type_v2"): self._with_state,
            ("torch", "Size"): self._size,
            ("torch", "device"): self._device,
        }

    def named(self, module: Any, name: Any) -> Any:
        functions: dict[tuple[str, str], Callable[..., Any]] = {
            **self.tensor_functions(),
            **numpy_functions(),
            ("collections", "OrderedDict"): self._ordered_dict,
            ("_codecs", "encode"): self._encode,
            ("builtins", "bytes"): self._bytes,
            ("builtins", "bytearray"): self._bytearray,
            ("builtins", "complex"): self._complex,
            ("builtins", "set"): self._set,
            ("builtins", "frozenset"): self._frozenset,
        }
        if not isinstance(module, str) or not isinstance(name, str):
            raise refuse("its pickle is damaged: the name of a class is not text")
        module = {"__builtin__": "builtins"}.get(module, module)
        if (module, name) in functions:
            return Function(f"{module}.{name}", functions[module, name])
        if module in ("torch", "torch.storage") and name in STORAGES:
            return StorageType(STORAGES[name])
        if module == "torch" and name.isidentifier():
            known = dtype_named(name)
            if known is not None:
                return known
            if name in _TORCH_DTYPES:
                return UnknownDtype(name)
        if (module, name) in _TENSOR_CLASSES:
            return TensorClass(name)
        safe = safe_class(module, name)
        if safe is not None:
            self.allowed.append(safe)
            return safe
        harmless = inert(module, name)
        if harmless is not None:
            return harmless
        raise refuse(
            f"Weights only load failed: GLOBAL {module}.{name} was not an allowed global by default. Only tensors, "
            "parameters and plain containers are read, because anything else could run code. If you trust where the "
            f"file is from, pass weights_only=False, or allow it by add_safe_globals([{name}]) of "
            "livegrad.serialization; or save the state_dict() of models and optimizers, and other objects as plain "
            "numbers, strings, lists and dicts"
        )

    def persistent(self, reference: Any) -> Storage:
        """The storage that a pickle refers to."""
        kind, key, location = storage_reference(reference)
        known = self.storages.get(key)
        if known is None:
            known = self.storages[key] = Storage(key, self.file.storage(key), kind.dtype, location)
        return Storage(key, known.data, kind.dtype, location)

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> Any:
        return self._view(storage, offset, size, stride, getattr(storage, "dtype", None), False, None)

    def _tensor_v2(
        self, storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, metadata: Any = None
    ) -> Any:
        self._no_hooks(hooks)
        return self._view(storage, offset, size, stride, getattr(storage, "dtype", None), grad, metadata)

    def _tensor_v3(
        self, storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, metadata: Any = None
    ) -> Any:
        self._no_hooks(hooks)
        return self._view(storage, offset, size, stride, getattr(dtype, "name", None), grad, metadata)

    def _no_hooks(self, hooks: Any) -> None:
        if hooks:
            raise refuse("it holds a tensor with hooks, which are code")

    def _view(self, storage: Any, offset: Any, size: Any, stride: Any, dtype: Any, grad: Any, metadata: Any) -> Any:
        """The tensor that views a storage with this offset, size and stride (in elements)."""
        if not isinstance(storage, Storage):
            raise refuse(f"its pickle would make a tensor of {name_of(storage)}")
        if dtype not in BY_NAME:
            raise refuse(
                f"it holds a tensor of dtype {dtype}, which livegrad has no tensors of. Convert it in PyTorch first"
            )
        numbers = (offset, *size, *stride) if type(size) is type(stride) is tuple else (None,)
        if not all(type(n) is int and 0 <= n < 2**62 for n in numbers) or len(size) != len(stride) or len(size) > 64:
            raise refuse("its pickle is damaged: a tensor's size and strides are not plain numbers")
        if metadata and (type(metadata) is not dict or set(metadata) - {"conj", "neg"}):
            raise refuse("it holds a tensor of a kind that livegrad does not know")
        if type(grad) is not bool:
            raise refuse("its pickle is damaged: a tensor's requires_grad is not true or false")
        kind = BY_NAME[dtype]
        changes = {name for name in metadata or {} if metadata[name]}
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if count else 0
        length = len(storage.data) // kind.itemsize
        if count and last >= length:
            raise refuse(f"its pickle is damaged: a tensor reaches element {last} of a storage of {length}")
        if not count:
            return dress(self.place(from_array(np.empty(size, kind)), storage.location), "tensor", grad)
        if changes or count > length:
            self.tensor_budget -= count * kind.itemsize
            if self.tensor_budget < 0:
                raise refuse(
                    "its tensors, written out in full, are far larger than the file. If it has expanded tensors, save "
                    "them after .clone()"
                )
        tensor = self._seen(storage, dtype, kind, length, (offset, size, stride))
        if changes:
            tensor = tensor.conj() if "conj" in changes else tensor
            tensor = (-tensor if "neg" in changes else tensor).clone()
        return dress(tensor, "tensor", grad)

    def _seen(self, storage: Storage, dtype: str, kind: np.dtype, length: int, window: tuple) -> Any:
        """A window (offset, size, stride) onto a storage: all of them see each other's changes, as in PyTorch."""
        whole = self.wholes.get((storage.key, dtype))
        offset, size, stride = window
        all_of_it = offset == 0 and math.prod(size) == length and is_contiguous(size, stride)
        if whole is None:
            array = storage.data[: length * kind.itemsize].view(kind)
            if self.file.swap:
                array = array.byteswap()
            if dtype == "bool":
                array = array.view(np.uint8) != 0
            if any(key == storage.key for key, _ in self.wholes):
                array = array.copy()
            whole = self.place(from_array(array.reshape(size) if all_of_it else array), storage.location)
            self.wholes[storage.key, dtype] = whole
            if all_of_it:
                return whole
        return window_onto(whole, offset, size, stride)

    def _parameter(self, data: Any, requires_grad: Any, hooks: Any) -> Any:
        self._no_hooks(hooks)
        if kind_of(data) != "tensor" or type(requires_grad) is not bool:
            raise refuse(f"its pickle would make a parameter of {name_of(data)}")
        return dress(data, "parameter", requires_grad)

    def _parameter_with_state(self, data: Any, requires_grad: Any, hooks: Any, state: Any) -> Any:
        made = self._parameter(data, requires_grad, hooks)
        return self._stated(made, state)

    def _with_state(self, function: Any, kind: Any, args: Any, state: Any) -> Any:
        """A tensor with attributes, or of a class derived from tensors."""
        call = function.run if isinstance(function, Function) else function
        if call not in (self._tensor_v2, self._tensor_v3, self._parameter) or type(args) is not tuple:
            raise refuse("its pickle would make a tensor in a way that livegrad does not know")
        made = call(*args)
        if type(state) is dict and state.pop("_is_buffer", False):
            return library().nn.Buffer(made, persistent=bool(state.get("persistent", True)))
        if isinstance(kind, type) and issubclass(kind, library().Tensor) and kind is not type(made):
            grad = made.requires_grad
            made = made.detach()._as_class(kind)
            made.requires_grad = grad
        elif not isinstance(kind, TensorClass) and kind is not type(made):
            raise refuse(f"its pickle would make a tensor of class {name_of(kind)}")
        return self._stated(made, state)

    @staticmethod
    def _stated(made: Any, state: Any) -> Any:
        """A tensor with attributes of its own."""
        plain = state[0] if type(state) is tuple and len(state) == 2 else state  # the second are slots
        if type(plain) is not dict or not all(type(name) is str and not name.startswith("_") for name in plain):
            raise refuse("its pickle would set attributes of a tensor that it must not")
        for name, value in plain.items():
            if not hasattr(type(made), name):
                made.__dict__[name] = value
        return made

    def _size(self, sizes: Any) -> Any:
        if type(sizes) not in (tuple, list) or not all(type(n) is int for n in sizes):
            raise refuse("its pickle is damaged: a size that is not made of ints")
        return library().Size(sizes)

    def _device(self, kind: Any, index: Any = None) -> Any:
        if type(kind) is not str or (index is not None and type(index) is not int):
            raise refuse("its pickle is damaged: a device that is not a name")
        try:
            return library().device(kind) if index is None else library().device(kind, index)
        except RuntimeError as error:
            raise refuse(f"it holds a device that livegrad does not know ({error})") from None

    def _ordered_dict(self, items: Any = ()) -> Any:
        if type(items) not in (list, tuple):
            raise refuse("its pickle is damaged: an OrderedDict of something else than pairs")
        made: OrderedDict = OrderedDict()
        for item in items:
            if type(item) not in (list, tuple) or len(item) != 2:
                raise refuse("its pickle is damaged: an OrderedDict of something else than pairs")
            made[hashable(item[0])] = item[1]
        return made

    def _encode(self, text: Any, encoding: Any) -> bytes:
        # How Python writes bytes in the older pickle protocols.
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise refuse("its pickle would encode text in another way than bytes are written")
        return text.encode("latin1")

    def _bytes(self) -> bytes:
        return b""  # others come through _encode

    def _bytearray(self, data: Any = b"", encoding: Any = None) -> bytearray:
        if type(data) is str and encoding == "latin-1":
            return bytearray(data.encode("latin1"))
        if type(data) not in (bytes, bytearray):
            raise refuse("its pickle would make a bytearray of something else than bytes")
        return bytearray(data)

    def _complex(self, real: Any, imag: Any) -> complex:
        if type(real) not in (int, float) or type(imag) not in (int, float):
            raise refuse("its pickle would make a complex number of something else than numbers")
        return complex(real, imag)

    def _set(self, items: Any = ()) -> set:
        return set(elements(items))

    def _frozenset(self, items: Any = ()) -> frozenset:
        return frozenset(elements(items))


def storage_reference(reference: Any) -> tuple[StorageType, str, str]:
    """The type of a storage, its key, and the device it was on, as a pickle has them."""
    if (
        type(reference) is not tuple
        or len(reference) not in (5, 6)
        or reference[0] != "storage"
        or not isinstance(reference[1], StorageType)
        or not isinstance(reference[2], str)
        or not isinstance(reference[3], str)
    ):
        raise refuse("its pickle refers to something outside it that is not a storage")
    if reference[5:] not in ((), (None,)):
        raise refuse("it has views of storages, as PyTorch wrote before version 0.4. Save it again with torch.save")
    return reference[1:4]
