"""Distances between all pairs of many points: values and gradients, whichever set is the larger."""

import math

import numpy as np
import pytest

import livegrad
from livegrad.autograd.gradcheck import gradcheck, gradgradcheck

SHAPES = [((30, 4), (40, 4)), ((2, 3, 60, 5), (3, 33, 5)), ((100, 1), (26, 1)), ((27, 3), (27, 3)), ((5, 3), (4, 3))]


def distances(a, b, p):
    apart = np.abs(a[..., :, None, :] - b[..., None, :, :])
    if p == math.inf:
        return apart.max(-1)
    return (apart != 0).sum(-1) if p == 0 else (apart**p).sum(-1) ** (1 / p)


@pytest.mark.parametrize("mode", ["always", "never"])
@pytest.mark.parametrize("p", [0, 0.5, 1, 2, 3, math.inf])
@pytest.mark.parametrize("first, second", SHAPES)
def test_values(first, second, p, mode):
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal(first), rng.standard_normal(second)
    with livegrad.compiling(mode):
        found = livegrad.cdist(livegrad.tensor(a), livegrad.tensor(b), p)
        np.testing.assert_allclose(found.numpy(), distances(a, b, p), rtol=1e-12)


@pytest.mark.parametrize("p", [0.5, 1, 2, 3, math.inf])
@pytest.mark.parametrize("first, second", SHAPES)
def test_gradients_are_pytorchs(first, second, p):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    drawn = [rng.standard_normal(s) for s in (first, second)]
    found = []
    for m in (livegrad, torch):
        points = [m.tensor(v, requires_grad=True) for v in drawn]
        made = m.cdist(*points, p)
        (made * m.arange(made.numel(), dtype=m.float64).reshape(made.shape).sin()).sum().backward()
        found.append([v.grad.numpy() for v in points])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


def test_gradients_twice():
    a = livegrad.randn(27, 3, dtype=livegrad.float64, requires_grad=True)
    b = livegrad.randn(3, 3, dtype=livegrad.float64, requires_grad=True)
    assert livegrad.cdist(a, b).grad_fn.name() == "EuclideanDistBackward0"
    assert gradcheck(livegrad.cdist, (a, b)) and gradgradcheck(livegrad.cdist, (a, b))


def test_points_are_no_distance_from_themselves():
    x = livegrad.randn(40, 64) + 100
    x.requires_grad_()
    made = livegrad.cdist(x, x)
    assert made.diagonal().abs().max().item() == 0
    made.sum().backward()
    assert x.grad.isfinite().all()


def test_nothing_to_measure():
    x = livegrad.zeros(0, 3, requires_grad=True)
    assert livegrad.cdist(x, livegrad.zeros(30, 3)).shape == (0, 30)
    assert livegrad.cdist(livegrad.zeros(30, 0), livegrad.zeros(26, 0)).tolist() == [[0.0] * 26] * 30


def test_batches():
    a, b = livegrad.randn(4, 30, 3), livegrad.randn(4, 27, 3)
    whole = livegrad.func.vmap(livegrad.cdist)(a, b)
    for k in range(4):
        np.testing.assert_array_equal(whole[k].numpy(), livegrad.cdist(a[k], b[k]).numpy())
