"""Kernels of pooling over windows, and of its gradients. All arrays are row-major: planes of d, h, w."""

from __future__ import annotations

from .conv_layout import (
    SIGNATURE,
    Words,
    clamp_high,
    gather_lanes,
    lanes_below,
    madd,
    masked_load,
    masked_store,
    number,
    vector_width,
)
from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg

WINDOW_WORDS = tuple(
    f"{what}_{axis}" for what in ("size", "out", "window", "step", "pad", "dilation") for axis in "dhw"
)
POINTERS = ("x", "out", "index")
WORDS = (*WINDOW_WORDS, "include_pad", "divisor")


def _clip(b: Builder, start: Reg, size: Reg, window: Reg, dilation: Reg) -> tuple[Reg, Reg]:
    """The taps of a window starting at `start` that lie inside: first and last + 1."""
    zero, one = number(b, 0), number(b, 1)

    def steps(distance: Reg) -> Reg:
        found = b.sdiv(b.sub(b.add(distance, dilation), one), dilation)
        return b.select(b.icmp("slt", distance, one), zero, found)

    return steps(b.neg(start)), clamp_high(b, window, steps(b.sub(size, start)))


def _count(b: Builder, start: Reg, s: Words, axis: str) -> Reg:
    """How many places of an average's window count along one axis."""
    size, window, pad = (getattr(s, f"{what}_{axis}") for what in ("size", "window", "pad"))
    padded = b.icmp("ne", s.include_pad, number(b, 0))
    low = b.select(b.or_(padded, b.icmp("sgt", start, number(b, 0))), start, number(b, 0))
    high = b.add(start, window)
    limit = b.select(padded, b.add(size, pad), size)
    return b.sub(clamp_high(b, high, limit), low)


def _start(b: Builder, place: Reg, s: Words, axis: str) -> Reg:
    return b.sub(b.mul(place, getattr(s, f"step_{axis}")), getattr(s, f"pad_{axis}"))


def _load_every(b: Builder, kind: str, width: int, step: int, row: str, first: Reg, size: Reg, by: Reg) -> tuple:
    """Elements first, first + step, ... of a row, zero outside of it: (vector, mask of what is inside, places)."""
    with b.at_width(width):
        lanes = b.iota("i32")
        scale = b.splat(b.convert(by, "i32")) if not step else b.const("i32", step)
        places = b.add(b.splat(b.convert(first, "i32")), b.mul(lanes, scale))
        limit = b.splat(b.convert(size, "i32"))
        inside = b.icmp("ult", places, limit)
        if step == 1 or width == 1:
            return masked_load(b, b.gep(row, kind, first), kind, inside), inside, places
        if step == 2:
            parts = []
            for half in range(2):
                at = b.add(first, number(b, half * width)) if half else first
                near = b.add(b.splat(b.convert(at, "i32")), lanes)
                parts.append(masked_load(b, b.gep(row, kind, at), kind, b.icmp("ult", near, limit)))
            return b.shuffle(*parts, range(0, 2 * width, 2)), inside, places
        return gather_lanes(b, kind, row, b.convert(places, "i64"), inside), inside, places


def forward_source(kind: str, what: str, step: int) -> str:
    """LLVM IR of pooling. what: "max", "argmax" (with 32-bit positions in the plane) or "avg".

    step: along the last axis, 1 or 2, or 0 for any. A work item is a row of the result. divisor: 0 for the count of
    places. Arguments: POINTERS, WORDS.
    """
    module = Module("cpu")
    b = module.function(NAME, SIGNATURE)
    args = Arguments(b)
    x, out, index = (args.pointer() for _ in POINTERS)
    s = Words(b, args, WORDS)
    width = vector_width(kind)
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item:
        h, rest = b.urem(item.i, s.out_h), b.udiv(item.i, s.out_h)
        d, plane = b.urem(rest, s.out_d), b.udiv(rest, s.out_d)
        start_d, start_h = _start(b, d, s, "d"), _start(b, h, s, "h")
        with b.loop(0, s.out_w, width) as j, b.at_width(width):
            start_w = _start(b, j.i, s, "w")
            carried = [b.const(kind, 0)]
            if what == "argmax":
                carried.append(b.const("i32", -1))
            elif what == "max":
                carried.append(b.const("i32", 0))
            with b.loop(*_clip(b, start_d, s.size_d, s.window_d, s.dilation_d), 1, carried) as kd:
                at_d = madd(b, kd.i, s.dilation_d, start_d)
                with b.loop(*_clip(b, start_h, s.size_h, s.window_h, s.dilation_h), 1, kd.values) as kh:
                    at_h = madd(b, kh.i, s.dilation_h, start_h)
                    row = madd(b, madd(b, plane, s.size_d, at_d), s.size_h, at_h)
                    row_ptr = b.gep(x, kind, b.mul(row, s.size_w))
                    before = b.convert(b.mul(madd(b, at_d, s.size_h, at_h), s.size_w), "i32")
                    with b.loop(0, s.window_w, 1, kh.values) as kw:
                        first = madd(b, kw.i, s.dilation_w, start_w)
                        v, inside, places = _load_every(b, kind, width, step, row_ptr, first, s.size_w, s.step_w)
                        if what == "avg":
                            kw.next(b.fadd(kw.values[0], v))
                        else:
                            best, mark = kw.values
                            empty = b.icmp("slt" if what == "argmax" else "eq", mark, b.const("i32", 0))
                            better = b.or_(b.or_(b.fcmp("ogt", v, best), b.fcmp("uno", v, v)), empty)
                            better = b.and_(better, inside)
                            name = b.add(places, b.splat(before)) if what == "argmax" else b.const("i32", 1)
                            kw.next(b.select(better, v, best), b.select(better, name, mark))
                    kh.next(*kw.values)
                kd.next(*kh.values)
            made = kd.values[0]
            if what == "avg":
                made = b.fdiv(made, _divisors(b, kind, width, s, start_d, start_h, start_w))
            mask = lanes_below(b, b.sub(s.out_w, j.i), width, kind)
            place = madd(b, item.i, s.out_w, j.i)
            masked_store(b, made, b.gep(out, kind, place), mask)
            if what == "argmax":
                masked_store(b, kd.values[1], b.gep(index, "i32", place), mask)
    return module.text()


