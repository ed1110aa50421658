"""Running totals and extremes: cumsum, cumprod, logcumsumexp, cummax, cummin."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..devices import cpu
from ..lazy import backend
from ..lazy.scan import run as run_scan
from ..lazy.value import Value
from ..native import hot
from ..observe import WATCH
from ..tensor import Tensor, wrap
from . import dispatch, scalar
from .batch_rules import along
from .batching import level_of, of_whole
from .casting import autocasts
from .copying import clone
from .gather import GATHER, index_array
from .geometry import normal_dim
from .instruction import SCALAR_TYPE_NAMES, real_only
from .operator import name_nodes, on_either
from .order import comparable, picked, place_zero, recorded
from .registry import ELEMENTWISE, FUNCTIONS, elementwise, operator, public
from .results import CumMax, CumMin
from .running_extremes import running_extremes


@hot
def _running(name: str, x: Value, dim: int, backwards: bool = False) -> Value:
    """Running totals; those of integers are int64."""
    return run_scan(x, name, dim, x.dtype if x.dtype.category >= dtypes.FLOATING else dtypes.int64, backwards)


def _total_of_one(x: Tensor) -> Tensor:
    return clone(x) if x.dtype.category >= dtypes.FLOATING else dispatch.cast(x, dtypes.int64)


@hot
def _cumsum(x: Value, dim: int) -> Value:
    return _running("cumsum", x, dim)


@hot
def _reverse_cumsum(g: Value, dim: int) -> Value:
    return _running("cumsum", g, dim, backwards=True)


REVERSE_CUMSUM = operator(
    "reverse_cumsum",
    _reverse_cumsum,
    tensors=("x",),
    grads={"x": lambda g, dim: on_either(CUMSUM, g, dim=dim)},
    anywhere=True,
    batch=along("dim"),
)
CUMSUM = operator(
    "cumsum",
    _cumsum,
    tensors=("x",),
    grads={"x": lambda g, dim: on_either(REVERSE_CUMSUM, g, dim=dim)},
    anywhere=True,
    batch=along("dim"),
)


@public("cumsum", kind="library", op=CUMSUM, inplace=True)
@autocasts
@hot
def cumsum(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sums along a dimension."""
    if dtype is not None:
        x = dispatch.cast(x, dtypes.given(dtype, "cumsum"))
    d = normal_dim(dim, x.dim())
    made = CUMSUM.apply((x,), dim=d) if x.dim() else _total_of_one(x)
    return made if dtype is None or made.dtype is x.dtype else dispatch.cast(made, x.dtype)


def _cumprod_gradient(g: Any, x: Any, result: Any, dim: int) -> Any:
    values = x if x.__class__ is Value else x._value()
    if values.device is not cpu:
        from ..runtime.cuda import ledger

        ledger.note("synchronize", 0, "the gradient of cumprod(), which looks for zeros,")
    if bool((values.native() == 0).any()):
        if x.__class__ is not Value:
            return _recorded_cumprod_gradient(g, x, dim)
        return _cumprod_gradient_with_zeros(g, x, dim)
    return on_either(REVERSE_CUMSUM, g * result.conj(), dim=dim) / x.conj()


def _cumprod_gradient_with_zeros(g: Value, x: Value, dim: int) -> Value:
    """Sum over k >= i of g[k] times the product of x[0..k] without x[i], formed position by position."""
    xp = backend.of(x)
    a, gg = xp.moveaxis(x.conj().native(), dim, 0), xp.moveaxis(g.native(), dim, 0)  # type: ignore[attr-defined]
    out = xp.zeros_like(a)
    before = xp.ones_like(a[0])
    for i in range(a.shape[0]):
        running = before.copy()
        for k in range(i, a.shape[0]):
            if k > i:
                running = running * a[k]
            out[i] += gg[k] * running
        before = before * a[i]
    return backend.copied(xp.moveaxis(out, 0, dim))


