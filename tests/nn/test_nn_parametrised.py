"""Parametrized and pruned parameters, against PyTorch."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import livegrad
from livegrad import nn
from livegrad.nn.utils import parametrizations, parametrize, prune

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
pytest.importorskip("torch.nn.utils.prune")


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT

    def right_inverse(self, x):
        return x.triu()


class Doubled(nn.Module):
    def forward(self, a, b):
        return a + 2 * b

    def right_inverse(self, x):
        return x / 3, x / 3


class Wider(nn.Module):
    def forward(self, x):
        return x.repeat(2, 1)


def steps(m, make, count=5, **options):
    """Losses of training a layer that `make` parametrizes, and its state's names and shapes."""
    m.manual_seed(0)
    layer = make(m, m.nn.Linear(4, 6) if not options.get("square") else m.nn.Linear(5, 5))
    x = m.randn(8, layer.in_features)
    optimizer = m.optim.SGD(layer.parameters(), lr=0.1)
    found = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = (layer(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found, {k: tuple(v.shape) for k, v in layer.state_dict().items()}, repr(layer)


MAKERS = {
    "weight_norm": lambda m, layer: m.nn.utils.parametrizations.weight_norm(layer),
    "weight_norm of all": lambda m, layer: m.nn.utils.parametrizations.weight_norm(layer, dim=None),
    "spectral_norm": lambda m, layer: m.nn.utils.parametrizations.spectral_norm(layer),
    "pruned": lambda m, layer: m.nn.utils.prune.l1_unstructured(layer, "weight", amount=0.3),
    "pruned at random": lambda m, layer: m.nn.utils.prune.random_unstructured(layer, "weight", amount=5),
    "pruned channels": lambda m, layer: m.nn.utils.prune.ln_structured(layer, "weight", amount=2, n=2, dim=0),
    "pruned random channels": lambda m, layer: m.nn.utils.prune.random_structured(layer, "weight", amount=2, dim=1),
    "pruned twice": lambda m, layer: m.nn.utils.prune.l1_unstructured(
        m.nn.utils.prune.ln_structured(layer, "weight", amount=1, n=1, dim=1), "weight", amount=0.25
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_trains_as_in_pytorch(name):
    ours, theirs = (steps(m, MAKERS[name]) for m in (livegrad, torch))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4)
    assert ours[1:] == theirs[1:]


@pytest.mark.parametrize("how", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("trivial", [True, False])
def test_orthogonal_square_trains_as_in_pytorch(how, trivial):
    def make(m, layer):
        return m.nn.utils.parametrizations.orthogonal(layer, orthogonal_map=how, use_trivialization=trivial)

    ours, theirs = (steps(m, make, square=True) for m in (livegrad, torch))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-3)
    assert ours[1] == theirs[1]


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (2, 5, 3)])
@pytest.mark.parametrize("how", ["matrix_exp", "cayley", "householder"])
def test_orthogonal(shape, how):
    livegrad.manual_seed(0)
    layer = nn.Module()
    layer.w = nn.Parameter(livegrad.randn(*shape, dtype=livegrad.float64))
    parametrizations.orthogonal(layer, "w", how)
    x = livegrad.randn(*shape, dtype=livegrad.float64)
    optimizer = livegrad.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        ((layer.w - x) ** 2).sum().backward()
        optimizer.step()
        q = layer.w if shape[-2] >= shape[-1] else layer.w.mT
        livegrad.testing.assert_close(q.mT @ q, livegrad.eye(q.shape[-1], dtype=q.dtype).expand_as(q.mT @ q))
    wanted = livegrad.linalg.qr(x if shape[-2] >= shape[-1] else x.mT)[0]
    wanted = wanted if shape[-2] >= shape[-1] else wanted.mT
    layer.w = wanted
    livegrad.testing.assert_close(layer.w.detach(), wanted)


def test_registering_reading_assigning_removing():
    layer = nn.Linear(3, 3)
    before = layer.weight
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert parametrize.is_parametrized(layer)
    assert parametrize.is_parametrized(layer, "weight") and not parametrize.is_parametrized(layer, "bias")
    assert layer.parametrizations.weight.original is before
    assert type(layer).__name__ == "ParametrizedLinear" and isinstance(layer, nn.Linear)
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    assert livegrad.equal(layer.weight, layer.weight.T)
    wanted = livegrad.ones(3, 3)
    layer.weight = wanted
    assert livegrad.equal(layer.weight.detach(), wanted)
    assert livegrad.equal(before.detach(), wanted.triu())
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and not hasattr(layer, "parametrizations")
    assert isinstance(layer.weight, nn.Parameter) and livegrad.equal(layer.weight.detach(), wanted)
    assert [n for n, _ in layer.named_parameters()] == ["bias", "weight"]


def test_several_originals():
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Doubled())
    livegrad.testing.assert_close(layer.weight.detach(), before)
    assert sorted(dict(layer.named_parameters())) == [
        "bias", "parametrizations.weight.original0", "parametrizations.weight.original1",
    ]  # fmt: skip
    layer(livegrad.ones(1, 3)).sum().backward()
    livegrad.testing.assert_close(
        layer.parametrizations.weight.original1.grad, 2 * layer.parametrizations.weight.original0.grad
    )
    with pytest.raises(ValueError, match="leave_parametrized=False"):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(layer, "weight")
    livegrad.testing.assert_close(layer.weight.detach(), before)


