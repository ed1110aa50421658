"""`profile`: switching the recording on and off, by hand or by a schedule."""

from __future__ import annotations

import enum
import functools
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..observe import WATCH
from . import events as event_lists
from . import export
from .events import EventList
from .record import Recorder


class ProfilerActivity(enum.Enum):
    """What is watched. Here that is always the CPU."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3
    HPU = 4
    PrivateUse1 = 5


class ProfilerAction(enum.Enum):
    """What a schedule asks for at a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """The activities that can be watched on this machine."""
    return {ProfilerActivity.CPU}


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """A schedule for `profile`: skip `skip_first` steps, then again and again wait, warm up and record.

    repeat: how many such cycles, 0 for no end. skip_first_wait: nonzero leaves out the first wait.

    >>> from livegrad.profiler import schedule
    >>> plan = schedule(wait=1, warmup=1, active=2, repeat=1)
    >>> [plan(step).name for step in range(5)]
    ['NONE', 'WARMUP', 'RECORD', 'RECORD_AND_SAVE', 'NONE']
    """
    if wait < 0 or warmup < 0 or active <= 0 or repeat < 0 or skip_first < 0:
        raise ValueError("Invalid profiler schedule arguments: none may be negative, and active must be at least 1")

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise ValueError(f"a step cannot be negative: {step}")
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        cycle, place = divmod(step, wait + warmup + active)
        if repeat and cycle >= repeat:
            return ProfilerAction.NONE
        if place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if place < wait + warmup + active - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


