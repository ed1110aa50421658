"""What is read, and added up, at places along a dimension, by kernels and by NumPy: extremes, rows, sums of rows."""

import numpy as np
import pytest

import livegrad


@pytest.fixture(params=["never", "always"], autouse=True)
def _mode(request):
    with livegrad.compiling(request.param):
        yield


def _random(*shape):
    return livegrad.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape))


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("name", ["max", "min"])
def test_the_gradient_of_an_extreme_is_where_it_was(name, keepdim):
    x = _random(3, 4, 5).requires_grad_()
    for dim in range(3):
        values, places = getattr(x, name)(dim, keepdim=keepdim)
        wanted = x.detach().gather(dim, places if keepdim else places.unsqueeze(dim))
        assert livegrad.equal(values, wanted if keepdim else wanted.squeeze(dim))
        weights = _random(*values.shape)
        (found,) = livegrad.autograd.grad(values, x, weights, create_graph=True)
        expected = livegrad.zeros_like(x).scatter(
            dim, places if keepdim else places.unsqueeze(dim), weights if keepdim else weights.unsqueeze(dim)
        )
        assert livegrad.equal(found, expected)
        (one,) = livegrad.autograd.grad(getattr(x, name)(dim, keepdim=keepdim)[0].sum(), x)
        assert livegrad.equal(one, livegrad.zeros_like(x).scatter(
            dim, places if keepdim else places.unsqueeze(dim), 1.0))  # fmt: skip
    assert livegrad.autograd.gradgradcheck(lambda x: getattr(x, name)(1, keepdim=keepdim)[0] ** 2, x)


def test_rows_of_strided_memory():
    x = _random(30, 4)
    index = livegrad.tensor([3, -1, 0, 29, -30, 3] * 4)
    for part in (x, x[:, 1], x[:, 1:3], x[::2], x.T, x[:, ::2], x.expand(2, 30, 4)):
        at = index % part.shape[0]
        assert livegrad.equal(part[at], livegrad.stack([part[i] for i in at.tolist()]))
        assert livegrad.equal(part[at - part.shape[0]], part[at])


def test_rows_added_where_some_meet():
    index = livegrad.tensor([1, 0, 1, 3, 1])
    for columns in ((), (1,), (7,), (2, 3)):
        x, source = _random(4, *columns), _random(5, *columns)
        wanted = x.numpy().copy()
        np.add.at(wanted, index.numpy(), source.numpy())
        np.testing.assert_allclose(x.index_add(0, index, source).numpy(), wanted)
        given = source.clone().requires_grad_()
        taken = given[index]
        taken.sum().backward()
        counts = np.bincount(index.numpy(), minlength=5).reshape(-1, *(1,) * len(columns))
        np.testing.assert_array_equal(given.grad.numpy(), np.broadcast_to(counts, given.shape))


def test_division_by_whole_numbers():
    x = livegrad.tensor([7, -7])
    assert (x // 2).tolist() == [3, -4]
    assert (x % 3).tolist() == [1, 2]
    for divide in (lambda: x // 0, lambda: x % 0, lambda: x // livegrad.tensor([1, 0])):
        with pytest.raises(RuntimeError, match="ZeroDivision"):
            divide()
