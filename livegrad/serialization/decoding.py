"""From JSON that describes an object, and arrays, to the object."""

from __future__ import annotations

import base64
from collections import OrderedDict
from typing import Any

import numpy as np

from .encoding import MAX_DEPTH
from .errors import Malformed, need
from .modules import restore_module
from .objects import dress, dtype_named, from_array, library
from .placing import NotPlaced, Placer

__all__ = ["Decoder"]


class Decoder:
    """The reverse of :class:`Encoder`; takes nothing in the structure on trust."""

    def __init__(self, arrays: dict[str, np.ndarray], place: Placer, weights_only: bool = True):
        self._arrays = arrays
        self._weights_only = weights_only
        self._place = place
        self._made: list[Any] = []  # containers and tensors by number
        self._tensors: dict[tuple, Any] = {}  # by array and storage, so that tensors of one storage share it again
        self._taken: set[str] = set()  # arrays that an object has been made of
        self._unfinished = object()

    def decode(self, node: Any, depth: int = 0) -> Any:
        need(depth <= MAX_DEPTH, f"containers that are nested more than {MAX_DEPTH} deep")
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        if isinstance(node, list):
            made: list[Any] = []
            self._made.append(made)
            made.extend([self.decode(item, depth + 1) for item in node])
            return made
        need(isinstance(node, dict) and node, "an empty description")
        tag = next(iter(node))
        if tag == "ref":
            number = node["ref"]
            need(type(number) is int and 0 <= number < len(self._made), f"a reference to object {number!r}")
            need(self._made[number] is not self._unfinished, f"object {number} containing itself")
            return self._made[number]
        if tag in ("tensor", "ndarray"):
            obj = self._tensor(node) if tag == "tensor" else self._ndarray(node)
            self._made.append(obj)
            return obj
        if tag in ("tuple", "set", "frozenset", "dict", "OrderedDict"):
            number = len(self._made)
            self._made.append(self._unfinished)
            obj = self._made[number] = self._container(tag, node, depth + 1)
            return obj
        if tag == "module":
            number = len(self._made)
            self._made.append(self._unfinished)
            obj = self._made[number] = self._module(node, depth + 1)
            return obj
        return self._scalar(tag, node)

    def _container(self, tag: str, node: dict, depth: int) -> Any:
        items = node[tag]
        need(isinstance(items, list), f"a {tag} without a list of its items")
        if tag == "tuple":
            return tuple([self.decode(item, depth) for item in items])
        if tag in ("set", "frozenset"):
            return {"set": set, "frozenset": frozenset}[tag](self._key(item) for item in items)
        need(len(items) % 2 == 0, "a key without a value")
        made: dict = {} if tag == "dict" else OrderedDict()
        for key, value in zip(items[::2], items[1::2]):
            made[self._key(key)] = self.decode(value, depth)
        if "_metadata" in node:
            made._metadata = self.decode(node["_metadata"], depth)  # type: ignore[attr-defined]
        return made

    def _module(self, node: dict, depth: int) -> Any:
        text, tensors = node["module"], node["tensors"]
        need(isinstance(text, str) and isinstance(tensors, list), "a module without its parts")
        try:
            return restore_module(text, [self.decode(each, depth) for each in tensors], self._weights_only)
        except (Malformed, NotPlaced):
            raise
        except Exception as error:  # about the caller's classes, not about the file
            raise NotPlaced from error

    def _key(self, node: Any, depth: int = 0) -> Any:
        if not isinstance(node, (dict, list)):
            return node
        need(depth <= MAX_DEPTH, f"a key that is nested more than {MAX_DEPTH} deep")
        if isinstance(node, list) or len(node) != 1:
            raise Malformed("a key that is a list")
        tag = next(iter(node))
        if tag in ("tuple", "frozenset"):
            need(isinstance(node[tag], list), f"a {tag} without a list of its items")
            return {"tuple": tuple, "frozenset": frozenset}[tag](self._key(item, depth + 1) for item in node[tag])
        return self._scalar(tag, node)

    def _scalar(self, tag: str, node: dict) -> Any:
        value = node[tag]
        if tag in ("int", "float", "bytes", "bytearray", "dtype", "device"):
            need(isinstance(value, str), f"{tag} {value!r}")
        if tag == "int":
            return int(value, 16)
        if tag == "float":
            return float(value)
        if tag in ("bytes", "bytearray"):
            raw = base64.b64decode(value, validate=True)
            return raw if tag == "bytes" else bytearray(raw)
        if tag == "dtype":
            found = dtype_named(value)
            need(found is not None, f"dtype {value!r}")
            return found
        if tag == "device":
            try:
                return library().device(value)
            except RuntimeError as error:
                raise Malformed(f"device {value!r} ({error})") from None
        need(tag in ("complex", "size") and isinstance(value, list), f"something called {tag!r}")
        if tag == "complex":
            need(len(value) == 2, "a complex number without two parts")
            return complex(*(self._key(part) for part in value))
        need(all(type(size) is int for size in value), "a size that is not made of ints")
        return library().Size(value)

    def _array(self, name: Any) -> np.ndarray:
        """An array of the file, for one object to own."""
        need(isinstance(name, str) and name in self._arrays, f"a tensor {name!r} that is not in the file")
        array = self._arrays[name]
        if name in self._taken:
            return array.copy()
        self._taken.add(name)
        return array

    def _ndarray(self, node: dict) -> Any:
        array = self._array(node["ndarray"])
        return array[()] if node.get("scalar") else array

    def _tensor(self, node: dict) -> Any:
        name, kind, device, storage = node["tensor"], node["kind"], node["device"], node["storage"]
        need(kind in ("tensor", "parameter", "buffer"), f"a tensor of kind {kind!r}")
        need(isinstance(device, str), f"a tensor on device {device!r}")
        need(isinstance(name, str) and type(storage) is int, f"a tensor {name!r} of storage {storage!r}")
        if (name, storage) in self._tensors:
            tensor = self._tensors[name, storage].detach()
        else:
            array = self._array(name)
            if node.get("parts"):
                need(array.dtype == np.float64 and array.shape[-1:] == (2,), f"complex numbers {name!r} of other parts")
                array = np.ascontiguousarray(array).view(np.complex128)[..., 0]
            tensor = self._tensors[name, storage] = self._place(from_array(array), device)
        return dress(tensor, kind, bool(node.get("requires_grad")), bool(node.get("persistent", True)))
