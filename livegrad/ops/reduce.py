"""Reductions: operators that combine elements along dimensions. What feeds them, if pending, runs in their kernel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.node import cast_value
from ..devices import cpu
from ..lazy import backend
from ..lazy.evaluate import reduce as run_reduction
from ..lazy.rows import run as run_rows
from ..lazy.value import Value, from_array, pending, reshaped
from ..native import hot
from ..observe import WATCH
from ..precision import REGIONS
from ..runtime import array as arrays
from ..runtime.array import numel
from ..tensor import Tensor, wrap
from . import dispatch, rows
from .casting import autocasts
from .instruction import SCALAR_TYPE_NAMES, real_only
from .registry import ELEMENTWISE, operator, public
from .results import Max, Min
from .rowprogram import RowProgram, largest, position, smallest, total
from .scalar import eq, exp, isfinite, isnan, log, square, where
from .view import normal_dim, on_either, spread

_ALL = tuple([tuple(range(n)) for n in range(8)])


@hot
def dims_of(dim: Any, n: int) -> tuple:
    """The dimensions to reduce, counted from the front; all of them for None or ()."""
    if dim is None:
        return _ALL[n] if n < 8 else tuple(range(n))
    if isinstance(dim, int):
        return (normal_dim(dim, n),) if n else _scalar_dim(dim)
    wanted = tuple(dim)
    if not wanted:
        return tuple(range(n))
    found = tuple(normal_dim(int(d), n) for d in wanted) if n else ()
    if len(set(found)) != len(found):
        raise RuntimeError(f"dim {found[0]} appears multiple times in the list of dims")
    return found


def _scalar_dim(dim: int) -> tuple:
    normal_dim(dim, 0)
    return ()


@hot
def kept_shape(shape: tuple, dims: tuple) -> tuple:
    """The shape with reduced dimensions left in at size 1."""
    return tuple([1 if d in dims else n for d, n in enumerate(shape)])


@hot
def _reduced(x: Value, name: str, dims: tuple, keepdim: bool, acc: dtypes.dtype) -> Value:
    made = run_reduction(x, name, dims, acc)
    return made.reshape(kept_shape(x.shape, dims)) if keepdim else made


@hot
def accumulator(d: dtypes.dtype) -> dtypes.dtype:
    """The dtype in which sums and products of `d` are accumulated."""
    if d.category >= dtypes.FLOATING:
        return dtypes.float32 if d.itemsize < 4 else d
    return dtypes.int64


@hot
def back_to(g: Any, shape: tuple, dims: tuple) -> Any:
    """A reduced gradient broadcast over the dimensions that were reduced."""
    if len(dims) < len(shape):
        g = g.reshape(kept_shape(shape, dims))
    elif len(g.shape) > len(shape):
        g = g.reshape(())
    return spread(g, shape)


# --- sums and means ---------------------------------------------------------------------------------------------


@hot
def _sum(x: Value, dims: tuple, keepdim: bool, dtype: Any = None) -> Value:
    acc = accumulator(dtype or x.dtype)
    made = _reduced(cast_value(x, dtype) if dtype else x, "sum", dims, keepdim, acc)
    wanted = dtype or (x.dtype if x.dtype.category >= dtypes.FLOATING else dtypes.int64)
    return cast_value(made, wanted)


@hot
def _cast_like(g: Any, dtype: Any) -> Any:
    return cast_value(g, dtype) if g.__class__ is Value else dispatch.cast(g, dtype)


SUM = operator(
    "sum",
    _sum,
    tensors=("x",),
    grads={"x": hot(lambda g, x_shape, x_dtype, dims: _cast_like(back_to(g, x_shape, dims), x_dtype))},
    anywhere=True,
)
Value.sum = lambda v, dims=None, keepdim=False: _sum(v, dims_of(dims, len(v.shape)), keepdim)  # type: ignore[attr-defined]


@public("sum", kind="reduction", op=SUM)
@hot
def sum(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum over all elements or some dimensions. Integers and bools add up in int64."""
    if REGIONS.open:
        x = REGIONS.cast("sum", (x,))[0]
    label = "SumBackward0" if dim is None else "SumBackward1"
    return SUM._apply((x,), label, {"dims": dims_of(dim, x.dim()), "keepdim": keepdim, "dtype": dtype})


