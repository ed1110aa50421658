"""Streams of work on a CUDA device, and events: marks in them."""

from __future__ import annotations

from typing import Any

from ..runtime.cuda import checks, driver, ledger
from ._which import index_of

__all__ = [
    "Event", "ExternalStream", "Stream", "StreamContext", "current_stream", "default_stream", "set_stream", "stream",
    "synchronize",
]  # fmt: skip


def synchronize(device: Any = None) -> None:
    """Wait until everything that was started on a CUDA device is done."""
    chosen = driver.cupy().cuda.Device(index_of(device))
    ledger.note("synchronize", 0, "synchronize()")
    chosen.synchronize()
    checks.look()


class Stream:
    """A queue of work on a device: work on different streams may overlap.

    Use it with `livegrad.cuda.stream`.
    """

    def __init__(self, device: Any = None, priority: int = 0, *, native: Any = None):
        self._index = index_of(device)
        if native is None:
            cupy = driver.cupy()
            with cupy.cuda.Device(self._index):
                native = cupy.cuda.Stream(non_blocking=True, **({"priority": priority} if priority else {}))
        self.native = native

    @property
    def device(self) -> Any:
        """The device that the work is done on."""
        from livegrad import device

        return device("cuda", self._index)

    @property
    def cuda_stream(self) -> int:
        """CUDA's handle."""
        return int(self.native.ptr)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self._index, self.cuda_stream) == (other._index, other.cuda_stream)

    def __hash__(self) -> int:
        return hash((self._index, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<livegrad.cuda.Stream device=cuda:{self._index} cuda_stream={self.cuda_stream:#x}>"

    def __enter__(self) -> Stream:
        self.native.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.native.__exit__(*exc)

    def synchronize(self) -> None:
        """Wait until everything in this stream is done."""
        ledger.note("synchronize", 0, "Stream.synchronize()")
        driver.cupy()
        self.native.synchronize()
        checks.look()

    def query(self) -> bool:
        """Whether everything in this stream is done."""
        driver.cupy()
        return bool(self.native.done)

    def wait_event(self, event: Event) -> None:
        """Let later work in this stream wait for an event."""
        if event.native is not None:
            driver.cupy()
            self.native.wait_event(event.native)

    def wait_stream(self, stream: Stream) -> None:
        """Let later work in this stream wait for what another one holds now."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Put an event, a new one unless given, into this stream."""
        event = event or Event()
        event.record(self)
        return event


class ExternalStream(Stream):
    """A stream that another library has made, by CUDA's handle of it."""

    def __init__(self, stream_ptr: int, device: Any = None):
        index = index_of(device)
        super().__init__(index, native=driver.cupy().cuda.ExternalStream(stream_ptr, index))


class Event:
    """A mark in a stream. enable_timing: whether `elapsed_time` may be asked for.

    It is made when it is first recorded, on that stream's device.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False):
        if interprocess and enable_timing:
            raise RuntimeError("an event for other processes cannot be timed: give enable_timing=False")
        driver.cupy()  # raises where there is none
        self.native: Any = None
        self._options = {"block": blocking, "disable_timing": not enable_timing, "interprocess": interprocess}

    def record(self, stream: Stream | None = None) -> None:
        """Put it into a stream, the current one unless given."""
        stream = stream or current_stream()
        with driver.on(stream._index):
            if self.native is None:
                self.native = driver.cupy().cuda.Event(**self._options)
            self.native.record(stream.native)

    def wait(self, stream: Stream | None = None) -> None:
        """Let later work in a stream, the current one unless given, wait for it."""
        (stream or current_stream()).wait_event(self)

    def query(self) -> bool:
        """Whether everything before it is done."""
        return self.native is None or bool(self.native.done)

    def synchronize(self) -> None:
        """Wait for it."""
        if self.native is not None:
            ledger.note("synchronize", 0, "Event.synchronize()")
            self.native.synchronize()
            checks.look()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to a later one.

        Raises RuntimeError for events without timing, and for one that has not been recorded.
        """
        if self._options["disable_timing"] or end_event._options["disable_timing"]:
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        if self.native is None or end_event.native is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        return float(driver.cupy().cuda.get_elapsed_time(self.native, end_event.native))


def current_stream(device: Any = None) -> Stream:
    """The stream that work is started in now."""
    index = index_of(device)
    return Stream(index, native=driver.cupy().cuda.get_current_stream(index))


def default_stream(device: Any = None) -> Stream:
    """The stream that work is started in unless another one is chosen."""
    return Stream(device, native=driver.cupy().cuda.Stream.null)


def set_stream(stream: Stream | None) -> None:
    """Start work in this stream from now on; nothing changes for None. `stream` does it for a while."""
    if stream is not None:
        cuda = driver.cupy().cuda
        cuda.Device(stream._index).use()
        stream.native.use()


class StreamContext:
    """Start work in a stream, and on its device, for a while; nothing changes for None."""

    def __init__(self, stream: Stream | None):
        self.stream = stream
        self._inside: list = []

    def __enter__(self) -> None:
        if self.stream is not None:
            inside = driver.cupy().cuda.Device(self.stream._index)
            inside.__enter__()
            self.stream.native.__enter__()
            self._inside.append(inside)

    def __exit__(self, *exc: Any) -> None:
        if self.stream is not None:
            self.stream.native.__exit__(*exc)
            self._inside.pop().__exit__(*exc)


def stream(chosen: Stream | None) -> StreamContext:
    """Start work in this stream for a while; nothing changes for None."""
    return StreamContext(chosen)
