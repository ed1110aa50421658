"""PyTorch's older names for mixed precision on CUDA: `livegrad.amp` with the device filled in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .. import amp, dtypes
from ..site import warn

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


def _deprecated(name: str) -> None:
    warn(
        f"`torch.cuda.amp.{name}(args...)` is deprecated. Please use `torch.amp.{name}('cuda', args...)` instead.",
        FutureWarning,
    )


class autocast(amp.autocast):
    """`livegrad.autocast` for CUDA."""

    def __init__(self, enabled: bool = True, dtype: Any = dtypes.float16, cache_enabled: bool = True) -> None:
        _deprecated("autocast")
        super().__init__("cuda", dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)


class GradScaler(amp.GradScaler):
    """`livegrad.amp.GradScaler` for CUDA."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _deprecated("GradScaler")
        super().__init__("cuda", *args, **kwargs)


def custom_fwd(forward: Callable | None = None, *, cast_inputs: Any = None) -> Callable:
    """`livegrad.amp.custom_fwd` for CUDA."""
    _deprecated("custom_fwd")
    wrap: Callable = functools.partial(amp.custom_fwd, device_type="cuda", cast_inputs=cast_inputs)
    return wrap if forward is None else wrap(forward)


def custom_bwd(backward: Callable) -> Callable:
    """`livegrad.amp.custom_bwd` for CUDA."""
    _deprecated("custom_bwd")
    return amp.custom_bwd(backward, device_type="cuda")
