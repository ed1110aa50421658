"""Distances between the rows of one matrix, and a lazy layer's bias, against PyTorch."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")
ROWS = np.random.default_rng(0).normal(size=(5, 3))


@pytest.mark.parametrize("p", [0, 1, 1.5, 2, 3, float("inf")])
def test_pdist_and_its_gradient(p):
    made = []
    for lib in (livegrad, torch):
        x = lib.tensor(ROWS, requires_grad=True)
        y = lib.nn.functional.pdist(x, p)
        (y * lib.arange(1.0, 11.0, dtype=lib.float64)).sum().backward()
        made.append((y.detach().numpy(), x.grad.numpy()))
    for mine, theirs in zip(*made, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (2, 0), (2, 3)])
def test_pdist_of_equal_and_of_few_rows(shape):
    x = livegrad.ones(shape, requires_grad=True)
    y = livegrad.pdist(x)
    assert tuple(y.shape) == tuple(torch.pdist(torch.ones(shape)).shape)
    y.sum().backward()
    assert not x.grad.isnan().any()


@pytest.mark.parametrize("code", ["lib.ones(3)", "lib.ones(2, 2, 2)", "lib.ones(2, 2), -1", "lib.ones(2, 2).long()"])
def test_what_pdist_refuses(code):
    texts = []
    for lib in (livegrad, torch):
        with pytest.raises(RuntimeError) as error:
            eval(f"lib.pdist({code})", {"lib": lib})
        texts.append(str(error.value))
    assert texts[0].startswith(texts[1])


def test_lazy_instance_norm_without_bias():
    layers = [lib.nn.LazyInstanceNorm1d(bias=False) for lib in (livegrad, torch)]
    for layer, lib in zip(layers, (livegrad, torch), strict=True):
        layer(lib.ones(2, 3, 4))
    assert list(layers[0].state_dict()) == list(layers[1].state_dict())
