"""First and second derivatives of every operator: against central differences, and against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from ops_samples import CASES, X, call, data
from ops_support import Raised, as_dtype, attempt, compare, mode, needs_torch, to_livegrad, to_numpy, to_torch

import livegrad
from livegrad import dtypes
from livegrad.autograd.gradcheck import gradcheck, gradgradcheck


def outputs(made):
    """The results that gradients flow to."""
    if isinstance(made, (tuple, list)):
        return [t for t in made if hasattr(t, "requires_grad") and t.requires_grad]
    return [made] if hasattr(made, "requires_grad") and made.requires_grad else []


def inputs(args):
    """The arguments that gradients flow to, of a call's tensors or lists of tensors."""
    found = []
    for a in args:
        if isinstance(a, (list, tuple)):
            found += inputs(a)
        elif hasattr(a, "requires_grad") and a.requires_grad:
            found.append(a)
    return found


def float_samples(name):
    for args, kwargs in CASES[name].samples():
        if any(isinstance(a, np.ndarray) and a.dtype == np.float64 for a in flat(args)):
            yield args, kwargs


def flat(args):
    for a in args:
        if isinstance(a, (list, tuple)):
            yield from flat(a)
        else:
            yield a


# What has no derivative; going backward raises.
REFUSED = ("floor_divide", "_floor_divide", "_remainder_of_number", "_heaviside", "unique")


@pytest.mark.parametrize("name", [n for n in CASES if n not in REFUSED])
def test_gradients_against_central_differences(name):
    case = CASES[name]
    tried = 0
    for args, kwargs in float_samples(name):
        if sum(a.size for a in flat(args) if isinstance(a, np.ndarray)) > 60:
            continue
        with mode("deferred reference"):
            tensors = [to_livegrad(a, requires_grad=True) for a in args]
            named = {k: to_livegrad(v) for k, v in kwargs.items()}
            made = attempt(case.function, *tensors, **named)
            if isinstance(made, Raised) or not outputs(made) or (name == "remainder" and isinstance(args[0], int)):
                continue
            several = isinstance(made, (tuple, list))
            differentiable = [k for k, t in enumerate(made) if t.requires_grad] if several else None
            wanted = inputs(tensors)

            def function(*xs):
                rest = iter(xs)

                def refill(a):
                    if isinstance(a, (list, tuple)):
                        return type(a)(refill(i) for i in a)
                    return next(rest) if hasattr(a, "requires_grad") and a.requires_grad else a

                found = case.function(*[refill(a) for a in tensors], **named)
                return tuple(found[k] for k in differentiable) if several else found

            assert gradcheck(function, tuple(wanted)), (name, args, kwargs)
            tried += 1
            if tried <= 4:
                livegrad.manual_seed(0)
                assert gradgradcheck(function, tuple(wanted), atol=1e-4), (name, args, kwargs)


# PyTorch's trigamma is good to 5e-10 only, and its slope of hardsigmoid is 1/6 in float32.
LESS_EXACT_THERE = {"digamma": 1e-9, "hardsigmoid": 1e-7}


@needs_torch
@pytest.mark.parametrize("name", CASES)
def test_gradients_as_in_pytorch(name):
    """Whether a result requires a gradient, and the gradients, in float64 and float32, on kernels."""
    case = CASES[name]
    if case.torch_function is None:
        pytest.skip("no operator of PyTorch by itself; covered by central differences")
    problems = []
    for d in (dtypes.float64, dtypes.float32):
        for args, kwargs in float_samples(name):
            args = tuple(as_dtype(a, d) for a in args)
            kwargs = {k: as_dtype(v, d) for k, v in kwargs.items()}
            theirs = [to_torch(a, requires_grad=True) for a in args]
            expected = attempt(case.torch_function, *theirs, **{k: to_torch(v) for k, v in kwargs.items()})
            if isinstance(expected, Raised):
                continue
            with mode("deferred"):
                ours = [to_livegrad(a, requires_grad=True) for a in args]
                got = attempt(case.function, *ours, **{k: to_livegrad(v) for k, v in kwargs.items()})
                try:
                    assert not isinstance(got, Raised), repr(got)
                    gs, es = outputs(got), outputs(expected)
                    assert len(gs) == len(es), f"{len(gs)} results require gradients, {len(es)} in PyTorch"
                    for g, e in zip(gs, es):
                        seed = np.asarray(np.cos(np.arange(e.numel()))).reshape(tuple(e.shape)).astype(d.np)
                        if isinstance(attempt(e.backward, to_torch(seed), retain_graph=True), Raised):
                            continue  # PyTorch has no derivative of it
                        g.backward(to_livegrad(seed), retain_graph=True)
                    for x, y in zip(inputs(ours), inputs(theirs)):
                        if y.grad is None:
                            assert x.grad is None or not x.grad.any().item()
                            continue
                        y.grad = y.grad.clone()
                        if x.grad is None:  # as good as zero
                            assert not y.grad.any(), "a gradient is missing"
                            continue
                        assert x.grad.dtype is x.dtype
                        scale = float(y.grad.abs().max()) if y.numel() else 0.0
                        small = LESS_EXACT_THERE.get(name, 1e-11) if d is dtypes.float64 else 2e-5
                        compare(to_numpy(x.grad), to_numpy(y.grad), small, small * max(scale, 1e-3))
                except AssertionError as error:
                    shown = ", ".join(str(a.shape) if isinstance(a, np.ndarray) else repr(a) for a in args)
                    problems.append(f"{d.name} ({shown}, {kwargs}): {str(error).strip()[:500]}")
    assert not problems, "\n".join(problems)


