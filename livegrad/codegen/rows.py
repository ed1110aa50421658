"""Kernels of row programs: a row comes from memory once, and all that the program makes of it follows at once.

A program (`ops.rowprogram`) runs in stages. Each stage is a sweep over the row that carries out the reductions whose
operands are known, or writes results; between sweeps the row's own values are worked out. The second and later sweeps
find the row in the cache; meanwhile the next row is fetched (`rowshape.fetching`). What is expensive and needed by
several sweeps is kept in the row of a result until that is written (`rowshape.keep`); the rest is computed again.

along: the innermost dimension is reduced. A work item is a row; lanes are neighbours in it.
across: the innermost dimension is kept. A work item is a block of neighbouring rows; lanes are different rows.

Arguments, packed: pointers of the results, of the leaves, the program's numbers, the leaves' Python numbers; then the
inner size, the number of blocks of rows (across), sizes of the outer kept dimensions, of the outer reduced ones and
their product; and for each leaf, then for each result with elements, strides of the outer kept dimensions, of the
outer reduced ones, and for leaves that of the innermost dimension.

Results that are added up over all rows (along only): a work item is a segment of rows, with a row of sums of its own
for each of them, whose memory the pointer of the result says for the first item; somebody else adds those up. How many
rows there are and how many a segment has come before the sizes of the outer kept dimensions; such results have no
strides.
"""

from __future__ import annotations

from typing import Any

from ..ops.rowprogram import RowReduction, largest, largest_number
from ..ops.scalar import Expr, sub
from .body import emit_body
from .elementwise import Arguments, coordinates, load_along, offset_of
from .ir import Module, Reg
from .layout import CONTIGUOUS, NAME, REDUCTIONS, SCALAR, STRIDED, leaf_dtypes, param_formats
from .lower import lower
from .rowshape import Input, Shape, fetching, keep, slot, uniform, unroll, vector_width

# Partial sums are added to the row's total after so many elements (along) or rows of lanes (across), so that the
# rounding errors of long rows do not pile up.
ALONG_BLOCK = 8192
ACROSS_BLOCK = 128
# The next row is fetched from memory while this one is computed with, if it has at most so many elements: both have to
# fit into a core's own cache.
AHEAD = 1 << 17


def source(shape: Shape) -> str:
    """LLVM IR of the kernel."""
    return _Emitter(shape).emit()


def _below_one(node: Expr) -> bool:
    """Whether this is the exponential of an element less the row's largest."""
    if node.primitive.name != "exp" or getattr(node.args[0], "primitive", None) is not sub:  # type: ignore[union-attr]
        return False
    x, most = node.args[0].args
    return most.__class__ is Expr and most.primitive in (largest, largest_number) and most.args[0] is x


