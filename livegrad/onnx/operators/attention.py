"""Attention."""

from __future__ import annotations

import math

import numpy as np

import livegrad

from ..writer import is_value
from .products import linear
from .table import translates


def _added(w, mask, dtype, hides):
    """A mask as numbers that are added to scores. hides: whether True hides, as for layers, or lets through."""
    if mask.dtype is not livegrad.bool:
        return w.cast(mask, dtype)
    no, yes = w.number(0.0, dtype), w.number(-math.inf, dtype)
    return w("Where", mask, *((yes, no) if hides else (no, yes)))


def _attended(w, q, k, v, mask, scale, dtype, rank):
    """(result, weights) of queries, keys and values (..., L, E), (..., S, E), (..., S, V)."""
    scores = w("MatMul", w("Mul", q, scale), w.transposed(k, -1, -2, rank))
    weights = w("Softmax", scores if mask is None else w("Add", scores, mask), axis=-1)
    return w("MatMul", weights, v), weights


def _causal(w, length, sources, dtype):
    """The mask that lets each of `length` queries see the sources up to its own place."""
    ones = w("Expand", np.array(1, np.int64), w.sizes([length, sources]))
    return w("Where", w.cast(_of(w("Trilu", ones, upper=0), livegrad.int64), livegrad.bool), w.number(0.0, dtype),
             w.number(-math.inf, dtype))  # fmt: skip


def _of(value, dtype):
    value.dtype = dtype
    return value


@translates()
def scaled_dot_product_attention(
    w, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    if dropout_p:
        raise w.refuse("dropout draws numbers; export the model in evaluation mode")
    dtype, rank = query.dtype, query.rank
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        key, value = (_repeated_heads(w, x, query.shape[-3] // x.shape[-3]) for x in (key, value))
    if scale is None:
        scale = 1 / math.sqrt(w.fixed(query, -1)[0])
    mask = _causal(w, w.size(query, -2), w.size(key, -2), dtype) if is_causal else None
    if attn_mask is not None:
        mask = _added(w, attn_mask, dtype, hides=False)
    return _attended(w, query, key, value, mask, w.number(scale, dtype), dtype, rank)[0]


def _repeated_heads(w, x, times):
    sizes = [w.size(x, d) for d in range(x.rank)]
    heads = x.rank - 3
    made = w("Tile", w.unsqueeze(x, heads + 1), w.sizes([times if d == heads + 1 else 1 for d in range(x.rank + 1)]))
    made = w.reshape(made, [*sizes[:heads], sizes[heads] * times, *sizes[heads + 1 :]])
    made.dtype, made.shape = x.dtype, (*x.shape[:heads], x.shape[heads] * times, *x.shape[heads + 1 :])
    made.moving = x.moving
    return made


@translates()
def multi_head_attention_forward(
    w, query, key, value, embed_dim_to_check, num_heads, in_proj_weight, in_proj_bias, bias_k, bias_v, add_zero_attn,
    dropout_p, out_proj_weight, out_proj_bias, training=True, key_padding_mask=None, need_weights=True, attn_mask=None,
    use_separate_proj_weight=False, q_proj_weight=None, k_proj_weight=None, v_proj_weight=None, static_k=None,
    static_v=None, average_attn_weights=True, is_causal=False,
):  # fmt: skip
    if training and dropout_p:
        raise w.refuse("dropout draws numbers; export the model in evaluation mode")
    if any(x is not None for x in (bias_k, bias_v, static_k, static_v)) or add_zero_attn:
        raise w.refuse("with bias_k, bias_v, static keys or add_zero_attn")
    dtype, width = query.dtype, embed_dim_to_check
    batched = query.rank == 3
    sizes = [(w.size(x, 0), w.size(x, 1) if batched else 1) for x in (query, key, value)]
    weights = (
        (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight
        else _thirds(w, in_proj_weight, width)
    )  # fmt: skip
    biases = (None,) * 3 if in_proj_bias is None else _thirds(w, in_proj_bias, width)
    heads = []
    for x, weight, bias, (length, batch) in zip((query, key, value), weights, biases, sizes):
        made = w.reshape(linear(w, x, weight, bias), [length, batch, num_heads, width // num_heads])
        heads.append(w("Transpose", made, perm=[1, 2, 0, 3]))
    (length, batch), (sources, _), _ = sizes
    mask = None
    if attn_mask is not None:
        mask = _added(w, attn_mask, dtype, hides=True)
        if attn_mask.rank == 3:
            mask = w.reshape(mask, [batch, num_heads, length, sources])
    if key_padding_mask is not None:
        hidden = w.reshape(_added(w, key_padding_mask, dtype, hides=True), [batch, 1, 1, sources])
        mask = hidden if mask is None else w("Add", mask, hidden)
    scale = w.number(1 / math.sqrt(width // num_heads), dtype)
    made, scores = _attended(w, *heads, mask, scale, dtype, 4)
    made = w.reshape(w("Transpose", made, perm=[2, 0, 1, 3]), [length, batch, width])
    made.shape = (0, 0, width)
    made = linear(w, made, out_proj_weight, out_proj_bias)
    if need_weights and average_attn_weights:
        scores = w.reduced("ReduceMean", scores, [1], False)
    if not batched:
        made = w.squeeze(made, 1)
        scores = w.squeeze(scores, 0) if need_weights else scores
    return made, scores if need_weights else None


def _thirds(w, x, width):
    if not is_value(x):
        raise w.refuse("parameters that are no tensors")
    parts = w.split(x, [width] * 3, 0)
    for part in parts:
        part.dtype, part.shape = x.dtype, (width, *x.shape[1:])
    return parts
