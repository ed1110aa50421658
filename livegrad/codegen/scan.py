"""Kernels of running totals along a dimension: sums, products; forwards or backwards.

along: the innermost dimension is walked. A work item is a row; a vector of neighbours is scanned by doubling (each lane
takes in the lane 1, 2, 4, ... before it) and takes in the total so far. across: the innermost dimension is kept, lanes
are different rows, and a work item is a block of them.

Totals are carried in `acc`, in float64 for float32, so rounding errors do not pile up along a row.

Arguments, packed: result, leaves, Python numbers; then the inner size, the number of blocks (across), outer kept sizes,
the length and the result's stride of the dimension walked, the result's strides of the outer kept dimensions, and for
each leaf strides of the outer kept dimensions, of the dimension walked, and of the innermost one.
"""

from __future__ import annotations

from .. import dtypes
from .body import emit_body
from .elementwise import Arguments, coordinates, load_along, offset_of
from .ir import Module, Reg
from .layout import (
    CONTIGUOUS,
    NAME,
    SCALAR,
    SCAN_COLUMNS,
    SCANS,
    STRIDED,
    leaf_dtypes,
    param_formats,
    running_dtype,
    scan_width,
)  # fmt: skip
from .lower import lower

# A scan across rows fetches elements so many steps before they are due: the processor does not foresee such strides.
AHEAD = 4


