"""Attention: scaled dot products, and with several heads and their projections."""

from livegrad.ops.attention import scaled_dot_product_attention

__all__ = ["scaled_dot_product_attention"]
