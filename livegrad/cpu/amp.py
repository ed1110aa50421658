"""PyTorch's older names for mixed precision on the CPU: `livegrad.amp` with the device filled in."""

from __future__ import annotations

from typing import Any

from .. import amp, dtypes
from ..site import warn

__all__ = ["GradScaler", "autocast"]


def _deprecated(name: str) -> None:
    warn(
        f"`torch.cpu.amp.{name}(args...)` is deprecated. Please use `torch.amp.{name}('cpu', args...)` instead.",
        FutureWarning,
    )


class autocast(amp.autocast):  # noqa: N801
    """`livegrad.autocast` for the CPU."""

    def __init__(self, enabled: bool = True, dtype: Any = dtypes.bfloat16, cache_enabled: bool = True) -> None:
        _deprecated("autocast")
        super().__init__("cpu", dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)


class GradScaler(amp.GradScaler):
    """`livegrad.amp.GradScaler` for the CPU."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _deprecated("GradScaler")
        super().__init__("cpu", *args, **kwargs)
