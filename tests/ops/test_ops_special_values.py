"""Every elementwise operator at NaN, infinities, signed zeros, subnormals and the ends of the integers."""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np
import pytest
from ops_samples import CASES, FORMULAS
from ops_support import (
    ALL,
    FLOATS,
    Raised,
    attempt,
    compare,
    mode,
    needs_torch,
    to_livegrad,
    to_numpy,
    to_torch,
    torch,
    unsupported,
)  # fmt: skip

import livegrad
from livegrad import dtypes


def specials(d: dtypes.dtype) -> np.ndarray:
    if d.is_floating_point:
        info = ml_dtypes.finfo(d.np)
        values = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -3.7, 10.0, 88.0, -100.0,
                  float(info.max), -float(info.max), float(info.smallest_normal), float(info.smallest_subnormal)]  # fmt: skip
        with np.errstate(all="ignore"):
            return np.array(values).astype(d.np)
    if d is dtypes.bool_:
        return np.array([True, False])
    info = np.iinfo(d.np)
    return np.array(
        [info.min, info.min + 1, 0, 1, 2, 3, 7, 63, info.max - 1, info.max] + ([-1, -2, -7] if info.min else []), d.np
    )


def operands(n: int, d: dtypes.dtype) -> list:
    values = specials(d)
    if n == 1:
        return [values]
    if n == 2:
        return [values[:, None], values[None, :]]
    picked = values[: 11 if len(values) > 11 else None]
    return [picked[:, None, None], picked[None, :, None], picked[None, None, :]]


IGNORED = {
    # Integer division by zero is refused before it is reached; see test_ops_errors.
    "_floor_divide": lambda x, y: y == 0,
    "_floor_quotient": lambda x, y: y == 0,
    "_trunc_divide": lambda x, y: y == 0,
}
# PyTorch computes these in steps that overflow or cancel, or from tables of lower accuracy, at some of these points.
LESS_ACCURATE_THERE = {"lgamma": 1e-5, "digamma": 1e-4, "erfinv": 1e-4, "_pow": 1e-5, "sinc": 1e-5, "tan": 1e-5}


