"""Large memory is filled and copied by all threads."""

import numpy as np
import pytest

import livegrad
from livegrad.runtime import moves, pool


@pytest.fixture(params=[1, 3])
def threads(request):
    before = pool.get_num_threads()
    pool.set_num_threads(request.param)
    yield
    pool.set_num_threads(before)


@pytest.mark.parametrize("nbytes", [1, 63, 64, 65, moves._ITEM - 1, moves._ITEM, 3 * moves._ITEM + 41])
def test_copy(threads, nbytes):
    source = np.random.default_rng(0).integers(0, 256, nbytes + 9, np.uint8)
    target = np.zeros(nbytes + 9, np.uint8)
    if not moves.copy(target.ctypes.data + 5, source.ctypes.data + 3, nbytes):
        pytest.skip("no compiler here")
    pool.finish()
    np.testing.assert_array_equal(target[5 : nbytes + 5], source[3 : nbytes + 3])
    assert not target[:5].any() and not target[nbytes + 5 :].any()


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
@pytest.mark.parametrize("count", [1, 7, 9, moves._ITEM // 8 - 3, moves._ITEM + 13])
def test_fill(threads, dtype, count):
    number = np.array(77, dtype)
    target = np.zeros(count + 2, dtype)
    if not moves.fill(target.ctypes.data + number.itemsize, number.tobytes(), count * number.itemsize):
        pytest.skip("no compiler here")
    pool.finish()
    assert (target[1:-1] == 77).all() and target[0] == target[-1] == 0


@pytest.mark.parametrize(
    "dtype", [livegrad.bool, livegrad.int16, livegrad.bfloat16, livegrad.float64, livegrad.complex128]
)
def test_tensors(dtype):
    n = moves.LARGE // dtype.itemsize + 1
    x = livegrad.full((n,), 1, dtype=dtype)
    assert (x == 1).all()
    y = x.clone()
    x.zero_()
    assert (y == 1).all() and (x == 0).all()
    array = np.arange(n)
    z = livegrad.tensor(array)
    array[:] = -1  # which is nothing to the copy
    assert z[-1] == n - 1 and (z == livegrad.arange(n)).all()
    assert (livegrad.from_numpy(array).clone() == -1).all()


ROWS = [
    lambda a: a, lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a[:, :, 16:], lambda a: a[3:, 1:], lambda a: a[:, :, ::2],
    lambda a: a.transpose(1, 0, 2), lambda a: a.transpose(2, 1, 0), lambda a: a[:1], lambda a: a[:, :0],
    lambda a: np.broadcast_to(a[:1], a.shape), lambda a: a[::2, ::-3, :40], lambda a: a.reshape(5, 2, 20, 3, -1)[:, ::-1, 1:, ::2],
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["u1", "f4", "c16"])
@pytest.mark.parametrize("view", ROWS)
def test_assign(threads, view, dtype):
    """Windows of all kinds, read and written; nothing else is written."""
    source = np.random.default_rng(0).integers(0, 100, (10, 60, 2048)).astype(dtype)
    made = np.full(view(source).shape, 111, dtype)
    moves.assign(made, view(source))
    np.testing.assert_array_equal(made, view(source))
    memory, expected = np.full_like(source, 111), np.full_like(source, 111)
    if view(memory).flags.writeable:
        moves.assign(view(memory), made)
        view(expected)[...] = made
        np.testing.assert_array_equal(memory, expected)


def test_overlap():
    x = np.arange(1 << 19, dtype=np.int64)
    moves.assign(x[1:], x[:-1])
    assert x[0] == x[1] == 0 and (x[1:] == np.arange(len(x) - 1)).all()
    y = livegrad.arange(1 << 19)
    y[1:] = y[:-1].clone()
    y[: 1 << 18] = y[1 << 18 :]
    assert y[0] == (1 << 18) - 1 and y[1 << 18] == (1 << 18) - 1
