"""Decompositions of small matrices run on one of NumPy's threads, and leave its number of threads as it was."""

import numpy as np
import pytest

import livegrad
from livegrad.runtime import numpy_threads


@pytest.fixture
def threads():
    found = numpy_threads._functions()
    if found is None:
        pytest.skip("NumPy has another library than OpenBLAS")
    get, put = found
    before = get()
    put(2)
    yield get
    put(before)


def seen(n, get):
    counts = []
    numpy_threads.call(lambda a: counts.append(get()), [np.eye(n)], {})
    assert get() == 2
    return counts


def test_small_ones_run_on_one_thread(threads, monkeypatch):
    monkeypatch.setattr(numpy_threads.pool, "get_num_threads", lambda: 2)
    assert seen(numpy_threads.SMALL, threads) == [1]
    assert seen(numpy_threads.SMALL + 1, threads) == [2]


def test_all_do_when_livegrad_has_one_thread(threads, monkeypatch):
    monkeypatch.setattr(numpy_threads.pool, "get_num_threads", lambda: 1)
    assert seen(numpy_threads.SMALL + 1, threads) == [1]


def test_calls_within_each_other_and_errors_leave_the_number(threads):
    one = np.eye(3)
    numpy_threads.call(lambda a: numpy_threads.call(np.linalg.inv, [a], {}), [one], {})
    assert threads() == 2
    with pytest.raises(RuntimeError, match="ingular"):
        livegrad.linalg.inv(livegrad.zeros(3, 3))
    assert threads() == 2
