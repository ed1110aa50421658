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
