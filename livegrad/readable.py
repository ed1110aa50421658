"""What a tensor gives to the outside: Python numbers and lists, NumPy arrays, DLPack, truth, length, text."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np

from . import capsules, devices, dtypes
from .autograd.mode import MODE
from .described import Described
from .lazy.reuse import OVERWRITTEN
from .lazy.storage import Alias, Counter, pinned_alone
from .lazy.value import BATCHED, Unbatched
from .native import hot
from .runtime import array as arrays
from .runtime.array import numel

if TYPE_CHECKING:
    from .tensor import Tensor


class Readable(Described):
    """The part of `Tensor` that reads: whatever is here evaluates what is pending, if it needs the elements."""

    __slots__ = ()

    if TYPE_CHECKING:  # a slot of `Tensor`
        _edge: Any
        _v: Any

    @hot
    def item(self) -> Any:
        """The only element, as a Python number. Raises RuntimeError unless there is exactly one."""
        v = self._v
        if v is None:
            a = self._s
            if a.layout is not None and a.layout[1] == ():
                return a.storage.number(a.layout[0])
            v = self._read()
        array = v.array
        if array is None:
            array = v.ready()
        if numel(array.shape) != 1:
            raise RuntimeError(f"a Tensor with {numel(array.shape)} elements cannot be converted to Scalar")
        return array.numbers() if not array.shape else arrays.on_host(array, "item()").native().item()

    @hot
    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers (a number for a zero-dimensional tensor)."""
        return self._value().ready().numbers()

    @hot
    def _to_numpy(self) -> np.ndarray:
        """The content as a NumPy array that may share memory and must not be written to."""
        return arrays.on_host(self._value().ready(), "reading").native()

    @hot
    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The same memory as a NumPy array.

        Raises RuntimeError for a tensor that requires gradients, unless in `no_grad` (call `.detach()` first, or pass
        ``force=True``).
        """
        if force:
            return self.detach().cpu()._pinned_numpy()
        if self._edge is not None and MODE.grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self._pinned_numpy()

    @hot
    def _pinned_numpy(self) -> np.ndarray:
        if self.device is not devices.cpu or self.dtype is dtypes.bfloat16:
            self._refuse_numpy()
        return self._pinned()

    @hot
    def _pinned(self) -> Any:
        """The memory as NumPy's or CuPy's array; from now on it stays where it is."""
        a = self._s
        if a is None:
            v = self._v
            owner = v.owner
            if owner is None or owner is not OVERWRITTEN and owner() is self:
                storage = pinned_alone(v)
                if storage is not None:
                    self._s = Alias(storage, None, Counter(self._ver))
                    self._v = None
                    return storage.array.own_native()  # type: ignore[union-attr]
            a = self._storage()
        memory = a.storage.pin()
        if a.layout is None:
            return memory.native().view()  # an object of its own
        offset, shape, strides = a.layout
        return memory.view(memory.offset + offset, shape, strides).native()

    def _refuse_numpy(self) -> None:
        if self.device is not devices.cpu:
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                "memory first."
            )
        raise TypeError("Got unsupported ScalarType BFloat16: NumPy has none; use .float().numpy()")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        a = self.numpy()
        if dtype is not None and np.dtype(dtype) != a.dtype:
            if copy is False:
                raise ValueError(f"a copy is needed to make {np.dtype(dtype)} of {a.dtype}")
            return a.astype(dtype)
        return a.copy() if copy else a

    def __dlpack__(self, **options: Any) -> Any:
        if self._edge is not None:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        if self.device is not devices.cpu:
            return self._pinned().__dlpack__(**options)
        if self.dtype is dtypes.bfloat16:
            return capsules.relabel(self._pinned().view(np.int16).__dlpack__(**options), capsules.BFLOAT)
        return self._pinned_numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple:
        where = self.device
        return (1, 0) if where.index is None else (2, where.index)

    @property
    def __cuda_array_interface__(self) -> dict:
        if self.device.type != "cuda":
            raise AttributeError(
                f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {self.type()} If CUDA data is required "
                "use tensor.cuda() to copy tensor to device memory."
            )
        if self._edge is not None:
            raise RuntimeError(
                "Can't get __cuda_array_interface__ on Variable that requires grad. If gradients aren't required, use "
                "var.detach() to get Variable that doesn't require grad."
            )
        return self._pinned().__cuda_array_interface__

    def __bool__(self) -> bool:
        n = self.numel()
        if n != 1:
            what = "no values" if n == 0 else "more than one value"
            raise RuntimeError(f"Boolean value of Tensor with {what} is ambiguous")
        try:
            return bool(self.item())
        except Unbatched:
            raise Unbatched(
                "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't "
                "support that yet, please file an issue at https://github.com/pytorch/pytorch/issues ."
            ) from None

    def __float__(self) -> float:
        return float(_real_item(self, "double"))

    def __int__(self) -> int:
        return int(_real_item(self, "int64_t"))

    def __complex__(self) -> complex:
        return complex(self.item())

    __nonzero__, __long__ = __bool__, __int__  # of Python 2

    def __index__(self) -> int:
        if self.dtype.category >= dtypes.FLOATING or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        shape = self._shape
        if not shape:
            raise TypeError("len() of a 0-d tensor")
        return shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, x: Any) -> bool:
        from .tensor import Tensor

        if not isinstance(x, (Tensor, Number)):
            raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(x)}.")
        return bool((self == x).any().item())

    def __reversed__(self) -> Tensor:
        return self.flip(0) if self._shape else self.clone()

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        from .tensor import Tensor

        if self._shape == () and type(self) is Tensor:
            return format(self.item(), spec)
        return object.__format__(self, spec) if spec else str(self)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return self._text(_prefix(type(self)), tensor_contents)

    def _text_without_data(self, prefix: str) -> str:
        """What is known of a tensor on the device "meta"."""
        from .printing import with_notes

        edge = self._edge
        parts = ["device='meta'", f"size={tuple(self._shape)}"]
        if self.dtype is not dtypes.get_default_dtype():
            parts.append(f"dtype={self.dtype}")
        if edge is not None:
            parts.append("requires_grad=True" if edge.is_leaf else f"grad_fn=<{edge.name()}>")
        return with_notes(f"{prefix}...", parts, len(prefix))

    def _text(self, prefix: str, tensor_contents: str | None = None) -> str:
        from .printing import tensor_repr

        edge = self._edge
        v = self._v
        if v is not None and v.weight >= BATCHED:
            batch = v.params[0]
            return f"BatchedTensor(lvl={batch.level}, bdim=0, value=\n    {batch.tensor}\n)".replace("\n ", "\n     ")
        if self.is_meta:
            return self._text_without_data(prefix)
        return tensor_repr(
            arrays.on_host(self._value().ready(), "printing").native(),
            dtype=self.dtype.name,
            default_dtype=dtypes.get_default_dtype().name,
            device=str(self.device),
            requires_grad=edge is not None and edge.is_leaf,
            grad_fn=None if edge is None or edge.is_leaf else edge.name(),
            prefix=prefix,
            tensor_contents=tensor_contents,
        )

    def __dir__(self) -> list[str]:
        return [n for n in object.__dir__(self) if not n.startswith("_held")]


def _prefix(cls: type) -> str:
    """How the text of a tensor begins: with the name of its class, if that overrides functions."""
    from .overriding import disabled_torch_function_impl
    from .tensor import Tensor

    plain = cls is Tensor or cls.__torch_function__ is disabled_torch_function_impl  # type: ignore[attr-defined]
    return "tensor(" if plain else f"{cls.__name__}("


def _real_item(t: Readable, kind: str) -> Any:
    """The only element as a real number. ValueError unless there is one, RuntimeError if it has an imaginary part."""
    if t.numel() != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    x = t.item()
    if x.__class__ is complex:
        if x.imag:
            raise RuntimeError(f"value cannot be converted to type {kind} without overflow")
        return x.real
    return x
