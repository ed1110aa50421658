"""Causal masks that know which corner of the scores they are aligned to, without being held."""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Any

import livegrad
from livegrad import Tensor

from ...site import warn
from .. import functional as F

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(IntEnum):
    """Where the last key that a query sees lies.

    UPPER_LEFT: query i sees keys up to i. LOWER_RIGHT: the last query sees all keys, each before it one less.
    """

    UPPER_LEFT = auto()
    LOWER_RIGHT = auto()


class CausalBias(Tensor):
    """A causal mask for `scaled_dot_product_attention`, made only where scores need it.

    variant: the corner that the mask is aligned to. seq_len_q, seq_len_kv: how many queries and keys there are.

    >>> import livegrad
    >>> from livegrad.nn import functional as F
    >>> from livegrad.nn.attention.bias import causal_lower_right
    >>> mask = causal_lower_right(1, 2)
    >>> mask
    tensor([[True, True]])
    >>> q, kv = livegrad.ones(1, 1, 1, 2), livegrad.tensor([[[[1., 2.], [3., 4.]]]])
    >>> F.scaled_dot_product_attention(q, kv * 0, kv, mask)
    tensor([[[[2., 3.]]]])
    """

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> None:
        if not isinstance(variant, CausalVariant):
            raise AssertionError(f"variant must be a CausalVariant, got {type(variant).__name__}")
        super().__init__()
        self.variant, self.seq_len_q, self.seq_len_kv = variant, seq_len_q, seq_len_kv
        if variant is CausalVariant.LOWER_RIGHT and seq_len_q > seq_len_kv:
            warn("Lower right causal bias will produce NaNs in the output when seq_len_q > seq_len_kv!")

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:  # a tensor without elements: the mask is made when needed
        return super().__new__(cls)

    def _materialize(self, device: Any = None) -> Tensor:
        """The mask itself: True where a query sees a key."""
        seen = livegrad.ones(self.seq_len_q, self.seq_len_kv, device=device or "cpu", dtype=livegrad.bool)
        return livegrad.tril(seen, self.seq_len_kv - self.seq_len_q if self._lower_right else 0)

    @property
    def _lower_right(self) -> bool:
        return self.variant is CausalVariant.LOWER_RIGHT

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)

    def __repr__(self, **options: Any) -> str:  # type: ignore[override]
        return repr(self._materialize())


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: CausalBias, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    if is_causal:
        raise ValueError("CausalBias should not be used with causal=True")
    upper = not attn_mask._lower_right or attn_mask.seq_len_q == attn_mask.seq_len_kv
    mask = None if upper else attn_mask._materialize(query.device)
    return F.scaled_dot_product_attention(query, key, value, mask, dropout_p, upper, scale, enable_gqa)


def causal_upper_left(*size: int) -> CausalBias:
    """The mask of (queries, keys) by which query i sees keys up to i, as is_causal=True does.

    >>> causal_upper_left(2, 3)
    tensor([[ True, False, False],
            [ True,  True, False]])
    """
    if len(size) != 2:
        raise AssertionError("causal_upper_left only supports 2D tensors")
    return CausalBias(CausalVariant.UPPER_LEFT, *size)


def causal_lower_right(*size: int) -> CausalBias:
    """The mask of (queries, keys) by which the last query sees all keys, and each before it one less.

    >>> causal_lower_right(2, 3)
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """
    if len(size) != 2:
        raise AssertionError("causal_lower_right only supports 2D tensors")
    return CausalBias(CausalVariant.LOWER_RIGHT, *size)
