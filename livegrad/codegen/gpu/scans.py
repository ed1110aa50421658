"""Running totals for GPUs: sums, products and extremes along a dimension, forwards or backwards.

rows: the innermost dimension is walked. A warp, or a block for long rows, takes as many elements as it has threads at a
time: each warp scans its part by doubling, takes in what the warps before it have, and all take in the total so far.
columns: the innermost dimension is kept. A thread walks a row of its own; neighbouring rows lie side by side.

Totals are carried in float64 for float32, as on the CPU (see `layout.running_dtype`).

Parameters: pointers of the result and the leaves, Python numbers; the number of rows and their length; then the words
of `space`, whose last operand is the result.
"""

from __future__ import annotations

import struct

from ... import dtypes
from ..body import emit_body
from ..ir import Reg
from ..kernels import describe_code
from ..layout import SCANS, leaf_dtypes, param_formats, running_dtype
from ..lower import lower
from .kernels import Kernel, Launch, of_reals
from .space import Layout, Leaves, Space, count_words, read_words
from .target import THREADS, entry, special
from .team import COLUMNS, ROWS, WARP, Team, barrier, shuffle

SHORT = 1024  # elements of a row that a warp takes

_kernels: dict[tuple, Kernel] = {}


def plan(
    name: str, code: tuple, source: dtypes.dtype, out: dtypes.dtype, layout: Layout, columns: bool, backwards: bool
) -> Launch:
    """The launch of running totals of at least one element. The last operand of the layout is the result.

    name: one of `layout.SCANS`. source, out: dtypes of what is added up and of the result.
    """
    lanes = 1 if columns else WARP if layout.length <= SHORT else THREADS
    place = (name, code, source, out, layout.key, lanes, backwards)
    kernel = _kernels.get(place)
    if kernel is None:
        formats = "q" * len(layout.key[0]) + param_formats(code)
        words = len(formats) + 2 + count_words(layout.key)
        key = layout.key

        def describe() -> tuple:
            return ("running totals", name, describe_code(code), source.name, out.name, key, lanes, backwards)

        made = Kernel(describe, lambda: _Emitter(*place, words).emit(), formats, words)
        kernel = _kernels[place] = of_reals(made, code, source, out)
    numbers = [layout.rows, layout.length, *layout.words()]
    return Launch(kernel, -(-layout.rows // (THREADS // lanes)), struct.pack(f"={len(numbers)}q", *numbers))


class _Emitter:
    def __init__(
        self, name: str, code: tuple, source: dtypes.dtype, out: dtypes.dtype, key: tuple, lanes: int, backwards: bool,
        words: int,
    ):  # fmt: skip
        self.primitive, neutral = SCANS[name]
        self.code, self.source, self.out_dtype, self.backwards = code, source, out, backwards
        self.acc = running_dtype(source)
        self.neutral = neutral(self.acc)
        self.module, self.b, self.args = entry(words)
        args = self.args
        classes = key[0][:-1]
        own = leaf_dtypes(code, len(classes)) if code else [source]
        self.out = args.pointer()
        given = read_words(args, own, classes)
        self.numbers = args.numbers(code)
        self.rows, self.length = args.word(), args.word()
        self.space = Space(self.b, args, key)
        self.leaves = Leaves(self.b, given, own, classes)
        self.last = len(classes)  # the result's place among the operands
        self.team = Team(self.b, COLUMNS if lanes == 1 else ROWS, lanes)

    def number(self, value: int) -> Reg:
        return self.b.const("i64", value, 1)

    def start(self) -> Reg:
        return self.b.const(self.acc.compute_kind, self.neutral, 1)

    def combine(self, x: Reg, y: Reg) -> Reg:
        return lower(self.b, self.primitive, [x, y], self.acc)

    def emit(self) -> str:
        b, team = self.b, self.team
        block = b.convert(special(b, "ctaid.x"), "i64", signed=False)
        row = b.add(b.mul(block, self.number(team.teams)), team.place)
        self.there = b.icmp("slt", row, self.rows)
        coords = self.space.coordinates(b.select(self.there, row, self.number(0)), 0)
        self.at = self.leaves.row(self.space, coords)
        self.target = self.space.moved(self.out, self.out_dtype.kind, self.last, coords, 0)
        if team.lanes == 1:
            end = b.select(self.there, self.length, self.number(0))
            with b.loop(0, end, 1, [self.start()]) as loop:
                coords = self.space.coordinates(self._place(loop.i), 1)
                total = self.combine(loop.values[0], self._value(coords))
                self._store(total, coords)
                loop.next(total)
        else:
            with b.loop(0, self.length, team.lanes, [self.start()]) as loop:
                loop.next(self._step(loop.i, loop.values[0]))
        return self.args.finish(self.module)

    def _place(self, i: Reg) -> Reg:
        """Which element is the i-th to be walked over."""
        return self.b.sub(self.b.sub(self.length, self.number(1)), i) if self.backwards else i

    def _step(self, first: Reg, carried: Reg) -> Reg:
        """The team's next elements, from the one at a distance from the start on; returns the total after them."""
        b = self.b
        i = b.add(first, self.team.lane)
        inside = b.icmp("slt", i, self.length)
        coords = self.space.coordinates(self._place(b.select(inside, i, self.number(0))), 1)
        x = b.select(inside, self._value(coords), self.start())
        x, total = self._scanned(x)
        with b.when(b.and_(inside, self.there)):
            self._store(self.combine(carried, x), coords)
        return self.combine(carried, total)

    def _scanned(self, x: Reg) -> tuple[Reg, Reg]:
        """Each lane combined with all before it, and all lanes together."""
        b, kind = self.b, x.kind
        lane = b.urem(self.team.thread, self.number(WARP))
        distance = 1
        while distance < WARP:
            before = shuffle(b, "up", x, distance, 0)
            x = b.select(b.icmp("sge", lane, self.number(distance)), self.combine(before, x), x)
            distance *= 2
        if self.team.lanes == WARP:
            return x, shuffle(b, "idx", x, WARP - 1, 31)
        warps = THREADS // WARP
        warp = b.udiv(self.team.thread, self.number(WARP))
        memory = self.team.shared(0, kind, warps)
        with b.when(b.icmp("eq", lane, self.number(WARP - 1))):
            b.store(x, b.gep(memory, kind, warp))
        barrier(b)
        before, total = self.start(), self.start()
        for w in range(warps):
            part = b.load(b.gep(memory, kind, w), kind, width=1)
            before = b.select(b.icmp("eq", warp, self.number(w)), total, before)
            total = self.combine(total, part)
        barrier(b)  # before the memory is used again
        return self.combine(before, x), total

    def _value(self, coords: list[Reg]) -> Reg:
        b = self.b

        def leaf(k: int) -> Reg:
            return self.leaves.read(self.space, self.at, k, coords)

        made = emit_body(b, self.code, leaf, self.numbers)[-1] if self.code else leaf(0)
        signed = self.source.is_signed if self.source.category < 2 else self.acc.is_signed
        return b.convert(made, self.acc.compute_kind, signed)

    def _store(self, value: Reg, coords: list[Reg]) -> None:
        kind = self.out_dtype.kind
        made = self.b.convert(value, kind, self.acc.is_signed)
        self.b.store(made, self.space.moved(self.target, kind, self.last, coords, 1))
