"""Writing an ONNX graph: nodes, constants and the small steps that many operators are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import livegrad

from ..site import Site
from .errors import OnnxExporterError

__all__ = ["Value", "Writer", "element_type", "is_value"]

LAST = np.iinfo(np.int64).max  # as a slice's end: everything
_TYPES = {
    "float32": "FLOAT", "float64": "DOUBLE", "float16": "FLOAT16", "bfloat16": "BFLOAT16", "int64": "INT64",
    "int32": "INT32", "int16": "INT16", "int8": "INT8", "uint8": "UINT8", "bool": "BOOL", "complex64": "COMPLEX64",
    "complex128": "COMPLEX128",
}  # fmt: skip


class Value:
    """A result in the graph: its name, and the dtype and shape that it had in the example.

    moving: the dimensions whose size may change. constant: its numbers, where they are known. size: whether it is a
    size, which is one int64 number.
    """

    __slots__ = ("name", "dtype", "shape", "moving", "constant", "size")

    def __init__(
        self, name: str, dtype: Any = None, shape: tuple = (), moving: tuple = (), constant: Any = None,
        size: bool = False,
    ):  # fmt: skip
        self.name, self.dtype, self.shape, self.moving = name, dtype, shape, moving
        self.constant, self.size = constant, size

    @property
    def rank(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)

    def axis(self, dim: int) -> int:
        """A dimension counted from the first."""
        return dim % self.rank if self.rank else 0


def is_value(x: Any) -> bool:
    """Whether an argument is a result in the graph, and no number."""
    return isinstance(x, Value)


def element_type(dtype: Any) -> int:
    """ONNX's number of a dtype."""
    import onnx

    return getattr(onnx.TensorProto, _TYPES[str(dtype)[6:]])


def array_of(t: Any) -> np.ndarray:
    """A tensor's numbers as ONNX's writer takes them."""
    return t.detach().cpu()._to_numpy()


