"""In-place comparisons and logic, and other results whose history or dtype is PyTorch's only by rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_support import Raised, attempt, needs_torch, to_numpy, torch

import livegrad

LIBRARIES = [livegrad] if torch is None else [livegrad, torch]
COMPARISONS = ["eq_", "ne_", "lt_", "le_", "gt_", "ge_", "less_", "not_equal_", "greater_equal_"]


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_in_place_keeps_a_history_of_zeros(name):
    found = []
    for T in LIBRARIES:
        x = T.tensor([1.0, 2.0], requires_grad=True)
        of_number, of_tensor, of_plain = x * 2, x * 3, T.tensor([1.0, 3.0])
        getattr(of_number, name)(2.0)
        getattr(of_tensor, name)(x)
        getattr(of_plain, name)(x)
        nodes = [t.grad_fn.name() for t in (of_number, of_tensor, of_plain)]
        (of_number + of_tensor + of_plain).sum().backward()
        found.append((nodes, [t.tolist() for t in (of_number, of_tensor, of_plain, x.grad)]))
    assert found[0][1][3] == [0.0, 0.0]
    assert all(f == found[0] for f in found)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        getattr(livegrad.ones(2, requires_grad=True), name)(1.0)


@pytest.mark.parametrize("name", ["logical_and_", "logical_or_", "logical_xor_", "logical_not_"])
def test_logic_in_place_leaves_histories_alone(name):
    found = []
    for T in LIBRARIES:
        leaf = T.tensor([1.0, 0.0], requires_grad=True)
        made = leaf * 2
        for t in (leaf[:1], made):
            getattr(t, name)(*[] if name == "logical_not_" else [T.tensor([3.0])])
        found.append((leaf.tolist(), leaf.requires_grad, made.tolist(), made.grad_fn.name()))
    assert found[0][3] == "MulBackward0"
    assert all(f == found[0] for f in found)


def test_logic_in_place_is_a_change():
    x = livegrad.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    z = y * 2
    y.logical_not_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (z + y).sum().backward()


def test_the_number_next_to_x_moves_with_x():
    x = livegrad.tensor([1.0, 2.0], requires_grad=True)
    livegrad.nextafter(x, x * 2).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0]


@needs_torch
@settings(deadline=None)
@given(
    st.lists(st.sampled_from([math.nan, 0.0, 1.0, 2.0, 3.0, math.inf]), max_size=6),
    st.lists(st.sampled_from([math.nan, -1.0, 0.5, 1.0, math.inf]), max_size=4),
    st.booleans(),
)
def test_searching_with_nan(sequence, x, right):
    sequence.sort(key=lambda v: (math.isnan(v), v))  # what is not in order has no place; NaN comes last
    ours, theirs = (
        T.searchsorted(T.tensor(sequence), T.tensor(x), right=right).tolist() for T in (livegrad, torch)
    )  # fmt: skip
    assert ours == theirs


ENDS = [math.nan, math.inf, -math.inf, 0.0, 1.0, -300.0, 300.0]


@needs_torch
@settings(deadline=None)
@given(st.lists(st.sampled_from(ENDS), min_size=1, max_size=5), st.lists(st.floats(-2, 2), min_size=5, max_size=5))
def test_logcumsumexp_as_in_pytorch(values, weights):
    """At infinities and NaN, and where the sum of all would swallow the first."""
    found = []
    for T in (livegrad, torch):
        x = T.tensor(values, dtype=T.float64, requires_grad=True)
        y = x.logcumsumexp(0)
        (g,) = T.autograd.grad(y, x, T.tensor(weights[: len(values)], dtype=T.float64))
        found.append((to_numpy(y.detach().clone()), to_numpy(g.clone())))
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_logcumsumexp_twice_differentiated():
    x = livegrad.tensor([[0.3, -1.0, 2.0], [1.0, 0.0, -2.0]], dtype=livegrad.float64, requires_grad=True)
    assert livegrad.autograd.gradgradcheck(lambda x: livegrad.logcumsumexp(x, 1), (x,))


@needs_torch
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int64"])
def test_ldexp_as_in_pytorch(dtype):
    for exponents in ([17, -20, 3], [200, -200, 0], [2.0, 1.0, -1.0]):
        ours, theirs = (
            T.ldexp(T.tensor([1, 4, 3], dtype=getattr(T, dtype)), T.tensor(exponents)) for T in (livegrad, torch)
        )
        assert ours.dtype.name == str(theirs.dtype).split(".")[1]
        np.testing.assert_array_equal(to_numpy(ours.double()), to_numpy(theirs.double()))


@needs_torch
def test_loss_of_logits_has_the_targets_dtype():
    names = ("float16", "float32", "float64", "int64")
    for a in names[:3]:
        for b in names:
            for extra in ({}, {"weight": [1.5]}, {"pos_weight": [2.0]}):
                found = []
                for T in (livegrad, torch):
                    made = attempt(
                        T.nn.functional.binary_cross_entropy_with_logits,
                        T.tensor([1.0], dtype=getattr(T, a)),
                        T.tensor([1], dtype=getattr(T, b)),
                        **{k: T.tensor(v, dtype=T.float64) for k, v in extra.items()},
                    )
                    found.append("raised" if isinstance(made, Raised) else str(made.dtype).split(".")[-1])
                assert found[0] == found[1], (a, b, extra)


def test_weight_without_outputs():
    with pytest.raises(RuntimeError, match="expected weight to be at least 1 at dimension 0"):
        livegrad.nn.functional.conv2d(livegrad.ones(1, 2, 4, 4), livegrad.ones(0, 2, 3, 3))
