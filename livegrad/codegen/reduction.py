"""Kernels of reductions, with the pending work that feeds them as prologue.

The index space is split into kept (K) and reduced (R) dimensions. Partial results of fixed segments are written to
[kept..., segment] or [kept..., segment, columns] and reduced again, so the tree of additions depends on sizes alone:
results repeat bit for bit with any number of threads.

rows: the innermost dimension is reduced. A work item is (kept index, segment); the segment is a stretch of the
      innermost dimension, or of the outer reduced dimensions where there are some.
columns: the innermost dimension is kept. A work item is (kept index, segment, block of columns); the segment is a
      stretch of the reduced dimensions, and sums are carried in the output row, which stays in the nearest cache.

A kernel that `writes` also writes what it reduces, whose memory comes last among the leaves.

Arguments, packed: output, leaves, Python numbers, what the result is divided by if it is, then the words named in
`rows_source` and `columns_source`.
"""

from __future__ import annotations

from .. import dtypes
from .body import emit_body
from .elementwise import Arguments, coordinates, lanes, load_along, offset_of
from .ir import Module, Reg, host_vector_bytes
from .layout import COLUMN_BLOCK, NAME, REDUCTIONS, SCALAR, decode, leaf_dtypes, node_dtypes, param_formats
from .lower import lower
from .rowshape import formula_cost

# Vectors, or rows of them, that are worked on at a time; fewer with AVX-512 where formulas are long, which it overlaps
# with those of the next step.
UNROLL = 4
LONG = 40


