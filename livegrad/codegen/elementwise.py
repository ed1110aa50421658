"""Kernels of elementwise programs: loops around a body.

Arguments, all 64 bits wide and packed in this order: pointers of the outputs, pointers of the leaves, Python numbers,
and for a strided program the inner size, the outer sizes, and each leaf's strides (outermost first); for a flat program
with periodic leaves their period.

Flat program: every leaf is contiguous, one element, or periodic; a work item is an element.
Strided program: a work item is a row of the innermost dimension; outputs are contiguous.
"""

from __future__ import annotations

from .body import emit_body
from .ir import Builder, Module, Reg, host_vector_bytes, kind_bytes
from .layout import CONTIGUOUS, MAX_PERIOD, NAME, PERIODIC, SCALAR, lanes, leaf_dtypes, node_dtypes, param_formats
from .rowshape import together


class Arguments:
    """Reads the packed arguments in order."""

    def __init__(self, b: Builder):
        self.b = b
        self.next = 0

    def word(self) -> Reg:
        reg = self.b.load(self.b.gep("%args", "i64", self.next), "i64", align=8, width=1)
        self.next += 1
        return reg

    def pointer(self) -> str:
        name = self.b.fresh("ptr")
        place = self.b.gep("%args", "i64", self.next)
        self.next += 1
        self.b.line(f"%{name} = load ptr, ptr {place}, align 8")
        return "%" + name

    def numbers(self, formats: str) -> list[Reg]:
        found = []
        for f in formats:
            if f == "q":
                found.append(self.word())
            elif f == "d":
                found.append(self.b.bitcast(self.word(), "f64"))
            else:
                found.append(self.b.paired(*[self.b.bitcast(self.word(), "f64") for _ in "dd"], "c128"))
        return found


