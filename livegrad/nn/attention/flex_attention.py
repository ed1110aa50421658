"""Attention whose scores a function changes, and whose mask is a function of places."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import livegrad
from livegrad import Tensor
from livegrad.site import warn

from .block_mask import BLOCK as _DEFAULT_SPARSE_BLOCK_SIZE
from .block_mask import (
    BlockMask,
    _sliced_mask_mod_error,
    and_masks,
    create_block_mask,
    create_mask,
    noop_mask,
    or_masks,
)
from .places import at_every_place

_LARGE_SPARSE_BLOCK_SIZE = 1 << 30


class AuxRequest(NamedTuple):
    """What is returned beside the result: each row's log of its sum of exponentials, its largest score."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """What `AuxRequest` asked for: (B, H, L) each, or None."""

    lse: Tensor | None = None
    max_scores: Tensor | None = None


def flex_attention(
    query: Tensor, key: Tensor, value: Tensor, score_mod: Callable | None = None, block_mask: BlockMask | None = None,
    scale: float | None = None, enable_gqa: bool = False, return_lse: bool = False,
    kernel_options: dict | None = None, *, return_aux: AuxRequest | None = None,
) -> Any:  # fmt: skip
    """Attention with scores that a function changes: softmax(score_mod(query keyᵀ · scale, places)) value.

    query (B, Hq, L, E), key (B, Hkv, S, E), value (B, Hkv, S, Ev); the result is (B, Hq, L, Ev).
    score_mod: of (score, batch, head, query, key), each a number; it may read other tensors, and they get gradients.
    block_mask: what a query sees (`create_block_mask`); a row that sees nothing is 0. scale: 1/√E if None.
    enable_gqa: Hq is a multiple of Hkv, and neighbouring heads share keys. kernel_options: not looked at.
    Returns the result, or with return_aux (result, `AuxOutput`), with return_lse (result, its lse).
    Raises ValueError for heads or lengths that do not go together. The scores are held as a whole.
    Source: Dong et al., Flex Attention, 2024, https://arxiv.org/abs/2412.05496.

    >>> import livegrad
    >>> from livegrad.nn.attention.flex_attention import flex_attention
    >>> q = k = v = livegrad.eye(2).view(1, 1, 2, 2)
    >>> flex_attention(q, k, v, lambda score, b, h, i, j: livegrad.where(i >= j, score, -float("inf")))
    tensor([[[[1.0000, 0.0000],
              [0.3302, 0.6698]]]])
    """
    _check(query, key, value, block_mask, enable_gqa)
    if return_lse and return_aux is not None:
        raise ValueError(
            "Cannot specify both return_lse and return_aux. "
            "return_lse is deprecated, please use return_aux=AuxRequest(lse=True) instead."
        )
    if return_lse:
        warn(
            "return_lse is deprecated and will be removed in v2.10. "
            "Please use return_aux=AuxRequest(lse=True) instead.",
            FutureWarning,
        )
    (B, H, L), S = query.shape[:3], key.shape[2]
    if enable_gqa:
        key, value = (t.repeat_interleave(H // t.shape[1], dim=1) for t in (key, value))
    scores = (query @ key.mT).to(livegrad.float64 if query.dtype == livegrad.float64 else livegrad.float32)
    scores = scores * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if score_mod is not None:
        scores = at_every_place(score_mod, (B, H, L, S), query.device, scores)
    if block_mask is not None and block_mask.mask_mod is not noop_mask:
        seen = at_every_place(block_mask.mask_mod, (B, H, L, S), query.device)
        scores = livegrad.where(seen, scores, -math.inf)
    blind = (scores == -math.inf).all(dim=-1, keepdim=True)
    weights = livegrad.where(blind, 0.0, scores).softmax(dim=-1).masked_fill(blind, 0.0)
    result = weights.to(value.dtype) @ value
    if return_aux is not None:
        return result, AuxOutput(
            scores.logsumexp(dim=-1) if return_aux.lse else None, scores.amax(dim=-1) if return_aux.max_scores else None
        )
    return (result, scores.logsumexp(dim=-1)) if return_lse else result


def _check(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask | None, enable_gqa: bool) -> None:
    """Raise for tensors that do not go together."""
    if not query.dtype == key.dtype == value.dtype:
        raise ValueError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {query.dtype}, key.dtype: "
            f"{key.dtype}, and value.dtype: {value.dtype} instead."
        )
    if any(t.dim() != 4 for t in (query, key, value)):
        raise NotImplementedError("NYI: query, key, and value must be 4D tensors")
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"Expect query and key/value to have the same embedding dimension but got E={query.shape[-1]} and "
            f"E={key.shape[-1]}."
        )
    heads, shared = query.shape[1], key.shape[1]
    if not enable_gqa and heads != shared:
        raise ValueError(
            f"Expect query and key/value to have the same number of heads but got Hq={heads} and Hkv={shared}. "
            "Try setting enable_gqa=True for GQA."
        )
    if heads % shared:
        raise ValueError(
            f"Expect number of query heads to be a multiple of kv heads for GQA but got Hq={heads} and Hkv={shared}."
        )
    if mask is None:
        if query.shape[0] != key.shape[0]:
            raise ValueError(
                f"Expect query and key/value to have the same batch size, or non-none block_mask, but got "
                f"block_mask=None, Bq={query.shape[0]}, and Bkv={key.shape[0]}."
            )
        return
    if mask.mask_mod is _sliced_mask_mod_error:
        raise RuntimeError("Cannot use mask_mod from a sliced BlockMask")
    if mask.BLOCK_SIZE == (_LARGE_SPARSE_BLOCK_SIZE, _LARGE_SPARSE_BLOCK_SIZE):
        return
    lengths, given = (query.shape[2], key.shape[2]), mask.seq_lengths
    if lengths != tuple(given):
        smaller = any(n > m for n, m in zip(lengths, given))
        raise ValueError(
            f"block_mask was created for block_mask.shape={mask.shape} but got q_len={lengths[0]} and "
            f"kv_len={lengths[1]}. As the block mask was created for a {'smaller' if smaller else 'larger'} length "
            "than you're using it for, you likely need to create a new block mask."
        )


__all__ = [
    "_DEFAULT_SPARSE_BLOCK_SIZE", "AuxOutput", "AuxRequest", "BlockMask", "and_masks", "create_block_mask",
    "create_mask", "flex_attention", "noop_mask", "or_masks",
]  # fmt: skip
