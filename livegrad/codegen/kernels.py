"""Kernels: compiled programs, and when they are compiled.

A program that is large, or asked for again, is compiled; small one-off work never waits for a compiler. Until its
kernel is there a program runs on tier 0. Kernels are kept in memory by program and on disk by `codegen.cache`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import Struct
from typing import Any

from . import body, cache, elementwise, ir, reduction, rows, scan

# Elements times operators from which a program is worth waiting for its compilation the first time.
LARGE = 1 << 19
# How often small work must have been seen before it is compiled (in the background).
SEEN = 2


class Policy:
    """auto: as described above. always: compile at once. never: tier 0 only."""

    mode = os.environ.get("LIVEGRAD_COMPILE", "auto")


if Policy.mode not in ("auto", "always", "never"):
    raise ValueError(f"LIVEGRAD_COMPILE must be auto, always or never, not {Policy.mode!r}")


@contextmanager
def compiling(mode: str) -> Iterator[None]:
    """Use another compilation policy for a while: "auto", "always" or "never".

    >>> import livegrad
    >>> with livegrad.compiling("never"):
    ...     (livegrad.ones(2) + 1).tolist()
    [2.0, 2.0]
    """
    if mode not in ("auto", "always", "never"):
        raise ValueError(f"compiling() takes 'auto', 'always' or 'never', not {mode!r}")
    before, Policy.mode = Policy.mode, mode
    try:
        yield
    finally:
        Policy.mode = before


class Kernel:
    """A program's kernel: its address once there is one, and how pointers and numbers are packed for it.

    What follows them, the words that describe sizes and strides, is packed by whoever plans the launch.
    """

    __slots__ = ("describe", "source", "pack", "address", "seen", "state", "code", "error", "cost", "origin")

    def __init__(self, describe: Callable[[], tuple], source: Callable[[], str], formats: str, cost: int):
        self.describe = describe
        self.source = source
        self.pack = Struct("=" + formats).pack
        self.address = 0
        self.seen = 0
        self.state = "new"  # then: building, ready, failed
        self.code: Any = None
        self.error: Exception | None = None
        self.cost = cost
        self.origin = "hit"  # for the log: "compiled" or "from disk" until that has been told

    def available(self, elements: int) -> bool:
        """Whether there is machine code to call now for that much work; starts or awaits compilation as due."""
        if self.address:
            return Policy.mode != "never"
        mode = Policy.mode
        if mode == "never" or self.state == "failed" or not ir.compiler_available():
            return False
        self.seen += 1
        if self.state == "new" and self._from_disk():
            return True
        if mode == "always" or elements * self.cost >= LARGE:
            self.build()
            return self.address != 0
        if self.state == "new" and self.seen >= SEEN:
            self.state = "building"
            _builder.submit(self)
        return False

    def _from_disk(self) -> bool:
        """Look for the kernel on disk; once, since a missing one stays missing until this process writes it."""
        if self.seen > 1:
            return False
        code = cache.read(cache.name_of(self.describe()))
        if code is None:
            return False
        try:
            self._load(ir.load_object(code))
            self.origin = "from disk"
        except Exception as error:  # an object that does not load is compiled again
            self.error = error
            return False
        return True

    def _load(self, compiled: Any) -> None:
        self.code = compiled
        self.address = compiled.address(elementwise.NAME)
        self.state = "ready"

    def build(self) -> None:
        """Compile now, unless it is done."""
        with _building:
            if self.address or self.state == "failed":
                return
            try:
                compiled = ir.compile_cpu(self.source())
                self._load(compiled)
                self.origin = "compiled"
            except Exception as error:
                # Tier 0 still gives the result; the error is kept for `livegrad info` and raised in strict tests.
                self.state = "failed"
                self.error = error
                if os.environ.get("LIVEGRAD_STRICT"):
                    raise
                return
        cache.write(cache.name_of(self.describe()), compiled.object_code)


_building = threading.RLock()
if hasattr(os, "register_at_fork"):  # a child must not find the compiler in the middle of something
    os.register_at_fork(before=_building.acquire, after_in_parent=_building.release, after_in_child=_building.release)


class _Builder:
    """One thread that compiles kernels behind the program's back."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self.queue: list[Kernel] = []
        self.wake = threading.Condition()
        self.thread: threading.Thread | None = None
        self.busy = False

    def submit(self, kernel: Kernel) -> None:
        with self.wake:
            self.queue.append(kernel)
            if self.thread is None:
                self.thread = threading.Thread(target=self._work, name="livegrad-compiler", daemon=True)
                self.thread.start()
            self.wake.notify_all()

    def _work(self) -> None:
        while True:
            with self.wake:
                self.busy = False
                self.wake.notify_all()
                while not self.queue:
                    self.wake.wait()
                kernel = self.queue.pop(0)
                self.busy = True
            kernel.build()

    def drain(self, timeout: float | None = None) -> None:
        with self.wake:
            self.wake.wait_for(lambda: not self.queue and not self.busy, timeout)


