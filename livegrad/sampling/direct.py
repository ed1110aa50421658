"""Memory filled in one call: uniforms, normals, and the masks that dropout multiplies by, as float32.

The generator's words are made where the numbers go, and turned into them there. It is what `Stream` does with NumPy in
several passes, to the bit; a small tensor costs a fraction of that, and a large one goes through memory less often.
"""

from __future__ import annotations

from struct import Struct

from ..llvm import cache
from ..native import hot
from ..runtime import pool
from . import compiled, twister

_UNIFORM, _NORMAL, _MASK = Struct("QQqfff").pack, Struct("QQqff").pack, Struct("QQqqf").pack
_LONG = 1 << 14  # numbers; other threads do not wait for the interpreter while so many are drawn
_CHUNK = 256  # numbers of a mask whose words are made at a time


class _Code:
    """The addresses of the functions. asked: whether they have been looked for; they stay 0 without a compiler."""

    asked = False
    uniform = normal = mask = 0


@hot
def ready(n: int) -> bool:
    """Whether to fill `n` numbers more with these functions."""
    return _Code.uniform != 0 if _Code.asked else _look(n)


def _look(n: int) -> bool:
    if not compiled.worth_it(n):
        return False
    try:
        found = cache.functions(_ir(), ("direct_uniform", "direct_normal", "direct_mask"))
        _Code.normal, _Code.mask = found["direct_normal"], found["direct_mask"]
        _Code.uniform = found["direct_uniform"]
    except Exception:  # no llvmlite, or none that works here: NumPy gives the same numbers
        pass
    _Code.asked = True
    return _Code.uniform != 0


@hot
def uniform(state: int, out: int, n: int, low: float, width: float, high: float) -> None:
    """From [low, high). state: the address of the generator's, which the caller has locked. out: of the memory.

    width: the difference of the bounds as float32 numbers.
    """
    _run(_Code.uniform, _UNIFORM(state, out, n, low, width, high), n)


@hot
def normal(state: int, out: int, n: int, mean: float, std: float) -> None:
    """Normal numbers, as PyTorch makes 16 or more of them."""
    _run(_Code.normal, _NORMAL(state, out, n, mean, std), n)


@hot
def mask(state: int, out: int, n: int, limit: int, value: float) -> None:
    """`value` where the 53 bits of a draw are below `limit`, else 0."""
    _run(_Code.mask, _MASK(state, out, n, limit, value), n)


@hot
def _run(code: int, args: bytes, n: int) -> None:
    if n > _LONG:
        pool.run_serial(code, args, 1)
    else:
        pool.launch(code, args, 1, 1)


def _arguments(*kinds: str) -> str:
    """Read what a function is called with, one 64-bit word or 32-bit float after the other."""
    lines, at = [], 0
    for k, kind in enumerate(kinds):
        lines.append(f"  %a{k}.p = getelementptr i8, ptr %args, i64 {at}")
        lines.append(f"  %a{k} = load {kind}, ptr %a{k}.p, align 4")
        at += 4 if kind == "float" else 8
    return "\n".join(lines)


def _ir() -> str:
    return f"""{twister.source()}
{compiled.fill_normal_ir("i32")}
declare float @llvm.fma.f32(float, float, float)

; The product and the sum are rounded once; what that rounds up to the upper bound becomes the lower one.
define void @direct_uniform(ptr %args, i64 %begin, i64 %end) {{
entry:
{_arguments("ptr", "ptr", "i64", "float", "float", "float")}
  call void @words(ptr %a0, ptr %a1, i64 %a2)
  %some = icmp sgt i64 %a2, 0
  br i1 %some, label %loop, label %done
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %at = getelementptr i32, ptr %a1, i64 %i
  %word = load i32, ptr %at
  %bits = and i32 %word, {0xFFFFFF}
  %number = sitofp i32 %bits to float
  %unit = fmul float %number, 0x3E70000000000000
  %placed = call float @llvm.fma.f32(float %unit, float %a4, float %a3)
  %top = fcmp oeq float %placed, %a5
  %made = select i1 %top, float %a3, float %placed
  store float %made, ptr %at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %a2
  br i1 %more, label %loop, label %done
done:
  ret void
}}

; As in `Stream.normal`: every element has a word, and the last sixteen are made anew where blocks do not come out even.
define void @direct_normal(ptr %args, i64 %begin, i64 %end) {{
entry:
{_arguments("ptr", "ptr", "i64", "float", "float")}
  %last = alloca [16 x i32], align 64
  call void @words(ptr %a0, ptr %a1, i64 %a2)
  %blocks = lshr i64 %a2, 4
  call void @fill_normal(ptr %a1, ptr %a1, i64 %blocks, float %a3, float %a4)
  %rest = and i64 %a2, 15
  %even = icmp eq i64 %rest, 0
  br i1 %even, label %done, label %anew
anew:
  call void @words(ptr %a0, ptr %last, i64 16)
  %from = sub i64 %a2, 16
  %tail = getelementptr float, ptr %a1, i64 %from
  call void @fill_normal(ptr %last, ptr %tail, i64 1, float %a3, float %a4)
  br label %done
done:
  ret void
}}

define void @direct_mask(ptr %args, i64 %begin, i64 %end) {{
entry:
{_arguments("ptr", "ptr", "i64", "i64", "float")}
  %words = alloca [{2 * _CHUNK} x i32], align 64
  br label %look
look:
  %start = phi i64 [ 0, %entry ], [ %stop, %written ]
  %left = sub i64 %a2, %start
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %draw, label %done
draw:
  %count = call i64 @llvm.smin.i64(i64 %left, i64 {_CHUNK})
  %both = shl i64 %count, 1
  call void @words(ptr %a0, ptr %words, i64 %both)
  %stop = add i64 %start, %count
  %out = getelementptr float, ptr %a1, i64 %start
  br label %loop
loop:
  %i = phi i64 [ 0, %draw ], [ %next, %loop ]
  %pair.at = getelementptr i64, ptr %words, i64 %i
  %pair = load i64, ptr %pair.at, align 8
  %up = shl i64 %pair, 32
  %down = lshr i64 %pair, 32
  %turned = or i64 %up, %down
  %bits = and i64 %turned, {2**53 - 1}
  %hit = icmp ult i64 %bits, %a3
  %made = select i1 %hit, float %a4, float 0.0
  %out.at = getelementptr float, ptr %out, i64 %i
  store float %made, ptr %out.at, align 4
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %loop, label %written
written:
  br label %look
done:
  ret void
}}
"""
