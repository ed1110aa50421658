"""What a reduction reads and others will read as well is written by its kernel, where little work makes it."""

from __future__ import annotations

import numpy as np
import pytest

import livegrad
from livegrad import dtypes
from livegrad.lazy.reduce import reduce_and_keep

SHAPES = [(1, 1), (1, 5), (128, 1), (64, 64), (300, 7), (7, 300), (257, 33), (40, 3000), (770, 130)]


@pytest.mark.parametrize("mode", ["always", "never", "auto"])
@pytest.mark.parametrize("dtype", [livegrad.float32, livegrad.float64])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_both_results(shape, axis, dtype, mode):
    rng = np.random.default_rng(0)
    a, row = rng.normal(size=shape), rng.normal(size=shape[1])
    with livegrad.compiling(mode):
        x, y = livegrad.tensor(a, dtype=dtype), livegrad.tensor(row, dtype=dtype)
        for made, expected in (((x * y).sin(), np.sin(a * row)), ((x * 2).reshape(shape[::-1]), 2 * a)):
            v = made._value()
            for name in ("sum", "mean"):
                total = reduce_and_keep(v, name, (axis,), dtypes.BY_NAME[str(dtype).removeprefix("torch.")])
                assert v.array is not None
                expected = expected.reshape(v.shape)
                np.testing.assert_allclose(v.native(), expected, rtol=1e-5, atol=1e-6)
                np.testing.assert_allclose(total.native(), getattr(expected, name)(axis), rtol=1e-4, atol=1e-4)
                v = (made * 1)._value()


def test_large_ones_too(launches):
    """What is read by both is written by the launch that adds up parts, of which a second one makes the whole."""
    x = livegrad.linspace(-2, 2, 600 * 150, dtype=livegrad.float64).reshape(4, 150, 150)
    expected = np.tanh(np.linspace(-2, 2, 600 * 150).reshape(4, 150, 150))
    with livegrad.compiling("always"):
        made = x.tanh()
        v = made._value()
        launches.clear()
        total = reduce_and_keep(v, "sum", (0, 1), dtypes.float64)
    assert [names for names, *_ in launches] == ["sum", "tanh sum"]  # in the order in which they end
    np.testing.assert_allclose(v.native(), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(total.native(), expected.sum((0, 1)), rtol=1e-12, atol=1e-11)


def test_gradients_of_a_linear_layer_take_one_launch_beside_the_products(launches):
    model = livegrad.nn.Sequential(livegrad.nn.Linear(8, 4), livegrad.nn.Tanh(), livegrad.nn.Linear(4, 2))
    with livegrad.compiling("always"):
        loss = model(livegrad.ones(16, 8)).sum()
        launches.clear()
        loss.backward()
    assert [names for names, *_ in launches] == ["expand sum", "tanh_grad_input sum"]
    assert model[2].bias.grad.tolist() == [16.0, 16.0]
