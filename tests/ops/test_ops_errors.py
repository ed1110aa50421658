"""Wrong arguments raise where they are given, with PyTorch's exception and a text that names the shapes or dtypes."""

from __future__ import annotations

import numpy as np
import pytest
from ops_support import Raised, attempt, needs_torch, to_livegrad, to_torch

import livegrad

F, I, B = np.ones((2, 3), np.float32), np.ones((2, 3), np.int64), np.ones((2, 3), bool)
V = np.ones(3, np.float32)
SMALL = np.ones(3, np.uint8)
IDX = np.array([0, 5])

# (method, arguments): each must raise in both libraries, with an exception of the same class.
WRONG = [
    ("add", F, np.ones((2, 4), np.float32)), ("add", F, "x"), ("add", F, None), ("mul", F, [1, 2]), ("sub", B, B), ("neg", B),
    ("exp_", I), ("add_", V, F), ("add_", I, 1.5), ("bitwise_and", F, F), ("bitwise_not", F), ("pow", I, -1),
    ("floor_divide", I, 0), ("remainder", I, 0), ("div", F, F, "rounding_mode=up"), ("clamp", F), ("addcdiv", I, I, I),
    *((f"{name}{end}", SMALL, limit) for name in ("clamp", "clamp_min", "clamp_max") for end in ("", "_") for limit in (300, -300, 1 << 40)),
    ("sum", F, 2), ("sum", F, -3), ("sum", F, (0, 0)), ("mean", I), ("var", I), ("softmax", I, 0), ("logsumexp", F, 3), ("argmax", F, 2),
    ("max", F, 2), ("amax", np.ones((0,), np.float32)), ("max", np.ones((0,), np.float32)), ("argmax", np.ones((0, 2), np.float32)),
    ("norm", I), ("cumsum", F, 2), ("sort", F, 2), ("topk", F, 4), ("topk", F, 1, 2), ("kthvalue", F, 9),
    ("view", F, 4), ("view", F, -1, -1), ("reshape", F, (4,)), ("reshape", F, (-2,)), ("permute", F, (0,)), ("permute", F, (0, 0)),
    ("transpose", F, 0, 2), ("expand", F, 4, 3), ("expand", F, 3), ("squeeze", F, 2), ("unsqueeze", F, 4), ("flatten", F, 1, 0),
    ("narrow", F, 0, 1, 2), ("narrow", F, 0, 0, -1), ("select", F, 0, 2), ("diagonal", F, 0, 0, 0), ("unfold", F, 1, 4, 1), ("t", np.ones((1, 1, 1))),
    ("split", F, [1, 2]), ("split", F, -1), ("chunk", F, 0), ("repeat", F, 2), ("unflatten", F, 1, (2, 2)), ("as_strided", F, (9,), (9,)),
    ("gather", F, 0, IDX), ("gather", F, 0, IDX.reshape(1, 2)), ("gather", F, 0, F), ("index_select", F, 0, IDX), ("index_select", F, 0, IDX.reshape(1, 2)),
    ("scatter", F, 0, IDX.reshape(1, 2), F), ("scatter_add", F, 0, IDX[:1].reshape(1, 1), I), ("index_add", F, 0, IDX, F),
    ("masked_fill", F, I, 0), ("masked_fill", F, B[:, :2], 0), ("masked_fill", F, B, V), ("masked_select", F, I), ("take", F, np.array([9])),
    ("index_fill", F, 0, IDX, 0), ("masked_fill", I, B, float("inf")), ("bincount", F), ("bincount", np.array([-1])), ("diag", np.ones((1, 1, 1))),
    ("tril", V), ("matmul", F, F), ("matmul", F, np.float32(1).reshape(())), ("matmul", F, I), ("mm", F, V), ("bmm", F, F), ("mv", F, F),
    ("dot", V, np.ones(4, np.float32)), ("addmm", F, F, F), ("cross", F, np.ones((2, 4), np.float32)), ("trace", V), ("quantile", F, 1.5),
    ("quantile", I, 0.5), ("fill_", I, float("nan")), ("lerp", F, F.astype(np.float64), 0.5), ("copy_", F, np.ones(4, np.float32)),
    ("where", I, F, F), ("item", F), ("round", B), ("index_copy", F, 0, IDX, F), ("searchsorted_", F), ("median", np.ones((0, 2)), 0),
]  # fmt: skip


