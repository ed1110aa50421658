"""weight_norm and spectral_norm against PyTorch."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")
BOTH = (livegrad, torch)


def layers(m, kind):
    m.manual_seed(3)
    return {
        "linear": lambda: (m.nn.Linear(4, 3), m.ones(2, 4)),
        "conv": lambda: (m.nn.Conv2d(2, 3, 3), m.ones(1, 2, 5, 5)),
        "transposed": lambda: (m.nn.ConvTranspose2d(2, 3, 2), m.ones(1, 2, 3, 3)),
    }[kind]()


def trained(m, kind, normal, remove):
    layer, x = layers(m, kind)
    layer = normal(m.nn.utils, layer)
    optimizer = m.optim.SGD(layer.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = layer(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    state = {k: v.clone() for k, v in layer.state_dict().items()}
    layer.eval()
    losses.append(layer(x).sum().item())
    remove(m.nn.utils, layer)
    losses.append(layer(x).sum().item())
    return losses, state, layer.state_dict()


NORMS = {
    "weight": (lambda u, x: u.weight_norm(x), lambda u, x: u.remove_weight_norm(x)),
    "weight, dim 1": (lambda u, x: u.weight_norm(x, dim=1), lambda u, x: u.remove_weight_norm(x)),
    "weight, one length": (lambda u, x: u.weight_norm(x, dim=None), lambda u, x: u.remove_weight_norm(x)),
    "spectral": (lambda u, x: u.spectral_norm(x), lambda u, x: u.remove_spectral_norm(x)),
    "spectral, steps": (lambda u, x: u.spectral_norm(x, n_power_iterations=3), lambda u, x: u.remove_spectral_norm(x)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["linear", "conv", "transposed"])
@pytest.mark.parametrize("norm", NORMS)
def test_training_with_a_norm(kind, norm):
    ours, theirs = (trained(m, kind, *NORMS[norm]) for m in BOTH)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4, atol=1e-6)
    for mine, other in zip(ours[1:], theirs[1:]):
        assert sorted(mine) == sorted(other)
        for name, value in other.items():
            assert tuple(mine[name].shape) == tuple(value.shape)
            np.testing.assert_allclose(mine[name].numpy(), value.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
def test_errors(name):
    errors = []
    for m in BOTH:
        layer = m.nn.Linear(2, 2)
        found = []
        for call in (
            lambda: getattr(m.nn.utils, "remove_" + name)(layer),
            lambda: [getattr(m.nn.utils, name)(layer) for _ in range(2)],
        ):
            with pytest.raises((ValueError, RuntimeError)) as caught:
                call()
            found.append((type(caught.value), str(caught.value)))
        errors.append(found)
    assert errors[0] == errors[1]
