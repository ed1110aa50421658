"""Recurrent layers and packed sequences, against PyTorch."""

import itertools

import numpy as np
import pytest
from against_torch import identical, numpy, outcome, pair, same, torch
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad import nn
from livegrad.autograd import gradcheck, gradgradcheck
from livegrad.llvm import machine
from livegrad.nn.utils import rnn as ours
from livegrad.ops import recurrent

MODES = ("LSTM", "GRU", "RNN")
LENGTHS = [5, 2, 4, 1, 5, 3, 2]


def run(m, mode, data, hx, packed, options, dtype="float32", sizes=(6, 10)):
    """Results and gradients of a layer of one library."""
    m.manual_seed(3)
    layer = getattr(m.nn, mode)(*sizes, **options).to(getattr(m, dtype))
    tensors = [m.tensor(a.astype(dtype)).requires_grad_() for a in data]
    x, h, c = tensors
    state = ((h, c) if mode == "LSTM" else h) if hx else None
    given = x
    if packed:
        bf = options.get("batch_first", False)
        given = m.nn.utils.rnn.pack_padded_sequence(x, LENGTHS[: h.shape[1]], bf, enforce_sorted=False)
    m.manual_seed(5)
    y, states = layer(given, state)
    y = y.data if packed else y
    states = states if mode == "LSTM" else (states,)
    ((y * y).sum() + sum(s.sin().sum() for s in states)).backward()
    used = tensors[: 1 if not hx else 3 if mode == "LSTM" else 2]
    return [y, *states, *(t.grad for t in used), *(p.grad for p in layer.parameters())]


def compare(mode, steps=5, batch=7, sizes=(6, 10), hx=True, packed=False, dtype="float32", **options):
    rng = np.random.default_rng(0)
    layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    shape = (batch, steps) if options.get("batch_first") else (steps, batch)
    data = [
        rng.standard_normal((*shape, sizes[0])),
        rng.standard_normal((layers, batch, options.get("proj_size") or sizes[1])),
        rng.standard_normal((layers, batch, sizes[1])),
    ]
    mine, theirs = (run(m, mode, data, hx, packed, options, dtype, sizes) for m in (livegrad, torch))
    for a, b in zip(mine, theirs, strict=True):
        atol = (3e-5 if dtype == "float32" else 1e-12) * max(1.0, float(b.detach().abs().max()))
        same(a, b, rtol=3e-5 if dtype == "float32" else 1e-11, atol=atol)


@pytest.mark.parametrize("policy", ["always", "never"])
@pytest.mark.parametrize("mode", MODES)
def test_all_forms(mode, policy):
    """Packed or not, with states or not, either layout, one direction or two; by kernels and step by step."""
    with livegrad.compiling(policy):
        for packed, hx, batch_first, bidirectional in itertools.product((False, True), repeat=4):
            compare(mode, hx=hx, packed=packed, batch_first=batch_first, bidirectional=bidirectional)


@pytest.mark.parametrize("policy", ["always", "never"])
@pytest.mark.parametrize("mode", MODES)
def test_sizes_and_layers(mode, policy):
    """Units that fill vectors and that do not, several layers with dropout, float64, no bias, one sequence."""
    with livegrad.compiling(policy):
        compare(mode, sizes=(3, 16), dtype="float64")
        compare(mode, sizes=(33, 64), batch=33, num_layers=2, bidirectional=True, dropout=0.5)
        compare(mode, sizes=(5, 48), bias=False)
        compare(mode, sizes=(1, 1), batch=1, steps=1, dtype="float64")
        compare(mode, num_layers=3, dropout=0.3, batch_first=True)


def test_relu_and_projections():
    with livegrad.compiling("always"):
        compare("RNN", nonlinearity="relu", num_layers=2)
        compare("LSTM", proj_size=3, num_layers=2, bidirectional=True)


def test_kernels_are_used(monkeypatch):
    """What `test_all_forms` compares under "always" are the kernels and not the form step by step."""

    def refuse(*args, **options):
        raise AssertionError("step by step")

    monkeypatch.setattr(recurrent, "composed", refuse)
    with livegrad.compiling("always"):
        for mode in MODES:
            y, _ = getattr(nn, mode)(3, 5)(livegrad.ones(2, 4, 3))
            y.sum().backward()
            assert y.grad_fn.name().endswith("Backward0")
            assert machine.compiler_available()


def test_result_does_not_depend_on_threads():
    layer, x = nn.LSTM(8, 32), livegrad.randn(20, 50, 8)
    before = livegrad.get_num_threads()
    found = []
    with livegrad.compiling("always"):
        try:
            for threads in (1, 2, 3):
                livegrad.set_num_threads(threads)
                y, (h, c) = layer(x)
                found.append([numpy(t).copy() for t in (y, h, c)])
        finally:
            livegrad.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", MODES)
