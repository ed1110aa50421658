"""Lazy layers become what PyTorch's become, with the same numbers."""

import pytest
from against_torch import identical, torch

import livegrad

LAYERS = {
    "LazyLinear(4)": (2, 3), "LazyLinear(4, bias=False)": (2, 5, 3), "LazyConv1d(4, 3)": (2, 3, 8),
    "LazyConv2d(4, 3, padding=1)": (2, 3, 8, 8), "LazyConv3d(2, 2)": (1, 3, 4, 4, 4), "LazyBatchNorm1d()": (4, 3),
    "LazyBatchNorm2d()": (4, 3, 2, 2), "LazyBatchNorm3d(momentum=0.2)": (4, 3, 2, 2, 2),
}  # fmt: skip


@pytest.mark.parametrize("text", LAYERS)
@pytest.mark.filterwarnings("ignore")
def test_becomes_the_layer(text):
    found = []
    for m in (livegrad, torch):
        m.manual_seed(2)
        layer = eval(text, {**vars(m.nn)})
        assert layer.has_uninitialized_params()
        calls = []
        layer.register_forward_hook(lambda *args: calls.append(1))
        model = m.nn.Sequential(layer, m.nn.Flatten()).eval()
        x = m.linspace(-1, 1, m.ones(LAYERS[text]).numel()).reshape(LAYERS[text])
        model(x)
        model(x).sum().backward()
        assert len(calls) == 2
        assert not layer.training
        found.append(layer)
    mine, theirs = found
    assert repr(mine) == repr(theirs)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        identical(a, b)
        assert a.grad is not None


def test_repr_before():
    assert repr(livegrad.nn.LazyLinear(4)) == repr(torch.nn.LazyLinear(4))


@pytest.mark.parametrize("text", LAYERS)
@pytest.mark.filterwarnings("ignore")
def test_parameters_are_there_before_and_stay_the_same_objects(text):
    for m in (livegrad, torch):
        layer = eval(text, {**vars(m.nn)})
        before = list(layer.parameters())
        assert all(type(p) is m.nn.UninitializedParameter and p.requires_grad for p in before) and before
        assert repr(layer.weight) == "<UninitializedParameter>"
        with pytest.raises(RuntimeError, match="Can't access the shape"):
            _ = layer.weight.shape
        optimizer = m.optim.SGD(layer.parameters(), lr=0.1)
        layer(m.ones(LAYERS[text])).sum().backward()
        after = list(layer.parameters())
        assert all(a is b for a, b in zip(before, after, strict=True)) and all(type(p) is m.nn.Parameter for p in after)
        weight = layer.weight.detach().clone()
        layer.weight.grad.fill_(1)
        optimizer.step()
        assert m.allclose(layer.weight, weight - 0.1)
        assert not layer._forward_pre_hooks


def test_state_dicts_of_what_waits():
    for m in (livegrad, torch):
        layer = m.nn.LazyLinear(2)
        waiting = layer.state_dict()
        assert list(map(repr, waiting.values())) == ["<UninitializedParameter>"] * 2
        m.nn.LazyLinear(2).load_state_dict(waiting)
        with pytest.raises(RuntimeError, match="Can't access the shape"):
            m.nn.Linear(3, 2).load_state_dict(waiting)
        given = m.nn.Linear(3, 2).state_dict()
        layer.load_state_dict(given)
        assert not layer.has_uninitialized_params() and m.equal(layer.weight, given["weight"])
        layer(m.ones(1, 3))
        assert type(layer) is m.nn.Linear and layer.in_features == 3 and m.equal(layer.weight, given["weight"])


def test_dtypes_copies_and_hooks():
    import copy

    for m in (livegrad, torch):
        model = m.nn.Sequential(m.nn.LazyConv1d(2, 1), m.nn.LazyBatchNorm1d()).double()
        twin = copy.deepcopy(model) if m is livegrad else model  # PyTorch does not copy buffers that wait
        seen = []
        twin[0].register_forward_pre_hook(lambda module, args: seen.append(type(module).__name__))
        y = twin(m.ones(2, 3, 4, dtype=m.float64))
        assert y.dtype == m.float64 and twin[1].running_mean.dtype == m.float64 and seen == ["Conv1d"]
        assert twin[1].running_mean.shape == (2,)
        assert m is torch or model[1].has_uninitialized_params()
        with pytest.raises(RuntimeError, match=r"Expected 2D \(unbatched\) or 3D"):
            m.nn.LazyConv1d(2, 1)(m.ones(3))


def test_a_programs_own_lazy_module():
    for m in (livegrad, torch):

        class Scale(m.nn.modules.lazy.LazyModuleMixin, m.nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = m.nn.UninitializedParameter()
                self.register_buffer("seen", m.nn.UninitializedBuffer())

            def initialize_parameters(self, x, more=None):
                if self.has_uninitialized_params():
                    self.weight.materialize(x.shape[-1:])
                    self.seen.materialize((1,))
                    m.nn.init.ones_(self.weight)

            def forward(self, x, more=None):
                return x * self.weight

        scale = Scale()
        assert repr(scale.seen) == "<UninitializedBuffer>"
        assert scale(m.arange(3.0), more=1).tolist() == [0.0, 1.0, 2.0]
        assert scale.seen.shape == (1,) and "seen" in scale.state_dict()

        class Forgetful(Scale):
            def initialize_parameters(self, x):
                pass

        with pytest.raises(RuntimeError, match="has not been fully initialized"):
            Forgetful()(m.ones(2))
