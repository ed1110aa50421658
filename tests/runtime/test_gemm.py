"""Matrix products by the kernel of our own: every layout, sizes that fill panels and that do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad.llvm import machine
from livegrad.nn import functional as F
from livegrad.runtime import gemm

pytestmark = pytest.mark.skipif(
    not machine.compiler_available() or machine.host_vector_bytes() == 16, reason="the kernel is not for this machine"
)
rng = np.random.default_rng(0)
SIZES = [(128, 128, 128), (100, 130, 77), (768, 65, 128), (97, 1000, 300), (33, 17, 2000), (300, 300, 513),
         (300, 32, 64), (300, 40, 64), (256, 56, 40), (130, 50, 130)]  # fmt: skip
TOLERANCE = {"float32": 2e-5, "float64": 1e-13}


@pytest.fixture
def used(monkeypatch):
    """Grows by True for each product that the kernel computes."""
    found = []

    def watch(kernel):
        pack = kernel.pack

        def noted(*args):
            found.append(True)
            return pack(*args)

        monkeypatch.setattr(kernel, "pack", noted)

    for kind in ("f32", "f64"):
        for turned in (False, True):
            watch(gemm._kernel(kind, turned))
    return found


def operand(rows, columns, dtype, turned):
    """A matrix, the transpose of a plain one if `turned`, and the same as an array."""
    a = rng.standard_normal((columns, rows) if turned else (rows, columns)).astype(dtype)
    return (livegrad.tensor(a).t(), a.T) if turned else (livegrad.tensor(a), a)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_layouts(size, dtype, used):
    m, n, k = size
    for turned in (False, True):
        (x, a), (y, b) = operand(m, k, dtype, False), operand(k, n, dtype, turned)
        bias = rng.standard_normal(n).astype(dtype)
        exact = a.astype(np.float64) @ b.astype(np.float64)
        bound = TOLERANCE[dtype] * k**0.5
        np.testing.assert_allclose((x @ y).numpy(), exact, rtol=0, atol=bound)
        np.testing.assert_allclose(F.linear(x, y.t(), livegrad.tensor(bias)).numpy(), exact + bias, rtol=0, atol=bound)
        np.testing.assert_allclose(
            livegrad.addmm(livegrad.tensor(bias), x, y).numpy(), exact + bias, rtol=0, atol=bound
        )
    assert used == [True] * (6 if gemm.worthwhile(m, n, k) else 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_transposed_left_operand(size, dtype, used):
    m, n, k = size
    for turned in (False, True):
        (x, a), (y, b) = operand(m, k, dtype, True), operand(k, n, dtype, turned)
        exact = a.astype(np.float64) @ b.astype(np.float64)
        np.testing.assert_allclose((x @ y).numpy(), exact, rtol=0, atol=TOLERANCE[dtype] * k**0.5)
    assert used == [True] * (2 if gemm.worthwhile(m, n, k) else 0)


def test_transposed_left_operand_gives_the_same_numbers_for_any_threads(used):
    x, y = livegrad.randn(90, 130).t(), livegrad.randn(90, 140)
    before, found = livegrad.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            livegrad.set_num_threads(threads)
            found.append((x @ y).numpy().copy())
    finally:
        livegrad.set_num_threads(before)
    assert all(used)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_steps_in_both_directions_are_copied_first(used):
    a, b = rng.standard_normal((128, 256)), rng.standard_normal((128, 128))
    x, y = livegrad.tensor(a)[:, ::2], livegrad.tensor(b)
    np.testing.assert_allclose((x @ y).numpy(), a[:, ::2] @ b, rtol=0, atol=1e-12)
    assert used == [True]


def test_result_does_not_depend_on_threads(used):
    x, y = livegrad.randn(3, 130, 90), livegrad.randn(3, 90, 140)
    before, found = livegrad.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            livegrad.set_num_threads(threads)
            found.append(((x @ y).numpy().copy(), (x @ y[0]).numpy().copy()))
    finally:
        livegrad.set_num_threads(before)
    assert all(used)
    np.testing.assert_allclose(found[0][0], x.numpy() @ y.numpy(), atol=1e-4)
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


def test_not_a_number_stays_in_its_row_and_column():
    x, y = livegrad.ones(100, 100), livegrad.ones(100, 100)
    x[3, 5] = float("nan")
    made = (x @ y).isnan()
    assert bool(made[3].all())
    assert int(made.sum()) == 100


@given(st.integers(24, 200), st.integers(16, 200), st.integers(16, 300), st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_size(m, n, k, turned):
    (x, a), (y, b) = operand(m, k, "float64", False), operand(k, n, "float64", turned)
    np.testing.assert_allclose((x @ y).numpy(), a @ b, rtol=0, atol=1e-11)