def _recorded_cumprod_gradient(g: Tensor, x: Tensor, dim: int) -> Tensor:
    """The same in operators, position by position: nothing is divided by an element, which may be zero."""
    x = x.conj()
    n = x._shape[dim]
    parts = []
    for i in range(n):
        # The products of the first elements without x[i]: of those before it, and with each that follows.
        before = x.narrow(dim, 0, i).prod(dim, True)
        others = before
        if i + 1 < n:
            others = FUNCTIONS["cat"]([before, before * x.narrow(dim, i + 1, n - i - 1).cumprod(dim)], dim)
        parts.append((g.narrow(dim, i, n - i) * others).sum(dim, True))
    return FUNCTIONS["cat"](parts, dim)


@hot
def _cumprod(x: Value, dim: int) -> Value:
    return _running("cumprod", x, dim)


CUMPROD = operator(
    "cumprod",
    lambda x, dim: _cumprod(x, dim),
    tensors=("x",),
    grads={"x": _cumprod_gradient},
    anywhere=True,
    batch=along("dim"),
)


@public("cumprod", kind="library", op=CUMPROD, inplace=True)
@autocasts
@hot
def cumprod(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running products along a dimension."""
    if dtype is not None:
        x = dispatch.cast(x, dtypes.given(dtype, "cumprod"))
    d = normal_dim(dim, x.dim())
    made = CUMPROD.apply((x,), dim=d) if x.dim() else _total_of_one(x)
    return made if dtype is None or made.dtype is x.dtype else dispatch.cast(made, x.dtype)


def _logcumsumexp(x: Value, dim: int, backwards: bool = False) -> Value:
    a = backend.of(x).moveaxis(x.native(), dim, 0)  # type: ignore[attr-defined]
    if x.dtype.itemsize == 2:
        a = a.astype(np.float32)
    if backwards:
        a = a[::-1]
    if x.device is cpu:
        with np.errstate(invalid="ignore"):
            a = np.logaddexp.accumulate(a, axis=0)
    else:
        xp, step = backend.of(x), 1
        while step < a.shape[0]:  # each round takes in twice as many of the elements before
            a = xp.concatenate([a[:step], xp.logaddexp(a[step:], a[:-step])])  # type: ignore[attr-defined]
            step *= 2
    if backwards:
        a = a[::-1]
    return backend.copied(backend.of(x).moveaxis(a, 0, dim).astype(x.dtype.np))  # type: ignore[attr-defined]


def _log_of_positive(x: Any) -> Any:
    """log(x), and the least number where x is not positive: unlike minus infinity, it can be taken from itself."""
    call = dispatch.value_call if x.__class__ is Value else dispatch.call
    return call(_LOG_OF_POSITIVE, (x, dtypes.finfo(x.dtype).min))


def _weighted_totals(by: Value, x: Value, total: Value, dim: int, forwards: bool) -> Value:
    """The sum over k >= i of by[k] exp(x[i] - total[k]); forwards: over i <= k of by[i] exp(x[i] - total[k]).

    It is found in logarithms: of the positive parts, and of the negative.
    """
    parts = []
    for part in (by, -by):
        logs = _log_of_positive(part)
        if forwards:
            logs = _logcumsumexp(logs + x, dim) - total
        else:
            logs = _logcumsumexp(logs - total, dim, True) + x
        parts.append(dispatch.value_call(ELEMENTWISE["exp"], (logs,)))
    return parts[0] - parts[1]


def _weighted(by: Any, x: Any, total: Any, **args: Any) -> Any:
    operands = (by, x, total)
    bare = by.__class__ is Value
    return WEIGHTED_TOTALS.forward(*operands, **args) if bare else WEIGHTED_TOTALS.apply(operands, **args)


# The gradient of logcumsumexp is linear in the gradient that comes in, which its logarithms do not show where that is
# zero: the derivative by it is stated. Both sums are each other's transposes.
WEIGHTED_TOTALS = operator(
    "_weighted_totals",
    _weighted_totals,
    tensors=("by", "x", "total"),
    grads={
        "by": lambda g, x, total, dim, forwards: _weighted(g, x, total, dim=dim, forwards=not forwards),
        "x": lambda g, by, x, total, result, dim, forwards: (
            by * _weighted(g, x, total, dim=dim, forwards=False) if forwards else g * result
        ),
        "total": lambda g, by, x, total, result, dim, forwards: (
            -g * result if forwards else -by * _weighted(g, x, total, dim=dim, forwards=True)
        ),
    },
    anywhere=True,
    batch=along("dim"),
)
elementwise("_log_of_positive", lambda x, least: scalar.where(x > 0, scalar.log(x), least), reference="", method=False,
            function=False)  # fmt: skip
_LOG_OF_POSITIVE = ELEMENTWISE["_log_of_positive"]
LOGCUMSUMEXP = operator(
    "logcumsumexp",
    _logcumsumexp,
    tensors=("x",),
    grads={"x": lambda g, x, result, dim: _weighted(g, x, result, dim=dim, forwards=False)},
    anywhere=True,
    batch=along("dim"),
)


@public("logcumsumexp", kind="library", op=LOGCUMSUMEXP)
def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    """The logarithm of running sums of exponentials along a dimension."""
    d = normal_dim(dim, x.dim())
    if x.is_complex():
        if not x.numel() or not x.dim():
            return clone(x)
        wide = dispatch.cast(x, dtypes.complex128)  # in which what is small beside the largest does not become zero
        top = wide.real.detach().amax(d, keepdim=True)  # type: ignore[attr-defined]
        return dispatch.cast((wide - top).exp().cumsum(d).log() + top, x.dtype)
    if not x.is_floating_point():
        raise NotImplementedError(f"\"logcumsumexp_out_cpu\" not implemented for '{SCALAR_TYPE_NAMES[x.dtype]}'")
    return (
        LOGCUMSUMEXP.apply((x,), dim=d, backwards=False)
        if x.dim() and x.numel()
        else name_nodes(clone(x), "LogcumsumexpBackward")
    )


# On devices; on the CPU NumPy's is used.
EXTREMES = operator(
    "running_extremes",
    lambda x, dim, name: run_scan(x, name, dim, x.dtype),
    tensors=("x",),
    anywhere=True,
    batch=along("dim"),
)


def _extremes_elsewhere(x: Tensor, dim: int, name: str) -> tuple[Tensor, Tensor]:
    """(values, indices) by kernels: an index is the largest so far of a place where the extreme is met."""
    a = x.detach()
    best = EXTREMES.apply((a,), dim=dim, name=name)
    n = x._shape[dim]
    steps = wrap(backend.count(n, 1, x.device)).reshape([-1 if k == dim else 1 for k in range(x.dim())])
    hit = a.eq(best)  # type: ignore[attr-defined]
    if x.dtype.is_floating_point:
        hit = hit.logical_or(a.isnan())
    index = EXTREMES.apply((FUNCTIONS["where"](hit, steps, steps * 0),), dim=dim, name="cummax")
    label = "CummaxBackward" if name == "cummax" else "CumminBackward"
    return GATHER.apply((x,), label, index=index_array(name, index, x, dim), dim=dim), index


def _running_extreme(x: Tensor, dim: int, largest: bool, result: Any) -> Any:
    real_only(x, "cummax_cpu" if largest else "cummin_cpu")
    d = normal_dim(dim, x.dim())
    label = "CummaxBackward" if largest else "CumminBackward"
    if x.dim() == 0:
        return result(name_nodes(clone(x), label), place_zero(x))
    if WATCH.batcher is not None and level_of(x):
        return of_whole(x, _running_extreme, d + 1, largest, result)
    if x.device is not cpu:
        return result(*_extremes_elsewhere(x, d, "cummax" if largest else "cummin"))
    found = None if WATCH.observer is not None else running_extremes(x._value().ready(), d, largest)
    if found is not None:
        return result(*recorded(x, *found, d, label))
    a = comparable(x._to_numpy())
    best = (np.maximum if largest else np.minimum).accumulate(a, axis=d)
    steps = np.arange(a.shape[d]).reshape([-1 if k == d else 1 for k in range(a.ndim)])
    hit = (a == best) | (np.isnan(a) if a.dtype.kind == "f" else False)
    index = np.maximum.accumulate(np.where(hit, steps, 0), axis=d)
    return result(*picked(x, index, d, label))


@public("cummax", kind="library")
def cummax(x: Tensor, dim: int) -> Any:
    """(values, indices) of the running maximum along a dimension."""
    return _running_extreme(x, dim, True, CumMax)


@public("cummin", kind="library")
def cummin(x: Tensor, dim: int) -> Any:
    """(values, indices) of the running minimum along a dimension."""
    return _running_extreme(x, dim, False, CumMin)
