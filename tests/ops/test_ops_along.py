"""gather and scatter by kernels: the same as NumPy makes, of any dtype and dimension, repeated places included."""

from __future__ import annotations

import numpy as np
import pytest

import livegrad
from livegrad.ops import along


@pytest.fixture(params=["always", "never"])
def tier(request):
    with livegrad.compiling(request.param):
        yield request.param


DTYPES = [
    livegrad.float32, livegrad.float64, livegrad.float16, livegrad.int64, livegrad.int32, livegrad.uint8, livegrad.bool,
    livegrad.complex64,
]  # fmt: skip


def _operands(dtype, dim: int, count: int = 9):
    rng = np.random.default_rng(dim)
    shape, picked = [5, 7, 6], [5, 7, 6]
    picked[dim] = count
    x, source = (livegrad.tensor(rng.integers(-9, 9, s) % 17).to(dtype) for s in (shape, picked))
    return x, source, rng.integers(0, shape[dim], picked)


def _grid(index, dim):
    return tuple(index if d == dim else g for d, g in enumerate(np.ogrid[tuple(map(slice, index.shape))]))


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gather_and_scatter_are_as_numpy_has_them(dtype, dim, tier) -> None:
    x, source, index = _operands(dtype, dim)
    i = livegrad.tensor(index)
    np.testing.assert_array_equal(x.gather(dim, i).numpy(), np.take_along_axis(x.numpy(), index, dim))
    put = x.numpy().copy()
    put[_grid(index, dim)] = source.numpy()
    np.testing.assert_array_equal(x.scatter(dim, i, source).numpy(), put)
    if dtype is not livegrad.bool:
        added = x.numpy().copy()
        np.add.at(added, _grid(index, dim), source.numpy())
        np.testing.assert_array_equal(x.scatter_add(dim, i, source).numpy(), added)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_smaller_indices_and_other_layouts(dim, tier) -> None:
    x, source, index = _operands(livegrad.float32, dim)
    small = np.ascontiguousarray(index[:4, :3, :5])
    turned = livegrad.tensor(np.ascontiguousarray(x.numpy().transpose(2, 0, 1))).permute(1, 2, 0)
    for i in (small, index):
        wanted = x.numpy().copy()
        values = source.numpy()[tuple(map(slice, i.shape))]
        np.add.at(wanted, _grid(i, dim), values)
        for other in (x, turned):
            np.testing.assert_array_equal(other.scatter_add(dim, livegrad.tensor(i), source).numpy(), wanted)
            np.testing.assert_array_equal(other.gather(dim, livegrad.tensor(i)).numpy(), x.numpy()[_grid(i, dim)])


def test_gradients_add_up_where_places_repeat(tier) -> None:
    x, _, index = _operands(livegrad.float32, 1)
    x.requires_grad_()
    weight = livegrad.tensor(
        np.random.default_rng(5).standard_normal(index.shape).astype(np.float32), requires_grad=True
    )
    (x.gather(1, livegrad.tensor(index)) * weight).sum().backward()
    wanted = np.zeros(x.shape, np.float32)
    np.add.at(wanted, _grid(index, 1), weight.detach().numpy())
    np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(weight.grad.numpy(), np.take_along_axis(x.detach().numpy(), index, 1))


def test_gather_has_second_derivatives(tier) -> None:
    x, _, index = _operands(livegrad.float64, 0)
    i = livegrad.tensor(index)
    y = x.detach().requires_grad_()
    (g,) = livegrad.autograd.grad((y.gather(0, i) ** 3).sum(), y, create_graph=True)
    (h,) = livegrad.autograd.grad(g.sum(), y)
    counts = np.zeros(x.shape)
    np.add.at(counts, _grid(index, 0), 1.0)
    np.testing.assert_allclose(h.numpy(), 6 * x.detach().numpy() * counts)


def test_there_is_a_kernel_for_it() -> None:
    x, source, index = _operands(livegrad.float64, 1)
    i = livegrad.tensor(index)
    with livegrad.compiling("always"):
        x.gather(1, i), x.scatter(1, i, source), x.scatter_add(1, i, source)
    assert all(along._kernel(*k, False).address for k in (("pick", "i64"), ("put", "i64"), ("add", "f64")))
    x, source, index = (t[..., 0].contiguous() for t in (x, source, i))
    with livegrad.compiling("always"):
        made = x.gather(1, index), x.scatter(1, index, source), x.scatter_add(1, index, source)
    assert all(along._kernel(*k, True).address for k in (("pick", "i64"), ("put", "i64"), ("add", "f64")))
    with livegrad.compiling("never"):
        again = x.gather(1, index), x.scatter(1, index, source), x.scatter_add(1, index, source)
    for a, b in zip(made, again):
        assert livegrad.allclose(a, b)


@pytest.mark.parametrize("dtype", DTYPES + [livegrad.bfloat16], ids=str)
def test_rows_of_tables_in_any_order(dtype) -> None:
    rng = np.random.default_rng(2)
    table = livegrad.tensor(rng.integers(0, 9, (7, 3, 40))).to(dtype)
    plain = table.float().numpy() if dtype is livegrad.bfloat16 else table.numpy()

    def numbers(t):
        return t.float().numpy() if dtype is livegrad.bfloat16 else t.numpy()

    for shape in ((80,), (4, 30), (0,), (0, 2)):
        index = rng.integers(-7, 7, shape)
        i = livegrad.tensor(index)
        np.testing.assert_array_equal(numbers(table[i]), plain[index])
        np.testing.assert_array_equal(numbers(table.permute(2, 0, 1)[i]), plain.transpose(2, 0, 1)[index])
    for wrong in (7, -8):
        with pytest.raises(IndexError):
            table[livegrad.full((80,), wrong)]
        with pytest.raises(IndexError):
            table.index_select(0, livegrad.full((80,), wrong))
    with pytest.raises(IndexError):
        table.index_select(0, livegrad.full((80,), -1))
    with pytest.raises(RuntimeError, match="index -1 is out of bounds"):
        table.gather(0, livegrad.full((1, 3, 40), -1))
