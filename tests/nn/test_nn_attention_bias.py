"""Causal masks by their corner, against PyTorch's."""

import importlib

import pytest

import livegrad

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


@pytest.mark.parametrize("kind", ["causal_upper_left", "causal_lower_right"])
@pytest.mark.parametrize("queries", [3, 5])
def test_attention(kind, queries):
    results = []
    for m in (livegrad, torch):
        m.manual_seed(0)
        mask = getattr(importlib.import_module(f"{m.__name__}.nn.attention.bias"), kind)(queries, 5)
        q, k, v = m.randn(2, 3, queries, 8, requires_grad=True), m.randn(2, 3, 5, 8), m.randn(2, 3, 5, 8)
        out = m.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.5)
        out.sum().backward()
        results.append((repr(mask), out.detach().numpy(), q.grad.numpy()))
    (ours, *mine), (theirs, *other) = results
    assert ours == theirs
    for a, b in zip(mine, other):
        assert abs(a - b).max() < 2e-6


def test_refused():
    from livegrad.nn.attention.bias import CausalBias, causal_lower_right, causal_upper_left

    q = livegrad.ones(1, 1, 2, 4)
    with pytest.raises(ValueError, match="should not be used with causal=True"):
        livegrad.nn.functional.scaled_dot_product_attention(q, q, q, causal_upper_left(2, 2), is_causal=True)
    with pytest.raises(AssertionError, match="2D tensors"):
        causal_upper_left(2)
    with pytest.raises(AssertionError, match="must be a CausalVariant"):
        CausalBias(1, 2, 2)
    with pytest.warns(UserWarning, match="will produce NaNs"):
        causal_lower_right(3, 2)
