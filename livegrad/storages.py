"""Storages: the memory that tensors see, as PyTorch's programs ask for it: its address, its size, its content.

>>> import livegrad
>>> x = livegrad.arange(6.).reshape(2, 3)
>>> x[1].untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
True
>>> x[1].storage().tolist(), x[1].untyped_storage().nbytes()
([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 24)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import dtypes
from .copying import whole_copy
from .lazy.storage import Face
from .runtime.array import numel
from .tensor import Tensor

__all__ = ["StorageBase", "TypedStorage", "UntypedStorage"]


class _Storage:
    """What both kinds share. A storage is seen through a flat tensor of all its elements."""

    def __init__(self, tensor: Tensor):
        alias = tensor._storage()
        whole = tensor._window(0, (numel(alias.storage.shape),), (1,))
        self._all = Tensor._from(whole, Tensor)
        self._own = getattr(alias.storage, "source", alias.storage)
        assert isinstance(alias.storage, Face) or self._own is alias.storage

    @property
    def device(self) -> Any:
        return self._all.device

    @property
    def is_cuda(self) -> bool:
        return self._all.is_cuda

    @property
    def _cdata(self) -> int:
        """A number that is equal for the storages of tensors that see each other's changes."""
        return id(self._own)

    def data_ptr(self) -> int:
        """The address of its first byte; from then on the memory stays there, so what reads it is not deferred."""
        return self._all.data_ptr() if self._all.numel() else 0

    def nbytes(self) -> int:
        """Its size in bytes."""
        return self._all.nbytes

    def is_shared(self) -> bool:
        """Whether other processes see it: never."""
        return False

    def is_pinned(self, device: Any = None) -> bool:
        """Whether it lies in page-locked memory."""
        return self._all.is_pinned(device)  # type: ignore[attr-defined]

    def tolist(self) -> list:
        """Its elements as Python numbers."""
        return self._numbers().tolist()

    def _numbers(self) -> np.ndarray:
        return self._all.detach().cpu()._to_numpy()  # type: ignore[attr-defined]

    def size(self) -> int:
        """How many elements it has."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.size()

    def __iter__(self) -> Iterator:
        return iter(self.tolist())

    def __getitem__(self, place: Any) -> Any:
        found = self._numbers()[place]
        return type(self)._of(found) if isinstance(place, slice) else found.item()

    @classmethod
    def _of(cls, numbers: np.ndarray) -> Any:
        from .creation import from_numpy

        return cls(from_numpy(np.ascontiguousarray(numbers)))

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Storage) and type(self) is type(other) and self._own is other._own

    def __hash__(self) -> int:
        return hash(self._cdata)

    def __copy__(self) -> Any:
        return type(self)(self._all.detach().clone())

    def __deepcopy__(self, memo: dict) -> Any:
        alias = self._all._storage()
        return copy.copy(self) if isinstance(alias.storage, Face) else type(self)(whole_copy(alias, memo))

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return type(self), (self._all.detach(),)

    def __repr__(self) -> str:
        lines = [f" {number}" for number in self.tolist()]
        kind = f"torch.storage.{type(self).__name__}"
        shown = f"(dtype={self._all.dtype}, device={self.device})" if isinstance(self, TypedStorage) else ""
        return "\n".join([*lines, f"[{kind}{shown} of size {self.size()}]"])


class StorageBase(_Storage):
    """What storages of bytes are."""


class UntypedStorage(StorageBase):
    """The memory of a tensor as bytes: what `Tensor.untyped_storage` returns. A slice of it sees the same memory."""

    def size(self) -> int:
        return self.nbytes()

    def element_size(self) -> int:
        """Bytes of an element: 1."""
        return 1

    def _numbers(self) -> np.ndarray:
        return np.ascontiguousarray(super()._numbers()).view(np.uint8)

    @classmethod
    def from_file(cls, filename: Any, shared: bool = False, nbytes: int = 0) -> UntypedStorage:
        """The content of a file as memory, read when it is looked at.

        shared: whether writing into it changes the file. nbytes: how much of the file, all of it if 0.
        """
        numbers = np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(nbytes,) if nbytes else None)
        return cls._of(numbers)

    def untyped(self) -> UntypedStorage:
        """Itself."""
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._numbers() if dtype is None else self._numbers().astype(dtype)

    def resize_(self, size: int) -> UntypedStorage:
        """Itself, if it has that size in bytes. Raises RuntimeError for another: memory here cannot grow or shrink."""
        if size != self.nbytes():
            raise RuntimeError(
                f"Trying to resize storage that is not resizable: it has {self.nbytes()} bytes, not {size}. Make a new "
                "tensor instead"
            )
        return self


class TypedStorage(_Storage):
    """The memory of a tensor as elements of its dtype: what `Tensor.storage` returns."""

    @property
    def dtype(self) -> dtypes.dtype:
        return self._all.dtype

    def size(self) -> int:
        return self._all.numel()

    def element_size(self) -> int:
        """Bytes of an element."""
        return self._all.element_size()

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        return UntypedStorage(self._all)

    @property
    def _untyped_storage(self) -> UntypedStorage:
        return self.untyped()

    def __setitem__(self, place: Any, value: Any) -> None:
        self._all[place] = value

    def fill_(self, value: Any) -> TypedStorage:
        """Set all elements."""
        self._all.fill_(value)  # type: ignore[attr-defined]
        return self
