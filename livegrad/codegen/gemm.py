"""The kernel of matrix products of middling size: C = S + A @ B, with S zeros, C itself, or a row for all rows.

A library copies both operands into an order of its own before it multiplies, which at these sizes costs a good part of
the time, and cannot start from a bias. Here a work item is a panel of columns of C by a group of its rows: the panel's
part of B is copied once, block of k by block of k, and A, plain or transposed, is read where it is: a step of the
inner loop takes one number of each of a few rows, which lie in few cache lines either way.

The sum of an element runs in the order of k, whatever the groups are, so a result does not depend on threads.

Arguments, 64 bits each: the pointers and numbers below. Distances are in elements. `panels` and `groups` say how many
there are of one product, `group` how many rows a group has.
"""

from __future__ import annotations

from .elementwise import NAME, Arguments
from .ir import Module, Reg, type_text
from .product import call_rows, define_rows, lanes_of, moved, transposed, vectors_of_panel

POINTERS = ("a", "b", "c", "s")
NUMBERS = (
    "m", "n", "k", "a.row", "a.k", "b.row", "c.row", "s.row", "s.column", "a.batch", "b.batch", "c.batch", "panels",
    "groups", "group",
)  # fmt: skip
FORMATS = "q" * (len(POINTERS) + len(NUMBERS))
DEPTH = 128  # how many k a block has


def panel_of(kind: str) -> int:
    """Columns of a panel."""
    return vectors_of_panel() * lanes_of(kind)


