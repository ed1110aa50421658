"""From an object to JSON that describes it, and a list of arrays."""

from __future__ import annotations

import base64
import json
import math
from collections import OrderedDict
from typing import Any

import numpy as np

from .modules import encode_module, is_module
from .objects import CODES, kind_of, library, storage_of, to_array

__all__ = ["MAX_DEPTH", "Encoder", "compact"]

MAX_DEPTH = 100  # containers inside containers


class Encoder:
    """Turns an object into JSON and collects its tensors.

    None, booleans, strings, finite floats, 64-bit ints and lists are JSON's own.  Everything else is an object whose
    first key says what it is: ``{"dict": [key, value, key, value, ...]}``, ``{"tuple": [...]}``,
    ``{"tensor": name, "kind": "parameter", ...}`` and so on.  Containers and tensors are counted in the order in which
    they are met; meeting one again gives ``{"ref": number}``, so what was shared stays shared.  Different tensors that
    see each other's changes have the same ``"storage"``; others may have the same bytes in the file all the same.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._numbers: dict[int, int] = {}  # id of a container or tensor -> its number
        self._open: set[int] = set()  # ids of the containers around the current object
        self._names: dict[tuple, str] = {}  # memory of an array -> its name
        self._storages: dict[tuple, int] = {}  # array and storage of tensors -> a number for them
        self._alive: list[Any] = []  # so that no id is used twice

    def encode(self, obj: Any, path: str = "obj", parts: tuple[str, ...] = ()) -> Any:
        kind = type(obj)
        if obj is None or kind is bool or kind is str:
            return obj
        if kind is int:
            return obj if -(2**63) <= obj < 2**64 else {"int": hex(obj)}
        if kind is float:
            return obj if math.isfinite(obj) else {"float": repr(obj)}
        if kind is complex:
            return {"complex": [self.encode(obj.real), self.encode(obj.imag)]}
        if kind is bytes or kind is bytearray:
            return {kind.__name__: base64.b64encode(obj).decode("ascii")}
        library_kind = kind_of(obj)
        if library_kind == "dtype":
            return {"dtype": obj.name}
        if library_kind == "device":
            return {"device": str(obj)}
        if library_kind == "size":
            return {"size": [int(size) for size in obj]}

        identity = id(obj)
        if identity in self._numbers:
            if identity in self._open:
                raise ValueError(f"cannot save {path}: this {kind.__name__} contains itself")
            return {"ref": self._numbers[identity]}
        if library_kind is not None:
            self._count(obj)
            return self._tensor(obj, library_kind, path, parts)
        if kind is np.ndarray or isinstance(obj, np.generic):
            self._count(obj)
            return {"ndarray": self._store(np.asarray(obj), path, parts), "scalar": kind is not np.ndarray}
        if kind in (list, tuple, dict, OrderedDict, set, frozenset):
            self._count(obj)
            if len(self._open) >= MAX_DEPTH:
                raise ValueError(f"cannot save {path}: containers are nested more than {MAX_DEPTH} deep")
            self._open.add(identity)
            try:
                return self._container(obj, kind, path, parts)
            finally:
                self._open.discard(identity)
        if is_module(obj):
            self._count(obj)
            return encode_module(
                obj, lambda t, name: self.encode(t, f"{path}.{name}", (*parts, *name.split("."))), path
            )
        raise TypeError(f"cannot save {path}: {_describe(obj)}. {_advice(obj)}")

    def _count(self, obj: Any) -> None:
        self._numbers[id(obj)] = len(self._numbers)
        self._alive.append(obj)

    def _container(self, obj: Any, kind: type, path: str, parts: tuple[str, ...]) -> Any:
        if kind is list or kind is tuple:
            items = [self.encode(item, f"{path}[{i}]", (*parts, str(i))) for i, item in enumerate(obj)]
            return items if kind is list else {"tuple": items}
        if kind is set or kind is frozenset:
            # In an order of their own, so that the same set always gives the same file.
            return {kind.__name__: sorted((self._key(item, f"{path}, element {item!r}") for item in obj), key=compact)}
        flat = []
        for key, value in obj.items():
            inside = f"{path}[{key!r}]"
            flat.append(self._key(key, f"{path}, key {key!r}"))
            flat.append(self.encode(value, inside, (*parts, str(key))))
        if kind is dict:
            return {"dict": flat}
        encoded: dict[str, Any] = {"OrderedDict": flat}
        # A module's state_dict() carries the modules' versions in this attribute.
        if "_metadata" in vars(obj):
            encoded["_metadata"] = self.encode(obj._metadata, f"{path}._metadata", (*parts, "_metadata"))
        return encoded

    def _key(self, key: Any, path: str, depth: int = 0) -> Any:
        """A dictionary key or set element: something immutable, written out in full."""
        kind = type(key)
        if kind in (tuple, frozenset):
            if depth >= MAX_DEPTH:
                raise ValueError(f"cannot save {path}: nested more than {MAX_DEPTH} deep")
            return {kind.__name__: [self._key(item, path, depth + 1) for item in key]}
        if (
            key is None
            or kind in (bool, int, float, complex, str, bytes)
            or kind_of(key) in ("dtype", "device", "size")
        ):
            return self.encode(key)
        raise TypeError(
            f"cannot save {path}: {_describe(key)}. Keys and set elements can be strings, numbers, bytes, None, "
            "dtypes, devices and tuples of these"
        )

    def _tensor(self, tensor: Any, kind: str, path: str, parts: tuple[str, ...]) -> dict:
        array = to_array(tensor)
        wide = array.dtype == np.complex128  # which safetensors files have no name for: they hold its parts
        if wide:
            array = np.ascontiguousarray(array).view(np.float64).reshape(*array.shape, 2)
        name = self._store(array, path, parts)
        storage = storage_of(tensor)
        alone = len(self._storages) if storage is None else None
        encoded = {
            "tensor": name,
            "storage": self._storages.setdefault((name, storage, alone), len(self._storages)),
            "kind": kind,
            "device": str(tensor.device),
            "requires_grad": bool(tensor.requires_grad),
        }
        if wide:
            encoded["parts"] = True
        if kind == "buffer":
            encoded["persistent"] = bool(tensor.persistent)
        return encoded

    def _store(self, array: np.ndarray, path: str, parts: tuple[str, ...]) -> str:
        """Keep an array for writing, once for the same memory, under a name that other programs can show."""
        if array.dtype.newbyteorder("=") not in CODES:
            raise TypeError(f"cannot save {path}: arrays of dtype {array.dtype} cannot be stored in a safetensors file")
        memory = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str, array.dtype.name)
        if array.size and memory in self._names:
            return self._names[memory]
        name = wanted = ".".join(parts).encode("utf-8", "backslashreplace").decode() or "tensor"
        copy = 1
        while name in self.arrays or name == "__metadata__":
            copy += 1
            name = f"{wanted}#{copy}"
        self._names[memory] = name
        self.arrays[name] = array
        return name


def _describe(obj: Any) -> str:
    kind = type(obj)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"objects of class {name} are not supported"


def _advice(obj: Any) -> str:
    if callable(getattr(obj, "state_dict", None)):
        return "Save its state_dict() instead"
    if isinstance(obj, library().Tensor):
        return "Save a plain tensor instead, such as its detach()"
    if isinstance(obj, (dict, list, tuple, str, int, float)):
        bases = [base for base in type(obj).__mro__ if base in (dict, list, tuple, str, int, float)]
        return f"Convert it to a plain {bases[0].__name__} first"
    return "Save tensors, numbers, strings, bytes, None and dicts, lists, tuples or sets of them"


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
