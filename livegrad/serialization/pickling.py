"""From an object to a pickle as PyTorch writes it, and the storages that its tensors are views of.

Tensors, parameters, dtypes, devices and sizes, and the library's own classes and functions, stand in it under PyTorch's
names (`names`); everything else as Python's pickle has it.
"""

from __future__ import annotations

import codecs
import io
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np

from .names import NAME, torch_name
from .objects import kind_of, library, storage_content
from .torchfile import STORAGES

__all__ = ["Pickler", "pickled"]

_STORAGE_CLASSES = {dtype: name for name, dtype in STORAGES.items() if name != "UntypedStorage"}


class Name:
    """Something of PyTorch's that the pickle names and that is not ours."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def __call__(self) -> None:
        """Only because pickle asks whether it could be called."""


class StorageReference:
    """The memory of tensors; written as a reference to an entry of the archive."""

    def __init__(self, dtype: str, key: str, location: str, count: int):
        self.parts = ("storage", Name(NAME, _STORAGE_CLASSES[dtype]), key, location, count)


_PLAIN = {type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, OrderedDict, Name}
_TENSOR = Name("torch._utils", "_rebuild_tensor_v2")
_PARAMETER = Name("torch._utils", "_rebuild_parameter")
_WITH_STATE = Name("torch._tensor", "_rebuild_from_type_v2")
_TENSOR_CLASS = Name(NAME, "Tensor")


class Pickler(pickle._Pickler):
    """Python's pickler in Python: its other one insists on importing whatever it names."""

    def __init__(self, file: Any):
        super().__init__(file, 2)
        self.storages: dict[str, np.ndarray] = {}  # by key: their bytes
        self._references: dict[Any, StorageReference] = {}
        self._alive: list[Any] = []  # so that no id is used twice

    def persistent_id(self, obj: Any) -> Any:
        return obj.parts if type(obj) is StorageReference else None

    def save_global(self, obj: Any, name: Any = None) -> None:
        if type(obj) is Name:
            named: tuple[str, str] | None = (obj.module, obj.name)
        else:
            named = (NAME, obj.name) if kind_of(obj) == "dtype" else torch_name(obj)
        if named is None:
            super().save_global(obj, name)  # type: ignore[misc]
            return
        self.write(pickle.GLOBAL + f"{named[0]}\n{named[1]}\n".encode())  # type: ignore[attr-defined]
        self.memoize(obj)  # type: ignore[attr-defined]

    dispatch = {**pickle._Pickler.dispatch, Name: save_global}  # type: ignore[attr-defined, dict-item]

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is bytes and not obj:
            return codecs.encode, ("", "latin1")  # as longer ones are: PyTorch takes no other form without being asked
        if type(obj) in _PLAIN:
            return NotImplemented
        if isinstance(obj, library().Tensor):
            return self._tensor(obj)
        kind = kind_of(obj)
        if kind == "size":
            return Name(NAME, "Size"), (tuple(int(n) for n in obj),)
        if kind == "device":
            place = (obj.type,) if obj.index is None else (obj.type, obj.index)
            return Name(NAME, "device"), place
        if kind == "dtype":
            return obj.name
        if isinstance(obj, library().nn.Module) and not isinstance(obj, type):
            return _module_reduced(obj)
        if callable(obj) and not isinstance(obj, type) and hasattr(obj, "__qualname__") and torch_name(obj):
            return obj.__qualname__  # by name, whether or not the compiled form has taken its place meanwhile
        return NotImplemented

    def _tensor(self, t: Any) -> tuple:
        lg = library()
        kind = type(t)
        if issubclass(kind, lg.nn.Parameter):
            reduced: tuple = (_PARAMETER, (t.data, bool(t.requires_grad), OrderedDict()))
            if kind is lg.nn.Parameter:
                return reduced
        else:
            offset, shape, strides = t._geometry()
            reference = self._storage(t)
            sizes, steps = tuple(map(int, shape)), tuple(map(int, strides))
            reduced = (_TENSOR, (reference, int(offset), sizes, steps, bool(t.requires_grad), OrderedDict()))
        state = {name: value for name, value in t.__dict__.items() if not name.startswith("_held")}
        if kind is getattr(lg.nn, "Buffer", None):
            return _WITH_STATE, (reduced[0], _TENSOR_CLASS, reduced[1], {**state, "_is_buffer": True})
        if kind is lg.Tensor and not state:
            return reduced
        return _WITH_STATE, (reduced[0], _TENSOR_CLASS if kind is lg.Tensor else kind, reduced[1], state)

    def _storage(self, t: Any) -> StorageReference:
        """The storage that a tensor is a view of; all its bytes are kept once, whoever else is one."""
        alias = t._s
        owner = t if alias is None else getattr(alias.storage, "source", alias.storage)
        known = self._references.get(id(owner))
        dtype = t.dtype.name
        if known is not None:
            if known.parts[1].name != _STORAGE_CLASSES[dtype]:
                raise RuntimeError(
                    "Cannot save multiple tensors or storages that view the same data as different types"
                )
            return known
        content = np.ascontiguousarray(storage_content(t)).reshape(-1)
        reference = StorageReference(dtype, str(len(self.storages)), str(t.device), content.size)
        self._references[id(owner)] = reference
        self._alive.append(owner)
        self.storages[reference.parts[2]] = content.view(np.uint8)
        return reference


def _module_reduced(module: Any) -> Any:
    """As the module's class has it, but without what is there twice: parameters, buffers and children as attributes."""
    reduced = module.__reduce_ex__(2)
    if not isinstance(reduced, tuple) or len(reduced) < 3 or not isinstance(reduced[2], dict):
        return reduced
    if getattr(reduced[0], "__name__", "") != "__newobj__":
        return reduced
    state = {name: value for name, value in reduced[2].items() if name not in ("_searched", "_path")}
    for registry in ("_parameters", "_buffers", "_modules"):
        items = dict(state.get(registry) or {})
        for name, item in items.items():
            if state.get(name) is item:
                state.pop(name, None)
        if registry in state:
            state[registry] = items  # nothing but a dict, which every reader allows
    if hasattr(module, "_torch_attributes"):
        state.update(module._torch_attributes())
    return (*reduced[:2], state, *reduced[3:])


def pickled(obj: Any) -> tuple[bytes, dict[str, np.ndarray]]:
    """The pickle of an object, and by their keys the bytes of the storages that it refers to.

    Raises what Python's pickle raises for what cannot be pickled.
    """
    file = io.BytesIO()
    pickler = Pickler(file)
    pickler.dump(obj)
    return file.getvalue(), pickler.storages
