"""Which way attention is computed, for programs that choose one.

There is one way for each case on the CPU (see `functional.scaled_dot_product_attention`), so there a choice changes
nothing. On CUDA devices it says whether cuDNN's way may be taken (see `livegrad.backends.cuda.sdp_kernel`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(enum.Enum):
    """PyTorch's names for its ways."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextmanager
def sdpa_kernel(backends: SDPBackend | Sequence[SDPBackend], set_priority: bool = False) -> Iterator[None]:
    """Allow these ways only, for a while: without effect on the CPU. set_priority: not looked at.

    >>> from livegrad.nn.attention import SDPBackend, sdpa_kernel
    >>> with sdpa_kernel(SDPBackend.MATH):
    ...     pass
    """
    given = [backends] if isinstance(backends, SDPBackend) else list(backends)
    if not given or not all(isinstance(b, SDPBackend) for b in given):
        raise AssertionError("Backend must be an instance of SDPBackend or a list of SDPBackend instances")
    from ...backends import cuda

    with cuda.sdp_kernel(
        enable_flash=SDPBackend.FLASH_ATTENTION in given, enable_math=SDPBackend.MATH in given,
        enable_mem_efficient=SDPBackend.EFFICIENT_ATTENTION in given, enable_cudnn=SDPBackend.CUDNN_ATTENTION in given,
    ):  # fmt: skip
        yield
