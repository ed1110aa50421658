"""CUDA devices: which there are, which is current, waiting for them, streams, events and memory.

Without a device, what a program for both calls without asking first does nothing, as in PyTorch; what needs one raises
RuntimeError and says what is missing.

>>> import livegrad
>>> where = livegrad.device("cuda" if livegrad.cuda.is_available() else "cpu")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from livegrad import device as _device
from livegrad import random as _random

from ..runtime.cuda import driver as _driver
from ..runtime.cuda import ledger as _ledger
from ..runtime.cuda import memory as _memory

__all__ = [
    "Event", "Stream", "amp", "comm", "current_device", "current_stream", "default_stream", "device", "device_count",
    "empty_cache", "get_device_capability", "get_device_name", "get_device_properties", "get_rng_state",
    "get_rng_state_all", "get_sync_debug_mode", "init", "initial_seed", "ipc_collect", "is_available",
    "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated",
    "max_memory_reserved", "memory_allocated", "memory_reserved", "reset_peak_memory_stats", "seed", "seed_all",
    "set_device", "set_rng_state", "set_rng_state_all", "set_sync_debug_mode", "stream", "synchronize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("amp", "comm"):  # which need this module
        from importlib import import_module

        return import_module(f"livegrad.cuda.{name}")
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


def _index(device: Any) -> int:
    """The index of a device given as a number, a name or a device; of the current one for None."""
    if device is None:
        return _driver.current()
    found = _device(device)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return _driver.current() if found.index is None else found.index


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


# --- waiting, streams, events -----------------------------------------------------------------------------------


def synchronize(device: Any = None) -> None:
    """Wait until everything that was started on a CUDA device is done."""
    chosen = _driver.cupy().cuda.Device(_index(device))
    _ledger.note("synchronize", 0, "synchronize()")
    chosen.synchronize()


class Stream:
    """A queue of work on a device: work on different streams may overlap.

    Use it with `livegrad.cuda.stream`.
    """

    def __init__(self, device: Any = None, priority: int = 0, *, native: Any = None):
        if native is None:
            cupy = _driver.cupy()
            with cupy.cuda.Device(_index(device)):
                native = cupy.cuda.Stream(non_blocking=True, **({"priority": priority} if priority else {}))
        self.native = native

    def synchronize(self) -> None:
        """Wait until everything in this stream is done."""
        _ledger.note("synchronize", 0, "Stream.synchronize()")
        self.native.synchronize()

    def query(self) -> bool:
        """Whether everything in this stream is done."""
        return bool(self.native.done)

    def wait_event(self, event: Event) -> None:
        """Let later work in this stream wait for an event."""
        self.native.wait_event(event.native)

    def wait_stream(self, stream: Stream) -> None:
        """Let later work in this stream wait for what another one holds now."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Put an event, a new one unless given, into this stream."""
        event = event or Event()
        event.record(self)
        return event


class Event:
    """A mark in a stream. enable_timing: whether `elapsed_time` may be asked for."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False):
        self.native = _driver.cupy().cuda.Event(block=blocking, disable_timing=not enable_timing)
        self._timing = enable_timing

    def record(self, stream: Stream | None = None) -> None:
        """Put it into a stream, the current one unless given."""
        self.native.record(None if stream is None else stream.native)

    def wait(self, stream: Stream | None = None) -> None:
        """Let later work in a stream, the current one unless given, wait for it."""
        (stream or current_stream()).wait_event(self)

    def query(self) -> bool:
        """Whether everything before it is done."""
        return bool(self.native.done)

    def synchronize(self) -> None:
        """Wait for it."""
        _ledger.note("synchronize", 0, "Event.synchronize()")
        self.native.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to a later one. Raises RuntimeError for events without timing."""
        if not (self._timing and end_event._timing):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        return float(_driver.cupy().cuda.get_elapsed_time(self.native, end_event.native))


def current_stream(device: Any = None) -> Stream:
    """The stream that work is started in now."""
    return Stream(native=_driver.cupy().cuda.get_current_stream(_index(device)))


def default_stream(device: Any = None) -> Stream:
    """The stream that work is started in unless another one is chosen."""
    return Stream(native=_driver.cupy().cuda.Stream.null)


@contextmanager
def stream(chosen: Stream | None) -> Iterator[None]:
    """Start work in this stream for a while; nothing changes for None."""
    if chosen is None:
        yield
        return
    with chosen.native:
        yield


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


# --- random numbers ---------------------------------------------------------------------------------------------
# Each device has a generator, which draws by element index. `livegrad.manual_seed` seeds them all.


def _generator(device: Any = None) -> _random.Generator:
    return _random.cuda_generator(_index(device))


def manual_seed(seed: int) -> None:
    """Seed the current CUDA device's random numbers; nothing happens without one."""
    if is_available():
        _generator().manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed all CUDA devices' random numbers."""
    _random.seed_cuda(seed)


def seed() -> None:
    """Seed the current CUDA device's random numbers from the system; nothing happens without one."""
    if is_available():
        _generator().seed()


def seed_all() -> None:
    """Seed all CUDA devices' random numbers from the system, alike."""
    _random.seed_cuda(_random.Counter(0).seed())


def initial_seed() -> int:
    """What the current CUDA device's random numbers were seeded with."""
    return _generator().initial_seed()


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of a CUDA device's random numbers: 16 bytes, a tensor on the CPU."""
    return _generator(device).get_state()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Go on from a state that `get_rng_state` gave. Raises TypeError or RuntimeError for something else."""
    _generator(device).set_state(new_state)


def get_rng_state_all() -> list:
    """The states of all CUDA devices' random numbers."""
    return [get_rng_state(i) for i in range(device_count())]


def set_rng_state_all(new_states: Any) -> None:
    """Go on from what `get_rng_state_all` gave."""
    for i, state in enumerate(new_states):
        set_rng_state(state, i)


# --- memory -----------------------------------------------------------------------------------------------------


def memory_allocated(device: Any = None) -> int:
    """Bytes of a CUDA device's memory that tensors use; 0 without a device."""
    return _memory.used(_index(device)) if is_available() else 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors used at once."""
    return _memory.peak(_index(device)) if is_available() else 0


def memory_reserved(device: Any = None) -> int:
    """Bytes of a CUDA device's memory that are held for tensors, in use or not; 0 without a device."""
    return _memory.reserved(_index(device)) if is_available() else 0


max_memory_reserved = memory_reserved  # what was reserved stays so until `empty_cache`


def reset_peak_memory_stats(device: Any = None) -> None:
    """Measure the peak anew from here."""
    if is_available():
        _memory.reset_peak(_index(device))


def empty_cache() -> None:
    """Give memory that no tensor uses back to the device."""
    if is_available():
        _memory.empty_cache()


def ipc_collect() -> None:
    """Give back CUDA memory shared between processes: none is."""
