"""parametrize, parametrizations, prune and SyncBatchNorm against PyTorch."""

import copy

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")
pytest.importorskip("torch.nn.utils.parametrizations")
pytest.importorskip("torch.nn.utils.prune")

PROGRAMS = []


def program(f):
    PROGRAMS.append(f)
    return f


def symmetric(t):
    class Symmetric(t.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).transpose(-1, -2)

        def right_inverse(self, x):
            return x.triu()

    return Symmetric()


def doubled(t):
    class Doubled(t.nn.Module):
        def forward(self, x):
            return 2 * x

    return Doubled()


def registered(t, *modules):
    t.manual_seed(0)
    layer = t.nn.Linear(3, 3)
    for module in modules:
        t.nn.utils.parametrize.register_parametrization(layer, "weight", module)
    return layer


@program
def a_parameter_that_is_computed(t):
    layer = registered(t, symmetric(t))
    layer(t.arange(6.0).reshape(2, 3)).sum().backward()
    names = [name for name, _ in layer.named_parameters()]
    return str(layer), names, layer.state_dict(), layer.weight, layer.parametrizations.weight.original.grad


@program
def two_of_them(t):
    layer = registered(t, symmetric(t), doubled(t))
    return layer.weight, layer.state_dict(), t.nn.utils.parametrize.is_parametrized(layer, "bias")


@program
def assigning(t):
    layer = registered(t, symmetric(t))
    layer.weight = t.eye(3) + t.ones(3, 3)
    return layer.weight, layer.parametrizations.weight.original


@program
def caching(t):
    layer = registered(t, symmetric(t))
    apart = layer.weight is layer.weight
    with t.nn.utils.parametrize.cached():
        return apart, layer.weight is layer.weight


@program
def copies(t):
    layer = registered(t, symmetric(t))
    other = copy.deepcopy(layer)
    other.weight = t.eye(3)
    return type(other).__name__, layer.weight, other.weight, other(t.ones(1, 3))


@program
def removing(t):
    layer = registered(t, symmetric(t))
    t.nn.utils.parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    again = registered(t, symmetric(t))
    t.nn.utils.parametrize.remove_parametrizations(again, "weight")
    return type(layer).__name__, layer.state_dict(), again.state_dict(), isinstance(again.weight, t.nn.Parameter)


@program
def an_optimizer_keeps_what_it_knows(t):
    layer = t.nn.Linear(2, 2)
    t.manual_seed(3)
    t.nn.init.normal_(layer.weight)
    optimizer = t.optim.SGD([layer.weight], lr=0.1)
    t.nn.utils.parametrize.register_parametrization(layer, "weight", symmetric(t))
    layer.weight.sum().backward()
    optimizer.step()
    return layer.weight


@program
def weight_norm(t):
    t.manual_seed(1)
    layer = t.nn.utils.parametrizations.weight_norm(t.nn.Linear(3, 2))
    layer(t.arange(3.0)[None]).sum().backward()
    parts = layer.parametrizations.weight
    return layer.state_dict(), layer.weight, parts.original0.grad, parts.original1.grad


@program
def spectral_norm(t):
    t.manual_seed(1)
    layer = t.nn.utils.parametrizations.spectral_norm(t.nn.Conv2d(2, 3, 3))
    made = layer(t.ones(1, 2, 4, 4))
    made.sum().backward()
    layer.eval()
    return layer.state_dict(), made, layer.weight, layer.parametrizations.weight.original.grad


