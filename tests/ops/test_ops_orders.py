"""Orders of many elements, which are found by other ways than those of few: stable, NaN last, -0 equal to 0."""

import numpy as np
import pytest
from ops_support import needs_torch, torch

import livegrad
from livegrad.ops import order

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8")


def _numbers(shape, dtype):
    x = np.random.default_rng(0).standard_normal(shape).round(1) * 10
    if dtype.startswith(("float", "bfloat")):
        flat = x.reshape(-1)
        flat[::37], flat[5::41], flat[7::43], flat[9::47], flat[11::53] = np.nan, np.inf, -np.inf, 0.0, -0.0
    elif dtype == "uint8":
        x = abs(x)
    return livegrad.tensor(x.tolist(), dtype=livegrad.float64).to(getattr(livegrad, dtype))


def _stable(a, dim, descending):
    """By NumPy, on elements one by one."""
    a = np.where(np.isnan(a), np.inf, a), np.isnan(a)
    keys = (-a[0], ~a[1]) if descending else a
    return np.lexsort((keys[0], keys[1]), axis=dim)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "dim"), [((3000,), 0), ((70, 50), 0), ((70, 50), 1), ((2, 9, 200), -2), ((2, 4000), 1)]
)
@pytest.mark.parametrize("descending", [False, True])
def test_orders(dtype, shape, dim, descending):
    x = _numbers(shape, dtype)
    a = x.to(livegrad.float64).numpy()
    wanted = _stable(a, dim, descending)
    values, places = x.sort(dim, descending=descending)
    np.testing.assert_array_equal(places.numpy(), wanted)
    np.testing.assert_array_equal(values.to(livegrad.float64).numpy(), np.take_along_axis(a, wanted, dim))
    for k in (1, 5, a.shape[dim] // 2, a.shape[dim]):
        found = x.topk(k, dim, largest=descending)
        first = np.take(wanted, range(k), dim)
        np.testing.assert_array_equal(found.values.to(livegrad.float64).numpy(), np.take_along_axis(a, first, dim))
        np.testing.assert_array_equal(
            np.take_along_axis(a, found.indices.numpy(), dim), np.take_along_axis(a, first, dim)
        )
        if not descending:
            kth = x.kthvalue(k, dim, keepdim=True)
            last = np.take(wanted, [k - 1], dim)
            np.testing.assert_array_equal(
                np.take_along_axis(a, kth.indices.numpy(), dim), np.take_along_axis(a, last, dim)
            )


@pytest.mark.parametrize("descending", [False, True])
def test_all_but_a_few_are_nan(descending):
    x = livegrad.full((5000,), float("nan"))
    x[[3, 4000]] = livegrad.tensor([2.0, 1.0])
    values, places = x.topk(4, largest=descending)
    if descending:
        assert values.isnan().all()
    else:
        assert values[:2].tolist() == [1.0, 2.0] and places[:2].tolist() == [4000, 3] and values[2:].isnan().all()


def test_numbers_too_far_apart_to_be_packed():
    x = livegrad.arange(4000) * 10**15 % (2**61)
    assert not order._packs(x.numpy())
    assert x.sort()[1].tolist() == np.argsort(x.numpy(), kind="stable").tolist()


@needs_torch
def test_medians_against_torch():
    x = _numbers((60, 80), "float32")
    for dim in (0, 1):
        found, wanted = x.median(dim), torch.tensor(x.numpy()).median(dim)
        np.testing.assert_array_equal(found.values.numpy(), wanted.values.numpy())
        assert np.array_equal(
            x.gather(dim, found.indices.unsqueeze(dim)).squeeze(dim).numpy(), found.values.numpy(), True
        )


@pytest.mark.parametrize("dtype", [*DTYPES, "bool", "int8"])
@pytest.mark.parametrize("shape", [(1,), (5,), (16,), (17,), (3, 40), (40, 3), (2, 33, 3)])
@pytest.mark.parametrize("descending", [False, True])
def test_few_are_in_the_same_order_from_a_kernel(dtype, shape, descending):
    x = _numbers(shape, dtype)
    a = x.to(livegrad.float64).numpy()
    for dim in range(len(shape)):
        wanted = _stable(a, dim, descending)
        for mode in ("never", "always"):
            with livegrad.compiling(mode):
                values, places = x.sort(dim, descending=descending)
                across = x.mT.sort(len(shape) - 1 - dim, descending=descending)[1].mT if len(shape) == 2 else places
            np.testing.assert_array_equal(places.numpy(), wanted)
            np.testing.assert_array_equal(across.numpy(), wanted)
            np.testing.assert_array_equal(values.to(livegrad.float64).numpy(), np.take_along_axis(a, wanted, dim))


def test_gradients_of_an_order_do_not_see_its_places_changed():
    x = livegrad.tensor([3.0, 1.0, 2.0], requires_grad=True)
    with livegrad.compiling("always"):
        values, places = x.sort()
        first = x.topk(2)
    places.zero_()
    (values * livegrad.tensor([1.0, 2.0, 3.0]) + livegrad.cat([first.values, x[:1]])).sum().backward()
    assert x.grad.tolist() == [5.0, 1.0, 3.0]
    assert [values.grad_fn.name(), first.values.grad_fn.name()] == ["SortBackward0", "TopkBackward0"]
