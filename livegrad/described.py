"""What a tensor is, beside its elements: its shape and strides, its dtype, its device and how it lies in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import devices, dtypes, formats
from .dtypes import Size
from .native import hot
from .runtime.array import is_contiguous, numel
from .typed import Registered


class Described(Registered):
    """The part of `Tensor` that describes it: nothing here evaluates, but for `data_ptr`."""

    __slots__ = ()

    if TYPE_CHECKING:  # slots of `Tensor`
        _v: Any
        _s: Any

    @property
    @hot
    def shape(self) -> Size:
        v = self._v
        return Size(v.shape if v is not None else self._s.shape)

    @property
    @hot
    def _shape(self) -> tuple:
        v = self._v
        return v.shape if v is not None else self._s.shape

    @property
    @hot
    def dtype(self) -> dtypes.dtype:
        v = self._v
        return v.dtype if v is not None else self._s.storage.dtype

    @property
    @hot
    def device(self) -> devices.device:
        v = self._v
        return v.device if v is not None else self._s.storage.device

    @property
    @hot
    def ndim(self) -> int:
        return len(self._shape)

    @hot
    def dim(self) -> int:
        """The number of dimensions."""
        return len(self._shape)

    ndimension = dim

    @hot
    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return Size(self._shape) if dim is None else _of(self._shape, dim)

    @hot
    def numel(self) -> int:
        """The number of elements."""
        return numel(self._shape)

    nelement = numel

    def stride(self, dim: int | None = None) -> Any:
        """Steps in memory, in elements, along each dimension."""
        strides = self._geometry()[2]
        return strides if dim is None else _of(strides, dim)

    def storage_offset(self) -> int:
        """How many elements of the memory lie before the first one."""
        return self._geometry()[0]

    @hot
    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie one after the other, row by row or in the order of a memory format."""
        _, shape, strides = self._geometry()
        if memory_format is not None:
            return _lies_as(shape, strides, memory_format)
        return is_contiguous(shape, strides)

    def dim_order(self) -> tuple:
        """The dimensions from the outermost in memory to the innermost.

        >>> import livegrad
        >>> livegrad.zeros(2, 3, 5).permute(0, 2, 1).dim_order()
        (0, 2, 1)
        """
        strides = self._geometry()[2]
        return tuple(sorted(range(len(strides)), key=lambda i: -strides[i]))

    def sparse_dim(self) -> int:
        """How many dimensions are kept as indices: none."""
        return 0

    def dense_dim(self) -> int:
        """How many dimensions have all their elements in memory: all."""
        return len(self._shape)

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self.dtype.itemsize

    @property
    def _cdata(self) -> int:
        """A number that is this tensor's alone, by which libraries tell whether two are one."""
        return id(self)

    def data_ptr(self) -> int:
        """The address of the first element (evaluates; from then on the memory stays where it is)."""
        a = self._storage()
        memory = a.storage.pin()
        if self.device is not devices.cpu:
            return memory.block.ptr + (memory.offset + a.geometry()[0]) * self.dtype.itemsize
        return memory.ptr + a.geometry()[0] * self.dtype.itemsize

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        return self.device.type == "cpu"

    is_sparse = is_quantized = is_mps = is_nested = False

    @property
    def is_meta(self) -> bool:
        """Whether it has no data: it is on the device "meta"."""
        return self.device.type == "meta"

    is_sparse_csr = is_mkldnn = is_xpu = is_xla = is_ipu = is_mtia = is_maia = is_vulkan = False

    @property
    def layout(self) -> formats.layout:
        return formats.strided

    @hot
    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return self.dtype.is_complex

    def is_signed(self) -> bool:
        return self.dtype.is_signed

    def get_device(self) -> int:
        return -1 if self.device.index is None else self.device.index


@hot
def _of(sizes: tuple, dim: int) -> int:
    """The entry of one dimension."""
    n = len(sizes)
    if not -n <= dim < n:
        if n == 0:
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return sizes[dim]


def _lies_as(shape: tuple, strides: tuple, memory_format: Any) -> bool:
    order = formats.ORDER.get(memory_format)
    if order is None:
        formats.order(memory_format, len(shape))  # raises for what is no memory format
        return is_contiguous(shape, strides)
    if len(order) != len(shape):
        return False
    return is_contiguous(tuple(shape[d] for d in order), tuple(strides[d] for d in order))
