"""Special functions that are computed as a whole, against PyTorch's."""

import numpy as np
import pytest

import livegrad
from livegrad import special, special_functions

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

X = np.array([-60.5, -30.0, -12.3, -8.0, -7.5, -6.0, -3.3, -1.0, -0.3, 0.0, 1e-8, 0.2, 0.5, 0.9, 1.0, 1.7, 2.5, 4.9, 5.1,
              8.0, 12.0, 24.9, 25.1, 30.0, 77.7, np.inf, -np.inf, np.nan])  # fmt: skip
ONE = [
    name
    for name in special_functions.__all__
    if name not in ("gammainc", "gammaincc", "zeta") and "polynomial" not in name
]
POLYNOMIALS = [name for name in special_functions.__all__ if "polynomial" in name]


def close(mine, theirs, rtol, atol=0.0, text=""):
    np.testing.assert_allclose(mine.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=atol, err_msg=text)


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one(name):
    x = X
    if "airy" in name:
        x = x[np.isfinite(x) & (x > -50)]
    for dtype, rtol, atol in ((np.float64, 1e-5, 1e-6), (np.float32, 2e-4, 2e-6)):
        a = x.astype(dtype)
        close(
            getattr(special, name)(livegrad.from_numpy(a)),
            getattr(torch.special, name)(torch.from_numpy(a)),
            rtol,
            atol,
        )
    mine, theirs = getattr(special, name)(livegrad.tensor([1, 2])), getattr(torch.special, name)(torch.tensor([1, 2]))
    assert str(mine.dtype) == str(theirs.dtype)
    out = livegrad.empty(2)
    getattr(special, name)(livegrad.tensor([1.0, 2.0]), out=out)
    close(out, theirs, 1e-5)
    has = getattr(special, name)(livegrad.ones(1, requires_grad=True)).requires_grad
    assert has == getattr(torch.special, name)(torch.ones(1, requires_grad=True)).requires_grad
    with pytest.raises(TypeError):
        getattr(special, name)("x")


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials(name):
    x = np.array([-1.5, -1.0, -0.4, 0.0, 0.3, 0.7, 1.0, 1.2, 2.0])
    n = np.array([[-1.0], [0.0], [1.0], [2.0], [3.0], [5.0], [6.0]])
    mine, theirs = getattr(special, name), getattr(torch.special, name)
    close(
        mine(livegrad.from_numpy(x), livegrad.from_numpy(n)),
        theirs(torch.from_numpy(x), torch.from_numpy(n)),
        1e-9,
        1e-9,
    )
    close(mine(livegrad.from_numpy(x), 3), theirs(torch.from_numpy(x), 3), 1e-9, 1e-9)
    close(mine(0.5, livegrad.tensor([1, 2, 3])), theirs(0.5, torch.tensor([1, 2, 3])), 1e-5, 1e-6)
    assert not mine(livegrad.ones(1, requires_grad=True), 2).requires_grad


A = np.array([0.0, 0.3, 1.0, 2.5, 10.0, 19.0, 25.0, 120.0, 4000.0, np.inf, -1.0, np.nan])
V = np.array([[0.0], [1e-3], [0.5], [1.0], [3.0], [9.9], [24.0], [130.0], [3950.0], [np.inf], [-1.0], [np.nan]])


