"""Kernels of matrix products on the processor's tile unit (Intel AMX), float32 at float32's accuracy.

The unit multiplies bfloat16 numbers sixteen times as fast as vector instructions multiply float32, and adds in
float32. A float32 number is exactly the sum of three bfloat16 numbers, x = x0 + x1 + x2, each 2**-8 of the one before
(rounded to nearest, so with signs that cancel on average). Of the nine products of parts the three smallest, 2**-25
and less of the whole, are left out: six remain, and the error is that of adding in float32, in fewer and better
grouped additions than a chain of multiply-adds has. The method is that of Henry, Tang and Heinecke, "Leveraging the
bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations" (2019). float16 numbers take two parts
and bfloat16 one.

Two kernels: `pack_source` writes an operand as tiles of parts, `source` multiplies packed operands.

The unit takes subnormal numbers for zeros, and an infinity has no parts. So packing a panel also looks at its largest
numbers, line by line, and says when the unit is not for them: see `pack_source`.
"""

from __future__ import annotations

from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg
from .product import load_some, store_some, transposed

EDGE = 16  # lines of a tile: rows of A, columns of B, rows and columns of C
DEPTH = 32  # how many k a tile has
TILE_BYTES = 1024
PARTS = {"f32": 3, "f16": 2, "bf16": 1}
# Which part of A times which of B, the small ones first; each differs in one from the one before, which stays loaded.
_PRODUCTS = {
    "f32": ((0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0)),
    "f16": ((0, 1), (1, 1), (1, 0), (0, 0)),
    "bf16": ((0, 0),),
}
# A line whose largest number is outside is not for the unit: its low parts would be lost, or its first overflow.
_LEAST_BITS, _MOST_BITS = 27 << 23, 254 << 23  # 2**-100, 2**127

PACK_POINTERS = ("x", "out", "flags")
PACK_NUMBERS = ("lines", "k", "line", "step", "batch", "panels")
PACK_FORMATS = "q" * (len(PACK_POINTERS) + len(PACK_NUMBERS))

POINTERS = ("a", "b", "c", "s", "sums")
NUMBERS = (
    "m", "n", "steps", "c.row", "s.row", "s.column", "c.batch", "a.panels", "b.panels", "down", "across", "rows",
    "columns", "block", "b.batch",
)  # fmt: skip
FORMATS = "q" * (len(POINTERS) + len(NUMBERS))


