"""The kernel that finds the order of rows of elements: stable, with NaN as the largest number, and 0 as large as -0.

A row's elements become whole numbers of 64 bits with the same order, next to their places. Runs of some of them are
sorted by insertion, then merged, two at a time, into a second buffer and back.

Operands are row-major: (lines, size, inner), of which each (line, column of inner) is a row. A work item is a row.
Arguments, 64 bits each: the places of the first `count` of a row in order (lines, count, inner), and what is there; the
elements; room for 4 * (size + 1) whole numbers for each row; size, count, inner; and what the numbers are combined with
by "exclusive or": 0, or -1 for the opposite order.
"""

from __future__ import annotations

from .along import loads
from .layout import NAME

FORMATS = "qqqqqqqq"
RUN = 16  # elements that are sorted by insertion

# How an element %x becomes a number %key. A float's bits are in order but for those of negative ones, and a NaN's.
_FLOAT = """
  %positive = fadd TYPE %x, 0.0
  %bits = bitcast TYPE %positive to WORD
  %sign = ashr WORD %bits, LAST
  %flipped = and WORD %sign, LARGEST
  %turned = xor WORD %bits, %flipped
  %missing = fcmp uno TYPE %x, %x
  %whole = select i1 %missing, WORD LARGEST, WORD %turned
"""
_KEYS = {
    "f32": ("float", _FLOAT.replace("WORD", "i32").replace("LAST", "31").replace("LARGEST", str(0x7FFFFFFF))
            + "  %key = sext i32 %whole to i64"),
    "f64": ("double", _FLOAT.replace("WORD", "i64").replace("LAST", "63").replace("LARGEST", str(0x7FFFFFFFFFFFFFFF))
            + "  %key = or i64 %whole, 0"),
    "u8": ("i8", "  %key = zext i8 %x to i64"),
    **{f"i{n}": (f"i{n}", f"  %key = sext i{n} %x to i64") for n in (8, 16, 32)},
    "i64": ("i64", "  %key = or i64 %x, 0"),
}  # fmt: skip
KINDS = frozenset(_KEYS)