_DIVIDE_BY_NUMBER = ELEMENTWISE["div"].scalar_tables[float]


@hot
def _count(shape: tuple, dims: tuple) -> int:
    return numel(tuple([shape[d] for d in dims]))


@hot
def _mean(x: Value, dims: tuple, keepdim: bool, dtype: Any = None) -> Value:
    if dtype:
        x = cast_value(x, dtype)
    return cast_value(_reduced(x, "mean", dims, keepdim, accumulator(x.dtype)), x.dtype)


@hot
def _mean_gradient(g: Any, x_shape: tuple, x_dtype: dtypes.dtype, dims: tuple) -> Any:
    n = _count(x_shape, dims)
    if n < 1:
        n = 1
    if g.__class__ is Value and not g.shape and g.dtype is x_dtype:
        return pending(_DIVIDE_BY_NUMBER["ts", x_dtype, True], (g,), (n,), x_shape)  # divided and broadcast at once
    return _cast_like(back_to(g / n, x_shape, dims), x_dtype)


MEAN = operator(
    "mean",
    _mean,
    tensors=("x",),
    grads={"x": _mean_gradient},
    anywhere=True,
)


@public("mean", kind="reduction", op=MEAN)
@hot
def mean(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean over all elements or some dimensions, of a floating-point tensor."""
    d = dtype or x.dtype
    if d.category < dtypes.FLOATING:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {SCALAR_TYPE_NAMES[d]}"
        )
    label = "MeanBackward0" if dim is None else "MeanBackward1"
    return MEAN._apply((x,), label, {"dims": dims_of(dim, x.dim()), "keepdim": keepdim, "dtype": dtype})


@hot
def _prod(x: Value, dims: tuple, keepdim: bool, dtype: Any = None, whole: bool = False) -> Value:
    if dtype:
        x = cast_value(x, dtype)
    wanted = x.dtype if x.dtype.category >= dtypes.FLOATING else dtypes.int64
    return cast_value(_reduced(x, "prod", dims, keepdim, accumulator(x.dtype)), dtype or wanted)


def _prod_gradient(g: Any, x: Any, result: Any, x_shape: tuple, dims: tuple, whole: bool) -> Any:
    """g times the product of the other elements: result / x, or exclusive products where an element is zero."""
    values = x if x.__class__ is Value else x._value()
    if not backend.of(values).any(values.native() == 0):
        return back_to(g * result.conj(), x_shape, dims) / x.conj()
    return back_to(g, x_shape, dims) * on_either(PROD_OF_OTHERS, x, dims=dims, whole=whole).conj()


def _prod_of_others(x: Value, dims: tuple, whole: bool) -> Value:
    """For each element the product of all the others along dims: products from both ends, multiplied.

    whole: the dimensions are all there are and were not named; then two zeros make all zero, whatever the others are.
    """
    xp = backend.of(x)
    a = x.native()
    if whole and xp.count_nonzero(a == 0) > 1:
        return backend.fresh(xp.zeros_like(a))
    moved = xp.moveaxis(a, dims, range(a.ndim - len(dims), a.ndim))
    flat = moved.reshape((*moved.shape[: a.ndim - len(dims)], -1))
    ones = xp.ones((*flat.shape[:-1], 1), flat.dtype)
    left = xp.cumprod(xp.concatenate([ones, flat[..., :-1]], -1), -1)
    right = xp.cumprod(xp.concatenate([ones, flat[..., :0:-1]], -1), -1)[..., ::-1]
    out = (left * right).reshape(moved.shape)
    return backend.copied(xp.moveaxis(out, range(a.ndim - len(dims), a.ndim), dims))


def _prod_of_others_gradient(g: Any, x: Any, x_shape: tuple, dims: tuple) -> Any:
    raise RuntimeError(
        "the second derivative of prod() is not available where an element is zero; shift the input away from zero"
    )


PROD_OF_OTHERS = operator(
    "prod_of_others",
    _prod_of_others,
    tensors=("x",),
    grads={"x": _prod_of_others_gradient},
    node="ProdOfOthers",
    anywhere=True,
)
PROD = operator("prod", _prod, tensors=("x",), grads={"x": _prod_gradient}, anywhere=True)


@public("prod", kind="reduction", op=PROD)
@autocasts
def prod(x: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The product over all elements or one dimension; dtype: what the elements are converted to first."""
    if dtype is not None:
        x = dispatch.cast(x, dtype)
    return PROD.apply(
        (x,),
        "ProdBackward0" if dim is None else "ProdBackward1",
        dims=dims_of(dim, x.dim()),
        keepdim=keepdim,
        dtype=dtype,
        whole=dim is None,
    )


# --- extremes ---------------------------------------------------------------------------------------------------


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


def _extreme(name: str) -> Any:
    @hot
    def forward(x: Value, dims: tuple, keepdim: bool) -> Value:
        if _count(x.shape, dims) == 0 and (numel(x.shape) == 0):
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
            )
        acc = dtypes.float32 if x.dtype.kind in ("f16", "bf16") else x.dtype
        return cast_value(_reduced(x, name, dims, keepdim, acc), x.dtype)

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