@pytest.mark.parametrize("name", ["gammainc", "gammaincc"])
def test_incomplete_gamma(name):
    for dtype, rtol in ((np.float64, 1e-9), (np.float32, 2e-3)):
        a, x = A.astype(dtype), V.astype(dtype)
        mine = getattr(special, name)(livegrad.from_numpy(a), livegrad.from_numpy(x))
        theirs = getattr(torch.special, name)(torch.from_numpy(a), torch.from_numpy(x))
        close(mine, theirs, rtol, 1e-35)
    results = []
    for m in (livegrad, torch):
        x = m.tensor([0.5, 2.0, 30.0], dtype=m.float64, requires_grad=True)
        y = getattr(m.special, name)(m.tensor([0.7, 3.0, 25.0], dtype=m.float64), x)
        (g,) = m.autograd.grad(y.sum(), x)
        results.append(g)
        with pytest.raises(NotImplementedError if m is livegrad else RuntimeError, match="is not implemented"):
            getattr(m.special, name)(m.ones(1, requires_grad=True), m.ones(1)).backward()
    close(*results, 1e-8)
    assert livegrad.autograd.gradcheck(lambda t: getattr(special, name)(livegrad.tensor(2.0, dtype=livegrad.float64), t),
                                       (livegrad.tensor([0.5, 3.0], dtype=livegrad.float64, requires_grad=True),))  # fmt: skip


def test_zeta():
    s = np.array([0.5, 1.0, 1.01, 1.5, 2.0, 3.0, 7.5, 30.0])
    q = np.array([[-2.0], [-1.5], [0.0], [0.3], [1.0], [2.5], [14.0], [500.0]])
    a, b = livegrad.from_numpy(s), livegrad.from_numpy(q)
    close(special.zeta(a, b), torch.special.zeta(torch.from_numpy(s), torch.from_numpy(q)), 1e-10)
    close(special.zeta(livegrad.tensor(2.0), 3), torch.special.zeta(torch.tensor(2.0), 3), 1e-6)
    assert livegrad.autograd.gradcheck(lambda t: special.zeta(livegrad.tensor(2.5, dtype=livegrad.float64), t),
                                       (livegrad.tensor([0.5, 3.0], dtype=livegrad.float64, requires_grad=True),))  # fmt: skip


def test_the_gradient_of_erfcx():
    x = livegrad.tensor([-1.0, 0.0, 3.0, 20.0], dtype=livegrad.float64, requires_grad=True)
    assert livegrad.autograd.gradcheck(special.erfcx, (x,)) and livegrad.autograd.gradgradcheck(special.erfcx, (x,))


def test_bessel_functions_are_as_exact_as_their_numbers():
    """PyTorch's are right to seven digits; the Wronskian (DLMF 10.5.2) tells of more."""
    x = np.array([1e-3, 0.2, 1.0, 3.0, 5.1, 7.7, 12.0, 20.0, 24.9, 25.1, 40.0, 1e3])
    j0, j1, y0, y1 = (getattr(special, f"bessel_{n}")(livegrad.from_numpy(x)).numpy() for n in ("j0", "j1", "y0", "y1"))
    np.testing.assert_allclose(j1 * y0 - j0 * y1, 2 / (np.pi * x), rtol=1e-11)
    i0, i1, k0, k1 = (
        getattr(special, f"modified_bessel_{n}")(livegrad.from_numpy(x[:-1])).numpy() for n in ("i0", "i1", "k0", "k1")
    )
    np.testing.assert_allclose(i0 * k1 + i1 * k0, 1 / x[:-1], rtol=1e-10)
    np.testing.assert_allclose(
        special.bessel_j0(livegrad.tensor(6.0, dtype=livegrad.float64)).item(), 0.15064525725099693
    )
    above, below = special.airy_ai(livegrad.tensor([-7.5 + 1e-12, -7.5 - 1e-12], dtype=livegrad.float64)).tolist()
    assert abs(above - below) < 1e-10  # where the series and the expansion meet


def test_names_elsewhere():
    results = []
    for m in (livegrad, torch):
        a, x = m.tensor([0.5, 2.0]), m.tensor([1.0, 3.0])
        results.append(
            (m.igamma(a, x), m.igammac(a, x), a.igamma(x), a.clone().igammac_(x), m.polygamma(3, x), x.polygamma(2))
        )
        y = x.clone().requires_grad_()
        results[-1] += m.autograd.grad(m.polygamma(2, y).sum(), y)
    for mine, theirs in zip(*results, strict=True):
        close(mine, theirs, 1e-5)
