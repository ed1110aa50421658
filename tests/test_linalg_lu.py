"""LU factors against PyTorch's."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

BOTH = (livegrad, torch)
SHAPES = [(3, 3), (2, 4, 4), (5, 3), (2, 3, 5), (1, 1), (2, 0, 3, 3), (0, 0)]


def matrix(shape, dtype=np.float64):
    rng = np.random.default_rng(sum(shape))
    a = rng.standard_normal(shape)
    return (a + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else a).astype(dtype)


def close(results, rtol=1e-9):
    for a, b in zip(*results, strict=True):
        assert tuple(a.shape) == tuple(b.shape) and str(a.dtype) == str(b.dtype)
        np.testing.assert_allclose(
            a.detach().resolve_conj().numpy(), b.detach().resolve_conj().numpy(), rtol=rtol, atol=1e-10
        )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_factors(shape, dtype):
    results = []
    for m in BOTH:
        A = m.from_numpy(matrix(shape, dtype))
        packed = m.linalg.lu_factor(A)
        results.append([*m.linalg.lu(A), *packed, *m.linalg.lu_factor_ex(A), *m.lu_unpack(*packed), *m.lu(A), *A.lu()])
    close(results)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 4), (4, 2), (2, 5)])
def test_gradients(shape):
    results = []
    for m in BOTH:
        A = m.from_numpy(matrix(shape)).requires_grad_()
        P, L, U = m.linalg.lu(A)
        LU, _ = m.linalg.lu_factor(A)
        loss = (L.sin().sum() + (U * U).sum()) + LU.cos().sum()
        (g,) = m.autograd.grad(loss, A, create_graph=True)
        (h,) = m.autograd.grad((g * g).sum(), A)
        results.append([L, U, LU, g, h])
    close(results, 1e-7)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("adjoint", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_solving(left, adjoint, dtype):
    results = []
    for m in BOTH:
        A, B = m.from_numpy(matrix((2, 3, 3), dtype)), m.from_numpy(matrix((2, 3, 2) if left else (2, 2, 3), dtype))
        LU, pivots = m.linalg.lu_factor(A)
        results.append([m.linalg.lu_solve(LU, pivots, B, left=left, adjoint=adjoint)])
        if left and not adjoint:
            results[-1] += [m.lu_solve(B, LU, pivots), B.lu_solve(LU, pivots), m.linalg.solve(A, B)]
    close(results)


def test_what_is_refused():
    for m in BOTH:
        singular = m.tensor([[1.0, 2.0], [2.0, 4.0]])
        assert m.linalg.lu_factor_ex(singular).info.item() == 2
        with pytest.raises(
            RuntimeError, match=r"U\[2,2\] is zero and using it on lu_solve would result in a division by zero"
        ):
            m.linalg.lu_factor(singular)
        with pytest.raises(RuntimeError, match=r"Batch element 1\): U\[2,2\] is zero"):
            m.linalg.lu_factor(m.stack([m.eye(2), singular]))
        with pytest.raises(RuntimeError, match="Expected tensor with 2 or more dimensions"):
            m.linalg.lu(m.ones(3))
        with pytest.raises(RuntimeError, match="LU without pivoting is not implemented on the CPU"):
            m.linalg.lu(m.eye(2), pivot=False)
        with pytest.raises(RuntimeError, match="must be batches of square matrices"):
            m.linalg.lu_solve(m.ones(2, 3), m.ones(2, dtype=m.int32), m.ones(2, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("unitriangular", [False, True])
def test_triangular_solve_with_its_gradients(dtype, upper, transpose, unitriangular):
    rng = np.random.default_rng(0)
    for b_shape, a_shape in (((3, 2), (3, 3)), ((4, 3, 2), (3, 3)), ((3, 1), (2, 3, 3))):
        b, a = rng.normal(size=b_shape), rng.normal(size=a_shape) + 3 * np.eye(3)
        if dtype == "complex64":
            b, a = b + 1j * rng.normal(size=b_shape), a + 1j * rng.normal(size=a_shape)
        results = []
        for m in (livegrad, torch):
            x, y = (m.tensor(t, dtype=getattr(m, dtype), requires_grad=True) for t in (b, a))
            solution, clone = m.triangular_solve(x, y, upper, transpose, unitriangular)
            (solution.abs().sum() + clone.abs().sum()).backward()
            results.append([t.detach().numpy() for t in (solution, clone, x.grad, y.grad)])
        for ours, theirs in zip(*results):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_triangular_solve_says_what_is_wrong():
    for shapes in (((3,), (3, 3)), ((2, 2), (3, 3)), ((3, 2), (3, 2))):
        messages = []
        for m in (livegrad, torch):
            with pytest.raises(RuntimeError) as caught:
                m.triangular_solve(*(m.ones(s) for s in shapes))
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
    made = livegrad.ones(2, 1).triangular_solve(livegrad.eye(2))
    assert made._fields == ("solution", "cloned_coefficient")
    into = livegrad.empty(2, 1), livegrad.empty(2, 2)
    livegrad.triangular_solve(livegrad.ones(2, 1), livegrad.eye(2), out=into)
    assert [t.tolist() for t in into] == [[[1.0], [1.0]], [[1.0, 0.0], [0.0, 1.0]]]
