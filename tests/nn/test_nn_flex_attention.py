"""Attention with functions for scores and masks, against PyTorch and against attention written out in float64."""

import doctest
import importlib
import math

import pytest

import livegrad
from livegrad.nn.attention import flex_attention as ours

NEVER = -math.inf


def causal(b, h, q, k):
    return q >= k


def window(b, h, q, k):
    return abs(q - k) <= 2


def written_out(q, k, v, change, seen):
    """Attention place by place, in float64."""
    B, H, L, S = *q.shape[:3], k.shape[2]
    out = livegrad.zeros(B, H, L, v.shape[-1], dtype=livegrad.float64)
    for b in range(B):
        for h in range(H):
            for i in range(L):
                scores = [
                    change(float(q[b, h, i].double() @ k[b, h, j].double()) / math.sqrt(q.shape[-1]), b, h, i, j)
                    if seen(b, h, i, j)
                    else NEVER
                    for j in range(S)
                ]
                if max(scores) > NEVER:
                    weights = livegrad.tensor(scores, dtype=livegrad.float64).softmax(0)
                    out[b, h, i] = weights @ v[b, h].double()
    return out


@pytest.fixture
def qkv():
    livegrad.manual_seed(0)
    return [livegrad.randn(2, 3, n, 8, requires_grad=True) for n in (7, 9, 9)]


TABLE = livegrad.arange(27.0).reshape(3, 9) / 10
CHANGES = {
    "none": (None, lambda s, b, h, q, k: s),
    "alibi": (lambda s, b, h, q, k: s - (h + 1) * (q - k) * 0.1, lambda s, b, h, q, k: s - (h + 1) * (q - k) * 0.1),
    "table": (lambda s, b, h, q, k: s + TABLE[h, k], lambda s, b, h, q, k: s + TABLE[h, k].item()),
    "step by step": (lambda s, b, h, q, k: s + TABLE[h][k], lambda s, b, h, q, k: s + TABLE[h, k].item()),
    "branch": (lambda s, b, h, q, k: s * 2 if h == 1 else s, lambda s, b, h, q, k: s * 2 if h == 1 else s),
}


@pytest.mark.parametrize("mask", [None, causal, window], ids=["no mask", "causal", "window"])
@pytest.mark.parametrize("name", CHANGES)
def test_what_it_computes(qkv, name, mask):
    change, slowly = CHANGES[name]
    block = None if mask is None else ours.create_block_mask(mask, None, None, 7, 9, BLOCK_SIZE=4)
    made = ours.flex_attention(*qkv, change, block)
    expected = written_out(*qkv, slowly, mask or (lambda *places: True))
    assert (made - expected).abs().max() < 1e-5


def test_gradients_are_those_of_attention(qkv):
    block = ours.create_block_mask(causal, None, None, 7, 9)
    ours.flex_attention(*qkv, block_mask=block).square().sum().backward()
    found = [t.grad for t in qkv]
    for t in qkv:
        t.grad = None
    mask = ours.create_mask(causal, None, None, 7, 9)
    livegrad.nn.functional.scaled_dot_product_attention(*qkv, attn_mask=mask).square().sum().backward()
    for t, g in zip(qkv, found):
        livegrad.testing.assert_close(g, t.grad)


def test_tables_that_scores_read_get_gradients(qkv):
    bias = livegrad.zeros(3, requires_grad=True)
    ours.flex_attention(*qkv, lambda s, b, h, q, k: s + bias[h] * (q - k)).square().sum().backward()
    assert bias.grad.abs().min() > 0


def test_rows_that_see_nothing_are_zero(qkv):
    block = ours.create_block_mask(lambda b, h, q, k: (q > 2) & (k < 4), None, None, 7, 9)
    made, aux = ours.flex_attention(*qkv, block_mask=block, return_aux=ours.AuxRequest(lse=True, max_scores=True))
    assert (made[:, :, :3] == 0).all() and (aux.lse[:, :, :3] == NEVER).all() and aux.max_scores.shape == (2, 3, 7)
    made.sum().backward()
    assert all(t.grad.isfinite().all() for t in qkv)


def test_heads_that_share_keys():
    livegrad.manual_seed(0)
    q, k, v = livegrad.randn(2, 4, 5, 8), livegrad.randn(2, 2, 6, 8), livegrad.randn(2, 2, 6, 8)
    made = ours.flex_attention(q, k, v, enable_gqa=True)
    expected = ours.flex_attention(q, *(t.repeat_interleave(2, dim=1) for t in (k, v)))
    assert livegrad.equal(made, expected)
    with pytest.raises(ValueError, match="enable_gqa"):
        ours.flex_attention(q, k, v)


@pytest.mark.parametrize("mask", [causal, window], ids=["causal", "window"])
@pytest.mark.parametrize("lengths", [(256, 256), (200, 300), (64, 512)], ids=str)
def test_tables_of_blocks_are_those_of_pytorch(mask, lengths):
    theirs = pytest.importorskip("torch.nn.attention.flex_attention")
    found = ours.create_block_mask(mask, 2, None, *lengths, BLOCK_SIZE=64)
    expected = theirs.create_block_mask(mask, 2, None, *lengths, device="cpu", BLOCK_SIZE=64)
    for name in found._TABLES:
        a, b = getattr(found, name), getattr(expected, name)
        assert a.tolist() == b.tolist() and str(a.dtype) == str(b.dtype), name
    assert found.shape == tuple(expected.shape) and found.sparsity() == pytest.approx(expected.sparsity())
    assert found.to_dense().tolist() == expected.to_dense().tolist()
    assert str(found) == str(expected) and repr(found) == repr(expected)
    assert repr(found[0]) == repr(expected[0])


def test_masks_are_combined():
    both = ours.create_mask(ours.and_masks(causal, window), 1, 1, 5, 5)
    either = ours.create_mask(ours.or_masks(causal, window), 1, 1, 5, 5)
    one, other = (ours.create_mask(m, 1, 1, 5, 5) for m in (causal, window))
    assert livegrad.equal(both, one & other) and livegrad.equal(either, one | other)
    with pytest.raises(RuntimeError, match="callable"):
        ours.or_masks(causal, 3)


def test_what_does_not_go_together_is_refused(qkv):
    q, k, v = qkv
    block = ours.create_block_mask(causal, None, None, 8, 9)
    with pytest.raises(ValueError, match="larger length"):
        ours.flex_attention(q, k, v, block_mask=block)
    assert ours.flex_attention(q, k, v, block_mask=block._adjust(7, 9)).shape == q.shape
    with pytest.raises(RuntimeError, match="sliced"):
        ours.flex_attention(q, k, v, block_mask=block[0])
    with pytest.raises(ValueError, match="dtype"):
        ours.flex_attention(q.double(), k, v)
    with pytest.raises(NotImplementedError, match="4D"):
        ours.flex_attention(q[0], k[0], v[0])
    with pytest.raises(AssertionError, match="mask_mod"):
        ours.create_block_mask(lambda s, b, h, q, k: s, 1, 1, 4, 4)
    with pytest.warns(FutureWarning, match="return_lse"):
        ours.flex_attention(q, k, v, return_lse=True)


@pytest.mark.parametrize("name", ["flex_attention", "block_mask"])
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"livegrad.nn.attention.{name}")).failed == 0
