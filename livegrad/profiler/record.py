"""What a profile records: one `Span` for everything that runs, nested, with the user's lines."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from time import perf_counter
from types import SimpleNamespace
from typing import Any, NamedTuple

from ..graph.flops import flops as count_flops
from ..graph.operators import called
from ..lazy import log
from ..lazy.control import bound, watch_records
from ..observe import WATCH, Observer
from ..runtime import memory
from ..runtime.array import numel
from ..site import INTERNAL, MODULES, resolve, user_frame

# A place in a program, unresolved: code object and instruction offset; and the path of the module that was running.
Place = tuple[Any, int, "str | None"]
NOWHERE: Place = (None, 0, None)


class Span:
    """A stretch of time in which something ran.

    kind: "kernel" (a launch, or tier 0), "library" (a call of one), "operator", "backward" (a node), "user" (a range)
    or "module". start, end: in seconds. caused: the user's line that was running. parts: for each fused operator its
    name and the place that recorded it; for anything else, one entry. memory: bytes in use at the end, less those at
    the start. inner: time that spans within this one took.
    """

    __slots__ = (
        "kind", "name", "start", "end", "thread", "parent", "inner", "inner_memory", "caused", "parts", "shapes",
        "shape", "reason", "how", "nbytes", "flops", "memory", "stack",
    )  # fmt: skip
    start: float
    end: float
    thread: int
    parent: Span | None
    caused: Place

    def __init__(self, kind: str, name: str):
        self.kind = kind
        self.name = name
        self.inner = 0.0
        self.inner_memory = 0
        self.reason = self.how = ""
        self.nbytes = self.flops = self.memory = 0
        self.shapes: tuple = ()
        self.shape: tuple | None = None
        self.parts: tuple = ()
        self.stack: tuple = ()

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def own(self) -> float:
        """Seconds that no span within this one took."""
        return max(0.0, self.seconds - self.inner)


class Move(NamedTuple):
    """A large piece of memory was taken (bytes above 0) or given back.

    at: in seconds. level, reserved: bytes after it.
    """

    at: float
    address: int
    nbytes: int
    level: int
    reserved: int
    thread: int
    place: Place


class _Thread(threading.local):
    """Per thread: the spans that are open, and the node whose gradient is being computed."""

    def __init__(self) -> None:
        self.open: list[Span] = []
        self.node: Any = None


def _place() -> Place:
    frame = user_frame(2)
    path = MODULES.path() if MODULES.running else None
    return (None, 0, path) if frame is None else (frame.f_code, frame.f_lasti, path)


def _stack() -> tuple:
    """(code, offset) of the user's frames, innermost first."""
    found = []
    frame = user_frame(2)
    while frame is not None:
        if not INTERNAL[frame.f_code.co_filename]:
            found.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(found)