def _divisors(b: Builder, kind: str, width: int, s: Words, start_d: Reg, start_h: Reg, start_w: Reg) -> Reg:
    """What the sums of a row are divided by."""
    fixed = b.icmp("ne", s.divisor, number(b, 0))
    across = b.mul(_count(b, start_d, s, "d"), _count(b, start_h, s, "h"))
    padded = b.icmp("ne", s.include_pad, number(b, 0))
    with b.at_width(width):
        start = b.add(b.splat(start_w), b.mul(b.iota("i64"), b.splat(s.step_w)))
        zero = b.const("i64", 0)
        low = b.select(b.or_(b.splat(padded), b.icmp("sgt", start, zero)), start, zero)
        high = b.add(start, b.splat(s.window_w))
        limit = b.splat(b.select(padded, b.add(s.size_w, s.pad_w), s.size_w))
        count = b.sub(b.select(b.icmp("slt", high, limit), high, limit), low)
        count = b.select(b.splat(fixed), b.splat(s.divisor), b.mul(count, b.splat(across)))
        return b.convert(count, kind)


def _clear(b: Builder, kind: str, width: int, plane: str, size: Reg) -> None:
    with b.at_width(width):
        whole = b.and_(size, number(b, -width))
        with b.loop(0, whole, width) as i:
            b.store(b.const(kind, 0), b.gep(plane, kind, i.i))
    with b.loop(whole, size) as i:
        b.store(b.const(kind, 0, 1), b.gep(plane, kind, i.i))


SCATTER_WORDS = ("outputs", "size")


def scatter_source(kind: str, adds: bool) -> str:
    """LLVM IR that puts each element of a plane where `index` says in an else empty plane; a work item is a plane.

    adds: elements that meet are added up, else the last one stays. Arguments: POINTERS, SCATTER_WORDS.
    """
    module = Module("cpu")
    b = module.function(NAME, SIGNATURE)
    args = Arguments(b)
    x, out, index = (args.pointer() for _ in POINTERS)
    s = Words(b, args, SCATTER_WORDS)
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item:
        plane = b.gep(out, kind, b.mul(item.i, s.size))
        _clear(b, kind, vector_width(kind), plane, s.size)
        first = b.mul(item.i, s.outputs)
        with b.loop(first, b.add(first, s.outputs)) as i:
            at = b.convert(b.load(b.gep(index, "i32", i.i), "i32", width=1), "i64")
            place = b.gep(plane, kind, at)
            v = b.load(b.gep(x, kind, i.i), kind, width=1)
            if adds:
                v = b.fadd(b.load(place, kind, width=1), v)
            b.store(v, place)
    return module.text()


def spread_source(kind: str) -> str:
    """LLVM IR of the gradient of average pooling; a work item is a plane. Arguments: POINTERS, WORDS."""
    module = Module("cpu")
    b = module.function(NAME, SIGNATURE)
    args = Arguments(b)
    g, out, _ = (args.pointer() for _ in POINTERS)
    s = Words(b, args, WORDS)
    size = b.mul(b.mul(s.size_d, s.size_h), s.size_w)
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item:
        plane = b.gep(out, kind, b.mul(item.i, size))
        _clear(b, kind, vector_width(kind), plane, size)
        with b.loop(0, s.out_d) as d, b.loop(0, s.out_h) as h, b.loop(0, s.out_w) as w:
            places = madd(b, madd(b, madd(b, item.i, s.out_d, d.i), s.out_h, h.i), s.out_w, w.i)
            starts = [_start(b, i, s, axis) for i, axis in zip((d.i, h.i, w.i), "dhw")]
            count = number(b, 1)
            for start, axis in zip(starts, "dhw"):
                count = b.mul(count, _count(b, start, s, axis))
            count = b.select(b.icmp("ne", s.divisor, number(b, 0)), s.divisor, count)
            with b.at_width(1):
                v = b.fdiv(b.load(b.gep(g, kind, places), kind), b.convert(count, kind))
            ranges = [
                _clip(b, start, getattr(s, f"size_{axis}"), getattr(s, f"window_{axis}"), number(b, 1))
                for start, axis in zip(starts, "dhw")
            ]
            with b.loop(*ranges[0]) as kd, b.loop(*ranges[1]) as kh:
                row = madd(b, b.add(starts[0], kd.i), s.size_h, b.add(starts[1], kh.i))
                row_ptr = b.gep(plane, kind, madd(b, row, s.size_w, starts[2]))
                with b.loop(*ranges[2]) as kw:
                    place = b.gep(row_ptr, kind, kw.i)
                    b.store(b.fadd(b.load(place, kind, width=1), v), place)
    return module.text()
