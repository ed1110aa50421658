"""What sparse tensors of all layouts share: values, and what is done to them without looking at their places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .. import dtypes
from ..dtypes import Size
from ..ops.registry import FUNCTIONS
from ..overriding import disabled_torch_function_impl
from ..printing import contents, unsaid, with_notes
from ..tensor import Tensor

# Functions of one element that leave zero as it is: they are applied to the values.
OF_VALUES = (
    "abs", "asin", "asinh", "atan", "atanh", "ceil", "deg2rad", "erf", "erfinv", "expm1", "floor", "frac", "log1p",
    "nan_to_num", "neg", "positive", "rad2deg", "relu", "round", "sgn", "sign", "sin", "sinh", "sqrt", "square",
    "tan", "tanh", "trunc", "absolute", "arcsin", "arctan",
)  # fmt: skip


class Sparse:
    """A tensor of which some elements are held, as `_content`; every other element is zero."""

    is_sparse = is_sparse_csr = False
    layout: Any
    shape: Size
    _content: Tensor
    # Functions of this package by name, for public functions of the same name that are given sparse tensors.
    functions: ClassVar[dict[str, Callable]] = {}

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.__name__, kwargs or {}
        if name in Sparse.functions:
            return Sparse.functions[name](*args, **kwargs)
        method = getattr(args[0], name, None) if args and isinstance(args[0], Sparse) else None
        if method is not None:
            return method(*args[1:], **kwargs)
        return disabled_torch_function_impl(func, types, args, kwargs)  # it may know what to do, or refuse

    def _with(self, values: Tensor) -> Any:
        """A tensor of the same places, on the device of the values."""
        raise NotImplementedError

    dtype = property(lambda self: self._content.dtype)
    device = property(lambda self: self._content.device)
    requires_grad = property(lambda self: self._content.requires_grad)
    grad_fn = property(lambda self: self._content.grad_fn)
    is_cuda = property(lambda self: self._content.is_cuda)
    ndim = property(lambda self: len(self.shape))

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def numel(self) -> int:
        """How many elements there are, zeros included."""
        return self.shape.numel()

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """On another device or in another dtype, as `Tensor.to`."""
        return self._with(self._content.to(*args, **kwargs))  # type: ignore[attr-defined]

    def cuda(self, *args: Any, **kwargs: Any) -> Any:
        """On a CUDA device."""
        return self._with(self._content.cuda(*args, **kwargs))  # type: ignore[attr-defined]

    def cpu(self) -> Any:
        """On the CPU."""
        return self._with(self._content.cpu())  # type: ignore[attr-defined]

    def float(self) -> Any:
        """With float32 values."""
        return self.to(dtypes.float32)

    def double(self) -> Any:
        """With float64 values."""
        return self.to(dtypes.float64)

    def detach(self) -> Any:
        """Without history."""
        return self._with(self._content.detach())

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Let its values require gradients, or not; they are then where the gradient is, as ``_values().grad``."""
        self._content.requires_grad_(requires_grad)
        return self

    def detach_(self) -> Any:
        """Drop the history."""
        self._content.detach_()
        return self

    def mul_(self, number: Any) -> Any:
        """Multiply all values, in place."""
        self._content = self._content * number
        return self

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, (Tensor, Sparse)):
            return NotImplemented
        return self._with(self._content * other)

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> Any:
        return self._with(self._content / number)

    def __neg__(self) -> Any:
        return self._with(-self._content)

    def mul(self, other: Any) -> Any:
        """The same as the operator."""
        return self * other

    def div(self, other: Any) -> Any:
        """The same as the operator."""
        return self / other

    def add(self, other: Any, *, alpha: Any = 1) -> Any:
        """The sum with another tensor, times `alpha`."""
        return self + (other if alpha == 1 else other * alpha)

    def sub(self, other: Any, *, alpha: Any = 1) -> Any:
        """The difference from another tensor, times `alpha`."""
        return self + other * -alpha

    def __sub__(self, other: Any) -> Any:
        return self.sub(other)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __add__(self, other: Any) -> Any:
        raise NotImplementedError

    def __matmul__(self, other: Any) -> Any:
        raise NotImplementedError

    def pow(self, exponent: Any) -> Any:
        """Each element to a positive power. Raises RuntimeError for others, which do not leave zero as it is."""
        if not exponent > 0:
            raise RuntimeError(f"pow of a sparse tensor needs a positive exponent, got {exponent}")
        return self._with(self._content**exponent)

    def __pow__(self, exponent: Any) -> Any:
        return self.pow(exponent)

    def numpy(self) -> Any:
        """Raises TypeError: an array holds all elements."""
        raise TypeError(f"can't convert {self.layout} layout tensor to numpy. Use Tensor.to_dense() first.")

    def _parts(self, first: str, parts: dict[str, Tensor]) -> list[str]:
        """What is held, as text: each part as a tensor, the first after the name of the whole."""
        texts = []
        for name, t in parts.items():
            start = f"{name}=tensor("
            size = f", size={tuple(t._shape)}" if t.numel() == 0 else ""
            texts.append(f"{start}{contents(t.detach().cpu()._to_numpy(), len(first) + len(start))}{size})")
        return texts

    def _notes(self, held: int) -> list[str]:
        """What is said behind them, up to the dtype."""
        notes = [f"size={tuple(self.shape)}", f"nnz={held}"]
        if self.device.type != "cpu":
            notes.insert(0, f"device='{self.device}'")
        if not unsaid(self.dtype.name, dtypes.get_default_dtype().name):
            notes.append(f"dtype={self.dtype}")
        return notes

    def _shown(self, parts: dict[str, Tensor], held: int, own_line: bool) -> str:
        """The text of `repr`. own_line: whether the size begins a line."""
        first, notes = "tensor(", self._notes(held)
        texts = self._parts(first, parts)
        notes.append(f"layout={self.layout}")
        if self.grad_fn is not None:
            notes.append(f"grad_fn=<{self.grad_fn.name()}>")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return with_notes(first + ",\n       ".join(texts), notes, 7, force_newline=own_line)


def _of_values(name: str) -> Callable:
    def method(self: Sparse, *args: Any, **kwargs: Any) -> Any:
        return self._with(FUNCTIONS[name](self._content, *args, **kwargs))

    method.__name__ = name
    method.__doc__ = f"`{name}` of every element: of the values, for it leaves zero as it is."
    return method


for _name in OF_VALUES:
    setattr(Sparse, _name, _of_values(_name))
