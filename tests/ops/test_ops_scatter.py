"""mode, unique_consecutive, scatter_reduce and others that the samples of the registry do not reach, against PyTorch."""

import numpy as np
import pytest
from ops_support import assert_same, to_livegrad, to_torch, torch

import livegrad
from livegrad.autograd import gradcheck, gradgradcheck

pytestmark = pytest.mark.skipif(torch is None, reason="PyTorch, to compare with, is not installed")
rng = np.random.default_rng(4)
A = rng.integers(0, 3, (4, 5))
B = rng.standard_normal((3, 4))


def both(name, *args, method=False, **options):
    """The results of a function of that name of either library."""
    found: list = []
    for m, convert in ((livegrad, to_livegrad), (torch, to_torch)):
        given = [convert(a) for a in args]
        found.append(getattr(given[0], name)(*given[1:], **options) if method else getattr(m, name)(*given, **options))
    return found


@pytest.mark.parametrize("options", [{}, {"dim": 0}, {"dim": 1, "keepdim": True}])
@pytest.mark.parametrize("method", [False, True])
def test_mode(options, method):
    assert_same(*both("mode", A, method=method, **options))
    assert_same(*both("mode", A.astype(np.float64), **options))


@pytest.mark.parametrize("options", [{}, {"return_inverse": True}, {"return_inverse": True, "return_counts": True},
                                     {"dim": 1, "return_inverse": True, "return_counts": True}])  # fmt: skip
def test_unique_consecutive(options):
    data = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 3, 3]])
    assert_same(*both("unique_consecutive", data, **options))
    assert_same(*both("unique_consecutive", np.empty(0), return_counts=True))


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
def test_gradients_of_scatter_reduce(reduce, include_self):
    x = livegrad.tensor(np.arange(6.0).reshape(2, 3) + 1, requires_grad=True)
    src = livegrad.tensor([[2.0, 7.0, 0.5], [1.5, -1.0, 3.2]], dtype=livegrad.float64, requires_grad=True)
    index = livegrad.tensor([[0, 1, 1], [1, 1, 0]])

    def function(x, src):
        return x.scatter_reduce(0, index, src, reduce, include_self=include_self)

    if reduce == "prod" and not include_self:
        assert gradcheck(function, (x, src))
        return
    assert gradcheck(function, (x, src))
    assert gradgradcheck(function, (x, src))


def test_gradient_of_equal_extremes_is_shared():
    found = []
    for m in (livegrad, torch):
        x = m.tensor([3.0, 1.0]).requires_grad_()
        src = m.tensor([3.0, 3.0, 2.0]).requires_grad_()
        x.scatter_reduce(0, m.tensor([0, 0, 1]), src, "amax").sum().backward()
        found.append([x.grad, src.grad])
    assert_same(*found)


