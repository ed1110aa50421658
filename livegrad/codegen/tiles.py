"""Kernels of matrix products on the processor's tile unit (Intel AMX), float32 at float32's accuracy.

The unit multiplies bfloat16 numbers sixteen times as fast as vector instructions multiply float32, and adds in
float32. A float32 number is exactly the sum of three bfloat16 numbers, x = x0 + x1 + x2: the nearest one, and what is
left eight bits at a time, of either sign. Of the nine products of parts the three smallest, 2**-25 and less of the
whole, are left out: six remain, and the error is that of adding in float32, in fewer and better grouped additions than
a chain of multiply-adds has. The method is that of Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial
Intelligence Datatype For Higher-Precision Computations" (2019). float16 numbers take two parts and bfloat16 one.

Operands are packed as tiles of parts, in squares of 32 lines (rows of A, columns of B): B by a kernel of its own
(`pack_source`), since all rows of A meet it; A by the kernel that multiplies (`source`), 32 rows at a time, which then
stay in the first-level cache while all columns pass by.

The unit takes subnormal numbers for zeros, and an infinity has no parts. So packing also looks at the largest number
of each line, and says when the unit is not for them.
"""

from __future__ import annotations

from collections.abc import Callable

from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg
from .product import load_some, store_some, transposed

EDGE = 16  # lines of a tile: rows of A, columns of B, rows and columns of C
SQUARE = 2 * EDGE  # lines of a square of tiles
DEPTH = 32  # how many k a tile has
BLOCK = 8  # tiles of k of a block: sums of such blocks are added up, and what is packed of A fits into the cache
TILE_BYTES = 1024
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
PACK_NUMBERS = ("lines", "k", "line", "step", "batch", "squares", "blocks")
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
    """Writes a square of lines as tiles: for each 32 k, for each part, the tiles of the first 16 lines and the others.

    `along`: the k of a line are neighbours in memory; otherwise the lines of a k are. `by_lines`: a tile has a row for
    each line, with 32 k in it (as A's); otherwise a row for each pair of k, with 16 lines of two (as B's). The k of a
    pair are 16 apart. Numbers of k that do not exist are zeros; lines that do not exist are anything.
    """

    def __init__(self, b: Builder, kind: str, along: bool, by_lines: bool):
        self.b, self.kind, self.along, self.by_lines = b, kind, along, by_lines
        self.parts = PARTS[kind]
        self.lane = b.iota("i64")

    def number(self, value: int) -> Reg:
        return self.b.const("i64", value, 1)

    def square(self, source: str, out: str, lines: Reg, k: Reg, line: Reg, step: Reg) -> Reg:
        """Pack `k` numbers of each line, `source` being the first; gives whether there are lines not for the unit."""
        b = self.b
        bad = self._along(source, out, lines, k, line) if self.along else self._across(source, out, lines, k, step)
        if self.along != self.by_lines:
            tiles = b.mul(b.udiv(b.add(k, self.number(DEPTH - 1)), self.number(DEPTH)), self.number(2 * self.parts))
            with b.loop(0, tiles) as each:
                tile = b.gep(out, "i8", b.mul(each.i, self.number(TILE_BYTES)))
                rows = [b.load(b.gep(tile, "i32", i * EDGE), "i32", align=64) for i in range(EDGE)]
                for i, row in enumerate(transposed(b, rows)):
                    b.store(row, b.gep(tile, "i32", i * EDGE), align=64)
        return bad

    def fetch_ahead(self, source: str, low: Reg, high: Reg, k: Reg, line: Reg, step: Reg) -> None:
        """Have the cache fetch some of a square, a part of 32 from `low` to `high`, for 32 k from `k` on."""
        b = self.b
        with b.loop(low, high) as each:
            place = b.add(b.mul(each.i, line), k) if self.along else b.mul(b.add(k, each.i), step)
            here = b.gep(source, self.kind, place)
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

    def _across(self, source: str, out: str, lines: Reg, k: Reg, step: Reg) -> Reg:
        """A pair of k after the other, for both tiles' lines."""
        b = self.b
        whole = b.and_(k, self.number(-DEPTH))
        exist = [b.icmp("slt", self.lane, b.splat(b.sub(lines, self.number(h * EDGE)))) for h in range(2)]
        most = [b.const("i32", 0)] * 2
        for start, end in ((self.number(0), whole), (whole, k)):
            with b.loop(start, end, DEPTH, most) as ks:
                tile = b.gep(out, "i8", b.mul(ks.i, self.number(self.parts * 2 * TILE_BYTES // DEPTH)))
                with b.loop(0, EDGE, 1, ks.values) as pairs:
                    at = [b.add(ks.i, b.add(pairs.i, self.number(h * EDGE))) for h in range(2)]
                    rows = [b.gep(source, self.kind, b.mul(place, step)) for place in at]
                    found = []
                    for t in range(2):
                        masks = [exist[t]] * 2
                        if start is whole:
                            masks = [b.and_(exist[t], b.splat(b.icmp("slt", place, k))) for place in at]
                        words, largest = self._words([b.gep(row, self.kind, t * EDGE) for row in rows], masks)
                        found.append(b.umax(largest, pairs.values[t]))
                        for part, word in enumerate(words):
                            target = b.gep(tile, "i8", b.mul(pairs.i, self.number(64)))
                            b.store(word, b.gep(target, "i8", (2 * part + t) * TILE_BYTES), align=64)
                    pairs.next(*found)
                ks.next(*pairs.values)
            most = ks.values
        return b.any(b.or_(*(self._outside(m) for m in most)))

    def _words(self, places: list[str], masks: list) -> tuple[list[Reg], Reg]:
        """For each part the pairs of 16 numbers and 16 others, and the larger of each two as bits."""
        b, kind = self.b, self.kind
        xs = [b.load(p, kind) if m is None else load_some(b, p, kind, m) for p, m in zip(places, masks)]
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


def pack_source(kind: str, along: bool) -> str:
    """LLVM IR of the kernel that packs B; an item is a block of k of a square of columns.

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
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        place, block = b.udiv(items.i, n["blocks"]), b.urem(items.i, n["blocks"])
        matrix, first = b.udiv(place, n["squares"]), b.mul(b.urem(place, n["squares"]), number(SQUARE))
        step0 = b.mul(block, number(BLOCK))
        k0 = b.mul(step0, number(DEPTH))
        source = b.add(b.mul(matrix, n["batch"]), b.add(b.mul(first, n["line"]), b.mul(k0, n["step"])))
        target = b.mul(b.add(b.mul(place, steps), step0), number(PARTS[kind] * 2 * TILE_BYTES))
        depth = b.smin(number(BLOCK * DEPTH), b.sub(n["k"], k0))
        lines = b.sub(n["lines"], first)
        found = packer.square(
            b.gep(x, kind, source), b.gep(out, "i8", target), lines, depth, n["line"], n["step"]
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


def source(kind: str, along: bool) -> str:
    """LLVM IR of the kernel that multiplies: C = S + A @ B, with S zeros, C itself, or a row for all rows.

    `along`: the k of a row of A are neighbours in memory; otherwise the rows of a k are.

    An item is `rows` by `columns` of C, multiples of 32; there are `down` by `across` of them for each product. Block
    by block of k, 32 rows of A are packed and multiplied with the columns, 32 at a time: four registers of the unit are
    C's, two each A's and B's. Where k has several blocks, the sums of an item stay in `sums` meanwhile, as tiles. So
    the parts of A and B in use stay in the cache, and the errors of long sums are those of few additions. The sum of an
    element does not depend on what an item is.

    Arguments: `b.squares` is how many squares a packed matrix has, `b.batch` 0 where all products have the same B.
    Distances are in elements.
    """
    parts = PARTS[kind]
    module = Module("cpu")
    b = module.function(NAME, [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")], EDGE)
    args = Arguments(b)
    p = {name: args.pointer() for name in POINTERS}
    n = {name: args.word() for name in NUMBERS}
    packer = _Packer(b, kind, along, True)
    number = packer.number

    def at(pointer: str, element: str, *terms: Reg) -> str:
        place = terms[0]
        for term in terms[1:]:
            place = b.add(place, term)
        return b.gep(pointer, element, place)

    unit = _Unit(b)
    b.line("%square = alloca [1024 x float], align 64")
    b.line(f"%strip = alloca [{BLOCK * parts * 2 * TILE_BYTES} x i8], align 64")
    unit.begin()
    step_bytes = parts * 2 * TILE_BYTES
    steps_in_all = b.udiv(b.add(n["k"], number(DEPTH - 1)), number(DEPTH))
    square_bytes = b.mul(steps_in_all, number(step_bytes))
    lane = b.iota("i64")
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        of_products = b.udiv(items.i, n["across"])
        matrix, place_down = b.udiv(of_products, n["down"]), b.urem(of_products, n["down"])
        row0 = b.mul(place_down, n["rows"])
        column0 = b.mul(b.urem(items.i, n["across"]), n["columns"])
        row_end, column_end = b.smin(n["m"], b.add(row0, n["rows"])), b.smin(n["n"], b.add(column0, n["columns"]))
        a_matrix = b.gep(p["a"], kind, b.mul(matrix, n["a.batch"]))
        b_first = b.mul(b.mul(matrix, n["b.batch"]), n["b.squares"])
        sums = b.gep(p["sums"], "f32", b.mul(items.i, b.mul(n["rows"], n["columns"])))
        with b.loop(0, n["k"], BLOCK * DEPTH) as blocks, b.loop(row0, row_end, SQUARE) as rows:
            left = b.sub(n["k"], blocks.i)
            depth = b.smin(left, number(BLOCK * DEPTH))
            is_first, is_last = b.icmp("eq", blocks.i, number(0)), b.icmp("eq", depth, left)
            steps = b.udiv(b.add(depth, number(DEPTH - 1)), number(DEPTH))
            corner = at(a_matrix, kind, b.mul(rows.i, n["a.line"]), b.mul(blocks.i, n["a.step"]))
            bad = packer.square(corner, "%strip", b.sub(n["m"], rows.i), depth, n["a.line"], n["a.step"])
            _report(b, bad, p["bad"])
            block_bytes = b.mul(blocks.i, number(step_bytes // DEPTH))
            # Each square of columns fetches a part of the rows that follow.
            following = b.add(rows.i, number(SQUARE))
            ahead = b.select(b.icmp("slt", following, row_end), b.mul(number(SQUARE), n["a.line"]), number(0))
            ahead_corner = b.gep(corner, kind, ahead)
            squares = b.udiv(b.add(b.sub(column_end, column0), number(SQUARE - 1)), number(SQUARE))
            fetched = b.udiv(b.add(squares, number(SQUARE - 1)), squares)
            with b.loop(column0, column_end, SQUARE) as columns:
                right = b.mul(b.add(b_first, b.udiv(columns.i, number(SQUARE))), square_bytes)
                right_place = at(p["b"], "i8", right, block_bytes)
                for tile in range(4):
                    unit.zero(tile)
                fetch0 = b.mul(b.udiv(b.sub(columns.i, column0), number(SQUARE)), fetched)
                fetch_end = b.smin(number(SQUARE), b.add(fetch0, fetched))
                with b.loop(0, steps) as each:
                    offset = b.mul(each.i, number(step_bytes))
                    now = {4: b.gep("%strip", "i8", offset), 6: b.gep(right_place, "i8", offset)}
                    depth_here = b.mul(each.i, number(DEPTH))
                    packer.fetch_ahead(ahead_corner, fetch0, fetch_end, depth_here, n["a.line"], n["a.step"])
                    loaded = {4: -1, 6: -1}
                    for wanted in _PRODUCTS[kind]:
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
                here = at(
                    sums, "f32", b.mul(b.sub(columns.i, column0), n["rows"]),
                    b.mul(b.sub(rows.i, row0), number(SQUARE)),
                )  # fmt: skip

                def sum_so_far(row: Reg, half: int, further: bool) -> Reg:
                    # Tiles lie in columns: the rows 16 to 31 follow, one tile on.
                    place = b.add(b.mul(row, number(EDGE)), number(half * EDGE * SQUARE))
                    total = b.load(b.gep("%square", "f32", place), "f32", align=64)
                    return b.fadd(total, b.load(b.gep(here, "f32", place), "f32", align=64)) if further else total

                def keep(further: bool) -> None:
                    with b.loop(0, SQUARE) as each:
                        for h in range(2):
                            place = b.add(b.mul(each.i, number(EDGE)), number(h * EDGE * SQUARE))
                            b.store(sum_so_far(each.i, h, further), b.gep(here, "f32", place), align=64)

                def finish(further: bool) -> None:
                    masks = [
                        b.icmp("slt", lane, b.splat(b.sub(n["n"], b.add(columns.i, number(h * EDGE)))))
                        for h in range(2)
                    ]
                    c0 = at(p["c"], kind, b.mul(matrix, n["c.batch"]), b.mul(rows.i, n["c.row"]), columns.i)
                    s0 = at(p["s"], kind, b.mul(rows.i, n["s.row"]), b.mul(columns.i, n["s.column"]))
                    with b.loop(0, b.smin(number(SQUARE), b.sub(n["m"], rows.i))) as each:
                        c_line = at(c0, kind, b.mul(each.i, n["c.row"]))
                        s_line = at(s0, kind, b.mul(each.i, n["s.row"]))
                        for h in range(2):
                            place = at(s_line, kind, b.mul(number(h * EDGE), n["s.column"]))
                            start = load_some(b, place, kind, masks[h])
                            start = start if kind == "f32" else b.convert(start, "f32")
                            total = b.fadd(sum_so_far(each.i, h, further), start)
                            made = total if kind == "f32" else b.convert(total, kind)
                            store_some(b, made, b.gep(c_line, kind, h * EDGE), masks[h])

                _branch(
                    b, is_last,
                    lambda: _branch(b, is_first, lambda: finish(False), lambda: finish(True)),
                    lambda: _branch(b, is_first, lambda: keep(False), lambda: keep(True)),
                )  # fmt: skip
    unit.end()
    return module.text()


def _branch(b: Builder, condition: Reg, yes: Callable[[], None], no: Callable[[], None]) -> None:
    """One or the other."""
    labels = [b.fresh(name) for name in ("yes", "no", "done")]
    b.cond_br(condition, labels[0], labels[1])
    for label, write in zip(labels, (yes, no)):
        b.label(label)
        write()
        b.br(labels[2])
    b.label(labels[2])
