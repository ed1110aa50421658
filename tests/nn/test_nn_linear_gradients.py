"""A Linear's three gradients, whatever memory the gradient of its result lies in."""

import numpy as np
import pytest

import livegrad
from livegrad import nn

# Gradients of the result, made from one of its shape.
LAYOUTS = {
    "contiguous": lambda g: g,
    "pending": lambda g: g * 2 + 1,
    "one number": lambda g: g.sum().expand(g.shape),
    "one row": lambda g: g.flatten(0, -2)[:1].expand(g.shape),
    "one column": lambda g: g[..., :1].expand(g.shape),
    "transposed": lambda g: g.permute(*reversed(range(g.dim()))).contiguous().permute(*reversed(range(g.dim()))),
    "pending and transposed": lambda g: g.permute(*reversed(range(g.dim()))).contiguous().permute(*reversed(range(g.dim()))) * 2,
}  # fmt: skip


@pytest.mark.parametrize("compiling", ["always", "never"])
@pytest.mark.parametrize("dtype", [livegrad.float32, livegrad.float64], ids=str)
@pytest.mark.parametrize("shape", [(3, 4), (5, 1), (2, 70, 33), (200, 300)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients(layout, shape, dtype, compiling):
    livegrad.manual_seed(0)
    with livegrad.compiling(compiling):
        layer = nn.Linear(6, shape[-1]).to(dtype)
        x = livegrad.randn(*shape[:-1], 6, dtype=dtype, requires_grad=True)
        g = livegrad.randn(*shape, dtype=dtype)
        exact = LAYOUTS[layout](g.double()).numpy().copy()
        layer(x).backward(LAYOUTS[layout](g))
    rows = exact.reshape(-1, shape[-1])
    bound = 1e-10 if dtype is livegrad.float64 else 2e-6 * (1 + np.abs(rows).sum())
    assert np.abs(x.grad.double().numpy() - exact @ layer.weight.detach().double().numpy()).max() < bound
    inputs = x.detach().double().numpy().reshape(-1, 6)
    assert np.abs(layer.weight.grad.double().numpy() - rows.T @ inputs).max() < bound
    assert np.abs(layer.bias.grad.double().numpy() - rows.sum(0)).max() < bound


@pytest.mark.parametrize("shape", [(0,), (2, 0), (3, 2, 0), (0, 0)], ids=str)
def test_no_features(shape):
    weight, bias = livegrad.zeros(4, 0, requires_grad=True), livegrad.ones(4, requires_grad=True)
    x = livegrad.zeros(*shape, requires_grad=True)
    y = nn.functional.linear(x, weight, bias)
    assert y.shape == (*shape[:-1], 4) and (y == 1).all()
    y.sum().backward()
    assert x.grad.shape == shape and weight.grad.shape == (4, 0)
    assert bias.grad.tolist() == [float(np.prod(shape[:-1], initial=1))] * 4
