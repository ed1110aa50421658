"""The largest singular values alone, against whole decompositions."""

import doctest

import pytest

import livegrad
from livegrad import low_rank


@pytest.mark.parametrize("shape", [(20, 12), (12, 20), (3, 15, 10)], ids=str)
def test_matrices_of_low_rank_come_back(shape):
    livegrad.manual_seed(0)
    a = livegrad.randn(*shape[:-1], 4, dtype=livegrad.float64) @ livegrad.randn(4, shape[-1], dtype=livegrad.float64)
    U, S, V = livegrad.svd_lowrank(a, q=5)
    assert U.shape == (*shape[:-1], 5) and V.shape == (*shape[:-2], shape[-1], 5)
    livegrad.testing.assert_close((U * S.unsqueeze(-2)) @ V.mH, a)
    livegrad.testing.assert_close(S[..., :4], livegrad.linalg.svdvals(a)[..., :4])
    U, S, V = livegrad.pca_lowrank(a, q=4)
    centred = a - a.mean(-2, keepdim=True)
    livegrad.testing.assert_close((U * S.unsqueeze(-2)) @ V.mH, centred)


def test_the_same_numbers_as_pytorch():
    torch = pytest.importorskip("torch")
    found = []
    for m in (livegrad, torch):
        m.manual_seed(3)
        a = m.randn(30, 20, dtype=m.float64)
        U, S, V = m.svd_lowrank(a, q=4, niter=1, M=m.ones(1, 20, dtype=m.float64))
        found.append([t.tolist() for t in (S, (U * S) @ V.T, m.functional.pca_lowrank(a)[1])])
    for mine, theirs in zip(*found):
        livegrad.testing.assert_close(livegrad.tensor(mine), livegrad.tensor(theirs))


def test_what_there_is_not():
    for options, why in (({"q": 4}, "greater than"), ({"q": -1}, "non-negative"), ({"q": 2, "niter": -1}, "niter")):
        with pytest.raises(ValueError, match=why):
            livegrad.svd_lowrank(livegrad.ones(3, 3), **options)


def test_functions_under_the_name_of_their_file():
    assert livegrad.functional.einsum is livegrad.einsum
    with pytest.raises(AttributeError, match="nothing"):
        livegrad.functional.nothing  # noqa: B018
    assert all(callable(getattr(livegrad.functional, name)) for name in livegrad.functional.__all__)


def test_examples():
    assert doctest.testmod(low_rank).failed == 0
