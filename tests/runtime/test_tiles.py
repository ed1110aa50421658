"""Matrix products on the tile unit: accuracy in every layout, numbers that are not for it, half types."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import livegrad
from livegrad.codegen import tiles as writer
from livegrad.llvm import machine
from livegrad.nn import functional as F
from livegrad.runtime import gemm, pool, tiles

needs_unit = pytest.mark.skipif(not tiles.available(), reason="this machine has no tile unit (AMX), or refuses it")
needs_compiler = pytest.mark.skipif(not machine.compiler_available(), reason="llvmlite is missing")
KINDS = ["f32", "f16", "bf16"]


@pytest.fixture
def used(monkeypatch):
    """Results of the calls: whether the unit did the work. They are known where nothing is put off."""
    found, original = [], tiles.product
    pool.close_queue()

    def product(*args, **options):
        found.append(original(*args, **options))
        return found[-1]

    monkeypatch.setattr(tiles, "product", product)
    yield found
    pool.open_queue()


def operand(rng, *shape, turned=False, scale=1.0):
    """A float32 array, laid out as its transpose if `turned`."""
    a = (rng.standard_normal(shape) * scale).astype(np.float32)
    return np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2) if turned else a


def worst(made, a, b):
    """The largest error in units of a float32's rounding of the sum of absolute products."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.max(np.abs(made - a @ b) / (np.abs(a) @ np.abs(b))) * 2**24


@needs_unit
@settings(max_examples=40, deadline=None)
@given(st.integers(150, 400), st.integers(150, 400), st.integers(48, 700), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_no_less_accurate_than_the_library(m, n, k, turned, seed):
    assume(tiles.worthwhile("f32", m, n, k))
    rng = np.random.default_rng(seed)
    a = operand(rng, m, k, turned=bool(turned & 1), scale=10.0 ** rng.integers(-15, 15))
    b = operand(rng, k, n, turned=bool(turned & 2), scale=10.0 ** rng.integers(-15, 15))
    made = (livegrad.from_numpy(a) @ livegrad.from_numpy(b)).numpy()
    assert worst(made, a, b) < max(6.0, worst(a @ b, a, b))


@needs_unit
@pytest.mark.parametrize("turned_a", [False, True])
@pytest.mark.parametrize("turned_b", [False, True])
@pytest.mark.parametrize("size", [(256, 256, 256), (333, 197, 285), (120, 4500, 64), (4500, 120, 60), (150, 500, 2000)])
def test_layouts_and_bias(size, turned_a, turned_b, used):
    m, n, k = size
    rng = np.random.default_rng(0)
    a, b = operand(rng, m, k, turned=turned_a), operand(rng, k, n, turned=turned_b)
    bias = rng.standard_normal(n).astype(np.float32)
    assert worst((livegrad.from_numpy(a) @ livegrad.from_numpy(b)).numpy(), a, b) < 4
    assert used[-1]
    if not turned_a:
        made = F.linear(livegrad.from_numpy(a), livegrad.from_numpy(b).t(), livegrad.from_numpy(bias)).numpy()
        np.testing.assert_allclose(made, a.astype(np.float64) @ b + bias, rtol=0, atol=2e-5 * k**0.5)
        assert used[-1]


@needs_unit
@pytest.mark.parametrize("k", [768, 8192, 8193])
def test_few_uses_of_what_is_packed_are_left_to_the_kernel_for_vectors_where_it_takes_them(k, used):
    a, b = livegrad.ones(128, k), livegrad.ones(k, 128)
    assert (a @ b == k).all()
    assert used in ([], [False]) if gemm.worthwhile(128, 128, k) else used == [True]


@needs_unit
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("batch", [3, 100])
def test_batches(batch, shared, used):
    rng = np.random.default_rng(0)
    a, b = operand(rng, batch, 2, 190, 90), operand(rng, *(() if shared else (batch, 2)), 90, 260)
    made = (livegrad.from_numpy(a) @ livegrad.from_numpy(b)).numpy()
    assert worst(made, a, b) < 4
    assert used and all(used)


@needs_unit
@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("left", [False, True])
def test_numbers_that_are_not_for_it(number, left, used):
    rng = np.random.default_rng(0)
    a, b = operand(rng, 320, 260), operand(rng, 260, 320)
    (a if left else b)[7, 9] = number
    made = (livegrad.from_numpy(a) @ livegrad.from_numpy(b)).numpy()
    assert used == [False]
    pool.open_queue()
    try:
        later = (livegrad.tensor(a) @ livegrad.tensor(b)).numpy()
    finally:
        pool.close_queue()
    np.testing.assert_array_equal(made, later)
    with np.errstate(all="ignore"):
        exact = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(np.isfinite(made), np.isfinite(exact))
    np.testing.assert_array_equal(np.isnan(made), np.isnan(exact))


@needs_unit
@pytest.mark.parametrize("turned", [False, True])
def test_a_line_of_tiny_numbers_keeps_its_accuracy(turned, used):
    rng = np.random.default_rng(0)
    a, b = operand(rng, 320, 260, turned=turned), operand(rng, 260, 320)
    a[319] *= 1e-33
    a[3] = 0
    made = (livegrad.from_numpy(a) @ livegrad.from_numpy(b * np.float32(1e30))).numpy()
    exact = a.astype(np.float64) @ (b * np.float32(1e30)).astype(np.float64)
    np.testing.assert_allclose(made[319], exact[319], rtol=1e-4)
    assert used == [False]


@needs_unit
def test_sums_do_not_depend_on_threads():
    rng = np.random.default_rng(0)
    a, b = (livegrad.from_numpy(operand(rng, 700, 700)) for _ in range(2))
    before, results = livegrad.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            livegrad.set_num_threads(threads)
            results.append((a @ b).numpy())
    finally:
        livegrad.set_num_threads(before)
    assert (results[0] == results[1]).all() and (results[0] == results[2]).all()


@needs_unit
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "shapes", [((300, 400), (400, 200)), ((6, 200, 100), (6, 100, 150)), ((2, 9, 64, 128), (128, 64))]
)
def test_half_types(dtype, shapes, used):
    rng = np.random.default_rng(0)
    x, y = (livegrad.from_numpy(operand(rng, *shape)).to(getattr(livegrad, dtype)) for shape in shapes)
    made = x @ y
    assert used == [True] and made.dtype is x.dtype
    exact = x.double().numpy() @ y.double().numpy()
    # The result's rounding, and float32's of the sum.
    step = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    np.testing.assert_allclose(made.double().numpy(), exact, rtol=step, atol=1e-4)


@needs_compiler
@pytest.mark.parametrize("kind", KINDS)
def test_every_kernel_is_valid(kind):
    import llvmlite.binding as llvm

    texts = [write(kind, along) for write in (writer.pack_source, writer.source) for along in (False, True)]
    for text in texts:
        llvm.parse_assembly(text).verify()
