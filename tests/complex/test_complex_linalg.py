"""Linear algebra over complex numbers: values and gradients as in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")


def _matrix(m, n, seed=0):
    draw = np.random.default_rng(seed)
    return draw.standard_normal((2, m, n)) + 1j * draw.standard_normal((2, m, n))


# Functions of decompositions that their phases, which are free, do not change.
PROGRAMS = {
    "inv": lambda m, a, b: m.linalg.inv(a),
    "solve": lambda m, a, b: m.linalg.solve(a, b),
    "solve from the right": lambda m, a, b: m.linalg.solve(a, b.mT, left=False),
    "det": lambda m, a, b: m.linalg.det(a),
    "sign of det": lambda m, a, b: m.linalg.slogdet(a)[0],
    "log of det": lambda m, a, b: m.linalg.slogdet(a)[1],
    "cholesky": lambda m, a, b: m.linalg.cholesky(a @ a.mH + m.eye(3)),
    "upper cholesky": lambda m, a, b: m.linalg.cholesky(a @ a.mH + m.eye(3), upper=True),
    "q": lambda m, a, b: m.linalg.qr(b)[0],
    "r": lambda m, a, b: m.linalg.qr(b)[1],
    "singular values": lambda m, a, b: m.linalg.svdvals(b),
    "moduli of u": lambda m, a, b: m.linalg.svd(b, full_matrices=False)[0].abs(),
    "u and vh": lambda m, a, b: (lambda u, s, vh: (u * s.unsqueeze(-2).sqrt()) @ vh)(
        *m.linalg.svd(b, full_matrices=False)
    ),
    "eigenvalues": lambda m, a, b: m.linalg.eigvalsh(a + a.mH),
    "moduli of eigenvectors": lambda m, a, b: m.linalg.eigh(a + a.mH)[1].abs(),
    "pinv": lambda m, a, b: m.linalg.pinv(b),
    "wide pinv": lambda m, a, b: m.linalg.pinv(b.mT),
    "lstsq": lambda m, a, b: m.linalg.lstsq(a, b)[0],
    "matrix_exp": lambda m, a, b: m.linalg.matrix_exp(a),
    "matrix_power": lambda m, a, b: m.linalg.matrix_power(a, -2),
    "norm": lambda m, a, b: m.linalg.norm(a, "nuc", (-2, -1)),
    "Frobenius norm": lambda m, a, b: m.linalg.matrix_norm(a),
    "vecdot": lambda m, a, b: m.linalg.vecdot(a, a * 2j + 1),
}


def _run(m, program, single):
    made = []
    for x in (_matrix(3, 3), _matrix(3, 2, 1)):
        made.append(m.tensor(x.astype(np.complex64) if single else x, requires_grad=True))
    found = program(m, *made)
    (found * (found.detach() * 0.5 + 1j) + 0.25j).abs().square().sum().backward()
    return [found, *(x.grad for x in made if x.grad is not None)]


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_gradients(name, single):
    mine, its = _run(livegrad, PROGRAMS[name], single), _run(torch, PROGRAMS[name], single)
    assert len(mine) == len(its)
    for a, b in zip(mine, its):
        assert str(a.dtype) == str(b.dtype)
        a, b = a.detach().numpy(), b.detach().resolve_conj().numpy()
        room = (1e-2, 1e-3) if single else (1e-9, 1e-10)
        np.testing.assert_allclose(a, b, rtol=room[0], atol=room[1] * np.abs(b).max())
