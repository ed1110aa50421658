"""Conversion of tensors between dtypes and devices."""

from __future__ import annotations

from typing import Any

from . import devices, dtypes, formats
from .lazy.value import Value, from_array
from .native import hot
from .ops import dispatch
from .ops.arguments import refuse_unknown
from .ops.registry import operator
from .runtime import array as arrays
from .site import warn
from .tensor import Tensor, wrap


def _moved(x: Value, device: devices.device, source: devices.device, non_blocking: bool = False) -> Value:
    return from_array(arrays.moved(x.ready(), device, non_blocking))


def _moved_back(g: Any, device: devices.device, source: devices.device) -> Any:
    return _moved(g, source, device) if g.__class__ is Value else to(g, source)


COPY_TO = operator("to", _moved, tensors=("x",), grads={"x": _moved_back}, node="ToCopy", anywhere=True)
COPY_TO.without_data = True

_warned = False


@hot
def _cast(t: Tensor, dtype: dtypes.dtype) -> Tensor:
    if t.dtype.category == dtypes.COMPLEX and dtype.category != dtypes.COMPLEX:
        _warn_of_loss(dtype)
    return dispatch.cast(t, dtype)


def _warn_of_loss(dtype: dtypes.dtype) -> None:
    """Warn, once, that imaginary parts are lost."""
    global _warned
    if not _warned and dtype is not dtypes.bool_:
        _warned = True
        warn("Casting complex values to real discards the imaginary part")


_OPTIONS = frozenset(("dtype", "device", "non_blocking", "copy", "memory_format", "other"))


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor with another dtype and/or on another device: ``to(dtype)``, ``to(device)``, ``to(device, dtype)``,
    ``to(other)``. Itself where nothing changes, unless ``copy=True``. With ``non_blocking=True`` a copy from pinned
    memory to a CUDA device is not waited for, nor is one to the CPU, which then lies in pinned memory: wait for the
    device (`livegrad.cuda.synchronize`, an event) before reading it, as in PyTorch.
    """
    refuse_unknown("to", kwargs, _OPTIONS)
    dtype, device = kwargs.get("dtype"), kwargs.get("device")
    copy = kwargs.get("copy", False)
    if "other" in kwargs:
        args = (*args, kwargs["other"])
    for a in args:
        if isinstance(a, (dtypes.dtype, type)):
            dtype = a
        elif isinstance(a, Tensor):
            dtype, device = a.dtype, a.device
        elif isinstance(a, (str, devices.device)) or (isinstance(a, int) and not isinstance(a, bool)):
            device = a
        elif a is not None and not isinstance(a, bool):
            raise TypeError(f"to() received an invalid combination of arguments - got ({type(a).__name__})")
    made = self if dtype is None else _cast(self, dtypes.given(dtype, "to"))
    if device is not None:
        where = devices.available(device)
        if made.device is not where:
            options: dict[str, Any] = {"non_blocking": True} if kwargs.get("non_blocking") else {}
            return COPY_TO.apply((made,), device=where, source=made.device, **options)
    layout = kwargs.get("memory_format")
    if layout is not None and layout is not formats.preserve_format and not made.is_contiguous(layout):
        return made.contiguous(memory_format=layout)
    return made.clone(memory_format=layout) if copy and made is self else made


def _share_memory(self: Tensor) -> Tensor:
    """The tensor itself, with a warning: memory is not shared between processes."""
    warn(
        "share_memory_() does nothing: memory is not shared between processes here, so what another process changes "
        "in this tensor is not seen in this one"
    )
    return self


def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The type's name such as "torch.FloatTensor" or "torch.cuda.FloatTensor"; or the tensor in another dtype, and,
    where a type or its name is given and not just a dtype, on that type of device.
    """
    from .ops.instruction import SCALAR_TYPE_NAMES

    if dtype is None:
        return f"torch.{'cuda.' if self.is_cuda else ''}{SCALAR_TYPE_NAMES[self.dtype]}Tensor"
    where = getattr(dtype, "where", None)
    if isinstance(dtype, str):
        where = "cuda" if dtype.startswith("torch.cuda.") else "cpu"
        names = {f"{n}Tensor": d for d, n in SCALAR_TYPE_NAMES.items()}
        name = dtype.removeprefix("torch.cuda." if where == "cuda" else "torch.")
        if name not in names or not dtype.startswith("torch."):
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = names[name]
    made = _cast(self, getattr(dtype, "dtype", dtype))
    return made if where in (None, made.device.type) else to(made, where, non_blocking=non_blocking)


