"""Rows added at places (index_add, index_put, the gradient of looking up): the kernel adds what NumPy adds, in one order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad.nn import functional as F


def gradient(table, places, weights):
    w = livegrad.tensor(table, requires_grad=True)
    (F.embedding(livegrad.tensor(places), w) * livegrad.tensor(weights)).sum().backward()
    return w.grad.numpy()


@pytest.mark.parametrize("policy", ["always", "never"])
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 30), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_equals_numpy(policy, rows, columns, count, seed):
    rng = np.random.default_rng(seed)
    table, weights = rng.standard_normal((rows, columns)), rng.standard_normal((count, columns))
    places = rng.integers(0, rows, count)
    expected = np.zeros_like(table)
    np.add.at(expected, places, weights)
    with livegrad.compiling(policy):
        np.testing.assert_array_equal(gradient(table, places, weights), expected)


def test_negative_indices_threads_and_float32():
    rng = np.random.default_rng(0)
    table, weights = (rng.standard_normal(s).astype(np.float32) for s in ((50, 130), (3000, 130)))
    places = rng.integers(0, 50, 3000)
    before, found = livegrad.get_num_threads(), []
    with livegrad.compiling("always"):
        try:
            for threads in (1, 2, 3):
                livegrad.set_num_threads(threads)
                found.append(gradient(table, places, weights).copy())
        finally:
            livegrad.set_num_threads(before)
        x = livegrad.tensor(table, requires_grad=True)
        x[livegrad.tensor([-1, 0, -1])].sum().backward()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert x.grad[-1].tolist() == [2.0] * 130
    assert x.grad[0].tolist() == [1.0] * 130


@pytest.mark.parametrize("policy", ["always", "never"])
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 30), st.integers(0, 99), st.sampled_from(["f4", "f8"]))
@settings(max_examples=25, deadline=None)
def test_index_add_and_index_put_equal_numpy(policy, rows, columns, count, seed, kind):
    rng = np.random.default_rng(seed)
    table, added = rng.standard_normal((rows, columns)).astype(kind), rng.standard_normal((columns, count)).astype(kind)
    places = rng.integers(0, rows, count)
    expected = table.copy()
    np.add.at(expected, places, added.T)
    with livegrad.compiling(policy):
        x, index, source = livegrad.tensor(table), livegrad.tensor(places), livegrad.tensor(added).t()
        np.testing.assert_array_equal(x.index_add(0, index, source).numpy(), expected)
        np.testing.assert_array_equal(x.index_put((index - rows,), source, accumulate=True).numpy(), expected)
        np.testing.assert_array_equal(x.numpy(), table)  # which neither of them changes
        one = x.index_put((index,), source[0], accumulate=True).numpy()  # a row that is broadcast
        np.add.at(table, places, added.T[0])
        np.testing.assert_array_equal(one, table)
        with pytest.raises((IndexError, RuntimeError), match="out of (bounds|range)"):
            x.index_add(0, livegrad.full((count,), rows), source)