def packed_bytes(kind: str, panels: int, k: int) -> int:
    """Bytes of so many packed panels."""
    return panels * -(-k // DEPTH) * PARTS[kind] * TILE_BYTES


# ----------------------------------------------------------------------------------------------------------- packing


def _split(b: Builder, x: Reg, parts: int) -> list[Reg]:
    """The parts of float32 numbers: each as the upper half of a word, the rest zeros."""
    found = []
    for part in range(parts):
        b.declare(f"declare <{x.width} x bfloat> @llvm.x86.avx512bf16.cvtneps2bf16.512({x.type})")
        rounded = f"call <{x.width} x bfloat> @llvm.x86.avx512bf16.cvtneps2bf16.512({x.operand})"
        name = b.op("bf16", x.width, rounded).name
        half = b.op("i16", x.width, f"bitcast <{x.width} x bfloat> {name} to <{x.width} x i16>")
        word = b.op("i32", x.width, f"zext {half.operand} to <{x.width} x i32>")
        word = b.shl(word, b.like(word, 16))
        found.append(word)
        if part + 1 < parts:
            x = b.fsub(x, b.bitcast(word, "f32"))
    return found


def group_of(along: bool) -> int:
    """How many panels an item of the packing kernel has: where lines are neighbours, rows of some length are read."""
    return 1 if along else 4


def pack_source(kind: str, along: bool, by_lines: bool) -> str:
    """LLVM IR of the kernel that packs an operand. A panel is 16 lines (rows of A, columns of B), with all their k.

    `along`: the k of a line are neighbours in memory; otherwise the lines of a k are. `by_lines`: a tile has a row for
    each line, with 32 k in it (as A's); otherwise a row for each pair of k, with 16 lines of two (as B's). A panel's
    tiles follow each other by k, then part. Lines and k that do not exist are zeros. A panel's flag becomes 1 where the
    largest number of a line is not finite or nearly infinite, or so small (but not 0) that parts would be subnormal.

    Arguments: `line` and `step` are the distances of lines and of k, `batch` of one matrix and the next, of which each
    has `panels` panels. An item is some panels of all there are, see `group_of`.
    """
    parts, group = PARTS[kind], group_of(along)
    module = Module("cpu")
    b = module.function(NAME, [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")], EDGE)
    args = Arguments(b)
    x, out, flags = (args.pointer() for _ in PACK_POINTERS)
    n = {name: args.word() for name in PACK_NUMBERS}
    b.line(f"%most = alloca [{group * EDGE} x <{EDGE} x i32>], align 64")

    def number(value: int) -> Reg:
        return b.const("i64", value, 1)

    def words(place: str, mask: Reg) -> tuple[Reg, Reg]:
        """float32 numbers, and their absolute values' bits."""
        loaded = load_some(b, place, kind, mask)
        loaded = loaded if kind == "f32" else b.convert(loaded, "f32")
        return loaded, b.and_(b.bitcast(loaded, "i32"), b.const("i32", 0x7FFFFFFF))

    lane = b.iota("i64")
    steps = b.udiv(b.add(n["k"], number(DEPTH - 1)), number(DEPTH))
    groups = b.udiv(b.add(n["panels"], number(group - 1)), number(group))
    line16 = b.mul(n["line"], number(EDGE))
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        matrix = b.udiv(items.i, groups)
        panel0 = b.mul(b.urem(items.i, groups), number(group))
        panel_end = number(1) if group == 1 else b.smin(number(group), b.sub(n["panels"], panel0))
        whole = b.gep(x, kind, b.add(b.mul(matrix, n["batch"]), b.mul(panel0, line16)))
        place0 = b.add(b.mul(matrix, n["panels"]), panel0)
        for i in range(group * EDGE):
            b.store(b.const("i32", 0), b.gep("%most", "i32", i * EDGE), align=64)
        with b.loop(0, steps) as step, b.loop(0, panel_end) as panels:
            k0 = b.mul(step.i, number(DEPTH))
            source = b.gep(whole, kind, b.mul(panels.i, line16))
            lines = b.sub(n["lines"], b.mul(b.add(panel0, panels.i), number(EDGE)))
            left = b.sub(n["k"], k0)
            tile = b.add(b.mul(b.add(place0, panels.i), steps), step.i)
            tile = b.gep(out, "i8", b.mul(tile, number(parts * TILE_BYTES)))
            most = b.gep("%most", "i32", b.mul(panels.i, number(EDGE * EDGE)))
            rows_of_tile: list[list[Reg]] = [[] for _ in range(parts)]
            if along:
                masks = [b.icmp("slt", lane, b.splat(b.sub(left, number(h * EDGE)))) for h in range(2)]
            else:
                masks = [b.icmp("slt", lane, b.splat(lines))] * 2
            for i in range(EDGE):
                if along:  # a row of 32 k: two vectors, whose even lanes go to the lower halves of words
                    row = b.gep(source, kind, b.add(b.mul(number(i), n["line"]), k0))
                    places = [b.gep(row, kind, h * EDGE) for h in range(2)]
                    exist = [b.icmp("slt", number(i), lines)] * 2
                else:
                    at = [number(2 * i + h) for h in range(2)]
                    places = [b.gep(source, kind, b.mul(b.add(k0, k), n["step"])) for k in at]
                    exist = [b.icmp("slt", k, left) for k in at]
                low, high = (words(places[h], b.and_(masks[h], b.splat(exist[h]))) for h in range(2))
                lower, upper = low[0], high[0]
                if along:
                    lower = b.shuffle(low[0], high[0], range(0, 2 * EDGE, 2))
                    upper = b.shuffle(low[0], high[0], range(1, 2 * EDGE, 2))
                place = b.gep(most, "i32", i * EDGE)
                b.store(b.umax(b.load(place, "i32", align=64), b.umax(low[1], high[1])), place, align=64)
                for part, (u, v) in enumerate(zip(_split(b, lower, parts), _split(b, upper, parts))):
                    rows_of_tile[part].append(b.or_(b.lshr(u, b.like(u, 16)), v))
            for part, rows in enumerate(rows_of_tile):
                for i, row in enumerate(rows if along == by_lines else transposed(b, rows)):
                    b.store(row, b.gep(tile, "i8", part * TILE_BYTES + 64 * i), align=64)
        with b.loop(0, panel_end) as panels:
            most = b.gep("%most", "i32", b.mul(panels.i, number(EDGE * EDGE)))
            found = [b.load(b.gep(most, "i32", i * EDGE), "i32", align=64) for i in range(EDGE)]
            if along:  # a vector for each line; otherwise a lane
                found = transposed(b, found)
            largest = found[0]
            for other in found[1:]:
                largest = b.umax(largest, other)
            above = b.sub(largest, b.const("i32", _LEAST_BITS))  # what is smaller wraps around
            outside = b.icmp("uge", above, b.const("i32", _MOST_BITS - _LEAST_BITS))
            bad = b.any(b.and_(outside, b.icmp("ne", largest, b.const("i32", 0))))
            b.store(
                b.select(bad, b.const("i8", 1, 1), b.const("i8", 0, 1)), b.gep(flags, "i8", b.add(place0, panels.i))
            )
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


def source(kind: str) -> str:
    """LLVM IR of the kernel that multiplies: C = S + A @ B, with S zeros, C itself, or a row for all rows.

    An item is `rows` by `columns` of C, multiples of 32; there are `down` by `across` of them for each product. A step
    of the innermost loop is 32 k of a square of 32 x 32: four registers of the unit are C's, two each A's and B's. The
    sums of an item stay in `sums`, as tiles, while one block of k after the other is added: so the blocks of A and B
    in use fit into the cache, and the errors of long sums are those of few additions. The sum of an element does not
    depend on what an item is.

    Arguments: `steps` is how many tiles k has and `block` how many of them a block has, `a.panels` and `b.panels` how
    many panels (an even number) a matrix has; `b.batch` is 0 where all products have the same B. Distances are in
    elements.
    """
    width = EDGE
    parts = PARTS[kind]
    module = Module("cpu")
    b = module.function(NAME, [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")], width)
    args = Arguments(b)
    p = {name: args.pointer() for name in POINTERS}
    n = {name: args.word() for name in NUMBERS}
    square = 2 * EDGE

    def number(value: int) -> Reg:
        return b.const("i64", value, 1)

    def at(pointer: str, element: str, *terms: Reg) -> str:
        place = terms[0]
        for term in terms[1:]:
            place = b.add(place, term)
        return b.gep(pointer, element, place)

    unit = _Unit(b)
    zeros = module.table("zeros", "f32", [0.0] * EDGE)
    b.line("%square = alloca [1024 x float], align 64")
    unit.begin()
    panel_bytes = b.mul(n["steps"], number(parts * TILE_BYTES))
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        of_products = b.udiv(items.i, n["across"])
        matrix, place_down = b.udiv(of_products, n["down"]), b.urem(of_products, n["down"])
        row0 = b.mul(place_down, n["rows"])
        column0 = b.mul(b.urem(items.i, n["across"]), n["columns"])
        row_end, column_end = b.smin(n["m"], b.add(row0, n["rows"])), b.smin(n["n"], b.add(column0, n["columns"]))
        a_first = b.mul(matrix, n["a.panels"])
        b_first = b.mul(b.mul(matrix, n["b.batch"]), n["b.panels"])
        sums = b.gep(p["sums"], "f32", b.mul(items.i, b.mul(n["rows"], n["columns"])))

        def square_of_sums(row: Reg, column: Reg) -> str:
            across = b.mul(b.sub(column, column0), n["rows"])
            return at(sums, "f32", across, b.mul(b.sub(row, row0), number(square)))

        with (
            b.loop(0, n["steps"], n["block"]) as blocks,
            b.loop(row0, row_end, square) as rows,
            b.loop(column0, column_end, square) as columns,
        ):
            left = at(p["a"], "i8", b.mul(b.add(a_first, b.udiv(rows.i, number(EDGE))), panel_bytes))
            right = at(p["b"], "i8", b.mul(b.add(b_first, b.udiv(columns.i, number(EDGE))), panel_bytes))
            lefts, rights = (left, at(left, "i8", panel_bytes)), (right, at(right, "i8", panel_bytes))
            for tile in range(4):
                unit.zero(tile)
            end = b.smin(n["steps"], b.add(blocks.i, n["block"]))
            with b.loop(blocks.i, end) as steps:
                offset = b.mul(steps.i, number(parts * TILE_BYTES))
                now_a, now_b = [at(q, "i8", offset) for q in lefts], [at(q, "i8", offset) for q in rights]
                loaded = (-1, -1)
                for i, j in _PRODUCTS[kind]:
                    if i != loaded[0]:
                        for t in range(2):
                            unit.load(4 + t, b.gep(now_a[t], "i8", i * TILE_BYTES))
                    if j != loaded[1]:
                        for t in range(2):
                            unit.load(6 + t, b.gep(now_b[t], "i8", j * TILE_BYTES))
                    loaded = (i, j)
                    for t in range(4):
                        unit.multiply(t, 4 + (t & 1), 6 + (t >> 1))
                # For nothing but this: after a microsecond without one, a store takes as long as 40 products
                # (measured on Granite Rapids, whatever the place; the register is stored again in the end).
                unit.store(0, "%square")
            for tile in range(4):
                unit.store(tile, b.gep("%square", "i8", tile * TILE_BYTES))
            here = square_of_sums(rows.i, columns.i)
            is_first = b.icmp("eq", blocks.i, number(0))
            before = f"%{b.fresh('before')}"
            b.line(f"{before} = select {is_first.operand}, ptr {zeros}, ptr {here}")
            further, finish, finished = b.fresh("further"), b.fresh("finish"), b.fresh("finished")

            def sum_so_far(row: Reg, half: int) -> Reg:
                # Tiles lie in columns: the rows 16 to 31 follow, one tile on.
                line, place = b.mul(row, number(EDGE)), half * EDGE * square
                product = b.load(b.gep(b.gep("%square", "f32", line), "f32", place), "f32", align=64)
                old = b.gep(b.gep(before, "f32", b.select(is_first, number(0), line)), "f32",
                            b.select(is_first, number(0), number(place)))  # fmt: skip
                return b.fadd(product, b.load(old, "f32", align=64))

            b.cond_br(b.icmp("eq", end, n["steps"]), finish, further)
            b.label(further)
            with b.loop(0, square) as each:
                for h in range(2):
                    place = b.gep(b.gep(here, "f32", b.mul(each.i, number(EDGE))), "f32", h * EDGE * square)
                    b.store(sum_so_far(each.i, h), place, align=64)
            b.br(finished)
            b.label(finish)
            lane = b.iota("i64")
            masks = [b.icmp("slt", lane, b.splat(b.sub(n["n"], b.add(columns.i, number(h * EDGE))))) for h in range(2)]
            c0 = at(p["c"], kind, b.mul(matrix, n["c.batch"]), b.mul(rows.i, n["c.row"]), columns.i)
            s0 = at(p["s"], kind, b.mul(rows.i, n["s.row"]), b.mul(columns.i, n["s.column"]))
            with b.loop(0, b.smin(number(square), b.sub(n["m"], rows.i))) as each:
                c_line, s_line = at(c0, kind, b.mul(each.i, n["c.row"])), at(s0, kind, b.mul(each.i, n["s.row"]))
                for h in range(2):
                    start = load_some(b, at(s_line, kind, b.mul(number(h * EDGE), n["s.column"])), kind, masks[h])
                    total = b.fadd(sum_so_far(each.i, h), start if kind == "f32" else b.convert(start, "f32"))
                    made = total if kind == "f32" else b.convert(total, kind)
                    store_some(b, made, b.gep(c_line, kind, h * EDGE), masks[h])
            b.br(finished)
            b.label(finished)
    unit.end()
    return module.text()
