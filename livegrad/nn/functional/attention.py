"""Attention: scaled dot products, and several heads with their projections."""

import livegrad
from livegrad.ops.attention import attention_weights, scaled_dot_product_attention

from ...native import hot
from .affine import linear
from .dropouts import dropout

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


@hot
def canonical_mask(mask, name, dtype, other_name="", other=None, check_other=True):
    """A mask as numbers to add: where a boolean one is True, minus infinity. None for None."""
    if mask is None:
        return None
    if mask.dtype is not livegrad.bool and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if mask.dtype is not livegrad.bool:
        return mask
    return livegrad.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, float("-inf"))


@hot
def _projected(query, key, value, weight, bias):
    """Query, key and value times their thirds of one weight; as one product where they are the same tensor."""
    width = query.size(-1)
    if key is value:
        if query is key:
            return linear(query, weight, bias).chunk(3, -1)
        q_bias, kv_bias = (None, None) if bias is None else bias.split([width, 2 * width])
        q_weight, kv_weight = weight.split([width, 2 * width])
        return (linear(query, q_weight, q_bias), *linear(key, kv_weight, kv_bias).chunk(2, -1))
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    return tuple(linear(x, w, b) for x, w, b in zip((query, key, value), weight.chunk(3), biases))


@hot
def _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads):
    """Whether there is a batch; AssertionError where shapes do not go together."""
    if query.dim() not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query tensor"
        )
    batched = query.dim() == 3
    kind = "batched (3-D)" if batched else "unbatched (2-D)"
    if key.dim() != query.dim() or value.dim() != query.dim():
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {query.dim()}-D but found {key.dim()}-D and "
            f"{value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != query.dim() - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {query.dim() - 1}-D but found "
            f"{key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None and attn_mask.dim() not in (2, 3):
        raise AssertionError(
            f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D tensor "
            "instead"
        )
    if attn_mask is not None and attn_mask.dim() == 3 and not batched:
        expected = (num_heads, query.shape[0], key.shape[0])
        if tuple(attn_mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {attn_mask.shape}")
    return batched


def multi_head_attention_forward(
    query, key, value, embed_dim_to_check, num_heads, in_proj_weight, in_proj_bias, bias_k, bias_v, add_zero_attn,
    dropout_p, out_proj_weight, out_proj_bias, training=True, key_padding_mask=None, need_weights=True, attn_mask=None,
    use_separate_proj_weight=False, q_proj_weight=None, k_proj_weight=None, v_proj_weight=None, static_k=None,
    static_v=None, average_attn_weights=True, is_causal=False,
):  # fmt: skip
    """What `nn.MultiheadAttention` computes, of given parameters: (result, weights or None).

    query (L, B, E), key (S, B, E) and value (S, B, E), or without B. Masks hide where they are True, or are added to
    the scores: key_padding_mask (B, S), attn_mask (L, S) or (B * heads, L, S). Raises AssertionError for shapes that do
    not go together.
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if not batched:
        same_key, same_value = key is query, value is key
        query = query.unsqueeze(1)
        key = query if same_key else key.unsqueeze(1)
        value = key if same_value else value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, width = query.shape
    if width != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {width}")
    head_width = width // num_heads
    if head_width * num_heads != width:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {num_heads}")
    # The causal hint replaces the mask where nothing else has to be added to the scores.
    causal = bool(is_causal and key_padding_mask is None and not need_weights)
    mask = None if causal else canonical_mask(attn_mask, "attn_mask", query.dtype)
    padding = canonical_mask(key_padding_mask, "key_padding_mask", query.dtype)

    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
            )
        biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
        q, k, v = (linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases))
    else:
        if key.shape != value.shape:
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias)

    if mask is not None:
        expected = (length, key.shape[0]) if mask.dim() == 2 else (batch * num_heads, length, key.shape[0])
        if tuple(mask.shape) != expected:
            raise RuntimeError(f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}.")
        if mask.dim() == 3:
            mask = mask.view(batch, num_heads, length, key.shape[0])

    def by_heads(x):
        return x.reshape(x.shape[0], batch, num_heads, head_width).permute(1, 2, 0, 3)

    added = 0
    if bias_k is not None:
        k, v = livegrad.cat([k, bias_k.repeat(1, batch, 1)]), livegrad.cat([v, bias_v.repeat(1, batch, 1)])
        added += 1
    q = by_heads(q)
    k = by_heads(k) if static_k is None else static_k.reshape(batch, num_heads, -1, head_width)
    v = by_heads(v) if static_v is None else static_v.reshape(batch, num_heads, -1, head_width)
    if add_zero_attn:
        zeros = livegrad.zeros((batch, num_heads, 1, head_width), dtype=k.dtype, device=k.device)
        k, v = livegrad.cat([k, zeros], 2), livegrad.cat([v, zeros], 2)
        added += 1
    sources = k.shape[2]
    if added:
        pad = livegrad.nn.functional.pad
        mask = None if mask is None else pad(mask, (0, added))
        padding = None if padding is None else pad(padding, (0, added))
    if padding is not None:
        if tuple(padding.shape) != (batch, sources):
            raise AssertionError(f"expecting key_padding_mask shape of {(batch, sources)}, but got {padding.shape}")
        padding = padding.view(batch, 1, 1, sources)
        mask = padding if mask is None else mask + padding

    if not training:
        dropout_p = 0.0
    if need_weights:
        weights = attention_weights(q, k, mask, False, head_width**-0.5)
        weights = dropout(weights, dropout_p) if dropout_p else weights
        result = weights @ v
    else:
        weights = None
        result = scaled_dot_product_attention(q, k, v, mask, dropout_p, causal)
    result = result.permute(2, 0, 1, 3).reshape(length * batch, width)
    result = linear(result, out_proj_weight, out_proj_bias).view(length, batch, width)
    if weights is not None and average_attn_weights:
        weights = weights.mean(1)
    if not batched:
        result = result.squeeze(1)
        weights = None if weights is None else weights.squeeze(0)
    return result, weights
