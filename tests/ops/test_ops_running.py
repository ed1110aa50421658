"""Running sums and products over random layouts against NumPy in float64; their precision and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_support import arranged, mode, to_livegrad, to_numpy
from test_ops_rows import SETTINGS, layouts

import livegrad
from livegrad import dtypes

KINDS = [dtypes.float32, dtypes.float64, dtypes.float16, dtypes.int32, dtypes.uint8, dtypes.bool_]


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@settings(max_examples=60, **SETTINGS)
@given(layouts(), st.sampled_from(KINDS))
def test_axes_and_layouts(name, layout, d):
    shape, order, step, spread, dims, seed = layout
    rng = np.random.default_rng(seed)
    near_one = name == "cumprod" and d.is_floating_point
    a = (rng.uniform(0.98, 1.02, shape) if near_one else rng.integers(0, 3, shape)).astype(d.np)
    for how in ("deferred", "deferred reference"):
        with mode(how):
            x, b = arranged(a, order, step, spread)
            got = getattr(x, name)(dims[0])
            exact = getattr(np, name)(b, axis=dims[0], dtype=np.float64 if d.is_floating_point else np.int64)
            assert got.dtype is (d if d.is_floating_point else dtypes.int64)
            rtol = {"float32": 1e-6, "float64": 1e-13, "float16": 1e-3}.get(d.name, 0)
            np.testing.assert_allclose(to_numpy(got).astype(exact.dtype), exact, rtol)
            if d.is_floating_point:  # with a prologue of its own
                double = getattr(x * 1.0, name)(dims[0])
                np.testing.assert_array_equal(to_numpy(double), to_numpy(got))


def test_rounding_errors_do_not_pile_up():
    x = livegrad.full((3, 1_000_000), 0.1)
    exact = np.cumsum(x.numpy().astype(np.float64), 1)
    np.testing.assert_allclose(x.cumsum(1).numpy(), exact, 1e-7)
    np.testing.assert_allclose(x.t().cumsum(0).t().numpy(), exact, 1e-7)


@pytest.mark.parametrize("shape, dim", [((5, 37), 1), ((37, 5), 0), ((3, 20, 9), 1)])
@pytest.mark.parametrize("how", ["always", "never"])
def test_gradient_is_the_running_sum_from_the_end(shape, dim, how):
    g = np.random.default_rng(0).normal(size=shape)
    x = to_livegrad(np.zeros(shape), requires_grad=True)
    with livegrad.compiling(how):
        (x.cumsum(dim) * to_livegrad(g)).sum().backward()
    np.testing.assert_allclose(to_numpy(x.grad), np.flip(np.cumsum(np.flip(g, dim), dim), dim), 1e-12)


def test_same_bits_with_any_number_of_threads():
    x = livegrad.randn(64, 1000)
    before = livegrad.get_num_threads()
    made = []
    try:
        with livegrad.compiling("always"):
            for threads in (1, 2, 3):
                livegrad.set_num_threads(threads)
                made.append((x.cumsum(1).numpy().tobytes(), x.cumsum(0).numpy().tobytes()))
    finally:
        livegrad.set_num_threads(before)
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("data", [[2.0, 0.0, 4.0], [0.0, 3.0, 0.0, 2.0], [1.5, -2.0, 0.5, 3.0]])
def test_second_derivative_of_cumprod_where_elements_are_zero(data):
    torch = pytest.importorskip("torch")
    found = []
    for lib in (torch, livegrad):
        x = lib.tensor(data, dtype=lib.float64, requires_grad=True)
        w = lib.arange(1.0, len(data) + 1, dtype=lib.float64)
        (g,) = lib.autograd.grad((x.cumprod(0) * w).sum(), x, create_graph=True)
        (h,) = lib.autograd.grad((g * g * w).sum(), x)
        found.append((g.tolist(), h.tolist()))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12, atol=1e-12)


def test_gradient_of_logcumsumexp_depends_linearly_on_weights_that_are_zero():
    x = livegrad.tensor([1.0, -2.0, 0.5], dtype=livegrad.float64, requires_grad=True)
    weights = livegrad.zeros(3, dtype=livegrad.float64, requires_grad=True)
    (g,) = livegrad.autograd.grad((x.logcumsumexp(0) * weights).sum(), x, create_graph=True)
    towards = np.array([0.5, -1.0, 2.0])
    (found,) = livegrad.autograd.grad((g * livegrad.tensor(towards)).sum(), weights)
    exps = np.exp(x.detach().numpy())
    np.testing.assert_allclose(to_numpy(found), np.cumsum(exps * towards) / np.cumsum(exps), 1e-12)


@pytest.mark.parametrize("name", ["cummax", "cummin"])
@pytest.mark.parametrize("how", ["always", "never"])
@pytest.mark.parametrize("d", [*KINDS, dtypes.int8, dtypes.int64])
@pytest.mark.parametrize("shape, dim", [((7, 33), 1), ((4, 9), 1), ((33, 7), 0), ((3, 20, 19), 1), ((2, 1, 3), 1)])
def test_running_extremes_and_their_places(name, how, d, shape, dim):
    rng = np.random.default_rng(1)
    a = rng.integers(-3 if d.is_floating_point else 0, 4, shape).astype(d.np)
    if d.is_floating_point:
        a[rng.random(shape) < 0.05] = np.nan
        a[rng.random(shape) < 0.1] = -np.inf
    with livegrad.compiling(how):
        x = to_livegrad(a, requires_grad=d.is_floating_point)
        values, places = getattr(x, name)(dim)
        if d.is_floating_point:
            values.sum().backward()
    wide = a.astype(np.float64)
    best = (np.maximum if name == "cummax" else np.minimum).accumulate(wide, dim)
    np.testing.assert_array_equal(to_numpy(values).astype(np.float64), best)
    steps = np.arange(shape[dim]).reshape([-1 if k == dim else 1 for k in range(len(shape))])
    expected = np.maximum.accumulate(np.where((wide == best) | np.isnan(wide), steps, 0), dim)
    np.testing.assert_array_equal(to_numpy(places), expected)
    if d.is_floating_point:
        counts = np.zeros(shape)
        np.add.at(counts, tuple(expected if k == dim else i for k, i in enumerate(np.indices(shape))), 1)
        np.testing.assert_array_equal(to_numpy(x.grad).astype(np.float64), counts)


@pytest.mark.parametrize("shape, dim", [((130, 500), 1), ((500, 130), 0)])
def test_running_extremes_by_any_number_of_threads(shape, dim):
    x = livegrad.randn(shape)
    before = livegrad.get_num_threads()
    try:
        livegrad.set_num_threads(1)
        values, places = x.cummax(dim)
        livegrad.set_num_threads(3)
        again = x.cummax(dim)
    finally:
        livegrad.set_num_threads(before)
    assert livegrad.equal(values, again.values) and livegrad.equal(places, again.indices)
