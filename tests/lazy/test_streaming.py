"""Large results are written past the caches: the same numbers, wherever rows of the result begin in memory."""

import numpy as np
import pytest

import livegrad
from livegrad.lazy import plans
from livegrad.llvm import machine

pytestmark = pytest.mark.skipif(not machine.compiler_available(), reason="llvmlite is not installed")

SHAPES = [(1, 4099), (2, 3, 517), (2, 600, 3)]


@pytest.fixture(autouse=True)
def small_results_are_large(monkeypatch):
    plans.MAP_PLANS.clear()
    monkeypatch.setattr(plans, "STREAM_BYTES", 1 << 10)
    yield
    plans.MAP_PLANS.clear()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_results_are_the_same(shape, dtype):
    data = np.random.default_rng(0).integers(-3, 4, shape)
    x, column = livegrad.tensor(data).to(getattr(livegrad, dtype)), livegrad.tensor(data[..., :1])
    column = column.to(getattr(livegrad, dtype))
    a, c = data.astype(dtype), data[..., :1].astype(dtype)
    with livegrad.compiling("always"):
        found = [x + column, x * column + column, x * 2 + 1]
        livegrad.eval(*found)
    for value, expected in zip(found, [a + c, a * c + c, a * 2 + 1]):
        np.testing.assert_array_equal(value.numpy(), expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_functions_are_the_same(shape):
    a = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    x, column = livegrad.tensor(a), livegrad.tensor(a[..., :1].copy())
    with livegrad.compiling("always"):
        found = [(x + column).tanh(), x[..., 1::2].exp() * column, x.tanh()]
        livegrad.eval(*found)
    for value, expected in zip(found, [np.tanh(a + a[..., :1]), np.exp(a[..., 1::2]) * a[..., :1], np.tanh(a)]):
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-6, atol=1e-7)


def test_several_results_of_one_kernel():
    a = np.random.default_rng(2).normal(size=(7, 1033)).astype(np.float32)
    x, column = livegrad.tensor(a), livegrad.tensor(a[:, :1].copy())
    with livegrad.compiling("always"):
        total = x + column
        twice = total * 2
        positive = twice > 0  # of another size: written through the caches
        livegrad.eval(twice)
        livegrad.eval(positive)
    np.testing.assert_array_equal(total.numpy(), a + a[:, :1])
    np.testing.assert_array_equal(twice.numpy(), (a + a[:, :1]) * 2)
    np.testing.assert_array_equal(positive.numpy(), (a + a[:, :1]) * 2 > 0)
