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
    with pytest.raises(RuntimeError, match="element 1 is zero.*singular"):
        linalg.inv(lg.zeros(2, 2))
    with pytest.raises(RuntimeError, match="square"):
        linalg.inv(lg.zeros(2, 3))
    for mode, shape in (("r", (2, 3)), ("complete", (3, 2))):
        found = linalg.qr(lg.ones(shape, requires_grad=True), mode)[1]
        with pytest.raises(RuntimeError, match="not differentiable"):
            found.sum().backward()


def test_gradients_of_wide_and_whole_forms():
    for m, n in ((2, 4), (4, 2)):
        x = lg.tensor(matrix(m, n), requires_grad=True)
        k = min(m, n)
        gradients = []
        for full in (True, False):
            u, s, vh = linalg.svd(x, full_matrices=full)
            gradients += lg.autograd.grad((u[:, :k].abs() * s).sum() + vh[:k].abs().sum(), x)
        assert lg.allclose(*gradients)
    x = lg.tensor(matrix(2, 4), requires_grad=True)
    assert lg.autograd.gradcheck(lambda x: linalg.qr(x), (x,))


_B32, _B42, _B23 = (lg.tensor(matrix(*shape)) for shape in ((3, 2), (4, 2), (2, 3)))


def _positive(x):
    return x @ x.mT + 2 * lg.eye(x.shape[-1], dtype=x.dtype)


def _unsigned(parts, *signed):
    """Results whose sign is a matter of taste without it."""
    return tuple(p if k in signed else p.abs() for k, p in enumerate(parts))


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: linalg.cholesky(_positive(x)), (2, 3, 3)),
        (lambda x: linalg.cholesky(_positive(x), upper=True), (3, 3)),
        (lambda x: _unsigned(linalg.eigh(x + x.mT), 0), (3, 3)),
        (lambda x: linalg.eigvalsh(x + x.mT), (2, 3, 3)),
        (linalg.svdvals, (3, 4)),
        (lambda x: _unsigned(linalg.svd(x, full_matrices=False), 1), (4, 3)),
        (lambda x: _unsigned(linalg.svd(x, full_matrices=False), 1), (2, 3, 4)),
        (lambda x: tuple(linalg.qr(x)), (4, 3)),
        (lambda x: linalg.qr(x)[1], (2, 3, 3)),
        (linalg.pinv, (4, 3)),
        (linalg.pinv, (2, 3, 4)),
        (lambda x: linalg.lstsq(x, _B42)[0], (4, 3)),
        (lambda x: linalg.solve_triangular(x, _B32, upper=True), (3, 3)),
        (
            lambda x: linalg.solve_triangular(x, _B23, upper=False, left=False, unitriangular=True),
            (3, 3),
        ),
        (lambda x: linalg.multi_dot([x, x.mT, x]), (2, 3)),
    ],
)
def test_gradients_of_decompositions(function, shape):
    a = lg.tensor(np.random.default_rng(1).standard_normal(shape), requires_grad=True)
    assert lg.autograd.gradcheck(function, a)
    assert lg.autograd.gradgradcheck(function, a)


def test_solve_triangular_reads_one_triangle():
    a, b = matrix(3, 3) + 3 * np.eye(3), matrix(3, 2)
    x = linalg.solve_triangular(lg.tensor(a), lg.tensor(b), upper=True).numpy()
    np.testing.assert_allclose(np.triu(a) @ x, b, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("part", ["values", "vectors", "both"])
def test_eig_and_its_gradient_are_pytorchs(dtype, part):
    torch = pytest.importorskip("torch")
    numbers = np.random.default_rng(0)
    a = numbers.normal(size=(2, 4, 4)) + (1j * numbers.normal(size=(2, 4, 4)) if dtype == "complex128" else 0)
    results = []
    for lib in (lg, torch):
        x = lib.tensor(a).requires_grad_()
        values, vectors = lib.linalg.eig(x)
        loss = 0
        if part != "vectors":
            loss = loss + (values.abs() ** 3).sum()
        if part != "values":
            loss = loss + (vectors.abs() ** 3 * lib.arange(4, dtype=lib.float64)).sum()
        loss.backward()
        assert lib.linalg.eigvals(x).dtype is lib.complex128
        results.append((values.detach().numpy(), loss.item(), x.grad.numpy()))
    for mine, its in zip(*results, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-9, atol=1e-9)


def test_eig_differentiates_twice_and_refuses():
    x = lg.tensor(np.random.default_rng(1).normal(size=(3, 3)), requires_grad=True)
    assert lg.autograd.gradgradcheck(lambda t: lg.linalg.eigvals(t).abs(), (x,))
    values, vectors = lg.linalg.eig(x.detach())
    assert np.allclose((vectors * values).numpy(), x.detach().to(lg.complex128).matmul(vectors).numpy())
    with pytest.raises(RuntimeError, match="must be batches of square matrices"):
        lg.linalg.eig(lg.ones(2, 3))


BATCH = np.array([[[4.0, 2.0], [2.0, 3.0]], [[1.0, 2.0], [2.0, 1.0]], [[-1.0, 0.0], [0.0, 1.0]]])


def test_factors_that_there_are_not_are_reported():
    torch = pytest.importorskip("torch")
    found, expected = (m.linalg.cholesky_ex(m.tensor(BATCH)) for m in (lg, torch))
    assert found.info.tolist() == expected.info.tolist() == [0, 2, 1]
    np.testing.assert_allclose(found.L.numpy(), expected.L.numpy())
    assert lg.linalg.cholesky_ex(lg.tensor(BATCH[0]), upper=True).L.tolist()[1][0] == 0
    for m in (lg, torch):
        with pytest.raises(RuntimeError, match="leading minor of order 2"):
            m.linalg.cholesky_ex(m.tensor(BATCH), check_errors=True)


def test_inverses_that_there_are_not_are_reported():
    torch = pytest.importorskip("torch")
    a = np.array([[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 1.0]]])
    for name, others in (("inv_ex", ()), ("solve_ex", (np.ones((3, 2, 1)),))):
        found, expected = (getattr(m.linalg, name)(m.tensor(a), *(m.tensor(o) for o in others)) for m in (lg, torch))
        assert found.info.tolist() == expected.info.tolist() == [0, 2, 1]
        np.testing.assert_allclose(found[0][0].numpy(), expected[0][0].numpy())
        assert not found[0][1:].isfinite().any()
        for m in (lg, torch):
            with pytest.raises(RuntimeError, match="singular"):
                getattr(m.linalg, name)(m.tensor(a), *(m.tensor(o) for o in others), check_errors=True)


def test_reported_decompositions_have_gradients():
    for good in (slice(0, 1), slice(0, 3)):
        a = lg.tensor(BATCH[good], requires_grad=True)
        b = lg.tensor(BATCH[:1], requires_grad=True)
        lg.linalg.cholesky_ex(a).L[0].sum().backward()
        lg.linalg.cholesky(b)[0].sum().backward()
        lg.testing.assert_close(a.grad[:1], b.grad)
        assert not a.grad[1:].any()
    a = lg.tensor(BATCH[0], requires_grad=True)
    lg.linalg.inv_ex(a).inverse.sum().backward()
    b = lg.tensor(BATCH[0], requires_grad=True)
    lg.linalg.inv(b).sum().backward()
    lg.testing.assert_close(a.grad, b.grad)
