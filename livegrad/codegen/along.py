"""The kernels of gather and scatter: elements picked, put or added along a dimension, as indices say.

Operands are row-major: (lines, size, inner) is indexed along `size`, by indices (lines, count, inner) that are within
it. A work item is a line, in which elements are met in order: so the last one put stays, and sums have one order.
Arguments, 64 bits each: the result, the other operand, the indices (int64), size, count, inner.
"""

from __future__ import annotations

from .elementwise import NAME, Arguments
from .ir import Module, Reg

FORMATS = "qqqqqq"


def source(what: str, kind: str) -> str:
    """LLVM IR of the kernel; what is "pick", "put" or "add"."""
    module = Module("cpu")
    b = module.function(NAME, [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")], 1)
    args = Arguments(b)
    out, other, places = args.pointer(), args.pointer(), args.pointer()
    size, count, inner = args.word(), args.word(), args.word()
    wide, long = b.mul(size, inner), b.mul(count, inner)
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as lines:
        whole, part = b.mul(lines.i, wide), b.mul(lines.i, long)
        with b.loop(0, count) as each:
            first = b.add(part, b.mul(each.i, inner))
            with b.loop(0, inner) as column:
                here = b.add(first, column.i)
                place = b.load(b.gep(places, "i64", here), "i64", width=1)
                there = b.add(whole, b.add(b.mul(place, inner), column.i))
                if what == "pick":
                    b.store(b.load(b.gep(other, kind, there), kind, width=1), b.gep(out, kind, here))
                else:
                    made = b.load(b.gep(other, kind, here), kind, width=1)
                    target = b.gep(out, kind, there)
                    if what == "add":
                        before = b.load(target, kind, width=1)
                        made = (b.fadd if kind in ("f32", "f64") else b.add)(before, made)
                    b.store(made, target)
    return module.text()
