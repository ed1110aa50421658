"""Saving tensors and what holds them to a file, and loading them back.

:func:`save` writes one `safetensors <https://github.com/huggingface/safetensors>`_ file.  Its tensors can be read by
any safetensors reader; the metadata in its header describes the structure they were in (dictionaries, lists, numbers,
parameters, which tensor appears twice ...) as JSON.  :func:`load` reads such files, plain safetensors files, and the
files that PyTorch's ``torch.save`` writes.

Loading never runs anything from a file.  The structure is data, not code, and PyTorch's pickles are read by the small
interpreter below, which knows tensors and plain containers and refuses everything else by name.

Layout of a file: eight bytes with the length of the header, the header (JSON: for every tensor its dtype, shape and
place), the tensors' bytes.  The header's ``__metadata__`` has these strings:

=================  =================================================================================================
``format``         ``"livegrad"``
``format_version`` ``"1"``
``structure``      the saved object as JSON, see :class:`_Encoder`
``checksums``      JSON: CRC-32 of every tensor's bytes
``header_crc32``   CRC-32 of all of the above and of the table of tensors
=================  =================================================================================================
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import pickle
import secrets
import stat
import struct
import sys
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

__all__ = ["CheckpointError", "load", "save"]

FORMAT = "livegrad"
FORMAT_VERSION = 1
MAX_HEADER = 100_000_000  # bytes; the limit of other safetensors readers
MAX_DEPTH = 100  # containers inside containers

_NUMPY = {
    "BOOL": np.dtype("bool"),
    "U8": np.dtype("uint8"),
    "I8": np.dtype("int8"),
    "U16": np.dtype("uint16"),
    "I16": np.dtype("int16"),
    "U32": np.dtype("uint32"),
    "I32": np.dtype("int32"),
    "U64": np.dtype("uint64"),
    "I64": np.dtype("int64"),
    "F16": np.dtype("float16"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype("float32"),
    "F64": np.dtype("float64"),
    "C64": np.dtype("complex64"),
}
_CODES = {dtype: code for code, dtype in _NUMPY.items()}


class CheckpointError(RuntimeError):
    """A file is damaged, cut short, or not of a kind that :func:`load` reads.

    The message says what was expected, what was found and what to do about it.
    """


# --------------------------------------------------------------------------------------------------------------------
# The tensor library, as far as this module needs it
# --------------------------------------------------------------------------------------------------------------------


def _lg() -> Any:
    import livegrad  # not at the top of the module: livegrad imports this one

    return livegrad


def _to_array(tensor: Any) -> np.ndarray:
    """The tensor's values as a NumPy array to read from; it may be the tensor's own memory."""
    on_cpu = tensor if tensor.device.type == "cpu" else tensor.detach().cpu()
    return on_cpu._to_numpy()


def _storage_of(tensor: Any) -> int | None:
    """A number that is equal for tensors in which one's in-place changes are seen by the other.

    None for a tensor that is alone.  The address of the memory would not do: values are immutable, and tensors that
    know nothing of each other may hold the same one until one of them is changed.
    """
    window = tensor._s
    return None if window is None else id(window.storage)


def _from_array(array: np.ndarray) -> Any:
    """A tensor on the CPU that takes over an array nobody else uses."""
    from .tensor import from_native

    try:
        return from_native(array)
    except (TypeError, KeyError):
        raise CheckpointError(
            f"the file has a tensor of dtype {array.dtype.name}, which livegrad has no tensors of. Convert it to a "
            "supported dtype where the file was made, and save again"
        ) from None


def _dress(tensor: Any, kind: str, requires_grad: bool, persistent: bool = True) -> Any:
    """Give a fresh tensor its class (``tensor``, ``parameter`` or ``buffer``) and its ``requires_grad``."""
    lg = _lg()
    if requires_grad and not tensor.dtype.is_floating_point:
        raise CheckpointError(
            f"the file has a {tensor.dtype.name} tensor that requires gradients; only floating-point tensors can. "
            "The file is damaged: copy or download it again, or save anew"
        )
    if kind == "parameter":
        return lg.nn.Parameter(tensor, requires_grad=requires_grad)
    if kind == "buffer":
        tensor = lg.nn.Buffer(tensor, persistent=persistent)
    if requires_grad:
        tensor.requires_grad_(True)
    return tensor


def _kind_of(obj: Any) -> str | None:
    """Which of the library's classes an object is exactly, if any."""
    lg = _lg()
    kind = type(obj)
    if kind is lg.Tensor:
        return "tensor"
    if kind is lg.nn.Parameter:
        return "parameter"
    if kind is getattr(lg.nn, "Buffer", None):
        return "buffer"
    if kind is type(lg.float32):
        return "dtype"
    if kind is lg.device:
        return "device"
    if kind is lg.Size:
        return "size"
    return None


def _dtype_named(name: str) -> Any:
    """The library's dtype of that name, or None."""
    lg = _lg()
    found = getattr(lg, name, None)
    return found if type(found) is type(lg.float32) else None


class _NotPlaced(Exception):
    """Carries an error of the caller's ``map_location`` past the handlers of errors in the file."""


class _Placer:
    """Puts loaded tensors where ``map_location`` says, or where they were when they were saved."""

    def __init__(self, map_location: Any):
        simple = map_location is None or isinstance(map_location, (str, int, dict)) or callable(map_location)
        if not simple and _kind_of(map_location) != "device":
            raise TypeError(
                f"map_location must be a device, its name, a dict or a callable, not {type(map_location).__name__}"
            )
        self.map_location = map_location

    def __call__(self, tensor: Any, saved_on: str) -> Any:
        try:
            return self._placed(tensor, saved_on)
        except Exception as error:
            raise _NotPlaced from error

    def _placed(self, tensor: Any, saved_on: str) -> Any:
        where = self.map_location
        if where is None:
            return self._move(tensor, saved_on, asked=False)
        if isinstance(where, dict):
            target = where.get(saved_on)
            return self._move(tensor, saved_on if target is None else target, asked=target is not None)
        if callable(where):
            moved = where(tensor, saved_on)
            return self._move(tensor, saved_on, asked=False) if moved is None else moved
        return self._move(tensor, where, asked=True)

    @staticmethod
    def _move(tensor: Any, device: Any, asked: bool) -> Any:
        if str(device) == "cpu":
            return tensor
        try:
            return tensor.to(device)
        except RuntimeError as error:
            if asked:
                raise
            raise RuntimeError(
                f"the file has tensors that were on device '{device}', which is not available here ({error}). "
                'To load them into this machine\'s memory, pass map_location="cpu" to load()'
            ) from None


