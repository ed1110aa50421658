"""livegrad.linalg against NumPy and central differences."""

import numpy as np
import pytest

import livegrad as lg
from livegrad import linalg

rng = np.random.default_rng(0)


def matrix(*shape):
    return rng.standard_normal(shape) + 3 * np.eye(shape[-2], shape[-1])


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 4)])
def test_values(shape):
    a = matrix(*shape)
    b = rng.standard_normal((*shape[:-1], 2))
    A, B = lg.tensor(a), lg.tensor(b)
    np.testing.assert_allclose(linalg.inv(A).numpy(), np.linalg.inv(a))
    np.testing.assert_allclose(linalg.solve(A, B).numpy(), np.linalg.solve(a, b))
    np.testing.assert_allclose(linalg.det(A).numpy(), np.linalg.det(a))
    np.testing.assert_allclose(linalg.slogdet(A).logabsdet.numpy(), np.linalg.slogdet(a)[1])
    np.testing.assert_allclose(linalg.matrix_power(A, 3).numpy(), a @ a @ a)
    q, r = linalg.qr(A)
    np.testing.assert_allclose((q @ r).numpy(), a, atol=1e-12)
    u, s, vh = linalg.svd(A)
    np.testing.assert_allclose((u @ (s.unsqueeze(-1) * vh)).numpy(), a, atol=1e-12)


@pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, float("inf")])
def test_matrix_norms(ord):
    a = matrix(3, 4)
    np.testing.assert_allclose(linalg.norm(lg.tensor(a), ord).item(), np.linalg.norm(a, ord))


@pytest.mark.parametrize("function", [linalg.inv, linalg.det, lambda a: linalg.slogdet(a)[1], linalg.norm])
def test_gradients(function):
    a = lg.tensor(matrix(3, 3), requires_grad=True)
    assert lg.autograd.gradcheck(function, a)
    assert lg.autograd.gradgradcheck(function, a)


def test_gradients_of_solve():
    a = lg.tensor(matrix(3, 3), requires_grad=True)
    b = lg.tensor(matrix(3, 2), requires_grad=True)
    assert lg.autograd.gradcheck(linalg.solve, (a, b))
    assert lg.autograd.gradgradcheck(linalg.solve, (a, b))


def test_errors():
    with pytest.raises(RuntimeError, match="Singular"):
        linalg.inv(lg.zeros(2, 2))
    with pytest.raises(RuntimeError, match="square"):
        linalg.inv(lg.zeros(2, 3))
    with pytest.raises(RuntimeError, match="no gradient here"):
        linalg.qr(lg.ones(2, 2, requires_grad=True))
