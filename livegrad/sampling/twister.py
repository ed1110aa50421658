"""MT19937 sixteen words at a time, compiled by LLVM: it goes on from NumPy's own state, in place.

The 624 words of the state are made anew in order, each from itself, its successor and the word 397 places on (counted
around). Sixteen at a time see what one at a time would see, since none of them is that near to another; the few places
where they would are done one by one. `below` says which pairs of words, read as 53 bits, lie below a limit.
"""

from __future__ import annotations

import ctypes

import numpy as np

from ..llvm import cache
from ..runtime.raw import address

_WORTH = 1 << 15  # words in one call: below, NumPy's own generator is as good
_functions: dict | None = None

_V = "<16 x i32>"


def _splat(value: int) -> str:
    return "<" + ", ".join([f"i32 {value}"] * 16) + ">"


def _number(value: int, width: int) -> str:
    return str(value) if width == 1 else _splat(value)


def _twist(label: str, source: str, start: int, stop: int, shift: int, width: int) -> str:
    """A loop over words start to stop, `width` at a time; each takes the word `shift` places on."""
    kind = "i32" if width == 1 else _V

    def c(value: int) -> str:
        return _number(value, width)

    return f"""
  br label %{label}
{label}:
  %{label}.i = phi i64 [ {start}, %{source} ], [ %{label}.next, %{label} ]
  %{label}.here = getelementptr i32, ptr %state, i64 %{label}.i
  %{label}.after = getelementptr i32, ptr %{label}.here, i64 1
  %{label}.far = getelementptr i32, ptr %{label}.here, i64 {shift}
  %{label}.a = load {kind}, ptr %{label}.here, align 4
  %{label}.b = load {kind}, ptr %{label}.after, align 4
  %{label}.f = load {kind}, ptr %{label}.far, align 4
  %{label}.high = and {kind} %{label}.a, {c(-(1 << 31))}
  %{label}.low = and {kind} %{label}.b, {c(0x7FFFFFFF)}
  %{label}.y = or {kind} %{label}.high, %{label}.low
  %{label}.half = lshr {kind} %{label}.y, {c(1)}
  %{label}.odd = and {kind} %{label}.b, {c(1)}
  %{label}.all = sub {kind} {c(0)}, %{label}.odd
  %{label}.mix = and {kind} %{label}.all, {c(0x9908B0DF - (1 << 32))}
  %{label}.g = xor {kind} %{label}.f, %{label}.half
  %{label}.new = xor {kind} %{label}.g, %{label}.mix
  store {kind} %{label}.new, ptr %{label}.here, align 4
  %{label}.next = add i64 %{label}.i, {width}
  %{label}.more = icmp slt i64 %{label}.next, {stop}
  br i1 %{label}.more, label %{label}, label %{label}.done
{label}.done:"""


def _temper(label: str, kind: str, width: int) -> str:
    def c(value: int) -> str:
        return _number(value, width)

    return f"""
  %{label}.y1 = lshr {kind} %{label}.y0, {c(11)}
  %{label}.y2 = xor {kind} %{label}.y0, %{label}.y1
  %{label}.y3 = shl {kind} %{label}.y2, {c(7)}
  %{label}.y4 = and {kind} %{label}.y3, {c(0x9D2C5680 - (1 << 32))}
  %{label}.y5 = xor {kind} %{label}.y2, %{label}.y4
  %{label}.y6 = shl {kind} %{label}.y5, {c(15)}
  %{label}.y7 = and {kind} %{label}.y6, {c(0xEFC60000 - (1 << 32))}
  %{label}.y8 = xor {kind} %{label}.y5, %{label}.y7
  %{label}.y9 = lshr {kind} %{label}.y8, {c(18)}
  %{label}.out = xor {kind} %{label}.y8, %{label}.y9"""


# The last word has the first as its successor.
_LAST = """
  %end.a.p = getelementptr i32, ptr %state, i64 623
  %end.f.p = getelementptr i32, ptr %state, i64 396
  %end.a = load i32, ptr %end.a.p
  %end.b = load i32, ptr %state
  %end.f = load i32, ptr %end.f.p
  %end.high = and i32 %end.a, -2147483648
  %end.low = and i32 %end.b, 2147483647
  %end.y = or i32 %end.high, %end.low
  %end.half = lshr i32 %end.y, 1
  %end.odd = and i32 %end.b, 1
  %end.all = sub i32 0, %end.odd
  %end.mix = and i32 %end.all, -1727483681
  %end.g = xor i32 %end.f, %end.half
  %end.new = xor i32 %end.g, %end.mix
  store i32 %end.new, ptr %end.a.p
"""


