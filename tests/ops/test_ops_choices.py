"""`where` in a formula leaks nothing from the branch not taken: neither its NaN nor its infinity, in any derivative."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_samples import CASES, FORMULAS
from ops_support import mode, needs_torch, to_livegrad, to_numpy, to_torch, torch

import livegrad
from livegrad.ops import dispatch, scalar
from livegrad.ops.instruction import ElementwiseOp


def chooses(op):
    """Whether an operator's formula, or that of one of its gradients, has `where` in it."""
    gradients = [op.gradient(i) for i in range(len(op.names))]
    formulas = [op, *(found[0] for found in gradients if isinstance(found, tuple))]
    return any(node.primitive is scalar.where for f in formulas for node in scalar.postorder(f.expr))


HAZARDS = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -3.0, 3.0, 88.0, -800.0])
# What the two libraries settle differently at a kink (the second derivative of elu at 0), at NaN (hardshrink), at a
# pole (digamma, left out), or where an infinite gradient meets a derivative of several terms (mish, celu).
DIFFERENT = {
    "celu": (np.isin, (0.0, -800.0)),
    "elu": (np.isin, (0.0,)),
    "selu": (np.isin, (0.0,)),
    "hardshrink": (lambda x, _: np.isnan(x), None),
    "mish": (lambda x, _: np.isfinite(x), None),
    # PyTorch's is -inf or inf, as its loop uses vectors or not.
    "_logit": (lambda x, _: (x == 0) & np.signbit(x), None),
}
CHOOSING = [
    n for n in FORMULAS if CASES[n].entry.reference and n not in ("prelu", "sgn", "digamma", "_heaviside") and chooses(CASES[n].formula)
]  # fmt: skip


def operands(name):
    case = CASES[name]
    n = len(case.formula.names)
    values = HAZARDS
    if name in DIFFERENT:
        apart, at = DIFFERENT[name]
        values = values[~apart(values, at)]
    if case.entry.samples:
        return [values, *case.samples()[0][0][1:]]
    found = [values.reshape([-1 if i == j else 1 for j in range(n)]) for i in range(n)]
    if case.formula.names[0] == "condition":
        found[0] = np.array([True, False]).reshape(-1, 1, 1)
    return [np.array(a) for a in np.broadcast_arrays(*found)]


def derivatives(library, to, function, arrays, g, order):
    """The gradients by the operands that have one, of the first or the second order; None without any."""
    args = [to(a, requires_grad=a.dtype != bool) if isinstance(a, np.ndarray) else a for a in arrays]
    by = [a for a in args if isinstance(a, library.Tensor) and a.requires_grad]
    made = function(*args)
    if not made.requires_grad:
        return None
    found = library.autograd.grad(made, by, library.full_like(made, g), create_graph=order == 2, allow_unused=True)
    if order == 2:
        again = [t for t in found if t is not None and t.requires_grad]
        if not again:
            return None
        found = library.autograd.grad(again, by, [library.full_like(t, 0.75) for t in again], allow_unused=True)
    return [np.zeros(b.shape) if t is None else to_numpy(t.detach().clone()) for t, b in zip(found, by)]


@needs_torch
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", CHOOSING)
def test_derivatives_at_hazards_as_in_pytorch(name, order):
    """Where PyTorch's own formula leaks NaN at a point, ours may be a number."""
    case = CASES[name]
    if case.torch_function is None:
        pytest.skip("no function of PyTorch to compare with")
    arrays = operands(name)
    for g in (1.0, math.inf):
        with warnings.catch_warnings(), torch.backends.mkldnn.flags(enabled=False):
            warnings.simplefilter("ignore")
            try:
                expected = derivatives(torch, to_torch, case.torch_function, arrays, g, order)
            except RuntimeError as error:
                assert "not implemented" in str(error) or "ZeroTensor" in str(error)
                pytest.skip("PyTorch has no such derivative")
        for way in ("deferred", "eager reference"):
            with mode(way), np.errstate(all="ignore"):
                got = derivatives(livegrad, to_livegrad, case.function, arrays, g, order)
            if got is None or expected is None:  # a derivative that is 0 everywhere, recorded by one of the two
                assert all(np.all((a == 0) | np.isnan(a)) for a in got or expected or [])
                continue
            for a, b in zip(got, expected):
                a, b = a[~np.isnan(b)], b[~np.isnan(b)]
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12, equal_nan=True)


# Functions of a positive number, each of them NaN or infinite somewhere else, itself or its derivative.
RISKY = {
    "log": scalar.log,
    "sqrt": scalar.sqrt,
    "reciprocal": scalar.reciprocal,
    "power": lambda x: scalar.pow(x, 1.5),
    "acosh": lambda x: scalar.acosh(x + 1),
    "overflowing": lambda x: scalar.exp(x * -1000.0) * scalar.log1p(x),
    "nested": lambda x: scalar.where(x < 0.5, scalar.rsqrt(x), scalar.log(scalar.sqrt(x))),
}


@settings(deadline=None)
@given(
    st.sampled_from(sorted(RISKY)),
    st.sampled_from([0.0, -0.0, -1.0, -math.inf, math.nan]),
    st.floats(-3, 3),
    st.booleans(),
)
def test_any_formula(risky, at, g, swapped):
    """The derivatives of the branch taken, whatever the other one does there."""
    f = RISKY[risky]

    def formula(x):
        safe, hazard = scalar.sin(x) * x, f(x) * scalar.cos(x)
        chosen = scalar.where(scalar.le(x, 0), safe, hazard) if swapped else scalar.where(x > 0, hazard, safe)
        return scalar.exp(chosen * 0.1) + chosen

    if swapped and math.isnan(at):
        at = -2.0
    op = ElementwiseOp("chosen", formula)
    plain = ElementwiseOp("plain", lambda x: scalar.exp(scalar.sin(x) * x * 0.1) + scalar.sin(x) * x)
    found = []
    for o in (op, plain):
        x = livegrad.tensor([at, at], dtype=livegrad.float64, requires_grad=True)
        (first,) = livegrad.autograd.grad(dispatch.call(o, (x,)), x, livegrad.full_like(x, g), create_graph=True)
        (second,) = livegrad.autograd.grad(first.sum(), x)
        found.append((first.detach().numpy(), second.numpy()))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9, atol=1e-12, equal_nan=True)


def test_complex_choice():
    """Of complex numbers too."""
    z = livegrad.tensor([0j, 3 + 4j], requires_grad=True)
    op = ElementwiseOp("size", lambda z: scalar.where(scalar.eq(z, 0), z * 2, scalar.log(z)))
    dispatch.call(op, (z,)).backward(livegrad.ones(2, dtype=livegrad.complex64))
    assert z.grad is not None
    np.testing.assert_allclose(z.grad.numpy(), [2, (1 / (3 + 4j)).conjugate()], rtol=1e-6)
