"""`autocast`: regions in which products are computed in a shorter dtype. Which operators: `livegrad.ops.casting`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .. import cuda, dtypes
from ..blocks import Exit, opened
from ..precision import STATE
from ..site import warn
from ..tensor import Tensor

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]


def is_autocast_available(device_type: str) -> bool:
    """Whether there is autocast for this kind of device, whether or not this machine has one."""
    return device_type in STATE.dtype


class autocast:
    """A region in which operators choose their dtype: a context manager, and a decorator of functions.

    device_type: "cpu" or "cuda": the region applies to tensors there. dtype: of products and convolutions; bfloat16 on
    the CPU and float16 on CUDA unless given. enabled: False makes a region without autocast. cache_enabled: whether the
    casts of parameters are kept until the outermost region ends.

    Parameters stay as they are. Gradients have their parameters' dtypes. Run the backward pass outside of the region.
    Raises RuntimeError for another kind of device; a dtype that is not supported there turns the region off, with a
    warning.

    >>> import livegrad
    >>> model = livegrad.nn.Linear(3, 2)
    >>> with livegrad.autocast("cpu"):
    ...     loss = model(livegrad.ones(1, 3)).sum()
    >>> loss.dtype
    torch.bfloat16
    >>> loss.backward()
    >>> model.weight.grad.dtype
    torch.float32
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device = device_type
        self.fast_dtype = STATE.dtype[device_type] if dtype is None else dtype
        self._enabled = enabled and _supported(device_type, self.fast_dtype)
        self._cache_enabled = STATE.cache if cache_enabled is None else cache_enabled

    __exit__ = Exit()

    def __enter__(self) -> autocast:
        STATE.enter(opened(self), self.device, self._enabled, self.fast_dtype, self._cache_enabled)
        return self

    def __call__(self, function: Callable) -> Callable:
        if not callable(function):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(function).__name__}. Did you mean to use "
                "autocast as a context manager? For example:\n    with livegrad.autocast(device_type=...):\n"
                "        output = model(input)"
            )

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return inside


def _supported(kind: str, dtype: Any) -> bool:
    """Whether products can be computed in that dtype here; a warning where they cannot."""
    if kind == "cuda":
        if not cuda.is_available():
            warn("CUDA is not available or torch_xla is imported. Disabling autocast.")
            return False
        if dtype is dtypes.bfloat16 and not cuda.is_bf16_supported():
            raise RuntimeError("Current CUDA Device does not support bfloat16. Please switch dtype to float16.")
        return True
    if dtype in (dtypes.bfloat16, dtypes.float16):
        return True
    warn(
        "In CPU autocast, but the target dtype is not supported. Disabling autocast.\n"
        "CPU Autocast only supports dtypes of torch.bfloat16, torch.float16 currently.",
    )
    return False


# --- PyTorch's functions of the state ---------------------------------------------------------------------------


# What products are computed in on the kinds of devices that only PyTorch has: libraries ask for all of them.
_ELSEWHERE = {
    **dict.fromkeys(("mps", "xpu", "ipu", "mtia", "privateuseone"), dtypes.float16),
    **dict.fromkeys(("hpu", "xla", "maia"), dtypes.bfloat16),
}


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on in this thread, for tensors on that kind of device; never for kinds that are not here."""
    return device_type not in _ELSEWHERE and _known(device_type) in STATE.enabled


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Turn autocast on or off in this thread: ``set_autocast_enabled("cpu", True)``."""
    kind, wanted = ("cuda", device_type) if enabled is None else (device_type, enabled)
    STATE.enable(_known(kind), bool(wanted))


def get_autocast_dtype(device_type: str) -> dtypes.dtype:
    """What products are computed in while autocast is on."""
    return _ELSEWHERE[device_type] if device_type in _ELSEWHERE else STATE.dtype[_known(device_type)]


def set_autocast_dtype(device_type: str, dtype: dtypes.dtype) -> None:
    """Set what products are computed in while autocast is on."""
    STATE.dtype[_known(device_type)] = dtype


# The same of one kind of device: names from before the functions above knew of several.


def is_autocast_cpu_enabled() -> bool:
    """``is_autocast_enabled("cpu")``."""
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool, /) -> None:
    """``set_autocast_enabled("cpu", enabled)``."""
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> dtypes.dtype:
    """``get_autocast_dtype("cpu")``."""
    return get_autocast_dtype("cpu")


def get_autocast_gpu_dtype() -> dtypes.dtype:
    """``get_autocast_dtype("cuda")``."""
    return get_autocast_dtype("cuda")


def set_autocast_cpu_dtype(dtype: dtypes.dtype, /) -> None:
    """``set_autocast_dtype("cpu", dtype)``."""
    set_autocast_dtype("cpu", dtype)


def set_autocast_gpu_dtype(dtype: dtypes.dtype, /) -> None:
    """``set_autocast_dtype("cuda", dtype)``."""
    set_autocast_dtype("cuda", dtype)


def is_autocast_cache_enabled() -> bool:
    """Whether the casts of parameters are kept until the outermost region ends."""
    return STATE.cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Say whether the casts of parameters are kept."""
    STATE.cache = enabled


def clear_autocast_cache() -> None:
    """Forget the casts of parameters."""
    STATE.casts.clear()


def _known(kind: str) -> str:
    if kind not in STATE.dtype:
        raise RuntimeError(f"unknown device type for autocast: {kind!r}; expected one of {', '.join(STATE.dtype)}")
    return kind


# --- custom functions -------------------------------------------------------------------------------------------


def _cast(given: Any, kind: str, dtype: dtypes.dtype) -> Any:
    """Tensors of floating point on that kind of device in a dtype, wherever they are in lists and dictionaries."""
    if isinstance(given, Tensor):
        eligible = given.is_floating_point() and given.device.type == kind and given.dtype is not dtypes.float64
        return given.to(dtype) if eligible else given
    if isinstance(given, (str, bytes, np.ndarray)):
        return given
    if isinstance(given, Mapping):
        return {_cast(k, kind, dtype): _cast(v, kind, dtype) for k, v in given.items()}
    if isinstance(given, Iterable):
        made = (_cast(x, kind, dtype) for x in given)
        return type(given)(made) if isinstance(given, (list, tuple)) else made  # type: ignore[call-arg]
    return given


def custom_fwd(forward: Callable | None = None, *, device_type: str, cast_inputs: Any = None) -> Callable:
    """Decorator of the ``forward`` of an `autograd.Function` that is to run under autocast.

    cast_inputs: a dtype that floating-point arguments are cast to where autocast is on; ``forward`` then runs with
    autocast off. Without it the state stays, and `custom_bwd` gives ``backward`` the same.
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if forward is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    run: Callable = forward

    @functools.wraps(forward)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._dtype = get_autocast_dtype(device_type)
        on = is_autocast_enabled(device_type)
        ctx._fwd_used_autocast = on and cast_inputs is None
        if cast_inputs is None or not on:
            return run(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            return run(ctx, *_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))

    return decorated


def custom_bwd(backward: Callable | None = None, *, device_type: str) -> Callable:
    """Decorator of the ``backward`` that goes with `custom_fwd`: it runs with the autocast that ``forward`` had."""
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if backward is None:
        return functools.partial(custom_bwd, device_type=device_type)
    run: Callable = backward

    @functools.wraps(backward)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return run(ctx, *args, **kwargs)

    return decorated
