"""Making tensors: values to the bit, dtypes and errors as in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_support import ALL, Raised, assert_same, attempt, needs_torch, to_numpy, to_torch

import livegrad
from livegrad import dtypes

SETTINGS = {"deadline": None, "derandomize": True}


def both(name, *args, **kwargs):
    import torch

    expected = attempt(getattr(torch, name), *args, **{k: to_torch(v) for k, v in kwargs.items()})
    return attempt(getattr(livegrad, name), *args, **kwargs), expected


def check(name, *args, **kwargs):
    got, expected = both(name, *args, **kwargs)
    if isinstance(expected, Raised) or isinstance(got, Raised):
        assert isinstance(got, Raised) and isinstance(expected, Raised), f"{got!r} against {expected!r}"
    else:
        assert_same(got, expected, rtol=0)


NUMBERS = st.one_of(st.integers(-50, 50), st.floats(-20, 20, width=32), st.sampled_from([0.1, 1e-3, 2.5, -0.3]))


@needs_torch
@settings(max_examples=300, **SETTINGS)
@given(
    NUMBERS,
    NUMBERS,
    st.one_of(st.integers(1, 9), st.floats(0.01, 3), st.sampled_from([0.1, 0.3])),
    st.sampled_from([None, *ALL[1:]]),
)
def test_arange(start, end, step, dtype):
    if isinstance(dtype, dtypes.dtype) and dtype is dtypes.uint8 and (start < 0 or end < 0):
        return  # converting a negative number to an unsigned integer has no defined result
    if end < start:
        step = -step
    if dtype is not None and not dtype.is_floating_point and abs(step) < 1:
        return  # a step that becomes 0
    if abs((end - start) / step) > 2000:
        return
    got, expected = both("arange", start, end, step, dtype=dtype)
    if isinstance(expected, Raised) or isinstance(got, Raised):
        assert isinstance(got, Raised) and isinstance(expected, Raised), f"{got!r} against {expected!r}"
        return
    small = {None: 1e-6, "float32": 1e-6, "float64": 1e-13, "float16": 1e-2, "bfloat16": 4e-2}.get(
        dtype and dtype.name, 0
    )
    assert_same(got, expected, rtol=small, atol=small * 20)


@needs_torch
@pytest.mark.parametrize("args", [(5,), (0, 10, 3), (10, 0, -3), (1.0, 4.0), (0, 1, 0.1), (2,), (0,), (3, 3), (0.5, 3), (5, 0, -1),
                                  (0, 1000), (True, 5), (1, 0), (0, 1, 0), (0, 5, -1), (-5, 5, 2)], ids=str)  # fmt: skip
def test_arange_exactly(args):
    check("arange", *args)


@needs_torch
def test_arange_to_rounding():
    """PyTorch rounds where its vectors happen to begin, which depends on the machine."""
    got, expected = both("arange", 0, 100, 0.7)
    assert_same(got, expected, rtol=2e-7)


@needs_torch
@settings(max_examples=300, **SETTINGS)
@given(NUMBERS, NUMBERS, st.integers(0, 200), st.sampled_from([None, dtypes.float64, dtypes.float32]))
def test_linspace(start, end, steps, dtype):
    got, expected = both("linspace", start, end, steps, dtype=dtype)
    eps = 3e-15 if dtype is dtypes.float64 else 2e-7
    assert_same(got, expected, rtol=eps, atol=eps * max(abs(start), abs(end), 1e-3) * 2)


@needs_torch
@pytest.mark.parametrize(
    "args", [(0, 1, 5), (0, 10, 11), (-1, 1, 3), (1, 1, 4), (0, 1, 1), (0, 1, 0), (5, -5, 7), (0, 1, -1)], ids=str
)
def test_linspace_exactly(args):
    check("linspace", *args)
    check("linspace", *args, dtype=dtypes.int64)


@needs_torch
@pytest.mark.parametrize("args", [(0, 2, 5), (0, 1, 3, 2.0), (-2, 2, 4)], ids=str)
def test_logspace(args):
    got, expected = both("logspace", *args)
    assert_same(got, expected, rtol=1e-6)


@needs_torch
@pytest.mark.parametrize("name", ["zeros", "ones", "empty"])
def test_filled(name):
    for size in ((2, 3), ((),), ((2, 3),), ([2, 0],), (4,)):
        for d in (None, *ALL):
            got, expected = both(name, *size, dtype=d)
            if name == "empty":
                assert tuple(got.shape) == tuple(expected.shape) and str(got.dtype) == str(expected.dtype)
            else:
                assert_same(got, expected)


@needs_torch
@pytest.mark.parametrize("size", [(-1,), (2.5,), ("a",), (2, -3), (None,)], ids=str)
def test_sizes_that_are_none(size):
    for name in ("zeros", "ones", "empty", "rand", "randn"):
        got, expected = both(name, *size)
        assert isinstance(got, Raised) == isinstance(expected, Raised), f"{name}: {got!r} against {expected!r}"


@needs_torch
@pytest.mark.parametrize("value", [0, 1, 1.5, True, False, -2, float("nan"), 2**40, 300], ids=repr)
def test_full(value):
    check("full", (2, 2), value)
    for d in ALL:
        if d.is_floating_point or (isinstance(value, (bool, int)) and 0 <= value < 100):
            check("full", (2,), value, dtype=d)


@needs_torch
@pytest.mark.parametrize("data", [
    1, 1.5, True, [1, 2], [1, 2.5], [True, False], [True, 2], [[1, 2], [3, 4]], [], [[]], [[], []], (1, 2), [(1, 2), (3, 4)],
    [1.0, float("nan"), float("inf")], 2**40, [2**62, 1], -1, [[[]]], [[1, 2], [3, 4.5]], range(3), [True, 1.5], 1e300, 2**63 - 1,
], ids=repr)  # fmt: skip
def test_tensor(data):
    check("tensor", data)
    for d in (dtypes.float64, dtypes.float32, dtypes.int64, dtypes.bool_, dtypes.float16):
        if not (d is dtypes.int64 and "nan" in repr(data)):
            check("tensor", data, dtype=d)


@needs_torch
@pytest.mark.parametrize("data", [
    [[1, 2], [3]], [1, [2]], [[1], 2], "abc", ["a"], None, [None], {"a": 1}, object(), [[1, 2], [3, 4, 5]], 2**64,
], ids=lambda d: type(d).__name__ + str(d)[:12])  # fmt: skip
def test_tensor_refuses(data):
    import torch

    with pytest.raises((TypeError, ValueError, RuntimeError, OverflowError)) as theirs:
        torch.tensor(data)
    with pytest.raises((TypeError, ValueError, RuntimeError, OverflowError)) as ours:
        livegrad.tensor(data)
    same = {ValueError, TypeError, RuntimeError}
    if theirs.type in same and theirs.type is not RuntimeError:
        assert ours.type in (theirs.type, ValueError, TypeError)


@needs_torch
def test_tensor_of_arrays_and_tensors():
    import torch

    for d in ALL:
        a = np.arange(3).astype(d.np)
        if d is not dtypes.bfloat16:
            assert_same(livegrad.tensor(a), torch.tensor(a))
            assert_same(livegrad.tensor(a[0]), torch.tensor(a[0]))
        t = livegrad.tensor(a)
        again = livegrad.tensor(t)
        again[0] = 1
        assert to_numpy(t)[0] == 0
        assert to_numpy(livegrad.tensor([t[0], t[1]])).dtype == a.dtype
    with pytest.raises(RuntimeError, match="floating point"):
        livegrad.tensor([1, 2], requires_grad=True)


@needs_torch
def test_like_and_eye_and_grids():
    import torch

    for d in (dtypes.int32, dtypes.float16, dtypes.bool_):
        x, y = livegrad.zeros(2, 3, dtype=d), torch.zeros(2, 3, dtype=to_torch(d))
        for name in ("zeros_like", "ones_like"):
            assert_same(getattr(livegrad, name)(x), getattr(torch, name)(y))
        assert_same(livegrad.full_like(x, 1), torch.full_like(y, 1))
        assert_same(livegrad.ones_like(x, dtype=livegrad.float64), torch.ones_like(y, dtype=torch.float64))
        assert_same(x.new_zeros(2), y.new_zeros(2))
        assert_same(x.new_full((2,), 1), y.new_full((2,), 1))
        assert_same(x.new_tensor([1, 0]), y.new_tensor([1, 0]))
    for args in ((3,), (2, 3), (0,)):
        check("eye", *args)
    for args in ((3, 4), (3, 3, 1), (4, 3, -1)):
        check("tril_indices", *args)
        check("triu_indices", *args)
    for indexing in ("ij", "xy"):
        got = livegrad.meshgrid(livegrad.arange(2), livegrad.arange(3), indexing=indexing)
        expected = torch.meshgrid(torch.arange(2), torch.arange(3), indexing=indexing)
        assert_same(list(got), list(expected))


@needs_torch
def test_default_dtype_is_followed():
    import torch

    try:
        for lib in (livegrad, torch):
            lib.set_default_dtype(lib.float64)
        for make in (
            lambda lib: lib.tensor(1.5),
            lambda lib: lib.zeros(2),
            lambda lib: lib.ones(2, dtype=lib.int32) * 1.5,
            lambda lib: lib.arange(0, 1, 0.25),
            lambda lib: lib.tensor([1, 2]).sqrt(),
            lambda lib: lib.tensor([1]) / 2,
        ):
            assert_same(make(livegrad), make(torch))
    finally:
        for lib in (livegrad, torch):
            lib.set_default_dtype(lib.float32)
    assert (livegrad.ones(2, dtype=livegrad.int32) * 1.5).dtype is livegrad.float32


@pytest.mark.parametrize("name", ["tril", "triu"])
def test_what_a_triangle_leaves_out_does_not_matter(name):
    for dtype in (livegrad.bfloat16, livegrad.float32):
        x = livegrad.full((3, 3), float("inf"), dtype=dtype)
        kept = np.asarray(getattr(np, name)(np.ones((3, 3))), bool)
        assert getattr(x, name)().tolist() == np.where(kept, np.inf, 0.0).tolist()


@pytest.mark.parametrize("start, step", [(0, 1), (-7, 3), (0.25, 0.125), (1e6, -1.5)])
def test_long_ranges(start, step):
    n = 3 * (1 << 15) + 5
    whole = isinstance(step, int)
    made = livegrad.arange(start, start + n * step, step, dtype=livegrad.int64 if whole else livegrad.float64)
    np.testing.assert_array_equal(made.numpy(), start + np.arange(n) * step)
