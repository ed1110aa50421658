"""Reductions, running sums, and places of extremes."""

from __future__ import annotations

import numpy as np

import livegrad

from ..writer import is_value
from .table import TABLE, translates


def _axes(x, dim):
    """The dimensions of an argument `dim`, None for all."""
    if dim is None or dim == () or dim == []:
        return None
    return [x.axis(d) for d in (dim if isinstance(dim, (tuple, list)) else [dim])]


def _number(w, x):
    return w.cast(x, w.out.dtype)


for _name, _kind in {"sum": "ReduceSum", "mean": "ReduceMean", "amax": "ReduceMax", "amin": "ReduceMin"}.items():
    TABLE[_name] = lambda w, input, dim=None, keepdim=False, dtype=None, kind=_kind: w.reduced(
        kind, _number(w, input), _axes(input, dim), keepdim
    )


@translates()
def prod(w, input, dim=None, keepdim=False, dtype=None):
    return w.reduced("ReduceProd", _number(w, input), _axes(input, dim), keepdim)


@translates()
def logsumexp(w, input, dim, keepdim=False):
    return w.reduced("ReduceLogSumExp", _number(w, input), _axes(input, dim), keepdim)


def _extreme(kind, pairwise):
    def translation(w, input, dim=None, keepdim=False, other=None):
        second = dim if is_value(dim) else other
        if second is not None:
            return w(pairwise, w.cast(input, w.out.dtype), w.cast(second, w.out.dtype))
        if dim is None:
            return w.reduced(f"Reduce{kind}", input, None, keepdim)
        axis = input.axis(dim)
        return (
            w.reduced(f"Reduce{kind}", input, [axis], keepdim),
            w(f"Arg{kind}", input, axis=axis, keepdims=int(keepdim)),
        )

    return translation


translates("max")(_extreme("Max", "Max"))
translates("min")(_extreme("Min", "Min"))


def _place(kind):
    def translation(w, input, dim=None, keepdim=False):
        if dim is None:
            made = w(kind, w.reshape(input, [-1]), axis=0, keepdims=0)
            return w.reshape(made, [1] * input.rank) if keepdim else made
        return w(kind, input, axis=input.axis(dim), keepdims=int(keepdim))

    return translation


translates("argmax")(_place("ArgMax"))
translates("argmin")(_place("ArgMin"))


def _quantifier(kind):
    def translation(w, input, dim=None, keepdim=False):
        numbers = w.cast(w.cast(input, livegrad.bool), livegrad.int32)
        return w.cast(_of(w.reduced(kind, numbers, _axes(input, dim), keepdim), livegrad.int32), livegrad.bool)

    return translation


def _of(value, dtype):
    value.dtype = dtype
    return value


translates("any")(_quantifier("ReduceMax"))
translates("all")(_quantifier("ReduceMin"))


def _moments(w, input, dim, correction, keepdim):
    """(variance, mean) over dimensions."""
    axes = _axes(input, dim)
    count = int(np.prod(w.fixed(input, *(axes or range(input.rank)))))
    mean = w.reduced("ReduceMean", input, axes, True)
    away = w("Sub", input, mean)
    total = w.reduced("ReduceSum", w("Mul", away, away), axes, keepdim)
    return w("Div", total, w.number(max(count - correction, 0), input.dtype)), axes


def _spread(finish):
    def translation(w, input, dim=None, unbiased=True, keepdim=False, correction=None):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        correction = (1 if unbiased else 0) if correction is None else correction
        return finish(w, _moments(w, input, dim, correction, keepdim)[0])

    return translation


translates("var")(_spread(lambda w, variance: variance))
translates("std")(_spread(lambda w, variance: w("Sqrt", variance)))


@translates("norm", "vector_norm")
def norm(w, input, ord=2, dim=None, keepdim=False, out=None, dtype=None, p=None):
    kinds = {1: "ReduceL1", 2: "ReduceL2", "fro": "ReduceL2", None: "ReduceL2", float("inf"): "ReduceMax"}
    wanted = ord if p is None else p
    if wanted not in kinds:
        raise w.refuse("only for norms of order 1, 2 and inf")
    x = w("Abs", input) if wanted == float("inf") else input
    return w.reduced(kinds[wanted], x, _axes(input, dim), keepdim)


@translates("linalg.norm")
def linalg_norm(w, A, ord=None, dim=None, keepdim=False, dtype=None):
    if ord is not None and (A.rank if dim is None else len(_axes(A, dim))) != 1:
        raise w.refuse("of matrices with an order")
    return norm(w, A, ord, dim, keepdim)


@translates()
def cumsum(w, input, dim, dtype=None):
    return w("CumSum", _number(w, input), np.array(input.axis(dim)))


@translates()
def topk(w, input, k, dim=-1, largest=True, sorted=True):
    return tuple(w("TopK", input, w.whole(k), axis=input.axis(dim), largest=int(largest), results=2))


@translates()
def sort(w, input, dim=-1, descending=False, stable=False):
    k = w.whole(w.size(input, dim))
    return tuple(w("TopK", input, k, axis=input.axis(dim), largest=int(descending), results=2))


@translates()
def argsort(w, input, dim=-1, descending=False, stable=False):
    return sort(w, input, dim, descending)[1]


@translates()
def count_nonzero(w, input, dim=None):
    numbers = w.cast(w.cast(input, livegrad.bool), livegrad.int64)
    return w.reduced("ReduceSum", numbers, _axes(input, dim), False)
