"""Random programs: deferred and fused, operator by operator, on tier 0, on kernels, and in PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops_support import compare, mode, needs_torch, to_livegrad, to_numpy, to_torch

import livegrad
from livegrad import dtypes

SHAPES = [(3, 5), (5,), (3, 1), (1, 5), (), (1,), (2, 3, 5), (37,)]
# Operators that keep numbers in a tame range, so that programs of many steps stay comparable.
UNARY = [
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "abs",
    "neg",
    "floor",
    "relu",
    "square",
    "exp2",
    "atan",
    "erf",
    "sign",
    "isfinite",
]
BINARY = ["add", "sub", "mul", "maximum", "minimum", "lt", "ge", "eq", "atan2", "fmax", "hypot"]
DTYPES = [dtypes.float32, dtypes.float64, dtypes.int32, dtypes.uint8, dtypes.bool_, dtypes.float16]


@st.composite
def programs(draw):
    """Inputs (dtype, shape, layout) and steps; a step refers to earlier values by number."""
    shape = draw(st.sampled_from([(3, 5), (2, 3, 5), (37,), (64,)]))
    fitting = {(3, 5): [(3, 5), (5,), (3, 1), (1, 5), ()], (2, 3, 5): [(2, 3, 5), (3, 5), (5,), (2, 1, 1), (3, 1), ()],
               (37,): [(37,), (1,), ()], (64,): [(64,), (1,), ()]}[shape]  # fmt: skip
    n = draw(st.integers(1, 4))
    inputs = [(shape, draw(st.sampled_from(DTYPES)), draw(st.sampled_from(["plain", "transposed", "strided"])))]
    for _ in range(n - 1):
        inputs.append((draw(st.sampled_from(fitting)), draw(st.sampled_from(DTYPES)),
                       draw(st.sampled_from(["plain", "transposed", "strided"]))))  # fmt: skip
    steps = []
    for k in range(draw(st.integers(1, 12))):
        known = n + k
        kind = draw(st.sampled_from(["unary", "binary", "binary", "number", "where"]))
        a, b, c = (draw(st.integers(0, known - 1)) for _ in range(3))
        if kind == "unary":
            steps.append((kind, draw(st.sampled_from(UNARY)), a))
        elif kind == "binary":
            steps.append((kind, draw(st.sampled_from(BINARY)), a, b))
        elif kind == "number":
            steps.append(
                (kind, draw(st.sampled_from(["add", "mul", "sub"])), a, draw(st.sampled_from([2, 0.5, -1, 3.25])))
            )
        else:
            steps.append((kind, "where", a, b, c))
    kept = draw(st.sets(st.integers(0, len(steps) - 1), max_size=3))
    return inputs, steps, sorted(kept | {len(steps) - 1}), draw(st.integers(0, 2**16))


def arrays_of(inputs, seed):
    rng = np.random.default_rng(seed)
    found = []
    for shape, d, _ in inputs:
        if d is dtypes.bool_:
            found.append(rng.integers(0, 2, shape).astype(bool))
        elif d.is_floating_point:
            found.append(np.asarray(np.round(rng.uniform(-2, 2, shape), 2)).astype(d.np))
        else:
            found.append(np.asarray(rng.integers(0, 4, shape)).astype(d.np))
    return found


def run(lib, tensors, steps, kept, layouts=None):
    """The kept values of a program; others die as soon as Python drops them."""
    values = list(tensors)
    if layouts:
        for k, layout in enumerate(layouts):
            t = values[k]
            if layout == "transposed" and t.dim() > 1:
                values[k] = t.transpose(0, -1).contiguous().transpose(0, -1)
            elif layout == "strided" and t.dim():
                big = lib.zeros([*t.shape[:-1], 2 * t.shape[-1]], dtype=t.dtype, device=t.device)
                big[..., ::2] = t
                values[k] = big[..., ::2]
    flag = lib.bool
    for kind, name, a, *rest in steps:
        x = values[a]
        truth = x.dtype == flag
        if kind == "unary":
            if truth and name in ("neg", "floor", "relu", "square", "sign", "abs", "isfinite"):
                values.append(~x)
            else:
                values.append(getattr(lib, name)(x))
        elif kind == "binary":
            y = values[rest[0]]
            if name == "sub" and (truth or y.dtype == flag):
                values.append(lib.ne(x, y))
            else:
                values.append(getattr(lib, name)(x, y))
        elif kind == "number":
            values.append(lib.add(x, 1) if truth else getattr(lib, name)(x, rest[0]))
        else:
            values.append(lib.where(x.bool(), values[rest[0]], values[rest[1]]))
    n = len(tensors)
    return [values[n + k] for k in kept]


def evaluated(how, arrays, steps, kept, layouts):
    with mode(how), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = run(livegrad, [to_livegrad(a) for a in arrays], steps, kept, layouts)
        livegrad.eval(made[-1])  # the last one first: what it needs is written along with it
        livegrad.eval(made)
        return [to_numpy(t) for t in made]


SETTINGS = {"deadline": None, "derandomize": True,
            "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}  # fmt: skip


def finite(a):
    return not (a.dtype.kind not in "biu" and (np.abs(np.nan_to_num(a.astype(np.float64))) > 1e4).any())


@settings(max_examples=150, **SETTINGS)
@given(programs())
def test_fused_programs_equal_separate_operators(program):
    """Fusing changes no bit: kernels against kernels, tier 0 against tier 0."""
    inputs, steps, kept, seed = program
    arrays, layouts = arrays_of(inputs, seed), [i[2] for i in inputs]
    for deferred, eager in (("deferred reference", "eager reference"),):
        for a, b in zip(
            evaluated(deferred, arrays, steps, kept, layouts), evaluated(eager, arrays, steps, kept, layouts)
        ):
            assert a.dtype == b.dtype
            compare(a, b, rtol=0)


@settings(max_examples=60, **SETTINGS)
@given(programs())
def test_kernels_equal_separate_operators(program):
    inputs, steps, kept, seed = program
    arrays, layouts = arrays_of(inputs, seed), [i[2] for i in inputs]
    fused = evaluated("deferred", arrays, steps, kept, layouts)
    for a, b in zip(fused, evaluated("eager", arrays, steps, kept, layouts)):
        assert a.dtype == b.dtype
        if finite(a):
            compare(a, b, rtol=2e-6 if a.dtype == np.float32 else None, atol=1e-6)


@needs_torch
@settings(max_examples=60, **SETTINGS)
@given(programs())
def test_programs_as_in_pytorch(program):
    import torch

    inputs, steps, kept, seed = program
    # Steps at which a rounding difference decides (floor, comparisons) are compared in float64 alone.
    inputs = [(s, dtypes.float64 if d.is_floating_point else d, how) for s, d, how in inputs]
    arrays, layouts = arrays_of(inputs, seed), [i[2] for i in inputs]
    steps = [s if s[1] not in ("floor", "eq", "lt", "ge", "sign") else ("unary", "cos", s[2]) for s in steps]
    try:
        expected = run(torch, [to_torch(a) for a in arrays], steps, kept)
    except (RuntimeError, TypeError):
        return  # something that PyTorch has no kernel for, such as hypot of integers
    for how in ("deferred", "deferred reference"):
        for a, e in zip(evaluated(how, arrays, steps, kept, layouts), expected):
            assert str(e.dtype).removeprefix("torch.") == str(a.dtype)
            e = to_numpy(e)
            if finite(e):
                small = 1e-9 if a.dtype == np.float64 else 1e-4
                compare(a, e, small, small)


@settings(max_examples=40, **SETTINGS)
@given(programs())
def test_gradients_of_programs_in_every_mode(program):
    inputs, steps, kept, seed = program
    inputs = [(s, dtypes.float64, how) for s, _, how in inputs]
    arrays = arrays_of(inputs, seed)
    found = []
    for how in ("deferred", "eager", "eager reference"):
        with mode(how):
            leaves = [to_livegrad(a, requires_grad=True) for a in arrays]
            made = [t for t in run(livegrad, leaves, steps, kept) if t.requires_grad]
            if not made:
                return
            total = sum(t.sum() for t in made)
            if not total.requires_grad:
                return
            total.backward()
            found.append([None if x.grad is None else to_numpy(x.grad) for x in leaves])
    for other in found[1:]:
        for a, b in zip(found[0], other):
            assert (a is None) == (b is None)
            if a is not None and finite(a):
                compare(a, b, 1e-9, 1e-9)


def test_shared_subexpressions_are_computed_once_and_kept_when_asked_for():
    with mode("deferred"):
        x = livegrad.arange(8.0)
        a = x * 2
        b = a + 1
        c = a * b + a
        assert c.tolist() == [float(2 * i * (2 * i + 1) + 2 * i) for i in range(8)]
        assert a._v.array is not None and b._v.array is not None  # still alive, so written by the same kernel
        assert b.tolist() == [2.0 * i + 1 for i in range(8)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_short_operands_in_every_row(data):
    """A bias: a few elements that are read over and over, in programs of any dtypes and sizes, and in place."""
    rows, n = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 70))
    dtype = data.draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    x, y = (rng.integers(-4, 5, (rows, n)).astype(dtype.np) for _ in range(2))
    bias, scale = (rng.integers(-4, 5, n).astype(dtype.np) for _ in range(2))
    a, b, c, d = (livegrad.from_numpy(v).clone() for v in (x, y, bias, scale))
    livegrad.eval(a, b, c, d)
    expected = (x + bias) * y * scale + bias  # small whole numbers: exact in every dtype, or the same overflow
    with mode("deferred"):
        np.testing.assert_array_equal(to_numpy((a + c) * b * d + c), expected)
        a += c
        a *= d
        np.testing.assert_array_equal(to_numpy(a), (x + bias) * scale)
        np.testing.assert_array_equal(to_numpy(b.maximum(c)), np.maximum(y, bias))