# --------------------------------------------------------------------------------------------------------------------
# Object -> JSON structure and a list of arrays
# --------------------------------------------------------------------------------------------------------------------


class _Encoder:
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
        library_kind = _kind_of(obj)
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
            return {kind.__name__: sorted((self._key(item, f"{path}, element {item!r}") for item in obj), key=_compact)}
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
            or _kind_of(key) in ("dtype", "device", "size")
        ):
            return self.encode(key)
        raise TypeError(
            f"cannot save {path}: {_describe(key)}. Keys and set elements can be strings, numbers, bytes, None, "
            "dtypes, devices and tuples of these"
        )

    def _tensor(self, tensor: Any, kind: str, path: str, parts: tuple[str, ...]) -> dict:
        name = self._store(_to_array(tensor), path, parts)
        storage = _storage_of(tensor)
        alone = len(self._storages) if storage is None else None
        encoded = {
            "tensor": name,
            "storage": self._storages.setdefault((name, storage, alone), len(self._storages)),
            "kind": kind,
            "device": str(tensor.device),
            "requires_grad": bool(tensor.requires_grad),
        }
        if kind == "buffer":
            encoded["persistent"] = bool(tensor.persistent)
        return encoded

    def _store(self, array: np.ndarray, path: str, parts: tuple[str, ...]) -> str:
        """Keep an array for writing, once for the same memory, under a name that other programs can show."""
        if array.dtype.newbyteorder("=") not in _CODES:
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
    if isinstance(obj, _lg().Tensor):
        return "Save a plain tensor instead, such as its detach()"
    if isinstance(obj, (dict, list, tuple, str, int, float)):
        bases = [base for base in type(obj).__mro__ if base in (dict, list, tuple, str, int, float)]
        return f"Convert it to a plain {bases[0].__name__} first"
    return "Save tensors, numbers, strings, bytes, None and dicts, lists, tuples or sets of them"


# --------------------------------------------------------------------------------------------------------------------
# JSON structure and arrays -> object
# --------------------------------------------------------------------------------------------------------------------


class _Malformed(Exception):
    """The structure in a file is not what an :class:`_Encoder` writes."""


def _need(condition: Any, what: str) -> None:
    if not condition:
        raise _Malformed(what)


class _Decoder:
    """The reverse of :class:`_Encoder`; takes nothing in the structure on trust."""

    def __init__(self, arrays: dict[str, np.ndarray], place: _Placer):
        self._arrays = arrays
        self._place = place
        self._made: list[Any] = []  # containers and tensors by number
        self._tensors: dict[tuple, Any] = {}  # by array and storage, so that tensors of one storage share it again
        self._taken: set[str] = set()  # arrays that an object has been made of
        self._unfinished = object()

    def decode(self, node: Any, depth: int = 0) -> Any:
        _need(depth <= MAX_DEPTH, f"containers that are nested more than {MAX_DEPTH} deep")
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        if isinstance(node, list):
            made: list[Any] = []
            self._made.append(made)
            made.extend([self.decode(item, depth + 1) for item in node])
            return made
        _need(isinstance(node, dict) and node, "an empty description")
        tag = next(iter(node))
        if tag == "ref":
            number = node["ref"]
            _need(type(number) is int and 0 <= number < len(self._made), f"a reference to object {number!r}")
            _need(self._made[number] is not self._unfinished, f"object {number} containing itself")
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
        return self._scalar(tag, node)

    def _container(self, tag: str, node: dict, depth: int) -> Any:
        items = node[tag]
        _need(isinstance(items, list), f"a {tag} without a list of its items")
        if tag == "tuple":
            return tuple([self.decode(item, depth) for item in items])
        if tag in ("set", "frozenset"):
            return {"set": set, "frozenset": frozenset}[tag](self._key(item) for item in items)
        _need(len(items) % 2 == 0, "a key without a value")
        made: dict = {} if tag == "dict" else OrderedDict()
        for key, value in zip(items[::2], items[1::2]):
            made[self._key(key)] = self.decode(value, depth)
        if "_metadata" in node:
            made._metadata = self.decode(node["_metadata"], depth)  # type: ignore[attr-defined]
        return made

    def _key(self, node: Any, depth: int = 0) -> Any:
        if not isinstance(node, (dict, list)):
            return node
        _need(depth <= MAX_DEPTH, f"a key that is nested more than {MAX_DEPTH} deep")
        if isinstance(node, list) or len(node) != 1:
            raise _Malformed("a key that is a list")
        tag = next(iter(node))
        if tag in ("tuple", "frozenset"):
            _need(isinstance(node[tag], list), f"a {tag} without a list of its items")
            return {"tuple": tuple, "frozenset": frozenset}[tag](self._key(item, depth + 1) for item in node[tag])
        return self._scalar(tag, node)

    def _scalar(self, tag: str, node: dict) -> Any:
        value = node[tag]
        if tag in ("int", "float", "bytes", "bytearray", "dtype", "device"):
            _need(isinstance(value, str), f"{tag} {value!r}")
        if tag == "int":
            return int(value, 16)
        if tag == "float":
            return float(value)
        if tag in ("bytes", "bytearray"):
            raw = base64.b64decode(value, validate=True)
            return raw if tag == "bytes" else bytearray(raw)
        if tag == "dtype":
            found = _dtype_named(value)
            _need(found is not None, f"dtype {value!r}")
            return found
        if tag == "device":
            try:
                return _lg().device(value)
            except RuntimeError as error:
                raise _Malformed(f"device {value!r} ({error})") from None
        _need(tag in ("complex", "size") and isinstance(value, list), f"something called {tag!r}")
        if tag == "complex":
            _need(len(value) == 2, "a complex number without two parts")
            return complex(*(self._key(part) for part in value))
        _need(all(type(size) is int for size in value), "a size that is not made of ints")
        return _lg().Size(value)

    def _array(self, name: Any) -> np.ndarray:
        """An array of the file, for one object to own."""
        _need(isinstance(name, str) and name in self._arrays, f"a tensor {name!r} that is not in the file")
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
        _need(kind in ("tensor", "parameter", "buffer"), f"a tensor of kind {kind!r}")
        _need(isinstance(device, str), f"a tensor on device {device!r}")
        _need(isinstance(name, str) and type(storage) is int, f"a tensor {name!r} of storage {storage!r}")
        if (name, storage) in self._tensors:
            tensor = self._tensors[name, storage].detach()
        else:
            tensor = self._tensors[name, storage] = self._place(_from_array(self._array(name)), device)
        return _dress(tensor, kind, bool(node.get("requires_grad")), bool(node.get("persistent", True)))


