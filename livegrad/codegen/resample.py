"""The kernel of resampling: along one dimension every result is a weighted sum of a few elements."""

from __future__ import annotations

from .conv_layout import SIGNATURE, Words, gather_lanes, lanes_below, madd, masked_load, masked_store, vector_width
from .elementwise import NAME, Arguments
from .ir import Module, Reg

POINTERS = ("x", "out", "index", "weight")
WORDS = ("size", "outputs", "inner", "taps")


def source(kind: str, last: bool) -> str:
    """LLVM IR of out[r, o, i] = sum over t of weight[t, o] * x[r, index[t, o], i]; a work item is r.

    last: there is one i only, and vectors run along o. Arguments: POINTERS, WORDS; indices have 64 bits.
    """
    module = Module("cpu")
    b = module.function(NAME, SIGNATURE)
    args = Arguments(b)
    x, out, index, weight = (args.pointer() for _ in POINTERS)
    s = Words(b, args, WORDS)
    width = vector_width(kind)
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item:
        row = b.gep(x, kind, b.mul(b.mul(item.i, s.size), s.inner))
        target = b.gep(out, kind, b.mul(b.mul(item.i, s.outputs), s.inner))
        if last:
            with b.loop(0, s.outputs, width) as o, b.at_width(width):
                mask = lanes_below(b, b.sub(s.outputs, o.i), width, kind)
                with b.loop(0, s.taps, 1, [b.const(kind, 0)]) as t:
                    at = madd(b, t.i, s.outputs, o.i)
                    places = masked_load(b, b.gep(index, "i64", at), "i64", mask)
                    factor = masked_load(b, b.gep(weight, kind, at), kind, mask)
                    v = gather_lanes(b, kind, row, places, mask)
                    t.next(b.fma(factor, v, t.values[0]))
                masked_store(b, t.values[0], b.gep(target, kind, o.i), mask)
        else:
            with b.loop(0, s.outputs) as o, b.loop(0, s.inner, width) as i, b.at_width(width):
                mask = lanes_below(b, b.sub(s.inner, i.i), width, kind)
                with b.loop(0, s.taps, 1, [b.const(kind, 0)]) as t:
                    at = madd(b, t.i, s.outputs, o.i)
                    place = b.load(b.gep(index, "i64", at), "i64", width=1)
                    factor = b.splat(b.load(b.gep(weight, kind, at), kind, width=1))
                    v = masked_load(b, b.gep(row, kind, madd(b, place, s.inner, i.i)), kind, mask)
                    t.next(b.fma(factor, v, t.values[0]))
                masked_store(b, t.values[0], b.gep(target, kind, madd(b, o.i, s.inner, i.i)), mask)
    return module.text()
