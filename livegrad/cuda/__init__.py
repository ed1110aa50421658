"""CUDA devices: which there are, which is current, waiting for them, streams, events and memory.

Without a device, what a program for both calls without asking first does nothing, as in PyTorch; what needs one raises
RuntimeError and says what is missing.

>>> import livegrad
>>> where = livegrad.device("cuda" if livegrad.cuda.is_available() else "cpu")
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from livegrad import device as _device

from ..runtime.cuda import driver as _driver
from ..runtime.cuda import ledger as _ledger
from ._which import index_of as _index
from .captures import CUDAGraph, graph
from .legacy import (
    BFloat16Tensor,
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
)  # fmt: skip
from .memory import (
    OutOfMemoryError,
    empty_cache,
    max_memory_allocated,
    max_memory_cached,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_cached,
    memory_reserved,
    memory_stats,
    memory_summary,
    reset_accumulated_memory_stats,
    reset_max_memory_allocated,
    reset_max_memory_cached,
    reset_peak_memory_stats,
    set_per_process_memory_fraction,
)  # fmt: skip
from .random import (
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)  # fmt: skip
from .streams import (
    Event,
    ExternalStream,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    set_stream,
    stream,
    synchronize,
)  # fmt: skip

__all__ = [
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CUDAGraph", "CharTensor", "DoubleTensor", "Event", "ExternalStream",
    "FloatTensor", "HalfTensor", "IntTensor", "LongTensor", "OutOfMemoryError", "ShortTensor", "Stream",
    "StreamContext", "amp", "can_device_access_peer", "comm", "current_blas_handle", "current_device",
    "current_stream", "default_stream", "device", "device_count", "device_of", "empty_cache", "get_arch_list",
    "get_device_capability", "get_device_name", "get_device_properties", "get_gencode_flags", "get_rng_state",
    "get_rng_state_all", "get_stream_from_external", "get_sync_debug_mode", "graph", "init",
    "initial_seed", "ipc_collect", "is_available", "is_bf16_supported", "is_current_stream_capturing",
    "is_initialized", "is_tf32_supported", "make_graphed_callables", "manual_seed", "manual_seed_all",
    "max_memory_allocated", "max_memory_cached", "max_memory_reserved", "mem_get_info", "memory_allocated",
    "memory_cached", "memory_reserved", "memory_stats", "memory_summary", "nvtx",
    "reset_accumulated_memory_stats", "reset_max_memory_allocated", "reset_max_memory_cached",
    "reset_peak_memory_stats", "seed", "seed_all", "set_device", "set_per_process_memory_fraction", "set_rng_state",
    "set_rng_state_all", "set_stream", "set_sync_debug_mode", "stream", "synchronize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("amp", "comm", "nvtx"):  # which need this module
        from importlib import import_module

        return import_module(f"livegrad.cuda.{name}")
    if name == "default_generators":
        from ..random import cuda_generator

        return tuple(cuda_generator(index) for index in range(device_count()))
    if name == "_initialized":
        return is_initialized()
    raise AttributeError(f"module 'livegrad.cuda' has no attribute '{name}'")


# --- devices ----------------------------------------------------------------------------------------------------


def is_available() -> bool:
    """Whether there is a CUDA device that can be used. Never raises; `livegrad info` says what is missing."""
    return _driver.available()


def device_count() -> int:
    """How many CUDA devices can be used."""
    return _driver.count()


def is_initialized() -> bool:
    """Whether a CUDA device has been found and can be in use."""
    return _driver.LIBRARY.cupy is not None


def init() -> None:
    """Start CUDA, which otherwise happens when it is needed. Raises RuntimeError where it cannot be used."""
    _driver.cupy()


def current_device() -> int:
    """The index of the current CUDA device."""
    return _driver.current()


def set_device(device: Any) -> None:
    """Choose the current CUDA device."""
    index = _index(device)
    _driver.cupy().cuda.Device(index).use()


class device:
    """Context manager that chooses the current CUDA device; without one it does nothing, as in PyTorch.

    Raises RuntimeError for something that names no device.
    """

    def __init__(self, device: Any):
        self._chosen = None if device is None else _device(device)
        self._inside: list = []

    def __enter__(self) -> None:
        if self._chosen is not None and self._chosen.type == "cuda" and is_available():
            inside = _driver.cupy().cuda.Device(_index(self._chosen))
            inside.__enter__()
            self._inside.append(inside)

    def __exit__(self, *exc: Any) -> None:
        if self._inside:
            self._inside.pop().__exit__(*exc)


def device_of(obj: Any) -> device:
    """Context manager that chooses the device of a tensor; for one on the CPU it does nothing."""
    return device(obj.device if obj.is_cuda else None)


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether one CUDA device can read another one's memory without the CPU's help. Raises RuntimeError without one."""
    runtime = _driver.cupy().cuda.runtime
    here, there = _index(device), _index(peer_device)
    return here != there and bool(runtime.deviceCanAccessPeer(here, there))