# --------------------------------------------------------------------------------------------------------------------
# Writing
# --------------------------------------------------------------------------------------------------------------------


def save(
    obj: Any, f: str | os.PathLike | BinaryIO, pickle_module: Any = None, pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:  # fmt: skip
    """Write an object to a file.

    Args:
        obj: tensors, parameters, dtypes, devices, sizes, NumPy arrays, numbers, strings, bytes, None, and dicts,
            OrderedDicts, lists, tuples and sets of these, such as the ``state_dict()`` of a module or an optimizer.
            A tensor or container that appears in several places is one object again after loading.
        f: the file's name, or a binary file object such as ``io.BytesIO()``.
        pickle_module, pickle_protocol: accepted for PyTorch's sake; nothing is pickled.

    A named file is written under another name and takes the place of the old one only when it is complete and on the
    disk: when saving fails or is interrupted, the old file is still there, whole.

    Raises TypeError for an object of any other class, naming where in ``obj`` it is.

    >>> import io, livegrad
    >>> file = io.BytesIO()
    >>> livegrad.save({"step": 3, "weight": livegrad.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> livegrad.load(file)
    {'step': 3, 'weight': tensor([1., 1.])}
    """
    if isinstance(f, (str, bytes, os.PathLike)):
        target = os.fsdecode(f)
    elif callable(getattr(f, "write", None)):
        target = None
        if isinstance(f, io.TextIOBase):
            raise TypeError('save() needs a file opened for bytes, but this one is opened for text; open it with "wb"')
    else:
        raise TypeError(f"save() needs a file name or a binary file object, not {type(f).__name__}")

    encoder = _Encoder()
    structure = encoder.encode(obj)
    # Widest elements first, so that every tensor starts at a multiple of its element size.
    arrays = {
        name: _little_endian(array)
        for name, array in sorted(encoder.arrays.items(), key=lambda item: -item[1].dtype.itemsize)
    }
    header = _header(structure, arrays)
    if target is None:
        _write(f, header, arrays)  # type: ignore[arg-type]
    else:
        with _replacing(target) as out:
            _write(out, header, arrays)


def _little_endian(array: np.ndarray) -> np.ndarray:
    # ml_dtypes have no byte order of their own; nothing to swap on the machines there are.
    if array.dtype.byteorder == ">" or (sys.byteorder == "big" and array.dtype.byteorder == "="):
        array = array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(array).reshape(array.shape)


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _header(structure: Any, arrays: dict[str, np.ndarray]) -> bytes:
    table, position = {}, 0
    for name, array in arrays.items():
        code = _CODES[array.dtype.newbyteorder("=")]
        table[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [position, position + array.nbytes]}
        position += array.nbytes
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "structure": _compact(structure),
        "checksums": _compact({name: zlib.crc32(_bytes_of(array)) for name, array in arrays.items()}),
    }
    metadata["header_crc32"] = _header_checksum(metadata, table)
    header = _compact({"__metadata__": metadata, **table}).encode("ascii")
    header += b" " * (-len(header) % 8)
    if len(header) > MAX_HEADER:
        raise ValueError(
            f"the description of this object takes {len(header)} bytes and a safetensors file has room for "
            f"{MAX_HEADER}. Put long lists of numbers into tensors"
        )
    return struct.pack("<Q", len(header)) + header


