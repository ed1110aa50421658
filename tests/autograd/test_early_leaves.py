"""Gradients of leaves that somebody waits for are complete, and told, before the backward pass is over."""

import pytest

import livegrad
from livegrad.autograd import engine


@pytest.fixture
def hurried():
    engine.RUNNING.hurried.add(0)
    yield
    engine.RUNNING.hurried.discard(0)


def watched(events, name, t):
    t._edge.soon = True
    t.register_post_accumulate_grad_hook(lambda p: events.append((name, p.grad.tolist())))
    return t


def test_a_leaf_is_complete_with_its_last_gradient(hurried):
    events = []
    first, twice, last = (
        watched(events, name, livegrad.full((2,), value, requires_grad=True))
        for name, value in (("first", 2.0), ("twice", 3.0), ("last", 5.0))
    )
    early = first * twice
    early.register_hook(lambda g: events.append("early"))
    late = early * twice
    late.register_hook(lambda g: events.append("late"))
    (late * last).sum().backward()
    assert events == [
        ("last", [18.0, 18.0]), "late", "early", ("first", [45.0, 45.0]), ("twice", [60.0, 60.0]),
    ] or events == [("last", [18.0, 18.0]), "late", "early", ("twice", [60.0, 60.0]), ("first", [45.0, 45.0])]  # fmt: skip


def test_one_that_gets_less_than_it_could_is_complete_at_the_end(hurried):
    class Nothing(livegrad.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g, None

    events = []
    x, y = (watched(events, name, livegrad.ones(1, requires_grad=True)) for name in "xy")
    (Nothing.apply(x, y) * y).backward()
    assert sorted(events) == [("x", [1.0]), ("y", [2.0])]
    events.clear()
    loss = (x * y).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert [name for name, _ in events].count("x") == 2 and x.grad.tolist() == [3.0]


def test_an_error_in_a_hook_comes_out(hurried):
    x = livegrad.ones(1, requires_grad=True)
    x._edge.soon = True

    def hook(p):
        raise ValueError("no more")

    x.register_post_accumulate_grad_hook(hook)
    called = []
    engine.after_pass(lambda: called.append(1))
    with pytest.raises(ValueError, match="no more"):
        (x * 2).sum().backward()
    assert not called
    engine.after_pass(lambda: called.append(2))
    livegrad.ones(1, requires_grad=True).sum().backward()
    assert called == [2]
