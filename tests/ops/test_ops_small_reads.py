"""The short ways of indexing, stacking and making tensors give what the long ones give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad.ops import indices, joining

DTYPES = [livegrad.float32, livegrad.float64, livegrad.float16, livegrad.bfloat16, livegrad.int64, livegrad.int32,
          livegrad.uint8, livegrad.bool]  # fmt: skip

ints = st.integers(-5, 4)
slices = st.builds(slice, st.none() | st.integers(-7, 7), st.none() | st.integers(-7, 7), st.none() | st.integers(1, 3))


@settings(deadline=None)
@given(
    st.one_of(ints, slices, st.tuples(ints, ints), st.tuples(slices, ints), st.tuples(ints, ints, ints)), st.booleans()
)
def test_indexing_is_numpys_with_and_without_a_graph(where, recorded):
    a = np.arange(60.0).reshape(5, 4, 3)
    x = livegrad.from_numpy(a.copy()).transpose(0, 1).transpose(0, 1)
    if recorded:
        x = x.clone().requires_grad_()
    try:
        expected = a[where]
    except IndexError:
        with pytest.raises(IndexError):
            x[where]
        return
    made = x[where]
    assert made.shape == expected.shape
    np.testing.assert_array_equal(made.detach().numpy(), expected)
    assert (made.grad_fn is not None) == recorded


@settings(deadline=None)
@given(st.integers(0, 6), slices)
def test_slice_bounds_are_pythons(n, s):
    start, step, length = indices.slice_bounds(s, n)
    assert list(range(n))[s] == [start + k * step for k in range(length)]


def test_a_view_by_the_short_way_is_written_through():
    x = livegrad.zeros(3, 2)
    x[1, 0].fill_(5)
    x[-1].fill_(7)
    x[:1].fill_(9)
    assert x.tolist() == [[9.0, 9.0], [5.0, 0.0], [7.0, 7.0]]
    assert x[1, 0].item() == 5.0 and float(x[2, 1]) == 7.0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_stacks_of_small_pieces(dtype):
    base = (livegrad.arange(24).reshape(6, 4) % 3).to(dtype)
    own = [base[i].clone() for i in range(6)]
    for pieces in (own, list(base), [base[0], own[1], base[2]], [row + row for row in own], [base[:, 1], base[:, 2]]):
        made = livegrad.stack(pieces)
        assert made.dtype is pieces[0].dtype
        assert made.tolist() == [p.tolist() for p in pieces]
    made = livegrad.stack(list(base))
    made.zero_()
    assert base[1].tolist() == own[1].tolist()  # a copy
    assert [x.item() for x in base[3]] == base[3].tolist()


def test_stacks_that_the_graph_shows_or_that_are_not_alike_go_the_long_way():
    x = livegrad.ones(2, requires_grad=True)
    livegrad.stack([x, x * 2]).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    with livegrad.no_grad():
        assert not livegrad.stack([x, x]).requires_grad
    assert livegrad.stack([livegrad.ones(2), livegrad.ones(2, dtype=livegrad.float64)]).dtype is livegrad.float64
    assert joining._stack_pieces([livegrad.ones(2), livegrad.ones(3)]) is None
    with pytest.raises(RuntimeError, match="equal size"):
        livegrad.stack([livegrad.ones(2), livegrad.ones(3)])


nested = st.recursive(
    st.one_of(st.floats(allow_nan=False, width=32), st.integers(-(2**63), 2**63 - 1), st.booleans()),
    lambda inner: st.lists(inner, min_size=1, max_size=4),
    max_leaves=12,
)


def test_whole_numbers_among_floats_are_not_rounded():
    assert livegrad.tensor([0.0, 2**53 + 1], dtype=livegrad.int64).tolist() == [0, 2**53 + 1]
    assert livegrad.tensor([[-2.5], [-(2**62) - 1]], dtype=livegrad.int64).tolist() == [[-2], [-(2**62) - 1]]


@settings(deadline=None)
@given(nested, st.sampled_from([None, "float32", "float64", "int64", "bool"]))
def test_tensors_of_nested_lists_are_pytorchs(data, dtype):
    torch = pytest.importorskip("torch")
    made = []
    for m in (livegrad, torch):
        try:
            t = m.tensor(data, dtype=dtype and getattr(m, dtype))
            made.append((str(t.dtype), tuple(t.shape), t.tolist()))
        except (ValueError, TypeError, RuntimeError, OverflowError):
            made.append("error")
    if made[1] == "error":
        return  # PyTorch refuses some mixtures that are taken here
    assert repr(made[0]) == repr(made[1])


def test_numbers_that_do_not_fit():
    assert livegrad.tensor([1e300, 1.0]).tolist() == [float("inf"), 1.0]
    with pytest.raises(ValueError, match="Overflow"):
        livegrad.tensor([2**63])
    assert livegrad.tensor([1, 2], dtype=livegrad.uint8).tolist() == [1, 2]
    assert livegrad.tensor(((1, 2), (3, 4))).tolist() == [[1, 2], [3, 4]]
    assert livegrad.tensor([[], []]).shape == (2, 0)
    assert livegrad.tensor([1.5, 2.5], requires_grad=True).requires_grad
