"""lobpcg against the whole spectrum, and against PyTorch's."""

import pytest

import livegrad


def matrix(m, size=30, dtype="float64"):
    m.manual_seed(0)
    a = m.randn(size, size, dtype=getattr(m, dtype))
    return a @ a.mT + m.eye(size, dtype=getattr(m, dtype))


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("kind", ["dense", "sparse", "general", "preconditioned", "begun"])
def test_eigenpairs(largest, kind):
    A = matrix(livegrad)
    B = matrix(livegrad, 30) * 0 + livegrad.diag(livegrad.arange(1.0, 31.0, dtype=livegrad.float64))
    options = {"general": {"B": B}, "preconditioned": {"iK": livegrad.linalg.inv(A)},
               "begun": {"X": livegrad.eye(30, 4, dtype=livegrad.float64)}}.get(kind, {})  # fmt: skip
    E, V = livegrad.lobpcg(A.to_sparse() if kind == "sparse" else A, k=4, largest=largest, tol=1e-9, **options)
    right = B if kind == "general" else livegrad.eye(30, dtype=livegrad.float64)
    whole = livegrad.linalg.eigvals(livegrad.linalg.solve(right, A)).real.sort(descending=largest).values[:4]
    assert E.tolist() == pytest.approx(whole.tolist(), rel=1e-8)
    assert float((A @ V - right @ V * E).abs().max()) < 1e-5
    assert livegrad.allclose(V.mT @ right @ V, livegrad.eye(4, dtype=livegrad.float64), atol=1e-8)


def test_as_pytorch():
    torch = pytest.importorskip("torch")
    found = []
    for m in (livegrad, torch):
        A = matrix(m)
        m.manual_seed(1)
        E, V = m.lobpcg(A, k=3)
        found.append((E.tolist(), V.abs().tolist(), m.rand(1).item()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-7) and found[0][2] == found[1][2]
    for a, b in zip(found[0][1], found[1][1]):
        assert a == pytest.approx(b, abs=1e-4)


def test_batches_trackers_and_gradients():
    A = livegrad.stack([matrix(livegrad), 2 * matrix(livegrad)])
    E, V = livegrad.lobpcg(A, k=2)
    assert E.shape == (2, 2) and V.shape == (2, 30, 2) and livegrad.allclose(E[1], 2 * E[0], rtol=1e-6)
    seen = []
    livegrad.lobpcg(A[0], k=2, niter=3, tracker=lambda state: seen.append(state.ivars["istep"]))
    assert seen == [0, 1, 2, 3]
    x = A[0].clone().requires_grad_()
    E, V = livegrad.lobpcg(x, k=1)
    E.sum().backward()
    assert livegrad.allclose(x.grad, V @ V.mT, atol=1e-8)


def test_refused():
    with pytest.raises(ValueError, match=r"smaller than 3 x the number of requested eigenpairs \(=2\)"):
        livegrad.lobpcg(livegrad.eye(5), k=2)
    with pytest.raises(ValueError, match="square matrices"):
        livegrad.lobpcg(livegrad.ones(5, 4))
    with pytest.raises(ValueError, match="basic"):
        livegrad.lobpcg(livegrad.eye(5), method="other")
