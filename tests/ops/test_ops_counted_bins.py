"""Counts in bins by a kernel are NumPy's; index grids and combinations are those of their definitions."""

import itertools

import numpy as np
import pytest

import livegrad
from livegrad.runtime.histogram import histogram


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("low, high", [(-1.0, 1.0), (0.1, 0.1001), (-1e30, 1e30), (1.0, 1.0 + 1e-6)])
@pytest.mark.parametrize("bins", [1, 7, 100])
def test_edges_decide(dtype, low, high, bins):
    rng = np.random.default_rng(0)
    a = np.concatenate([rng.normal(size=500), np.linspace(low, high, 300), [low, high, np.nan, np.inf, -np.inf]])
    a = a.astype(dtype)
    with livegrad.compiling("always"):
        made = histogram(a, bins, low, high)
    with livegrad.compiling("never"):
        expected = histogram(a, bins, low, high)
    assert made.tolist() == expected.tolist()


def test_counts_by_any_number_of_threads():
    x = livegrad.randn(300_000)
    before = livegrad.get_num_threads()
    try:
        livegrad.set_num_threads(1)
        made = x.histc(50)
        livegrad.set_num_threads(3)
        assert livegrad.equal(made, x.histc(50)) and made.sum() == 300_000
    finally:
        livegrad.set_num_threads(before)


@pytest.mark.parametrize("rows, columns", [(4, 5), (5, 4), (0, 3), (3, 0), (1, 1)])
@pytest.mark.parametrize("offset", [-9, -2, 0, 3, 9])
def test_indices_of_triangles(rows, columns, offset):
    for ours, theirs in ((livegrad.tril_indices, np.tril_indices), (livegrad.triu_indices, np.triu_indices)):
        made = ours(rows, columns, offset)
        assert made.tolist() == [part.tolist() for part in theirs(rows, offset, columns)]


@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("r", [1, 2, 3, 6])
def test_combinations_are_in_order(n, r):
    x = livegrad.arange(10.0, 10.0 + n)
    for again, choose in ((False, itertools.combinations), (True, itertools.combinations_with_replacement)):
        made = livegrad.combinations(x, r, again)
        expected = list(choose(x.tolist(), r))
        assert made.shape == (len(expected), r) and made.tolist() == [list(row) for row in expected]


def test_many_rows_of_one():
    index = livegrad.arange(300) * 7 % 300
    made = livegrad.nn.functional.one_hot(index)
    assert made.dtype is livegrad.int64 and livegrad.equal(made.argmax(1), index) and made.sum() == 300
