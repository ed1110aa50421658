"""What libraries take from behind `func`: the functorch package's functions, and the steps of `vmap`."""

import pytest

import livegrad
from livegrad import func
from livegrad._C import _functorch
from livegrad._functorch import deprecated, vmap

torch = pytest.importorskip("torch")


def models(library):
    library.manual_seed(0)
    return [library.nn.Sequential(library.nn.Linear(3, 4), library.nn.BatchNorm1d(4)).eval() for _ in range(3)]


@pytest.mark.filterwarnings("ignore")
def test_modules_as_functions():
    import torch._functorch.deprecated as theirs

    found = []
    for library, functions in ((livegrad, deprecated), (torch, theirs)):
        x = library.arange(6.0).view(2, 3)
        model = models(library)[0]
        function, params, buffers = functions.make_functional_with_buffers(model)
        plain, weights = functions.make_functional(model[0])
        many, stacked, others = functions.combine_state_for_ensemble(models(library))
        made = [function(params, buffers, x), plain(weights, x), library.vmap(many, (0, 0, None))(stacked, others, x)]
        grads = functions.grad(lambda p: function(p, buffers, x).square().sum())(params)
        found.append([t.detach().numpy() for t in [*made, *grads]])
        assert all(p.requires_grad for p in params)
        assert not any(p.requires_grad for p in functions.make_functional(model[0], disable_autograd_tracking=True)[1])
        with pytest.raises(RuntimeError, match="has buffers"):
            functions.make_functional(model)
    for a, b in zip(*found, strict=True):
        assert a.flatten().tolist() == pytest.approx(b.flatten().tolist(), rel=1e-5, abs=1e-6)


def test_the_model_stays_as_it_is():
    model = livegrad.nn.Linear(2, 1)
    function, (weight, bias) = deprecated.make_functional(model)
    weight.data.zero_()
    assert model.weight.abs().sum() > 0 and model.weight.device.type == "cpu"


def test_functionalize():
    def double(t):
        t.mul_(2)
        return t + 1

    for library in (livegrad, torch):
        x = library.ones(2)
        assert library.func.functionalize(double)(x).tolist() == [3, 3] and x.tolist() == [2, 2]
        with pytest.raises(RuntimeError, match="invalid argument for remove=z"):
            library.func.functionalize(double, remove="z")(x)


def test_batch_norm_without_statistics():
    for library in (livegrad, torch):
        model = library.func.replace_all_batch_norm_modules_(models(library)[0])
        assert model[1].running_mean is model[1].running_var is model[1].num_batches_tracked is None
        x = library.arange(12.0).view(2, 2, 3)
        assert library.vmap(model)(x).shape == (2, 2, 4)


def test_containers_go_through_vmap_by_steps_of_their_own(monkeypatch):
    """A library that has its own batches exchanges the steps."""
    pairs = []

    def create(dims, leaves, level, spec):
        pairs.append((dims, len(leaves)))
        return original(dims, leaves, level, spec)

    original = vmap._create_batched_inputs
    monkeypatch.setattr(vmap, "_create_batched_inputs", create)
    x = livegrad.arange(6.0).view(2, 3)
    assert func.vmap(lambda a, b: a * b, (1, None))(x, 2.0).tolist() == (2 * x).T.tolist()
    assert pairs == [([1, None], 2)]


def test_what_a_function_is_given():
    seen = []

    def look(t):
        seen.append((_functorch.is_batchedtensor(t), _functorch.maybe_get_bdim(t), _functorch.get_unwrapped(t).shape))
        return t

    x = livegrad.ones(2, 3)
    func.vmap(look, 1)(x)
    assert seen == [(True, 0, (3, 2))]
    assert not _functorch.is_batchedtensor(x) and _functorch.maybe_get_level(x) == -1
    assert _functorch.get_unwrapped(x) is x and not _functorch.is_gradtrackingtensor(x)