class _Product:
    """The builder, and the arguments."""

    def __init__(self, kind: str, b_transposed: bool):
        self.kind, self.width = kind, lanes_of(kind)
        self.b_transposed = b_transposed
        self.module = Module("cpu")
        parameters = [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")]
        self.b = self.module.function(NAME, parameters, self.width)
        args = Arguments(self.b)
        self.p = {name: args.pointer() for name in POINTERS}
        self.n = {name: args.word() for name in NUMBERS}
        self.vectors = range(vectors_of_panel())
        self.panel = len(self.vectors) * self.width
        self.b_block = "%b.block"
        self.b.line(f"%b.block = alloca {type_text(kind)}, i64 {DEPTH * self.panel}, align 64")

    def number(self, value: int) -> Reg:
        return self.b.const("i64", value, 1)

    def at(self, pointer: str, *steps: tuple) -> str:
        return moved(self.b, pointer, self.kind, *steps)

    def copy_panel(self, source: str, depth: Reg) -> None:
        """A whole panel of a block of B: `source` is its first element."""
        b, row = self.b, self.n["b.row"]
        if not self.b_transposed:
            with b.loop(0, depth) as ks:
                line = self.at(source, (ks.i, row))
                target = self.at(self.b_block, (ks.i, self.number(self.panel)))
                for v in self.vectors:
                    part = b.load(b.gep(line, self.kind, v * self.width), self.kind)
                    b.store(part, b.gep(target, self.kind, v * self.width), align=64)
            return
        whole = b.and_(depth, self.number(-self.width))
        with b.loop(0, self.panel, self.width) as columns, b.loop(0, whole, self.width) as ks:
            lines = []
            for lane in range(self.width):
                line = self.at(source, (b.add(columns.i, self.number(lane)), row))
                lines.append(b.load(b.gep(line, self.kind, ks.i), self.kind))
            for lane, line in enumerate(transposed(b, lines)):
                target = self.at(self.b_block, (b.add(ks.i, self.number(lane)), self.number(self.panel)))
                b.store(line, b.gep(target, self.kind, columns.i), align=64)
        self._copy_each(source, whole, depth, self.number(self.panel))

    def copy_part(self, source: str, depth: Reg, columns: Reg) -> None:
        """The first columns of a panel; the others become zeros."""
        b = self.b
        masks = [
            b.icmp("slt", b.iota("i64"), b.splat(b.sub(columns, self.number(v * self.width)))) for v in self.vectors
        ]
        with b.loop(0, depth) as ks:
            line = self.at(source, (ks.i, self.n["b.row"]))
            target = self.at(self.b_block, (ks.i, self.number(self.panel)))
            for v in self.vectors:
                x = b.const(self.kind, 0.0)
                if not self.b_transposed:
                    x = b.load_some(b.gep(line, self.kind, v * self.width), self.kind, masks[v])
                b.store(x, b.gep(target, self.kind, v * self.width), align=64)
        if self.b_transposed:
            self._copy_each(source, self.number(0), depth, columns)

    def _copy_each(self, source: str, low: Reg, high: Reg, columns: Reg) -> None:
        b, row, one = self.b, self.n["b.row"], self.number(1)
        with b.loop(low, high) as ks, b.loop(0, columns) as each:
            steps = ((each.i, row), (ks.i, one)) if self.b_transposed else ((ks.i, row), (each.i, one))
            x = b.load(self.at(source, *steps), self.kind, width=1)
            b.store(x, self.at(self.b_block, (ks.i, self.number(self.panel)), (each.i, one)))

    def rows(self, product: Reg, first: Reg, rows: Reg, column: Reg, k0: Reg, depth: Reg, part: Reg | None) -> None:
        """Multiply rows with the block of B that was copied; `part` is how many columns of the panel there are."""
        b, one, width, panel = self.b, self.number(1), self.number(self.width), self.number(self.panel)
        a_row, a_k, c_row = self.n["a.row"], self.n["a.k"], self.n["c.row"]
        a = self.at(self.p["a"], (product, self.n["a.batch"]), (first, a_row), (k0, a_k))
        c = self.at(self.p["c"], (product, self.n["c.batch"]), (first, c_row), (column, one))
        s = self.at(self.p["s"], (first, self.n["s.row"]), (column, self.n["s.column"]))
        is_first = b.icmp("eq", k0, self.number(0))
        name = b.fresh("start")
        b.line(f"%{name} = select {is_first.operand}, ptr {s}, ptr {c}")
        start, start_row = f"%{name}", b.select(is_first, self.n["s.row"], c_row)
        if part is None:
            call_rows(
                b, "panel", a, a_row, a_k, self.b_block, panel, c, c_row, width, depth, rows, start, start_row
            )  # fmt: skip
            return
        pairs = self.number(0)
        if len(self.vectors) > 2:  # else a pair is a whole panel
            pairs = b.and_(part, self.number(-2 * self.width))
            with b.loop(0, pairs, 2 * self.width) as vectors:
                places = [b.gep(p, self.kind, vectors.i) for p in (self.b_block, c)]
                start_here = self.at(start, (vectors.i, b.select(is_first, self.n["s.column"], one)))
                call_rows(
                    b, "pair", a, a_row, a_k, places[0], panel, places[1], c_row, width, depth, rows, start_here,
                    start_row,
                )  # fmt: skip
        with b.loop(pairs, part, self.width) as vectors:
            places = [b.gep(p, self.kind, vectors.i) for p in (self.b_block, c)]
            start_here = self.at(start, (vectors.i, b.select(is_first, self.n["s.column"], one)))
            lanes = b.smin(width, b.sub(part, vectors.i))
            call_rows(
                b, "vector", a, a_row, a_k, places[0], panel, places[1], c_row, width, depth, rows, start_here,
                start_row, lanes,
            )  # fmt: skip


def source(kind: str, b_transposed: bool) -> str:
    """LLVM IR of the kernel. Where `s.column` is 0, S is one panel wide, the same for all."""
    g = _Product(kind, b_transposed)
    b, n, one = g.b, g.n, g.number(1)
    define_rows(g.module, "panel", kind, (True,) * len(g.vectors))
    if len(g.vectors) > 2:
        define_rows(g.module, "pair", kind, (True,) * 2)
    define_rows(g.module, "vector", kind, (True,), partly="sc")
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        of_panels = b.udiv(items.i, n["groups"])
        first = b.mul(b.urem(items.i, n["groups"]), n["group"])
        product, column = b.udiv(of_panels, n["panels"]), b.mul(b.urem(of_panels, n["panels"]), g.number(g.panel))
        rows = b.smin(n["group"], b.sub(n["m"], first))
        columns = b.smin(g.number(g.panel), b.sub(n["n"], column))
        steps = (n["b.row"], one) if b_transposed else (one, n["b.row"])
        with b.loop(0, n["k"], DEPTH) as depths:
            k0 = depths.i
            depth = b.smin(g.number(DEPTH), b.sub(n["k"], k0))
            right = g.at(g.p["b"], (product, n["b.batch"]), (column, steps[0]), (k0, steps[1]))
            whole, part, done = b.fresh("whole"), b.fresh("part"), b.fresh("done")
            b.cond_br(b.icmp("eq", columns, g.number(g.panel)), whole, part)
            b.label(whole)
            g.copy_panel(right, depth)
            g.rows(product, first, rows, column, k0, depth, None)
            b.br(done)
            b.label(part)
            g.copy_part(right, depth, columns)
            g.rows(product, first, rows, column, k0, depth, columns)
            b.label(done)
    return g.module.text()