def test_two_tensors_of_a_module():
    layer = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    parametrize.register_parametrization(layer, "bias", nn.Softplus())
    assert livegrad.equal(layer.weight, layer.weight.T) and bool((layer.bias > 0).all())
    parametrize.remove_parametrizations(layer, "weight")
    assert parametrize.is_parametrized(layer, "bias") and not parametrize.is_parametrized(layer, "weight")
    assert bool((layer.bias > 0).all())


def test_cached():
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    assert layer.weight is not layer.weight
    with parametrize.cached():
        first = layer.weight
        assert first is layer.weight
    assert layer.weight is not first


def test_copies_are_independent():
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    other = copy.deepcopy(layer)
    parametrize.remove_parametrizations(other, "weight")
    assert parametrize.is_parametrized(layer, "weight")
    livegrad.testing.assert_close(layer.weight, other.weight)


def test_state_dictionaries_and_transfer():
    one, two = (parametrizations.weight_norm(nn.Linear(3, 2)) for _ in range(2))
    two.load_state_dict(one.state_dict())
    livegrad.testing.assert_close(one.weight, two.weight)
    old = nn.utils.weight_norm(nn.Linear(3, 2))
    two.load_state_dict(old.state_dict())
    livegrad.testing.assert_close(old.weight, two.weight)
    three = nn.Linear(3, 2)
    parametrize.transfer_parametrizations_and_params(one, three)
    livegrad.testing.assert_close(one.weight, three.weight)


def test_errors():
    layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="does not have a parameter, a buffer"):
        parametrize.register_parametrization(layer, "nothing", Symmetric())
    with pytest.raises(ValueError, match="may not change the shape"):
        parametrize.register_parametrization(layer, "weight", Wider())
    assert type(layer) is nn.Linear and isinstance(layer.weight, nn.Parameter)
    with pytest.raises(ValueError, match="does not have a parametrization"):
        parametrize.remove_parametrizations(layer, "weight")
    parametrize.register_parametrization(layer, "weight", Wider(), unsafe=True)
    with pytest.raises(RuntimeError, match="right_inverse"):
        layer.weight = livegrad.zeros(4, 3)
    with pytest.raises(RuntimeError, match="state_dict"):
        import pickle

        pickle.dumps(layer)
    with pytest.raises(ValueError, match="orthogonal_map"):
        parametrizations.orthogonal(nn.Linear(3, 2), orthogonal_map="other")
    for amount, error in ((-1, ValueError), (1.5, ValueError), ("1", TypeError), (100, ValueError)):
        fresh = nn.Linear(3, 2)
        with pytest.raises(error):
            prune.l1_unstructured(fresh, "weight", amount=amount)
        assert sorted(fresh.state_dict()) == ["bias", "weight"]


def test_pruning_of_several_modules_and_removing():
    def run(m):
        m.manual_seed(0)
        model = m.nn.Sequential(m.nn.Linear(4, 6), m.nn.ReLU(), m.nn.Linear(6, 3))
        p = m.nn.utils.prune
        p.global_unstructured([(model[0], "weight"), (model[2], "weight")], p.L1Unstructured, amount=0.5)
        assert p.is_pruned(model)
        model(m.ones(1, 4)).sum().backward()
        gradient = model[0].weight_orig.grad.tolist()
        p.remove(model[0], "weight")
        p.remove(model[2], "weight")
        assert not p.is_pruned(model)
        return gradient, model[0].weight.tolist(), model[2].weight.tolist(), sorted(model.state_dict())

    ours, theirs = run(livegrad), run(torch)
    for a, b in zip(ours[:3], theirs[:3]):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert ours[3] == theirs[3]
    with pytest.raises(ValueError, match="has to be pruned"):
        prune.remove(nn.Linear(2, 2), "weight")


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matrix_exp(n, size, dtype):
    a = np.random.default_rng(n).standard_normal((3, n, n)) * size / n
    both = []
    for m in (livegrad, torch):
        x = m.tensor(a, dtype=getattr(m, dtype), requires_grad=True)
        y = m.linalg.matrix_exp(x)
        scale = y.detach().abs().max()
        (y / scale).sum().backward()
        both.append(((y / scale).tolist(), x.grad.tolist()))
    tolerance = 2e-4 if dtype == "float32" else 1e-10
    for ours, theirs in zip(*both):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * max(1.0, np.abs(theirs).max()))


def test_householder_product():
    rng = np.random.default_rng(0)
    a, tau = rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 3))
    both = []
    for m in (livegrad, torch):
        x, t = (m.tensor(v, requires_grad=True) for v in (a, tau))
        y = m.linalg.householder_product(x, t)
        (y**2).sum().backward()
        both.append([v.tolist() for v in (y, x.grad, t.grad)])
    for ours, theirs in zip(*both):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)
    with pytest.raises(RuntimeError, match="greater than or equal"):
        livegrad.linalg.householder_product(livegrad.ones(2, 3), livegrad.ones(2))