def test_second_order(mode):
    layer = getattr(nn, mode)(2, 3).double()
    x = livegrad.randn(3, 2, 2, dtype=livegrad.float64, requires_grad=True)
    h = livegrad.randn(1, 2, 3, dtype=livegrad.float64, requires_grad=True)
    c = livegrad.randn(1, 2, 3, dtype=livegrad.float64, requires_grad=True)

    def function(x, h, c, *weights):
        y, states = layer(x, (h, c) if mode == "LSTM" else h)
        return (y.sum(), *(s.sin().sum() for s in (states if mode == "LSTM" else (states,))))

    inputs = (x, h, c) if mode == "LSTM" else (x, h)
    checked = function if mode == "LSTM" else lambda x, h: function(x, h, None)
    with livegrad.compiling("always"):
        assert gradcheck(checked, inputs)
        assert gradgradcheck(checked, inputs)


def test_state_that_depends_on_the_input():
    """A gradient taken twice counts each path once."""
    layer = nn.GRU(2, 2).double()
    x = livegrad.randn(3, 1, 2, dtype=livegrad.float64, requires_grad=True)
    with livegrad.compiling("always"):
        assert gradgradcheck(lambda x: layer(x, x[:1] * 2)[0].sum(), (x,))


def test_states_by_half_types():
    """Types without a kernel go step by step."""
    y, (h, c) = nn.LSTM(3, 4).to(livegrad.bfloat16)(livegrad.ones(2, 2, 3, dtype=livegrad.bfloat16))
    assert y.dtype == h.dtype == c.dtype == livegrad.bfloat16


@pytest.mark.parametrize("mode", MODES)
def test_initial_values_and_names(mode):
    options = {"num_layers": 2, "bidirectional": True}
    livegrad.manual_seed(1)
    mine = getattr(nn, mode)(3, 4, **options)
    torch.manual_seed(1)
    theirs = getattr(torch.nn, mode)(3, 4, **options)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for a, b in zip(mine.parameters(), theirs.parameters()):
        identical(a, b)
    assert repr(mine) == repr(theirs)
    assert [[tuple(w.shape) for w in ws] for ws in mine.all_weights] == [
        [tuple(w.shape) for w in ws] for ws in theirs.all_weights
    ]
    mine.flatten_parameters()


REPRS = [
    "LSTM(3, 4, 2, bidirectional=True, proj_size=2, dropout=0.1, batch_first=True)", "GRU(3, 4, bias=False)",
    "RNN(3, 4, nonlinearity='relu')", "RNN(3, 4, 2, 'relu', False)", "LSTMCell(3, 4)", "GRUCell(3, 4, bias=False)",
    "RNNCell(3, 4, nonlinearity='relu')",
]  # fmt: skip


@pytest.mark.parametrize("text", REPRS)
def test_repr(text):
    mine, theirs = (eval(text, {**vars(m)}) for m in (nn, torch.nn))
    assert repr(mine) == repr(theirs)
    assert [(n, tuple(p.shape)) for n, p in mine.named_parameters()] == [
        (n, tuple(p.shape)) for n, p in theirs.named_parameters()
    ]


ERRORS = [
    "nn.LSTM(3, 4, dropout=1.5)", "nn.LSTM(3, 0)", "nn.LSTM(3, 4, num_layers=0)", "nn.LSTM(3, 4, proj_size=5)",
    "nn.LSTM(3, 4, proj_size=-1)", "nn.GRU(3, 4, proj_size=2)", "nn.LSTM(3, 4.0)", "nn.RNN(3, 4, nonlinearity='x')",
    "nn.LSTM(3, 4)(m.ones(2, 5))", "nn.LSTM(3, 4)(m.ones(2))", "nn.LSTM(3, 4)(m.ones(2, 2, 5))",
    "nn.LSTM(3, 4)(m.ones(2, 2, 3), (m.ones(1, 3, 4), m.ones(1, 2, 4)))",
    "nn.LSTM(3, 4)(m.ones(2, 2, 3), (m.ones(1, 4), m.ones(1, 2, 4)))", "nn.GRU(3, 4)(m.ones(2, 2, 3), m.ones(1, 4))",
    "nn.GRU(3, 4)(m.ones(2, 2, 3), m.ones(1, 1, 4))", "nn.GRU(3, 4)(m.ones(2, 3), m.ones(1, 1, 4))", "nn.RNN(3, 4)(m.ones(2, 2, 3), m.ones(1, 4))",
    "nn.RNN(3, 4)(m.ones(2, 3), m.ones(1, 1, 4))",
    "nn.LSTM(3, 4)(m.ones(2, 3), (m.ones(1, 1, 4), m.ones(1, 4)))", "nn.LSTM(3, 4, dropout=0.5)",
    "nn.LSTMCell(3, 4)(m.ones(2, 5))", "nn.LSTMCell(3, 4)(m.ones(2, 3), (m.ones(2, 5), m.ones(2, 4)))",
    "nn.LSTMCell(3, 4)(m.ones(2, 3, 3))", "nn.RNNCell(3, 4, nonlinearity='u')(m.ones(2, 3))",
    "nn.LSTM(3, 4)(m.ones(2, 2, 3).double())", "nn.GRUCell(3, 4)(m.ones(2, 3), m.ones(3, 4))",
    "nn.utils.rnn.pack_padded_sequence(m.ones(3, 2), [1, 3])",
    "nn.utils.rnn.pack_padded_sequence(m.ones(3, 2), [3, 0])",
    "nn.utils.rnn.pack_padded_sequence(m.ones(3, 2), [3])",
    "nn.utils.rnn.pad_packed_sequence(nn.utils.rnn.pack_padded_sequence(m.ones(3, 2), [3, 2]), total_length=2)",
]  # fmt: skip


