"""The kernels of gather and scatter: elements picked, put or added along a dimension, as indices say.

Operands are row-major: (lines, size, inner) is indexed along `size`, by indices (lines, count, inner) that are within
it. A work item is a line, in which elements are met in order: so the last one put stays, and sums have one order.
Arguments, 64 bits each: the result, the other operand, the indices (int64), size, count, inner.

`SLICES` copies whole slices instead, by `count` indices that are the same for all lines; negative ones count from the
end. Its work item is one of lines * count slices, and its inner counts bytes; two arguments follow: how many bytes
there are from a slice to the next, and from a line to the next. `WITHIN` looks whether `count` indices
are within a range; it writes a byte, 1 where they are.
"""

from __future__ import annotations

from .elementwise import NAME, Arguments
from .ir import Module, Reg

FORMATS = "qqqqqq"


def source(what: str, kind: str, single: bool) -> str:
    """LLVM IR of the kernel; what is "pick", "put" or "add"; single: inner is 1, and not multiplied by."""
    module = Module("cpu")
    b = module.function(NAME, [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")], 1)
    args = Arguments(b)
    out, other, places = args.pointer(), args.pointer(), args.pointer()
    size, count, inner = args.word(), args.word(), args.word()
    if single:
        inner = b.const("i64", 1, 1)
    wide, long = b.mul(size, inner), b.mul(count, inner)

    def move(here: Reg, whole: Reg, column: Reg | None) -> None:
        """What is done for the index at a place."""
        place = b.load(b.gep(places, "i64", here), "i64", width=1)
        there = b.add(whole, place if column is None else b.add(b.mul(place, inner), column))
        if what == "pick":
            b.store(b.load(b.gep(other, kind, there), kind, width=1), b.gep(out, kind, here))
            return
        made = b.load(b.gep(other, kind, here), kind, width=1)
        target = b.gep(out, kind, there)
        if what == "add":
            before = b.load(target, kind, width=1)
            made = (b.add if kind[0] == "i" else b.fadd)(before, made)
        b.store(made, target)

    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as lines:
        whole, part = b.mul(lines.i, wide), b.mul(lines.i, long)
        with b.loop(0, count) as each:
            if single:
                move(b.add(part, each.i), whole, None)
            else:
                first = b.add(part, b.mul(each.i, inner))
                with b.loop(0, inner) as column:
                    move(b.add(first, column.i), whole, column.i)
    return module.text()


def loads(words: str) -> str:
    """IR that reads the arguments, 64 bits each, of these names: pointers where they begin with ^, else numbers."""
    lines = []
    for k, word in enumerate(words.split()):
        kind, name = ("ptr", word[1:]) if word[0] == "^" else ("i64", word)
        lines += [f"  %{name}.at = getelementptr i64, ptr %args, i64 {k}", f"  %{name} = load {kind}, ptr %{name}.at"]
    return "\n".join(lines)


SLICES = f"""
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define void @{NAME}(ptr noalias readonly %args, i64 %begin, i64 %end) {{
entry:
{loads("out other places size count inner step line.step")}
  %first.line = sdiv i64 %begin, %count
  %skipped = mul i64 %first.line, %count
  %first = sub i64 %begin, %skipped
  %indices = inttoptr i64 %places to ptr
  br label %loop
loop:
  %r = phi i64 [ %begin, %entry ], [ %r.next, %next ]
  %line = phi i64 [ %first.line, %entry ], [ %line.next, %next ]
  %k = phi i64 [ %first, %entry ], [ %k.next, %next ]
  %named.p = getelementptr i64, ptr %indices, i64 %k
  %named = load i64, ptr %named.p
  %turned = add i64 %named, %size
  %negative = icmp slt i64 %named, 0
  %place = select i1 %negative, i64 %turned, i64 %named
  %before = mul i64 %line, %line.step
  %row = mul i64 %place, %step
  %of.n = add i64 %before, %row
  %of.at = add i64 %other, %of.n
  %of = inttoptr i64 %of.at to ptr
  %to.n = mul i64 %r, %inner
  %to.at = add i64 %out, %to.n
  %to = inttoptr i64 %to.at to ptr
  switch i64 %inner, label %bytes [ i64 4, label %four i64 8, label %eight ]
four:
  %x4 = load i32, ptr %of, align 1
  store i32 %x4, ptr %to, align 1
  br label %next
eight:
  %x8 = load i64, ptr %of, align 1
  store i64 %x8, ptr %to, align 1
  br label %next
bytes:
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %of, i64 %inner, i1 false)
  br label %next
next:
  %r.next = add i64 %r, 1
  %k.on = add i64 %k, 1
  %over = icmp eq i64 %k.on, %count
  %k.next = select i1 %over, i64 0, i64 %k.on
  %line.on = add i64 %line, 1
  %line.next = select i1 %over, i64 %line.on, i64 %line
  %more = icmp slt i64 %r.next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""

WITHIN = f"""
define void @{NAME}(ptr noalias readonly %args, i64 %begin, i64 %end) {{
entry:
{loads("out places count least stop")}
  %indices = inttoptr i64 %places to ptr
  %span = sub i64 %stop, %least
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %bad = phi i1 [ 0, %entry ], [ %bad.now, %loop ]
  %p = getelementptr i64, ptr %indices, i64 %i
  %index = load i64, ptr %p
  %above = sub i64 %index, %least
  %outside = icmp uge i64 %above, %span
  %bad.now = or i1 %bad, %outside
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %loop, label %done
done:
  %good = xor i1 %bad.now, 1
  %byte = zext i1 %good to i8
  %target = inttoptr i64 %out to ptr
  store i8 %byte, ptr %target
  ret void
}}
"""
SLICES_FORMATS = "qqqqqqqq"
WITHIN_FORMATS = "qqqqq"
