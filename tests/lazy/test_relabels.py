"""Views that only give a pending value another shape stay pending, and nobody can tell.

Random programs mix them with broadcasting, other views, in-place operators and reductions; the results are PyTorch's in
every mode of evaluation.
"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad.observe import WATCH, Observer

SHAPES = [(12,), (3, 4), (4, 3), (2, 6), (1, 12), (12, 1), (2, 2, 3), (3, 1, 4), (2, 1, 2, 3)]
SMALL = [(), (1,), (4,), (3,), (3, 1), (6,), (1, 1)]
MODES = {
    "deferred": contextlib.nullcontext,
    "eager": livegrad.eager,
    "interpreted": lambda: livegrad.compiling("never"),
    "compiled": lambda: livegrad.compiling("always"),
}

# Which of the tensors there are, counted from the latest one.
place = st.sampled_from([0, 0, 0, 0, 1, 1, 2, *range(3, 14)])
STEPS = st.one_of(
    st.tuples(st.just("reshape"), place, st.sampled_from(SHAPES)),
    st.tuples(st.just("unsqueeze"), place, place),
    st.tuples(st.just("squeeze"), place),
    st.tuples(st.just("flatten"), place),
    st.tuples(st.just("binary"), place, place, st.sampled_from("+-*")),
    st.tuples(st.just("unary"), place),
    st.tuples(st.just("transpose"), place, place, place),
    st.tuples(st.just("slice"), place, place),
    st.tuples(st.just("expand"), place, place),
    st.tuples(st.just("write"), place),
    st.tuples(st.just("add in place"), place, place),
    st.tuples(st.just("write a part"), place, place),
    st.tuples(st.just("sum"), place, place, st.booleans()),
    st.tuples(st.just("softmax"), place, place),
    st.tuples(st.just("forget"), place),
    st.tuples(st.just("read"), place),
)


def step(m, held: list, kind: str, k: int, *rest) -> None:
    t = held[-1 - k % len(held)]
    dim = rest[0] % max(t.dim(), 1) if rest and isinstance(rest[0], int) else 0
    if kind == "reshape" and t.numel() == 12:
        held.append(t.reshape(rest[0]))
    elif kind == "unsqueeze" and t.dim() < 5:
        held.append(t.unsqueeze(rest[0] % (t.dim() + 1)))
    elif kind == "squeeze":
        held.append(t.squeeze())
    elif kind == "flatten":
        held.append(t.flatten())
    elif kind == "binary":
        other = held[-1 - rest[0] % len(held)]
        with contextlib.suppress(RuntimeError):
            made = t + other if rest[1] == "+" else t - other if rest[1] == "-" else t * other
            if made.numel() <= 48:
                held.append(made)
    elif kind == "unary":
        held.append(t.sin() + 0.25)
    elif kind == "transpose" and t.dim():
        held.append(t.transpose(dim, rest[1] % t.dim()))
    elif kind == "slice" and t.dim() and t.shape[dim] > 1:
        held.append(t.narrow(dim, 1, t.shape[dim] - 1))
    elif kind == "expand" and t.numel() <= 12:
        held.append(t.expand(2, *t.shape))
    elif kind == "write" and 0 not in t.stride():
        t.mul_(0.5)
    elif kind == "add in place" and 0 not in t.stride():
        other = held[-1 - rest[0] % len(held)]
        if other.shape == t.shape:
            t.add_(other.clone())
    elif kind == "write a part" and t.dim() and 0 not in t.stride():
        t.select(dim, 0).sub_(1.5)
    elif kind == "sum" and t.dim():
        held.append(t.sum(dim, rest[1]))
    elif kind == "softmax" and t.dim():
        held.append(t.softmax(dim))
    elif kind == "forget" and len(held) > 1:
        held.pop(-1 - k % len(held))
    elif kind == "read":
        t.tolist()


def start(m, grad: bool) -> list:
    held = [m.arange(float(m.ones(s).numel())).reshape(s).add(1).div(7).requires_grad_(grad) for s in SMALL]
    held += [m.arange(12.0).reshape(s).div(7).requires_grad_(grad) for s in SHAPES[:3]]
    return held + [t * 1.25 for t in held] if grad else held


def results(m, steps: list) -> list:
    held = start(m, False)
    for each in steps:
        step(m, held, *each)
    # The latest first: what it was made of is still pending then.
    return [(tuple(t.shape), t.flatten().tolist()) for t in reversed(held)]


def gradients(m, steps: list) -> list:
    """The same with a record, of steps that do not write."""
    held = start(m, True)
    leaves = held[: len(held) // 2]
    for each in steps:
        if each[0] not in ("write", "add in place", "write a part"):
            step(m, held, *each)
    sum(((t * t).sum() for t in held if t.requires_grad), m.zeros(())).backward()
    return [(tuple(t.shape), t.grad.flatten().tolist()) for t in leaves if t.grad is not None]


def close(found: list, expected: list) -> None:
    assert [shape for shape, _ in found] == [shape for shape, _ in expected]
    for (_, a), (_, b) in zip(found, expected):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=250, deadline=None)
@given(steps=st.lists(STEPS, min_size=3, max_size=14))
def test_as_in_pytorch(mode, steps):
    torch = pytest.importorskip("torch")
    with MODES[mode]():
        close(results(livegrad, steps), results(torch, steps))


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=120, deadline=None)
@given(steps=st.lists(STEPS, min_size=3, max_size=10))
def test_gradients_as_in_pytorch(mode, steps):
    torch = pytest.importorskip("torch")
    with MODES[mode]():
        close(gradients(livegrad, steps), gradients(torch, steps))


class Launches(Observer):
    """Notes what is launched: the names of the operators, and the reduction's."""

    def __init__(self):
        self.names = []

    def begin(self, name, nodes, leaves, outputs, shape, reason):
        self.names.append(" ".join([*(v.instr.op.name for v in nodes), name]).strip())

    def begin_batch(self):
        return None