@needs_torch
@pytest.mark.parametrize("k", range(len(WRONG)), ids=lambda k: f"{WRONG[k][0]}{k}")
def test_wrong_arguments(k):
    import torch

    name, first, *rest = WRONG[k]
    kwargs = {}
    if rest and isinstance(rest[-1], str) and "=" in rest[-1]:
        key, value = rest.pop().split("=")
        kwargs = {key: value}
    results = []
    for lib, convert in ((torch, to_torch), (livegrad, to_livegrad)):
        function = getattr(lib.Tensor, name, None) if name != "where" else lib.where
        if function is None:
            results.append(Raised(AttributeError(name)))
            continue
        try:
            results.append(attempt(function, convert(first), *map(convert, rest), **kwargs))
        except AttributeError as error:
            results.append(Raised(error))
    expected, got = results
    assert isinstance(expected, Raised), expected
    assert isinstance(got, Raised), f"{got!r} against {expected!r}"
    if type(expected.error) is not type(got.error):
        # NotImplementedError is what PyTorch says for a missing kernel; a RuntimeError that names the dtype is as good.
        assert {type(expected.error), type(got.error)} <= {NotImplementedError, RuntimeError, ValueError} or (
            isinstance(got.error, type(expected.error))
        ), f"{got!r} against {expected!r}"
    assert str(got.error)


@needs_torch
@pytest.mark.parametrize("index", [2, -3, (0, 3), (0, 0, 0), 1.5, "a", (slice(None), 3), np.array([5]), np.array([1.5]),
                                   np.array([True, False, True]), [0, 9], slice(None, None, -1)], ids=str)  # fmt: skip
def test_wrong_indices(index):
    expected = attempt(to_torch(F).__getitem__, to_torch(index))
    got = attempt(to_livegrad(F).__getitem__, to_livegrad(index))
    assert isinstance(expected, Raised)
    assert type(got.error) is type(expected.error), f"{got!r} against {expected!r}"


def test_shapes_are_named():
    with pytest.raises(
        RuntimeError, match=r"The size of tensor a \(3\) must match the size of tensor b \(4\).*\[2, 3\].*\[2, 4\]"
    ):
        livegrad.ones(2, 3) + livegrad.ones(2, 4)
    with pytest.raises(RuntimeError, match=r"\(2x3 and 2x3\)"):
        livegrad.ones(2, 3) @ livegrad.ones(2, 3)


@pytest.mark.parametrize(("a", "b"), [((3, 4), (5, 3)), ((4,), (2, 3)), ((2, 3, 1), (5, 4)), ((7, 2, 3), (5, 1, 3))])
def test_the_dimension_that_is_named_is_pytorchs(a, b):
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as expected:
        torch.ones(a) + torch.ones(b)
    with pytest.raises(RuntimeError) as got:
        livegrad.ones(a) + livegrad.ones(b)
    assert str(got.value) == f"{expected.value}: the shapes are {list(a)} and {list(b)}"


def test_an_index_out_of_range_is_said_once():
    with pytest.raises(IndexError) as error:
        livegrad.nn.functional.embedding(livegrad.tensor([5]), livegrad.ones(3, 2))
    assert str(error.value) == "index out of range in self: index 5 for dimension 0 with size 3"


def test_comparing_with_what_is_no_number():
    x = livegrad.ones(2)
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert (x == "abc") is False
    assert x not in [None, "abc"]
    with pytest.raises(TypeError):
        x < None  # noqa: B015
    with pytest.raises(TypeError):
        x + None


def test_a_failed_call_changes_nothing():
    x = livegrad.ones(2, 3)
    for wrong in (lambda: x.add_(livegrad.ones(4)), lambda: x.__setitem__((5, 0), 1), lambda: x.masked_fill_(x, 1)):
        with pytest.raises((RuntimeError, IndexError)):
            wrong()
    assert x.tolist() == [[1.0] * 3] * 2


def test_numpy_scalars_whose_item_is_no_python_number():
    """The item of a long double is a long double: asking again and again never ended."""
    x = livegrad.ones(3)
    assert (x + np.longdouble(2)).tolist() == [3.0, 3.0, 3.0]
    assert livegrad.mul(x, np.longdouble(2)).dtype is livegrad.float32
    for odd in (np.clongdouble(1), np.datetime64("2020-01-01"), np.void(b"a"), np.str_("a")):
        with pytest.raises(TypeError):
            livegrad.mul(x, odd)
