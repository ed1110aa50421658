"""The older way to a profile: `livegrad.autograd.profiler.profile`. See `livegrad.profiler`."""

from __future__ import annotations

from typing import Any

from .. import profiler as _profiler
from ..profiler import EventList, FunctionEvent, FunctionEventAvg, record_function

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "emit_nvtx", "profile", "record_function"]


class profile:
    """A context manager that records what runs inside it, unless `enabled` is False.

    >>> import livegrad
    >>> with livegrad.autograd.profiler.profile() as prof:
    ...     x = (livegrad.ones(3) * 2).tolist()
    >>> len(prof.function_events) > 0
    True
    """

    def __init__(
        self, enabled: bool = True, *, use_cuda: bool = False, use_device: Any = None, record_shapes: bool = False,
        with_flops: bool = False, profile_memory: bool = False, with_stack: bool = False, with_modules: bool = False,
        use_kineto: bool = False, use_cpu: bool = True, **others: Any,
    ):  # fmt: skip
        self.enabled = enabled
        self._profile = _profiler.profile(
            record_shapes=record_shapes, with_flops=with_flops, profile_memory=profile_memory, with_stack=with_stack,
            with_modules=with_modules,
        )  # fmt: skip

    def __enter__(self) -> profile:
        if self.enabled:
            self._profile.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self.enabled:
            self._profile.stop()

    @property
    def function_events(self) -> EventList:
        """Everything that ran, in order."""
        return self._profile.events()

    @property
    def self_cpu_time_total(self) -> float:
        return self.function_events.self_cpu_time_total

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, **options: Any) -> EventList:
        """See `livegrad.profiler.profile.key_averages`."""
        return self._profile.key_averages(group_by_input_shape, group_by_stack_n, **options)

    def total_average(self) -> FunctionEventAvg:
        return self.function_events.total_average()

    def table(self, *args: Any, **options: Any) -> str:
        """The events as text."""
        return self.function_events.table(*args, **options)

    def export_chrome_trace(self, path: Any) -> None:
        """Write the events for Perfetto or chrome://tracing."""
        self._profile.export_chrome_trace(path)

    def export_stacks(self, path: Any, metric: str = "self_cpu_time_total") -> None:
        """See `livegrad.profiler.profile.export_stacks`."""
        self._profile.export_stacks(path, metric)

    def __str__(self) -> str:
        return (
            str(self.function_events)
            if self.enabled and self._profile._recorder is not None
            else "<unfinished profile>"
        )


class emit_nvtx:
    """A context manager that marks operators for NVIDIA's profilers, in PyTorch; here, one that is not `enabled`.

    Raises RuntimeError where it is entered otherwise: see `livegrad.profiler.profile` and `livegrad.cuda.nvtx`.
    """

    def __init__(self, enabled: bool = True, record_shapes: bool = False):
        self.enabled = enabled

    def __enter__(self) -> emit_nvtx:
        if self.enabled:
            raise RuntimeError(
                "emit_nvtx does not mark operators for NVIDIA's profilers. Use livegrad.profiler.profile to see what "
                "ran, or livegrad.cuda.nvtx.range to mark parts of the program"
            )
        return self

    def __exit__(self, *exc: Any) -> None:
        pass