@pytest.mark.parametrize("text", ERRORS)
def test_errors(text):
    mine = outcome(lambda: eval(text, {"m": livegrad, "nn": nn}))
    theirs = outcome(lambda: eval(text, {"m": torch, "nn": torch.nn}))
    assert mine[1:] == theirs[1:]


@pytest.mark.parametrize("text", ["LSTMCell(3, 4)", "GRUCell(3, 4)", "RNNCell(3, 4)", "RNNCell(3, 4, False, 'relu')"])
@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("given_state", [False, True])
def test_cells(text, batch, given_state):
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal((*batch, n)).astype(np.float32) for n in (3, 4, 4)]
    pairs = [pair(a, True) for a in arrays]
    found = []
    for k, m in enumerate((livegrad, torch)):
        m.manual_seed(2)
        cell = eval(text, {**vars(m.nn)})
        x, h, c = (p[k] for p in pairs)
        state = ((h, c) if "LSTM" in text else h) if given_state else None
        made = cell(x, state)
        made = made if isinstance(made, tuple) else (made,)
        sum(t.sum() for t in made).backward()
        found.append([*made, x.grad, *(p.grad for p in cell.parameters())])
    same(*found)


def test_packed_sequence():
    sequences = [np.arange(n, dtype=np.float32) + 10 * n for n in (4, 1, 3)]
    for enforce, order in ((False, [0, 1, 2]), (True, [0, 2, 1])):
        found = []
        for m in (livegrad, torch):
            module = m.nn.utils.rnn
            packed = module.pack_sequence([m.tensor(sequences[i]) for i in order], enforce_sorted=enforce)
            assert isinstance(packed, module.PackedSequence)
            padded = module.pad_packed_sequence(packed, True, -1.0, total_length=6)
            found.append([packed.data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices, *padded,
                          *module.unpack_sequence(packed), packed.to(m.float64).data])  # fmt: skip
        same(*found)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_packing_is_undone(lengths, batch_first):
    sequences = [livegrad.randn(n, 2) for n in lengths]
    packed = ours.pack_sequence(sequences, enforce_sorted=False)
    assert int(packed.batch_sizes.sum()) == sum(lengths)
    for a, b in zip(ours.unpack_sequence(packed), sequences, strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))
    padded = ours.pad_sequence(sequences, batch_first)
    again = ours.unpad_sequence(padded, livegrad.tensor(lengths), batch_first)
    for a, b in zip(again, sequences, strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))


def test_pad_sequence():
    arrays = [np.ones((n, 2), np.float32) * n for n in (2, 4, 1)]
    for options in ({}, {"batch_first": True, "padding_value": 3.0}, {"padding_side": "left"}):
        found = [m.nn.utils.rnn.pad_sequence([m.tensor(a) for a in arrays], **options) for m in (livegrad, torch)]
        same(*found)


def test_operations_in_the_graph():
    with livegrad.compiling("always"):
        y, _ = nn.LSTM(3, 5)(livegrad.ones(4, 2, 3))
    (node,) = livegrad.graph(y).find(op="lstm")
    assert node.flops == 2 * 4 * 2 * (20 * 3 + 20 * 5)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("rest", [(), (2,), (2, 3)])
def test_a_padded_batch_is_the_same_recorded_or_not(side, batch_first, rest):
    from livegrad.nn.utils.rnn import pad_sequence

    plain = [livegrad.randn(n, *rest) for n in (2, 4, 1, 3)]
    given = [x.clone().requires_grad_() for x in plain]
    kinds = {"batch_first": batch_first, "padding_side": side, "padding_value": 7.0}
    made, recorded = pad_sequence(plain, **kinds), pad_sequence(given, **kinds)
    assert livegrad.equal(made, recorded)
    assert made.is_contiguous()
    wanted = livegrad.full((4, 4, *rest), 7.0)
    for row, x in zip(wanted, plain):
        row[4 - len(x) if side == "left" else 0 :][: len(x)] = x
    assert livegrad.equal(made if batch_first else made.transpose(0, 1), wanted)
    recorded.sum().backward()
    assert all(livegrad.equal(x.grad, livegrad.ones_like(x)) for x in given)
    mixed = pad_sequence([plain[0], plain[1].double()], **kinds)
    assert mixed.dtype is livegrad.float64
