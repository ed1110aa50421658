"""Small linear algebra by our own LAPACK, against NumPy: layouts, batches, matrices that have no result."""

import numpy as np
import pytest

import livegrad
from livegrad.ops.decompositions import LinAlgError
from livegrad.runtime import blas, lapack

pytestmark = pytest.mark.skipif(not blas.available, reason="needs llvmlite and scipy-openblas32")

TOLERANCE = {livegrad.float32: 2e-4, livegrad.float64: 1e-11}
LAYOUTS = {
    "plain": lambda x: x,
    "transposed": lambda x: x.mT.contiguous().mT,
    "every other column": lambda x: livegrad.stack([x, x * 0], -1).flatten(-2)[..., ::2],
    "batch across": lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0) if x.dim() > 2 else x,
}


def random(*shape, dtype):
    return livegrad.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape)).to(dtype)


def near(found, wanted):
    assert found.is_contiguous()
    np.testing.assert_allclose(found.numpy(), wanted, rtol=TOLERANCE[found.dtype], atol=TOLERANCE[found.dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 1, 3), (0,)])
@pytest.mark.parametrize("n", [1, 2, 5, 33])
def test_results_are_those_of_numpy(dtype, layout, lead, n):
    x, b = random(*lead, n, n, dtype=dtype), random(*lead, n, 3, dtype=dtype)
    definite = x @ x.mT + n * livegrad.eye(n, dtype=dtype)
    a, b = LAYOUTS[layout](definite), LAYOUTS[layout](b)
    assert lapack.usable(a._value().ready())
    near(livegrad.linalg.cholesky(a), np.linalg.cholesky(a.numpy()))
    near(livegrad.linalg.inv(a), np.linalg.inv(a.numpy()))
    near(livegrad.linalg.solve(a, b), np.linalg.solve(a.numpy(), b.numpy()))
    for upper in (False, True):
        part = np.triu(a.numpy()) if upper else np.tril(a.numpy())
        near(livegrad.linalg.solve_triangular(a, b, upper=upper), np.linalg.solve(part, b.numpy()))
        ones = part - part * np.eye(n) + np.eye(n)
        found = livegrad.linalg.solve_triangular(a / (4 * n), b, upper=upper, unitriangular=True)
        near(found, np.linalg.solve((ones - np.eye(n)) / (4 * n) + np.eye(n), b.numpy()))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_batch_is_broadcast(dtype):
    a, b = random(4, 4, dtype=dtype) + 4 * livegrad.eye(4, dtype=dtype), random(2, 3, 4, 2, dtype=dtype)
    near(livegrad.linalg.solve(a, b), np.linalg.solve(a.numpy(), b.numpy()))
    lower = livegrad.tril(a)
    near(livegrad.linalg.solve_triangular(lower, b, upper=False), np.linalg.solve(lower.numpy(), b.numpy()))


def test_matrices_without_a_result_raise():
    good, bad = livegrad.eye(2), livegrad.tensor([[1.0, 2.0], [2.0, 4.0]])
    with pytest.raises(LinAlgError, match="Batch element 1"):
        livegrad.linalg.inv(livegrad.stack([good, bad]))
    with pytest.raises(LinAlgError, match="singular"):
        livegrad.linalg.solve(bad, livegrad.ones(2))
    with pytest.raises(LinAlgError, match="minor of order 2"):
        livegrad.linalg.cholesky(livegrad.tensor([[1.0, 2.0], [2.0, 1.0]]))


def test_a_zero_on_the_diagonal_divides():
    a = livegrad.tensor([[1.0, 0.0], [1.0, 0.0]])
    found = livegrad.linalg.solve_triangular(a, livegrad.tensor([[1.0], [3.0]]), upper=False)
    assert found[0].item() == 1.0
    assert found[1].item() == float("inf")


def test_several_threads_share_a_batch():
    threads = livegrad.get_num_threads()
    x, b = random(64, 24, 24, dtype=livegrad.float64), random(64, 24, 5, dtype=livegrad.float64)
    a = x @ x.mT + 24 * livegrad.eye(24, dtype=livegrad.float64)
    try:
        found = []
        for n in (1, 3):
            livegrad.set_num_threads(n)
            found.append([livegrad.linalg.cholesky(a), livegrad.linalg.solve(a, b)])
    finally:
        livegrad.set_num_threads(threads)
    for one, several in zip(*found):
        assert livegrad.equal(one, several)


def test_triangles_that_are_kept_are_not_changed():
    for _ in range(2):
        assert livegrad.tril(livegrad.ones(2, 2)).tolist() == [[1, 0], [1, 1]]
        livegrad.ones(2, 2).tril_().add_(1)
        x = livegrad.ones(2, 3, dtype=livegrad.bool)
        assert livegrad.triu(x, 1).tolist() == [[False, True, True], [False, False, True]]


@pytest.mark.parametrize("n", [1, 3, 64, 65, 130])
def test_inverses(n):
    a = np.random.default_rng(n).normal(size=(2, n, n)) + 2 * np.eye(n)
    x = livegrad.tensor(a)
    np.testing.assert_allclose(livegrad.linalg.inv(x).numpy(), np.linalg.inv(a), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(
        livegrad.linalg.inv(x.mT).numpy(), np.linalg.inv(a.transpose(0, 2, 1)), rtol=1e-7, atol=1e-9
    )
    with pytest.raises(RuntimeError, match="singular"):
        livegrad.linalg.inv(livegrad.stack([x[0], x[0] * 0]))
