"""The kernel of running extremes: for each element the largest (or smallest) up to it, and its place.

Of equal ones the last is named, and once there is a NaN it stays. Operands are row-major: (lines, size, inner), run
through along `size`. Where there is one row in a line (inner is 1) a work item is `ROWS` of them, which are gone
through together, so that none waits for its own comparison; else it is a vector of neighbouring rows.
"""

from __future__ import annotations

from .conv_layout import SIGNATURE, Words, lanes_below, madd, masked_load, masked_store, number, vector_width
from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg

POINTERS = ("values", "places", "x")
WORDS = ("size", "inner", "lines")
FORMATS = "q" * (len(POINTERS) + len(WORDS))
ROWS = 4


def lanes(kind: str) -> int:
    """How many rows a vector holds."""
    return min(vector_width(kind), vector_width("f32"))


def source(kind: str, largest: bool, signed: bool, single: bool) -> str:
    """LLVM IR of the kernel; single: for lines of one row."""
    module = Module("cpu")
    b = module.function(NAME, SIGNATURE)
    args = Arguments(b)
    p = {name: args.pointer() for name in POINTERS}
    s = Words(b, args, WORDS)
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item:
        if single:
            _rows(b, kind, largest, signed, p, s, item.i)
        else:
            _columns(b, kind, largest, signed, p, s, item.i)
    return module.text()


def _replaces(b: Builder, largest: bool, signed: bool, x: Reg, best: Reg) -> Reg:
    """Whether an element takes the place of the best one so far."""
    if x.kind in ("f32", "f64"):
        return b.or_(b.fcmp("oge" if largest else "ole", x, best), b.fcmp("uno", x, x))
    return b.icmp(("s" if signed else "u") + ("ge" if largest else "le"), x, best)


def _columns(b: Builder, kind: str, largest: bool, signed: bool, p: dict, s: Words, item: Reg) -> None:
    width = lanes(kind)
    blocks = b.udiv(b.add(s.inner, number(b, width - 1)), number(b, width))
    column = b.mul(b.urem(item, blocks), number(b, width))
    mask = lanes_below(b, b.sub(s.inner, column), width, kind)
    first = madd(b, b.mul(b.udiv(item, blocks), s.size), s.inner, column)
    with b.at_width(width):
        start = [masked_load(b, b.gep(p["x"], kind, first), kind, mask), b.const("i64", 0)]
        with b.loop(0, s.size, 1, start) as k:
            best, place = k.values
            at = madd(b, k.i, s.inner, first)
            x = masked_load(b, b.gep(p["x"], kind, at), kind, mask)
            better = _replaces(b, largest, signed, x, best)
            best, place = b.select(better, x, best), b.select(better, b.splat(k.i), place)
            masked_store(b, best, b.gep(p["values"], kind, at), mask)
            masked_store(b, place, b.gep(p["places"], "i64", at), mask)
            k.next(best, place)


def _rows(b: Builder, kind: str, largest: bool, signed: bool, p: dict, s: Words, item: Reg) -> None:
    row = b.mul(item, number(b, ROWS))
    together, single, done = b.fresh("together"), b.fresh("single"), b.fresh("gone")
    b.cond_br(b.icmp("sle", b.add(row, number(b, ROWS)), s.lines), together, single)
    b.label(together)
    _through(b, kind, largest, signed, p, s, [b.mul(b.add(row, number(b, r)), s.size) for r in range(ROWS)])
    b.br(done)
    b.label(single)
    with b.loop(row, s.lines) as r:
        _through(b, kind, largest, signed, p, s, [b.mul(r.i, s.size)])
    b.label(done)


def _through(b: Builder, kind: str, largest: bool, signed: bool, p: dict, s: Words, firsts: list) -> None:
    """Go through rows that begin at these places, together."""
    start = [b.load(b.gep(p["x"], kind, first), kind, width=1) for first in firsts]
    with b.at_width(1), b.loop(0, s.size, 1, [*start, *[number(b, 0)] * len(firsts)]) as k:
        bests, places = [], []
        for first, best, place in zip(firsts, k.values[: len(firsts)], k.values[len(firsts) :], strict=True):
            at = b.add(first, k.i)
            x = b.load(b.gep(p["x"], kind, at), kind)
            better = _replaces(b, largest, signed, x, best)
            bests.append(b.select(better, x, best))
            places.append(b.select(better, k.i, place))
            b.store(bests[-1], b.gep(p["values"], kind, at))
            b.store(places[-1], b.gep(p["places"], "i64", at))
        k.next(*bests, *places)
