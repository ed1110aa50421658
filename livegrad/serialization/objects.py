"""The tensor library, as far as saving and loading need it."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from .errors import CheckpointError

__all__ = [
 "BY_NAME", "CODES", "NUMPY", "dress", "dtype_named", "from_array", "kind_of", "library",
    "storage_content", "storage_of", "to_array", "window_onto",
]  # fmt: skip

# The dtypes of safetensors.
NUMPY = {
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
CODES = {dtype: code for code, dtype in NUMPY.items()}
BY_NAME = {dtype.name: dtype for dtype in (*NUMPY.values(), np.dtype("complex128"))}


def library() -> Any:
    import livegrad  # not at the top of the module: livegrad imports this one

    return livegrad


def to_array(tensor: Any) -> np.ndarray:
    """The tensor's values as a NumPy array to read from; it may be the tensor's own memory."""
    on_cpu = tensor if tensor.device.type == "cpu" else tensor.detach().cpu()
    return on_cpu._to_numpy()


def storage_of(tensor: Any) -> int | None:
    """A number that is equal for tensors in which one's in-place changes are seen by the other.

    None for a tensor that is alone.  The address of the memory would not do: values are immutable, and tensors that
    know nothing of each other may hold the same one until one of them is changed.
    """
    window = tensor._s
    return None if window is None else id(window.storage)


def storage_content(tensor: Any) -> np.ndarray:
    """All of the memory that a tensor is a view of, as a flat NumPy array to read from."""
    from ..lazy.storage import Alias
    from ..runtime import array as arrays

    alias = tensor._s
    if alias is None:
        return to_array(tensor)
    storage = alias.storage
    whole = (0, (arrays.numel(storage.shape),), (1,))
    return arrays.on_host(storage.read(Alias(storage, whole, alias.counter)).ready(), "saving").native()


def from_array(array: np.ndarray) -> Any:
    """A tensor on the CPU that takes over an array nobody else uses."""
    from ..tensor import from_native

    try:
        return from_native(array)
    except (TypeError, KeyError):
        raise CheckpointError(
            f"the file has a tensor of dtype {array.dtype.name}, which livegrad has no tensors of. Convert it to a "
            "supported dtype where the file was made, and save again"
        ) from None


def window_onto(tensor: Any, offset: int, size: tuple, stride: tuple) -> Any:
    """A tensor that sees part of the memory of another, without being a view of it to autograd."""
    return type(tensor)._from(tensor._window(offset, size, stride), type(tensor))


def dress(tensor: Any, kind: str, requires_grad: bool, persistent: bool = True) -> Any:
    """Give a fresh tensor its class (``tensor``, ``parameter`` or ``buffer``) and its ``requires_grad``."""
    lg = library()
    if requires_grad and not (tensor.dtype.is_floating_point or tensor.dtype.is_complex):
        raise CheckpointError(
            f"the file has a {tensor.dtype.name} tensor that requires gradients; only floating-point and complex "
            "tensors can. The file is damaged: copy or download it again, or save anew"
        )
    if kind == "parameter":
        return lg.nn.Parameter(tensor, requires_grad=requires_grad)
    if kind == "buffer":
        tensor = lg.nn.Buffer(tensor, persistent=persistent)
    if requires_grad:
        tensor.requires_grad_(True)
    return tensor


def kind_of(obj: Any) -> str | None:
    """Which of the library's classes an object is exactly, if any."""
    lg = library()
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


def dtype_named(name: str) -> Any:
    """The library's dtype of that name, or None."""
    lg = library()
    found = getattr(lg, name, None)
    return found if type(found) is type(lg.float32) else None