class _Emitter:
    def __init__(self, shape: Shape):
        self.shape, self.program = shape, shape.program
        self.module = Module("cpu")
        signature = [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")]
        self.b = b = self.module.function(NAME, signature)
        self.compute = shape.compute
        self.kind = shape.compute.compute_kind
        self.kinds: list = []
        self.first_leaf: list[int] = []
        for item in shape.inputs:
            self.first_leaf.append(len(self.kinds))
            self.kinds += leaf_dtypes(item.code, item.leaves) if item.code else [item.dtype]
        self.width = vector_width(shape)
        self.args = args = Arguments(b)
        self.outs = [args.pointer() for _ in shape.results]
        self.ptrs = [args.pointer() for _ in shape.classes]
        number = "d" if self.compute.is_floating_point else "q"
        names = self.program.parameters[self.program.tensors :]
        with b.at_width(1):
            self.numbers = {n: b.convert(r, self.kind) for n, r in zip(names, args.numbers(number * len(names)))}
        self.params = [args.numbers(param_formats(item.code)) for item in shape.inputs]
        self.inner = args.word()
        self.blocks = args.word() if shape.across else None
        self.rows, self.segment = (args.word(), args.word()) if self.program.added else (None, None)
        self.kept_sizes = [args.word() for _ in range(shape.kept)]
        self.outer_sizes = [args.word() for _ in range(shape.outer)]
        self.outer_total = args.word()
        self.leaf_strides = [self._strides(True) for _ in shape.classes]
        self.out_strides = [
            self._strides(False) if full and not self.program.is_added(k) else None
            for k, full in enumerate(self.program.full)
        ]
        self.sums: dict[int, str] = {}  # the rows of sums of an item, by result
        self.slot = slot(shape)
        self.kept = keep(shape)
        self.unroll = unroll(shape)
        self.fetching = fetching(shape)
        self.uniform = uniform(shape)

    def _strides(self, inner: bool) -> tuple:
        shape, args = self.shape, self.args
        kept, outer = [args.word() for _ in range(shape.kept)], [args.word() for _ in range(shape.outer)]
        return kept, outer, args.word() if inner else None

    def number(self, value: int) -> Reg:
        return self.b.const("i64", value, 1)

    # --- the loops ----------------------------------------------------------------------------------------------

    def emit(self) -> str:
        b = self.b
        with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
            if self.shape.across:
                self._across(items.i)
            elif self.program.added:
                self._segment(items.i)
            else:
                self._along(items.i)
        return self.module.text()

    def _leaf_bases(self, coords: list[Reg]) -> list[str]:
        b = self.b
        return [
            b.gep(p, k.kind, offset_of(b, coords, s[0])) for p, k, s in zip(self.ptrs, self.kinds, self.leaf_strides)
        ]

    def _bases(self, coords: list[Reg]) -> None:
        """Where the item's part of every leaf and result with elements begins."""
        b = self.b
        self.leaf_bases = self._leaf_bases(coords)
        self.out_bases = [
            self.sums.get(k) if s is None else b.gep(p, d.kind, offset_of(b, coords, s[0]))
            for k, (p, d, s) in enumerate(zip(self.outs, self.shape.results, self.out_strides))
        ]

    def _at(self, index: Reg | None) -> tuple[list, list]:
        """The same for one place of the outer reduced dimensions."""
        b = self.b
        if index is None or not self.shape.outer:
            return self.leaf_bases, self.out_bases
        coords = coordinates(b, index, self.outer_sizes)
        leaves = [
            b.gep(p, k.kind, offset_of(b, coords, s[1]))
            for p, k, s in zip(self.leaf_bases, self.kinds, self.leaf_strides)
        ]
        outs = [
            None
            if p is None
            else b.gep(p, d.kind, b.mul(index, self.inner) if s is None else offset_of(b, coords, s[1]))
            for p, d, s in zip(self.out_bases, self.shape.results, self.out_strides)
        ]
        return leaves, outs

    def _segment(self, item: Reg) -> None:
        """A segment of rows, and the row of sums of each result that is added up."""
        b = self.b
        first = b.mul(item, self.segment)  # type: ignore[arg-type]
        last = b.smin(b.add(first, self.segment), self.rows)  # type: ignore[arg-type]
        length = b.mul(self.inner, self.outer_total)
        place = b.mul(b.mul(item, length), self.number(self.program.added))
        for k, result in enumerate(self.shape.results):
            if self.program.is_added(k):
                sums = self.sums[k] = b.gep(self.outs[k], result.kind, place)
                with b.at_width(self.width), b.loop(self.number(0), length, self.width) as loop:
                    mask = b.icmp("slt", b.add(b.splat(loop.i), b.iota("i64")), b.splat(length))
                    self._store(b.const(self.kind, 0.0), k, b.gep(sums, result.kind, loop.i), mask)
        with b.loop(first, last) as rows:
            self._along(rows.i)

    def _ahead(self, index: Reg | None) -> list[tuple[str, str]]:
        """The same place in the next row, of leaves that are contiguous there: where it begins, and its kind."""
        b = self.b
        bases = self.next_bases
        if index is not None and self.shape.outer:
            coords = coordinates(b, index, self.outer_sizes)
            bases = [
                b.gep(p, k.kind, offset_of(b, coords, s[1])) for p, k, s in zip(bases, self.kinds, self.leaf_strides)
            ]
        return [(p, k.kind) for p, k, c in zip(bases, self.kinds, self.shape.classes) if c == CONTIGUOUS]

    def _along(self, row: Reg) -> None:
        b = self.b
        self._bases(coordinates(b, row, self.kept_sizes))
        if self.fetching is not None:
            size = b.mul(self.inner, self.outer_total)
            ahead = b.select(b.icmp("sle", size, self.number(AHEAD)), self.number(1), self.number(0))
            self.next_bases = self._leaf_bases(coordinates(b, b.add(row, ahead), self.kept_sizes))
        known: dict[int, Reg] = {}  # what the row has, as scalars
        for stage in range(self.program.stages):
            self._row_values(known, stage, 1)
            reductions = self.program.reductions(stage)
            if reductions or self._writes(stage):
                self._sweep_along(stage, reductions, known)
        self._row_results(known, row, None)

    def _sweep_along(self, stage: int, reductions: list[Expr], known: dict[int, Reg]) -> None:
        b, w = self.b, self.width
        wide = w * self.unroll
        with b.at_width(w):
            spread = {i: b.splat(r) for i, r in known.items()}
            start = [self.identity(n) for n in reductions]
        zero = self.number(0)

        def widened(same: dict[int, Reg]) -> dict[int, Reg]:
            return {i: b.shuffle(r, None, [0] * wide) for i, r in same.items()}

        def outer(index: Reg | None, held: list[Reg]) -> list[Reg]:
            leaves, outs = self._at(index)
            ahead = self._ahead(index) if stage == self.fetching else []
            once = self._once(leaves)
            before = b.mul(index, self.inner) if index is not None else None
            with b.at_width(w):
                same = self._uniform_values(stage, _Place(leaves, outs, once, zero, before, None, spread, zero))
            with b.loop(zero, self.inner, ALONG_BLOCK, held) as blocks:
                last = b.add(blocks.i, self.number(ALONG_BLOCK))
                last = b.select(b.icmp("slt", last, self.inner), last, self.inner)
                unrolled = b.add(blocks.i, b.and_(b.sub(last, blocks.i), self.number(-wide)))
                whole = b.add(blocks.i, b.and_(b.sub(last, blocks.i), self.number(-w)))

                def body(i: Reg, sums: list[Reg], held_once: dict, held_same: dict, mask: Reg | None) -> list[Reg]:
                    place = _Place(leaves, outs, held_once, i, before, mask, held_same, last)
                    values = self._visit(stage, reductions, place)
                    return [self.combine(n, x, y) for n, x, y in zip(reductions, sums, values)]

                # All vectors of a step as one: their chains of dependent instructions go side by side.
                with b.at_width(wide):
                    fresh = [self.identity(n) for n in reductions]
                    with b.loop(blocks.i, unrolled, wide, fresh) as loop:
                        for u in range(self.unroll):
                            for base, kind in ahead:
                                b.prefetch(b.gep(base, kind, b.add(loop.i, self.number(u * w)) if u else loop.i))
                        loop.next(*body(loop.i, loop.values, widened(once), widened(same), None))
                parts = [
                    [b.shuffle(x, None, range(u * w, (u + 1) * w)) for u in range(self.unroll)] for x in loop.values
                ]
                with b.at_width(w):
                    firsts = [p[0] for p in parts]
                    with b.loop(unrolled, whole, w, firsts) as loop:
                        loop.next(*body(loop.i, loop.values, once, same, None))
                    with b.loop(whole, last, w, loop.values) as loop:
                        lane = b.add(b.splat(loop.i), b.iota("i64"))
                        mask = b.icmp("slt", lane, b.splat(last))
                        loop.next(*body(loop.i, loop.values, once, same, mask))
                    totals = []
                    for k, n in enumerate(reductions):
                        sums = [loop.values[k], *parts[k][1:]]
                        while len(sums) > 1:
                            sums = [self.combine(n, x, y) for x, y in zip(sums[::2], sums[1::2])]
                        totals.append(self.combine(n, blocks.values[k], sums[0]))
                blocks.next(*totals)
            return blocks.values

        if self.shape.outer:
            with b.loop(zero, self.outer_total, 1, start) as places:
                places.next(*outer(places.i, places.values))
            sums = places.values
        else:
            sums = outer(None, start)
        with b.at_width(1):
            for n, total in zip(reductions, sums):
                known[id(n)] = b.reduce(total, lambda x, y, n=n: self.combine(n, x, y))  # type: ignore[misc]

    def _across(self, item: Reg) -> None:
        b, w = self.b, self.width
        block = b.urem(item, self.blocks)  # type: ignore[arg-type]
        outer = b.udiv(item, self.blocks)  # type: ignore[arg-type]
        self._bases(coordinates(b, outer, self.kept_sizes))
        step = self.number(w * self.unroll)
        first = b.mul(block, step)
        last = b.add(first, step)
        row = b.mul(outer, self.inner)
        whole = b.icmp("sle", last, self.inner)
        last = b.select(whole, last, self.inner)
        middle = b.select(whole, last, first)
        with b.loop(first, middle, w * self.unroll) as loop:
            self._columns(loop.i, row, self.unroll, last)
        with b.loop(middle, last, w) as loop:
            self._columns(loop.i, row, 1, last)

    def _columns(self, column: Reg, row: Reg, copies: int, last: Reg) -> None:
        """All stages for `copies` vectors of rows; a single vector may be part of one."""
        b, w = self.b, self.width
        columns = [b.add(column, self.number(u * w)) if u else column for u in range(copies)]
        mask = None
        with b.at_width(w):
            if copies == 1:
                mask = b.icmp("slt", b.add(b.splat(column), b.iota("i64")), b.splat(last))
            known: list[dict[int, Reg]] = [{} for _ in columns]
            for stage in range(self.program.stages):
                for have in known:
                    self._row_values(have, stage, w)
                reductions = self.program.reductions(stage)
                if reductions or self._writes(stage):
                    self._sweep_across(stage, reductions, columns, known, mask, last)
            for at, have in zip(columns, known):
                self._row_results(have, b.add(row, at), mask)

    def _sweep_across(
        self, stage: int, reductions: list[Expr], columns: list[Reg], known: list[dict], mask: Reg | None, last: Reg
    ) -> None:
        b = self.b
        start = [self.identity(n) for n in reductions for _ in columns]
        with b.loop(self.number(0), self.outer_total, ACROSS_BLOCK, start) as blocks:
            stop = b.add(blocks.i, self.number(ACROSS_BLOCK))
            stop = b.select(b.icmp("slt", stop, self.outer_total), stop, self.outer_total)
            with b.loop(blocks.i, stop, 1, start) as loop:
                leaves, outs = self._at(loop.i)
                once = self._once(leaves)
                made = list(loop.values)
                for u, column in enumerate(columns):
                    place = _Place(leaves, outs, once, column, loop.i, mask, known[u], last)
                    for k, value in enumerate(self._visit(stage, reductions, place)):
                        at = k * len(columns) + u
                        made[at] = self.combine(reductions[k], made[at], value)
                loop.next(*made)
            names = [n for n in reductions for _ in columns]
            blocks.next(*(self.combine(n, x, y) for n, x, y in zip(names, blocks.values, loop.values)))
        for k, n in enumerate(reductions):
            for u in range(len(columns)):
                known[u][id(n)] = blocks.values[k * len(columns) + u]

    # --- values ---------------------------------------------------------------------------------------------------

    def identity(self, n: Expr) -> Reg:
        return self.b.const(self.kind, REDUCTIONS[n.primitive.reduction].identity(self.compute))  # type: ignore[union-attr]

    def combine(self, n: Expr, x: Reg, y: Reg) -> Reg:
        return lower(self.b, REDUCTIONS[n.primitive.reduction].primitive, [x, y], self.compute)  # type: ignore[union-attr]

    def _once(self, leaves: list[str]) -> dict[int, Reg]:
        """Leaves that do not change along the innermost dimension; those that are inputs in the kind computed in."""
        b = self.b
        found = {}
        for item, first in zip(self.shape.inputs, self.first_leaf):
            for k in range(first, first + item.leaves):
                if self.shape.classes[k] == SCALAR:
                    one = b.load(leaves[k], self.kinds[k].kind, width=1)
                    found[k] = b.splat(one if item.code else self._converted(one, item), self.width)
        return found

    def _converted(self, x: Reg, item: Input) -> Reg:
        """An input's value in the kind that is computed in."""
        signed = item.dtype.is_signed if item.dtype.category < 2 else self.compute.is_signed
        return self.b.convert(x, self.kind, signed)

    def _writes(self, stage: int) -> list[int]:
        levels = self.program.levels
        return [
            k for k, (r, full) in enumerate(zip(self.program.results, self.program.full))
            if full and levels[id(r)] == stage
        ]  # fmt: skip

    def _row_values(self, known: dict[int, Reg], stage: int, width: int) -> None:
        """Everything with one value a row that is known before a stage."""
        b = self.b
        with b.at_width(width):
            for node in self.program.order:
                i = id(node)
                if i in known or i not in self.program.per_row or self.program.levels[i] > stage:
                    continue
                if node.primitive is None:
                    known[i] = b.splat(self.numbers[node.name])
                elif not isinstance(node.primitive, RowReduction):
                    args = [known[id(a)] if a.__class__ is Expr else a for a in node.args]
                    known[i] = lower(b, node.primitive.name, args, self.compute)

    def _uniform_values(self, stage: int, place: _Place) -> dict[int, Reg]:
        """What belongs to the row, with what is the same all along the innermost dimension."""
        made = dict(place.row)
        for node in self.program.order:
            i = id(node)
            if i not in self.uniform or self.program.levels[i] > stage:
                continue
            if node.primitive is None:
                made[i] = self._input(node.name, place)
            else:
                args = [made[id(a)] if a.__class__ is Expr else a for a in node.args]
                made[i] = lower(self.b, node.primitive.name, args, self.compute)
        return made

    def _row_results(self, known: dict[int, Reg], row: Reg, mask: Reg | None) -> None:
        width = self.width if self.shape.across else 1
        self._row_values(known, self.program.stages, width)
        for k, (r, full) in enumerate(zip(self.program.results, self.program.full)):
            if not full:
                self._store(known[id(r)], k, self.b.gep(self.outs[k], self.shape.results[k].kind, row), mask)

    def _store(self, value: Reg, k: int, target: str, mask: Reg | None) -> None:
        made = self.b.convert(value, self.shape.results[k].kind, self.compute.is_signed)
        if mask is None:
            self.b.store(made, target)
        else:
            self.b.store_some(made, target, mask)

    def _load(self, base: str, kind: str, place: _Place) -> Reg:
        target = self.b.gep(base, kind, place.i)
        return self.b.load(target, kind) if place.mask is None else self.b.load_some(target, kind, place.mask)

    def _visit(self, stage: int, reductions: list[Expr], place: _Place) -> list[Reg]:
        """One vector of elements: what is to be reduced; results and what is kept are written."""
        b = self.b
        before = self.kept[stage - 1] if stage else None
        now = self.kept[stage]
        values: dict[int, Reg] = {}

        def value(node: Any) -> Any:
            if node.__class__ is not Expr:
                return node
            i = id(node)
            if i in place.row:
                return place.row[i]
            if i not in values:
                values[i] = self._load(place.outs[self.slot], self.kind, place) if node is before else fresh(node)
            return values[i]

        def fresh(node: Expr) -> Reg:
            if node.primitive is None:
                return self._position(place) if node.name == "#" else self._input(node.name, place)
            args = [value(a) for a in node.args]
            name = "exp_below_one" if _below_one(node) else node.primitive.name
            return lower(b, name, args, self.compute)

        parts = []
        for n in reductions:
            made = value(n.args[0])
            if place.mask is not None and not self.shape.across:
                made = b.select(place.mask, made, self.identity(n))
            parts.append(made)
        written = self._writes(stage)
        for k in written:
            value(self.program.results[k])
        for k in written:
            made = value(self.program.results[k])
            if self.program.is_added(k):
                made = b.fadd(self._load(place.outs[k], self.kind, place), made)
            self._store(made, k, b.gep(place.outs[k], self.shape.results[k].kind, place.i), place.mask)
        if now is not before and now is not None:
            place_out = place.outs[self.slot]  # type: ignore[index]
            self._store(value(now), self.slot, b.gep(place_out, self.kind, place.i), place.mask)  # type: ignore[arg-type]
        return parts

    def _position(self, place: _Place) -> Reg:
        b = self.b
        if self.shape.across:
            return b.splat(b.convert(place.before, self.kind))
        at = b.add(place.i, place.before) if place.before is not None else place.i
        # Converted before it is spread: one conversion for all lanes.
        add = b.fadd if self.compute.is_floating_point else b.add
        return add(b.splat(b.convert(at, self.kind)), b.iota(self.kind))

    def _input(self, name: str, place: _Place) -> Reg:
        """An input's value in the kind that is computed in."""
        b = self.b
        k = self.program.parameters.index(name)
        item = self.shape.inputs[k]

        def leaf(j: int) -> Reg:
            j += self.first_leaf[k]
            if j in place.once:
                return place.once[j]
            kind = self.kinds[j].kind
            if self.shape.classes[j] == STRIDED:
                stride = self.leaf_strides[j][2]
                if place.mask is None:
                    return load_along(b, place.leaves[j], kind, place.i, STRIDED, stride)
                return self._load_strided_some(place.leaves[j], kind, place, stride)
            return self._load(place.leaves[j], kind, place)

        made = emit_body(b, item.code, leaf, self.params[k])[-1] if item.code else leaf(0)
        return self._converted(made, item)

    def _load_strided_some(self, base: str, kind: str, place: _Place, stride: Reg) -> Reg:
        """The lanes up to the last element, which the others repeat."""
        b = self.b
        end = b.sub(place.last, self.number(1))
        out = Reg("poison", kind, b.width)
        for lane in range(b.width):
            at = b.add(place.i, self.number(lane))
            at = b.select(b.icmp("slt", at, end), at, end)
            out = b.insert(out, b.load(b.gep(base, kind, b.mul(at, stride)), kind, width=1), lane)
        return out


class _Place:
    """Where one vector of elements is."""

    __slots__ = ("leaves", "outs", "once", "i", "before", "mask", "row", "last")

    def __init__(
        self, leaves: list, outs: list, once: dict, i: Reg, before: Reg | None, mask: Reg | None, row: dict, last: Reg
    ):
        self.leaves, self.outs, self.once = leaves, outs, once  # beginnings for this place of the outer dimensions
        # The innermost index; elements (across: rows) before; lanes in use.
        self.i, self.before, self.mask = i, before, mask
        self.row, self.last = row, last  # what belongs to the row, as vectors; the end of the innermost range