_builder = _Builder()


def wait_for_compiler(timeout: float | None = None) -> None:
    """Wait until no kernel is being compiled in the background."""
    _builder.drain(timeout)


_maps: dict[tuple, Kernel] = {}
_reductions: dict[tuple, Kernel] = {}
_rows: dict[tuple, Kernel] = {}
_scans: dict[tuple, Kernel] = {}


def _describe_code(code: tuple) -> tuple:
    return tuple((instr.describe(), slots) for instr, slots in body.decode(code))


def code_cost(code: tuple) -> int:
    """What evaluating a program for one element costs, in operations as fast as an addition."""
    return sum(rows.formula_cost(instr.op.expr) for instr, _ in body.decode(code))


def map_kernel(code: tuple, outputs: tuple, classes: tuple, rank: int, streaming: bool) -> Kernel:
    """The kernel of an elementwise program; rank 0 is the flat form."""
    key = (code, outputs, classes, rank, streaming)
    found = _maps.get(key)
    if found is None:
        formats = "q" * (len(outputs) + len(classes)) + body.param_formats(code)

        def describe() -> tuple:
            return ("map", _describe_code(code), outputs, classes, rank, streaming)

        def source() -> str:
            if rank:
                return elementwise.strided_source(code, outputs, classes, rank)
            return elementwise.flat_source(code, outputs, classes, streaming)

        cost = sum(1 for _ in body.decode(code))
        found = _maps[key] = Kernel(describe, source, formats, cost)
    return found


def reduce_kernel(
    scheme: str, name: str, acc: Any, code: tuple, source: Any, classes: tuple, kept: int, outer: int
) -> Kernel:
    """The kernel of a reduction; scheme is "rows" or "columns"."""
    key = (scheme, name, acc, code, source, classes, kept, outer)
    found = _reductions.get(key)
    if found is None:
        formats = "q" * (1 + len(classes)) + body.param_formats(code)

        def describe() -> tuple:
            return (scheme, name, acc.name, _describe_code(code), source.name, classes, kept, outer)

        def text() -> str:
            make = reduction.rows_source if scheme == "rows" else reduction.columns_source
            return make(name, acc, code, source, classes, kept, outer)

        found = _reductions[key] = Kernel(describe, text, formats, 1 + sum(1 for _ in body.decode(code)))
    return found


def row_kernel(shape: rows.Shape) -> Kernel:
    """The kernel of a row program."""
    found = _rows.get(shape.key)
    if found is None:

        def describe() -> tuple:
            inputs = tuple((_describe_code(i.code), i.dtype.name, i.leaves) for i in shape.inputs)
            results = tuple(d.name for d in shape.results)
            layout = (shape.classes, shape.kept, shape.outer, shape.across)
            return ("row program", shape.program.canonical(), shape.compute.name, inputs, results, *layout)

        found = _rows[shape.key] = Kernel(describe, lambda: rows.source(shape), shape.formats(), shape.cost())
    return found


def scan_kernel(
    name: str, code: tuple, dtype: Any, out: Any, classes: tuple, kept: int, across: bool, backwards: bool
) -> Kernel:
    """The kernel of running totals."""
    key = (name, code, dtype, out, classes, kept, across, backwards)
    found = _scans.get(key)
    if found is None:
        formats = "q" * (1 + len(classes)) + body.param_formats(code)

        def describe() -> tuple:
            return ("scan", name, _describe_code(code), dtype.name, out.name, classes, kept, across, backwards)

        cost = 4 + sum(1 for _ in body.decode(code))
        found = _scans[key] = Kernel(describe, lambda: scan.source(*key), formats, cost)
    return found


def count() -> int:
    """How many kernels this process knows."""
    return len(_maps) + len(_reductions) + len(_rows) + len(_scans)