class Writer:
    """A graph that is being written: translations of operators call it.

    `w("Add", a, b)` writes a node and gives its result; operands are Values, NumPy arrays, or None for those left out.
    out: the dtype and shape of what the present operator gives. opset: the version of ONNX's operators.
    """

    def __init__(self, opset: int):
        self.opset = opset
        self.nodes: list = []
        self.initializers: list = []
        self.site: Site | None = None
        self.operator = ""
        self.out: Any = None  # what the operator that is translated gives: a meta tensor, or None for several results
        self._names: set[str] = set()
        self._constants: dict[tuple, str] = {}

    # --- names and nodes --------------------------------------------------------------------------------------------

    def unique(self, wanted: str) -> str:
        """A name that nothing else has."""
        name, count = wanted, 0
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name

    def __call__(self, kind: str, *operands: Any, results: int = 1, **attributes: Any) -> Any:
        from onnx import helper

        inputs = ["" if x is None else x.name if isinstance(x, Value) else self.constant(x) for x in operands]
        while inputs and not inputs[-1]:
            inputs.pop()
        outputs = [self.unique(kind.lower()) for _ in range(results)]
        given = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(helper.make_node(kind, inputs, outputs, self.unique(f"node_{outputs[0]}"), **given))
        if self.site is not None:
            entry = self.nodes[-1].metadata_props.add()
            entry.key, entry.value = "site", str(self.site)
        made = [Value(name) for name in outputs]
        return made[0] if results == 1 else made

    def constant(self, numbers: Any, name: str | None = None) -> str:
        """The name of an array in the graph."""
        from onnx import helper, numpy_helper

        a = np.asarray(numbers)
        key = (a.dtype.str, str(a.dtype), a.shape, a.tobytes()) if name is None and a.size < 64 else None
        if key is not None and key in self._constants:
            return self._constants[key]
        made = self.unique(name or "constant")
        a = np.array(a, order="C")  # which keeps that a number has no dimension
        if str(a.dtype) == "bfloat16":
            proto = helper.make_tensor(made, element_type(livegrad.bfloat16), a.shape, a.tobytes(), raw=True)
        else:
            proto = numpy_helper.from_array(a, made)
        self.initializers.append(proto)
        if key is not None:
            self._constants[key] = made
        return made

    def refuse(self, why: str) -> OnnxExporterError:
        """The error for a call that has no translation."""
        return OnnxExporterError(f"{self.operator} has no translation to ONNX: {why}. {self.site or ''}".rstrip())

    # --- numbers and dtypes -----------------------------------------------------------------------------------------

    def number(self, x: Any, dtype: Any) -> np.ndarray:
        """A Python number as a constant of a dtype."""
        return array_of(livegrad.tensor(x, dtype=dtype))

    def cast(self, x: Any, dtype: Any) -> Any:
        """A value, or a number, as one of a dtype."""
        if not isinstance(x, Value):
            return self.number(x, dtype)
        if x.size:
            x = self("Squeeze", x, np.array([0]))
            x.dtype = livegrad.int64
        if x.dtype is dtype:
            return x
        made = self("Cast", x, to=element_type(dtype))
        made.dtype, made.shape, made.moving = dtype, x.shape, x.moving
        return made

    def together(self, *operands: Any) -> list:
        """Operands as values of the dtype that they are promoted to."""
        kinds = [livegrad.empty(x.shape, dtype=x.dtype, device="meta") if isinstance(x, Value) and not x.size else
                 1 if isinstance(x, Value) else x for x in operands]  # fmt: skip
        dtype = livegrad.result_type(kinds[0], kinds[1])
        for kind in kinds[2:]:
            dtype = livegrad.result_type(livegrad.empty((), dtype=dtype), kind)
        return [self.cast(x, dtype) for x in operands]

    # --- sizes and shapes -------------------------------------------------------------------------------------------

    def fixed(self, x: Value, *dims: int) -> tuple[int, ...]:
        """The sizes of dimensions, of all if none is named, which may not be ones that change."""
        dims = dims or tuple(range(x.rank))
        for dim in dims:
            if x.axis(dim) in x.moving:
                raise self.refuse(f"it needs to know the size of dimension {dim} of an operand, which may change")
        return tuple(x.shape[dim] for dim in dims)

    def size(self, x: Value, dim: int) -> Any:
        """A size: a number where it cannot change."""
        axis = x.axis(dim)
        if axis not in x.moving:
            return x.shape[axis]
        made = self("Shape", x, start=axis, end=axis + 1)
        made.size, made.dtype, made.shape = True, livegrad.int64, (1,)
        return made

    def whole(self, n: Any) -> Any:
        """One number, which may be a size, as int64 of shape (1,)."""
        return n if isinstance(n, Value) else np.array([n], np.int64)

    def sizes(self, numbers: Sequence) -> Any:
        """Numbers, of which some may be sizes, as an int64 vector."""
        if not any(isinstance(n, Value) for n in numbers):
            return np.array(numbers, np.int64)
        return self("Concat", *map(self.whole, numbers), axis=0)

    def reshape(self, x: Value, numbers: Sequence) -> Value:
        """`x` in a shape, in which one size may be -1."""
        zero = any(not isinstance(n, Value) and n == 0 for n in numbers)
        return self("Reshape", x, self.sizes(numbers), allowzero=1 if zero else None)

    def unsqueeze(self, x: Any, *axes: int) -> Value:
        """`x` with dimensions of one element at places of the result."""
        return self("Unsqueeze", x, np.array(axes, np.int64))

    def squeeze(self, x: Any, *axes: int) -> Value:
        """`x` without dimensions of one element."""
        return self("Squeeze", x, np.array(axes, np.int64))

    def transposed(self, x: Value, a: int, b: int, rank: int) -> Value:
        """`x` of a rank with two dimensions exchanged."""
        order = list(range(rank))
        order[a % rank], order[b % rank] = order[b % rank], order[a % rank]
        return self("Transpose", x, perm=order)

    def cut(self, x: Value, axis: int, start: Any, stop: Any, step: int = 1) -> Value:
        """The elements from start to stop along a dimension."""
        return self("Slice", x, self.whole(start), self.whole(stop), np.array([axis]), np.array([step]))

    def reduced(self, kind: str, x: Value, axes: Sequence[int] | None, keepdim: bool) -> Value:
        """A reduction (`ReduceSum`, …) over dimensions, over all for None."""
        keep = int(bool(keepdim))
        if axes is None:
            return self(kind, x, keepdims=keep)
        if self.opset < 18 and kind != "ReduceSum":
            return self(kind, x, axes=list(axes), keepdims=keep)
        return self(kind, x, np.array(axes, np.int64), keepdims=keep)

    def split(self, x: Value, sizes: Sequence, axis: int) -> list[Value]:
        """Parts of given sizes along a dimension."""
        made = self("Split", x, self.sizes(sizes), axis=axis, results=len(sizes))
        return made if len(sizes) > 1 else [made]
