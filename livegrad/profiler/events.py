"""What a profile is asked for: events, and averages of them, as lists that print as tables. Times in microseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..site import resolve
from . import table as tables
from .record import NOWHERE, Place, Span, where


class Interval(NamedTuple):
    """Start and end, in microseconds since the profile began."""

    start: float
    end: float

    def elapsed_us(self) -> float:
        return self.end - self.start


class _Figures:
    """What events and averages of them have in common."""

    count: int
    cpu_time_total: float
    self_cpu_time_total: float
    device_time_total = self_device_time_total = cuda_time_total = self_cuda_time_total = 0.0
    device_memory_usage = self_device_memory_usage = 0

    @property
    def cpu_time(self) -> float:
        """The average time of one."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def cpu_time_str(self) -> str:
        return tables.duration(self.cpu_time)

    @property
    def cpu_time_total_str(self) -> str:
        return tables.duration(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self) -> str:
        return tables.duration(self.self_cpu_time_total)


class FunctionEvent(_Figures):
    """One thing that ran.

    kind: "kernel", "library", "operator", "backward", "user" or "module". ops: the names of the fused operators.
    caused_by: the line that was running, as "train.py:31"; recorded_at: the lines that recorded the operators.
    reason: why a kernel ran then. how: "hit", "compiled", "from disk" or "tier 0". bytes: read and written by a kernel.
    """

    count = 1

    def __init__(self, span: Span, number: int, origin: float):
        self.span = span
        self.id = number
        self.key = self.name = span.name
        self.kind = span.kind
        self.thread = span.thread
        self.time_range = Interval((span.start - origin) * 1e6, (span.end - origin) * 1e6)
        self.cpu_time_total = span.seconds * 1e6
        self.self_cpu_time_total = span.own * 1e6
        self.cpu_memory_usage = span.memory
        self.self_cpu_memory_usage = span.memory - span.inner_memory
        self.input_shapes = [list(s) for s in span.shapes]
        self.flops = span.flops
        self.bytes = span.nbytes
        self.reason, self.how = span.reason, span.how
        self.shape = span.shape
        self.is_user_annotation = span.kind == "user"
        self.cpu_parent: FunctionEvent | None = None
        self.cpu_children: list[FunctionEvent] = []

    @property
    def ops(self) -> list[str]:
        return [name for name, _ in self.span.parts]

    @property
    def caused_by(self) -> str:
        return where(self.span.caused)

    @property
    def recorded_at(self) -> list[str]:
        return [w for w in dict.fromkeys(where(place) for _, place in self.span.parts) if w]

    @property
    def module(self) -> str:
        """Dotted paths of the modules that recorded it."""
        return ", ".join(dict.fromkeys(place[2] or "" for _, place in self.span.parts if place[2] is not None))

    @property
    def own_flops(self) -> int:
        """The operations, unless what this ran in has counted them."""
        parent = self.cpu_parent
        while parent is not None:
            if parent.flops:
                return 0
            parent = parent.cpu_parent
        return self.flops

    @property
    def stack(self) -> list[str]:
        """The user's lines, innermost first (with_stack=True)."""
        sites = (resolve(code, lasti) for code, lasti in self.span.stack)
        return [f"{s.filename}({s.lineno}): {s.function}" for s in sites if s is not None]

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r}: {self.cpu_time_total_str} at {self.caused_by or '?'}>"


