"""The kernel that counts how many numbers lie in each bin.

A work item is a block of `size` elements, which has its own counts. An element's bin is found by a multiplication; the
edges decide, should that be off by one, or by more where edges differ in their last places only. Arguments, 64 bits
each: the counts (blocks, bins), the elements, the edges, how many elements, bins, and elements of a block there are;
and as floats the lower end and the bins in a unit of length.
"""

from __future__ import annotations

from .along import loads
from .layout import NAME

FORMATS = "qqqqqqdd"

_TEXT = """
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)

define void @NAME(ptr noalias readonly %args, i64 %begin, i64 %end) {
entry:
LOADS
  %low.p = getelementptr double, ptr %args, i64 6
  %low = load double, ptr %low.p
  %scale.p = getelementptr double, ptr %args, i64 7
  %scale = load double, ptr %scale.p
  %counts.base = inttoptr i64 %counts to ptr
  %x.base = inttoptr i64 %x to ptr
  %edges.base = inttoptr i64 %edges to ptr
  %top.p = getelementptr TYPE, ptr %edges.base, i64 %bins
  %first = load TYPE, ptr %edges.base
  %top = load TYPE, ptr %top.p
  %last = sub i64 %bins, 1
  br label %block
block:
  %t = phi i64 [ %begin, %entry ], [ %t.next, %block.end ]
  %own = mul i64 %t, %bins
  %row = getelementptr i64, ptr %counts.base, i64 %own
  %start = mul i64 %t, %size
  %further = add i64 %start, %size
  %stop = call i64 @llvm.smin.i64(i64 %further, i64 %n)
  br label %each
each:
  %i = phi i64 [ %start, %block ], [ %i.next, %next ]
  %v.p = getelementptr TYPE, ptr %x.base, i64 %i
  %v = load TYPE, ptr %v.p
  %above = fcmp oge TYPE %v, %first
  %below = fcmp olt TYPE %v, %top
  %inside = and i1 %above, %below
  br i1 %inside, label %guess, label %next
guess:
  WIDEN
  %away = fsub double %wide, %low
  %part = fmul double %away, %scale
  %raw = fptosi double %part to i64
  %whole = freeze i64 %raw
  %g1 = call i64 @llvm.smin.i64(i64 %whole, i64 %last)
  %g = call i64 @llvm.smax.i64(i64 %g1, i64 0)
  br label %down
down:
  %d = phi i64 [ %g, %guess ], [ %d.less, %down.on ]
  %d.p = getelementptr TYPE, ptr %edges.base, i64 %d
  %d.edge = load TYPE, ptr %d.p
  %too.high = fcmp olt TYPE %v, %d.edge
  br i1 %too.high, label %down.on, label %up
down.on:
  %d.less = sub i64 %d, 1
  br label %down
up:
  %u = phi i64 [ %d, %down ], [ %u.more, %up.on ]
  %u.more = add i64 %u, 1
  %u.p = getelementptr TYPE, ptr %edges.base, i64 %u.more
  %u.edge = load TYPE, ptr %u.p
  %too.low = fcmp oge TYPE %v, %u.edge
  br i1 %too.low, label %up.on, label %count
up.on:
  br label %up
count:
  %c.p = getelementptr i64, ptr %row, i64 %u
  %c = load i64, ptr %c.p
  %c.more = add i64 %c, 1
  store i64 %c.more, ptr %c.p
  br label %next
next:
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %stop
  br i1 %more, label %each, label %block.end
block.end:
  %t.next = add i64 %t, 1
  %again = icmp slt i64 %t.next, %end
  br i1 %again, label %block, label %done
done:
  ret void
}
"""


def source(type_: str) -> str:
    """LLVM IR of the kernel for a type of LLVM's."""
    widen = "%wide = fpext float %v to double" if type_ == "float" else "%wide = fadd double %v, 0.0"
    text = _TEXT.replace("LOADS", loads("counts x edges n bins size")).replace("WIDEN", widen)
    return text.replace("TYPE", type_).replace("NAME", NAME)
