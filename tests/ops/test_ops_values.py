"""Every operator of the registry against PyTorch and in every mode: values, dtypes, layouts, out=, in place."""

from __future__ import annotations

import numpy as np
import pytest
from ops_samples import ALIASES, CASES
from ops_support import (
    ALL,
    LAYOUTS,
    MODES,
    Raised,
    as_dtype,
    assert_same,
    attempt,
    force,
    laid_out,
    mode,
    needs_torch,
    to_livegrad,
    to_torch,
    unsupported,
)  # fmt: skip

import livegrad
from livegrad import dtypes
from livegrad.ops.registry import FUNCTIONS

# Not compared with PyTorch, and why.
DIFFERS = {}


def test_every_operator_has_samples():
    """An operator without samples would not be tested at all."""
    assert [name for name, case in CASES.items() if not case.samples()] == []


def test_aliases_are_other_names():
    for name in ALIASES:
        assert name in FUNCTIONS


def pairs(case, d):
    """(arguments, keyword arguments) of a case's samples with the data in one dtype."""
    for args, kwargs in case.samples():
        yield tuple(as_dtype(a, d) for a in args), {k: as_dtype(v, d) for k, v in kwargs.items()}


def dtypes_for(case):
    return ALL


@needs_torch
@pytest.mark.parametrize("name", [n for n in CASES if n not in DIFFERS])
def test_values_and_dtypes_as_in_pytorch(name):
    case = CASES[name]
    expected_by = case.torch_function
    if expected_by is None:
        pytest.skip("no operator of PyTorch by itself; covered by its formula and by the function that uses it")
    problems = []
    for d in dtypes_for(case):
        for args, kwargs in pairs(case, d):
            call = rounded_once(expected_by) if name in ROUNDS_PARTIAL_SUMS else expected_by
            expected = attempt(call, *map(to_torch, args), **{k: to_torch(v) for k, v in kwargs.items()})
            if unsupported(expected) or (name in NEED_FLOATS and not d.is_floating_point):
                continue
            with mode("deferred"):
                got = attempt(case.function, *map(to_livegrad, args), **{k: to_livegrad(v) for k, v in kwargs.items()})
            try:
                if isinstance(expected, Raised) or isinstance(got, Raised):
                    if not more_permissive(name, d, args, expected):
                        assert isinstance(expected, Raised) and isinstance(got, Raised), f"{got!r} against {expected!r}"
                elif name in TIES and not d.is_floating_point and isinstance(got, tuple):
                    assert_same(got[0], expected[0])  # which of several equal elements is named is not specified
                else:
                    assert_same(got, expected, **tolerance(name, d))
            except AssertionError as error:
                shown = ", ".join(str(a.shape) if isinstance(a, np.ndarray) else repr(a) for a in args)
                problems.append(f"{d.name} ({shown}, {kwargs}): {str(error).strip()[:600]}")
    assert not problems, "\n".join(problems)


NEED_FLOATS = {"softmax", "log_softmax"}  # PyTorch does not check the dtype of empty tensors; livegrad does
ROUNDS_PARTIAL_SUMS = {"conv_transpose3d"}  # PyTorch, in halves, on some processors
TIES = {"kthvalue", "median", "topk", "max", "min", "sort"}


def rounded_once(function):
    """PyTorch's function with halves as float32 inside: its result is rounded once."""

    def call(x, *args, **kwargs):
        if x.dtype.itemsize != 2 or not x.dtype.is_floating_point:
            return function(x, *args, **kwargs)
        wide = (a.float() if hasattr(a, "float") else a for a in (x, *args))
        return function(*wide, **kwargs).to(x.dtype)

    return call


def more_permissive(name, d, args, expected):
    """Where livegrad gives a result although PyTorch refuses, on purpose."""
    if not isinstance(expected, Raised):
        return False
    text = str(expected.error)
    return (
        # A Python number is taken wherever a tensor broadcasts.
        (isinstance(expected.error, TypeError) and not isinstance(args[-1], np.ndarray) and name not in ("max", "min"))
        # Sorting and searching work for every dtype.
        or (name in ("topk", "sort", "kthvalue", "histc", "median", "searchsorted", "bucketize", "isin"))
        or "does not support automatic" in text
    )


# Sums round differently by their order, and these divide or subtract near-equal numbers afterwards.
LOOSE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-5, "float64": 1e-13}
ORDER = {"sum", "mean", "prod", "var", "std", "var_mean", "std_mean", "logsumexp", "norm", "softmax", "log_softmax",
         "matmul", "mm", "bmm", "mv", "dot", "addmm", "addmv", "baddbmm", "inner", "tensordot", "einsum", "cov", "cdist",
         "cumsum", "cumprod", "dist", "quantile", "renorm", "trace", "cross", "diff",
         "avg_pool1d", "adaptive_avg_pool1d", *(f"conv{way}{n}d" for way in ("", "_transpose") for n in (1, 2, 3))}  # fmt: skip
ROUNDED_STEPS = {"addcmul", "addcdiv", "lerp", "logit", "pow", "_pow", "_logit", "cross", "add", "sub"}


def tolerance(name, d):
    if name in ORDER or name in ROUNDED_STEPS:
        return {"rtol": LOOSE[d.name], "atol": LOOSE[d.name]} if d.is_floating_point else {"rtol": 1e-5, "atol": 1e-5}
    if not d.is_floating_point:
        return {"rtol": 1.5e-6}
    return {}