@pytest.fixture
def launches():
    before, WATCH.observer = WATCH.observer, Launches()
    yield WATCH.observer.names
    WATCH.observer = before


VIEWS = {
    "squeeze": lambda t: t.squeeze(1),
    "unsqueeze": lambda t: t.unsqueeze(0),
    "view": lambda t: t.view(-1),
    "reshape": lambda t: t.reshape(2, 4),
    "flatten": lambda t: t.flatten(),
    "chain": lambda t: t.view(2, 4).unsqueeze(1).flatten(),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("grad", [False, True])
def test_no_view_computes_anything(name, grad, launches):
    x = livegrad.ones(8, 1, requires_grad=grad)
    y = VIEWS[name](x + 1) * 2
    assert launches == []
    assert y.sum().item() == 32
    assert [n.replace("view ", "") for n in launches] == ["add mul sum"]


def test_both_shapes_take_one_memory(launches):
    x = livegrad.ones(8, 1)
    y = x + 1
    z = y.squeeze(1)
    assert (z * 2).tolist() == [4.0] * 8
    assert len(launches) == 1
    assert z.tolist() == [2.0] * 8 and y.tolist() == [[2.0]] * 8
    assert len(launches) == 1
    assert z._value().array.block is y._value().array.block


def test_writes_are_seen_through_both():
    x = livegrad.ones(4, 1)
    y = x + 1
    z = y.squeeze(1)
    before = z * 10
    y.add_(1)
    assert z.tolist() == [3.0] * 4
    z[0] = 7
    assert y.tolist() == [[7.0], [3.0], [3.0], [3.0]]
    assert before.tolist() == [20.0] * 4


def test_a_change_is_told_to_backward():
    x = livegrad.ones(4, 1, requires_grad=True)
    y = x * 2
    z = y.squeeze(1)
    loss = (z * z).sum()
    with livegrad.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_broadcast_operands_are_read_under_other_names(launches):
    x, row = livegrad.arange(12.0).reshape(3, 4), livegrad.arange(4.0)
    y = (x + row).reshape(1, 3, 4) * 2
    assert y.tolist() == [[[0.0, 4.0, 8.0, 12.0], [8.0, 12.0, 16.0, 20.0], [16.0, 20.0, 24.0, 28.0]]]
    assert len(launches) == 1
    flat = (x + row).reshape(12) * 2  # no strides walk the row that way: it takes a kernel of its own
    assert flat.tolist() == [n for r in y.tolist()[0] for n in r]
    assert len(launches) == 3
