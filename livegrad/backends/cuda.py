"""CUDA's settings."""

from __future__ import annotations

__all__ = ["is_built", "matmul"]

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