class _Source:
    """What both schemes share: arguments, leaves and the value at a place of the index space."""

    def __init__(self, name: str, acc: dtypes.dtype, code: tuple, source: dtypes.dtype, classes: tuple, writes: bool):
        self.reduction = REDUCTIONS[name]
        self.acc, self.code, self.source, self.classes = acc, code, source, classes
        self.module = Module("cpu")
        signature = [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")]
        self.b = self.module.function(NAME, signature)
        self.writes = writes
        self.kinds = leaf_dtypes(code, len(classes) - writes) if code else [source]
        if writes:
            self.kinds.append(source)
        cost = sum(formula_cost(instr.op.expr) for instr, _ in decode(code))
        self.unroll = UNROLL if cost < LONG or host_vector_bytes() < 64 else UNROLL // 2
        self.width = lanes([*self.kinds, *node_dtypes(code), acc], host_vector_bytes())
        self.args = Arguments(self.b)
        self.out = self.args.pointer()
        self.ptrs = [self.args.pointer() for _ in classes]
        self.params = self.args.numbers(param_formats(code))
        self.divisor = self.args.numbers("d")[0] if self.reduction.divides else None

    def words(self, n: int) -> list[Reg]:
        return [self.args.word() for _ in range(n)]

    def word_rows(self, n: int) -> list[list[Reg]]:
        return [self.words(n) for _ in self.classes]

    def identity(self) -> Reg:
        return self.b.const(self.acc.compute_kind, self.reduction.identity(self.acc))

    def combine(self, x: Reg, y: Reg) -> Reg:
        return lower(self.b, self.reduction.primitive, [x, y], self.acc)

    def finish(self, total: Reg) -> Reg:
        """What is written for a total."""
        if self.divisor is None:
            return total
        b = self.b
        return lower(b, "div", [total, b.splat(b.convert(self.divisor, self.acc.compute_kind))], self.acc)

    def shifted(self, bases: list[str], coords: list[Reg], strides: list[list[Reg]]) -> list[str]:
        b = self.b
        return [b.gep(base, k.kind, offset_of(b, coords, s)) for base, k, s in zip(bases, self.kinds, strides)]

    def value(self, bases: list[str], i: Reg, inner: list[Reg]) -> Reg:
        """The value to reduce at place i of the innermost dimension, in the accumulator's kind."""
        b = self.b

        def leaf(k: int) -> Reg:
            if self.classes[k] == SCALAR:
                return b.splat(b.load(bases[k], self.kinds[k].kind, width=1))
            return load_along(b, bases[k], self.kinds[k].kind, i, self.classes[k], inner[k])

        made = emit_body(b, self.code, leaf, self.params)[-1] if self.code else leaf(0)
        if self.writes:
            b.store(made, b.gep(bases[-1], self.source.kind, i))
        signed = self.source.is_signed if self.source.category < 2 else self.acc.is_signed
        return b.convert(made, self.acc.compute_kind, signed)


def rows_source(
    name: str,
    acc: dtypes.dtype,
    code: tuple,
    source: dtypes.dtype,
    classes: tuple,
    kept: int,
    outer: int,
    writes: bool = False,
) -> str:
    """LLVM IR of a reduction along the innermost dimension.

    Words: inner size, segments, segment length, kept sizes, output strides of kept dimensions, outer reduced sizes,
    their product, then per leaf its kept strides, per leaf its outer reduced strides, and each leaf's inner stride.
    """
    s = _Source(name, acc, code, source, classes, writes)
    b = s.b
    inner, segments, length = s.words(3)
    kept_sizes, out_strides = s.words(kept), s.words(kept)
    outer_sizes = s.words(outer)
    outer_total = s.words(1)[0]
    kept_strides, outer_strides = s.word_rows(kept), s.word_rows(outer)
    inner_strides = s.words(len(classes))
    zero, one = b.const("i64", 0, 1), b.const("i64", 1, 1)
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        segment = b.urem(items.i, segments)
        row = b.udiv(items.i, segments)
        coords = coordinates(b, row, kept_sizes)
        bases = s.shifted(s.ptrs, coords, kept_strides)
        start = b.mul(segment, length)
        stop = b.add(start, length)
        limit = outer_total if outer else inner
        stop = b.select(b.icmp("slt", stop, limit), stop, limit)
        wide = s.width * s.unroll
        with b.at_width(wide):
            vectors = [s.identity()] if s.width > 1 else []
        with b.at_width(1):
            tail = s.identity()

        def span(bases: list[str], first: Reg, last: Reg, carried: list[Reg]) -> list[Reg]:
            """Accumulate places first..last of the innermost dimension."""
            *acc_v, acc_s = carried
            if acc_v:
                n = b.sub(last, first)
                w = s.width
                block = b.add(first, b.and_(n, b.const("i64", -wide, 1)))
                # All vectors of a step as one: their chains of dependent instructions go side by side.
                with b.at_width(wide), b.loop(first, block, wide, acc_v) as loop:
                    loop.next(s.combine(loop.values[0], s.value(bases, loop.i, inner_strides)))
                total = loop.values[0]
                whole = b.add(first, b.and_(n, b.const("i64", -w, 1)))
                with b.at_width(w), b.loop(block, whole, w, [b.shuffle(total, None, range(w))]) as loop:
                    loop.next(s.combine(loop.values[0], s.value(bases, loop.i, inner_strides)))
                first_lanes = b.shuffle(loop.values[0], None, [*range(w), *[0] * (wide - w)])
                acc_v = [b.shuffle(first_lanes, total, [*range(w), *range(wide + w, 2 * wide)])]
                first = whole
            with b.at_width(1), b.loop(first, last, 1, [acc_s]) as loop:
                loop.next(s.combine(loop.values[0], s.value(bases, loop.i, inner_strides)))
            return [*acc_v, loop.values[0]]

        carried = [*vectors, tail]
        if outer:
            with b.loop(start, stop, 1, carried) as loop:
                at = s.shifted(bases, coordinates(b, loop.i, outer_sizes), outer_strides)
                loop.next(*span(at, zero, inner, loop.values))
            carried = loop.values
        else:
            carried = span(bases, start, stop, carried)
        *acc_v, total = carried
        if acc_v:
            with b.at_width(1):
                total = s.combine(b.reduce(acc_v[0], s.combine), total)
        place = b.add(b.mul(offset_of(b, coords, out_strides), segments), segment)
        with b.at_width(1):
            b.store(s.finish(total), b.gep(s.out, acc.compute_kind, place))
    del one
    return s.module.text()


def columns_source(
    name: str,
    acc: dtypes.dtype,
    code: tuple,
    source: dtypes.dtype,
    classes: tuple,
    kept: int,
    outer: int,
    writes: bool = False,
) -> str:
    """LLVM IR of a reduction whose innermost dimension is kept.

    Words: columns, blocks of columns, segments, segment length, output stride of the columns (1), kept sizes, output
    strides of kept dimensions, reduced sizes, their product, then strides as in `rows_source`.
    """
    s = _Source(name, acc, code, source, classes, writes)
    b = s.b
    columns, blocks, segments, length = s.words(4)
    kept_sizes, out_strides = s.words(kept), s.words(kept)
    outer_sizes = s.words(outer)
    outer_total = s.words(1)[0]
    kept_strides, outer_strides = s.word_rows(kept), s.word_rows(outer)
    inner_strides = s.words(len(classes))
    kind = acc.compute_kind
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        block = b.urem(items.i, blocks)
        rest = b.udiv(items.i, blocks)
        segment = b.urem(rest, segments)
        coords = coordinates(b, b.udiv(rest, segments), kept_sizes)
        bases = s.shifted(s.ptrs, coords, kept_strides)
        row = b.add(b.mul(offset_of(b, coords, out_strides), segments), segment)
        target = b.gep(s.out, kind, b.mul(row, columns))
        first = b.mul(block, b.const("i64", COLUMN_BLOCK, 1))
        last = b.add(first, b.const("i64", COLUMN_BLOCK, 1))
        last = b.select(b.icmp("slt", last, columns), last, columns)
        start = b.mul(segment, length)
        stop = b.add(start, length)
        stop = b.select(b.icmp("slt", stop, outer_total), stop, outer_total)

        def sweep(rows: Reg, count: int, fresh: bool) -> None:
            """Add `count` rows, from reduced index `rows` on, to the output row."""
            at = []
            for r in range(count):
                index = b.add(rows, b.const("i64", r, 1)) if r else rows
                at.append(s.shifted(bases, coordinates(b, index, outer_sizes), outer_strides))

            def column(i: Reg, w: int) -> None:
                with b.at_width(w):
                    parts = [s.value(base, i, inner_strides) for base in at]
                    while len(parts) > 1:
                        parts = [s.combine(x, y) for x, y in zip(parts[::2], parts[1::2])]
                    place = b.gep(target, kind, i)
                    held = s.identity() if fresh else b.load(place, kind)
                    b.store(s.combine(held, parts[0]), place)

            begin = first
            if s.width > 1:
                middle = b.add(first, b.and_(b.sub(last, first), b.const("i64", -s.width, 1)))
                with b.loop(begin, middle, s.width) as loop:
                    column(loop.i, s.width)
                begin = middle
            with b.loop(begin, last) as loop:
                column(loop.i, 1)

        sweep(start, 1, True)
        begin = b.add(start, b.const("i64", 1, 1))
        fours = b.add(begin, b.and_(b.sub(stop, begin), b.const("i64", -s.unroll, 1)))
        with b.loop(begin, fours, s.unroll) as loop:
            sweep(loop.i, s.unroll, False)
        with b.loop(fours, stop) as loop:
            sweep(loop.i, 1, False)
        if s.divisor is not None:
            begin = first
            for w in sorted({s.width, 1}, reverse=True):
                end = b.add(begin, b.and_(b.sub(last, begin), b.const("i64", -w, 1)))
                with b.at_width(w), b.loop(begin, end, w) as loop:
                    place = b.gep(target, kind, loop.i)
                    b.store(s.finish(b.load(place, kind)), place)
                begin = end
    return s.module.text()