def _casting(d: dtypes.dtype) -> Any:
    def method(self: Tensor, memory_format: Any = None) -> Tensor:
        return _cast(self, d)

    method.__doc__ = f"The tensor as {d.name}."
    return method


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy in page-locked memory of the CPU, which a CUDA device reads by itself; itself if it lies there already.

    Raises RuntimeError without a CUDA device, and for a tensor that is not on the CPU.
    """
    from .runtime.cuda import driver, pinned

    driver.cupy()
    if self.device is not devices.cpu:
        raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")  # type: ignore[attr-defined]
    return self if is_pinned(self) else wrap(from_array(pinned.pin(self._value().ready())))


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether it lies in page-locked memory of the CPU."""
    if self.device is not devices.cpu:
        return False
    from .runtime.cuda import driver, pinned

    return driver.available() and pinned.is_pinned(self._value().ready())


def storage(self: Tensor) -> Any:
    """The memory that the tensor sees, as elements of its dtype: a `storages.TypedStorage`."""
    from .storages import TypedStorage

    return TypedStorage(self)


def untyped_storage(self: Tensor) -> Any:
    """The memory that the tensor sees, as bytes: a `storages.UntypedStorage`."""
    from .storages import UntypedStorage

    return UntypedStorage(self)


def to_sparse(self: Tensor, sparse_dim: int | None = None, *, layout: Any = None, blocksize: Any = None) -> Any:
    """The elements that are not zero: a sparse tensor of a layout, in coordinate form unless one is given.

    See `sparse.to_sparse` and `sparse.sparse_compressed_tensor`; blocksize: (height, width) of its blocks.
    """
    from . import sparse

    return sparse.to_sparse(self, sparse_dim).to_sparse(layout=layout, blocksize=blocksize)


def _to_layout(layout: formats.layout) -> Any:
    def method(self: Tensor, blocksize: Any = None, dense_dim: int | None = None) -> Any:
        return to_sparse(self, layout=layout, blocksize=blocksize)

    method.__name__ = f"to_{layout}".replace("torch.", "")
    method.__doc__ = f"The elements that are not zero, as a matrix of layout {layout}: see `to_sparse`."
    return method


def sparse_mask(self: Tensor, mask: Any) -> Any:
    """The elements at the places of a sparse tensor of the same shape: a sparse tensor, too."""
    if tuple(mask.shape) != tuple(self.shape):
        raise RuntimeError(
            f"sparse_mask(): operands have incompatible sizes; self has size {list(self.shape)} but mask has size "
            f"{list(mask.shape)}"
        )
    places = mask.to_sparse_coo()._places if mask.layout is not formats.sparse_coo else mask._places
    return mask._with(self[tuple(places)])


T: Any = Tensor
T.to = to
T.sparse_mask = sparse_mask
T.to_sparse = to_sparse
for _layout in (formats.sparse_coo, formats.sparse_csr, formats.sparse_csc, formats.sparse_bsr, formats.sparse_bsc):
    setattr(T, f"to_{_layout}".replace("torch.", ""), _to_layout(_layout))
T.to_dense = lambda self, dtype=None: self if dtype is None else _cast(self, dtype)
T.storage = T._typed_storage = storage
T.untyped_storage = untyped_storage
T.type = type_
T.type_as = lambda self, other: dispatch.cast(self, other.dtype)
T.cpu = lambda self, memory_format=None: self.to(devices.cpu)
T.cuda = lambda self, device=None, non_blocking=False, memory_format=None: self.to(
    devices.device("cuda" if device is None else device), non_blocking=non_blocking
)
T.pin_memory = pin_memory
T.is_pinned = is_pinned
T.share_memory_ = _share_memory
T.is_shared = lambda self: False
for _name, _dtype in {
    "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16, "bfloat16": dtypes.bfloat16,
    "int": dtypes.int32, "long": dtypes.int64, "short": dtypes.int16, "char": dtypes.int8, "byte": dtypes.uint8,
    "bool": dtypes.bool_, "cfloat": dtypes.complex64, "cdouble": dtypes.complex128,
}.items():  # fmt: skip
    setattr(Tensor, _name, _casting(_dtype))
