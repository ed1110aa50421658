"""The kernel that adds rows of one matrix to rows of another, named by indices that may repeat.

A work item is one vector of columns: it goes through all rows in order, so sums have one order, whatever the threads.
Arguments, 64 bits each: the result, the rows, the indices (int64), how many rows there are, how many columns.
"""

from __future__ import annotations

from .elementwise import NAME, Arguments
from .ir import Module, Reg
from .product import lanes_of

FORMATS = "qqqqq"


def source(kind: str) -> str:
    """LLVM IR of the kernel."""
    module = Module("cpu")
    width = lanes_of(kind)
    parameters = [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")]
    b = module.function(NAME, parameters, width)
    args = Arguments(b)
    out, rows, places = args.pointer(), args.pointer(), args.pointer()
    count, columns = args.word(), args.word()
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        first = b.mul(items.i, b.const("i64", width, 1))
        left = b.sub(columns, first)
        mask = b.icmp("slt", b.iota("i64"), b.splat(left))
        with b.loop(0, count) as each:
            place = b.load(b.gep(places, "i64", each.i), "i64", width=1)
            target = b.gep(out, kind, b.add(b.mul(place, columns), first))
            row = b.gep(rows, kind, b.add(b.mul(each.i, columns), first))
            total = b.fadd(b.load_some(target, kind, mask), b.load_some(row, kind, mask))
            b.store_some(total, target, mask)
    return module.text()
