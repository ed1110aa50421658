"""A program of ever new structures keeps the kernels that it wanted last, and frees the machine code of the others."""

import gc
import random
import threading

import numpy as np
import pytest

import livegrad
from livegrad.codegen import kernels
from livegrad.llvm import machine

pytestmark = pytest.mark.skipif(not machine.compiler_available(), reason="no compiler")

STEPS = [livegrad.sin, livegrad.cos, livegrad.tanh, livegrad.neg, livegrad.abs, lambda v: v * 0.5, lambda v: v + 1]
EXACT = [np.sin, np.cos, np.tanh, np.negative, np.abs, lambda v: v * 0.5, lambda v: v + 1]


@pytest.fixture
def few(monkeypatch):
    """Only so many kernels are kept, and so many share an engine."""
    known = kernels._Known(8)
    known.plans = kernels.KNOWN.plans
    monkeypatch.setattr(kernels, "KNOWN", known)
    monkeypatch.setattr(machine, "_TOGETHER", 4)
    for plans in known.plans:
        plans.clear()
    with livegrad.compiling("always"):
        yield known
    for plans in known.plans:
        plans.clear()


def _one_of_many(number: int, x, steps):
    chosen = random.Random(number)
    for _ in range(5):
        x = chosen.choice(steps)(x)
    return x


def _check(numbers, size=70):
    x = np.linspace(-2, 2, size, dtype=np.float64)
    for number in numbers:
        made = _one_of_many(number, livegrad.tensor(x), STEPS)
        np.testing.assert_allclose(made.numpy(), _one_of_many(number, x, EXACT), rtol=1e-12, atol=1e-12)


def test_the_number_of_kernels_is_bounded(few):
    before = machine.loaded_homes()
    _check(range(60))
    assert 8 <= len(few) <= 16
    gc.collect()
    _check([60])
    assert machine.loaded_homes() <= before + 16 // 4 + 3


def test_kernels_that_went_come_back(few):
    for _ in range(3):
        _check(range(20))


def test_what_is_used_all_the_time_stays(few):
    _check([1000])
    (key,) = few.young
    kernel = few.young[key]
    for number in range(60):
        _check([number, 1000])
    assert few.get(key) is kernel


def test_code_that_somebody_holds_stays(few):
    _check([5])
    (kernel,) = few.young.values()
    address, home = kernel.address, kernel.home
    _check(range(100, 140))
    assert kernel not in few.young.values() and kernel not in few.old.values()
    assert home in [grave() for grave in machine._loader.graves]
    assert kernel.address == address
    assert kernel.available(1)


def test_in_several_threads(few):
    failed = []

    def work(first):
        try:
            for again in range(2):
                _check(range(first, first + 25), size=300_000 if again else 50)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(200 + 10 * k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_reductions_rows_and_running_totals(few):
    x = np.linspace(-1, 1, 60).reshape(6, 10)
    for number in range(15):
        t = _one_of_many(number, livegrad.tensor(x), STEPS)
        want = _one_of_many(number, x, EXACT)
        np.testing.assert_allclose(t.sum(0).numpy(), want.sum(0), atol=1e-12)
        t = _one_of_many(number, livegrad.tensor(x), STEPS)
        np.testing.assert_allclose(t.cumsum(1).numpy(), want.cumsum(1), atol=1e-12)
        t = _one_of_many(number, livegrad.tensor(x), STEPS)
        e = np.exp(want - want.max(1, keepdims=True))
        np.testing.assert_allclose(t.softmax(1).numpy(), e / e.sum(1, keepdims=True), atol=1e-12)
    assert len(few) <= 16
