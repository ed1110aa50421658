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


@pytest.mark.parametrize("mode", ["never", "always"])
@pytest.mark.parametrize("shape", [(), (3,), (4, 5), (2, 3, 4), (16, 20), (0, 3)])
@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_along_any_dimension_of_what_lies_anyhow(mode, shape, n):
    rng = np.random.default_rng(n)
    plain = [livegrad.from_numpy(rng.standard_normal(shape)) for _ in range(n)]
    pending = [x * 2 for x in plain]
    turned = [x.mT for x in plain] if len(shape) > 1 else plain
    with livegrad.compiling(mode):
        for pieces in (plain, pending, turned):
            for dim in range(-len(shape) - 1, len(shape) + 1):
                wanted = np.stack([x.numpy() for x in pieces], dim)
                np.testing.assert_array_equal(livegrad.stack(pieces, dim).numpy(), wanted)
            for dim in range(len(shape)):
                wanted = np.concatenate([x.numpy() for x in pieces], dim)
                np.testing.assert_array_equal(livegrad.cat(pieces, dim).numpy(), wanted)
        for dim in range(len(shape) + 1):
            given = [x.clone().requires_grad_() for x in turned]
            made = livegrad.stack(given, dim)
            weights = livegrad.from_numpy(rng.standard_normal(tuple(made.shape)))
            (made * weights).sum().backward()
            for i, x in enumerate(given):
                np.testing.assert_array_equal(x.grad.numpy(), weights.select(dim, i).numpy())
