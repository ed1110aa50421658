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
