"""Kernels: compiled programs, and when they are compiled.

A program that is large, or asked for again, is compiled; small one-off work never waits for a compiler. Until its
kernel is there a program runs on tier 0. Kernels are kept in memory by program and on disk by `llvm.cache`; in memory
those that were wanted lately (`_Known`), whose machine code goes with them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..llvm import cache, machine, service
from ..native import hot, slotted
from ..settings import unusable
from . import layout, rowshape

# Elements times operators from which a program is worth waiting for its compilation the first time.
LARGE = 1 << 19
# How often small work must have been seen before it is compiled (in the background).
SEEN = 2


@slotted
class _Policy:
    """mode: auto: as described above. always: compile at once. never: tier 0 only."""

    __slots__ = ("mode",)

    def __init__(self) -> None:
        self.mode = os.environ.get("LIVEGRAD_COMPILE", "auto")


Policy = _Policy()

if Policy.mode not in ("auto", "always", "never"):
    raise unusable("LIVEGRAD_COMPILE", "auto, always or never", Policy.mode)


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


@slotted
class Kernel:
    """A program's kernel: its address once there is one, and how pointers and numbers are packed for it.

    What follows them, the words that describe sizes and strides, is packed by whoever plans the launch.
    """

    __slots__ = ("describe", "source", "pack", "address", "home", "seen", "job", "error", "cost", "origin")

    def __init__(self, describe: Callable[[], tuple], source: Callable[[], str], formats: str, cost: int):
        self.describe = describe
        self.source = source
        self.pack = layout.packing(formats)
        self.address = 0
        self.home: Any = None  # what keeps the code there
        self.seen = 0
        self.job: service.Job | None = None  # that compiles it in the background
        self.error: Exception | None = None  # why it cannot be compiled
        self.cost = cost
        self.origin = "hit"  # for the log: "compiled" or "from disk" until that has been told

    @hot
    def available(self, elements: int) -> bool:
        """Whether there is machine code to call now for that much work; starts or awaits compilation as due."""
        if self.address:
            return Policy.mode != "never"
        mode = Policy.mode
        if mode == "never" or self.error is not None or not machine.compiler_available():
            return False
        self.seen += 1
        if self.seen == 1 and service.call(self._from_disk):
            return True
        if mode == "always" or elements * self.cost >= LARGE:
            self.build()
            return self.address != 0
        if self.job is None and self.seen >= SEEN:
            _import_writers()
            self.job = service.submit(self._make)
        return False

    def build(self) -> None:
        """Compile now, unless it is done. Raises what went wrong where LIVEGRAD_STRICT is set; else tier 0 serves."""
        _import_writers()
        service.call(self._make)
        if self.error is not None and os.environ.get("LIVEGRAD_STRICT"):
            raise self.error

    # On the helper thread, one call after the other:

    def _from_disk(self) -> bool:
        if not self.address:
            code = cache.load(self.describe(), passing=True)
            if code is None:
                return False
            self.origin = "from disk"
            self._take(code)
        return True

    def _make(self) -> None:
        if self.error is not None or self._from_disk():
            return
        try:
            code = cache.make(self.describe(), self.source, passing=True)
            self.origin = "compiled"
            self._take(code)
        except Exception as error:
            self.error = error

    def _take(self, code: machine.CompiledObject) -> None:
        self.home = code.home
        self.address = code.address(layout.NAME)


class NoKernel(Exception):
    """Why a program has no kernel."""


def _checked(kernel: Kernel, *codes: tuple) -> Kernel:
    """A kernel that is just made; tier 0 serves where functions of complex numbers have none."""
    for code in codes:
        if layout.beyond_parts(code):
            kernel.error = NoKernel("some function of complex numbers has no kernel")
    return kernel


def _import_writers() -> None:
    """Load the modules that write kernels: with the first kernel to be written, and before it (see `service`)."""
    service.load("livegrad.codegen.elementwise", "livegrad.codegen.reduction")


def wait_for_compiler(timeout: float | None = None) -> None:
    """Wait until no kernel is being compiled in the background."""
    service.drain(timeout)


class _Known:
    """Kernels by key: as many as were wanted last, so that a program of ever new structures does not grow for ever.

    They are of two generations. When the younger one is full it becomes the older one, whose kernels go; all plans go
    too, so a kernel that is in use is soon asked for again, and is young again. Thus nothing has to be noted when one
    runs. Whoever holds a kernel that has gone from here may go on using it.
    """

    def __init__(self, most: int):
        self.most = most  # in a generation
        self.young: dict[tuple, Kernel] = {}
        self.old: dict[tuple, Kernel] = {}
        self.plans: list[dict] = []

    def get(self, key: tuple) -> Kernel | None:
        found = self.young.get(key)
        if found is None:
            found = self.old.get(key)
            if found is not None:
                self.add(key, found)
        return found

    def add(self, key: tuple, kernel: Kernel) -> Kernel:
        if len(self.young) >= self.most:
            self.old, self.young = self.young, {}
            for plans in self.plans:
                plans.clear()
        self.young[key] = kernel
        return kernel

    def __len__(self) -> int:
        return len(self.young.keys() | self.old.keys())


KNOWN = _Known(1024)


def holds_plans(plans: dict) -> dict:
    """Declare that the values of a dict hold kernels; from time to time it is emptied."""
    KNOWN.plans.append(plans)
    return plans


def describe_code(code: tuple) -> tuple:
    return tuple((instr.describe(), slots) for instr, slots in layout.decode(code))


@functools.lru_cache(4096)
def code_cost(code: tuple) -> int:
    """What evaluating a program for one element costs, in operations as fast as an addition."""
    return sum(rowshape.formula_cost(instr.op.expr) for instr, _ in layout.decode(code))


def map_kernel(code: tuple, outputs: tuple, classes: tuple, rank: int, streaming: bool) -> Kernel:
    """The kernel of an elementwise program; rank 0 is the flat form."""
    key = ("map", code, outputs, classes, rank, streaming)
    found = KNOWN.get(key)
    if found is None:
        formats = "q" * (len(outputs) + len(classes)) + layout.param_formats(code)

        def describe() -> tuple:
            return ("map", describe_code(code), outputs, classes, rank, streaming)

        def source() -> str:
            from . import elementwise

            if rank:
                return elementwise.strided_source(code, outputs, classes, rank)
            return elementwise.flat_source(code, outputs, classes, streaming)

        cost = sum(1 for _ in layout.decode(code))
        found = KNOWN.add(key, _checked(Kernel(describe, source, formats, cost), code))
    return found


def reduce_kernel(
    scheme: str, name: str, acc: Any, code: tuple, source: Any, classes: tuple, kept: int, outer: int, writes: bool
) -> Kernel:
    """The kernel of a reduction; scheme is "rows" or "columns". writes: see `codegen.reduction`."""
    key = (scheme, name, acc, code, source, classes, kept, outer, writes)
    found = KNOWN.get(key)
    if found is None:
        formats = "q" * (1 + len(classes)) + layout.param_formats(code) + "d" * layout.REDUCTIONS[name].divides

        def describe() -> tuple:
            return (scheme, name, acc.name, describe_code(code), source.name, classes, kept, outer, writes)

        def text() -> str:
            from . import reduction

            make = reduction.rows_source if scheme == "rows" else reduction.columns_source
            return make(name, acc, code, source, classes, kept, outer, writes)

        made = Kernel(describe, text, formats, 1 + sum(1 for _ in layout.decode(code)))
        found = KNOWN.add(key, _checked(made, code))
    return found


def row_kernel(shape: rowshape.Shape) -> Kernel:
    """The kernel of a row program."""
    key = ("row program", shape.key)
    found = KNOWN.get(key)
    if found is None:

        def describe() -> tuple:
            inputs = tuple((describe_code(i.code), i.dtype.name, i.leaves) for i in shape.inputs)
            results = tuple(d.name for d in shape.results)
            place = (shape.classes, shape.kept, shape.outer, shape.across)
            return ("row program", shape.program.canonical(), shape.compute.name, inputs, results, *place)

        def source() -> str:
            from . import rows

            return rows.source(shape)

        made = Kernel(describe, source, shape.formats(), shape.cost())
        found = KNOWN.add(key, _checked(made, *[i.code for i in shape.inputs]))
    return found


def scan_kernel(
    name: str, code: tuple, dtype: Any, out: Any, classes: tuple, kept: int, across: bool, backwards: bool
) -> Kernel:
    """The kernel of running totals."""
    described = (name, code, dtype, out, classes, kept, across, backwards)
    key = ("scan", *described)
    found = KNOWN.get(key)
    if found is None:
        formats = "q" * (1 + len(classes)) + layout.param_formats(code)

        def describe() -> tuple:
            return ("scan", name, describe_code(code), dtype.name, out.name, classes, kept, across, backwards)

        def source() -> str:
            from . import scan

            return scan.source(*described)

        made = Kernel(describe, source, formats, 4 + sum(1 for _ in layout.decode(code)))
        found = KNOWN.add(key, _checked(made, code))
    return found


def count() -> int:
    """How many kernels this process knows."""
    return len(KNOWN)