class Recorder(Observer):
    """The observer of a profile."""

    def __init__(self, shapes: bool = False, memory: bool = False, stack: bool = False, flops: bool = False):
        self.with_shapes, self.with_memory, self.with_stack, self.with_flops = shapes, memory, stack, flops
        self.spans: list[Span] = []
        self.levels: list[tuple[float, int]] = []  # (seconds, bytes in use)
        self.moves: list[Move] = []
        self.watched: Any = None
        self.places: dict[int, Place] = {}  # of pending values, by id; each is entered as it is recorded
        self.waiting: list[Span] = []  # launches that were postponed
        self.here = _Thread()
        self.before: Observer | None = None
        self.main = threading.get_ident()
        self.block: Any = None  # the frame of the `with` block that it is for

    def start(self) -> None:
        """Begin to watch. What watches already (the log) is told as before."""
        if isinstance(WATCH.observer, Recorder):
            if not WATCH.observer.left():
                raise RuntimeError("Profiler is already running: profiles cannot be nested")
            WATCH.observer.stop()
        self.before = WATCH.observer
        WATCH.observer = self
        watch_records(True)
        if self.with_memory:
            self.watched = memory.watch(self._moved)
        self._note_level(perf_counter())

    def stop(self) -> None:
        watch_records(False)
        if self.with_memory:
            memory.watch(self.watched)
        WATCH.observer = self.before
        self.places.clear()
        self.block = None

    def left(self) -> bool:
        """Whether the function whose `with` block this belongs to has ended: Ctrl-C struck as that was to stop it."""
        frames: list = list(sys._current_frames().values()) if self.block is not None else [self.block]
        while frames:
            frame = frames.pop()
            if frame is self.block:
                return False
            if frame.f_back is not None:
                frames.append(frame.f_back)
        return True

    # --- spans ---------------------------------------------------------------------------------------------------

    def open(self, span: Span) -> Span:
        here = self.here
        span.caused = _place()
        if self.with_stack:
            span.stack = _stack()
        span.parent = here.open[-1] if here.open else None
        span.thread = threading.get_ident()
        here.open.append(span)
        if self.with_memory:
            span.memory = -memory.level()
        span.start = perf_counter()
        return span

    def close(self, span: Span) -> None:
        now = perf_counter()
        open_spans = self.here.open
        if span not in open_spans:  # begun on another thread, or cut off by an interruption
            return
        while open_spans.pop() is not span:
            pass
        span.end = now
        if self.with_memory:
            span.memory += memory.level()
            self._note_level(now)
        parent = span.parent
        if parent is not None:
            parent.inner += now - span.start
            parent.inner_memory += span.memory
        self.spans.append(span)

    def _note_level(self, now: float) -> None:
        if self.with_memory:
            self.levels.append((now, memory.level()))

    def _moved(self, address: int, nbytes: int) -> None:
        now, level = perf_counter(), memory.level()
        place = self._at_work() if nbytes > 0 else NOWHERE
        self.levels.append((now, level))
        self.moves.append(Move(now, address, nbytes, level, memory.reserved(), threading.get_ident(), place))

    # --- the observer --------------------------------------------------------------------------------------------

    def begin(self, name: str, nodes: Sequence, leaves: Sequence, outputs: Sequence, shape: tuple, reason: str) -> Any:
        names = log.operators(nodes, name)
        span = Span("kernel", log.describe(names))
        span.shape, span.reason = shape, reason
        places = self.places
        parts = [(v.instr.op.name, places.get(id(v), NOWHERE)) for v in nodes]
        if name:
            parts.append((name, self._at_work()))
        span.parts = tuple(parts)
        if self.with_shapes:
            span.shapes = tuple([leaf.shape for leaf in leaves])
        n = numel(shape)
        written = sum(n * nodes[j].dtype.itemsize for j in outputs)
        span.nbytes = sum(numel(leaf.shape) * leaf.dtype.itemsize for leaf in leaves) + written
        if self.with_flops:
            span.flops = n * len(parts)
        inner = self.before.begin(name, nodes, leaves, outputs, shape, reason) if self.before is not None else None
        return self.open(span), inner

    def end(self, token: Any, how: str) -> None:
        span, inner = token
        self.close(span)
        span.how = how or span.how
        if inner is not None and self.before is not None:
            self.before.end(inner, how)

    def postponed(self, token: Any, how: str) -> None:
        span, inner = token
        here = self.here.open
        while here and here.pop() is not span:
            pass
        span.how = how
        if self.with_memory:
            span.memory += memory.level()
        self.waiting.append(span)
        if inner is not None and self.before is not None:
            self.before.postponed(inner, how)

    def begin_batch(self) -> Any:
        waiting, self.waiting = self.waiting, []
        names = [part[0] for span in waiting for part in span.parts]
        made = Span("kernel", log.describe(names))
        made.parts = tuple(part for span in waiting for part in span.parts)
        made.shapes = tuple(shape for span in waiting for shape in span.shapes)
        made.nbytes = sum(span.nbytes for span in waiting)
        made.flops = sum(span.flops for span in waiting)
        made.reason = waiting[0].reason if waiting else ""
        made.how = ", ".join(dict.fromkeys(span.how for span in waiting))
        self.open(made)
        made.memory += sum(span.memory for span in waiting)  # the results' memory is there already
        return made, None

    def begin_call(self, name: str, shapes: tuple, flops: int) -> Any:
        span = Span("library", name)
        span.parts = ((name, self._at_work()),)
        span.shapes = shapes if self.with_shapes else ()
        span.flops = flops if self.with_flops else 0
        return self.open(span), None

    def recorded(self, v: Any) -> bool:
        self.places[id(v)] = self._at_work()
        return v.weight <= bound()

    def _at_work(self) -> Place:
        """The place to which what runs now belongs: in a backward pass, the one that recorded the node."""
        node = self.here.node
        return _place() if node is None else (node.code, node.lasti, node.module)

    def node(self, node: Any, g: Any, recording: bool, edges: tuple) -> Any:
        here = self.here
        outer, here.node = here.node, node
        try:
            if hasattr(node, "instr"):  # elementwise: this only records the gradient
                return node.run(g, recording, edges)
            span = Span("backward", node.name())
            span.parts = ((span.name, self._at_work()),)
            if self.with_shapes:
                span.shapes = (tuple(node.shape),)
            self.open(span)
            try:
                return node.run(g, recording, edges)
            finally:
                self.close(span)
        finally:
            here.node = outer

    def operator(self, op: Any, tensors: Sequence, label: str | None, args: dict) -> Any:
        span = Span("operator", called(op.name, label or op.label, len(tensors[0]._shape) if tensors else 0))
        span.parts = ((span.name, self._at_work()),)
        if self.with_shapes:
            span.shapes = tuple([tuple(t._shape) for t in tensors])
        self.open(span)
        try:
            made = op._apply(tensors, label, args)
        finally:
            self.close(span)
        if self.with_flops:
            span.flops = _operator_flops(span.name, tensors, made)
        return made

    def range(self, name: str) -> Any:
        return self.open_range("user", name), None

    def open_range(self, kind: str, name: str) -> Span:
        span = Span(kind, name)
        span.parts = ((name, _place()),)
        return self.open(span)


def _operator_flops(name: str, tensors: Sequence, made: Any) -> int:
    first = made[0] if isinstance(made, tuple) else made
    inputs = [SimpleNamespace(shape=tuple(t._shape)) for t in tensors]
    node = SimpleNamespace(op=name, inputs=inputs, shape=tuple(first._shape), numel=numel(tuple(first._shape)))
    return count_flops(node) or 0


def where(place: Place) -> str:
    """A place as "train.py:31", or an empty string."""
    site = resolve(place[0], place[1])
    return "" if site is None else f"{os.path.basename(site.filename)}:{site.lineno}"
