"""Kernels of matrix products on the processor's tile unit (Intel AMX), float32 at float32's accuracy.

The unit multiplies bfloat16 numbers sixteen times as fast as vector instructions multiply float32, and adds in
float32. A float32 number is exactly the sum of three bfloat16 numbers, x = x0 + x1 + x2: the nearest one, and what is
left eight bits at a time, of either sign. Of the nine products of parts the three smallest, 2**-25 and less of the
whole, are left out: six remain, and the error is that of adding in float32, in fewer and better grouped additions than
a chain of multiply-adds has. The method is that of Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial
Intelligence Datatype For Higher-Precision Computations" (2019). float16 numbers take two parts and bfloat16 one.

Operands are packed as tiles of parts, in squares of 32 lines (rows of A, columns of B): B by a kernel of its own
(`pack_source`), since all rows of A meet it; A by the kernel that multiplies (`source`), 32 rows at a time, which then
stay near while all columns pass by. It packs the rows that come next before it multiplies those that it has: what was
written just now takes the unit long to load (measured on Granite Rapids: a microsecond for each 32 rows).

The unit takes subnormal numbers for zeros, and an infinity has no parts. So packing also looks at the largest number
of each line, and says when the unit is not for them.
"""

from __future__ import annotations

from collections.abc import Callable

from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg
from .product import transposed

EDGE = 16  # lines of a tile: rows of A, columns of B, rows and columns of C
SQUARE = 2 * EDGE  # lines of a square of tiles
DEPTH = 32  # how many k a tile has
BLOCK = 8  # tiles of k of a block: sums of such blocks are added up, and what is packed of A fits into the cache
TILE_BYTES = 1024
MOST_SQUARES = 16  # that are packed together where the lines of a k are neighbours
_GROUPS, _PACKED_DEPTH = {True: 1, False: 8}, {True: 8, False: 4}  # squares, and tiles of k, by `along`
PARTS = {"f32": 3, "f16": 2, "bf16": 1}
# Which part of A times which of B, the small ones first; each differs in one from the one before, which stays loaded.
_PRODUCTS = {
    "f32": ((0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0)),
    "f16": ((0, 1), (1, 1), (1, 0), (0, 0)),
    "bf16": ((0, 0),),
}
# A line whose largest number is outside is not for the unit: its low parts would be lost, or its first is no number.
_LEAST_BITS, _MOST_BITS = 27 << 23, 254 << 23  # 2**-100, 2**127

PACK_POINTERS = ("x", "out", "bad")
PACK_NUMBERS = ("lines", "k", "line", "step", "batch", "squares", "groups", "blocks")
PACK_FORMATS = "q" * (len(PACK_POINTERS) + len(PACK_NUMBERS))

POINTERS = ("a", "b", "c", "s", "sums", "bad")
NUMBERS = (
    "m", "n", "k", "a.line", "a.step", "a.batch", "c.row", "s.row", "s.column", "c.batch", "b.squares", "down",
    "across", "rows", "columns", "b.batch",
)  # fmt: skip
FORMATS = "q" * (len(POINTERS) + len(NUMBERS))