def _attributes(device: Any) -> dict:
    return _driver.cupy().cuda.runtime.getDeviceProperties(_index(device))


def get_device_name(device: Any = None) -> str:
    """A CUDA device's name."""
    name = _attributes(device)["name"]
    return name.decode() if isinstance(name, bytes) else name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """A CUDA device's compute capability."""
    found = _attributes(device)
    return found["major"], found["minor"]


def get_device_properties(device: Any = None) -> Any:
    """A CUDA device's properties: ``name``, ``major``, ``minor``, ``total_memory``, ``multi_processor_count``."""
    found = _attributes(device)
    return SimpleNamespace(
        name=get_device_name(device), major=found["major"], minor=found["minor"],
        total_memory=found["totalGlobalMem"], multi_processor_count=found["multiProcessorCount"],
    )  # fmt: skip


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current CUDA device computes in bfloat16."""
    return is_available() and get_device_capability()[0] >= 8


def is_tf32_supported() -> bool:
    """Whether the current CUDA device multiplies in TF32."""
    return is_available() and get_device_capability()[0] >= 8


def get_arch_list() -> list[str]:
    """The architectures that kernels are made for: "sm_75" and the like. Empty without a device, as in PyTorch."""
    from ..codegen.gpu.target import ARCHITECTURES

    return [name for _, name in reversed(ARCHITECTURES)] if is_available() else []


def get_gencode_flags() -> str:
    """The flags that a compiler of PyTorch's would have got for `get_arch_list`."""
    numbers = [name.removeprefix("sm_") for name in get_arch_list()]
    return " ".join(f"-gencode compute=compute_{n},code=sm_{n}" for n in numbers)


def current_blas_handle() -> int:
    """cuBLAS's handle for the current device. Raises RuntimeError without one."""
    return int(_driver.cupy().cuda.get_cublas_handle())


def get_stream_from_external(data_ptr: int, device: Any = None) -> ExternalStream:
    """A stream that another library has made."""
    return ExternalStream(data_ptr, device)


def is_current_stream_capturing() -> bool:
    """Whether a CUDA graph is being captured by the program: never. See `livegrad.backends.cuda.graphs`."""
    return False


def make_graphed_callables(callables: Any, sample_args: Any, *args: Any, **kwargs: Any) -> Any:
    """The callables as they are: what they launch becomes a CUDA graph by itself, where that is switched on.

    See `livegrad.backends.cuda.graphs`. sample_args and what follows are not looked at.
    """
    return callables


def ipc_collect() -> None:
    """Give back CUDA memory shared between processes: none is."""


# --- waits that are watched ------------------------------------------------------------------------------------------


def set_sync_debug_mode(debug_mode: int | str) -> None:
    """Warn or raise where the host waits for a device: 0 or "default", 1 or "warn", 2 or "error".

    `livegrad.debug.watch_sync` is the same, also as a context manager. Raises ValueError or RuntimeError for another
    mode, as in PyTorch.
    """
    if isinstance(debug_mode, str):
        if debug_mode not in _SYNC_MODES:
            raise RuntimeError(f"invalid value of debug_mode: {debug_mode}, expected one of `default`, `warn`, `error`")
        debug_mode = _SYNC_MODES.index(debug_mode)
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode: {debug_mode}, expected 0, 1 or 2")
    _ledger.LEDGER.watch = _WATCHES[debug_mode]


def get_sync_debug_mode() -> int:
    """What `set_sync_debug_mode` was told, as a number."""
    return _WATCHES.index(_ledger.LEDGER.watch)


_SYNC_MODES = ("default", "warn", "error")
_WATCHES: tuple[_ledger.Watch, ...] = ("", "warn", "raise")