class _Emitter:
    def __init__(
        self, name: str, code: tuple, source: dtypes.dtype, out: dtypes.dtype, classes: tuple, kept: int,
        across: bool, backwards: bool,
    ):  # fmt: skip
        self.primitive, neutral = SCANS[name]
        self.code, self.source, self.out_dtype, self.classes = code, source, out, classes
        self.acc = running_dtype(source)
        self.neutral = neutral(self.acc)
        self.backwards = backwards
        self.module = Module("cpu")
        signature = [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")]
        self.b = self.module.function(NAME, signature)
        self.kinds = leaf_dtypes(code, len(classes)) if code else [source]
        self.width = scan_width(code, len(classes), source, out)
        args = Arguments(self.b)
        self.out = args.pointer()
        self.ptrs = [args.pointer() for _ in classes]
        self.params = args.numbers(param_formats(code))
        self.inner = args.word()
        self.blocks = args.word() if across else None
        self.kept_sizes = [args.word() for _ in range(kept)]
        self.length, self.out_step = args.word(), args.word()
        self.out_strides = [args.word() for _ in range(kept)]
        self.strides = [([args.word() for _ in range(kept)], args.word(), args.word()) for _ in classes]

    def number(self, value: int) -> Reg:
        return self.b.const("i64", value, 1)

    def combine(self, x: Reg, y: Reg) -> Reg:
        return lower(self.b, self.primitive, [x, y], self.acc)

    def start(self) -> Reg:
        return self.b.const(self.acc.compute_kind, self.neutral)

    def bases(self, item: Reg) -> tuple[list[str], str]:
        b = self.b
        coords = coordinates(b, item, self.kept_sizes)
        leaves = [b.gep(p, k.kind, offset_of(b, coords, s[0])) for p, k, s in zip(self.ptrs, self.kinds, self.strides)]
        return leaves, b.gep(self.out, self.out_dtype.kind, offset_of(b, coords, self.out_strides))

    def value(self, bases: list[str], i: Reg, mask: Reg | None, first: Reg, last: Reg) -> Reg:
        """The elements from place i of the innermost dimension on; masked, only those from first to last exist."""
        b = self.b

        def leaf(k: int) -> Reg:
            kind, how, stride = self.kinds[k].kind, self.classes[k], self.strides[k][2]
            if how == SCALAR:
                return b.splat(b.load(bases[k], kind, width=1))
            if mask is None:
                return load_along(b, bases[k], kind, i, how, stride)
            if how != STRIDED:
                return b.load_some(b.gep(bases[k], kind, i), kind, mask)
            out = Reg("poison", kind, b.width)
            for lane in range(b.width):
                at = b.add(i, self.number(lane))
                at = b.select(b.icmp("slt", at, first), first, at)
                at = b.select(b.icmp("slt", at, last), at, b.sub(last, self.number(1)))
                out = b.insert(out, b.load(b.gep(bases[k], kind, b.mul(at, stride)), kind, width=1), lane)
            return out

        made = emit_body(b, self.code, leaf, self.params)[-1] if self.code else leaf(0)
        signed = self.source.is_signed if self.source.category < 2 else self.acc.is_signed
        return b.convert(made, self.acc.compute_kind, signed)

    def store(self, value: Reg, target: str, mask: Reg | None) -> None:
        made = self.b.convert(value, self.out_dtype.kind, self.acc.is_signed)
        if mask is None:
            self.b.store(made, target)
        else:
            self.b.store_some(made, target, mask)

    def _scanned(self, x: Reg, neutral: Reg) -> Reg:
        """Each lane combined with all lanes before it (behind it, backwards)."""
        b, w = self.b, self.width
        shift = 1
        while shift < w:
            lanes = range(shift, w + shift) if self.backwards else range(-shift, w - shift)
            x = self.combine(b.shuffle(x, neutral, [i % (2 * w) for i in lanes]), x)
            shift *= 2
        return x

    def along(self) -> None:
        b, w = self.b, self.width
        zero = self.number(0)
        # Moving a vector's lanes with those of a register behind them takes one instruction; with zeros, two.
        with b.at_width(w):
            neutral = b.splat(b.opaque(b.const(self.acc.compute_kind, self.neutral, 1)))
        with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as rows:
            leaves, out = self.bases(rows.i)
            whole = b.and_(self.inner, self.number(-w))

            def step(distance: Reg, carried: Reg, mask: Reg | None) -> Reg:
                """A vector that begins at a distance from where the walk begins; returns the total after it."""
                i = b.sub(b.sub(self.inner, distance), self.number(w)) if self.backwards else distance
                x = self.value(leaves, i, mask, zero, self.inner)
                scanned = self._scanned(x, neutral)
                self.store(self.combine(carried, scanned), b.gep(out, self.out_dtype.kind, i), mask)
                # Not the last lane of what is stored, though it is the same: the next vector waits for one operation.
                return self.combine(carried, b.shuffle(scanned, None, [0 if self.backwards else w - 1] * w))

            with b.at_width(w):
                with b.loop(zero, whole, w, [self.start()]) as loop:
                    loop.next(step(loop.i, loop.values[0], None))
                with b.loop(whole, self.inner, w, loop.values) as loop:
                    rest = b.sub(self.inner, whole)
                    lane = b.iota("i64")
                    if self.backwards:
                        mask = b.icmp("sge", lane, b.splat(b.sub(self.number(w), rest)))
                    else:
                        mask = b.icmp("slt", lane, b.splat(rest))
                    loop.next(step(loop.i, loop.values[0], mask))

    def across(self) -> None:
        b, w = self.b, self.width
        with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
            block = b.urem(items.i, self.blocks)  # type: ignore[arg-type]
            leaves, out = self.bases(b.udiv(items.i, self.blocks))  # type: ignore[arg-type]
            first = b.mul(block, self.number(w * SCAN_COLUMNS))
            last = b.add(first, self.number(w * SCAN_COLUMNS))
            full = b.icmp("sle", last, self.inner)
            last = b.select(full, last, self.inner)
            middle = b.select(full, last, first)

            def fetch(at: list[str], column: Reg) -> None:
                for p, k, s, c in zip(at, self.kinds, self.strides, self.classes):
                    if c == CONTIGUOUS:
                        steps = self.number(-AHEAD if self.backwards else AHEAD)
                        b.prefetch(b.gep(b.gep(p, k.kind, b.mul(s[1], steps)), k.kind, column))

            def walk(column: Reg, copies: int, mask: Reg | None) -> None:
                columns = [b.add(column, self.number(u * w)) if u else column for u in range(copies)]
                with b.loop(0, self.length, 1, [self.start() for _ in columns]) as loop:
                    i = b.sub(b.sub(self.length, self.number(1)), loop.i) if self.backwards else loop.i
                    at = [b.gep(p, k.kind, b.mul(i, s[1])) for p, k, s in zip(leaves, self.kinds, self.strides)]
                    target = b.gep(out, self.out_dtype.kind, b.mul(i, self.out_step))
                    totals = []
                    for column_at, carried in zip(columns, loop.values):
                        if copies > 1:
                            fetch(at, column_at)
                        total = self.combine(carried, self.value(at, column_at, mask, first, last))
                        self.store(total, b.gep(target, self.out_dtype.kind, column_at), mask)
                        totals.append(total)
                    loop.next(*totals)

            with b.at_width(w):
                with b.loop(first, middle, w * SCAN_COLUMNS) as loop:
                    walk(loop.i, SCAN_COLUMNS, None)
                with b.loop(middle, last, w) as loop:
                    walk(loop.i, 1, b.icmp("slt", b.add(b.splat(loop.i), b.iota("i64")), b.splat(last)))


def source(
    name: str, code: tuple, dtype: dtypes.dtype, out: dtypes.dtype, classes: tuple, kept: int, across: bool,
    backwards: bool,
) -> str:  # fmt: skip
    """LLVM IR of the kernel. dtype: of what is added up. out: of the result."""
    emitter = _Emitter(name, code, dtype, out, classes, kept, across, backwards)
    (emitter.across if across else emitter.along)()
    return emitter.module.text()
