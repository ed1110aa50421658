"""Reductions over random axes and layouts against NumPy in float64; the same bits with any number of threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops_support import ALL, arranged, compare, mode, needs_torch, to_livegrad, to_numpy, to_torch

import livegrad
from livegrad import dtypes

SETTINGS = {"deadline": None, "derandomize": True,
            "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}  # fmt: skip
EXACT = {"sum": np.sum, "amax": np.max, "amin": np.min, "mean": np.mean, "prod": np.prod}


@st.composite
def layouts(draw):
    """A shape, a permutation, a step along the last dimension, a dimension to broadcast, and axes to reduce."""
    n = draw(st.integers(1, 4))
    limit = {1: 3000, 2: 90, 3: 20, 4: 9}[n]
    shape = [draw(st.integers(1, limit)) for _ in range(n)]
    order = draw(st.permutations(range(n)))
    step = draw(st.sampled_from([1, 1, 2, 3]))
    spread = draw(st.sampled_from([None, None, *range(n)]))
    axes = draw(st.sets(st.integers(0, n - 1), min_size=1))
    return shape, order, step, spread, tuple(sorted(axes)), draw(st.integers(0, 1000))


@settings(max_examples=120, **SETTINGS)
@given(
    layouts(),
    st.sampled_from(["sum", "amax", "amin", "mean"]),
    st.sampled_from([dtypes.float32, dtypes.float64, dtypes.int32, dtypes.float16]),
)
def test_axes_and_layouts(layout, name, d):
    shape, order, step, spread, axes, seed = layout
    if name == "mean" and not d.is_floating_point:
        d = dtypes.float32
    a = np.random.default_rng(seed).uniform(-9, 9, shape).astype(d.np)
    for how in ("deferred", "deferred reference"):
        with mode(how):
            t, b = arranged(a, order, step, spread)
            got = to_numpy(getattr(livegrad, name)(t, axes))
            pending = to_numpy(getattr(livegrad, name)(t * 2 + 1, axes))  # with a prologue of its own
        wide = b.astype(np.float64)
        exact = EXACT[name](wide, axis=axes)
        magnitude = float(np.abs(wide).sum(axis=axes).max()) if name == "sum" else 10.0
        eps = {"float32": 1e-6, "float64": 1e-14, "float16": 2e-3, "int32": 0, "int64": 0}[d.name]
        np.testing.assert_allclose(got.astype(np.float64), exact, rtol=eps, atol=eps * magnitude)
        with np.errstate(all="ignore"):
            doubled = (b * b.dtype.type(2) + b.dtype.type(1)).astype(np.float64)
        exact = EXACT[name](doubled, axis=axes)
        np.testing.assert_allclose(pending.astype(np.float64), exact, rtol=2 * eps, atol=3 * eps * magnitude)


# Sizes around the lengths of segments (16384 elements, 128 rows) and of blocks of columns (2048).
BIG = [((32769,), 0), ((65536,), 0), ((100003,), 0), ((3, 40000), 1), ((300, 400), 0), ((257, 2049), 0), ((128, 5000), 0),
       ((130, 129, 7), (0, 1)), ((7, 300, 64), (0, 2)), ((40, 50, 60), (0, 2)), ((2, 300, 2100), 1), ((70000, 2), 0),
       ((256, 256), (0, 1)), ((1, 70000), 1)]  # fmt: skip


@pytest.mark.parametrize("shape,axes", BIG, ids=lambda v: str(v).replace(" ", ""))
def test_long_reductions_repeat_on_any_number_of_threads(shape, axes):
    rng = np.random.default_rng(3)
    a = rng.standard_normal(shape).astype(np.float32)
    before = livegrad.get_num_threads()
    try:
        for layout in ("plain", "permuted", "strided"):
            t, b = to_livegrad(a), a
            if layout == "permuted" and a.ndim > 1:
                t = to_livegrad(np.ascontiguousarray(np.moveaxis(a, 0, -1))).movedim(-1, 0)
            elif layout == "strided":
                t, b = t[..., ::2], a[..., ::2]
            made = []
            for threads in (1, 2):
                livegrad.set_num_threads(threads)
                with mode("deferred"):
                    made.append(
                        [
                            to_numpy(t.sum(axes)),
                            to_numpy((t * t).sum(axes)),
                            to_numpy(t.amax(axes)),
                            to_numpy(t.std(axes)),
                        ]
                    )
            for one, two in zip(*made):
                np.testing.assert_array_equal(one, two)
            wide = b.astype(np.float64)
            for got, exact in zip(
                made[0], (wide.sum(axes), (wide * wide).sum(axes), wide.max(axes), wide.std(axes, ddof=1))
            ):
                np.testing.assert_allclose(got, exact, rtol=2e-5, atol=2e-3 * math.sqrt(a.size) / 100)
    finally:
        livegrad.set_num_threads(before)


@needs_torch
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "amax", "amin", "all", "any", "max", "min", "argmax", "argmin", "std",
                                  "logsumexp", "softmax", "log_softmax", "norm", "cumsum", "cumprod", "cummax", "cummin",
                                  "sort", "median", "count_nonzero", "aminmax", "var", "argsort"])  # fmt: skip
def test_special_values_in_rows(name):
    """Rows with NaN, infinities and signed zeros, in every floating-point dtype."""
    import torch

    nan, inf = np.nan, np.inf
    rows = np.array([[1, nan, 2, -1], [nan, nan, nan, nan], [inf, 1, 2, 3], [-inf, 1, 2, 3], [inf, -inf, 0, 1], [-inf] * 4,
                     [inf] * 4, [0.0, -0.0, 0.0, -0.0], [3, 1, nan, 0], [2, 2, 1, 1]])  # fmt: skip
    for d in (dtypes.float32, dtypes.float64, dtypes.bfloat16, dtypes.float16):
        a = rows.astype(d.np)
        args = {"norm": (2, 1), "aminmax": ()}.get(name, (1,))
        kwargs = {"aminmax": {"dim": 1}, "sort": {"stable": True}, "argsort": {"stable": True}}.get(name, {})
        if name in ("sort", "argsort"):
            args = ()
        for how in ("deferred", "deferred reference"):
            with mode(how):
                got = getattr(livegrad, name)(to_livegrad(a), *args, **kwargs)
                expected = getattr(torch, name)(to_torch(a), *args, **kwargs)
                got, expected = ([t] if not isinstance(t, tuple) else list(t) for t in (got, expected))
                if name in ("median", "max", "min"):
                    got, expected = got[:1], expected[:1]  # which of several equal elements is not specified
                for g, e in zip(got, expected):
                    compare(
                        to_numpy(g),
                        to_numpy(e),
                        {"float64": 1e-13, "float32": 2e-6, "bfloat16": 2e-2, "float16": 3e-3}[d.name],
                    )


@needs_torch
@pytest.mark.parametrize("descending", [False, True])
def test_sorting_is_stable_for_every_dtype(descending):
    import torch

    rng = np.random.default_rng(0)
    for d in ALL:
        a = rng.integers(0, 3, (4, 50)).astype(d.np)
        got = livegrad.sort(to_livegrad(a), dim=1, descending=descending, stable=True)
        expected = torch.sort(to_torch(a), dim=1, descending=descending, stable=True)
        compare(to_numpy(got[0]), to_numpy(expected[0]))
        np.testing.assert_array_equal(to_numpy(got[1]), to_numpy(expected[1]))


@needs_torch
def test_empty_reductions():
    import torch

    for name in (
        "sum",
        "prod",
        "mean",
        "var",
        "std",
        "amax",
        "argmax",
        "all",
        "any",
        "max",
        "min",
        "logsumexp",
        "norm",
        "median",
    ):
        for shape in ((0,), (0, 3), (3, 0)):
            for dim in (None, 0, 1):
                if dim is not None and dim >= len(shape):
                    continue
                args = () if dim is None else (dim,)
                if name == "logsumexp" and dim is None:
                    continue
                if name == "norm":
                    args = (2, *args)
                a = np.zeros(shape, np.float32)
                try:
                    expected = getattr(torch, name)(to_torch(a), *args)
                except (RuntimeError, IndexError):
                    with pytest.raises((RuntimeError, IndexError)):
                        getattr(livegrad, name)(to_livegrad(a), *args)
                    continue
                got = getattr(livegrad, name)(to_livegrad(a), *args)
                got, expected = (t[0] if isinstance(t, tuple) else t for t in (got, expected))
                assert tuple(got.shape) == tuple(expected.shape), (name, shape, dim)
                compare(to_numpy(got), to_numpy(expected))


@needs_torch
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "nansum", "cumsum", "cumprod", "softmax"])
def test_gradients_have_the_operands_dtype_where_the_results_is_another(name):
    import torch

    grads = []
    for lib in (torch, livegrad):
        x = lib.tensor([-1.25, 0.5, -1.0], dtype=lib.float16, requires_grad=True)
        made = getattr(x, name)(0, dtype=lib.float32)
        assert made.dtype is lib.float32
        made.sum().backward()
        assert x.grad.dtype is lib.float16
        grads.append(x.grad.tolist())
    np.testing.assert_allclose(grads[1], grads[0], rtol=1e-3, atol=1e-6)


@needs_torch
def test_covariance_of_one_row_has_no_dimensions():
    import torch

    row = np.array([[1.0, 2.0, 4.0]])
    assert livegrad.tensor(row).cov().shape == tuple(torch.tensor(row).cov().shape) == ()
    assert livegrad.tensor(row).corrcoef().item() == torch.tensor(row).corrcoef().item()
