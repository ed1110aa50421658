"""swap_tensors: who holds one tensor has the other."""

import weakref

import pytest

import livegrad
from livegrad import nn
from livegrad.utils import swap_tensors


def test_data_class_attributes_and_gradient():
    a, b = nn.Parameter(livegrad.ones(2)), livegrad.zeros(3, dtype=livegrad.float64)
    a.note, a.grad, holder = "noted", livegrad.full((2,), 5.0), [a]
    swap_tensors(a, b)
    assert type(holder[0]) is livegrad.Tensor and a.tolist() == [0.0] * 3 and a.grad is None
    assert isinstance(b, nn.Parameter) and b.note == "noted" and b.grad.tolist() == [5.0, 5.0]
    assert not hasattr(a, "note")
    a += 1
    b.data *= 2
    assert a.tolist() == [1.0] * 3 and b.tolist() == [2.0, 2.0]


def test_graphs_give_gradients_to_the_leaf_they_were_recorded_for():
    a, b = livegrad.ones(2, requires_grad=True), livegrad.zeros(2, requires_grad=True)
    y = (a * 3).sum()
    swap_tensors(a, b)
    y.backward()
    assert b.grad.tolist() == [3.0, 3.0] and a.grad is None


def test_views_share_memory_with_what_they_are_of():
    a, b = livegrad.ones(4), livegrad.zeros(2)
    view = a[:2]
    swap_tensors(a, b)
    b[0] = 7.0
    assert view.tolist() == [7.0, 1.0] and view._base is b and a.tolist() == [0.0, 0.0]


def test_results_and_pending_work():
    a, b = livegrad.ones(2, requires_grad=True).exp(), livegrad.ones(2) * 3
    swap_tensors(a, b)
    assert b.grad_fn.name() == "ExpBackward0" and a.tolist() == [3.0, 3.0] and a.grad_fn is None


def test_what_is_refused():
    class Slotted(livegrad.Tensor):
        __slots__ = ("more",)

    with pytest.raises(RuntimeError, match="different slots"):
        swap_tensors(livegrad.ones(1), livegrad.ones(1).as_subclass(Slotted))
    kept, a = weakref.WeakKeyDictionary(), livegrad.ones(1)
    kept[a] = 1
    with pytest.raises(RuntimeError, match="Cannot swap t1 because it has weakref"):
        swap_tensors(a, livegrad.ones(1))
    with pytest.raises(TypeError, match="expects tensors"):
        swap_tensors(a, 1)