AMAX = operator("amax", _extreme("amax"), tensors=("x",), grads={"x": _share_among_ties}, anywhere=True)
AMIN = operator("amin", _extreme("amin"), tensors=("x",), grads={"x": _share_among_ties}, anywhere=True)
MAX, MIN = (
    operator(
        name, _extreme("a" + name), tensors=("x",), grads={"x": share_evenly}, node=name.capitalize(), anywhere=True
    )
    for name in ("max", "min")
)


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
    return run_rows(_ARG[largest], [x], (far,), (dim,), x.shape, compute, (dtypes.int64, x.dtype))


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


@hot
def _place_among_few(few: tuple, largest: bool) -> int:
    """The index of the first extreme among a few Python numbers; NaN counts as extreme."""
    best = few[0]
    place = 0
    for k, x in enumerate(few):
        if best != best:
            break
        if x != x or (x > best if largest else x < best):
            best = x
            place = k
    return place


def _arg_elsewhere(x: Value, largest: bool, shape: tuple) -> Value:
    xp, a = backend.of(x), x.native()
    a = a if a.dtype.kind in "fiub" else a.astype(np.float32)
    found = (xp.argmax if largest else xp.argmin)(a)
    return backend.copied(found.astype(np.int64).reshape(shape))


def _refuse_bool(name: str, x: Tensor) -> None:
    if x.dtype is dtypes.bool_:
        raise RuntimeError(f"{name}(): does not support bool input")


@hot
def _argument(x: Tensor, dim: int | None, keepdim: bool, largest: bool) -> Tensor:
    real_only(x, RuntimeError(f"{'argmax' if largest else 'argmin'}(): does not support complex input"))
    v = x._value()
    name = "argmax" if largest else "argmin"
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
            return wrap(from_array(arrays.full_on(cpu, shape, dtypes.int64, _place_among_few(few, largest))))
        if v.numel() <= _ARG_ROW:
            return wrap(_arg(v.reshape(-1), largest, 0)[0].reshape(shape))
        return wrap(from_array(arrays.full_on(cpu, shape, dtypes.int64, _arg_of_all(v, largest))))
    d = normal_dim(dim, x.dim())
    if x.dim() == 0:
        return wrap(from_array(arrays.full_on(x.device, (), dtypes.int64, 0)))
    found = _arg(v, largest, d)[0]
    return wrap(found if keepdim else found.reshape(tuple([n for i, n in enumerate(x._shape) if i != d])))


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
    label = ("Max" if largest else "Min") + "Backward"
    if x.device is not cpu:
        return _along_elsewhere(x, d, keepdim, largest, result, label)
    index = _argument(x, d, keepdim, largest)
    return result(_elements_at(x, d, index, keepdim, label), index)


def _along_elsewhere(x: Tensor, d: int, keepdim: bool, largest: bool, result: Any, label: str) -> Any:
    from .order import picked

    values, index = picked(x, _argument(x, d, True, largest)._value().native(), d, label)
    return result(values, index) if keepdim else result(values.squeeze(d), index.squeeze(d))