def _always(step: int) -> ProfilerAction:
    return ProfilerAction.RECORD


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """For `on_trace_ready`: writes each trace into a folder, under the name that TensorBoard's plugin looks for."""

    def handler(prof: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json"
        prof.export_chrome_trace(os.path.join(dir_name, name + (".gz" if use_gzip else "")))

    return handler


class record_function:
    """Gives a stretch of the program a name in the profile: as a context manager or as a decorator.

    >>> import livegrad
    >>> from livegrad.profiler import profile, record_function
    >>> with profile() as prof:
    ...     with record_function("my part"):
    ...         x = (livegrad.ones(3) + 1).tolist()
    >>> any(row.key == "my part" for row in prof.key_averages())
    True
    """

    def __init__(self, name: str, args: str | None = None):
        self.name = name
        self.args = args
        self._open: list = []

    def __enter__(self) -> record_function:
        observer = WATCH.observer
        self._open.append(None if observer is None else (observer, observer.range(self.name)))
        return self

    def __exit__(self, *exc: Any) -> None:
        opened = self._open.pop()
        if opened is not None and opened[1] is not None:
            opened[0].end(opened[1], "")

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def named(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return named


class profile:
    """Records what runs: every kernel launched, every library call, operator and node of a backward pass.

    As in PyTorch: `schedule` says at which of the steps, told apart by `step`, to record; `on_trace_ready` is called
    with the profile whenever a recording is complete. record_shapes, profile_memory, with_stack, with_flops and
    with_modules add shapes, memory in use, the user's stack, counts of operations, and ranges of modules. The line
    that caused something to run and those that recorded it are always there.

    >>> import livegrad
    >>> from livegrad.profiler import profile
    >>> x = livegrad.ones(100, 100)
    >>> with profile(with_flops=True) as prof:
    ...     y = ((x @ x) * 2).sum().item()
    >>> [row.count for row in prof.key_averages() if row.key == "gemm"]
    [1]
    """

    def __init__(
        self, *, activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None, on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False, profile_memory: bool = False, with_stack: bool = False, with_flops: bool = False,
        with_modules: bool = False, experimental_config: Any = None, acc_events: bool = False, use_cuda: Any = None,
        **others: Any,
    ):  # fmt: skip
        self.activities = set(activities) if activities is not None else supported_activities()
        if not self.activities:
            raise AssertionError("No valid profiler activities found")
        self.schedule = schedule or _always
        self.record_steps = schedule is not None
        self.on_trace_ready = on_trace_ready
        self.record_shapes, self.profile_memory, self.with_stack = record_shapes, profile_memory, with_stack
        self.with_flops, self.with_modules = with_flops, with_modules
        self.acc_events = acc_events
        self.step_num = 0
        self.current_action = self.schedule(0)
        self._recorder: Recorder | None = None
        self._running = False
        self._block: Any = None
        self._step: Any = None
        self._hooks: list = []
        self._tracker: Any = None
        self._metadata: dict[str, Any] = {}

    # --- on and off ----------------------------------------------------------------------------------------------

    def __enter__(self) -> profile:
        self._block = sys._getframe(1)
        self.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.stop()

    def start(self) -> None:
        """Begin, with what the schedule asks for at the first step."""
        if self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE):
            self._start_recording()
        self._begin_step()

    def stop(self) -> None:
        """End, and hand over what was being recorded."""
        self._block = None
        self._end_step()
        if self._running:
            self._stop_recording()
            if self.on_trace_ready is not None:
                self.on_trace_ready(self)

    def step(self) -> None:
        """The next step of the program begins."""
        self._end_step()
        before = self.current_action
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        recording = self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        if self._running and (before is ProfilerAction.RECORD_AND_SAVE or not recording):
            self._stop_recording()
            if before is ProfilerAction.RECORD_AND_SAVE and self.on_trace_ready is not None:
                self.on_trace_ready(self)
        if recording and not self._running:
            self._start_recording()
        self._begin_step()

    def _begin_step(self) -> None:
        if self.record_steps and self._running and self._recorder is not None:
            self._step = self._recorder.range(f"ProfilerStep#{self.step_num}")

    def _end_step(self) -> None:
        if self._step is not None and self._recorder is not None:
            self._recorder.end(self._step, "")
        self._step = None

    def _start_recording(self) -> None:
        kept = self._recorder.spans if self.acc_events and self._recorder is not None else []
        recorder = Recorder(self.record_shapes, self.profile_memory, self.with_stack, self.with_flops)
        recorder.block = self._block
        recorder.start()
        recorder.spans.extend(kept)
        self._recorder = recorder
        self._running = True
        if self.with_modules:
            from .modules import watch_modules

            self._hooks = watch_modules(recorder)

    def _stop_recording(self) -> None:
        if self._recorder is not None:
            self._recorder.stop()
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._running = False

    # --- results -------------------------------------------------------------------------------------------------

    def _recorded(self) -> Recorder:
        if self._recorder is None:
            raise AssertionError("Profiler must be initialized before asking it for results: nothing was recorded")
        return self._recorder

    def events(self) -> EventList:
        """Everything that ran, in order."""
        return event_lists.read(self._recorded().spans, self.profile_memory, self.with_flops)

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False,
        *, by: str = "operator",
    ) -> EventList:  # fmt: skip
        """Everything that ran, added up: its `table` shows where the time went.

        by: "operator"; "line", the user's line that recorded it (the gradients of a line count for that line);
        "module", the path of the module that was running. In the last two, the time of a fused kernel is divided evenly
        among its operators, and a range's own time (Python's, for the most part) counts for the line that began it.
        """
        return self.events().key_averages(group_by_input_shape, group_by_stack_n, by)

    def _origin(self) -> float:
        recorder = self._recorded()
        return min((s.start for s in recorder.spans), default=recorder.levels[0][0] if recorder.levels else 0.0)

    def _levels(self) -> list[tuple[float, int]]:
        origin = self._origin()
        return [((at - origin) * 1e6, nbytes) for at, nbytes in sorted(self._recorded().levels)]

    def export_chrome_trace(self, path: Any) -> None:
        """Write what ran in the trace event format; compressed if the name ends in ``.gz``."""
        origin = self._origin()
        moves = [move._replace(at=(move.at - origin) * 1e6) for move in self._recorded().moves]
        export.chrome_trace(path, self.events(), self._levels(), moves, self._metadata)

    def export_stacks(self, path: Any, metric: str = "self_cpu_time_total") -> None:
        """Write the user's stacks with a metric, for flame graphs. Needs with_stack=True."""
        if not self.with_stack:
            raise RuntimeError("export_stacks() needs a profile that was made with with_stack=True")
        export.stacks(path, self.events(), metric)

    def export_memory_timeline(self, path: Any, device: Any = None) -> None:
        """Write memory in use over time as ``.json``, ``.json.gz`` or ``.html``. Needs profile_memory=True."""
        if not self.profile_memory:
            raise RuntimeError("export_memory_timeline() needs a profile that was made with profile_memory=True")
        export.memory_timeline(path, self._levels())

    def add_metadata(self, key: str, value: str) -> None:
        """Put a text into the trace."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """Put a value, given as JSON, into the trace."""
        import json

        self._metadata[key] = json.loads(value)
