"""Result dtypes of mixed operands, Python numbers that do not fit, and what in-place operators refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ops_support import ALL, Raised, assert_same, attempt, mode, needs_torch, to_livegrad, to_torch, unsupported

import livegrad
from livegrad import dtypes

BINARY = ["add", "sub", "mul", "div", "pow", "maximum", "eq", "lt", "bitwise_and", "atan2", "floor_divide", "remainder",
          "fmod", "logical_or", "where", "copysign", "hypot", "clamp_min", "fmax", "xlogy"]  # fmt: skip


def values(d, shape):
    x = np.arange(1, 1 + int(np.prod(shape))).reshape(shape)
    return np.asarray(x % 2 == 1) if d is dtypes.bool_ else x.astype(d.np)


def both(name, args, **kwargs):
    import torch

    args = (np.array([True, False, True]), *args) if name == "where" else args
    expected = attempt(getattr(torch, name), *map(to_torch, args), **kwargs)
    got = attempt(getattr(livegrad, name), *map(to_livegrad, args), **kwargs)
    return got, expected


def check(name, args, problems, **kwargs):
    got, expected = both(name, args, **kwargs)
    if unsupported(expected) or (isinstance(expected, Raised) and isinstance(expected.error, TypeError)):
        return
    try:
        if isinstance(got, Raised) or isinstance(expected, Raised):
            assert isinstance(got, Raised) and isinstance(expected, Raised), f"{got!r} against {expected!r}"
        else:
            half = expected.is_floating_point() and expected.element_size() == 2
            assert_same(got, expected, rtol=8e-3 if half else 1e-5)
    except AssertionError as error:
        shown = [f"{a.dtype}{list(a.shape)}" if isinstance(a, np.ndarray) else repr(a) for a in args]
        problems.append(f"{name}{shown}: {str(error)[:300]}")


@needs_torch
@pytest.mark.parametrize("name", BINARY)
def test_every_pair_of_dtypes(name):
    problems = []
    with mode("deferred reference"):
        for a, b in itertools.product(ALL, ALL):
            check(name, (values(a, (3,)), values(b, (3,))), problems)
            check(name, (values(a, (3,)), values(b, ())), problems)
            if name != "where":
                check(name, (values(a, ()), values(b, ())), problems)
        for a in ALL:
            for number in (True, 2, 2.5, -1):
                check(name, (values(a, (3,)), number), problems)
                check(name, (values(a, ()), number), problems)
    assert not problems, f"{len(problems)} differ\n" + "\n".join(problems[:40])


@needs_torch
@pytest.mark.parametrize("name", ["add", "mul", "sub", "eq", "lt", "maximum", "bitwise_and"])
def test_kernels_promote_too(name):
    problems = []
    pairs = [(dtypes.uint8, dtypes.int8), (dtypes.int16, dtypes.float16), (dtypes.bfloat16, dtypes.float16),
             (dtypes.int64, dtypes.float32), (dtypes.bool_, dtypes.int32), (dtypes.float32, dtypes.float64),
             (dtypes.uint8, dtypes.int64)]  # fmt: skip
    with mode("deferred"):
        for a, b in pairs:
            check(name, (values(a, (20,)), values(b, (20,))), problems)
            check(name, (values(b, (20,)), values(a, ())), problems)
    assert not problems, "\n".join(problems)


@needs_torch
@pytest.mark.parametrize("number", [300, -1, -129, 2**40, 255, 0.5, float("nan"), True], ids=repr)
def test_numbers_that_do_not_fit(number):
    """A Python number wraps around into a small integer dtype in arithmetic, as in PyTorch."""
    problems = []
    for m in ("deferred", "deferred reference"):
        with mode(m):
            for d in (dtypes.uint8, dtypes.int8, dtypes.int32, dtypes.int64, dtypes.float16, dtypes.bool_):
                for name in ("add", "mul", "sub", "rsub"):
                    check(name, (values(d, (5,)), number), problems)
    assert not problems, "\n".join(problems)


@needs_torch
@pytest.mark.parametrize("number", [300, -1, 2**40, 255, 1.5, -0.5], ids=repr)
def test_comparing_with_numbers_that_do_not_fit(number):
    """A number is compared as the dtype holds it, as in PyTorch."""
    problems = []
    for m in ("deferred", "deferred reference"):
        with mode(m):
            for d in (dtypes.uint8, dtypes.int8, dtypes.int32, dtypes.float32):
                x = np.array([0, 1, 44, 127], d.np)
                for name in ("eq", "ne", "lt", "le", "gt", "ge"):
                    got, expected = both(name, (x, number))
                    if isinstance(expected, Raised):
                        continue
                    try:
                        assert_same(got, expected)
                    except AssertionError as error:
                        problems.append(f"{name} {d.name} {number}: {str(error)[-300:]}")
    assert not problems, "\n".join(problems)


@needs_torch
@pytest.mark.parametrize("operator", ["__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__truediv__", "__rtruediv__",
                                      "__floordiv__", "__rfloordiv__", "__mod__", "__rmod__", "__pow__", "__rpow__", "__and__",
                                      "__rand__", "__or__", "__xor__", "__lshift__", "__rshift__", "__eq__", "__ne__",
                                      "__lt__", "__le__", "__gt__", "__ge__"])  # fmt: skip
def test_python_operators(operator):
    import torch

    problems = []
    for d in ALL:
        x = values(d, (4,))
        for other in (3, 2.5, True, values(d, (4,))):
            expected = attempt(getattr(torch.Tensor, operator), to_torch(x), to_torch(other))
            got = attempt(getattr(livegrad.Tensor, operator), to_livegrad(x), to_livegrad(other))
            if unsupported(expected) or expected is NotImplemented:
                continue
            try:
                if isinstance(got, Raised) or isinstance(expected, Raised):
                    assert isinstance(got, Raised) and isinstance(expected, Raised), f"{got!r} against {expected!r}"
                else:
                    half = expected.is_floating_point() and expected.element_size() == 2
                    assert_same(got, expected, rtol=8e-3 if half else 2e-6)
            except AssertionError as error:
                problems.append(f"{d.name} {operator} {other!r}: {str(error)[:300]}")
    assert not problems, "\n".join(problems)


@needs_torch
@pytest.mark.parametrize("name", ["add_", "sub_", "mul_", "div_", "pow_", "floor_divide_", "remainder_", "copy_", "bitwise_or_",
                                  "eq_", "clamp_", "masked_fill_", "lerp_", "exp_", "fill_"])  # fmt: skip
def test_in_place_refuses_what_pytorch_refuses(name):
    import torch

    problems = []
    for a, b in itertools.product(ALL, (dtypes.bool_, dtypes.uint8, dtypes.int32, dtypes.float16, dtypes.float64)):
        for other in (values(b, (3,)), values(b, ()), 2, 1.5):
            args = {"exp_": (), "masked_fill_": (np.array([True, False, True]), other), "lerp_": (other, 0.5)}.get(
                name, (other,)
            )
            x, y = to_livegrad(values(a, (3,))), to_torch(values(a, (3,)))
            expected = attempt(getattr(torch.Tensor, name), y, *map(to_torch, args))
            if unsupported(expected) or (isinstance(expected, Raised) and isinstance(expected.error, TypeError)):
                continue
            got = attempt(getattr(livegrad.Tensor, name), x, *map(to_livegrad, args))
            try:
                if isinstance(got, Raised) or isinstance(expected, Raised):
                    assert isinstance(got, Raised) and isinstance(expected, Raised), f"{got!r} against {expected!r}"
                else:
                    assert_same(x, y, rtol=8e-3 if x.element_size() == 2 else 1e-5)
            except AssertionError as error:
                problems.append(f"{a.name} {name} {other!r}: {str(error)[:300]}")
    assert not problems, f"{len(problems)} differ\n" + "\n".join(problems[:40])


@needs_torch
def test_promote_types_and_result_type():
    import torch

    for a, b in itertools.product(ALL, ALL):
        expected = torch.promote_types(to_torch(a), to_torch(b))
        assert str(livegrad.promote_types(a, b)) == str(expected)
        for shape in ((2,), ()):
            x, y = values(a, (2,)), values(b, shape)
            assert str(livegrad.result_type(to_livegrad(x), to_livegrad(y))) == str(
                torch.result_type(to_torch(x), to_torch(y))
            )
        for number in (True, 1, 1.5):
            assert str(livegrad.result_type(to_livegrad(x), number)) == str(torch.result_type(to_torch(x), number))
        assert livegrad.can_cast(a, b) == torch.can_cast(to_torch(a), to_torch(b))


@needs_torch
@pytest.mark.parametrize("m", ["deferred", "deferred reference"])
def test_conversions_between_all_dtypes(m):
    for a, b in itertools.product(ALL, ALL):
        x = np.array([0, 1, 2, 7, 100]).astype(a.np) if not a.is_floating_point else np.array(
            [0.0, -0.0, 0.4, 0.5, 1.5, 2.7, 100.25, np.pi]).astype(a.np)  # fmt: skip
        if a.is_signed and b.is_signed:
            x = np.concatenate([x, -x])
        with mode(m):
            assert_same(to_livegrad(x).to(b), to_torch(x).to(to_torch(b)), rtol=0)


@needs_torch
@pytest.mark.parametrize("m", ["deferred", "deferred reference"])
def test_integers_wrap_when_converted(m):
    x = np.array([-1, 255, 256, 300, -129, 2**31, 2**40 + 5, -(2**63)], np.int64)
    for b in (dtypes.uint8, dtypes.int8, dtypes.int16, dtypes.int32, dtypes.bool_):
        with mode(m):
            assert_same(to_livegrad(x).to(b), to_torch(x).to(to_torch(b)))
