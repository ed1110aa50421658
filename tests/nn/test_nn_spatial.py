"""affine_grid and grid_sample against PyTorch."""

import itertools

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")
F = livegrad.nn.functional
TF = torch.nn.functional
RNG = np.random.default_rng(0)


def both(array, requires_grad=True):
    return (
        livegrad.tensor(array, requires_grad=requires_grad),
        torch.tensor(array, requires_grad=requires_grad),
    )


CASES = [(2, m, p, a) for m, p, a in itertools.product(
    ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (True, False)
)] + [(3, m, p, a) for m, p, a in itertools.product(
    ("bilinear", "nearest"), ("zeros", "border", "reflection"), (True, False)
)]  # fmt: skip


@pytest.mark.parametrize(("n", "mode", "padding", "aligned"), CASES)
def test_grid_sample(n, mode, padding, aligned):
    image = RNG.normal(size=(2, 3, *(4, 5, 3)[:n]))
    grid = RNG.uniform(-2.2, 2.2, size=(2, *(6, 7, 4)[:n], n))
    x, tx = both(image)
    g, tg = both(grid)
    made = F.grid_sample(x, g, mode, padding, aligned)
    expected = TF.grid_sample(tx, tg, mode, padding, aligned)
    np.testing.assert_allclose(made.detach().numpy(), expected.detach().numpy(), rtol=1e-8, atol=1e-10)
    weights = RNG.normal(size=made.shape)
    (made * livegrad.tensor(weights)).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), tx.grad.numpy(), rtol=1e-8, atol=1e-10)
    if mode != "nearest":
        np.testing.assert_allclose(g.grad.numpy(), tg.grad.numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 1, 1, 3), (2, 1, 3, 4, 2)])
def test_affine_grid(size, aligned):
    n = len(size) - 2
    theta, ttheta = both(RNG.normal(size=(2, n, n + 1)))
    made, expected = F.affine_grid(theta, size, aligned), TF.affine_grid(ttheta, size, aligned)
    np.testing.assert_allclose(made.detach().numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    made.pow(2).sum().backward()
    expected.pow(2).sum().backward()
    np.testing.assert_allclose(theta.grad.numpy(), ttheta.grad.numpy(), rtol=1e-10)


def test_wrong_arguments_raise_as_in_pytorch():
    for change in (
        lambda m, f: f.grid_sample(m.ones(1, 1, 2, 2), m.zeros(1, 1, 1, 2), "cubic"),
        lambda m, f: f.grid_sample(m.ones(1, 1, 2, 2), m.zeros(1, 1, 1, 2), "nearest", "wrap"),
        lambda m, f: f.grid_sample(m.ones(1, 1, 2, 2), m.zeros(2, 1, 1, 2), align_corners=True),
        lambda m, f: f.grid_sample(m.ones(1, 1, 2, 2), m.zeros(1, 1, 1, 3), align_corners=True),
    ):
        errors = []
        for m, f in ((livegrad, F), (torch, TF)):
            with pytest.raises((ValueError, RuntimeError)) as caught:
                change(m, f)
            errors.append((type(caught.value), str(caught.value)))
        assert errors[0] == errors[1]
    with pytest.warns(UserWarning, match="align_corners"):
        F.grid_sample(livegrad.ones(1, 1, 2, 2), livegrad.zeros(1, 1, 1, 2))


def test_nearest_sampling_has_a_gradient_of_zero_at_the_places():
    x = livegrad.arange(16.0).reshape(1, 1, 4, 4).requires_grad_()
    grid = livegrad.linspace(-0.9, 0.8, 8).reshape(1, 2, 2, 2).clone().requires_grad_()
    livegrad.nn.functional.grid_sample(x, grid, mode="nearest", align_corners=False).sum().backward()
    assert grid.grad.tolist() == livegrad.zeros_like(grid).tolist()
    assert x.grad.sum().item() == 4
