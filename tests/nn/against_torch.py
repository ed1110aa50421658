"""What the tests of `nn` share: the same thing done by livegrad and by PyTorch, and the two compared."""

import warnings

import numpy as np
import pytest

import livegrad
import livegrad.nn

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


def drawn_by_both(ours, theirs, seed=11):
    """The results of two functions, each after the seed; asserts that they drew as many random numbers."""
    mine, after = drawn(livegrad, ours, seed)
    reference, expected = drawn(torch, theirs, seed)
    assert after == expected
    return mine, reference


def pair(array, requires_grad=False):
    """The same tensor in both libraries."""
    array = np.asarray(array)
    ours, theirs = livegrad.from_numpy(array.copy()), torch.from_numpy(array.copy())
    if requires_grad:
        ours.requires_grad_()
        theirs.requires_grad_()
    return ours, theirs


def numpy(tensor):
    return tensor.detach().cpu().numpy()


def same(ours, theirs, rtol=1e-5, atol=1e-6):
    """Asserts equal shapes, dtypes and values; goes into tuples and lists."""
    if isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            same(a, b, rtol, atol)
        return
    if theirs is None:
        assert ours is None
        return
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_allclose(numpy(ours), numpy(theirs), rtol=rtol, atol=atol)


def identical(ours, theirs):
    """Asserts the same bits."""
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_array_equal(numpy(ours), numpy(theirs))


def floating(array):
    return isinstance(array, np.ndarray) and array.dtype.kind == "f"


def drawn(library, function, seed=11):
    """What a function gives after a seed, and the next random number of that library."""
    library.manual_seed(seed)
    return function(), library.rand(1).item()


def check(ours, theirs, arrays, args=(), kwargs=None, gradients=True, rtol=1e-5, atol=1e-6):
    """Asserts that two functions of tensors agree, after the same seed.

    Compared are the results, the gradients by every floating-point tensor, and how many random numbers were drawn.
    """
    kwargs = kwargs or {}
    pairs = [pair(a, gradients and floating(a)) for a in arrays]
    mine, after = drawn(livegrad, lambda: ours(*(a for a, _ in pairs), *args, **kwargs))
    reference, expected = drawn(torch, lambda: theirs(*(b for _, b in pairs), *args, **kwargs))
    assert after == expected
    same(mine, reference, rtol, atol)
    if gradients and reference.requires_grad:
        weights = np.random.default_rng(7).standard_normal(tuple(reference.shape)).astype(numpy(reference).dtype)
        g, h = pair(weights)
        mine.backward(g)
        reference.backward(h)
        for a, b in pairs:
            same(a.grad, b.grad, rtol, atol)


def outcome(function):
    """(result, None, None, warnings), or (None, type and text of the error, warnings) of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result, error = function(), None
        except Exception as raised:  # noqa: BLE001 - the test compares whatever it is
            result, error = None, (type(raised).__name__, str(raised))
    return result, error, [str(w.message) for w in caught]