_TEXT = """
declare i64 @llvm.smin.i64(i64, i64)

; Sorts runs of numbers and their places by insertion.
define internal void @runs(ptr noalias %keys, ptr noalias %places, i64 %n) {
entry:
  br label %run
run:
  %first = phi i64 [ 0, %entry ], [ %stop, %run.end ]
  %further = add i64 %first, RUN
  %stop = call i64 @llvm.smin.i64(i64 %further, i64 %n)
  br label %each
each:
  %i = phi i64 [ %first, %run ], [ %i.next, %put ]
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %stop
  br i1 %more, label %take, label %run.end
take:
  %key.p = getelementptr i64, ptr %keys, i64 %i.next
  %place.p = getelementptr i64, ptr %places, i64 %i.next
  %key = load i64, ptr %key.p
  %place = load i64, ptr %place.p
  br label %look
look:
  %j = phi i64 [ %i, %take ], [ %j.less, %shift ]
  %other.p = getelementptr i64, ptr %keys, i64 %j
  %other = load i64, ptr %other.p
  %is.larger = icmp sgt i64 %other, %key
  br i1 %is.larger, label %shift, label %put.after
shift:
  %j.more = add i64 %j, 1
  %to.p = getelementptr i64, ptr %keys, i64 %j.more
  store i64 %other, ptr %to.p
  %of.place.p = getelementptr i64, ptr %places, i64 %j
  %of.place = load i64, ptr %of.place.p
  %to.place.p = getelementptr i64, ptr %places, i64 %j.more
  store i64 %of.place, ptr %to.place.p
  %j.less = sub i64 %j, 1
  %at.end = icmp eq i64 %j, %first
  br i1 %at.end, label %put, label %look
put.after:
  br label %put
put:
  %before = phi i64 [ %j, %put.after ], [ %j.less, %shift ]
  %at = add i64 %before, 1
  %at.p = getelementptr i64, ptr %keys, i64 %at
  store i64 %key, ptr %at.p
  %at.place.p = getelementptr i64, ptr %places, i64 %at
  store i64 %place, ptr %at.place.p
  br label %each
run.end:
  %any = icmp slt i64 %stop, %n
  br i1 %any, label %run, label %done
done:
  ret void
}

; Merges pairs of sorted runs of a width. What is read may be one after the last.
define internal void @merge(ptr noalias %keys, ptr noalias %places, ptr noalias %to.keys, ptr noalias %to.places,
                            i64 %n, i64 %width) {
entry:
  br label %pair
pair:
  %first = phi i64 [ 0, %entry ], [ %stop, %pair.end ]
  %w1 = add i64 %first, %width
  %middle = call i64 @llvm.smin.i64(i64 %w1, i64 %n)
  %w2 = add i64 %middle, %width
  %stop = call i64 @llvm.smin.i64(i64 %w2, i64 %n)
  br label %each
each:
  %o = phi i64 [ %first, %pair ], [ %o.next, %each ]
  %i = phi i64 [ %first, %pair ], [ %i.next, %each ]
  %j = phi i64 [ %middle, %pair ], [ %j.next, %each ]
  %i.p = getelementptr i64, ptr %keys, i64 %i
  %j.p = getelementptr i64, ptr %keys, i64 %j
  %left = load i64, ptr %i.p
  %right = load i64, ptr %j.p
  %is.left = icmp slt i64 %i, %middle
  %no.right = icmp sge i64 %j, %stop
  %not.larger = icmp sle i64 %left, %right
  %either = or i1 %no.right, %not.larger
  %by.left = and i1 %is.left, %either
  %from = select i1 %by.left, i64 %i, i64 %j
  %key = select i1 %by.left, i64 %left, i64 %right
  %place.p = getelementptr i64, ptr %places, i64 %from
  %place = load i64, ptr %place.p
  %o.p = getelementptr i64, ptr %to.keys, i64 %o
  store i64 %key, ptr %o.p
  %o.place.p = getelementptr i64, ptr %to.places, i64 %o
  store i64 %place, ptr %o.place.p
  %l = zext i1 %by.left to i64
  %r = xor i64 %l, 1
  %i.next = add i64 %i, %l
  %j.next = add i64 %j, %r
  %o.next = add i64 %o, 1
  %more = icmp slt i64 %o.next, %stop
  br i1 %more, label %each, label %pair.end
pair.end:
  %any = icmp slt i64 %stop, %n
  br i1 %any, label %pair, label %done
done:
  ret void
}

define void @NAME(ptr noalias readonly %args, i64 %begin, i64 %end) {
entry:
LOADS
  %elements.base = inttoptr i64 %elements to ptr
  %out.base = inttoptr i64 %out to ptr
  %values.base = inttoptr i64 %values to ptr
  %room.base = inttoptr i64 %room to ptr
  %padded = add i64 %size, 1
  br label %row
row:
  %t = phi i64 [ %begin, %entry ], [ %t.next, %row.end ]
  %line = udiv i64 %t, %inner
  %column = urem i64 %t, %inner
  %l1 = mul i64 %line, %size
  %l2 = mul i64 %l1, %inner
  %start = add i64 %l2, %column
  %o1 = mul i64 %line, %count
  %o2 = mul i64 %o1, %inner
  %out.start = add i64 %o2, %column
  %r1 = mul i64 %t, %padded
  %r2 = mul i64 %r1, 4
  %keys = getelementptr i64, ptr %room.base, i64 %r2
  %places = getelementptr i64, ptr %keys, i64 %padded
  %keys.2 = getelementptr i64, ptr %places, i64 %padded
  %places.2 = getelementptr i64, ptr %keys.2, i64 %padded
  br label %fill
fill:
  %k = phi i64 [ 0, %row ], [ %k.next, %fill ]
  %k1 = mul i64 %k, %inner
  %k2 = add i64 %start, %k1
  %x.p = getelementptr TYPE, ptr %elements.base, i64 %k2
  %x = load TYPE, ptr %x.p
KEY
  %key.turned = xor i64 %key, %turn
  %key.p = getelementptr i64, ptr %keys, i64 %k
  store i64 %key.turned, ptr %key.p
  %place.p = getelementptr i64, ptr %places, i64 %k
  store i64 %k, ptr %place.p
  %k.next = add i64 %k, 1
  %k.more = icmp slt i64 %k.next, %size
  br i1 %k.more, label %fill, label %sort
sort:
  %last.p = getelementptr i64, ptr %keys, i64 %size
  store i64 0, ptr %last.p
  %last.2.p = getelementptr i64, ptr %keys.2, i64 %size
  store i64 0, ptr %last.2.p
  call void @runs(ptr %keys, ptr %places, i64 %size)
  br label %widths
widths:
  %width = phi i64 [ RUN, %sort ], [ %width.next, %merging ]
  %a = phi ptr [ %keys, %sort ], [ %b, %merging ]
  %a.places = phi ptr [ %places, %sort ], [ %b.places, %merging ]
  %b = phi ptr [ %keys.2, %sort ], [ %a, %merging ]
  %b.places = phi ptr [ %places.2, %sort ], [ %a.places, %merging ]
  %is.narrow = icmp slt i64 %width, %size
  br i1 %is.narrow, label %merging, label %write
merging:
  call void @merge(ptr %a, ptr %a.places, ptr %b, ptr %b.places, i64 %size, i64 %width)
  %width.next = mul i64 %width, 2
  br label %widths
write:
  %w = phi i64 [ 0, %widths ], [ %w.next, %write ]
  %w.p = getelementptr i64, ptr %a.places, i64 %w
  %w.place = load i64, ptr %w.p
  %q1 = mul i64 %w, %inner
  %q2 = add i64 %out.start, %q1
  %q.p = getelementptr i64, ptr %out.base, i64 %q2
  store i64 %w.place, ptr %q.p
  %v1 = mul i64 %w.place, %inner
  %v2 = add i64 %start, %v1
  %v.p = getelementptr TYPE, ptr %elements.base, i64 %v2
  %v = load TYPE, ptr %v.p
  %value.p = getelementptr TYPE, ptr %values.base, i64 %q2
  store TYPE %v, ptr %value.p
  %w.next = add i64 %w, 1
  %w.more = icmp slt i64 %w.next, %count
  br i1 %w.more, label %write, label %row.end
row.end:
  %t.next = add i64 %t, 1
  %more = icmp slt i64 %t.next, %end
  br i1 %more, label %row, label %done
done:
  ret void
}
"""


def source(kind: str) -> str:
    """LLVM IR of the kernel for elements of a kind; there is at least one in a row, and one is wanted."""
    type_, key = _KEYS[kind]
    text = _TEXT.replace("LOADS", loads("out values elements room size count inner turn")).replace("KEY", key)
    return text.replace("TYPE", type_).replace("RUN", str(RUN)).replace("NAME", NAME)