AT_EDGES = [
    ("atan2", call(np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, -0.0]))),
    ("relu", call(np.array([-1.0, -0.0, 0.0, 1.0, np.nan]))),
    ("abs", call(np.array([-1.0, 0.0, 1.0]))),
    ("sqrt", call(np.array([0.0, 1.0]))),
    ("pow", call(np.array([0.0, 0.0, 2.0, -2.0]), 2)),
    ("pow", call(np.array([0.0, 1.0, 2.0]), 0)),
    ("pow", call(np.array([0.0, 0.0, 2.0]), np.array([0.0, 2.0, 0.0]))),
    ("pow", call(np.array([0.0, 2.0]), 0.5)),
    ("max", call(np.array([1.0, 3.0, 3.0]))),
    ("min", call(np.array([1.0, 1.0, 3.0]))),
    ("max", call(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]), 1)),
    ("amax", call(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]), 1)),
    ("amin", call(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]), 0)),
    ("maximum", call(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]))),
    ("minimum", call(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]))),
    ("fmax", call(np.array([1.0, 2.0, np.nan, 3.0]), np.array([1.0, 3.0, 2.0, np.nan]))),
    ("fmin", call(np.array([1.0, 2.0, np.nan, 3.0]), np.array([1.0, 3.0, 2.0, np.nan]))),
    ("prod", call(np.array([2.0, 0.0, 3.0]))),
    ("prod", call(np.array([[0.0, 0.0, 3.0], [1.0, 2.0, 3.0]]), 1)),
    ("cumprod", call(np.array([2.0, 0.0, 3.0, 0.0, 5.0]), 0)),
    ("norm", call(np.zeros(3))),
    ("norm", call(np.zeros(3), 1)),
    ("norm", call(np.array([0.0, 2.0, -2.0]), 3)),
    ("norm", call(np.array([1.0, 2.0, -2.0]), float("inf"))),
    ("std", call(np.ones(3))),
    ("var", call(np.ones((1, 3)), 0)),
    ("logsumexp", call(np.array([-np.inf, 0.0, 1.0]), 0)),
    ("logsumexp", call(np.array([np.inf, 0.0]), 0)),
    ("clamp", call(np.array([-1.0, 0.0, 0.5, 1.0, 2.0]), 0, 1)),
    (
        "clamp",
        call(
            np.array([-1.0, 0.0, 0.5, 1.0, 2.0]),
            np.array([0.0, 0.0, 1.0, 1.0, 3.0]),
            np.array([1.0, 0.0, 0.0, 1.0, 1.0]),
        ),
    ),
    ("clamp_min", call(np.array([-1.0, 0.0, 1.0]), np.array([0.0, 0.0, 0.0]))),
    ("where", call(np.array([True, False]), np.array([1.0, 2.0]), np.array([np.nan, 3.0]))),
    ("xlogy", call(np.array([0.0, 1.0, 0.0]), np.array([2.0, 0.5, 0.0]))),
    ("sinc", call(np.array([0.0, 0.5, 1.0]))),
    ("hypot", call(np.array([0.0, 3.0]), np.array([0.0, 4.0]))),
    ("atan2", call(np.array([0.0, 0.0, 1.0]), np.array([1.0, -1.0, 0.0]))),
    ("logaddexp", call(np.array([-np.inf, 1.0, 1000.0]), np.array([0.0, -np.inf, 1000.0]))),
    ("median", call(np.array([3.0, 1.0, 1.0, 2.0]))),
    ("softmax", call(np.array([-np.inf, 0.0, 1.0]), 0)),
    ("log_softmax", call(np.array([-np.inf, 0.0, 1.0]), 0)),
    ("dist", call(np.ones(3), np.ones(3))),
    ("cummax", call(np.array([1.0, 3.0, 3.0, 2.0]), 0)),
    ("lerp", call(X, data(2, 3, seed=9), 0.5)),
    ("copysign", call(np.array([1.0, -1.0, 0.0]), np.array([-1.0, 1.0, 1.0]))),
]


