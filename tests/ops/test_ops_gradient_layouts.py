"""Gradients do not depend on the memory that operands, or the gradients that come in, lie in, nor on what is pending.

Every operator of the registry is differentiated with each of them contiguous and evaluated, and laid out otherwise.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from ops_samples import CASES
from ops_support import Raised, as_dtype, attempt, compare, mode, to_livegrad, to_numpy

import livegrad
from livegrad import dtypes


def reversed_dims(t):
    return t.permute(*range(t.dim())[::-1])


def stepped(t):
    """Every second place of a larger memory, after an offset."""
    if not t.dim():
        return livegrad.stack([t * 0, t])[1]
    big = t.new_zeros([*t.shape[:-1], 2 * t.shape[-1] + 1])
    big[..., 1::2] = t
    return big[..., 1::2]


def one_row(t):
    return t[:1].expand(t.shape) if t.dim() and t.shape[0] else t


def one_column(t):
    return t[..., :1].expand(t.shape) if t.dim() and t.shape[-1] else t


# From a tensor to one of its shape, whose elements may be others.
GRADIENTS = {
    "one number": lambda t: t.sum().expand(t.shape),
    "one row": one_row,
    "one column": one_column,
    "transposed": lambda t: reversed_dims(reversed_dims(t).contiguous()),
    "stepped": stepped,
    "backwards": lambda t: t.flip(0) if t.dim() else t,
    "pending": lambda t: t * 2,
    "pending and transposed": lambda t: reversed_dims(reversed_dims(t).contiguous()) * 2,
    "pending and one row": lambda t: one_row(t) + t * 0.5,
    "pending view": lambda t: (t.reshape(-1) * 2).reshape(t.shape),
}
# Operands keep their elements, so that they stay where the operator is defined.
OPERANDS = {
    "as they are": lambda t: t,
    "transposed": lambda t: reversed_dims(reversed_dims(t).contiguous()),
    "stepped": stepped,
    "pending": lambda t: t * 1,
    "one row": one_row,
}


def flat(args):
    for a in args:
        if isinstance(a, (list, tuple)):
            yield from flat(a)
        else:
            yield a


def outputs(made):
    made = made if isinstance(made, (tuple, list)) else [made]
    return [t for t in made if isinstance(t, livegrad.Tensor) and t.requires_grad]


def is_data(a):
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def gradients(case, args, kwargs, seeds, lay, arrange):
    """The results of a call and the gradients of its operands, or Raised; None where there are none.

    lay: from an operand to the one that is given; the gradient is taken at what it gives. arrange: from a seed to the
    gradient that comes in. seeds: filled in where it is empty.
    """
    leaves: list = []

    def given(a: Any, differentiable: bool) -> Any:
        if isinstance(a, (list, tuple)) and any(isinstance(i, np.ndarray) for i in a):
            return type(a)(given(i, differentiable) for i in a)
        if not is_data(a):
            return to_livegrad(a)
        t = lay(to_livegrad(a))
        if differentiable:
            t = t.detach().requires_grad_()
            leaves.append(t)
        return t

    tensors = [given(a, True) for a in args]
    named = {k: given(v, False) for k, v in kwargs.items()}
    livegrad.manual_seed(3)
    made = attempt(case.function, *tensors, **named)
    if isinstance(made, Raised):
        return made
    outs = outputs(made)
    if not outs:
        return None
    if not seeds:
        seeds += [np.cos(np.arange(t.numel()) + k).reshape(tuple(t.shape)) for k, t in enumerate(outs)]
    coming = [arrange(to_livegrad(s).to(t.dtype)) for s, t in zip(seeds, outs)]
    try:
        livegrad.autograd.backward(outs, coming)
    except (RuntimeError, NotImplementedError) as error:
        return Raised(error)
    return [to_numpy(t.grad) if t.grad is not None else None for t in leaves], [to_numpy(t) for t in coming]


def check(case, args, kwargs, how, d, lay, arrange):
    """Nothing where the gradients agree or there are none, else what is wrong."""
    args = tuple(as_dtype(a, d) for a in args)
    kwargs = {k: as_dtype(v, d) for k, v in kwargs.items()}
    seeds: list = []

    def plain(a):
        return to_livegrad(to_numpy(a).copy())

    with mode(how):
        got = gradients(case, args, kwargs, seeds, OPERANDS[lay], GRADIENTS[arrange])
    if got is None:
        return ""
    with mode(how):
        coming = None if isinstance(got, Raised) else iter(got[1])
        exact = gradients(
            case, args, kwargs, seeds, lambda t: plain(OPERANDS[lay](t)),
            lambda t: to_livegrad(next(coming)).to(t.dtype) if coming is not None else GRADIENTS[arrange](t),
        )  # fmt: skip
    if isinstance(got, Raised) or isinstance(exact, Raised) or exact is None:
        return "" if repr(got) == repr(exact) else f"{got!r}, not {exact!r}"
    small = 1e-12 if d is dtypes.float64 else 4e-6
    for x, y in zip(got[0], exact[0]):
        if x is None or y is None:
            if x is not y:
                return f"{x}, not {y}"
            continue
        scale = np.abs(y[np.isfinite(y)]).max(initial=0)
        try:
            compare(x, y, small, small * max(scale, sum(np.abs(g).sum() for g in got[1]) ** 0.5))
        except AssertionError as error:
            return str(error).strip()
    return ""


def combinations(name: str, n: int) -> list:
    """n pairs of operands and gradients by name: others for each operator, all ten gradients before one comes twice."""
    start, lays, arranged = zlib.crc32(name.encode()), list(OPERANDS), list(GRADIENTS)
    return [(lays[(3 * start + k + k // 5) % 5], arranged[(start + k) % 10]) for k in range(n)]


def few(samples, n):
    """The samples with most elements, of different numbers of operands."""
    chosen: dict = {}
    for args, kwargs in samples:
        arrays = [a for a in flat(args) if is_data(a)]
        if arrays:
            key = tuple(sorted(a.ndim for a in arrays)), tuple(kwargs)
            size = sum(a.size for a in arrays)
            if key not in chosen or chosen[key][0] < size:
                chosen[key] = size, args, kwargs
    found = sorted(chosen.values(), key=lambda c: -c[0])
    return [(a, k) for _, a, k in found[:n]]


# What looks at memory itself: an operand that lies otherwise is refused, or another one.
BY_MEMORY = ("view", "view_as", "as_strided")


# Combinations for the first sample of an operator, and half as many for the second: kernels take time to make.
HOW_MANY = {"deferred reference": 10, "eager reference": 4, "deferred": 3, "eager": 1}


@pytest.mark.parametrize("name", CASES)
def test_gradients_do_not_depend_on_layouts(name):
    case = CASES[name]
    problems = []
    for k, (args, kwargs) in enumerate(few(case.samples(), 2)):
        for how, n in HOW_MANY.items():
            d = dtypes.float64 if "reference" in how else dtypes.float32
            for lay, arrange in combinations(name + how, n >> k):
                if name in BY_MEMORY and lay not in ("as they are", "pending"):
                    continue
                wrong = check(case, args, kwargs, how, d, lay, arrange)
                if wrong:
                    shown = [a.shape if isinstance(a, np.ndarray) else a for a in args]
                    problems.append(f"{how}, {lay}, {arrange}, {shown}, {kwargs}: {wrong[:300]}")
    assert not problems, "\n".join(problems)
