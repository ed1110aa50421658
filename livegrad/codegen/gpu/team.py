"""Threads that work on one row together, and how they bring together what each has found.

A block has `target.THREADS` threads. Either the `lanes` threads of a team are neighbours (rows: they read neighbouring
elements of a row), or the teams are (columns: neighbouring threads read neighbouring rows, which lie side by side in
memory). What a team finds depends on nothing but the number of its lanes: always the same tree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import Builder, Reg, kind_bytes
from .target import THREADS, special

ROWS, COLUMNS = "rows", "columns"
WARP = 32
Combine = Callable[[Reg, Reg], Reg]


def barrier(b: Builder) -> None:
    """All threads of the block wait for each other, and see what each has written."""
    b.declare("declare void @llvm.nvvm.barrier0()")
    b.call("llvm.nvvm.barrier0", None, [])


def shuffle(b: Builder, mode: str, x: Reg, lane: int, clamp: int) -> Reg:
    """A value of another lane of the warp; mode: bfly or up (see `shfl.sync` in PTX's manual). All lanes take part."""
    name = f"llvm.nvvm.shfl.sync.{mode}.i32"
    b.declare(f"declare i32 @{name}(i32, i32, i32, i32)")

    def move(word: Reg) -> Reg:
        return b.call(name, "i32", ["i32 -1", word, f"i32 {lane}", f"i32 {clamp}"])  # type: ignore[return-value]

    kind = x.kind
    if kind_bytes(kind) == 8:
        bits = b.bitcast(x, "i64") if kind == "f64" else x
        low = b.convert(bits, "i32")
        high = b.convert(b.lshr(bits, b.const("i64", 32, 1)), "i32")
        low, high = (b.convert(move(w), "i64", signed=False) for w in (low, high))
        both = b.or_(b.shl(high, b.const("i64", 32, 1)), low)
        return b.bitcast(both, "f64") if kind == "f64" else both
    if kind == "f32":
        return b.bitcast(move(b.bitcast(x, "i32")), "f32")
    return b.convert(move(b.convert(x, "i32", signed=False)), kind)


class Team:
    """The team of a thread. lane: the thread's place in it. place: which of the block's teams it is (both i64).

    teams: how many a block has.
    """

    def __init__(self, b: Builder, layout: str, lanes: int):
        if lanes & (lanes - 1) or not 1 <= lanes <= THREADS or (layout == ROWS and WARP < lanes < THREADS):
            raise ValueError(f"a team of {lanes} lanes in {layout}")
        self.b, self.layout, self.lanes = b, layout, lanes
        self.teams = THREADS // lanes
        self.thread = b.convert(special(b, "tid.x"), "i64", signed=False)
        fast = b.const("i64", lanes if layout == ROWS else self.teams, 1)
        inside, outside = b.urem(self.thread, fast), b.udiv(self.thread, fast)
        self.lane, self.place = (inside, outside) if layout == ROWS else (outside, inside)

    def first(self) -> Reg:
        """Whether this thread is the first of its team."""
        return self.b.icmp("eq", self.lane, self.b.const("i64", 0, 1))

    def gather(self, values: Sequence[Reg], combine: Sequence[Combine]) -> list[Reg]:
        """Each value combined over the team; every thread has the results. All threads of the block come here."""
        values = list(values)
        if self.lanes == 1 or not values:
            return values
        if self.layout == COLUMNS:
            return self._in_memory(values, combine)
        distance = min(self.lanes, WARP) // 2
        while distance:
            values = [f(x, shuffle(self.b, "bfly", x, distance, 31)) for f, x in zip(combine, values)]
            distance //= 2
        return values if self.lanes <= WARP else self._of_warps(values, combine)

    def shared(self, k: int, kind: str, count: int = THREADS) -> str:
        """Shared memory for the k-th value."""
        return self.b.module.shared(f"team_{k}_{kind}", kind, count)

    def _of_warps(self, values: list[Reg], combine: Sequence[Combine]) -> list[Reg]:
        b = self.b
        warps = THREADS // WARP
        memory = [self.shared(k, x.kind, warps) for k, x in enumerate(values)]
        in_warp, warp = b.urem(self.thread, b.const("i64", WARP, 1)), b.udiv(self.thread, b.const("i64", WARP, 1))
        with b.when(b.icmp("eq", in_warp, b.const("i64", 0, 1))):
            for m, x in zip(memory, values):
                b.store(x, b.gep(m, x.kind, warp))
        barrier(b)
        made = []
        for m, x, f in zip(memory, values, combine):
            parts = [b.load(b.gep(m, x.kind, w), x.kind, width=1) for w in range(warps)]
            while len(parts) > 1:
                parts = [f(p, q) for p, q in zip(parts[::2], parts[1::2])]
            made.append(parts[0])
        barrier(b)  # before the memory is used again
        return made

    def _in_memory(self, values: list[Reg], combine: Sequence[Combine]) -> list[Reg]:
        b = self.b
        memory = [self.shared(k, x.kind) for k, x in enumerate(values)]
        for m, x in zip(memory, values):
            b.store(x, b.gep(m, x.kind, self.thread))
        distance = self.lanes // 2
        while distance:
            barrier(b)
            with b.when(b.icmp("slt", self.lane, b.const("i64", distance, 1))):
                other = b.add(self.thread, b.const("i64", distance * self.teams, 1))
                for m, x, f in zip(memory, values, combine):
                    mine = b.gep(m, x.kind, self.thread)
                    theirs = b.load(b.gep(m, x.kind, other), x.kind, width=1)
                    b.store(f(b.load(mine, x.kind, width=1), theirs), mine)
            distance //= 2
        barrier(b)
        made = [b.load(b.gep(m, x.kind, self.place), x.kind, width=1) for m, x in zip(memory, values)]
        barrier(b)
        return made
