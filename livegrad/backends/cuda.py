"""CUDA's settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..settings import switch

__all__ = [
    "can_use_efficient_attention", "can_use_flash_attention", "cudnn_sdp_enabled", "enable_cudnn_sdp",
    "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp", "flash_sdp_enabled", "is_built",
    "is_flash_attention_available", "math_sdp_enabled", "matmul", "mem_efficient_sdp_enabled", "sdp_kernel",
]  # fmt: skip

# Whether small launches on CUDA devices are put off and started as CUDA graphs when their sequence repeats. Not on by
# itself: what it does has been tested without a GPU only.
graphs = switch("LIVEGRAD_CUDA_GRAPHS", False)

_PRECISIONS = ("highest", "high", "medium")


class _Products:
    """How cuBLAS multiplies.

    precision: "highest" for float32 products in float32; "high" and "medium" let the tensor cores round the factors to
    TF32 (10 bits of mantissa; the sums stay float32). allow_fp16_reduced_precision_reduction and
    allow_bf16_reduced_precision_reduction are kept for programs that set them: sums are always made in float32.
    """

    def __init__(self) -> None:
        self.precision = "highest"
        self.allow_fp16_reduced_precision_reduction = True
        self.allow_bf16_reduced_precision_reduction = True

    @property
    def allow_tf32(self) -> bool:
        """Whether float32 products may be computed in TF32."""
        return self.precision != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        self.precision = "high" if allowed else "highest"

    def set_precision(self, precision: str) -> None:
        """Choose the precision. Raises RuntimeError for an unknown one."""
        if precision not in _PRECISIONS:
            raise RuntimeError(f"precision must be highest, high or medium, not {precision!r}")
        self.precision = precision


matmul = _Products()


def is_built() -> bool:
    """Whether CuPy is installed. Whether there is a GPU as well says `livegrad.cuda.is_available`."""
    from ..runtime.cuda import driver

    return driver.installed() or driver.LIBRARY.cupy is not None


# --- ways of attention ------------------------------------------------------------------------------------------


class _Attention:
    """Which ways of computing attention are allowed. cuDNN's is the one that never holds the scores, and stands for all
    of PyTorch's that do not; the other one is plain operators ("math"), which serves where no other may or can.
    """

    def __init__(self) -> None:
        self.allowed = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}

    def fused(self) -> bool:
        """Whether a way may be taken that does not hold the scores."""
        allowed = self.allowed
        return allowed["flash"] or allowed["mem_efficient"] or allowed["cudnn"]


attention = _Attention()


def enable_flash_sdp(enabled: bool) -> None:
    """Allow or forbid flash attention; cuDNN's attention is taken as long as one of its kind is allowed."""
    attention.allowed["flash"] = bool(enabled)


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Allow or forbid memory-efficient attention; cuDNN's is taken as long as one of its kind is allowed."""
    attention.allowed["mem_efficient"] = bool(enabled)


def enable_cudnn_sdp(enabled: bool) -> None:
    """Allow or forbid cuDNN's attention; it is taken as long as one of its kind is allowed."""
    attention.allowed["cudnn"] = bool(enabled)


def enable_math_sdp(enabled: bool) -> None:
    """Notes whether attention may be computed by plain operators, which serve in any case where nothing else can."""
    attention.allowed["math"] = bool(enabled)


def flash_sdp_enabled() -> bool:
    """What `enable_flash_sdp` was last told."""
    return attention.allowed["flash"]


def mem_efficient_sdp_enabled() -> bool:
    """What `enable_mem_efficient_sdp` was last told."""
    return attention.allowed["mem_efficient"]


def cudnn_sdp_enabled() -> bool:
    """What `enable_cudnn_sdp` was last told."""
    return attention.allowed["cudnn"]


def math_sdp_enabled() -> bool:
    """What `enable_math_sdp` was last told."""
    return attention.allowed["math"]


def is_flash_attention_available() -> bool:
    """Whether attention can be computed without holding the scores: by cuDNN."""
    from ..runtime.cuda import cudnn

    return cudnn.available()


def can_use_flash_attention(params: object, debug: bool = False) -> bool:
    """Whether cuDNN's attention is there and allowed. params, debug: as PyTorch takes them; not looked at."""
    return attention.fused() and is_flash_attention_available()


can_use_efficient_attention = can_use_flash_attention


@contextmanager
def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
) -> Iterator[None]:
    """Allow and forbid ways of attention for a while.

    >>> import livegrad
    >>> with livegrad.backends.cuda.sdp_kernel(enable_flash=False):
    ...     print(livegrad.backends.cuda.flash_sdp_enabled())
    False
    """
    before = dict(attention.allowed)
    attention.allowed.update(
        flash=bool(enable_flash), math=bool(enable_math), mem_efficient=bool(enable_mem_efficient),
        cudnn=bool(enable_cudnn),
    )  # fmt: skip
    try:
        yield
    finally:
        attention.allowed.update(before)
