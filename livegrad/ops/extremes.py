"""The smallest and the largest element, over dimensions or all of them, and where they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import MODE
from ..autograd.node import cast_value
from ..devices import cpu
from ..lazy import backend
from ..lazy.rows import again
from ..lazy.rows import run as run_rows
from ..lazy.value import Value, from_array, renamed, reshaped
from ..native import hot
from ..observe import WATCH
from ..runtime import array as arrays
from ..runtime.array import copied, numel
from ..runtime.few import place_of_extreme
from ..tensor import Tensor, wrap
from . import rows
from .batch_rules import along, composed
from .batching import level_of, of_whole
from .dims import back_to, count_over, dims_of, kept_shape
from .gather import CHOSEN, GATHER
from .geometry import normal_dim
from .instruction import real_only
from .operator import shows
from .reduce import reduced
from .registry import operator, public
from .results import Max, Min
from .rowprogram import RowProgram, largest, position, smallest
from .scalar import eq, isnan, where


def _refuse_empty(name: str, shape: tuple, dims: tuple) -> None:
    d = next(d for d in dims if shape[d] == 0)
    raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")


@hot
def _check_size(name: str, x: Tensor, dim: Any) -> None:
    """Raise where a dimension that is named has no elements."""
    if 0 in x._shape and dim not in ((), []):
        dims = dims_of(dim, x.dim())
        if not all(x._shape[d] for d in dims):
            _refuse_empty(name, x._shape, dims)


def extreme(name: str) -> Any:
    @hot
    def forward(x: Value, dims: tuple, keepdim: bool) -> Value:
        if count_over(x.shape, dims) == 0 and (numel(x.shape) == 0):
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
            )
        acc = dtypes.float32 if x.dtype.kind in ("f16", "bf16") else x.dtype
        return cast_value(reduced(x, name, dims, keepdim, acc), x.dtype)

    return forward


@hot
def _share_among_ties(g: Any, x: Any, result: Any, x_shape: tuple, dims: tuple) -> Any:
    chosen = x.eq(back_to(result, x_shape, dims))
    ties = chosen.sum(dims, keepdim=True)
    return chosen * (g.reshape(kept_shape(x_shape, dims)) / ties)


@hot
def share_evenly(g: Any, x: Any, result: Any) -> Any:
    """The gradient of the one extreme of all elements: those equal to it share it, NaN equal to NaN."""
    other = x.eq(result).logical_or(x.isnan().logical_and(result.isnan())).logical_not()
    return (g / other.logical_not().sum()).masked_zero(other)


AMAX = operator(
    "amax", extreme("amax"), tensors=("x",), grads={"x": _share_among_ties}, anywhere=True, batch=along("dims")
)


AMIN = operator(
    "amin", extreme("amin"), tensors=("x",), grads={"x": _share_among_ties}, anywhere=True, batch=along("dims")
)


_AMAX_OF = {
    "max": lambda x, dims, keepdim: amax(x, dims, keepdim),
    "min": lambda x, dims, keepdim: amin(x, dims, keepdim),
}

MAX, MIN = (
    operator(
        name,
        extreme("a" + name),
        tensors=("x",),
        grads={"x": share_evenly},
        node=name.capitalize(),
        anywhere=True,
        batch=composed(_AMAX_OF[name]),
    )
    for name in ("max", "min")
)
for _each in (AMAX, AMIN, MAX, MIN):
    _each.compares = True


@public("amax", kind="reduction", op=AMAX)
@hot
def amax(x: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The largest element over dimensions; ties share the gradient."""
    real_only(x, "max_values_cpu")
    _check_size("amax", x, dim)
    return AMAX.apply((x,), dims=dims_of(dim, x.dim()), keepdim=keepdim)