def _elements_at(x: Tensor, d: int, index: Tensor, keepdim: bool, label: str) -> Tensor:
    from .gather import elements_at

    return elements_at(x, d, index._to_numpy(), keepdim, label)


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
def max_(x: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element; along a dimension also its index, as (values, indices); against a tensor, elementwise."""
    return _max_or_min(x, other if other is not None else dim, keepdim, True)


@public("min", kind="reduction")
@hot
def min_(x: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element; along a dimension also its index, as (values, indices); against a tensor, elementwise."""
    return _max_or_min(x, other if other is not None else dim, keepdim, False)


# --- truth ------------------------------------------------------------------------------------------------------


def _truth(name: str) -> Any:
    @hot
    def function(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        v = x._value()
        out = dtypes.uint8 if x.dtype is dtypes.uint8 else dtypes.bool_
        made = _reduced(cast_value(v, dtypes.bool_), name, dims_of(dim, x.dim()), keepdim, dtypes.bool_)
        return wrap(cast_value(made, out))

    function.__name__ = name
    function.__doc__ = f"Whether {name} of the elements are true (not zero), over all or some dimensions."
    return public(name, kind="reduction")(function)


all_, any_ = _truth("all"), _truth("any")


@public("count_nonzero", kind="reduction")
def count_nonzero(x: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not zero."""
    return (x != 0).sum(dim)


# --- spread -----------------------------------------------------------------------------------------------------


@hot
def _correction(unbiased: Any, correction: Any) -> float:
    if correction is not None:
        return correction
    return 1 if unbiased is None or unbiased else 0


@hot
def _var_parts(x: Tensor, dim: Any, unbiased: Any, correction: Any, keepdim: bool) -> tuple:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return dims_of(dim, x.dim()), _correction(unbiased, correction), keepdim


def _mean_square(x: Any, n: Any, divisor: Any) -> Any:
    """Two sweeps: the mean, then the mean square of what is left."""
    return total(square(x - total(x) / n)) / divisor


_VAR = RowProgram("var", _mean_square)
_VAR_GRADIENT = RowProgram("var_gradient", lambda g, x, n, scale: g * ((x - total(x) / n) * scale), tensors=2)


@hot
def _var(x: Value, dims: tuple, keepdim: bool, correction: float) -> Value:
    n = _count(x.shape, dims)
    made = rows.apply(_VAR, (x,), dims, (float(n), float(max(n - correction, 0))))
    return made if keepdim else made.reshape(tuple([n for d, n in enumerate(x.shape) if d not in dims]))


@hot
def _var_gradient(g: Any, x: Any, x_shape: tuple, dims: tuple, correction: float) -> Any:
    n = _count(x_shape, dims)
    scale = 2.0 / (n - correction) if n > correction else math.nan
    return rows.apply(_VAR_GRADIENT, (g.reshape(kept_shape(x_shape, dims)), x), dims, (float(n), scale))


VAR = operator("var", _var, tensors=("x",), grads={"x": _var_gradient}, anywhere=True)


@hot
def _std(x: Value, dims: tuple, keepdim: bool, correction: float) -> Value:
    # In float32 at least: the variance of half numbers may be more than they hold where its root is not.
    work = cast_value(x, dtypes.float32) if x.dtype.itemsize < 4 else x
    return cast_value(dispatch.value_call(ELEMENTWISE["sqrt"], (_var(work, dims, keepdim, correction),)), x.dtype)


@hot
def _std_gradient(g: Any, x: Any, result: Any, x_shape: tuple, dims: tuple, correction: float) -> Any:
    shape = kept_shape(x_shape, dims)
    ratio = g.reshape(shape) / (result.reshape(shape) * 2)
    zero = result.reshape(shape).eq(0)
    return _var_gradient(ratio.masked_zero(zero), x, x_shape, dims, correction)


@hot
def _masked_zero(x: Any, mask: Any) -> Any:
    """x with zeros where the mask holds, whatever x is there."""
    op = ELEMENTWISE["_masked_fill"]
    return dispatch.value_call(op, (mask, 0, x)) if x.__class__ is Value else dispatch.call(op, (mask, 0, x))


Value.masked_zero = _masked_zero  # type: ignore[attr-defined]
Tensor.masked_zero = _masked_zero  # type: ignore[attr-defined]
STD = operator("std", _std, tensors=("x",), grads={"x": _std_gradient}, anywhere=True)


@hot
def _need_floating(name: str, x: Tensor) -> None:
    if x.dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"{name}(): input dtype should be either floating point or complex, got {x.dtype}")


@public("var", kind="reduction", op=VAR)
@hot
def var(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Tensor:
    """The variance over all elements or some dimensions; the sum of squares is divided by N - correction (1)."""
    _need_floating("var", x)
    if x.is_complex():  # the parts' variances, added up
        return var(x.real, dim, unbiased, keepdim, correction=correction) + var(
            x.imag, dim, unbiased, keepdim, correction=correction
        )
    dims, corrected, keep = _var_parts(x, dim, unbiased, correction, keepdim)
    return VAR.apply((x,), dims=dims, keepdim=keep, correction=corrected)


@public("std", kind="reduction", op=STD)
@hot
def std(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Tensor:
    """The standard deviation over all elements or some dimensions (see `var`)."""
    _need_floating("std", x)
    if x.is_complex():
        return var(x, dim, unbiased, keepdim, correction=correction).sqrt()
    dims, corrected, keep = _var_parts(x, dim, unbiased, correction, keepdim)
    return STD.apply((x,), dims=dims, keepdim=keep, correction=corrected)


@public("var_mean", kind="reduction", method=False)
def var_mean(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Any:
    """(variance, mean)"""
    spread = var(x, dim, unbiased, keepdim, correction=correction)
    return spread, mean(x, None if isinstance(dim, bool) else dim, keepdim)


@public("std_mean", kind="reduction", method=False)
def std_mean(x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Any:
    """(standard deviation, mean)"""
    spread = std(x, dim, unbiased, keepdim, correction=correction)
    return spread, mean(x, None if isinstance(dim, bool) else dim, keepdim)


# --- logsumexp, norms -------------------------------------------------------------------------------------------


def _log_of_total(x: Any) -> Any:
    """Shifted by the largest element, so that nothing overflows; an infinite one is not subtracted from itself."""
    top = largest(x)
    shift = where(isfinite(top), top, 0.0)
    return log(total(exp(x - shift))) + shift


_LOGSUMEXP = RowProgram("logsumexp", _log_of_total)


@hot
def _logsumexp(x: Value, dims: tuple, keepdim: bool) -> Value:
    made = rows.apply(_LOGSUMEXP, (x,), dims)
    return made if keepdim else made.reshape(tuple(n for d, n in enumerate(x.shape) if d not in dims))


@hot
def _logsumexp_gradient(g: Any, x: Any, result: Any, x_shape: tuple, dims: tuple) -> Any:
    shape = kept_shape(x_shape, dims)
    lse = result.reshape(shape)
    # Where everything is -inf nothing flows; PyTorch gives NaN there.
    return g.reshape(shape) * (x - lse.masked_zero(lse.eq(-math.inf))).exp()


LOGSUMEXP = operator("logsumexp", _logsumexp, tensors=("x",), grads={"x": _logsumexp_gradient}, anywhere=True)


@public("logsumexp", kind="reduction", op=LOGSUMEXP)
@autocasts
def logsumexp(x: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over dimensions, without overflow."""
    if x.is_complex():
        dims = dims_of(dim, x.dim())
        top = x.real.detach().amax(dims, keepdim=True)
        top = top.masked_fill(top.abs() == math.inf, 0.0)
        return (x - top).exp().sum(dims, keepdim).log() + (top if keepdim else top.squeeze(dims))
    if x.dtype.category != dtypes.FLOATING:
        x = dispatch.cast(x, dtypes.get_default_dtype())
    return LOGSUMEXP.apply((x,), dims=dims_of(dim, x.dim()), keepdim=keepdim)


@hot
def _euclidean(x: Value, dims: tuple, keepdim: bool) -> Value:
    work = cast_value(x, dtypes.float32) if x.dtype.itemsize < 4 else x
    total = _reduced(work * work, "sum", dims, keepdim, work.dtype)
    return cast_value(total.sqrt(), x.dtype)


@hot
def _euclidean_gradient(g: Any, x: Any, result: Any, x_shape: tuple, dims: tuple) -> Any:
    shape = kept_shape(x_shape, dims)
    g, length = g.reshape(shape), result.reshape(shape)
    return g * (x / length).masked_zero(length.eq(0))


NORM = operator(
    "norm", _euclidean, tensors=("x",), grads={"x": _euclidean_gradient}, node="LinalgVectorNorm", anywhere=True
)


def _norm_of_order(x: Value, p: float, dims: tuple, keepdim: bool) -> Value:
    size = x.abs()
    if math.isinf(p):
        return _extreme("amax" if p > 0 else "amin")(size, dims, keepdim)
    if p == 0:
        return _sum(dispatch.value_call(ELEMENTWISE["_one_unless_zero"], (x,)), dims, keepdim)
    return _sum(size, dims, keepdim) if p == 1 else _sum(size**p, dims, keepdim) ** (1.0 / p)


def _norm_of_order_gradient(g: Any, x: Any, result: Any, x_shape: tuple, p: float, dims: tuple) -> Any:
    """g sign(x) |x|^(p-1) / norm^(p-1), and 0 where that has no limit: at elements, or norms, that are 0."""
    shape = kept_shape(x_shape, dims)
    g, length = g.reshape(shape), result.reshape(shape)
    if p == 0:
        return None  # a count
    sign = x.sign().masked_zero(x.isnan())
    if p == 1:
        return sign * g
    if math.isinf(p):
        chosen = x.abs().eq(length).logical_or(x.isnan().logical_and(length.isnan()))
        return sign * (g / chosen.sum(dims, keepdim=True)) * chosen
    powers = (x.abs() ** (p - 1)).masked_zero(x.eq(0))
    return sign * powers * (g / length ** (p - 1)).masked_zero(length.eq(0))


NORM_OF_ORDER = operator(
    "norm_of_order", _norm_of_order, tensors=("x",), grads={"x": _norm_of_order_gradient}, node="LinalgVectorNorm",
    anywhere=True,
)  # fmt: skip


@public("norm", kind="reduction", op=NORM)
@autocasts
def norm(x: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The p-norm over all elements or some dimensions; "fro" is 2, infinity and 0 as usual.

    "nuc" (singular values) is not a vector norm and raises RuntimeError.
    """
    if dtype is not None:
        x = dispatch.cast(x, dtype)
    _need_floating("norm", x)
    dims = dims_of(dim, x.dim())
    if p in ("fro", 2, None) and not x.is_complex():
        return NORM.apply((x,), dims=dims, keepdim=keepdim)
    if x.is_complex():
        return norm(x.abs(), p, dim, keepdim)
    if not isinstance(p, (int, float)):
        raise RuntimeError(f"norm(): unsupported norm {p!r}; expected a number or 'fro'")
    if (p < 0 or p == math.inf) and not all(x._shape[d] for d in dims):
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {p:g} norm of a tensor of shape {list(x._shape)} over dimensions "
            f"{list(dims)} because there is nothing to reduce and the operation does not have an identity"
        )
    return NORM_OF_ORDER.apply((x,), p=p, dims=dims, keepdim=keepdim)


# --- softmax ----------------------------------------------------------------------------------------------------


def _normalised_exponentials(x: Any) -> Any:
    e = exp(x - largest(x))
    return e * (1.0 / total(e))


def _log_of_normalised(x: Any) -> Any:
    shifted = x - largest(x)
    return shifted - log(total(exp(shifted)))


SOFTMAX = rows.row_operator("softmax", _normalised_exponentials, lambda g, result: result * (g - total(g * result)))
LOG_SOFTMAX = rows.row_operator("log_softmax", _log_of_normalised, lambda g, result: g - exp(result) * total(g))


@hot
def _over_dim(op: Any, x: Tensor, dim: int, dtype: Any) -> Tensor:
    if dtype is not None:
        x = dispatch.cast(x, dtype)
    d = normal_dim(dim, x.dim())
    if x.dtype.category != dtypes.FLOATING:
        if not numel(x._shape):
            return x.clone()  # type: ignore[attr-defined]
        kernel = f"{op.name}_lastdim_kernel_impl" if d == x.dim() - 1 or not d else op.name
        if x.is_complex():
            kernel = f"{op.name}_{'lastdim_' * (d >= x.dim() - 1)}kernel_impl"
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{SCALAR_TYPE_NAMES[x.dtype]}'")
    if x.dim() == 0:
        return _over_dim(op, x.reshape(1), 0, None).reshape(())
    return op.apply((x,), dim=d)


@public("softmax", kind="reduction", op=SOFTMAX)
@autocasts
@hot
def softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along a dimension."""
    return _over_dim(SOFTMAX, x, dim, dtype)


@public("log_softmax", kind="reduction", op=LOG_SOFTMAX)
@autocasts
@hot
def log_softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """x - log(sum(exp(x))) along a dimension."""
    return _over_dim(LOG_SOFTMAX, x, dim, dtype)