def packed_bytes(kind: str, squares: int, k: int) -> int:
    """Bytes of so many packed squares."""
    return squares * -(-k // DEPTH) * PARTS[kind] * 2 * TILE_BYTES


# ----------------------------------------------------------------------------------------------------------- packing


class _Packer:
    """Writes squares of lines as tiles: for each 32 k, for each part, the tiles of the first 16 lines and the others.

    `along`: the k of a line are neighbours in memory; otherwise the lines of a k are. `by_lines`: a tile has a row for
    each line, with 32 k in it (as A's); otherwise a row for each pair of k, with 16 lines of two (as B's). The k of a
    pair are 16 apart. Numbers of k that do not exist are zeros; lines that do not exist are anything.
    """

    def __init__(self, b: Builder, kind: str, along: bool, by_lines: bool):
        self.b, self.kind, self.along, self.by_lines = b, kind, along, by_lines
        self.parts = PARTS[kind]
        self.lane = b.iota("i64")
        if not along:  # the largest numbers so far of each line
            b.line(f"%most = alloca [{MOST_SQUARES * SQUARE} x i32], align 64")
            if by_lines:
                b.line(f"%turning = alloca [{self.parts * 2 * TILE_BYTES} x i8], align 64")

    def number(self, value: int) -> Reg:
        return self.b.const("i64", value, 1)

    def pack(self, source: str, out: str, lines: Reg, k: Reg, line: Reg, step: Reg, squares: Reg, distance: Reg) -> Reg:
        """Pack `k` numbers of each line, `source` being the first; gives whether there are lines not for the unit.

        Where the lines of a k are neighbours B has some `squares`, `distance` bytes apart in `out`, so that what is
        read at once is long. Otherwise there is one.
        """
        b = self.b
        if not self.along:
            return self._across(source, out, lines, k, step, squares, distance)
        bad = self._along(source, out, lines, k, line)
        if not self.by_lines:
            tiles = b.mul(b.udiv(b.add(k, self.number(DEPTH - 1)), self.number(DEPTH)), self.number(2 * self.parts))
            with b.loop(0, squares) as which:
                place = b.gep(out, "i8", b.mul(which.i, distance))
                self._turn(place, place, tiles)
        return bad

    def _turn(self, source: str, target: str, count: Reg) -> None:
        """Transpose some tiles, as squares of 32-bit words."""
        b = self.b
        with b.loop(0, count) as each:
            tile, out = (b.gep(p, "i8", b.mul(each.i, self.number(TILE_BYTES))) for p in (source, target))
            rows = [b.load(b.gep(tile, "i32", i * EDGE), "i32", align=64) for i in range(EDGE)]
            for i, row in enumerate(transposed(b, rows)):
                b.store(row, b.gep(out, "i32", i * EDGE), align=64)

    def fetch_ahead(self, source: str, low: Reg, high: Reg, k: Reg, line: Reg) -> None:
        """Have the cache fetch 32 k, from `k` on, of some lines that are packed soon."""
        b = self.b
        with b.loop(low, high) as each:
            here = b.gep(source, self.kind, b.add(b.mul(each.i, line), k))
            for h in range(2):
                b.prefetch(b.gep(here, self.kind, h * EDGE))

    def _along(self, source: str, out: str, lines: Reg, k: Reg, line: Reg) -> Reg:
        """A row after the other. Rows that do not exist are copies of the last."""
        b = self.b
        whole = b.and_(k, self.number(-DEPTH))
        with b.loop(0, SQUARE, 1, [self.number(0)]) as each:
            row = b.gep(source, self.kind, b.mul(b.smin(each.i, b.sub(lines, self.number(1))), line))
            place = b.add(b.mul(b.lshr(each.i, self.number(4)), self.number(TILE_BYTES)),
                          b.mul(b.and_(each.i, self.number(EDGE - 1)), self.number(64)))  # fmt: skip
            target = b.gep(out, "i8", place)
            most = b.const("i32", 0)
            for start, end in ((self.number(0), whole), (whole, k)):
                with b.loop(start, end, DEPTH, [most]) as ks:
                    here = b.gep(row, self.kind, ks.i)
                    masks: list[Reg | None] = [None, None]
                    if start is whole:
                        left = b.sub(k, ks.i)
                        masks = [
                            b.icmp("slt", self.lane, b.splat(b.sub(left, self.number(h * EDGE)))) for h in range(2)
                        ]
                    words, largest = self._words([b.gep(here, self.kind, h * EDGE) for h in range(2)], masks)
                    for part, word in enumerate(words):
                        tile = b.mul(ks.i, self.number(self.parts * 2 * TILE_BYTES // DEPTH))
                        b.store(word, b.gep(b.gep(target, "i8", tile), "i8", part * 2 * TILE_BYTES), align=64)
                    ks.next(b.umax(largest, ks.values[0]))
                most = ks.values[0]
            outside = self._outside(b.reduce(most, b.umax))
            each.next(b.select(outside, self.number(1), each.values[0]))
        return b.icmp("ne", each.values[0], self.number(0))

    def _across(self, source: str, out: str, lines: Reg, k: Reg, step: Reg, squares: Reg, distance: Reg) -> Reg:
        """A pair of k after the other, for the lines of all squares. Tiles that have to be turned round are of one."""
        b = self.b
        whole = b.and_(k, self.number(-DEPTH))
        with b.loop(0, b.mul(squares, self.number(SQUARE)), EDGE) as each:
            b.store(b.const("i32", 0), b.gep("%most", "i32", each.i), align=64)
        for start, end in ((self.number(0), whole), (whole, k)):
            limit = k if start is whole else None
            with b.loop(start, end, DEPTH) as ks:
                target = b.gep(out, "i8", b.mul(ks.i, self.number(self.parts * 2 * TILE_BYTES // DEPTH)))
                if self.by_lines:
                    with b.loop(0, EDGE) as pairs:
                        self._pair(source, "%turning", lines, ks.i, pairs.i, step, self.number(0), limit)
                    self._turn("%turning", target, self.number(2 * self.parts))
                else:
                    with b.loop(0, EDGE) as pairs, b.loop(0, squares) as which:
                        here = b.gep(target, "i8", b.mul(which.i, distance))
                        self._pair(source, here, lines, ks.i, pairs.i, step, which.i, limit)
        with b.loop(0, b.mul(squares, self.number(SQUARE)), EDGE, [self.number(0)]) as each:
            outside = b.any(self._outside(b.load(b.gep("%most", "i32", each.i), "i32", align=64)))
            each.next(b.select(outside, self.number(1), each.values[0]))
        return b.icmp("ne", each.values[0], self.number(0))

    def _pair(
        self, source: str, tiles: str, lines: Reg, k0: Reg, pair: Reg, step: Reg, square: Reg, limit: Reg | None
    ) -> None:
        """A pair of k for the lines of a square. limit: how many k there are, unless both exist for certain."""
        b = self.b
        target = b.gep(tiles, "i8", b.mul(pair, self.number(64)))
        at = [b.add(k0, b.add(pair, self.number(h * EDGE))) for h in range(2)]
        rows = [b.gep(source, self.kind, b.mul(place, step)) for place in at]
        first = b.mul(square, self.number(SQUARE))
        for t in range(2):
            column = b.add(first, self.number(t * EDGE))
            masks = exists = [b.icmp("slt", self.lane, b.splat(b.sub(lines, column)))] * 2
            if limit is not None:
                masks = [b.and_(e, b.splat(b.icmp("slt", place, limit))) for e, place in zip(exists, at)]
            if self.by_lines:
                for row in rows:
                    b.prefetch(b.gep(row, self.kind, b.add(column, self.number(SQUARE))))
            words, largest = self._words([b.gep(row, self.kind, column) for row in rows], masks)
            most = b.gep("%most", "i32", column)
            b.store(b.umax(largest, b.load(most, "i32", align=64)), most, align=64)
            for part, word in enumerate(words):
                b.store(word, b.gep(target, "i8", (2 * part + t) * TILE_BYTES), align=64)

    def _words(self, places: list[str], masks: list) -> tuple[list[Reg], Reg]:
        """For each part the pairs of 16 numbers and 16 others, and the larger of each two as bits."""
        b, kind = self.b, self.kind
        xs = [b.load(p, kind) if m is None else b.load_some(p, kind, m) for p, m in zip(places, masks)]
        xs = [x if kind == "f32" else b.convert(x, "f32") for x in xs]
        sizes = [b.and_(b.bitcast(x, "i32"), b.const("i32", 0x7FFFFFFF)) for x in xs]
        upper, found = b.const("i32", 0xFFFF0000), []
        for part in range(self.parts):
            bits = [b.bitcast(x, "i32") for x in xs]
            if part == 0 and self.parts > 1:  # nearest: so the other parts have no sign in common
                bits = [b.add(x, b.const("i32", 0x8000)) for x in bits]
            tops = [b.and_(x, upper) for x in bits]
            found.append(b.or_(b.lshr(bits[0], b.const("i32", 16)), tops[1]))
            if part + 1 < self.parts:
                xs = [b.fsub(x, b.bitcast(top, "f32")) for x, top in zip(xs, tops)]
        return found, b.umax(*sizes)

    def _outside(self, largest: Reg) -> Reg:
        b = self.b
        above = b.sub(largest, b.like(largest, _LEAST_BITS))  # what is smaller wraps around
        return b.and_(b.icmp("uge", above, b.like(largest, _MOST_BITS - _LEAST_BITS)),
                      b.icmp("ne", largest, b.like(largest, 0)))  # fmt: skip


def _report(b: Builder, bad: Reg, place: str) -> None:
    """Make the word at `place` 1 if something is bad. Whoever writes it writes the same."""
    report, done = b.fresh("report"), b.fresh("done")
    b.cond_br(bad, report, done, likely=False)
    b.label(report)
    b.store(b.const("i64", 1, 1), place)
    b.br(done)
    b.label(done)


def pack_items(along: bool, squares: int, k: int) -> tuple[int, int]:
    """(groups of squares, blocks of k) of a matrix: what is packed together."""
    return -(-squares // _GROUPS[along]), -(-k // (_PACKED_DEPTH[along] * DEPTH))


def pack_source(kind: str, along: bool) -> str:
    """LLVM IR of the kernel that packs B; an item is a block of k of a group of squares, see `pack_items`.

    `along`: the k of a column are neighbours in memory; otherwise the columns of a k are. `line` and `step` are the
    distances of columns and of k, `batch` of one matrix and the next, of which each has `squares` squares.
    """
    module = Module("cpu")
    b = module.function(NAME, [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")], EDGE)
    args = Arguments(b)
    x, out, bad = (args.pointer() for _ in PACK_POINTERS)
    n = {name: args.word() for name in PACK_NUMBERS}
    packer = _Packer(b, kind, along, False)
    number = packer.number
    steps = b.udiv(b.add(n["k"], number(DEPTH - 1)), number(DEPTH))
    step_bytes = number(PARTS[kind] * 2 * TILE_BYTES)
    group, most_steps = number(_GROUPS[along]), number(_PACKED_DEPTH[along])
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        place, block = b.udiv(items.i, n["blocks"]), b.urem(items.i, n["blocks"])
        matrix, square0 = b.udiv(place, n["groups"]), b.mul(b.urem(place, n["groups"]), group)
        step0 = b.mul(block, most_steps)
        k0, first = b.mul(step0, number(DEPTH)), b.mul(square0, number(SQUARE))
        source = b.add(b.mul(matrix, n["batch"]), b.add(b.mul(first, n["line"]), b.mul(k0, n["step"])))
        at = b.add(b.mul(b.add(b.mul(matrix, n["squares"]), square0), steps), step0)
        found = packer.pack(
            b.gep(x, kind, source), b.gep(out, "i8", b.mul(at, step_bytes)), b.sub(n["lines"], first),
            b.smin(b.mul(most_steps, number(DEPTH)), b.sub(n["k"], k0)), n["line"], n["step"],
            b.smin(group, b.sub(n["squares"], square0)), b.mul(steps, step_bytes),
        )  # fmt: skip
        _report(b, found, bad)
    return module.text()


# -------------------------------------------------------------------------------------------------------- multiplying


class _Unit:
    """The tile unit's instructions. Its registers have numbers, not names."""

    def __init__(self, b: Builder):
        self.b = b
        # Sizes of the eight registers: palette 1, 64 bytes by 16 rows each.
        setting = [1] + [0] * 15 + [64, 0] * 8 + [0] * 16 + [16] * 8 + [0] * 8
        self.setting = b.module.table("tile.sizes", "i8", setting)
        for text in (
            "ldtilecfg(ptr)", "tilerelease()", "tilezero(i8 immarg)", "tileloadd64(i8 immarg, ptr, i64)",
            "tilestored64(i8 immarg, ptr, i64)", "tdpbf16ps(i8 immarg, i8 immarg, i8 immarg)",
        ):  # fmt: skip
            b.declare(f"declare void @llvm.x86.{text}")

    def begin(self) -> None:
        self.b.line(f"call void @llvm.x86.ldtilecfg(ptr {self.setting})")

    def end(self) -> None:
        self.b.line("call void @llvm.x86.tilerelease()")

    def zero(self, tile: int) -> None:
        self.b.line(f"call void @llvm.x86.tilezero(i8 {tile})")

    def load(self, tile: int, place: str) -> None:
        self.b.line(f"call void @llvm.x86.tileloadd64(i8 {tile}, ptr {place}, i64 64)")

    def store(self, tile: int, place: str) -> None:
        self.b.line(f"call void @llvm.x86.tilestored64(i8 {tile}, ptr {place}, i64 64)")

    def multiply(self, c: int, a: int, b: int) -> None:
        self.b.line(f"call void @llvm.x86.tdpbf16ps(i8 {c}, i8 {a}, i8 {b})")


class _Multiply:
    """The kernel that multiplies: its arguments, and what it does with a block of k."""

    def __init__(self, kind: str, along: bool):
        self.kind, self.along, self.parts = kind, along, PARTS[kind]
        module = self.module = Module("cpu")
        b = self.b = module.function(
            NAME, [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")], EDGE
        )
        args = Arguments(b)
        self.p = {name: args.pointer() for name in POINTERS}
        self.n = {name: args.word() for name in NUMBERS}
        self.packer, self.unit = _Packer(b, kind, along, True), _Unit(b)
        self.step_bytes = self.parts * 2 * TILE_BYTES
        b.line("%square = alloca [1024 x float], align 64")
        b.line(f"%strips = alloca [{2 * BLOCK * self.step_bytes} x i8], align 64")

    def number(self, value: int) -> Reg:
        return self.b.const("i64", value, 1)

    def tiles(self, k: Reg) -> Reg:
        """How many tiles so many k take."""
        return self.squares(k)

    def squares(self, lines: Reg) -> Reg:
        """How many squares so many lines take."""
        return self.b.udiv(self.b.add(lines, self.number(SQUARE - 1)), self.number(SQUARE))

    def at(self, pointer: str, element: str, *terms: Reg) -> str:
        place = terms[0]
        for term in terms[1:]:
            place = self.b.add(place, term)
        return self.b.gep(pointer, element, place)

    def item(self, item: Reg) -> None:
        """Find what an item is about."""
        b, n = self.b, self.n
        of_products = b.udiv(item, n["across"])
        self.matrix, place_down = b.udiv(of_products, n["down"]), b.urem(of_products, n["down"])
        self.row0, self.column0 = b.mul(place_down, n["rows"]), b.mul(b.urem(item, n["across"]), n["columns"])
        self.row_end = b.smin(n["m"], b.add(self.row0, n["rows"]))
        self.column_end = b.smin(n["n"], b.add(self.column0, n["columns"]))
        self.a = b.gep(self.p["a"], self.kind, b.mul(self.matrix, n["a.batch"]))
        self.square_bytes = b.mul(self.tiles(n["k"]), self.number(self.step_bytes))
        b_first = b.mul(b.mul(b.mul(self.matrix, n["b.batch"]), n["b.squares"]), self.square_bytes)
        self.right = b.gep(self.p["b"], "i8", b_first)
        self.sums = b.gep(self.p["sums"], "f32", b.mul(item, b.mul(n["rows"], n["columns"])))
        self.strips = self.squares(b.sub(self.row_end, self.row0))
        blocks = b.udiv(b.add(n["k"], self.number(BLOCK * DEPTH - 1)), self.number(BLOCK * DEPTH))
        self.steps = b.mul(self.strips, blocks)

    def place(self, step: Reg) -> tuple[Reg, Reg, Reg]:
        """The first row of a step, its first k and how many k: block by block of k, all rows for each."""
        b = self.b
        row = b.add(self.row0, b.mul(b.urem(step, self.strips), self.number(SQUARE)))
        k0 = b.mul(b.udiv(step, self.strips), self.number(BLOCK * DEPTH))
        return row, k0, b.smin(b.sub(self.n["k"], k0), self.number(BLOCK * DEPTH))

    def strip(self, step: Reg) -> str:
        """Where the rows of a step are packed: two places take turns."""
        b = self.b
        return b.gep("%strips", "i8", b.mul(b.and_(step, self.number(1)), self.number(BLOCK * self.step_bytes)))

    def work(self) -> None:
        """All steps of the item."""
        b, number = self.b, self.number
        self.pack(number(0))
        with b.loop(0, self.steps) as steps:
            following = b.add(steps.i, number(1))
            _branch(b, b.icmp("slt", following, self.steps), lambda: self.pack(following), lambda: None)
            self.step = steps.i
            row, self.k0, self.depth = self.place(steps.i)
            self.is_first = b.icmp("eq", self.k0, number(0))
            self.is_last = b.icmp("eq", b.add(self.k0, self.depth), self.n["k"])
            with b.loop(self.column0, self.column_end, SQUARE) as columns:
                self.multiply(columns.i, self.strip(steps.i))
                sums = self.at(self.sums, "f32", b.mul(b.sub(columns.i, self.column0), self.n["rows"]),
                               b.mul(b.sub(row, self.row0), number(SQUARE)))  # fmt: skip

                def end(rows: Reg = row, columns: Reg = columns.i, sums: str = sums) -> None:
                    _branch(b, self.is_first, lambda: self.finish(rows, columns, None),
                            lambda: self.finish(rows, columns, sums))  # fmt: skip

                def keep(sums: str = sums) -> None:
                    _branch(b, self.is_first, lambda: self.keep(sums, False), lambda: self.keep(sums, True))

                _branch(b, self.is_last, end, keep)

    def corner(self, row: Reg, k0: Reg) -> str:
        """The first number of a row in a block of k."""
        return self.at(self.a, self.kind, self.b.mul(row, self.n["a.line"]), self.b.mul(k0, self.n["a.step"]))

    def pack(self, step: Reg) -> None:
        """Pack the rows of a step."""
        n, one = self.n, self.number(1)
        row, k0, depth = self.place(step)
        bad = self.packer.pack(
            self.corner(row, k0), self.strip(step), self.b.sub(n["m"], row), depth, n["a.line"], n["a.step"], one, one
        )
        _report(self.b, bad, self.p["bad"])

    def multiply(self, column: Reg, strip: str) -> None:
        """A square's products of this block of k, to the square in memory."""
        b, unit, n = self.b, self.unit, self.n
        step_bytes = self.number(self.step_bytes)
        right = b.mul(b.udiv(column, self.number(SQUARE)), self.square_bytes)
        right_place = self.at(self.right, "i8", right, b.mul(b.udiv(self.k0, self.number(DEPTH)), step_bytes))
        # Each square of columns fetches a part of the rows that are packed next.
        following, k0, _ = self.place(b.smin(b.add(self.step, self.number(2)), b.sub(self.steps, self.number(1))))
        squares = self.squares(b.sub(self.column_end, self.column0))
        each_fetches = b.udiv(b.add(squares, self.number(SQUARE - 1)), squares)
        fetch0 = b.mul(b.udiv(b.sub(column, self.column0), self.number(SQUARE)), each_fetches)
        exist = b.smax(self.number(0), b.smin(self.number(SQUARE), b.sub(n["m"], following)))
        for tile in range(4):
            unit.zero(tile)
        with b.loop(0, self.tiles(self.depth)) as steps:
            if self.along:
                self.packer.fetch_ahead(
                    self.corner(following, k0), fetch0, b.smin(exist, b.add(fetch0, each_fetches)),
                    b.mul(steps.i, self.number(DEPTH)), n["a.line"],
                )  # fmt: skip
            offset = b.mul(steps.i, step_bytes)
            now = {4: b.gep(strip, "i8", offset), 6: b.gep(right_place, "i8", offset)}
            loaded = {4: -1, 6: -1}
            for wanted in _PRODUCTS[self.kind]:
                for first, part in zip((4, 6), wanted):
                    if part != loaded[first]:
                        loaded[first] = part
                        for t in range(2):
                            unit.load(first + t, b.gep(now[first], "i8", (2 * part + t) * TILE_BYTES))
                for t in range(4):
                    unit.multiply(t, 4 + (t & 1), 6 + (t >> 1))
            # For nothing but this: after a microsecond without one, a store takes as long as 40 products
            # (measured on Granite Rapids, whatever the place; the register is stored again in the end).
            unit.store(0, "%square")
        for tile in range(4):
            unit.store(tile, b.gep("%square", "i8", tile * TILE_BYTES))

    def sum_so_far(self, row: Reg, half: int, sums: str | None) -> tuple[Reg, Reg]:
        """16 sums of a row of the square, with those of the blocks before at `sums`; and their place."""
        b = self.b
        # Tiles lie in columns: the rows 16 to 31 follow, one tile on.
        place = b.add(b.mul(row, self.number(EDGE)), self.number(half * EDGE * SQUARE))
        total = b.load(b.gep("%square", "f32", place), "f32", align=64)
        return (total if sums is None else b.fadd(total, b.load(b.gep(sums, "f32", place), "f32", align=64))), place

    def keep(self, sums: str, further: bool) -> None:
        """Put the square to the sums of the blocks before."""
        with self.b.loop(0, SQUARE) as each:
            for h in range(2):
                total, place = self.sum_so_far(each.i, h, sums if further else None)
                self.b.store(total, self.b.gep(sums, "f32", place), align=64)

    def finish(self, row: Reg, column: Reg, sums: str | None) -> None:
        """Write the square to C."""
        b, n, kind = self.b, self.n, self.kind
        lane = b.iota("i64")
        masks = [b.icmp("slt", lane, b.splat(b.sub(n["n"], b.add(column, self.number(h * EDGE))))) for h in range(2)]
        c0 = self.at(self.p["c"], kind, b.mul(self.matrix, n["c.batch"]), b.mul(row, n["c.row"]), column)
        s0 = self.at(self.p["s"], kind, b.mul(row, n["s.row"]), b.mul(column, n["s.column"]))
        with b.loop(0, b.smin(self.number(SQUARE), b.sub(n["m"], row))) as each:
            c_line, s_line = (b.gep(x, kind, b.mul(each.i, n[f"{m}.row"])) for x, m in ((c0, "c"), (s0, "s")))
            for h in range(2):
                place = b.gep(s_line, kind, b.mul(self.number(h * EDGE), n["s.column"]))
                start = b.load_some(place, kind, masks[h])
                total, _ = self.sum_so_far(each.i, h, sums)
                made = b.fadd(total, start if kind == "f32" else b.convert(start, "f32"))
                b.store_some(made if kind == "f32" else b.convert(made, kind), b.gep(c_line, kind, h * EDGE), masks[h])


def source(kind: str, along: bool) -> str:
    """LLVM IR of the kernel that multiplies: C = S + A @ B, with S zeros, C itself, or a row for all rows.

    `along`: the k of a row of A are neighbours in memory; otherwise the rows of a k are.

    An item is `rows` by `columns` of C, multiples of 32; there are `down` by `across` of them for each product. Block
    by block of k, rows of A are packed and multiplied with the columns, squares of 32 by 32: four registers of the unit
    are C's, two each A's and B's. Where k has several blocks, the sums of an item stay in `sums` meanwhile, as tiles.
    So the parts of A and B in use stay in the cache, and the errors of long sums are those of few additions. The sum of
    an element does not depend on what an item is.

    Arguments: `b.squares` is how many squares a packed matrix has, `b.batch` 0 where all products have the same B.
    Distances are in elements.
    """
    g = _Multiply(kind, along)
    g.unit.begin()
    with g.b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        g.item(items.i)
        g.work()
    g.unit.end()
    return g.module.text()


def _branch(b: Builder, condition: Reg, yes: Callable[[], None], no: Callable[[], None]) -> None:
    """One or the other."""
    labels = [b.fresh(name) for name in ("yes", "no", "done")]
    b.cond_br(condition, labels[0], labels[1])
    for label, write in zip(labels, (yes, no)):
        b.label(label)
        write()
        b.br(labels[2])
    b.label(labels[2])
