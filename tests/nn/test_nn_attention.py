"""Scaled dot product attention, against PyTorch and against itself in plain operators."""

import numpy as np
import pytest
from against_torch import outcome, same, torch
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad.autograd import gradcheck, gradgradcheck
from livegrad.nn import functional as F
from livegrad.ops import attention

MASKS = {
    "none": None,
    "bool": lambda r, b, h, n, s: r.random((n, s)) > 0.5,
    "numbers": lambda r, b, h, n, s: r.standard_normal((b, 1, n, s)),
    "padding": lambda r, b, h, n, s: r.random((b, 1, 1, s)) > 0.2,
    "by query": lambda r, b, h, n, s: r.standard_normal((b, h, n, 1)),
}
SIZES = [(5, 7, 8), (1, 1, 1), (64, 64, 32), (100, 130, 16), (33, 300, 48), (70, 70, 20)]


def compare(queries, keys, columns, dtype="float32", mask=None, transposed=False, rank=4, kv_heads=None, **options):
    batch, heads = 2, 4
    found = []
    for m in (livegrad, torch):
        rng = np.random.default_rng(0)
        leaves, views = [], []
        for n, h in ((queries, heads), (keys, kv_heads or heads), (keys, kv_heads or heads)):
            shape = (batch, n, h, columns) if transposed else (batch, h, n, columns)[4 - rank :]
            leaves.append(m.tensor(rng.standard_normal(shape).astype(dtype)).requires_grad_())
            views.append(leaves[-1].transpose(1, 2) if transposed else leaves[-1])
        given = None
        if mask is not None:
            given = mask(rng, batch, heads, queries, keys)
            given = m.tensor(given if given.dtype == bool else given.astype(dtype))
        y = m.nn.functional.scaled_dot_product_attention(*views, attn_mask=given, **options)
        (y * m.tensor(rng.standard_normal(tuple(y.shape)).astype(dtype))).sum().backward()
        found.append([y, *(t.grad for t in leaves)])
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    same(*found, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("policy", ["always", "never"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_against_torch(size, dtype, policy):
    with livegrad.compiling(policy):
        for mask in MASKS.values():
            compare(*size, dtype, mask)
        compare(*size, dtype, is_causal=True)
        compare(*size, dtype, transposed=True, is_causal=True, scale=0.3)
        compare(*size, dtype, rank=3)
        compare(*size, dtype, rank=2)
        compare(*size, dtype, kv_heads=2, enable_gqa=True)


def test_kernels_are_used(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("plain operators")

    monkeypatch.setattr(attention, "composed", refuse)
    with livegrad.compiling("always"):
        x = livegrad.randn(1, 2, 3, 64, requires_grad=True)
        y = F.scaled_dot_product_attention(x, x, x)
        y.sum().backward()
    assert y.grad_fn.next_functions[0][0].name() == "ScaledDotProductFlashAttentionForCpuBackward0"
    assert tuple(y.transpose(1, 2).stride()) == (3 * 2 * 64, 2 * 64, 64, 1)  # heads lie together


@pytest.mark.parametrize("policy", ["always", "never"])
def test_rows_that_see_nothing(policy):
    """Their result is 0, and so is their gradient."""
    x = livegrad.randn(1, 1, 3, 4, requires_grad=True)
    mask = livegrad.tensor([[True, True, False], [False, False, False], [True, False, False]])
    with livegrad.compiling(policy):
        y = F.scaled_dot_product_attention(x, x, x, attn_mask=mask)
        y.sum().backward()
    assert y[0, 0, 1].tolist() == [0.0] * 4
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize("policy", ["always", "never"])
def test_not_a_number_is_passed_on(policy):
    x = livegrad.ones(1, 1, 3, 4)
    x[0, 0, 2, 1] = float("nan")
    with livegrad.compiling(policy):
        y = F.scaled_dot_product_attention(x, x, livegrad.ones(1, 1, 3, 4), is_causal=True)
    assert y[0, 0, :, 0].isnan().tolist() == [False, False, True]


def test_second_order():
    with livegrad.compiling("always"):
        q, k, v = (livegrad.randn(1, 2, 3, 4, dtype=livegrad.float64, requires_grad=True) for _ in range(3))
        mask = livegrad.tensor([[0.0, 1.0, -1.0]], dtype=livegrad.float64)
        for options in ({}, {"is_causal": True}, {"attn_mask": mask}):

            def function(q, k, v):
                return F.scaled_dot_product_attention(q, k, v, **options)

            assert gradcheck(function, (q, k, v))
            assert gradgradcheck(function, (q, k, v))
        assert gradgradcheck(lambda q: F.scaled_dot_product_attention(q, q * 2, q), (q,))


def test_gradient_of_the_mask_and_dropout():
    x = livegrad.randn(1, 2, 3, 4, dtype=livegrad.float64)
    mask = livegrad.randn(3, 3, dtype=livegrad.float64, requires_grad=True)
    assert gradcheck(lambda m: F.scaled_dot_product_attention(x, x, x, attn_mask=m), (mask,))
    found = []
    for m in (livegrad, torch):
        m.manual_seed(4)
        y = m.linspace(-1, 1, 24).reshape(1, 2, 3, 4)
        found.append(m.nn.functional.scaled_dot_product_attention(y, y, y, dropout_p=0.3))
    same(*found)


def test_does_not_depend_on_threads():
    x = livegrad.randn(1, 3, 150, 16, requires_grad=True)
    before, found = livegrad.get_num_threads(), []
    with livegrad.compiling("always"):
        try:
            for threads in (1, 2, 3):
                livegrad.set_num_threads(threads)
                x.grad = None
                y = F.scaled_dot_product_attention(x, x, x)
                (y * y).sum().backward()
                found.append((y.detach().numpy().copy(), x.grad.numpy().copy()))
        finally:
            livegrad.set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0][0], other[0])
        np.testing.assert_array_equal(found[0][1], other[1])


ERRORS = [
    "F(o(3), o(3), o(3))", "F(o(1, 2, 3), o(1, 2, 3).double(), o(1, 2, 3))",
    "F(o(1, 2, 3), o(1, 2, 3), o(1, 2, 3), attn_mask=o(2, 2), is_causal=True)",
    "F(o(1, 2, 3), o(1, 2, 3), o(1, 2, 3), attn_mask=o(2, 2).long())",
    "F(o(1, 2, 3), o(1, 2, 3), o(1, 2, 3), attn_mask=o(2, 2).double())",
]  # fmt: skip


@pytest.mark.parametrize("text", ERRORS)
def test_errors(text):
    mine, theirs = (
        outcome(lambda: eval(text, {"F": m.nn.functional.scaled_dot_product_attention, "o": m.ones}))
        for m in (livegrad, torch)
    )
    assert mine[1:] == theirs[1:]


def test_shapes_that_do_not_fit():
    ones = livegrad.ones
    with pytest.raises(RuntimeError, match=r"\[1, 2, 3\], \[1, 2, 4\]"):
        F.scaled_dot_product_attention(ones(1, 2, 3), ones(1, 2, 4), ones(1, 2, 3))
    with pytest.raises(RuntimeError, match="must divide the number of heads"):
        F.scaled_dot_product_attention(ones(1, 3, 2, 3), ones(1, 2, 2, 3), ones(1, 2, 2, 3), enable_gqa=True)


@given(st.integers(1, 70), st.integers(1, 140), st.integers(1, 40), st.booleans(), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_kernel_equals_plain_operators(queries, keys, columns, causal, seed):
    rng = np.random.default_rng(seed)
    q, k, v = (livegrad.tensor(rng.standard_normal((1, 2, n, columns)) * 3) for n in (queries, keys, keys))
    with livegrad.compiling("always"):
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        z = attention.composed(q, k, v, None, causal, columns**-0.5)
    np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("width", [8, 32])
def test_gradients_of_one_product_for_all_three_are_put_together_and_stay_apart(width):
    """Gradients of q, k, v that are split from one tensor lie side by side; changing one leaves the others alone."""
    torch = pytest.importorskip("torch")
    batch, length, heads = 2, 20, 3
    data = np.random.default_rng(0).standard_normal((batch, length, 3 * heads * width)).astype(np.float32)

    def gradients(m):
        x = m.tensor(data, requires_grad=True)
        pieces = x.split(heads * width, dim=2)
        q, k, v = (z.view(batch, length, heads, width).transpose(1, 2) for z in pieces)
        for z in (q, k, v):
            z.retain_grad()
        y = m.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        (y * y).sum().backward()
        return x, q, k, v

    made, expected = gradients(livegrad), gradients(torch)
    for a, b in zip(made, expected):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-4, atol=1e-5)
    before = [a.grad.clone() for a in made]
    made[0].grad.add_(1)
    for a, b in zip(made[1:], before[1:]):
        assert (a.grad == b).all()
    made[2].grad.zero_()
    assert (made[0].grad == before[0] + 1).all() and (made[1].grad == before[1]).all()
