"""3 x 3 convolutions in fewer multiplications: results and gradients against float64, limits, and what is not finite."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
import livegrad.nn.functional as F
from livegrad.llvm import machine
from livegrad.runtime import convolution_numpy, winograd, winograd_weight

pytestmark = pytest.mark.skipif(machine.host_vector_bytes() < 32, reason="vectors of 32 bytes are needed")
rng = np.random.default_rng(9)


@pytest.fixture(autouse=True)
def compiled():
    with livegrad.compiling("always"):
        yield


@pytest.fixture
def taken():
    """How many problems are done this way: convolutions and gradients by the input, and gradients by the weight."""
    winograd._plans.clear()
    winograd_weight._plans.clear()
    return lambda: tuple(sum(plan is not None for _, plan in m._plans.items()) for m in (winograd, winograd_weight))


def exact(x, w, b, g, padding, groups):
    """The result, and the gradients by input and weight, in float64."""
    x, w, g = (v.astype(np.float64) for v in (x, w, g))
    options = ((1, 1), padding, (1, 1), groups)
    y = convolution_numpy.forward(x, w, g.shape[2:], *options) + b.reshape(1, -1, 1, 1)
    dx = convolution_numpy.by_input(g, w, x.shape[2:], *options)
    return y, dx, convolution_numpy.by_weight(x, g, (3, 3), *options)


def data(shape, outputs, padding, groups, dtype):
    n, c, h, w = shape
    x = rng.standard_normal(shape).astype(dtype)
    weight = (rng.standard_normal((outputs, c // groups, 3, 3)) / np.sqrt(9 * c // groups)).astype(dtype)
    g = rng.standard_normal((n, outputs, h + 2 * padding[0] - 2, w + 2 * padding[1] - 2)).astype(dtype)
    return x, weight, rng.standard_normal(outputs).astype(dtype), g


def ours(x, weight, bias, g, padding, groups):
    x, weight, bias = (livegrad.tensor(v, requires_grad=True) for v in (x, weight, bias))
    y = F.conv2d(x, weight, bias, padding=padding, groups=groups)
    y.backward(livegrad.tensor(g))
    return y.detach().numpy(), x.grad.numpy(), weight.grad.numpy()


def close(found, wanted, dtype):
    scale = np.sqrt((wanted**2).mean()) + 1e-30
    assert found.dtype == dtype and found.shape == wanted.shape
    assert np.abs(found - wanted).max() / scale < (3e-5 if dtype == np.float32 else 1e-12)


SHAPES = [
    ((4, 64, 32, 32), 64, (1, 1), 1),  # rows of tiles as long as vectors
    ((16, 96, 14, 14), 160, (1, 1), 1),  # several parts of outputs, rows of tiles across work items
    ((9, 48, 7, 9), 64, (1, 1), 1),  # odd sizes
    ((3, 64, 13, 11), 96, (0, 0), 2),
    ((2, 40, 21, 35), 32, (2, 1), 1),
    ((5, 33, 15, 6), 47, (0, 1), 1),  # blocks with missing outputs, channels with a rest
    ((1, 32, 40, 3), 64, (3, 4), 1),  # more padding than window
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, outputs, padding, groups", SHAPES)
def test_results_and_gradients(shape, outputs, padding, groups, dtype, taken):
    given = data(shape, outputs, padding, groups, dtype)
    for found, wanted in zip(ours(*given, padding, groups), exact(*given, padding, groups)):
        close(found, wanted, dtype)
    assert taken()[0] >= 1


def test_all_three_are_done_this_way(taken):
    given = data((8, 64, 20, 20), 64, (1, 1), 1, np.float32)
    ours(*given, (1, 1), 1)
    assert taken() == (2, 1)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 2), st.integers(16, 72), st.integers(16, 72), st.integers(3, 36),
    st.integers(3, 36), st.integers(0, 3), st.integers(0, 3),
)  # fmt: skip
def test_random_sizes(images, groups, channels, outputs, height, width, top, left):
    shape = (images, channels * groups, height, width)
    drawn = data(shape, outputs * groups, (top, left), groups, np.float32)
    for found, wanted in zip(ours(*drawn, (top, left), groups), exact(*drawn, (top, left), groups)):
        close(found, wanted, np.float32)


@pytest.mark.parametrize("make", ["normal", "positive", "offset", "heavy"])
def test_errors_are_no_larger_than_pytorchs(make, taken):
    torch = pytest.importorskip("torch")
    x, weight, bias, g = data((4, 128, 24, 24), 64, (1, 1), 1, np.float32)
    x = {"normal": x, "positive": np.abs(x), "offset": x / 10 + 10, "heavy": x**5}[make].astype(np.float32)
    inputs = [torch.tensor(v, requires_grad=True) for v in (x, weight, bias)]
    y = torch.nn.functional.conv2d(*inputs, padding=1)
    y.backward(torch.tensor(g))
    theirs = [v.detach().numpy() for v in (y, inputs[0].grad, inputs[1].grad)]
    wanted = exact(x, weight, bias, g, (1, 1), 1)
    for a, b, r in zip(ours(x, weight, bias, g, (1, 1), 1), theirs, wanted):
        assert np.sqrt(((a - r) ** 2).mean()) < 1.25 * np.sqrt(((b - r) ** 2).mean())
    assert taken() == (2, 1)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 2e38])
def test_what_is_not_finite_stays_where_it_belongs(value, taken):
    x, weight, bias, g = data((2, 32, 24, 24), 32, (1, 1), 1, np.float32)
    x[1, 3, 10, 11] = value
    found = ours(x, weight, bias, g, (1, 1), 1)
    with np.errstate(all="ignore"):
        wanted = [v.astype(np.float32) for v in exact(x, weight, bias, g, (1, 1), 1)]
    for a, b in zip(found, wanted):
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
    y, r = found[0], wanted[0]
    y, r = (np.delete(v, np.s_[8:15], 2) for v in (y, r))
    assert np.abs(y - r).max() < 1e-4
    assert taken() == (2, 1)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_do_not_depend_on_the_number_of_threads(threads):
    given = data((5, 80, 19, 22), 144, (1, 1), 1, np.float32)
    wanted = ours(*given, (1, 1), 1)
    before = livegrad.get_num_threads()
    livegrad.set_num_threads(threads)
    try:
        found = ours(*given, (1, 1), 1)
    finally:
        livegrad.set_num_threads(before)
    for a, b in zip(found, wanted):
        np.testing.assert_array_equal(a, b)


def test_rows_and_planes_may_lie_apart(taken):
    x, weight, bias, g = data((4, 32, 24, 24), 48, (1, 1), 1, np.float32)
    wide = np.zeros((4, 64, 30, 40), np.float32)
    wide[:, ::2, 2:26, 7:31] = x
    turned = np.ascontiguousarray(weight.transpose(1, 3, 2, 0))
    a = livegrad.tensor(wide)[:, ::2, 2:26, 7:31]
    w = livegrad.tensor(turned).permute(3, 0, 2, 1)
    close(F.conv2d(a, w, livegrad.tensor(bias), padding=1).numpy(), exact(x, weight, bias, g, (1, 1), 1)[0], np.float32)
    assert taken() == (1, 0)


@pytest.mark.parametrize(
    "shape, weight, options",
    [
        ((2, 64, 24, 24), (64, 64, 3, 3), {"stride": 2, "padding": 1}),
        ((2, 64, 24, 24), (64, 64, 3, 3), {"dilation": 2}),
        ((2, 64, 24, 24), (64, 64, 3, 1), {}),
        ((2, 64, 24, 24), (64, 64, 5, 5), {}),
        ((2, 64, 24, 24), (64, 1, 3, 3), {"groups": 64}),
        ((2, 2, 24, 24), (2, 2, 3, 3), {}),
        ((1, 64, 4, 4), (64, 64, 3, 3), {}),  # too few tiles for what the weight takes
    ],
)
def test_others_are_done_directly(shape, weight, options, taken):
    x = livegrad.tensor(rng.standard_normal(shape).astype(np.float32))
    F.conv2d(x, livegrad.tensor(rng.standard_normal(weight).astype(np.float32)), **options).sum().item()
    assert taken() == (0, 0)
