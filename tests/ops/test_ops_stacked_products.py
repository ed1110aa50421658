"""Products of stacks of matrices, however they lie in memory: values against float64, and gradients of attention."""

import itertools

import numpy as np
import pytest

import livegrad

SIZES = [(1, 5, 3), (4, 4, 4), (7, 33, 9), (16, 2, 40), (20, 18, 16), (3, 70, 17), (40, 24, 300), (96, 80, 72)]


def permuted(x, order):
    """The same numbers, laid out in memory in another order of dimensions."""
    inverse = np.argsort(order)
    return livegrad.from_numpy(np.ascontiguousarray(x.transpose(order))).permute(*inverse.tolist())


def close(made, a, b):
    wide = np.matmul(a.astype(np.float64), b.astype(np.float64))
    scale = np.matmul(abs(a).astype(np.float64), abs(b).astype(np.float64)) + 1e-6
    tolerance = 2e-6 if a.dtype == np.float32 else 1e-14
    assert made.shape == wide.shape
    assert (abs(made.numpy() - wide) / scale).max(initial=0) < tolerance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", SIZES)
def test_every_order_in_memory(sizes, dtype):
    m, n, k = sizes
    r = np.random.default_rng(m)
    a = r.standard_normal((2, 3, m, k)).astype(dtype)
    b = r.standard_normal((2, 3, k, n)).astype(dtype)
    orders = list(itertools.permutations(range(4)))
    for number, order in enumerate(orders):
        other = orders[(number * 7 + 3) % len(orders)]
        with livegrad.compiling("always"):
            close(permuted(a, order) @ permuted(b, other), a, b)
        with livegrad.compiling("never"):
            close(permuted(a, order) @ permuted(b, other), a, b)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "leads",
    [
        ((5,), (1,)),
        ((1,), (5,)),
        ((4, 3), (3,)),
        ((4, 1), (1, 3)),
        ((2, 1, 3), (1, 4, 1)),
        ((2, 3, 1, 2), (1, 3, 2, 1)),
        ((3, 2), (3, 1)),
        ((0, 2), (1, 2)),
        ((2, 0), (2, 1)),
    ],
)
def test_broadcast_stacks(leads, sizes):
    m, n, k = sizes
    r = np.random.default_rng(n)
    a = r.standard_normal((*leads[0], m, k)).astype(np.float32)
    b = r.standard_normal((*leads[1], k, n)).astype(np.float32)
    with livegrad.compiling("always"):
        close(livegrad.from_numpy(a) @ livegrad.from_numpy(b), a, b)
        turned = livegrad.from_numpy(np.ascontiguousarray(b.swapaxes(-1, -2))).mT
        close(livegrad.from_numpy(a) @ turned, a, b)


def test_odd_strides():
    r = np.random.default_rng(0)
    a = r.standard_normal((6, 8, 10)).astype(np.float32)
    b = r.standard_normal((6, 20, 14)).astype(np.float32)
    x, y = livegrad.from_numpy(a), livegrad.from_numpy(b)
    with livegrad.compiling("always"):
        close(x[::2, ::3] @ y[1::2, ::2, ::2], a[::2, ::3], b[1::2, ::2, ::2])
        close(x[:, :, ::2] @ y[:, 5:10], a[:, :, ::2], b[:, 5:10])
        close(x[:, :1].expand(6, 4, 10) @ y[:, :10], np.repeat(a[:, :1], 4, 1), b[:, :10])
        close(x @ y[:, :1].expand(6, 10, 14), a, np.repeat(b[:, :1], 10, 1))
        close(x.flip(0) @ y[:, ::2], a[::-1], b[:, ::2])


@pytest.mark.parametrize("sizes", [(2, 3, 5, 4), (4, 4, 40, 8), (1, 2, 64, 16)])
def test_attention_written_out(sizes):
    torch = pytest.importorskip("torch")
    batch, heads, length, width = sizes
    r = np.random.default_rng(length)
    x = r.standard_normal((batch, length, 3 * heads * width)).astype(np.float32)
    found = []
    for m in (torch, livegrad):
        given = m.tensor(x.tolist(), requires_grad=True)
        q, k, v = (t.view(batch, length, heads, width).transpose(1, 2) for t in given.split(heads * width, dim=2))
        weights = ((q @ k.transpose(-2, -1)) * width**-0.5).softmax(-1)
        made = (weights @ v).transpose(1, 2).reshape(batch, length, heads * width)
        (made * made.tanh()).sum().backward()
        found.append((made.detach().numpy(), given.grad.numpy()))
    for ours, theirs in zip(found[1], found[0]):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)
