"""What lies in memory in another order than it is read in is copied square by square, and read from the copy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import livegrad
from livegrad.lazy import turned
from livegrad.runtime import array as arrays

DTYPES = [np.int8, np.bool_, np.int16, np.float16, np.float32, np.int64, np.complex64, np.complex128]
SHAPES = [(128, 128), (129, 130), (2, 97, 101), (70, 3, 90), (64, 5, 2, 64), (1000, 17), (16, 1024), (31, 16, 40)]


def counted(shape, dtype):
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_order_of_dimensions(shape, dtype):
    for order in itertools.permutations(range(len(shape))):
        a = counted(shape, dtype).transpose(order)
        with livegrad.compiling("always"):
            made = turned.contiguous_copy(arrays.from_native(a))
        assert made.contiguous and made.shape == a.shape
        np.testing.assert_array_equal(made.native(), a)


def test_which_are_copied_so():
    """Only what is read across the lines of the cache, and has whole squares."""
    float32 = np.float32

    def turns(a):
        return turned.plan_of(arrays.from_native(a)) is not None

    assert turns(np.zeros((200, 300), float32).T) and turns(np.zeros((9, 200, 300), float32).transpose(0, 2, 1))
    assert turns(np.zeros((300, 400), float32)[:200, 30:].T)
    assert not turns(np.zeros((200, 300), float32))
    assert not turns(np.zeros((20, 30), float32).T)  # it stays in the cache
    assert not turns(np.zeros((200, 300), float32)[:, ::2])  # no dimension has neighbours
    assert not turns(np.zeros((9, 200, 64), float32).transpose(1, 0, 2))  # the innermost one has
    assert not turns(np.zeros((20000, 3), float32).T)  # too narrow
    assert not turns(np.zeros((200, 300), np.complex128).T)


@given(st.data())
def test_windows(data):
    """Parts of arrays, walked backwards in any dimension but the turned one."""
    rows, columns, many = (data.draw(st.integers(low, high)) for low, high in ((100, 140), (130, 160), (1, 3)))
    whole = counted((many, columns + 5, rows + 3), np.float32)
    a = whole[:, 2 : 2 + columns, 1 : 1 + rows].transpose(data.draw(st.permutations(range(3))))
    for axis in range(3):
        if a.strides[axis] != 4 and data.draw(st.booleans()):
            a = np.flip(a, axis)
    with livegrad.compiling("always"):
        made = turned.contiguous_copy(arrays.from_native(a))
    np.testing.assert_array_equal(made.native(), a)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: x + 1,
        lambda x, y: x * y + x.exp(),
        lambda x, y: x.softmax(1),
        lambda x, y: (x * y).log_softmax(0),
        lambda x, y: livegrad.nn.functional.layer_norm(x + 1, (x.shape[1],)),
        lambda x, y: x.cumsum(1),
        lambda x, y: (x * y).cumsum(0),
        lambda x, y: x.clone(),
    ],
)
def test_results_are_those_of_contiguous_operands(function, threads):
    before = livegrad.get_num_threads()
    livegrad.set_num_threads(threads)
    try:
        with livegrad.compiling("always"):
            livegrad.manual_seed(0)
            x, y = livegrad.randn(170, 150).t(), livegrad.randn(150, 170)
            assert not x.is_contiguous()
            plain = livegrad.tensor(x.numpy().copy())
            np.testing.assert_allclose(function(x, y).numpy(), function(plain, y).numpy(), rtol=2e-6, atol=2e-6)
    finally:
        livegrad.set_num_threads(before)


def test_a_write_after_reading_is_not_seen():
    with livegrad.compiling("always"):
        x = livegrad.zeros(200, 300)
        made = x.t() + 1
        x.fill_(5)
        assert (made == 1).all().item() and (x.t() + 1 == 6).all().item()


def test_expanded_operands_are_read_where_they_are():
    with livegrad.compiling("always"):
        x = livegrad.arange(200 * 300.0).reshape(200, 300).t()
        made = x.expand(4, 300, 200) + 1
        np.testing.assert_array_equal(made.numpy(), np.broadcast_to(x.numpy(), (4, 300, 200)) + 1)
