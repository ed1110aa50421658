"""Recurrent networks and cells as functions of the main namespace, against PyTorch."""

import pytest
from against_torch import outcome, same, torch

import livegrad

NETWORKS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}


def network(m, name, packed, options):
    """Results and gradients of the function, with the weights of a module."""
    m.manual_seed(3)
    given = dict(options, nonlinearity=name[4:]) if name.startswith("rnn") else options
    weights = list(getattr(m.nn, NETWORKS[name])(3, 4, 2, **given).parameters())
    both = given.get("bidirectional", False)
    first = m.randn(4, 2, given.get("proj_size", 4)) if both else m.randn(2, 2, given.get("proj_size", 4))
    states = [first, m.randn(first.shape[0], 2, 4)][: 2 if name == "lstm" else 1]
    hx = states if name == "lstm" else states[0]
    rest = (weights, given.get("bias", True), 2, 0.0, True, both)
    if packed:
        x = m.randn(7, 3, requires_grad=True)
        made = getattr(m, name)(x, m.tensor([2, 2, 2, 1]), hx, *rest)
    else:
        x = m.randn(5, 2, 3).transpose(0, 1) if given.get("batch_first") else m.randn(5, 2, 3)
        x.requires_grad_()
        made = getattr(m, name)(x, hx, *rest, given.get("batch_first", False))
    sum((t * t).sum() for t in made).backward()
    return [*made, x.grad, *(w.grad for w in weights)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"bidirectional": True}, {"batch_first": True}], ids=str)
def test_networks(name, packed, options):
    same(*(network(m, name, packed, options) for m in (livegrad, torch)))


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_a_projected_lstm():
    same(*(network(m, "lstm", False, {"proj_size": 2}) for m in (livegrad, torch)))


def test_dropout_is_drawn_as_by_the_module():
    found = []
    for m in (livegrad, torch):
        m.manual_seed(0)
        net = m.nn.GRU(3, 4, 2, dropout=0.5)
        x, h = m.randn(5, 2, 3), m.zeros(2, 2, 4)
        found.append([*m.gru(x, h, list(net.parameters()), True, 2, 0.5, True, False, False),
                      *m.gru(x, h, list(net.parameters()), True, 2, 0.5, False, False, False)])  # fmt: skip
    same(*found)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("bias", [True, False])
def test_cells(name, bias):
    found = []
    for m in (livegrad, torch):
        m.manual_seed(1)
        cell = getattr(m.nn, NETWORKS[name] + "Cell")(3, 4, bias)
        x, h, c = m.randn(2, 3, requires_grad=True), m.randn(2, 4), m.randn(2, 4)
        made = getattr(m, name + "_cell")(x, (h, c) if name == "lstm" else h, *cell.parameters())
        made = made if name == "lstm" else (made,)
        sum((t * t).sum() for t in made).backward()
        found.append([*made, x.grad, *(w.grad for w in cell.parameters())])
    same(*found)


@pytest.mark.parametrize("program", [
    "m.lstm(m.ones(5, 2, 3), (m.ones(1, 2, 4),), [], True, 1, 0., False, False, False)",
    "m.lstm_cell(m.ones(2, 3), (m.ones(2, 4),), m.ones(16, 3), m.ones(16, 4))",
    "m.gru_cell(m.ones(2, 3), m.ones(3, 4), m.ones(12, 3), m.ones(12, 4))",
    "m.gru_cell(m.ones(2, 3), m.ones(2, 5), m.ones(12, 3), m.ones(12, 4))",
    "m.rnn_tanh_cell(m.ones(2, 2), m.ones(2, 4), m.ones(4, 3), m.ones(4, 4))",
    "m.gru(m.ones(5, 2, 3), m.ones(1, 2, 4), [m.ones(12, 3)], False, 1, 0., False, False, False)",
])  # fmt: skip
def test_errors(program):
    mine, theirs = ([type(e) for e in [outcome(lambda: eval(program, {"m": m}))]] for m in (livegrad, torch))
    assert mine == theirs
