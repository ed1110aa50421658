"""Operators on a few elements, which take ways of their own: the same as PyTorch's, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad

torch = pytest.importorskip("torch")

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
DTYPES = st.sampled_from(["float32", "float64", "int64", "int32", "float16"])
NUMBERS = [float("nan"), -0.0, 0.0, 1.0, -1.0, 2.0, float("inf")]


def same(made, expected):
    made, expected = np.asarray(made.tolist()), np.asarray(expected.tolist())
    assert made.shape == expected.shape
    assert np.array_equal(made, expected, equal_nan=made.dtype.kind == "f")


@st.composite
def tensors(draw):
    """A tensor of both libraries with a few elements, sometimes transposed."""
    shape, dtype = draw(SHAPES), draw(DTYPES)
    numbers = NUMBERS if "float" in dtype else [-1, 0, 1, 2]
    a = np.array([draw(st.sampled_from(numbers)) for _ in range(int(np.prod(shape)))], dtype).reshape(shape)
    pair = livegrad.tensor(a), torch.tensor(a)
    if len(shape) > 1 and draw(st.booleans()):
        pair = tuple(t.transpose(0, -1) for t in pair)
    return pair


@settings(max_examples=60, deadline=None)
@given(tensors(), st.data())
def test_places(pair, data):
    x, y = pair
    for name in ("argmax", "argmin"):
        same(getattr(x, name)(), getattr(y, name)())
        same(getattr(x, name)(keepdim=True), getattr(y, name)(keepdim=True))
    d = data.draw(st.integers(0, y.dim() - 1))
    n = y.shape[d]
    rows = data.draw(st.lists(st.integers(-y.shape[0], y.shape[0] - 1), min_size=1, max_size=5))
    same(x[livegrad.tensor(rows)], y[torch.tensor(rows)])
    at = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=5))
    same(x.index_select(d, livegrad.tensor(at)), y.index_select(d, torch.tensor(at)))
    if y.dim() > 1:
        pairs = data.draw(
            st.lists(st.tuples(st.integers(0, y.shape[0] - 1), st.integers(0, y.shape[1] - 1)), min_size=1)
        )
        i, j = zip(*pairs)
        same(x[livegrad.tensor(i), livegrad.tensor(j)], y[torch.tensor(i), torch.tensor(j)])
    if y.dtype.is_floating_point:
        for made, expected in zip(x.max(d), y.max(d)):
            same(made, expected)
    shape = [data.draw(st.integers(1, m)) for m in y.shape]
    index = np.array([data.draw(st.integers(0, n - 1)) for _ in range(int(np.prod(shape)))]).reshape(shape)
    same(x.gather(d, livegrad.tensor(index)), y.gather(d, torch.tensor(index)))


@settings(max_examples=60, deadline=None)
@given(tensors(), st.data())
def test_copies(pair, data):
    x, y = pair
    d = data.draw(st.integers(0, y.dim() - 1))
    same(livegrad.cat([x, x.flip(0)], d), torch.cat([y, y.flip(0)], d))
    assert livegrad.equal(x, x.clone()) == torch.equal(y, y.clone())
    p, q = x.clone(), y.clone()
    p.copy_(x.flip(0))
    q.copy_(y.flip(0))
    same(p, q)
    p[0], q[0] = 3, 3
    same(p, q)
    same(p.fill_(2), q.fill_(2))
    same(p.zero_(), q.zero_())
    same(x, y)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 17), min_size=1, max_size=6))
def test_draws_are_one_stream(seed, sizes):
    """However few are drawn at once, and however many in between, the numbers are PyTorch's."""
    for m in (livegrad, torch):
        m.manual_seed(seed)
    for n in sizes:
        for dtype in ("float32", "float64"):
            made = [
                (
                    m.randn(n, dtype=getattr(m, dtype)),
                    m.rand(n, dtype=getattr(m, dtype)),
                    m.randint(-3, 9, (n,)),
                    m.empty(n).normal_(),
                    m.empty(n).uniform_(),
                )
                for m in (livegrad, torch)
            ]
            for a, b in zip(*made):
                same(a, b)


@settings(max_examples=100, deadline=None)
@given(st.integers(-900, 900), st.integers(-900, 900), st.integers(2, 17))
def test_linspace(a, b, steps):
    start, end = a / 7, b / 7
    same(livegrad.linspace(start, end, steps), torch.linspace(start, end, steps))


def test_products_with_vectors():
    a, v = np.arange(12.0, dtype="f4").reshape(3, 4), np.arange(16.0, dtype="f4")
    for m in (livegrad, torch):
        x, y = m.tensor(a), m.tensor(v)
        found = [x @ y[::4], y[:3] @ x, x.t() @ y[1:4], y[::2] @ y[8:], x[:0] @ y[:4], y[:0] @ y[:0]]
        if m is livegrad:
            made = found
    for left, right in zip(made, found):
        same(left, right)


def test_a_vector_that_is_read_as_a_column():
    """What feeds a row program over a wider shape is read by the names that it has there, not in memory's order."""
    a, w = np.random.default_rng(0).normal(size=(4, 4)), np.array([1.0, 10.0, 100.0, 1000.0])
    grads = []
    for m in (livegrad, torch):
        x = m.tensor(a, requires_grad=True)
        scale = m.tensor(w)
        (x.var(1) * scale).sum().backward()
        grads.append(x.grad.numpy())
    np.testing.assert_allclose(*grads, rtol=1e-12)