@public("amin", kind="reduction", op=AMIN)
@hot
def amin(x: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The smallest element over dimensions; ties share the gradient."""
    real_only(x, "min_values_cpu")
    _check_size("amin", x, dim)
    return AMIN.apply((x,), dims=dims_of(dim, x.dim()), keepdim=keepdim)


@public("aminmax", kind="reduction")
@shows("AminmaxBackward")
def aminmax(x: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """(smallest, largest), over all elements or one dimension."""
    real_only(x, "aminmax_cpu")
    from .results import AMinMax

    if dim is not None:
        _check_size("aminmax", x, dim)
    return AMinMax(amin(x, () if dim is None else dim, keepdim), amax(x, () if dim is None else dim, keepdim))


def _place_of_extreme(reduction: Any, x: Any, far: Any) -> tuple:
    """Where in the row the extreme element is first, and the element; a NaN counts as extreme."""
    extreme = reduction(x)
    found = where(isnan(extreme), isnan(x), eq(x, extreme))
    return smallest(where(found, position, far)), extreme


_ARG = {
    True: RowProgram("argmax", lambda x, far: _place_of_extreme(largest, x, far)),
    False: RowProgram("argmin", lambda x, far: _place_of_extreme(smallest, x, far)),
}


_ARG_ROW = 4096  # elements of a row when the whole of a tensor is searched


@hot
def _arg(x: Value, largest: bool, dim: int) -> tuple[Value, Value]:
    """The index of the extreme element along a dimension, which stays with size 1, and the element."""
    n = x.shape[dim]
    compute = rows.computing(x.dtype)
    if compute.category != dtypes.FLOATING and compute.itemsize < 4:
        compute = dtypes.int32
    elif compute is dtypes.float32 and n > 1 << 24:
        compute = dtypes.float64  # in which every index is a number
    far = float(n) if compute.category == dtypes.FLOATING else n
    results = (dtypes.int64, x.dtype)
    made = again(_ARG[largest], (x,), (far,), (dim,), results)
    return run_rows(_ARG[largest], [x], (far,), (dim,), x.shape, compute, results) if made is None else made


def _arg_of_all(x: Value, largest: bool) -> int:
    """The index in row-major order: of rows first, so that threads share the work, then among their extremes."""
    n = numel(x.shape)
    flat = x.reshape(-1)  # type: ignore[attr-defined]
    array = flat.ready()
    step = array.strides[0]
    whole = n - n % _ARG_ROW
    places, elements = [], []
    for begin, end, size in ((0, whole, _ARG_ROW), (whole, n, n - whole)):
        if begin < end:
            count = -(-(end - begin) // size)
            part = reshaped(flat, array.offset + begin * step, (count, size), (size * step, step))
            index, element = (v.native().reshape(-1) for v in _arg(part, largest, 1))
            places += [begin + backend.of(x).arange(len(index)) * size + index]
            elements.append(element)
    found = np.concatenate(elements)
    if found.dtype.kind not in "fiu":
        found = found.astype(np.float32)  # bfloat16: the library's own argmax ignores NaN
    return int(np.concatenate(places)[(np.argmax if largest else np.argmin)(found)])


def _arg_elsewhere(x: Value, largest: bool, shape: tuple) -> Value:
    xp, a = backend.of(x), x.native()
    with backend.on(x.device):
        a = a if a.dtype.kind in "fiub" else a.astype(np.float32)
        found = (xp.argmax if largest else xp.argmin)(a)
        return backend.copied(found.astype(np.int64).reshape(shape))


@hot
def _refuse_bool(name: str, x: Tensor) -> None:
    if x.dtype is dtypes.bool_:
        raise RuntimeError(f"{name}(): does not support bool input")


@hot
def _argument(x: Tensor, dim: int | None, keepdim: bool, largest: bool) -> Tensor:
    real_only(x, RuntimeError(f"{'argmax' if largest else 'argmin'}(): does not support complex input"))
    name = "argmax" if largest else "argmin"
    if WATCH.batcher is not None and level_of(x):
        return _argument_of_batch(x, dim, keepdim, largest)
    v = x._value()
    if x.numel() == 0 and (dim is None or x._shape[dim] == 0):
        if dim is not None:
            _refuse_empty(name, x._shape, (normal_dim(dim, x.dim()),))
        raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
    if dim is None:
        shape = (1,) * x.dim() if keepdim else ()
        if x.device is not cpu:
            return wrap(_arg_elsewhere(v, largest, shape))
        few = v.ready().few() if WATCH.observer is None else None
        if few is not None:
            return wrap(from_array(arrays.full_on(cpu, shape, dtypes.int64, place_of_extreme(few, largest))))
        if v.numel() <= _ARG_ROW:
            return wrap(_arg(v.reshape(-1), largest, 0)[0].reshape(shape))
        return wrap(from_array(arrays.full_on(cpu, shape, dtypes.int64, _arg_of_all(v, largest))))
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        return wrap(from_array(arrays.full_on(x.device, (), dtypes.int64, 0)))
    found = _arg(v, largest, d)[0]
    return wrap(found if keepdim else renamed(found, tuple([n for i, n in enumerate(x._shape) if i != d])))


def _argument_of_batch(x: Tensor, dim: int | None, keepdim: bool, largest: bool) -> Tensor:
    d = 0 if dim is None or not x._shape else normal_dim(dim, x.dim())
    rows = x.reshape(-1) if dim is None or not x._shape else x  # type: ignore[attr-defined]
    made = of_whole(rows, _argument, d + 1, keepdim and dim is not None and bool(x._shape), largest)
    return made.reshape((1,) * x.dim()) if keepdim and dim is None else made


@public("argmax", kind="reduction")
@hot
def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the largest element: of the flattened tensor, or along one dimension."""
    _refuse_bool("argmax", x)
    return _argument(x, dim, keepdim, True)


@public("argmin", kind="reduction")
@hot
def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the smallest element: of the flattened tensor, or along one dimension."""
    _refuse_bool("argmin", x)
    return _argument(x, dim, keepdim, False)


@hot
def _along(x: Tensor, dim: int, keepdim: bool, largest: bool, result: Any) -> Any:
    """Values and indices of the extreme elements along a dimension; the gradient goes to the chosen element."""
    real_only(x, RuntimeError(f"{'max' if largest else 'min'}(): does not support complex input"))
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        return result(x.clone(), _argument(x, 0, False, largest))
    if not x._shape[d]:
        _refuse_empty("max" if largest else "min", x._shape, (d,))
    if WATCH.batcher is not None and level_of(x):
        return of_whole(x, _along, d + 1, keepdim, largest, result)
    label = ("Max" if largest else "Min") + "Backward"
    if x.device is not cpu:
        return _along_elsewhere(x, d, keepdim, largest, result, label)
    v = x._value()
    index, values = _arg(v, largest, d)
    places = index
    if not keepdim:
        shape = tuple([n for i, n in enumerate(x._shape) if i != d])
        index, values = renamed(index, shape), renamed(values, shape)
    made = wrap(values)
    if x._edge is not None and (MODE.off == 0 or MODE.grad):
        _record_choice(x, made, d, places, keepdim, label)
    return result(made, wrap(index))


def _along_elsewhere(x: Tensor, d: int, keepdim: bool, largest: bool, result: Any, label: str) -> Any:
    from .order import picked

    values, index = picked(x, _argument(x, d, True, largest)._value().native(), d, label)
    return result(values, index) if keepdim else result(values.squeeze(d), index.squeeze(d))


@hot
def _record_choice(x: Tensor, made: Tensor, d: int, places: Value, keepdim: bool, label: str) -> None:
    """Note that `made` are the elements of `x` at these places along a dimension."""
    args = {"index": copied(places.ready()).native(), "dim": d}
    (GATHER if keepdim else CHOSEN).record((made,), (x._value(),), (x,), label, args)


@hot
def _max_or_min(x: Tensor, dim: Any, keepdim: bool, largest: bool) -> Any:
    name = "max" if largest else "min"
    if dim is None:
        if x.numel() == 0:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
            )
        real_only(x, name + "_all")
        op = MAX if largest else MIN
        return op.apply((x,), op.label + "1", dims=dims_of(None, x.dim()), keepdim=False)
    if not isinstance(dim, (int, Tensor)):
        raise TypeError(f"{name}(): argument 'dim' must be int, or 'other' a Tensor, not {type(dim).__name__}")
    if isinstance(dim, Tensor):
        return (x.maximum if largest else x.minimum)(dim)
    return _along(x, dim, keepdim, largest, Max if largest else Min)


@public("max", kind="reduction")
@hot
def max_(x: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element; along a dimension also its index, as (values, indices); against a tensor, elementwise."""
    return _max_or_min(x, other if other is not None else dim, keepdim, True)


@public("min", kind="reduction")
@hot
def min_(x: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element; along a dimension also its index, as (values, indices); against a tensor, elementwise."""
    return _max_or_min(x, other if other is not None else dim, keepdim, False)