def _header_checksum(metadata: dict, table: dict) -> str:
    covered = {key: value for key, value in metadata.items() if key != "header_crc32"}
    text = json.dumps([covered, table], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return format(zlib.crc32(text.encode("ascii")), "08x")


def _write(out: BinaryIO, header: bytes, arrays: dict[str, np.ndarray]) -> None:
    for chunk in (memoryview(header), *map(_bytes_of, arrays.values())):
        while chunk:
            # Unbuffered files may take less than they are given.
            written = out.write(chunk)
            chunk = chunk[len(chunk) if written is None else written :]


@contextmanager
def _replacing(path: str) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` if the block succeeds, and vanishes if it does not."""
    path = os.path.realpath(path)  # a symbolic link stays one
    folder, name = os.path.split(path)
    old = None
    if os.path.exists(path):
        old = os.stat(path)
        if stat.S_ISDIR(old.st_mode):
            raise IsADirectoryError(f"cannot save to {path!r}: it is a folder; add a file name")
        if not stat.S_ISREG(old.st_mode):  # a device or a pipe cannot be replaced, only written to
            with open(path, "wb") as out:
                yield out
            return
        if not os.access(path, os.W_OK):
            raise PermissionError(f"cannot save to {path!r}: the file there is read-only")
    elif not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot save to {path!r}: there is no folder {folder!r}; create it first")
    temporary = os.path.join(folder, f".{name[:60]}.{secrets.token_hex(6)}.tmp")
    try:
        # Mode 0o666 less the umask: what a plain open() would give a new file.
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        with open(temporary, "wb", opener=lambda file, _: os.open(file, flags, 0o666)) as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        if old is not None:
            os.chmod(temporary, stat.S_IMODE(old.st_mode))
        os.replace(temporary, path)
    except BaseException:  # an interrupt too
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Have the new name on the disk as well, where the system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    with suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)


# --------------------------------------------------------------------------------------------------------------------
# Reading
# --------------------------------------------------------------------------------------------------------------------


def load(
    f: str | os.PathLike | BinaryIO, map_location: Any = None, pickle_module: Any = None, *, weights_only: bool = True,
    mmap: bool | None = None, encoding: str = "utf-8",
) -> Any:  # fmt: skip
    """Read what :func:`save` wrote, or a safetensors file, or a file written by PyTorch's ``torch.save``.

    Args:
        f: the file's name, or a binary file object positioned where the saved object begins.
        map_location: where to put tensors: a device or its name, a dict from devices they were saved on to others, or
            a function of a tensor (on the CPU) and the name of the device it was saved on, that returns the tensor to
            use or None.  Without it, tensors go back to the devices they were saved on.
        weights_only, pickle_module, mmap, encoding: accepted for PyTorch's sake.  Files are never allowed to run code,
            and tensors are always read into memory, so they make no difference.

    A safetensors file from elsewhere gives a dict of tensors by name.  From a PyTorch file, tensors, parameters and
    plain containers can be read.

    Raises CheckpointError for a file that is damaged, cut short or of another kind, and ``pickle.UnpicklingError`` for
    a PyTorch file that holds objects of other classes.

    >>> import os, tempfile, livegrad
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
    >>> livegrad.save([livegrad.zeros(2), "done"], path)
    >>> livegrad.load(path)
    [tensor([0., 0.]), 'done']
    """
    place = _Placer(map_location)
    try:
        return _load(f, place)
    except _NotPlaced as error:
        raise error.__cause__ from None  # type: ignore[misc]


def _load(f: Any, place: _Placer) -> Any:
    if isinstance(f, (str, bytes, os.PathLike)):
        path = os.fsdecode(f)
        with open(path, "rb") as file:
            return _Reader(file, repr(path), whole_file=True).load(place)
    if not callable(getattr(f, "read", None)):
        raise TypeError(f"load() needs a file name or a binary file object, not {type(f).__name__}")
    if isinstance(f, io.TextIOBase):
        raise TypeError('load() needs a file opened for bytes, but this one is opened for text; open it with "rb"')
    name = getattr(f, "name", None)
    source = repr(name) if isinstance(name, str) else f"a {type(f).__name__} object"
    try:
        f.seek(f.tell())
    except (AttributeError, OSError):
        f = io.BytesIO(f.read())
    return _Reader(f, source, whole_file=False).load(place)


_ELSEWHERE = [
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", "a file in PyTorch's old format (before version 1.6)"),
    (b"version https://git-lfs", "a Git LFS pointer, which stands for the real file; fetch that with `git lfs pull`"),
    (b"\x93NUMPY", "a NumPy .npy file; read it with numpy.load"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"GGUF", "a GGUF file"),
    (b"\x80", "a Python pickle; livegrad does not run pickles"),
    (b"<", "a web page or XML, perhaps an error page saved in place of a download"),
]
_KINDS = "a file written by livegrad.save or torch.save, or a safetensors file"


class _Reader:
    """Reads one saved object from a seekable file, checking every size against what is really there."""

    def __init__(self, file: BinaryIO, source: str, whole_file: bool):
        self.file = file
        self.source = source
        self.whole_file = whole_file
        self.start = file.tell()
        self.size = file.seek(0, os.SEEK_END) - self.start
        file.seek(self.start)

    def error(self, expected: str, found: str, advice: str) -> CheckpointError:
        return CheckpointError(f"cannot load {self.source}: expected {expected}, found {found}. {advice}")

    def damaged(self, expected: str, found: str) -> CheckpointError:
        return self.error(expected, found, "The file is damaged or incomplete: copy or download it again, or save anew")

    def load(self, place: _Placer) -> Any:
        first = self.file.read(32)
        if not isinstance(first, bytes):
            raise TypeError(f"load() needs a file that reads as bytes; reading this one gives {type(first).__name__}")
        self.file.seek(self.start)
        if not first:
            raise self.error(
                _KINDS, "nothing: the file is empty, or has been read to its end", "Save again, or seek(0)"
            )
        if first.startswith(b"PK\x03\x04"):
            return _load_torch_zip(self, place)
        # A header is JSON, so a brace follows its length.
        if first[8:9] == b"{":
            return self._safetensors(place)
        known = [name for beginning, name in _ELSEWHERE if first.startswith(beginning)]
        what = known[0] if known else f"a file that begins with {first[:16]!r}"
        if not first.strip(b"\0"):
            what = "only zeros, as after a crash while the file was written"
        advice = "Check that this is the right file"
        if "PyTorch" in what:
            advice = "Convert it with PyTorch: torch.save(torch.load(path), new_path)"
        raise self.error(_KINDS, what, advice)

    # -- safetensors ---------------------------------------------------------------------------------------------------

    def _safetensors(self, place: _Placer) -> Any:
        length = struct.unpack("<Q", self.file.read(8))[0]
        if length > MAX_HEADER:
            raise self.error(
                f"a safetensors header of at most {MAX_HEADER} bytes",
                f"{length} bytes",
                "Check that this is the right file",
            )
        if 8 + length > self.size:
            raise self.damaged(f"a header of {length} bytes", f"only {self.size - 8} bytes")
        try:
            header = json.loads(self.file.read(length).decode("utf-8"))
            _need(isinstance(header, dict), "a header that is not an object")
            metadata = header.pop("__metadata__", {})
            _need(isinstance(metadata, dict), "metadata that is not an object")
            table = self._table(header)
        except (ValueError, RecursionError, _Malformed) as error:
            raise self.damaged("a safetensors header", str(error) or type(error).__name__) from None

        # Either mark will do, so that damage to the other is noticed.
        if metadata.get("format") != FORMAT and "header_crc32" not in metadata:
            arrays = self._arrays(table, None)
            return {name: place(_from_array(array), "cpu") for name, array in arrays.items()}

        version = metadata.get("format_version")
        if version != str(FORMAT_VERSION):
            raise self.error(
                f"version {FORMAT_VERSION} of the livegrad format",
                f"version {version}",
                "A newer livegrad wrote this file: upgrade livegrad, or read the bare tensors with safetensors",
            )
        found = _header_checksum(metadata, header)
        if metadata.get("header_crc32") != found:
            raise self.damaged(f"a header with checksum {metadata.get('header_crc32')}", found)
        try:
            checksums = json.loads(metadata["checksums"])
            structure = json.loads(metadata["structure"])
            _need(isinstance(checksums, dict) and checksums.keys() == table.keys(), "checksums for other tensors")
            arrays = self._arrays(table, checksums)
            return _Decoder(arrays, place).decode(structure)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, _Malformed) as error:
            what = str(error) or type(error).__name__
            raise self.damaged("the description of a saved object", what) from error

    def _table(self, header: dict) -> dict[str, tuple[np.dtype, tuple[int, ...], int]]:
        """The header's tensors as dtype, shape and length, in the order of their bytes, once all of it adds up."""
        entries = []
        for name, entry in header.items():
            _need(isinstance(entry, dict), f"no description of tensor {name!r}")
            code, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
            _need(isinstance(code, str), f"dtype {code!r} of tensor {name!r}")
            if code not in _NUMPY:
                raise self.error(
                    f"tensors of dtype {', '.join(_NUMPY)}",
                    f"{code} of tensor {name!r}",
                    "Convert it to one of those where the file was made, and save again",
                )
            for numbers in (shape, offsets):
                whole = isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**63 for n in numbers)
                _need(whole, f"shape {shape!r} and offsets {offsets!r} of tensor {name!r}")
            _need(len(offsets) == 2 and len(shape) <= 64, f"shape {shape!r} and offsets {offsets!r} of tensor {name!r}")
            begin, end = offsets
            needed = math.prod(shape) * _NUMPY[code].itemsize
            _need(end - begin == needed, f"{end - begin} bytes for tensor {name!r}, whose shape takes {needed}")
            entries.append((begin, end, name, _NUMPY[code], tuple(shape)))
        position = 0
        for begin, end, name, *_ in sorted(entries, key=lambda entry: entry[:2]):
            _need(begin == position, f"tensor {name!r} at byte {begin} instead of {position}")
            position = end
        there = self.size - (self.file.tell() - self.start)
        if there < position:
            raise self.damaged(f"{position} bytes of tensors", f"only {there} bytes")
        if self.whole_file and there > position:
            raise self.damaged(f"{position} bytes of tensors", f"{there} bytes")
        # By position for reading; a reader of plain safetensors gets the header's order back in _arrays.
        return {name: (dtype, shape, begin) for begin, _, name, dtype, shape in entries}

    def _arrays(self, table: dict[str, tuple], checksums: dict[str, int] | None) -> dict[str, np.ndarray]:
        base = self.file.tell()
        end = base
        arrays = {}
        for name, (dtype, shape, begin) in table.items():
            array = self.array(base + begin, dtype, shape, f"tensor {name!r}")
            if checksums is not None and zlib.crc32(_bytes_of(array)) != checksums[name]:
                raise self.damaged(f"the bytes of tensor {name!r} that were saved", "others: their checksum differs")
            arrays[name] = _native(array)
            end = max(end, base + begin + array.nbytes)
        self.file.seek(end)  # where a next saved object may follow
        return arrays

    def array(self, position: int, dtype: np.dtype, shape: tuple[int, ...], what: str) -> np.ndarray:
        """Read an array; the caller has made sure that the file is long enough."""
        try:
            array = np.empty(shape, dtype)
        except (ValueError, OverflowError):
            raise self.damaged("a possible shape", f"{list(shape)} for {what}") from None
        rest = _bytes_of(array)
        self.file.seek(position)
        while rest:
            if hasattr(self.file, "readinto"):
                count = self.file.readinto(rest)
            else:
                chunk = self.file.read(len(rest))
                count = len(chunk)
                rest[:count] = chunk
            if not count:
                raise self.damaged(f"{len(rest)} more bytes of {what}", "the end of the file")
            rest = rest[count:]
        return array


def _native(array: np.ndarray) -> np.ndarray:
    """An array as the file has it, little-endian, in a form that is safe to compute with."""
    if array.dtype == np.bool_:
        return array.view(np.uint8) != 0  # bytes other than 0 and 1 would be neither true nor false
    return array.byteswap() if sys.byteorder == "big" else array


# --------------------------------------------------------------------------------------------------------------------
# PyTorch's files: a zip archive with a pickle and the bytes of every storage
# --------------------------------------------------------------------------------------------------------------------

_STORAGES = {
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
    "UntypedStorage": "uint8",
}
_BY_NAME = {dtype.name: dtype for dtype in _NUMPY.values()}


def _refuse(message: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(message)


@dataclass
class _Storage:
    """Memory that tensors of a PyTorch file are views of."""

    key: str
    data: np.ndarray  # bytes
    dtype: str
    location: str


@dataclass(frozen=True)
class _StorageType:
    dtype: str


@dataclass(frozen=True)
class _UnknownDtype:
    """A dtype that PyTorch has and livegrad has not: an error only where a tensor or the caller needs it."""

    name: str


@dataclass(frozen=True)
class _Callable:
    """One of the few functions a pickle may call; ``run`` is livegrad's own."""

    name: str
    run: Callable[..., Any]


class _TorchArchive:
    """The zip archive: finds entries, and keeps all that is read and made within the size of the file."""

    def __init__(self, reader: _Reader):
        if reader.start:
            reader.file.seek(reader.start)
            reader = _Reader(io.BytesIO(reader.file.read()), reader.source, whole_file=True)
        self.reader = reader
        try:
            with zipfile.ZipFile(reader.file) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as error:
            raise reader.damaged("a complete PyTorch file (a zip archive)", str(error)) from None
        pickles = [entry.filename for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            what = "a NumPy .npz file" if entries and entries[0].filename.endswith(".npy") else "another zip archive"
            raise reader.error(_KINDS, what, "Check that this is the right file")
        self.prefix = pickles[0][: -len("data.pkl")]
        self.entries = {entry.filename: entry for entry in entries}
        if self.prefix + "constants.pkl" in self.entries or any(self.prefix + "code/" in name for name in self.entries):
            raise reader.error(
                "a file of weights",
                "a TorchScript program",
                "In PyTorch, torch.save(torch.jit.load(path).state_dict(), new_path)",
            )
        # PyTorch stores its entries as they are.  Refusing anything else also means that nothing can expand.
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
            raise reader.error(
                "a PyTorch file, whose entries are not compressed",
                "compressed or encrypted entries",
                "Save it again with torch.save",
            )
        total = sum(entry.file_size for entry in entries)
        if total > reader.size or len(self.entries) != len(entries):
            raise reader.damaged(f"at most {reader.size} bytes in the archive", f"entries of {total} bytes or repeated")
        order = bytes(self.read(self.prefix + "byteorder")) if self.prefix + "byteorder" in self.entries else b"little"
        if order not in (b"little", b"big"):
            raise reader.damaged("byte order little or big", repr(order[:20]))
        self.swap = order.decode() != sys.byteorder

    def read(self, name: str) -> np.ndarray:
        """The bytes of an entry, checked against the archive's checksum."""
        reader = self.reader
        entry = self.entries.get(name)
        if entry is None:
            raise reader.damaged(f"an entry {name!r}", "none of that name")
        # The local header repeats the name, and may be padded so that the data is aligned.
        local = b""
        if entry.header_offset >= 0:
            reader.file.seek(entry.header_offset)
            local = reader.file.read(30)
        if len(local) < 30 or local[:4] != b"PK\x03\x04":
            raise reader.damaged(f"the entry {name!r} where the archive's directory says", "something else")
        position = entry.header_offset + 30 + sum(struct.unpack("<HH", local[26:30]))
        if position + entry.file_size > reader.size:
            raise reader.damaged(f"{entry.file_size} bytes of {name!r}", "the end of the file")
        data = reader.array(position, np.dtype(np.uint8), (entry.file_size,), repr(name))
        # PyTorch can be told not to compute checksums, and writes 0 then.
        if entry.CRC and zlib.crc32(data.data) != entry.CRC:
            raise reader.damaged(f"the bytes of {name!r} that were saved", "others: their checksum differs")
        return data


def _load_torch_zip(reader: _Reader, place: _Placer) -> Any:
    archive = _TorchArchive(reader)
    data = archive.read(archive.prefix + "data.pkl").tobytes()
    try:
        return _TorchUnpickler(archive, place, data).load()
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(f"cannot load {reader.source}: {error}") from None
    except (struct.error, IndexError, UnicodeDecodeError, RecursionError) as error:
        raise pickle.UnpicklingError(f"cannot load {reader.source}: its pickle is damaged ({error!r})") from None


class _TorchUnpickler:
    """An interpreter for the part of the pickle language that PyTorch's files of weights use.

    It has a stack and a memo as Python's own, but the only functions a pickle can call are the methods registered
    in :meth:`_find`, the only attribute it can set is a state dict's ``_metadata``, and what calls may allocate is
    bounded by the size of the file.
    """

    def __init__(self, archive: _TorchArchive, place: _Placer, data: bytes):
        self.archive = archive
        self.place = place
        self.data = data
        self.position = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, _Storage] = {}
        self.tensors: dict[tuple, Any] = {}
        self.taken: set[str] = set()  # storages whose memory a tensor has
        self.call_budget = 16 * len(data) + 2**20
        self.tensor_budget = 4 * archive.reader.size + 2**26

    # -- the machine ---------------------------------------------------------------------------------------------------

    def load(self) -> Any:
        while True:
            code = self.take(1)
            if code == b".":
                return self._result(self.pop())
            handler = _OPCODES.get(code)
            if handler is None:
                raise _refuse(f"its pickle uses instruction {code!r}, which files of weights have no need for")
            handler(self)

    def _result(self, obj: Any) -> Any:
        """The finished object, once it is sure that none of this interpreter's own objects are in it."""
        waiting, seen = [obj], set()
        while waiting:
            item = waiting.pop()
            if isinstance(item, (_Storage, _StorageType, _UnknownDtype, _Callable)):
                raise _refuse(f"it holds {_name_of(item)}, which cannot be loaded by itself")
            if type(item) in (list, tuple, dict, OrderedDict) and id(item) not in seen:
                seen.add(id(item))
                waiting.extend(item.values() if isinstance(item, dict) else item)
                if type(item) is OrderedDict:
                    waiting.extend(vars(item).values())
        return obj

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise _refuse("its pickle is cut short. Copy or download the file again")
        chunk = self.data[self.position : end]
        self.position = end
        return chunk

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise _refuse("its pickle is cut short. Copy or download the file again")
        return self.take(end + 1 - self.position)[:-1].decode("utf-8")

    def push(self, obj: Any) -> None:
        self.stack.append(obj)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise _refuse("its pickle is damaged: an instruction has no operand")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise _refuse("its pickle is damaged: an instruction has no operands")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, *kinds: type) -> Any:
        if not self.stack or type(self.stack[-1]) not in kinds:
            found = _name_of(self.stack[-1]) if self.stack else "nothing"
            raise _refuse(f"its pickle would fill {found}, not a plain container")
        return self.stack[-1]

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict, OrderedDict)
        if len(items) % 2:
            raise _refuse("its pickle is damaged: a key without a value")
        for key, value in zip(items[::2], items[1::2]):
            target[_hashable(key)] = value

    def append(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise _refuse(f"its pickle is damaged: there is no remembered object {index}")
        self.push(self.memo[index])

    def remember(self, index: int) -> None:
        if not self.stack:
            raise _refuse("its pickle is damaged: nothing to remember")
        self.memo[index] = self.stack[-1]

    def find(self, module: Any, name: Any) -> None:
        self.push(self._find(module, name))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, _Callable) or type(arguments) is not tuple:
            raise _refuse(f"its pickle would call {_name_of(function)}, which is not allowed")
        for argument in arguments:
            if isinstance(argument, (str, bytes, bytearray, list, tuple, dict, set, frozenset)):
                self.call_budget -= len(argument)
        if self.call_budget < 0:
            raise _refuse("its pickle would expand to far more than its size; it is not a file of weights")
        try:
            self.push(function.run(*arguments))
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise _refuse(f"its pickle calls {function.name} with wrong arguments ({error})") from None

    def build(self) -> None:
        state = self.pop()
        target = self.top(OrderedDict)
        if type(state) is not dict or set(state) - {"_metadata"}:
            raise _refuse("its pickle would set attributes of an OrderedDict other than _metadata")
        vars(target).update(state)

    # -- what a pickle may use -----------------------------------------------------------------------------------------

    def _find(self, module: Any, name: Any) -> Any:
        functions: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor_v2,
            ("torch._utils", "_rebuild_tensor_v3"): self._tensor_v3,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("torch", "Size"): self._size,
            ("torch", "device"): self._device,
            ("collections", "OrderedDict"): self._ordered_dict,
            ("_codecs", "encode"): self._encode,
            ("builtins", "bytes"): self._bytes,
            ("builtins", "bytearray"): self._bytearray,
            ("builtins", "complex"): self._complex,
            ("builtins", "set"): self._set,
            ("builtins", "frozenset"): self._frozenset,
        }
        if not isinstance(module, str) or not isinstance(name, str):
            raise _refuse("its pickle is damaged: the name of a class is not text")
        module = {"__builtin__": "builtins"}.get(module, module)
        if (module, name) in functions:
            return _Callable(f"{module}.{name}", functions[module, name])
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        if module == "torch" and name.isidentifier():
            known = _dtype_named(name)
            if known is not None:
                return known
            if name in _TORCH_DTYPES:
                return _UnknownDtype(name)
        raise _refuse(
            f"it holds an object of class {module}.{name}. Only tensors, parameters and plain containers are read, "
            "because anything else could run code. In PyTorch, save the state_dict() of models and optimizers and "
            "convert other objects to plain numbers, strings, lists and dicts"
        )

    def persistent(self, reference: Any) -> _Storage:
        """The storage that a pickle refers to."""
        if (
            type(reference) is not tuple
            or len(reference) != 5
            or reference[0] != "storage"
            or not isinstance(reference[1], _StorageType)
            or not isinstance(reference[2], str)
            or not isinstance(reference[3], str)
        ):
            raise _refuse("its pickle refers to something outside it that is not a storage")
        _, kind, key, location, _ = reference
        known = self.storages.get(key)
        if known is None:
            data = self.archive.read(f"{self.archive.prefix}data/{key}")
            known = self.storages[key] = _Storage(key, data, kind.dtype, location)
        return _Storage(key, known.data, kind.dtype, location)

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
            raise _refuse("it holds a tensor with hooks, which are code")

    def _view(self, storage: Any, offset: Any, size: Any, stride: Any, dtype: Any, grad: Any, metadata: Any) -> Any:
        """The tensor that views a storage with this offset, size and stride (in elements)."""
        if not isinstance(storage, _Storage):
            raise _refuse(f"its pickle would make a tensor of {_name_of(storage)}")
        if dtype not in _BY_NAME:
            raise _refuse(
                f"it holds a tensor of dtype {dtype}, which livegrad has no tensors of. Convert it in PyTorch first"
            )
        numbers = (offset, *size, *stride) if type(size) is type(stride) is tuple else (None,)
        if not all(type(n) is int and 0 <= n < 2**62 for n in numbers) or len(size) != len(stride) or len(size) > 64:
            raise _refuse("its pickle is damaged: a tensor's size and strides are not plain numbers")
        if metadata and (type(metadata) is not dict or set(metadata) - {"conj", "neg"}):
            raise _refuse("it holds a tensor of a kind that livegrad does not know")
        if type(grad) is not bool:
            raise _refuse("its pickle is damaged: a tensor's requires_grad is not true or false")
        kind = _BY_NAME[dtype]
        changes = tuple(sorted(name for name in metadata or {} if metadata[name]))
        where = (storage.key, dtype, offset, size, stride, changes)
        if where in self.tensors:
            return _dress(self.tensors[where].detach(), "tensor", grad)

        count = math.prod(size)
        own = False  # whether the tensor may have the storage's memory for itself
        last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if count else 0
        length = len(storage.data) // kind.itemsize
        if count and last >= length:
            raise _refuse(f"its pickle is damaged: a tensor reaches element {last} of a storage of {length}")
        self.tensor_budget -= count * kind.itemsize
        if self.tensor_budget < 0:
            raise _refuse(
                "its tensors, written out in full, are far larger than the file. If it has expanded tensors, save "
                "them in PyTorch after .clone()"
            )
        if count:
            elements = storage.data[: length * kind.itemsize].view(kind)[offset:]
            steps = tuple(step * kind.itemsize for step in stride)
            array = np.lib.stride_tricks.as_strided(elements, size, steps)
            if storage.key not in self.taken and array.nbytes == storage.data.nbytes and array.flags.c_contiguous:
                self.taken.add(storage.key)
                own = True
        else:
            array = np.empty(size, kind)
        if self.archive.swap:
            array = array.byteswap()
        if dtype == "bool":
            array = array.view(np.uint8) != 0
        if "conj" in changes:
            array = np.conj(array)
        if "neg" in changes:
            array = -array
        if not own:
            array = np.array(array, order="C")
        tensor = self.tensors[where] = self.place(_from_array(array), storage.location)
        return _dress(tensor, "tensor", grad)

    def _parameter(self, data: Any, requires_grad: Any, hooks: Any) -> Any:
        self._no_hooks(hooks)
        if _kind_of(data) != "tensor" or type(requires_grad) is not bool:
            raise _refuse(f"its pickle would make a parameter of {_name_of(data)}")
        return _dress(data, "parameter", requires_grad)

    def _size(self, sizes: Any) -> Any:
        if type(sizes) not in (tuple, list) or not all(type(n) is int for n in sizes):
            raise _refuse("its pickle is damaged: a size that is not made of ints")
        return _lg().Size(sizes)

    def _device(self, kind: Any, index: Any = None) -> Any:
        if type(kind) is not str or (index is not None and type(index) is not int):
            raise _refuse("its pickle is damaged: a device that is not a name")
        try:
            return _lg().device(kind) if index is None else _lg().device(kind, index)
        except RuntimeError as error:
            raise _refuse(f"it holds a device that livegrad does not know ({error})") from None

    def _ordered_dict(self, items: Any = ()) -> Any:
        if type(items) not in (list, tuple):
            raise _refuse("its pickle is damaged: an OrderedDict of something else than pairs")
        made: OrderedDict = OrderedDict()
        for item in items:
            if type(item) not in (list, tuple) or len(item) != 2:
                raise _refuse("its pickle is damaged: an OrderedDict of something else than pairs")
            made[_hashable(item[0])] = item[1]
        return made

    def _encode(self, text: Any, encoding: Any) -> bytes:
        # How Python writes bytes in the older pickle protocols.
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise _refuse("its pickle would encode text in another way than bytes are written")
        return text.encode("latin1")

    def _bytes(self) -> bytes:
        return b""  # others come through _encode

    def _bytearray(self, data: Any = b"", encoding: Any = None) -> bytearray:
        if type(data) is str and encoding == "latin-1":
            return bytearray(data.encode("latin1"))
        if type(data) not in (bytes, bytearray):
            raise _refuse("its pickle would make a bytearray of something else than bytes")
        return bytearray(data)

    def _complex(self, real: Any, imag: Any) -> complex:
        if type(real) not in (int, float) or type(imag) not in (int, float):
            raise _refuse("its pickle would make a complex number of something else than numbers")
        return complex(real, imag)

    def _set(self, items: Any = ()) -> set:
        return set(_elements(items))

    def _frozenset(self, items: Any = ()) -> frozenset:
        return frozenset(_elements(items))


_TORCH_DTYPES = {
    *("uint16", "uint32", "uint64", "complex32", "complex64", "complex128", "chalf", "cfloat", "cdouble"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"),
    *("quint8", "qint8", "qint32", "quint4x2", "quint2x4", "bits8", "bits16"),
}


def _name_of(obj: Any) -> str:
    if isinstance(obj, _Callable):
        return obj.name
    if isinstance(obj, (_Storage, _StorageType)):
        return f"a storage of {obj.dtype}"
    if isinstance(obj, _UnknownDtype):
        return f"torch.{obj.name}, a dtype that livegrad has not"
    return f"an object of class {type(obj).__name__}"


def _elements(items: Any) -> list[Any]:
    if type(items) not in (list, tuple, set, frozenset):
        raise _refuse("its pickle would make a set of something else than a list")
    return [_hashable(item) for item in items]


def _hashable(key: Any) -> Any:
    """A dictionary key or set element of a plain, immutable kind, whose hash is cheap."""
    waiting, seen = [key], 0
    while waiting:
        item = waiting.pop()
        seen += 1
        if seen > 1000:
            raise _refuse("its pickle has a dictionary key or set element of more than 1000 parts")
        if type(item) in (tuple, frozenset):
            if len(item) > 1000:
                raise _refuse("its pickle has a dictionary key or set element of more than 1000 parts")
            waiting.extend(item)
        elif item is not None and type(item) not in (bool, int, float, complex, str, bytes):
            if _kind_of(item) not in ("dtype", "device", "size"):
                raise _refuse(f"its pickle uses {_name_of(item)} as a dictionary key or set element")
    return key


# The instructions, by their code.  Those of protocol 2, which PyTorch uses, and their successors up to protocol 5.
_OPCODES: dict[bytes, Callable[[_TorchUnpickler], Any]] = {
    b"\x80": lambda vm: vm.take(1),  # PROTO
    b"\x95": lambda vm: vm.take(8),  # FRAME
    b"(": lambda vm: vm.marks.append(len(vm.stack)),  # MARK
    b"0": lambda vm: vm.pop(),  # POP
    b"1": lambda vm: vm.pop_mark(),  # POP_MARK
    b"N": lambda vm: vm.push(None),
    b"\x88": lambda vm: vm.push(True),
    b"\x89": lambda vm: vm.push(False),
    b"J": lambda vm: vm.push(vm.number("<i")),  # BININT
    b"K": lambda vm: vm.push(vm.number("<B")),  # BININT1
    b"M": lambda vm: vm.push(vm.number("<H")),  # BININT2
    b"\x8a": lambda vm: vm.push(int.from_bytes(vm.take(vm.number("<B")), "little", signed=True)),  # LONG1
    b"\x8b": lambda vm: vm.push(int.from_bytes(vm.take(vm.number("<I")), "little", signed=True)),  # LONG4
    b"G": lambda vm: vm.push(vm.number(">d")),  # BINFLOAT
    b"\x8c": lambda vm: vm.push(vm.take(vm.number("<B")).decode("utf-8", "surrogatepass")),  # SHORT_BINUNICODE
    b"X": lambda vm: vm.push(vm.take(vm.number("<I")).decode("utf-8", "surrogatepass")),  # BINUNICODE
    b"\x8d": lambda vm: vm.push(vm.take(vm.number("<Q")).decode("utf-8", "surrogatepass")),  # BINUNICODE8
    b"C": lambda vm: vm.push(vm.take(vm.number("<B"))),  # SHORT_BINBYTES
    b"B": lambda vm: vm.push(vm.take(vm.number("<I"))),  # BINBYTES
    b"\x8e": lambda vm: vm.push(vm.take(vm.number("<Q"))),  # BINBYTES8
    b"\x96": lambda vm: vm.push(bytearray(vm.take(vm.number("<Q")))),  # BYTEARRAY8
    b"]": lambda vm: vm.push([]),
    b")": lambda vm: vm.push(()),
    b"}": lambda vm: vm.push({}),
    b"\x8f": lambda vm: vm.push(set()),  # EMPTY_SET
    b"a": lambda vm: vm.append([vm.pop()]),  # APPEND
    b"e": lambda vm: vm.append(vm.pop_mark()),  # APPENDS
    b"\x90": lambda vm: _add_items(vm, vm.pop_mark()),  # ADDITEMS
    b"\x91": lambda vm: vm.push(frozenset(_elements(vm.pop_mark()))),  # FROZENSET
    b"s": lambda vm: vm.set_items([vm.pop(), vm.pop()][::-1]),  # SETITEM
    b"u": lambda vm: vm.set_items(vm.pop_mark()),  # SETITEMS
    b"t": lambda vm: vm.push(tuple(vm.pop_mark())),  # TUPLE
    b"\x85": lambda vm: vm.push((vm.pop(),)),  # TUPLE1
    b"\x86": lambda vm: vm.push((vm.pop(), vm.pop())[::-1]),  # TUPLE2
    b"\x87": lambda vm: vm.push((vm.pop(), vm.pop(), vm.pop())[::-1]),  # TUPLE3
    b"h": lambda vm: vm.get(vm.number("<B")),  # BINGET
    b"j": lambda vm: vm.get(vm.number("<I")),  # LONG_BINGET
    b"q": lambda vm: vm.remember(vm.number("<B")),  # BINPUT
    b"r": lambda vm: vm.remember(vm.number("<I")),  # LONG_BINPUT
    b"\x94": lambda vm: vm.remember(len(vm.memo)),  # MEMOIZE
    b"c": lambda vm: vm.find(vm.line(), vm.line()),  # GLOBAL
    b"\x93": lambda vm: vm.find(*(vm.pop(), vm.pop())[::-1]),  # STACK_GLOBAL
    b"R": lambda vm: vm.call(),  # REDUCE
    b"\x81": lambda vm: vm.call(),  # NEWOBJ
    b"b": lambda vm: vm.build(),  # BUILD
    b"Q": lambda vm: vm.push(vm.persistent(vm.pop())),  # BINPERSID
}


def _add_items(vm: _TorchUnpickler, items: list[Any]) -> None:
    vm.top(set).update(_elements(items))
