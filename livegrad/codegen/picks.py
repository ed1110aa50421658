"""Kernels of weighted picks: every result is a weighted sum of a few elements of a row, each result of others.

For batches n, rows c of `size` elements, results o of a row and taps t, where an index below zero names no element:

    pick      out[n, c, o]    = sum over t of weight[n, t, o] * x[n, c, index[n, t, o]]
    spread    out[n, c, s]    = sum over t, o with index[n, t, o] = s of weight[n, t, o] * x[n, c, o]
    products  out[n, t, o]    = sum over c of weight[n, c, o] * x[n, c, index[n, t, o]]

Each is linear in both operands, and its gradients are the other two. Operands are row-major, indices have 64 bits.
A work item of `spread` is a row (n, c), in which elements are met in order; of the others it is a vector of results.
"""

from __future__ import annotations

from .conv_layout import (
    SIGNATURE,
    Words,
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

POINTERS = ("out", "x", "weight", "index")
WORDS = ("channels", "size", "outputs")
FORMATS = "q" * (len(POINTERS) + len(WORDS))


def lanes(kind: str) -> int:
    """How many results a work item of `pick` and `products` makes."""
    return vector_width(kind)


def source(what: str, kind: str, taps: int) -> str:
    """LLVM IR of the kernel; what is "pick", "spread" or "products"."""
    module = Module("cpu")
    b = module.function(NAME, SIGNATURE)
    args = Arguments(b)
    pointers = {name: args.pointer() for name in POINTERS}
    write = {"pick": _pick, "spread": _spread, "products": _products}[what]
    write(b, kind, taps, pointers, Words(b, args, WORDS))
    return module.text()


class _Vector:
    """The results of a work item: where they are, which lanes there are, and for each tap what it reads."""

    def __init__(self, b: Builder, kind: str, taps: int, index: str, s: Words, item: Reg):
        width = lanes(kind)
        blocks = b.udiv(b.add(s.outputs, number(b, width - 1)), number(b, width))
        self.batch = b.udiv(item, blocks)
        self.first = b.mul(b.urem(item, blocks), number(b, width))
        self.mask = lanes_below(b, b.sub(s.outputs, self.first), width, kind)
        self.at = [
            madd(b, madd(b, self.batch, number(b, taps), number(b, t)), s.outputs, self.first) for t in range(taps)
        ]
        with b.at_width(width):
            self.places = [masked_load(b, b.gep(index, "i64", at), "i64", self.mask) for at in self.at]
            nowhere = b.const("i64", 0)
            self.named = [b.and_(self.mask, b.icmp("sge", place, nowhere)) for place in self.places]


def _pick(b: Builder, kind: str, taps: int, p: dict, s: Words) -> None:
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item, b.at_width(lanes(kind)):
        v = _Vector(b, kind, taps, p["index"], s, item.i)
        factors = [masked_load(b, b.gep(p["weight"], kind, at), kind, v.mask) for at in v.at]
        with b.loop(0, s.channels) as c:
            row = madd(b, v.batch, s.channels, c.i)
            total = b.const(kind, 0)
            for factor, places, named in zip(factors, v.places, v.named, strict=True):
                found = gather_lanes(b, kind, b.gep(p["x"], kind, b.mul(row, s.size)), places, named)
                total = b.fma(factor, found, total)
            masked_store(b, total, b.gep(p["out"], kind, madd(b, row, s.outputs, v.first)), v.mask)


def _products(b: Builder, kind: str, taps: int, p: dict, s: Words) -> None:
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item, b.at_width(lanes(kind)):
        v = _Vector(b, kind, taps, p["index"], s, item.i)
        with b.loop(0, s.channels, 1, [b.const(kind, 0)] * taps) as c:
            row = madd(b, v.batch, s.channels, c.i)
            factor = masked_load(b, b.gep(p["weight"], kind, madd(b, row, s.outputs, v.first)), kind, v.mask)
            totals = []
            for total, places, named in zip(c.values, v.places, v.named, strict=True):
                found = gather_lanes(b, kind, b.gep(p["x"], kind, b.mul(row, s.size)), places, named)
                totals.append(b.fma(factor, found, total))
            c.next(*totals)
        for total, at in zip(c.values, v.at, strict=True):
            masked_store(b, total, b.gep(p["out"], kind, at), v.mask)


def _spread(b: Builder, kind: str, taps: int, p: dict, s: Words) -> None:
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item:
        target = b.gep(p["out"], kind, b.mul(item.i, s.size))
        with b.loop(0, s.size) as i:
            b.store(b.const(kind, 0), b.gep(target, kind, i.i))
        given = b.gep(p["x"], kind, b.mul(item.i, s.outputs))
        first = b.mul(b.mul(b.udiv(item.i, s.channels), number(b, taps)), s.outputs)
        with b.loop(0, s.outputs) as o:
            x = b.load(b.gep(given, kind, o.i), kind, width=1)
            for t in range(taps):
                at = b.add(madd(b, number(b, t), s.outputs, first), o.i)
                place = b.load(b.gep(p["index"], "i64", at), "i64", width=1)
                with b.when(b.icmp("sge", place, number(b, 0))):
                    factor = b.load(b.gep(p["weight"], kind, at), kind, width=1)
                    there = b.gep(target, kind, place)
                    b.store(b.fma(factor, x, b.load(there, kind, width=1)), there)