def source() -> str:
    """LLVM IR of `words` and `below`."""
    # 227 words look ahead, of which 224 go by sixteens; the other 396 before the last look back, 384 by sixteens.
    twists = (
        _twist("t1", "entry", 0, 224, 397, 16)
        + _twist("t2", "t1.done", 224, 227, 397, 1)
        + _twist("t3", "t2.done", 227, 611, -227, 16)
        + _twist("t4", "t3.done", 611, 623, -227, 1)
    )
    return f"""
define internal void @renew(ptr %state) {{
entry:{twists}{_LAST}  ret void
}}

declare i64 @llvm.smin.i64(i64, i64)

; %state: 624 words, then the number of those that are used up
define void @words(ptr %state, ptr %out, i64 %count) {{
entry:
  %used.p = getelementptr i32, ptr %state, i64 624
  br label %look
look:
  %made = phi i64 [ 0, %entry ], [ %made.now, %written ]
  %some = icmp slt i64 %made, %count
  br i1 %some, label %check, label %done
check:
  %used32 = load i32, ptr %used.p
  %empty = icmp sge i32 %used32, 624
  br i1 %empty, label %fill, label %ready
fill:
  call void @renew(ptr %state)
  br label %ready
ready:
  %used = phi i32 [ %used32, %check ], [ 0, %fill ]
  %from = zext i32 %used to i64
  %left = sub i64 624, %from
  %wanted = sub i64 %count, %made
  %now = call i64 @llvm.smin.i64(i64 %left, i64 %wanted)
  %whole = and i64 %now, -16
  %source = getelementptr i32, ptr %state, i64 %from
  %target = getelementptr i32, ptr %out, i64 %made
  br label %v.look
v.look:
  %vi = phi i64 [ 0, %ready ], [ %vi.next, %v ]
  %v.more = icmp slt i64 %vi, %whole
  br i1 %v.more, label %v, label %s.look
v:
  %v.p = getelementptr i32, ptr %source, i64 %vi
  %v.y0 = load {_V}, ptr %v.p, align 4{_temper("v", _V, 16)}
  %v.q = getelementptr i32, ptr %target, i64 %vi
  store {_V} %v.out, ptr %v.q, align 4
  %vi.next = add i64 %vi, 16
  br label %v.look
s.look:
  %si = phi i64 [ %whole, %v.look ], [ %si.next, %s ]
  %s.more = icmp slt i64 %si, %now
  br i1 %s.more, label %s, label %written
s:
  %s.p = getelementptr i32, ptr %source, i64 %si
  %s.y0 = load i32, ptr %s.p, align 4{_temper("s", "i32", 1)}
  %s.q = getelementptr i32, ptr %target, i64 %si
  store i32 %s.out, ptr %s.q, align 4
  %si.next = add i64 %si, 1
  br label %s.look
written:
  %after = add i64 %from, %now
  %after32 = trunc i64 %after to i32
  store i32 %after32, ptr %used.p
  %made.now = add i64 %made, %now
  br label %look
done:
  ret void
}}

define void @below(ptr %words, ptr %out, i64 %count, i64 %limit) {{
entry:
  %limit.0 = insertelement <8 x i64> poison, i64 %limit, i32 0
  %limits = shufflevector <8 x i64> %limit.0, <8 x i64> poison, <8 x i32> zeroinitializer
  br label %look
look:
  %i = phi i64 [ 0, %entry ], [ %next, %go ]
  %next = add i64 %i, 8
  %more = icmp sle i64 %next, %count
  br i1 %more, label %go, label %rest
go:
  %p = getelementptr i64, ptr %words, i64 %i
  %pair = load <8 x i64>, ptr %p, align 4
  %up = shl <8 x i64> %pair, <{", ".join(["i64 32"] * 8)}>
  %down = lshr <8 x i64> %pair, <{", ".join(["i64 32"] * 8)}>
  %both = or <8 x i64> %up, %down
  %bits = and <8 x i64> %both, <{", ".join([f"i64 {2**53 - 1}"] * 8)}>
  %hit = icmp ult <8 x i64> %bits, %limits
  %byte = zext <8 x i1> %hit to <8 x i8>
  %q = getelementptr i8, ptr %out, i64 %i
  store <8 x i8> %byte, ptr %q, align 1
  br label %look
rest:
  %j = phi i64 [ %i, %look ], [ %j.next, %one ]
  %last = icmp slt i64 %j, %count
  br i1 %last, label %one, label %done
one:
  %p1 = getelementptr i64, ptr %words, i64 %j
  %pair1 = load i64, ptr %p1, align 4
  %up1 = shl i64 %pair1, 32
  %down1 = lshr i64 %pair1, 32
  %both1 = or i64 %up1, %down1
  %bits1 = and i64 %both1, {2**53 - 1}
  %hit1 = icmp ult i64 %bits1, %limit
  %byte1 = zext i1 %hit1 to i8
  %q1 = getelementptr i8, ptr %out, i64 %j
  store i8 %byte1, ptr %q1, align 1
  %j.next = add i64 %j, 1
  br label %rest
done:
  ret void
}}
"""


def _compile() -> dict:
    found = cache.functions(source(), ("words", "below"))
    pointer, i64 = ctypes.c_void_p, ctypes.c_int64
    return {
        "words": ctypes.CFUNCTYPE(None, pointer, pointer, i64)(found["words"]),
        "below": ctypes.CFUNCTYPE(None, pointer, pointer, i64, i64)(found["below"]),
    }


def _load() -> dict:
    global _functions
    if _functions is None:
        try:
            _functions = _compile()
        except Exception:  # no llvmlite, or none that works here: NumPy gives the same numbers
            _functions = {}
    return _functions


def words(bits: np.random.MT19937, n: int) -> np.ndarray | None:
    """The next `n` words of NumPy's generator as uint32, or None where that is not worth it or cannot be done."""
    call = _load().get("words") if n >= _WORTH else None
    if call is None:
        return None
    made = np.empty(n, np.uint32)
    with bits.lock:
        call(bits.ctypes.state_address, address(made), n)
    return made


def below(pairs: np.ndarray, limit: int) -> np.ndarray | None:
    """Which pairs of uint32 words, the high one first, have low 53 bits below `limit`; None without a compiler."""
    call = _load().get("below") if len(pairs) >= _WORTH else None
    if call is None:
        return None
    made = np.empty(len(pairs) // 2, np.bool_)
    call(address(pairs), address(made), len(made), limit)
    return made
