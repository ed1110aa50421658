"""Complex numbers and their parts: views of one as the other, and making one of the other.

`view_as_real` shows a tensor of complex numbers as one of real numbers with a last dimension of two, `view_as_complex`
the other way round; both share memory with what they show, as do `real` and `imag`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes
from ..autograd.mode import MODE
from ..lazy import backend
from ..lazy.storage import face_of
from ..lazy.value import Value, from_array
from ..native import hot
from ..observe import WATCH
from ..runtime import array as arrays
from ..tensor import Tensor
from . import dispatch, scalar, writes
from .instruction import SCALAR_TYPE_NAMES
from .operator import on_either
from .registry import ELEMENTWISE, FUNCTIONS, elementwise, named, operator
from .view import select
from .view_operators import CLEAR, EXTRACT, INSERT, Meta, View

# --- the views --------------------------------------------------------------------------------------------------


@hot
def parts_of(offset: int, shape: tuple, strides: tuple) -> tuple:
    """Where the parts of complex numbers lie, which lie so."""
    return 2 * offset, (*shape, 2), (*[2 * s for s in strides], 1)


@hot
def _pairs_of(offset: int, shape: tuple, strides: tuple) -> tuple | None:
    """Where complex numbers lie whose parts lie so; None where two parts that belong together are not neighbours."""
    if strides[-1] != 1 or offset % 2:
        return None
    last = len(shape) - 1
    halves = []
    for d in range(last):
        s = strides[d]
        if s % 2:
            return None
        halves.append(s // 2)
    return offset // 2, shape[:last], tuple(halves)


class Recast(View):
    """A view with another dtype. turn: function from a dtype to that of the view."""

    __slots__ = ("turn",)

    def __init__(self, name: str, geometry: Callable, gradient: Callable, node: str, turn: Callable):
        super().__init__(name, geometry, gradient, node)
        self.turn = turn

    def of_value(self, v: Value, args: dict) -> Value:
        array = v.ready()
        found = self.geometry(array.offset, array.shape, array.strides)
        if found is None:
            return self.of_value(backend.copied(v.native()), args)
        made = from_array(arrays.reread(array, self.turn(v.dtype), *found))
        made.lease, made.window = v.lease, v.window
        made.weight = max(made.weight, v.weight)
        v.uses += 1  # no kernel may write into memory that has two readers
        v.shared = made.shared = True
        made.uses += 1
        return made

    @hot
    def _apply(self, tensors: Sequence[Tensor], label: str | None, args: dict) -> Tensor:
        t = tensors[0]
        found = self.geometry(*t._geometry())
        if found is None:
            _refuse(t)
        made = t._window(*found)  # type: ignore[misc]
        made._s.storage = face_of(made._s.storage, self.turn(t.dtype))
        if t._edge is not None and (MODE.off == 0 or MODE.grad):
            self.record((made,), (Meta(t._shape, t.dtype),), tensors, label, args)
        return made


def _refuse(t: Tensor) -> None:
    offset, _, strides = t._geometry()
    if strides[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if offset % 2:
        raise RuntimeError("Tensor must have a storage_offset divisible by 2")
    d = next(d for d, s in enumerate(strides) if s % 2)
    raise RuntimeError(f"Tensor must have a stride divisible by 2 for all but last dimension, got {strides[d]} at {d}")


VIEW_AS_REAL = Recast(
    "view_as_real", parts_of, lambda g: on_either(VIEW_AS_COMPLEX, _packed(g)), "ViewAsReal", lambda d: d.to_real()
)
VIEW_AS_COMPLEX = Recast(
    "view_as_complex", _pairs_of, lambda g: on_either(VIEW_AS_REAL, g), "ViewAsComplex", lambda d: d.to_complex()
)


def _packed(x: Any) -> Any:
    """x such that it can be viewed as complex numbers: a copy where need be."""
    if x.__class__ is Value or _pairs_of(*x._geometry()) is not None:
        return x
    return x.clone()


@named("view_as_real", method=False)
@hot
def view_as_real(input: Tensor) -> Tensor:
    """The parts of complex numbers, along a new last dimension of size 2, in the same memory.

    >>> import livegrad
    >>> livegrad.view_as_real(livegrad.tensor([1 + 2j, 3 - 4j]))
    tensor([[ 1.,  2.],
            [ 3., -4.]])
    """
    if not input.is_complex():
        raise RuntimeError("view_as_real is only supported for complex tensors")
    return VIEW_AS_REAL.apply((input,))


@named("view_as_complex", method=False)
@hot
def view_as_complex(input: Tensor) -> Tensor:
    """Pairs along the last dimension, of size 2, as complex numbers, in the same memory.

    >>> import livegrad
    >>> livegrad.view_as_complex(livegrad.tensor([[1.0, 2.0], [3.0, -4.0]]))
    tensor([1.+2.j, 3.-4.j])
    """
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(
            "view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: "
            f"{SCALAR_TYPE_NAMES[input.dtype]}"
        )
    if not input._shape:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if input._shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    return VIEW_AS_COMPLEX.apply((input,))


@hot
def _part_of(input: Tensor, k: int) -> Tensor:
    """The parts with number k: one view, but for a history, which has two as in PyTorch."""
    if input._edge is not None or WATCH.batcher is not None or WATCH.observer is not None:
        return select(view_as_real(input), -1, k)
    offset, shape, strides = input._geometry()
    made = input._window(2 * offset + k, shape, tuple([2 * s for s in strides]))
    made._s.storage = face_of(made._s.storage, input.dtype.to_real())  # type: ignore[union-attr]
    return made


@named("real", method=False)
@hot
def real(input: Tensor) -> Tensor:
    """The real parts of complex numbers, in the same memory; a real tensor itself."""
    return _part_of(input, 0) if input.is_complex() else input


@named("imag", method=False)
def imag(input: Tensor) -> Tensor:
    """The imaginary parts of complex numbers, in the same memory. Raises RuntimeError for a real tensor."""
    if not input.is_complex():
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return _part_of(input, 1)


def _setting(part: Callable) -> property:
    def assign(self: Tensor, value: Any) -> None:
        part(self).copy_(value)

    return property(part, assign)


T: Any = Tensor
T.real, T.imag = _setting(real), _setting(imag)


# --- histories of views with another dtype that were changed in place -------------------------------------------
# As in `ops.view`, with all that lies in memory seen as real numbers.


def _real_window(t: Tensor, window: tuple) -> tuple:
    return parts_of(*window) if t.is_complex() else window


def _as_real(g: Any) -> Any:
    return on_either(VIEW_AS_REAL, g) if g.dtype.is_complex else g


def _like(g: Any, dtype: dtypes.dtype) -> Any:
    return on_either(VIEW_AS_COMPLEX, _packed(g)) if dtype.is_complex else g


def _recorded_only(x: Value, *others: Value, base: tuple, window: tuple) -> Value:
    raise AssertionError("recorded only: the write itself has been done in place")


_PART_SLICES = operator(
    "copy_part_slices",
    _recorded_only,
    tensors=("x", "source"),
    grads={
        "x": lambda g, x_dtype, base, window: _like(on_either(CLEAR, _as_real(g), base=base, window=window), x_dtype),
        "source": lambda g, source_dtype, base, window: _like(
            on_either(EXTRACT, _as_real(g), base=base, window=window), source_dtype
        ),
    },
    node="CopySlices",
)
_PART_STRIDED = operator(
    "part_strided",
    _recorded_only,
    tensors=("x",),
    grads={
        "x": lambda g, x_dtype, base, window: _like(on_either(INSERT, _as_real(g), base=base, window=window), x_dtype)
    },
    node="AsStrided",
)


def record_part_slices(base: Tensor, window: tuple, source: Tensor) -> None:
    """The history of `base` after `source`, of another dtype, was written into a window of it."""
    metas = (Meta(base._shape, base.dtype), Meta(source._shape, source.dtype))
    args = {"base": _real_window(base, base._geometry()), "window": _real_window(source, window)}
    node = _PART_SLICES.record((base,), metas, (base, source), None, args)
    if node is not None:
        node.label = "CopySlices"


def record_part_strided(view: Tensor, base: Tensor) -> None:
    """The history of a view of `base` with another dtype, from the present one of `base`."""
    args = {"base": _real_window(base, base._geometry()), "window": _real_window(view, view._geometry())}
    _PART_STRIDED.record((view,), (Meta(base._shape, base.dtype),), (base,), None, args)


# --- making complex numbers -------------------------------------------------------------------------------------


elementwise(
    "_complex", scalar.complex_, names=("real", "imag"), rule="complex", node="Complex", reference="", method=False,
    function=False,
)  # fmt: skip
elementwise(
    "_polar",
    lambda abs, angle: scalar.complex_(
        scalar.real(abs) * scalar.cos(scalar.real(angle)), scalar.real(abs) * scalar.sin(scalar.real(angle))
    ),
    rule="complex", node="Polar", reference="", method=False, function=False,
)  # fmt: skip
for _name in ("complex", "polar"):
    ELEMENTWISE[f"_{_name}"].name = _name
_complex, _polar = (dispatch.binary(ELEMENTWISE[f"_{_name}"]) for _name in ("complex", "polar"))


@hot
def _check_parts(name: str, x: Tensor, y: Tensor) -> None:
    if not (x.is_floating_point() and y.is_floating_point()):
        raise RuntimeError(
            "Expected both inputs to be Half, Float or Double tensors but got "
            f"{SCALAR_TYPE_NAMES[x.dtype]} and {SCALAR_TYPE_NAMES[y.dtype]}"
        )
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {SCALAR_TYPE_NAMES[x.dtype]} but got scalar type "
            f"{SCALAR_TYPE_NAMES[y.dtype]} for second argument"
        )
    if x.dtype.itemsize < 4:
        raise NotImplementedError(f"{name}(): complex numbers of {x.dtype} parts are not supported; use float32")


@named("complex", method=False)
def complex(real: Tensor, imag: Tensor) -> Tensor:
    """real + imag * 1j, of tensors of one floating-point dtype.

    >>> import livegrad
    >>> livegrad.complex(livegrad.tensor([1.0, 2.0]), livegrad.tensor([0.0, -1.0]))
    tensor([1.+0.j, 2.-1.j])
    """
    _check_parts("complex", real, imag)
    return _complex(real, imag)


@named("polar", method=False)
def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """abs * exp(angle * 1j), of tensors of one floating-point dtype.

    >>> import livegrad
    >>> livegrad.polar(livegrad.tensor([1.0, 2.0]), livegrad.tensor([0.0, livegrad.pi / 2]))
    tensor([ 1.0000e+00+0.j, -8.7423e-08+2.j])
    """
    _check_parts("polar", abs, angle)
    return _polar(abs, angle)


# --- what is asked of either kind -------------------------------------------------------------------------------


@named("is_complex")
@hot
def is_complex(input: Tensor) -> bool:
    """Whether the dtype is a complex one."""
    return input.dtype.is_complex


@named("isreal")
def isreal(input: Tensor) -> Tensor:
    """Elementwise, whether the imaginary part is zero."""
    return imag(input) == 0 if input.is_complex() else (input == input) | True


@named("conj")
def conj(input: Tensor) -> Tensor:
    """The complex conjugate; a real tensor itself. It is computed, where PyTorch has a view that is marked."""
    return _conj(input) if input.is_complex() else input


def _conj_of_value(v: Value) -> Value:
    return dispatch.value_call(_conj_op, (v,)) if v.dtype.is_complex else v


_conj_op = ELEMENTWISE["_conj"]
_conj = dispatch.unary(_conj_op)
V: Any = Value
V.conj = _conj_of_value
T.conj_physical = conj
FUNCTIONS["conj_physical"] = FUNCTIONS["conj"]
T.conj_physical_ = writes.in_place(conj, "conj_physical_")
T.is_conj = T.is_neg = lambda self: False
FUNCTIONS["is_conj"] = lambda input: False
FUNCTIONS["is_neg"] = lambda input: False
for _name in ("resolve_conj", "resolve_neg"):
    setattr(Tensor, _name, lambda self: self)
    FUNCTIONS[_name] = lambda input: input


def _adjoint(x: Tensor) -> Tensor:
    return x.mT.conj()  # type: ignore[attr-defined]


def _H(x: Tensor) -> Tensor:
    if x.dim() not in (0, 2):
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {x.dim()}-D tensor. For batches of matrices, "
            "consider using tensor.mH"
        )
    return _adjoint(x) if x.dim() else conj(x)


T.H, T.mH = property(_H), property(_adjoint)
V.mH = property(lambda v: v.mT.conj())


def _short_time(name: str) -> Callable:
    def method(self: Tensor, *args: Any, **options: Any) -> Tensor:
        from .. import spectrogram  # it depends on this package

        return getattr(spectrogram, name)(self, *args, **options)

    method.__name__ = name
    return method


T.stft, T.istft = _short_time("stft"), _short_time("istft")
