"""topk of long rows, which finds the few before it sorts them: the same places as sorting everything gives."""

from __future__ import annotations

import numpy as np
import pytest

import livegrad


def _rows(kind: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    if kind == "repeated":
        return rng.integers(0, 40, (2, 3000)).astype(np.float32)
    if kind == "whole":
        return rng.integers(-1000, 1000, (2, 3000))
    a = rng.standard_normal((2, 3000)).astype(np.float32)
    if kind == "few NaN":
        a[:, ::900] = np.nan
    if kind == "all NaN":
        a[:] = np.nan
    if kind == "infinite":
        a[:, 5:200] = np.inf
        a[:, 300:500] = -np.inf
    return a


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("kind", ["plain", "repeated", "whole", "few NaN", "all NaN", "infinite"])
def test_topk_of_long_rows_is_the_beginning_of_the_sorted_ones(kind: str, largest: bool) -> None:
    x = livegrad.tensor(_rows(kind))
    for k in (1, 7, 180):
        values, places = x.topk(k, largest=largest)
        whole = x.sort(descending=largest)
        np.testing.assert_array_equal(values.numpy(), whole[0][:, :k].numpy())
        np.testing.assert_array_equal(places.numpy(), whole[1][:, :k].numpy())
        across = x.T.topk(k, 0, largest)
        np.testing.assert_array_equal(across[1].numpy(), places.T.numpy())


def test_kthvalue_of_a_long_row() -> None:
    a = _rows("plain")[0]
    value, place = livegrad.tensor(a).kthvalue(20)
    assert place.item() == np.argsort(a)[19]
    assert value.item() == np.sort(a)[19]


def test_topk_of_long_rows_has_its_gradient() -> None:
    a = _rows("plain")
    x = livegrad.tensor(a, requires_grad=True)
    x.topk(5)[0].sum().backward()
    wanted = np.zeros_like(a)
    np.put_along_axis(wanted, np.argsort(-a, 1)[:, :5], 1, 1)
    np.testing.assert_array_equal(x.grad.numpy(), wanted)
