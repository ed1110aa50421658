"""The gradient of an extreme finds it among the elements, whichever of the two tiers computed them first."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

PROGRAMS = {
    "amax": lambda m, x: (x.exp() * 1.1).amax(1).sum(),
    "amin": lambda m, x: (x.exp() * 1.1).amin(0).sum(),
    "max": lambda m, x: (x.tanh() * 1.1).max(),
    "min": lambda m, x: (x.tanh() * 1.1).min(),
    "norm": lambda m, x: (x.sin() * 1.1).norm(float("inf"), 1).sum(),
    "complex norm": lambda m, x: m.polar(x.exp(), x).norm(float("inf")),
}


@pytest.mark.parametrize("forward, backward", [("never", "always"), ("always", "never")])
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_extreme_of_what_is_pending(name, forward, backward):
    for seed in range(5):
        x = np.random.default_rng(seed).standard_normal((3, 50)).astype(np.float32)
        mine, its = livegrad.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        with livegrad.compiling(forward):
            loss = PROGRAMS[name](livegrad, mine)
            loss.item()
        with livegrad.compiling(backward):
            loss.backward()
            made = mine.grad.numpy()
        PROGRAMS[name](torch, its).backward()
        np.testing.assert_allclose(made, its.grad.numpy(), rtol=1e-4, atol=1e-5)