def flat_source(code: tuple, outputs: tuple, classes: tuple, streaming: bool = False) -> str:
    """LLVM IR of a flat program."""
    module = Module("cpu")
    b = module.function(NAME, [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")])
    kinds = leaf_dtypes(code, len(classes))
    results = node_dtypes(code)
    single = lanes(kinds + results, host_vector_bytes())
    width = single * together(code)
    args = Arguments(b)
    outs = [args.pointer() for _ in outputs]
    ptrs = [args.pointer() for _ in classes]
    params = args.numbers(param_formats(code))
    begin, end = Reg("%begin", "i64"), Reg("%end", "i64")
    once = {k: b.load(ptrs[k], kinds[k].kind, width=1) for k, c in enumerate(classes) if c == SCALAR}
    period = args.word() if PERIODIC in classes else None
    repeated = {
        k: _repeated(b, ptrs[k], kinds[k].kind, period, width)
        for k, c in enumerate(classes)
        if c == PERIODIC and period is not None
    }

    def step(i: Reg, w: int) -> None:
        within = None if period is None else b.urem(i, period)
        with b.at_width(w):

            def leaf(k: int) -> Reg:
                if k in once:
                    return b.splat(once[k])
                if k in repeated:
                    return b.load(b.gep(repeated[k], kinds[k].kind, within), kinds[k].kind)
                return b.load(b.gep(ptrs[k], kinds[k].kind, i), kinds[k].kind)

            made = emit_body(b, code, leaf, params)
            for out, node in zip(outs, outputs):
                kind = results[node].kind
                target = b.gep(out, kind, i)
                nt = streaming and w > 1
                b.store(made[node], target, align=min(w * results[node].itemsize, 64) if nt else None, nontemporal=nt)

    if streaming and width > 1:
        # Up to where vectors are aligned: a batch of launches is cut anywhere.
        head = b.smin(b.add(begin, b.and_(b.neg(begin), b.const("i64", width - 1, 1))), end)
        with b.loop(begin, head) as loop:
            step(loop.i, 1)
        begin = head
    # The more vectors a step has, the more elements would be left to the last loop.
    for w in (width, single, 1) if width > 2 * single else (width, 1):
        if w > 1:
            middle = b.add(begin, b.and_(b.sub(end, begin), b.const("i64", -w, 1)))
        else:
            middle = end
        with b.loop(begin, middle, w) as loop:
            step(loop.i, w)
        begin = middle
    return module.text()


def _repeated(b: Builder, ptr: str, kind: str, period: Reg, width: int) -> str:
    """A copy of a periodic leaf's elements that goes on for a vector more, so that one can be read at each of them."""
    name = b.fresh("repeated")
    b.line(f"%{name} = alloca i8, i64 {(MAX_PERIOD + width) * kind_bytes(kind)}, align 64")
    with b.loop(0, b.add(period, b.const("i64", width, 1))) as at:
        x = b.load(b.gep(ptr, kind, b.urem(at.i, period)), kind, width=1)
        b.store(x, b.gep(f"%{name}", kind, at.i))
    return f"%{name}"


def strided_source(code: tuple, outputs: tuple, classes: tuple, rank: int) -> str:
    """LLVM IR of a strided program of `rank` merged dimensions."""
    module = Module("cpu")
    b = module.function(NAME, [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")])
    kinds = leaf_dtypes(code, len(classes))
    results = node_dtypes(code)
    width = lanes(kinds + results, host_vector_bytes())
    args = Arguments(b)
    outs = [args.pointer() for _ in outputs]
    ptrs = [args.pointer() for _ in classes]
    params = args.numbers(param_formats(code))
    inner = args.word()
    outer = [args.word() for _ in range(rank - 1)]
    strides = [[args.word() for _ in range(rank)] for _ in classes]
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as rows:
        coords = coordinates(b, rows.i, outer)
        bases = []
        for k in range(len(classes)):
            bases.append(b.gep(ptrs[k], kinds[k].kind, offset_of(b, coords, strides[k][:-1])))
        first = b.mul(rows.i, inner)
        targets = [b.gep(out, results[n].kind, first) for out, n in zip(outs, outputs)]
        once = {k: b.load(bases[k], kinds[k].kind, width=1) for k, c in enumerate(classes) if c == SCALAR}

        def step(i: Reg, w: int) -> None:
            with b.at_width(w):

                def leaf(k: int) -> Reg:
                    if k in once:
                        return b.splat(once[k])
                    return load_along(b, bases[k], kinds[k].kind, i, classes[k], strides[k][-1])

                made = emit_body(b, code, leaf, params)
                for target, node in zip(targets, outputs):
                    kind = results[node].kind
                    b.store(made[node], b.gep(target, kind, i))

        start = b.const("i64", 0, 1)
        if width > 1:
            middle = b.and_(inner, b.const("i64", -width, 1))
            with b.loop(start, middle, width) as columns:
                step(columns.i, width)
            start = middle
        with b.loop(start, inner) as columns:
            step(columns.i, 1)
    return module.text()


def coordinates(b: Builder, index: Reg, sizes: list[Reg]) -> list[Reg]:
    """The coordinates of a linear index over `sizes`, outermost first."""
    coords: list[Reg] = []
    left = index
    for n in reversed(sizes[1:]):
        coords.append(b.urem(left, n))
        left = b.udiv(left, n)
    if sizes:
        coords.append(left)
    return coords[::-1]


def offset_of(b: Builder, coords: list[Reg], strides: list[Reg]) -> Reg:
    total = b.const("i64", 0, 1)
    for c, s in zip(coords, strides):
        total = b.add(total, b.mul(c, s))
    return total


def load_along(b: Builder, base: str, kind: str, i: Reg, how: int, stride: Reg) -> Reg:
    """Element i (and the next ones, in vector code) along the innermost dimension."""
    if how == CONTIGUOUS:
        return b.load(b.gep(base, kind, i), kind)
    place = b.mul(i, stride)
    if b.width == 1:
        return b.load(b.gep(base, kind, place), kind)
    parts = []
    for lane in range(b.width):
        here = place if lane == 0 else b.add(place, b.mul(stride, b.const("i64", lane, 1)))
        parts.append(b.load(b.gep(base, kind, here), kind, width=1))
    out = Reg("poison", parts[0].kind, b.width)
    for lane, part in enumerate(parts):
        out = b.insert(out, part, lane)
    return out