@program
def pruning(t):
    prune = t.nn.utils.prune
    t.manual_seed(2)
    model = t.nn.Sequential(t.nn.Linear(4, 3), t.nn.Linear(3, 2))
    prune.l1_unstructured(model[0], "weight", 0.3)
    prune.ln_structured(model[0], "weight", 1, 2, 0)
    prune.random_unstructured(model[1], "weight", 2)
    prune.random_structured(model[1], "weight", 1, 1)
    prune.custom_from_mask(model[0], "bias", t.tensor([1.0, 0.0, 1.0]))
    prune.identity(model[1], "bias")
    state = dict(model.state_dict())
    made = model(t.ones(1, 4))
    made.sum().backward()
    gradient = model[0].weight_orig.grad
    prune.remove(model[0], "weight")
    return (
        state,
        made,
        gradient,
        model.state_dict(),
        prune.is_pruned(model),
        isinstance(model[0].weight, t.nn.Parameter),
    )


@program
def pruning_several_together(t):
    prune = t.nn.utils.prune
    t.manual_seed(2)
    model = t.nn.Sequential(t.nn.Linear(4, 3), t.nn.Linear(3, 2))
    prune.global_unstructured([(m, "weight") for m in model], prune.L1Unstructured, amount=0.5)
    prune.global_unstructured([(m, "weight") for m in model], prune.L1Unstructured, amount=3)
    return model.state_dict()


@program
def importance(t):
    layer = t.nn.Linear(2, 2)
    scores = t.tensor([[1.0, 4.0], [3.0, 2.0]])
    t.nn.utils.prune.l1_unstructured(layer, "weight", 2, importance_scores=scores)
    return layer.weight_mask


@program
def synchronised_batch_norm(t):
    model = t.nn.Sequential(t.nn.BatchNorm1d(3), t.nn.ReLU())
    model = t.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return str(model), model(t.arange(12.0).reshape(4, 3)), model.state_dict()


ERRORS = {
    "more than there are": lambda t, p: p.prune.l1_unstructured(t.nn.Linear(2, 2), "bias", 3),
    "a share above one": lambda t, p: p.prune.l1_unstructured(t.nn.Linear(2, 2), "bias", 1.5),
    "a word": lambda t, p: p.prune.l1_unstructured(t.nn.Linear(2, 2), "bias", "half"),
    "not pruned": lambda t, p: p.prune.remove(t.nn.Linear(2, 2), "bias"),
    "slices of a vector": lambda t, p: p.prune.ln_structured(t.nn.Linear(2, 2), "bias", 1, 2, 0),
    "together, by slices": lambda t, p: p.prune.global_unstructured(
        [(t.nn.Linear(2, 2), "weight")], p.prune.RandomStructured, amount=1
    ),
    "no such tensor": lambda t, p: p.parametrize.register_parametrization(t.nn.Linear(2, 2), "nope", symmetric(t)),
    "not parametrized": lambda t, p: p.parametrize.remove_parametrizations(t.nn.Linear(2, 2), "bias"),
    "another shape": lambda t, p: p.parametrize.register_parametrization(t.nn.Linear(2, 2), "weight", t.nn.Flatten(0)),
    "no inverse": lambda t, p: setattr(registered(t, doubled(t)), "weight", t.eye(3)),
    "pickling": lambda t, p: __import__("pickle").dumps(registered(t, symmetric(t))),
    "one dimension": lambda t, p: t.nn.SyncBatchNorm(2)(t.ones(3)),
    "no channels": lambda t, p: t.nn.SyncBatchNorm(0)(t.ones(3, 0)),
}


def plain(x):
    if isinstance(x, dict):
        return {name: plain(value) for name, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(value) for value in x]
    return x.detach().numpy() if hasattr(x, "detach") else x


def compare(a, b):
    if isinstance(b, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(b, list):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            compare(x, y)
    elif isinstance(b, np.ndarray):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    else:
        assert a == b


@pytest.mark.parametrize("run", PROGRAMS, ids=lambda run: run.__name__)
def test_as_in_pytorch(run):
    compare(plain(run(livegrad)), plain(run(torch)))


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    with pytest.raises(Exception) as theirs:
        ERRORS[name](torch, torch.nn.utils)
    with pytest.raises(type(theirs.value)):
        ERRORS[name](livegrad, livegrad.nn.utils)