@pytest.mark.parametrize("reduce", ["prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
def test_index_reduce(reduce, include_self):
    for dim, index in ((0, [2, 0, 2]), (1, [1, 1, 0, 3])):
        source = rng.standard_normal((len(index), 4) if dim == 0 else (3, len(index)))
        found = []
        for convert in (to_livegrad, to_torch):
            x = convert(B)
            found.append(
                x.index_reduce(dim, convert(np.array(index)), convert(source), reduce, include_self=include_self)
            )
        assert_same(*found, rtol=1e-12)


@pytest.mark.parametrize("accumulate", [False, True])
def test_put(accumulate):
    found = []
    for convert in (to_livegrad, to_torch):
        x = convert(B.copy())
        found.append(x.put(convert(np.array([1, 7])), convert(np.array([9.0, 8.0])), accumulate))
        x.put_(convert(np.array([0])), convert(np.array([5.0])))
        found.append(x)
    assert_same(found[:2], found[2:])


def test_windows_replaced():
    assert_same(*both("select_scatter", B, B[0] * 2, 0, 1))
    assert_same(*both("slice_scatter", B, B[:, 1:3] * 2, 1, 1, 3))
    assert_same(*both("diagonal_scatter", B, B[0, :3] * 2))
    x = livegrad.tensor(B, requires_grad=True)
    assert gradcheck(lambda x: livegrad.slice_scatter(x, x[:, 1:3] * 2, 1, 1, 3), x)


def test_whole_numbers():
    assert_same(*both("gcd", np.array([12, -8, 0]), np.array([18, 6, 5])))
    assert_same(*both("lcm", np.array([12, -8, 0]), np.array([18, 6, 5])))
    assert_same(*both("heaviside", np.array([-1.0, 0.0, 2.0]), np.array([0.5, 0.5, 0.5])))


def test_arrangements():
    assert_same(*both("block_diag", B, B[0], np.array(3.0)))
    assert_same(*both("cartesian_prod", B[0], B[1], B[2]))
    assert_same(*both("combinations", B[0], 3, True))
    assert_same(*both("dstack", [B, B]))
    for name in ("hsplit", "vsplit"):
        assert_same(*both(name, np.arange(16.0).reshape(4, 4), 2))
        assert_same(*both(name, np.arange(16.0).reshape(4, 4), [1, 3]))
    assert_same(*both("dsplit", np.arange(8.0).reshape(2, 2, 2), 2))
    assert_same(*both("chain_matmul", B, B.T, B), rtol=1e-12)
    square = B @ B.T
    factor = np.linalg.cholesky(B[:, :3] @ B[:, :3].T + np.eye(3))
    assert_same(*both("cholesky", factor @ factor.T), rtol=1e-10, atol=1e-12)
    assert_same(*both("cholesky_inverse", factor), rtol=1e-10, atol=1e-12)
    assert_same(*both("cholesky_solve", B, factor), rtol=1e-10, atol=1e-12)
    assert_same(*both("cholesky_solve", B, factor.T, upper=True), rtol=1e-10, atol=1e-12)
    assert_same(*both("slogdet", square), rtol=1e-10)
    assert_same(livegrad.svd(livegrad.tensor(B))[1], torch.svd(torch.tensor(B))[1], rtol=1e-10)
    q, r = livegrad.qr(livegrad.tensor(square))
    np.testing.assert_allclose((q @ r).numpy(), square, atol=1e-12)


def test_names_of_linear_algebra():
    square, rows = B @ B.T + np.eye(3), [B[:2], B[1:]]
    assert_same(*both("pinverse", B), rtol=1e-10, atol=1e-12)
    for n in (3, 0, -2):
        assert_same(*both("matrix_power", square, n), rtol=1e-10)
    assert_same(*both("addr", B, B[:, 0], B[0], beta=2, alpha=3), rtol=1e-12)
    assert_same(*both("addbmm", B[:2, :3], np.stack(rows), np.stack([B.T, B.T]), beta=2, alpha=3), rtol=1e-12)
    for name in ("trapezoid", "cumulative_trapezoid"):
        assert_same(*both(name, B), rtol=1e-12)
        assert_same(*both(name, B, np.arange(4.0) ** 2), rtol=1e-12)
        assert_same(*both(name, B, dx=0.5, dim=0), rtol=1e-12)
    for options in ({}, {"N": 2}, {"increasing": True}):
        assert_same(*both("vander", B[0], **options), rtol=1e-12)
    assert_same(*both("index_reduce_", B.copy(), 0, np.array([0]), B[1:2], "amax", method=True))
    assert_same(*both("gcd_", np.array([12]), np.array([18]), method=True))


def test_errors():
    x, i = livegrad.ones(3), livegrad.tensor([0])
    with pytest.raises(RuntimeError, match="must be either sum, prod, mean, amax or amin, got max"):
        x.scatter_reduce(0, i, x[:1], "max")
    with pytest.raises(RuntimeError, match="expected integers"):
        livegrad.gcd(x, x)
    with pytest.raises(RuntimeError, match="not divisible"):
        livegrad.ones(3, 3).hsplit(2)


@pytest.mark.parametrize("options", [{}, {"return_inverse": True, "return_counts": True}])
def test_no_nan_is_equal_to_another(options):
    data = np.array([np.nan, 1.0, np.nan, np.inf, 1.0])
    (ours, theirs) = both("unique", data, **options)
    if options:  # which of them is which does not matter
        (ours, inverse, counts), (theirs, _, wanted) = ours, theirs
        assert counts.tolist() == wanted.tolist() == [2, 1, 1, 1] and sorted(inverse[[0, 2]].tolist()) == [2, 3]
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    rows = livegrad.tensor([[np.nan, 1.0], [np.nan, 1.0], [0.0, 0.0], [0.0, 0.0]])
    assert rows.unique(dim=0).shape == (3, 2)


def test_isin_compares_in_the_dtype_in_common():
    found = []
    for m in (torch, livegrad):
        a = m.tensor([1.0, 2.0, float("nan"), 0.1], dtype=m.bfloat16)
        n = m.tensor([1, 16777217])
        found.append([
            m.isin(x, y).tolist() for x, y in ((a, n), (n, a), (a, m.tensor(0.1)), (n, m.tensor([16777216.0])))
        ])  # fmt: skip
    assert found[0] == found[1]
