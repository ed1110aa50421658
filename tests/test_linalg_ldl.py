"""Factors of symmetric matrices against PyTorch."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")


def matrices(n, of_complex, hermitian, weak):
    """Two matrices; `weak`: with small diagonals, so that blocks of two are needed."""
    draws = np.random.default_rng(n)
    a = draws.standard_normal((2, n, n))
    if of_complex:
        a = a + 1j * draws.standard_normal((2, n, n))
    if weak:
        a[:, range(n), range(n)] *= 0.01
    return a + (a.conj() if hermitian else a).transpose(0, 2, 1)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 20])
@pytest.mark.parametrize("of_complex", [False, True])
@pytest.mark.parametrize("hermitian", [False, True])
@pytest.mark.parametrize("weak", [False, True])
def test_factors_and_solutions(n, of_complex, hermitian, weak):
    a = matrices(n, of_complex, hermitian, weak)
    b = np.random.default_rng(1).standard_normal((2, n, 3)).astype(a.dtype)
    found = []
    for m in (livegrad, torch):
        factors = m.linalg.ldl_factor(m.tensor(a), hermitian=hermitian)
        found.append([*factors, m.linalg.ldl_solve(*factors, m.tensor(b), hermitian=hermitian)])
    (packed, pivots, x), (*theirs, solution) = found
    assert pivots.dtype is livegrad.int32 and pivots.tolist() == theirs[1].tolist()
    np.testing.assert_allclose(packed.numpy(), theirs[0].numpy(), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(x.numpy(), solution.numpy(), rtol=1e-6, atol=1e-8)


def test_a_singular_matrix():
    for m in (livegrad, torch):
        assert m.linalg.ldl_factor_ex(m.zeros(2, 2)).info.item() == 1
        with pytest.raises(RuntimeError):
            m.linalg.ldl_factor(m.zeros(3, 2, 2))


def test_gradients():
    a = livegrad.tensor(matrices(4, False, False, True)).requires_grad_()
    factors = livegrad.linalg.ldl_factor(a.detach())
    b = livegrad.rand(4, 2, dtype=livegrad.float64).requires_grad_()
    assert livegrad.autograd.gradcheck(lambda x: livegrad.linalg.ldl_solve(*factors, x), (b,))
    with pytest.raises(RuntimeError, match="derivative for linalg.ldl_factor_ex is not implemented"):
        livegrad.linalg.ldl_factor_ex(a).LD.sum().backward()


@pytest.mark.parametrize("program", [
    "m.linalg.ldl_factor(m.ones(2, 3))", "m.linalg.ldl_factor(m.ones(2))",
    "m.linalg.ldl_factor(m.ones(2, 2, dtype=m.int32))", "m.linalg.ldl_solve(m.eye(2), m.tensor([1., 2.]), m.ones(2, 1))",
    "m.linalg.ldl_solve(m.eye(2), m.tensor([1, 2], dtype=m.int32), m.ones(3, 1))",
    "m.linalg.ldl_solve(m.eye(2), m.tensor([1, 2, 3], dtype=m.int32), m.ones(2, 1))",
    "m.linalg.ldl_solve(m.eye(2), m.tensor([1, 2], dtype=m.int32), m.ones(2, 1, dtype=m.float64))",
])  # fmt: skip
def test_errors(program):
    for m in (livegrad, torch):
        with pytest.raises(RuntimeError):
            eval(program, {"m": m})