@pytest.mark.parametrize("name", CASES)
def test_every_mode_gives_the_same(name):
    """Deferred and eager agree to the bit; kernels and tier 0 to rounding; on every layout."""
    case = CASES[name]
    for args, kwargs in pairs(case, dtypes.float32):
        made = {}
        for m in MODES:
            with mode(m):
                made[m] = attempt(case.function, *map(to_livegrad, args),
                                  **{k: to_livegrad(v) for k, v in kwargs.items()})  # fmt: skip
        for m, layout in LAYOUTS.items():
            if name in ("as_strided", "view", "view_as"):  # these see the layout
                continue
            with mode("deferred"):
                laid = [laid_out(to_livegrad(a), layout) for a in args]
                made[m] = attempt(case.function, *laid, **{k: to_livegrad(v) for k, v in kwargs.items()})
        first = made["deferred"]
        if isinstance(first, Raised):
            assert all(isinstance(m, Raised) for m in made.values()), made
            continue
        for m, got in made.items():
            assert not isinstance(got, Raised), f"{m}: {got!r}"
            if m == "eager":
                assert_same(got, first, rtol=0)
            else:
                assert_same(got, first, rtol=1e-5, atol=1e-6)


def forms(name):
    """The function, and the method where there is one."""
    return getattr(livegrad.Tensor, name, None)


@pytest.mark.parametrize("name", CASES)
def test_method_is_the_function(name):
    case = CASES[name]
    method = getattr(livegrad.Tensor, name, None)
    if method is None or name.startswith("_"):
        pytest.skip("no method by that name")
    for args, kwargs in pairs(case, dtypes.float32):
        if not isinstance(args[0], np.ndarray) or name == "where":
            continue
        a, k = list(map(to_livegrad, args)), {k: to_livegrad(v) for k, v in kwargs.items()}
        expected = attempt(case.function, *a, **k)
        got = attempt(method, *a, **k)
        if isinstance(expected, Raised):
            assert isinstance(got, Raised)
        else:
            assert_same(got, expected, rtol=0)


@needs_torch
@pytest.mark.parametrize("name", [n for n in CASES if hasattr(livegrad.Tensor, n + "_") and not n.startswith("_")])
def test_in_place_as_in_pytorch(name):
    import torch

    method, expected_by = getattr(livegrad.Tensor, name + "_"), getattr(torch.Tensor, name + "_", None)
    if expected_by is None:
        pytest.skip("PyTorch has no such method")
    problems = []
    for d in (dtypes.float32, dtypes.float16, dtypes.int32, dtypes.uint8, dtypes.bool_):
        for args, kwargs in pairs(CASES[name], d):
            if not isinstance(args[0], np.ndarray):
                continue
            x, y = to_livegrad(args[0]), to_torch(args[0])
            expected = attempt(expected_by, y, *map(to_torch, args[1:]), **{k: to_torch(v) for k, v in kwargs.items()})
            if unsupported(expected):
                continue
            if name in ("cumsum", "cumprod") and d is dtypes.bool_:
                continue  # refused for every size; PyTorch lets sizes through where nothing is added
            with mode("deferred"):
                got = attempt(method, x, *map(to_livegrad, args[1:]), **{k: to_livegrad(v) for k, v in kwargs.items()})
            try:
                if isinstance(expected, Raised) or isinstance(got, Raised):
                    if not more_permissive(name, d, args, expected):
                        assert isinstance(expected, Raised) and isinstance(got, Raised), f"{got!r} against {expected!r}"
                else:
                    assert got is x
                    assert_same(x, y, **tolerance(name, d))
            except AssertionError as error:
                shown = ", ".join(str(a.shape) if isinstance(a, np.ndarray) else repr(a) for a in args)
                problems.append(f"{d.name} ({shown}, {kwargs}): {str(error).strip()[:600]}")
    assert not problems, "\n".join(problems)


# A running total is not cut down to integers; a truth value may be written as a number.
OUT_DIFFERS = {
    (n, d)
    for n in ("cumsum", "cumprod", "all", "any", "signbit", "isposinf", "isneginf", "isin")
    for d in ALL
    if d is not dtypes.float32
}


@needs_torch
@pytest.mark.parametrize("name", [n for n in CASES if not n.startswith("_")])
def test_out_as_in_pytorch(name):
    """out= of the result's dtype, of a wider one and of a narrower one."""
    case = CASES[name]
    if case.torch_function is None:
        pytest.skip("no such function in PyTorch")
    args, kwargs = next(pairs(case, dtypes.float32))
    plain = attempt(case.torch_function, *map(to_torch, args), **{k: to_torch(v) for k, v in kwargs.items()})
    if isinstance(plain, Raised) or not hasattr(plain, "dtype"):
        pytest.skip("the result is not one tensor")
    tried = 0
    for d in (dtypes.float32, dtypes.float64, dtypes.int64, dtypes.bool_):
        out = np.zeros(tuple(plain.shape), d.np)
        expected_out, got_out = to_torch(out), to_livegrad(out)
        expected = attempt(case.torch_function, *map(to_torch, args),
                           **{k: to_torch(v) for k, v in kwargs.items()}, out=expected_out)  # fmt: skip
        if isinstance(expected, Raised) and isinstance(expected.error, TypeError):
            pytest.skip("PyTorch's function takes no out=")
        got = attempt(
            case.function, *map(to_livegrad, args), **{k: to_livegrad(v) for k, v in kwargs.items()}, out=got_out
        )
        tried += 1
        if (name, d) in OUT_DIFFERS:
            continue
        if isinstance(expected, Raised):
            # Operators that PyTorch writes without a conversion refuse any other dtype; here a safe conversion is made.
            if d in (dtypes.float32, dtypes.float64):
                continue
            assert isinstance(got, Raised), f"{d}: {got!r} against {expected!r}"
        else:
            assert got is got_out, f"{d}: {got!r}"
            assert_same(got_out, expected_out, rtol=1e-5, atol=1e-6)
    assert tried


def test_force_evaluates():
    x = livegrad.ones(3) + 1
    assert force([x])[0]._v.array is not None