class FunctionEventAvg(_Figures):
    """Events of one key together: count, times, FLOPs, bytes and memory are sums."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.kind = ""
        self.count = 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0
        self.flops = self.bytes = 0
        self.cpu_memory_usage = self.self_cpu_memory_usage = 0
        self.input_shapes: list = []
        self.stack: list[str] = []
        self.is_user_annotation = False

    def add(self, event: Any) -> FunctionEventAvg:
        """Add an event or an average."""
        self.kind = self.kind or event.kind
        self.count += event.count
        self.cpu_time_total += event.cpu_time_total
        self.self_cpu_time_total += event.self_cpu_time_total
        self.flops += event.flops
        self.bytes += event.bytes
        self.cpu_memory_usage += event.cpu_memory_usage
        self.self_cpu_memory_usage += event.self_cpu_memory_usage
        self.is_user_annotation = self.is_user_annotation or event.is_user_annotation
        return self

    def add_share(self, event: FunctionEvent, share: float) -> None:
        """Add the part of an event that belongs here, without what ran inside it, which is added itself."""
        self.kind = self.kind or event.kind
        self.count += 1
        self.cpu_time_total += event.self_cpu_time_total * share
        self.self_cpu_time_total += event.self_cpu_time_total * share
        self.flops += int(event.own_flops * share)
        self.bytes += int(event.bytes * share)
        self.cpu_memory_usage += int(event.self_cpu_memory_usage * share)
        self.self_cpu_memory_usage += int(event.self_cpu_memory_usage * share)

    def __repr__(self) -> str:
        return f"<{self.key!r}: {self.count} times, {self.self_cpu_time_total_str} itself>"


class EventList(list):
    """A list of events or averages, which prints as a table."""

    def __init__(self, items: Iterable = (), memory: bool = False, flops: bool = False, heading: str = "Name"):
        super().__init__(items)
        self._memory, self._flops, self._heading = memory, flops, heading

    @property
    def self_cpu_time_total(self) -> float:
        return sum(e.self_cpu_time_total for e in self)

    def table(
        self, sort_by: str | None = None, row_limit: int = 100, max_src_column_width: int = 75,
        max_name_column_width: int = 55, max_shapes_column_width: int = 80, header: str | None = None,
        top_level_events_only: bool = False,
    ) -> str:  # fmt: skip
        """The events as text, sorted by a field as "self_cpu_time_total", at most `row_limit` of them (-1: all)."""
        shown = [e for e in self if getattr(e, "cpu_parent", None) is None] if top_level_events_only else list(self)
        return tables.render(
            shown, self._heading, sort_by, row_limit, max_name_column_width, max_shapes_column_width,
            max_src_column_width, header, self._memory, self._flops,
        )  # fmt: skip

    def __str__(self) -> str:
        return self.table()

    def total_average(self) -> FunctionEventAvg:
        """All of them together."""
        total = FunctionEventAvg("Total")
        for event in self:
            total.add(event)
        return total

    def key_averages(
        self, group_by_input_shapes: bool = False, group_by_stack_n: int = 0, by: str = "operator"
    ) -> EventList:
        """Events of the same key together. by: "operator", "line" or "module"; see `profile.key_averages`."""
        if by not in _SHARES:
            raise ValueError(f"by must be one of {', '.join(map(repr, _SHARES))}, not {by!r}")
        made: dict[tuple, FunctionEventAvg] = {}
        for event in self:
            for key, share in _SHARES[by](event).items():
                full: tuple = (key,)
                if group_by_input_shapes:
                    full += (str(event.input_shapes),)
                if group_by_stack_n > 0:
                    full += (tuple(event.stack[:group_by_stack_n]),)
                found = made.get(full)
                if found is None:
                    found = made[full] = FunctionEventAvg(key)
                    found.input_shapes = event.input_shapes if group_by_input_shapes else []
                    found.stack = event.stack[:group_by_stack_n]
                if by == "operator":
                    found.add(event)
                else:
                    found.add_share(event, share)
        return EventList(made.values(), self._memory, self._flops, {"operator": "Name"}.get(by, by.capitalize()))

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for Perfetto or chrome://tracing."""
        from .export import chrome_trace

        chrome_trace(path, self, [])

    def export_stacks(self, path: str, metric: str) -> None:
        """Write one line for each stack of the user's frames: frames, then the metric, as flame graph tools read it."""
        from .export import stacks

        stacks(path, self, metric)


def _by_key(event: FunctionEvent) -> dict[str, float]:
    return {event.key: 1.0}


def _by_place(name: Callable[[Place], str]) -> Callable[[FunctionEvent], dict[str, float]]:
    def shares(event: FunctionEvent) -> dict[str, float]:
        """The time of a fused kernel is divided evenly among its operators: inside it they cannot be told apart."""
        found: dict[str, float] = {}
        parts = event.span.parts or (("", NOWHERE),)
        for _, place in parts:
            key = name(place) or "(unknown)"
            found[key] = found.get(key, 0.0) + 1 / len(parts)
        return found

    return shares


def _module(place: Place) -> str:
    return "(outside)" if place[2] is None else place[2] or "(outermost)"


_SHARES: dict[str, Callable] = {"operator": _by_key, "line": _by_place(where), "module": _by_place(_module)}


def read(spans: list[Span], memory: bool, flops: bool) -> EventList:
    """The events of what was recorded, in order of their start."""
    spans = sorted(spans, key=lambda s: s.start)
    origin = spans[0].start if spans else 0.0
    made = {id(span): FunctionEvent(span, i, origin) for i, span in enumerate(spans)}
    for span in spans:
        parent = made.get(id(span.parent))
        if parent is not None:
            event = made[id(span)]
            event.cpu_parent = parent
            parent.cpu_children.append(event)
    return EventList(made.values(), memory, flops)