@pytest.fixture
def own_kernels():
    """PyTorch with its own kernels: oneDNN's GELU, which it prefers where there is AVX-512, makes infinity NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # setting flags says something about other hardware
        with torch.backends.mkldnn.flags(enabled=False):
            yield


@needs_torch
@pytest.mark.usefixtures("own_kernels")
# Those with samples of their own take numbers where this test would pass tensors.
@pytest.mark.parametrize("name", [n for n in FORMULAS if CASES[n].entry.reference and not CASES[n].entry.samples])
def test_special_values_as_in_pytorch(name):
    case = CASES[name]
    problems = []
    for d in ALL:
        arrays = operands(len(case.formula.names), d)
        if case.formula.names[0] == "condition":
            arrays[0] = np.array([True, False]).reshape(-1, 1, 1)
        expected = attempt(case.torch_function, *map(to_torch, arrays))
        if unsupported(expected):
            continue
        for m in ("deferred", "deferred reference"):
            with mode(m):
                got = attempt(case.function, *map(to_livegrad, arrays))
            try:
                if isinstance(expected, Raised) or isinstance(got, Raised):
                    assert isinstance(expected, Raised) and isinstance(got, Raised), f"{got!r} against {expected!r}"
                    continue
                a, b = to_numpy(got), to_numpy(expected)
                assert a.dtype == b.dtype
                rtol = {"float32": 3e-6, "float64": 1e-13}.get(str(a.dtype))
                if name in LESS_ACCURATE_THERE:
                    rtol = max(rtol or 0.01, LESS_ACCURATE_THERE[name])
                close(a, b, rtol, np.broadcast_arrays(*arrays), name)
            except AssertionError as error:
                problems.append(f"{d.name}, {m}: {str(error)[:700]}")
    assert not problems, "\n".join(problems)


# In the tail these are x times the difference of two numbers near 1, in PyTorch too.
CANCELLING = ("gelu", "_gelu_tanh")


def _weighted_terms(x, target, weight):
    log_sigmoid = np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))
    return np.abs((1 - target) * x) + (np.abs((weight - 1) * target) + 1) * np.abs(log_sigmoid)


# The size of the terms whose difference a formula takes. Each is right to four units in its last place (a transcendental
# function to two, in a kernel and in NumPy, and the steps around it), so two ways to compute it are within eight.
TERMS = {"_bce_logits_weighted": _weighted_terms, "logaddexp2": lambda x, y: np.abs(np.maximum(x, y)) + 1}


def close(a, b, rtol, at, name=""):
    """Compare, and name the operands where it fails."""
    if a.dtype.kind == "c":
        for part in ("real", "imag"):
            close(getattr(a, part), getattr(b, part), {"complex64": 3e-6}.get(str(a.dtype), 1e-13), at, name)
        return
    if a.dtype.kind in "biu":
        bad = a != b
    else:
        x, y = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(all="ignore"):
            rtol = rtol or {"float16": 2e-3, "bfloat16": 1.6e-2}[str(a.dtype)]
            tiny = 4 * float(ml_dtypes.finfo(a.dtype).smallest_normal)
            if name in CANCELLING:
                tiny = float(ml_dtypes.finfo(a.dtype).eps)
            if name in TERMS:
                size = TERMS[name](*[v.astype(np.float64) for v in at])
                unit = float(ml_dtypes.finfo(np.float64 if a.dtype == np.float64 else np.float32).eps)
                tiny = tiny + 8 * unit * np.where(np.isfinite(size), size, 0.0)
            near = np.abs(x - y) <= rtol * np.abs(y) + tiny
            bad = ~(near | (x == y) | (np.isnan(x) & np.isnan(y)))
    lines = [f"{tuple(str(v[i]) for v in at)} gives {a[i]}, expected {b[i]}" for i in map(tuple, np.argwhere(bad)[:6])]
    assert not lines, f"{bad.sum()} places: " + "; ".join(lines)


@pytest.mark.parametrize("name", FORMULAS)
def test_kernels_and_tier_0_agree_at_special_values(name):
    case = CASES[name]
    problems = []
    for d in ALL:
        arrays = operands(len(case.formula.names), d)
        if case.formula.names[0] == "condition":
            arrays[0] = np.array([True, False]).reshape(-1, 1, 1)
        made = []
        for m in ("deferred", "deferred reference"):
            with mode(m), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made.append(attempt(case.function, *map(to_livegrad, arrays)))
        try:
            if isinstance(made[0], Raised):
                assert isinstance(made[1], Raised)
                continue
            assert not isinstance(made[1], Raised), repr(made[1])
            a, b = map(to_numpy, made)
            at = np.broadcast_arrays(*arrays)
            if name in IGNORED and not d.is_floating_point:
                keep = ~IGNORED[name](*at)
                a, b, at = a[keep], b[keep], [v[keep] for v in at]
            close(a, b, {"float32": 3e-6, "float64": 1e-13}.get(str(a.dtype)), at, name)
        except AssertionError as error:
            problems.append(f"{d.name}: {str(error)[:700]}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("d", [x for x in FLOATS if x.itemsize < 8], ids=lambda d: d.name)
def test_formulas_to_rounding(name, d):
    """Kernels in the smaller dtypes against the same formula in float64, at 300 points of the domain."""
    case = CASES[name]
    if case.formula.rule in ("bits", "integer"):
        pytest.skip("an operator on integers")
    low, high = case.entry.domain
    rng = np.random.default_rng(7)
    n = 300
    arrays = [rng.uniform(low, high, n).astype(d.np) for _ in case.formula.names]
    if case.formula.names[0] == "condition":
        arrays[0] = rng.integers(0, 2, n).astype(bool)
    wide = [a if a.dtype == bool else a.astype(np.float64) for a in arrays]
    with mode("deferred reference"):
        exact = to_numpy(case.function(*map(to_livegrad, wide)))
    with mode("deferred"):
        got = to_numpy(case.function(*map(to_livegrad, arrays)))
    if got.dtype == bool:
        np.testing.assert_array_equal(got, exact)
        return
    eps = float(ml_dtypes.finfo(d.np).eps)
    # Two units in the last place of float32, or one rounding of a half type; sums of several terms may cancel.
    steps = len(case.formula.canonical().split(";"))
    scale = np.maximum(np.abs(exact), 1.0 if steps > 2 or name in ("add", "sub", "_remainder", "_fmod") else 1e-6)
    if name in (
        "lgamma",
        "digamma",
        "frac",
        "_logit",
        "log",
        "log2",
        "log10",
        "logaddexp",
        "logaddexp2",
        "_pow",
        "_floor_divide",
        "_floor_quotient",
        "_trunc_divide",
    ):
        scale = np.maximum(scale, 1.0)
    allowed = (3.0 + steps) * eps if d is dtypes.float32 else 1.01 * eps
    error = np.abs(got.astype(exact.dtype) - exact) / scale
    assert np.nanmax(error) <= allowed, (np.nanmax(error) / eps, [a[np.nanargmax(error)] for a in wide])


def test_half_types_round_after_every_operator():
    """A fused program gives what separate operators give."""
    x = np.linspace(0, 7, 50)
    for d in (dtypes.float16, dtypes.bfloat16):
        a = livegrad.tensor(x, dtype=d)
        with mode("deferred"):
            fused = ((a * 3.1 + 0.7) * a - a / 3).exp().log()
            livegrad.eval(fused)
        with mode("eager"):
            apart = ((a * 3.1 + 0.7) * a - a / 3).exp().log()
        compare(to_numpy(fused), to_numpy(apart), rtol=0)


@needs_torch
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod", "div"])
def test_integer_division_at_the_ends(name):
    for d in dtypes.ALL:
        if d.category != dtypes.INTEGRAL:
            continue
        x = specials(d)
        y = x[x != 0]
        for kwargs in [{}] if name != "div" else [{"rounding_mode": "floor"}, {"rounding_mode": "trunc"}]:
            pair = np.broadcast_arrays(x[:, None], y[None, :])
            # The smallest number divided by -1 has no result; C++ leaves it undefined.
            keep = ~((pair[1].astype(object) == -1) & (pair[0] == x.min()))
            pair = [v[keep] for v in pair]
            for m in ("deferred", "deferred reference"):
                with mode(m):
                    got = attempt(CASES[name].function, *map(to_livegrad, pair), **kwargs)
                expected = attempt(CASES[name].torch_function, *map(to_torch, pair), **kwargs)
                close(to_numpy(got), to_numpy(expected), None, pair)


# Where PyTorch's gradient in float32 and in float64, or in the middle of an array and at its end, are different.
UNSETTLED_THERE = {"hardswish": np.isnan, "selu": np.isnan, "_logit": lambda x: x == 0, "digamma": lambda x: x <= -1}


@needs_torch
@pytest.mark.usefixtures("own_kernels")
@pytest.mark.parametrize("name", [n for n in FORMULAS if CASES[n].entry.reference and not CASES[n].entry.samples])
def test_gradients_at_special_values_as_in_pytorch(name):
    """At NaN, infinities, zeros of both signs, ties and the ends of the range."""
    case = CASES[name]
    n = len(case.formula.names)
    if case.torch_function is None or n > 2:
        pytest.skip("no function of PyTorch to compare with")
    for d in (dtypes.float32, dtypes.float64):
        with np.errstate(all="ignore"):
            arrays = [np.array(a) for a in np.broadcast_arrays(*operands(n, d))]
        if name in UNSETTLED_THERE:
            arrays = [a[~UNSETTLED_THERE[name](a)] for a in arrays]
        theirs = [to_torch(a, requires_grad=True) for a in arrays]
        expected = attempt(case.torch_function, *theirs)
        if isinstance(expected, Raised) or not expected.requires_grad:
            continue
        if isinstance(attempt(expected.sum().backward), Raised):
            continue  # PyTorch has no derivative of it
        for way in ("deferred", "eager reference"):
            with mode(way), np.errstate(all="ignore"):
                ours = [to_livegrad(a, requires_grad=True) for a in arrays]
                case.function(*ours).sum().backward()
                for x, y in zip(ours, theirs):
                    # (1 - tanh² and the like lose what cancels.)
                    rtol, atol = {4: (1e-4, 1e-6), 8: (1e-7, 1e-15)}[d.itemsize]
                    compare(to_numpy(x.grad), to_numpy(y.grad.clone()), rtol, atol)


def test_std_of_half_numbers_whose_variance_is_not_one():
    assert livegrad.tensor([1024.0, -1.0, 2.0], dtype=livegrad.float16).std().item() == 591.0


def test_prelu_slopes_have_no_part_where_they_are_not_used():
    x = livegrad.tensor([1.0, -1.0], requires_grad=True)
    livegrad.nn.functional.prelu(x, livegrad.tensor([float("nan")])).sum().backward()
    assert x.grad[0].item() == 1.0
    assert x.grad[1].isnan().item()


def test_roll_of_nothing_is_a_tensor_of_its_own():
    x = livegrad.zeros(0, requires_grad=True)
    assert x.roll(1).squeeze_().shape == (0,)
    assert livegrad.zeros(0).roll(1, 0)._base is None
