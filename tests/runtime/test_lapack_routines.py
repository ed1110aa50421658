"""Decompositions by LAPACK's routines through our own handle, against NumPy's."""

import numpy as np
import pytest

import livegrad
from livegrad.runtime import lapack_routines

pytestmark = pytest.mark.skipif(
    not lapack_routines.usable(np.eye(lapack_routines.SMALL + 1)), reason="needs scipy-openblas32"
)
KINDS = [np.float32, np.float64, np.complex64, np.complex128]
SIZES = [(100, 70), (70, 100), (80, 80)]


def matrices(shape, kind, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=shape)
    return (a + 1j * rng.normal(size=shape) if np.dtype(kind).kind == "c" else a).astype(kind)


def close(kind):
    return {"rtol": 1e-3, "atol": 3e-3} if kind in (np.float32, np.complex64) else {"rtol": 1e-8, "atol": 1e-9}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lead", [(), (2, 3)])
def test_decompositions(kind, size, lead):
    a = matrices((*lead, *size), kind)
    q, r = lapack_routines.decomposition("qr", a, {"mode": "reduced"})
    for made, expected in zip((q, r), np.linalg.qr(a), strict=True):
        np.testing.assert_allclose(made, expected, **close(kind))
    for whole in (False, True):
        u, s, vh = lapack_routines.decomposition("svd", a, {"full_matrices": whole})
        expected = np.linalg.svd(a, full_matrices=whole)
        assert [part.shape for part in (u, s, vh)] == [part.shape for part in expected]
        np.testing.assert_allclose(s, expected[1], **close(kind))
        k = min(size)
        np.testing.assert_allclose((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], a, **close(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("triangle", ["L", "U"])
def test_symmetric_matrices(kind, triangle):
    a = matrices((90, 90), kind) / 20
    whole = a + a.conj().T
    read = np.tril(whole) if triangle == "L" else np.triu(whole)
    values, vectors = lapack_routines.decomposition("eigh", read, {"UPLO": triangle})
    np.testing.assert_allclose(values, np.linalg.eigvalsh(whole), **close(kind))
    np.testing.assert_allclose((vectors * values) @ vectors.conj().T, whole, **close(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_eigenvectors(kind):
    a = matrices((2, 70, 70), kind) / 10
    values, vectors = lapack_routines.decomposition("eig", a, {})
    np.testing.assert_allclose(a @ vectors, vectors * values[:, None], **close(kind))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-2), 1, rtol=1e-4)
    np.testing.assert_allclose(values.sum(-1), np.trace(a, axis1=-2, axis2=-1), **close(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_least_squares(kind, size):
    a, b = matrices(size, kind), matrices((size[0], 3), kind, 1)
    for scale, rank in ((1, min(size)), (0, min(size) - 1)):
        a[:, 5] *= scale
        if not scale and size[0] < size[1]:
            rank = size[0]
        made = livegrad.linalg.lstsq(livegrad.tensor(a), livegrad.tensor(b))
        np.testing.assert_allclose(made.solution.numpy(), np.linalg.lstsq(a, b, rcond=1e-5)[0], **close(kind))
        assert made.rank.item() == rank


def test_gradients_of_least_squares():
    a, b = (livegrad.tensor(matrices(s, np.float64), requires_grad=True) for s in ((60, 50), (60, 2)))
    weight = livegrad.tensor(matrices((50, 2), np.float64, 2))
    by_pivots = livegrad.autograd.grad((livegrad.linalg.lstsq(a, b).solution * weight).sum(), (a, b))
    by_inverse = livegrad.autograd.grad(((livegrad.linalg.pinv(a) @ b) * weight).sum(), (a, b))
    for made, expected in zip(by_pivots, by_inverse, strict=True):
        np.testing.assert_allclose(made.numpy(), expected.numpy(), rtol=1e-8, atol=1e-10)


def test_what_is_not_a_number_is_as_numpy_has_it():
    a = livegrad.full((60, 60), float("nan"))
    with pytest.raises(RuntimeError, match="did not converge|not finite|NaN"):
        livegrad.linalg.svd(a)
    assert livegrad.linalg.qr(a)[0].isnan().all()


def test_least_squares_of_batches_and_without_data():
    a, b = livegrad.randn(3, 60, 50), livegrad.randn(3, 60, 2)
    made = livegrad.func.vmap(lambda a, b: livegrad.linalg.lstsq(a, b).solution)(a, b)
    assert livegrad.allclose(made, livegrad.linalg.lstsq(a, b).solution, atol=1e-4)
    assert livegrad.linalg.lstsq(a.to("meta"), b.to("meta")).solution.shape == (3, 50, 2)
