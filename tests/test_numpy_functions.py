"""Tensors among NumPy's arrays: what NumPy's functions make of them, and arrays as operands."""

import numpy as np
import pytest

import livegrad


@pytest.mark.parametrize(
    "function",
    [
        np.sin,
        np.argmax,
        lambda x: np.add(x, 1),
        lambda x: np.add(np.ones(1), x),
        lambda x: np.reshape(x, -1),
        lambda x: np.less(x, 2),
        lambda x: np.multiply(x, 2, out=np.zeros(x.shape)),
        lambda x: np.concatenate([x, x]),
    ],
)
def test_what_functions_return_is_pytorchs(function):
    torch = pytest.importorskip("torch")
    ours, theirs = function(livegrad.arange(4.0)), function(torch.arange(4.0))
    assert isinstance(ours, livegrad.Tensor) == isinstance(theirs, torch.Tensor)
    assert str(ours.dtype) == str(theirs.dtype) and ours.tolist() == theirs.tolist()


def test_a_result_without_a_dtype_of_tensors_stays_an_array():
    made = np.add(livegrad.ones(2, dtype=livegrad.uint8), np.ones(2, np.uint16))
    assert type(made) is np.ndarray and made.dtype == np.uint16


@pytest.mark.parametrize("array", [np.arange(4.0)[::-1], np.arange(4, dtype=">f8"), np.arange(4, dtype=">i4")])
def test_arrays_that_tensors_cannot_share_are_operands_all_the_same(array):
    x = livegrad.ones(4)
    assert (x + array).tolist() == (array + 1).tolist() and (array * x).tolist() == array.tolist()
    assert (x == array).tolist() == (array == 1).tolist()


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([b"a"]), np.array([None]), np.array(["2020"], "M8[Y]")])
def test_arrays_without_numbers_are_no_operands(array):
    x = livegrad.ones(1)
    with pytest.raises(TypeError):
        x + array
    assert (x == array) is False and (x != array) is True
