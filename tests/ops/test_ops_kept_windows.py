"""Windows of pooling and convolution are worked out once for the same arguments, and only for the same ones."""

from __future__ import annotations

import numpy as np
import pytest

import livegrad
import livegrad.nn.functional as F


def test_a_list_that_changes_is_seen() -> None:
    x, w = livegrad.rand(1, 1, 8, 8), livegrad.rand(1, 1, 2, 2)
    size = [2, 2]
    assert F.max_pool2d(x, size).shape == (1, 1, 4, 4)
    assert F.conv2d(x, w, stride=size).shape == (1, 1, 4, 4)
    size[0] = 4
    assert F.max_pool2d(x, size).shape == (1, 1, 2, 4)
    assert F.conv2d(x, w, stride=size).shape == (1, 1, 2, 4)


def test_a_number_that_is_no_size_is_refused_after_one_that_is() -> None:
    x, w = livegrad.rand(1, 1, 8, 8), livegrad.rand(1, 1, 2, 2)
    for _ in range(2):
        F.max_pool2d(x, 2)
        F.conv2d(x, w, None, 2)
        with pytest.raises(TypeError):
            F.max_pool2d(x, 2.0)
        with pytest.raises(TypeError):
            F.conv2d(x, w, None, 2.0)


def test_the_same_arguments_of_other_shapes() -> None:
    w = livegrad.ones(2, 3, 3, 3)
    for n in (5, 6, 5):
        x = livegrad.ones(1, 3, n, n)
        assert F.avg_pool2d(x, 2).shape == (1, 3, n // 2, n // 2)
        made = F.conv2d(x, w)
        assert made.shape == (1, 2, n - 2, n - 2)
        np.testing.assert_array_equal(made.numpy(), 27.0)
    with pytest.raises(RuntimeError, match="to have 3 channels, but got 2 channels"):
        F.conv2d(livegrad.ones(1, 2, 5, 5), w)
    with pytest.raises(RuntimeError, match="expected bias to be 1-dimensional with 2 elements"):
        F.conv2d(livegrad.ones(1, 3, 5, 5), w, livegrad.ones(3))


def test_windows_of_arrays_in_another_order() -> None:
    a = np.random.default_rng(0).standard_normal((2, 6, 4, 3)).astype(np.float32)
    x = livegrad.tensor(a).permute(0, 3, 1, 2)
    wanted = a.reshape(2, 3, 2, 2, 2, 3)
    np.testing.assert_array_equal(F.max_pool2d(x, 2).permute(0, 2, 3, 1).numpy(), wanted.max((2, 4)))
    np.testing.assert_allclose(
        F.avg_pool2d(x, 2).permute(0, 2, 3, 1).numpy(), wanted.mean((2, 4)), rtol=1e-5, atol=1e-6
    )
