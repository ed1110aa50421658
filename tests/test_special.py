"""torch.special's functions: values and gradients against PyTorch, in float64."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

EVERYWHERE = np.concatenate([np.linspace(-8, 8, 65), np.linspace(-30, 30, 7), [0.0, 400.0, -400.0]])
FUNCTIONS = {
    "entr": (np.linspace(-1, 5, 25), 1e-12),
    "erf": (EVERYWHERE, 1e-12),
    "erfc": (EVERYWHERE, 1e-12),
    "exp2": (EVERYWHERE, 1e-12),
    "expm1": (EVERYWHERE, 1e-12),
    "gammaln": (np.linspace(0.1, 30, 40), 1e-12),
    "i0": (EVERYWHERE, 1e-12),
    "i0e": (EVERYWHERE, 1e-12),
    "i1": (EVERYWHERE, 1e-12),
    "i1e": (EVERYWHERE, 1e-12),
    "log_ndtr": (EVERYWHERE, 1e-11),
    "ndtr": (EVERYWHERE, 1e-11),
    "ndtri": (np.linspace(0.001, 0.999, 41), 1e-11),
    "expit": (EVERYWHERE, 1e-10),  # PyTorch's gradient loses digits in 1 - y
    "psi": (np.linspace(0.1, 30, 40), 1e-9),  # PyTorch's trigamma is good to 5e-10
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name):
    at, rtol = FUNCTIONS[name]
    found = []
    for t in (livegrad, torch):
        x = t.tensor(at.tolist(), dtype=t.float64, requires_grad=True)
        y = getattr(t.special, name)(x)
        y.sum().backward()
        found.append((y.detach().numpy(), x.grad.numpy()))
    for mine, theirs in zip(*found):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-15)


def test_second_derivatives():
    x = livegrad.linspace(0.2, 3, 7, dtype=livegrad.float64).requires_grad_()
    for f in (livegrad.special.i0, livegrad.special.i1, livegrad.special.i0e, livegrad.special.i1e,
              livegrad.special.ndtr, livegrad.special.entr):  # fmt: skip
        assert livegrad.autograd.gradgradcheck(f, (x,)), f


def test_matrix_exp():
    found = []
    for t in (livegrad, torch):
        t.manual_seed(0)
        a = (3 * t.randn(3, 4, 4, dtype=t.float64)).requires_grad_()
        y = t.linalg.matrix_exp(a)
        y.square().sum().sqrt().backward()
        found.append((y.detach().numpy(), a.grad.numpy()))
    for mine, theirs in zip(*found):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def test_gradients_of_samples():
    """torch.gradient with even and uneven spacing, at both orders of the ends."""
    for arguments in (
        lambda t: {},
        lambda t: {"spacing": 2.0, "dim": 1, "edge_order": 2},
        lambda t: {"spacing": (t.tensor([0.0, 1.0, 3.0]), t.tensor([0.0, 1.0, 3.0, 4.0])), "edge_order": 2},
        lambda t: {"spacing": [2.0, 3.0]},
    ):
        mine, theirs = (
            t.gradient(t.arange(12.0, dtype=t.float64).reshape(3, 4) ** 2, **arguments(t)) for t in (livegrad, torch)
        )
        for a, b in zip(mine, theirs):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
