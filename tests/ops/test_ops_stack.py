"""Stacking views of one memory, which are copied at once, gives what stacking separate tensors gives."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

A = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("items", [[0, 1, 0], [-1, 1], [0]])
@pytest.mark.parametrize("make", ["tensor", "from_numpy"])
def test_items_of_one_tensor(order, items, make):
    results = []
    for module in (livegrad, torch):
        x = getattr(module, make)(A.copy()).permute(order)
        stacked = module.stack([x[i] for i in items])
        x[0] = 7.0  # comes after
        assert stacked.is_contiguous()
        results.append(stacked.numpy())
    np.testing.assert_array_equal(*results)


def test_items_written_before():
    x = livegrad.tensor(A)
    rows = [x[2], x[1]]
    x[1] = 5.0
    expected = A.copy()
    expected[1] = 5.0
    np.testing.assert_array_equal(livegrad.stack(rows).numpy(), expected[[2, 1]])


def test_items_of_different_spacing():
    x = livegrad.arange(12.0)
    found = livegrad.stack([x[:3], x[::4], x[9:]])
    assert found.tolist() == [[0, 1, 2], [0, 4, 8], [9, 10, 11]]


def test_gradients_flow_through_items():
    x = livegrad.tensor(A, requires_grad=True)
    livegrad.stack([x[0], x[2], x[0]]).sum().backward()
    assert x.grad[:, 0, 0].tolist() == [2, 0, 1, 0]


def test_empty_items():
    x = livegrad.zeros(3, 0)
    assert livegrad.stack([x[0], x[1]]).shape == (2, 0)