def test_logsumexp_of_nothing_but_minus_infinity_passes_no_gradient():
    """PyTorch gives NaN here; a row that is masked altogether should not spoil the others."""
    x = livegrad.tensor([[-np.inf, -np.inf], [0.0, 0.0]], requires_grad=True)
    x.logsumexp(1).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0], [0.5, 0.5]]


@needs_torch
@pytest.mark.parametrize("k", range(len(AT_EDGES)), ids=lambda k: AT_EDGES[k][0])
def test_gradients_at_edges_as_in_pytorch(k):
    """Ties, zeros, bounds and infinities: the subgradient is the one that PyTorch chooses."""
    name, (args, kwargs) = AT_EDGES[k]
    case = CASES[name]
    theirs = [to_torch(a, requires_grad=True) for a in args]
    ours = [to_livegrad(a, requires_grad=True) for a in args]
    expected = outputs(case.torch_function(*theirs, **kwargs))
    with mode("deferred"):
        got = outputs(case.function(*ours, **kwargs))
        assert len(got) == len(expected)
        for g, e in zip(got, expected):
            compare(to_numpy(g), to_numpy(e), 1e-12, 1e-12)
            seed = np.arange(1.0, e.numel() + 1).reshape(tuple(e.shape))
            e.backward(to_torch(seed))
            g.backward(to_livegrad(seed))
    for x, y in zip(inputs(ours), inputs(theirs)):
        compare(to_numpy(x.grad), to_numpy(y.grad), 1e-12, 1e-12)


# What PyTorch keeps although no derivative reads it, or here round() through its factors: named so that it is known.
FREED_DIFFERENTLY = {
    "div": "rounding_mode",
    "sgn": "",
    "round": "decimals",
    "norm": "order 0",
    "angle": "keeps a real operand",
}


def again(function, args, kwargs):
    """What a second backward through the graph of a call raises: the type of the error, None if nothing."""
    made = attempt(function, *args, **kwargs)
    if isinstance(made, Raised) or not outputs(made):
        return "unrecorded"
    total = outputs(made)[0].sum()
    if isinstance(attempt(total.backward), Raised):
        return "no derivative"
    second = attempt(total.backward)
    return type(second.error) if isinstance(second, Raised) else None


@needs_torch
@pytest.mark.parametrize("name", CASES)
def test_a_graph_is_freed_as_in_pytorch(name):
    """A second backward raises where it does in PyTorch, and only there."""
    case = CASES[name]
    if case.torch_function is None or name in FREED_DIFFERENTLY:
        pytest.skip("no operator of PyTorch by itself, or known to differ")
    for args, kwargs in float_samples(name):
        theirs = again(
            case.torch_function, [to_torch(a, requires_grad=True) for a in args],
            {k: to_torch(v) for k, v in kwargs.items()},
        )  # fmt: skip
        if (
            theirs in ("unrecorded", "no derivative") or getattr(args[0], "shape", None) == ()
        ):  # one number has no places
            continue
        ours = again(
            case.function, [to_livegrad(a, requires_grad=True) for a in args],
            {k: to_livegrad(v) for k, v in kwargs.items()},
        )  # fmt: skip
        assert ours == theirs, (args, kwargs)


@pytest.mark.parametrize("dim", [None, 0, 1])
@pytest.mark.parametrize("seed", range(8))
def test_derivatives_of_products_with_zeros(dim, seed):
    torch = pytest.importorskip("torch")
    draws = np.random.default_rng(seed)
    numbers = draws.integers(-2, 3, (2, 3, 4) if seed % 2 else (3, 3)).astype(float)
    found = []
    for m in (livegrad, torch):
        x = m.tensor(numbers, requires_grad=True)
        y = x.prod() if dim is None else x.prod(dim)
        derivatives = [(y * m.linspace(1, 2, y.numel(), dtype=m.float64).reshape(y.shape)).sum()]
        for _ in range(3):
            (g,) = m.autograd.grad(derivatives[-1].sum(), x, create_graph=True)
            derivatives.append(g * m.linspace(-1, 2, g.numel(), dtype=m.float64).reshape(g.shape))
        found.append([d.detach().numpy() for d in derivatives])
    for mine, theirs in zip(*found):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)
