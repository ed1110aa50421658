"""The loops that NumPy cannot run well, compiled by LLVM on first need; without llvmlite NumPy and Python do them.

`fill_normal` is `boxmuller.fill32` with true fused operations, eight lanes wide; `shuffle` is Fisher and Yates's;
`apply` calls a function of the C library for each number (see `libm`).  All give exactly what the uncompiled code
gives.  Compiling takes some tens of milliseconds, so a process that draws little never does it.
"""

from __future__ import annotations

import ctypes
import struct

import numpy as np

from ..llvm import cache
from ..native import hot
from ..runtime.raw import address

_WORTH = 1 << 17  # elements asked for, in one call or several, before compiling
_CALL = 1 << 9  # elements that what NumPy takes for a call of any size is worth
_asked = 0
_functions: dict | None = None


def worth_it(n: int) -> bool:
    """Whether to use compiled code for `n` elements more."""
    global _asked
    if _functions is not None:
        return bool(_functions)
    _asked += n + _CALL
    return _asked >= _WORTH


def fill_normal(words: np.ndarray, out: np.ndarray, mean: float, std: float) -> bool:
    """`boxmuller.fill32`; False where there is no compiler."""
    call = _load().get("fill_normal")
    if call is not None:
        call(address(words), address(out), out.size // 16, mean, std)
    return call is not None


def shuffle(words: np.ndarray, out: np.ndarray) -> bool:
    """Swap each place of `out` with one at or after it, by that place's word; False where there is no compiler."""
    call = _load().get("shuffle")
    if call is not None:
        call(address(words), address(out), out.size)
    return call is not None


@hot
def apply(function: int, x: np.ndarray, out: np.ndarray) -> bool:
    """`out[i] = function(x[i])` for a C function of one float64 at an address; False where there is no compiler."""
    call = _load().get("apply")
    if call is not None:
        call(function, address(x), address(out), x.size)
    return call is not None


def _load() -> dict:
    global _functions
    if _functions is None:
        try:
            _functions = _compile()
        except Exception:  # no llvmlite, or none that works here: the uncompiled code gives the same numbers
            _functions = {}
    return _functions


def _compile() -> dict:
    found = cache.functions(fill_normal_ir("i64") + _SHUFFLE + _APPLY, ("fill_normal", "shuffle", "apply"))
    pointer, i64, f32 = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
    return {
        "fill_normal": ctypes.CFUNCTYPE(None, pointer, pointer, i64, f32, f32)(found["fill_normal"]),
        "shuffle": ctypes.CFUNCTYPE(None, pointer, pointer, i64)(found["shuffle"]),
        "apply": ctypes.CFUNCTYPE(None, pointer, pointer, pointer, i64)(found["apply"]),
    }


_SHUFFLE = """
define void @shuffle(ptr %words, ptr %out, i64 %n) {
entry:
  %last = sub i64 %n, 1
  %some = icmp sgt i64 %last, 0
  br i1 %some, label %loop, label %done
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %word.at = getelementptr i64, ptr %words, i64 %i
  %word = load i64, ptr %word.at
  %word32 = trunc i64 %word to i32
  %left = sub i64 %n, %i
  %left32 = trunc i64 %left to i32
  %step32 = urem i32 %word32, %left32
  %step = zext i32 %step32 to i64
  %j = add i64 %i, %step
  %here = getelementptr i64, ptr %out, i64 %i
  %there = getelementptr i64, ptr %out, i64 %j
  %a = load i64, ptr %here
  %b = load i64, ptr %there
  store i64 %b, ptr %here
  store i64 %a, ptr %there
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %last
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""

_APPLY = """
define void @apply(ptr %function, ptr %x, ptr %out, i64 %n) {
entry:
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %loop, label %done
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %x.at = getelementptr double, ptr %x, i64 %i
  %v = load double, ptr %x.at
  %y = call double %function(double %v)
  %out.at = getelementptr double, ptr %out, i64 %i
  store double %y, ptr %out.at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""

_DECLARATIONS = """
declare <8 x float> @llvm.fma.v8f32(<8 x float>, <8 x float>, <8 x float>)
declare <8 x float> @llvm.sqrt.v8f32(<8 x float>)
"""


class _Lines:
    """Straight-line code on eight floats: each method writes one instruction and returns the name of its result."""

    def __init__(self, word: str) -> None:
        self.lines: list[str] = []
        self.word = word

    def emit(self, text: str) -> str:
        name = f"%v{len(self.lines)}"
        self.lines.append(f"  {name} = {text}")
        return name

    def mul(self, a: str, b: str) -> str:
        return self.emit(f"fmul <8 x float> {a}, {b}")

    def add(self, a: str, b: str) -> str:
        return self.emit(f"fadd <8 x float> {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return self.emit(f"fsub <8 x float> {a}, {b}")

    def neg(self, a: str) -> str:
        return self.emit(f"fneg <8 x float> {a}")

    def fma(self, a: str, b: str, c: str) -> str:
        v = "<8 x float>"
        return self.emit(f"call {v} @llvm.fma.v8f32({v} {a}, {v} {b}, {v} {c})")

    def sqrt(self, a: str) -> str:
        return self.emit(f"call <8 x float> @llvm.sqrt.v8f32(<8 x float> {a})")

    def select(self, mask: str, a: str, b: str) -> str:
        return self.emit(f"select <8 x i1> {mask}, <8 x float> {a}, <8 x float> {b}")

    def int(self, op: str, a: str, b: int) -> str:
        return self.emit(f"{op} <8 x i32> {a}, {_ints(b)}")

    def bits(self, a: str) -> str:
        return self.emit(f"bitcast <8 x float> {a} to <8 x i32>")

    def from_bits(self, a: str) -> str:
        return self.emit(f"bitcast <8 x i32> {a} to <8 x float>")

    def to_float(self, a: str) -> str:
        return self.emit(f"sitofp <8 x i32> {a} to <8 x float>")

    def uniforms(self, at: str) -> str:
        word = self.emit(f"load <8 x {self.word}>, ptr {at}, align 4")
        if self.word != "i32":
            word = self.emit(f"trunc <8 x {self.word}> {word} to <8 x i32>")
        return self.mul(self.to_float(self.int("and", word, 0xFFFFFF)), _const(2.0**-24))

    def flip_sign(self, a: str, octant_bit: str) -> str:
        sign = self.int("shl", octant_bit, 29)
        return self.from_bits(self.emit(f"xor <8 x i32> {self.bits(a)}, {sign}"))


def _const(value: float) -> str:
    bits = struct.unpack("<Q", struct.pack("<d", float(np.float32(value))))[0]
    return "<" + ", ".join([f"float 0x{bits:016X}"] * 8) + ">"


def _ints(value: int) -> str:
    return "<" + ", ".join([f"i32 {value}"] * 8) + ">"


def _log(b: _Lines, u: str) -> str:
    from livegrad.sampling.boxmuller import LOG_P, LOG_Q1, LOG_Q2, SQRT_HALF

    one = _const(1.0)
    bits = b.bits(u)
    mantissa = b.from_bits(b.int("or", b.int("and", bits, 0x7FFFFF), 0x3F000000))
    exponent = b.to_float(b.int("sub", b.int("lshr", bits, 23), 126))
    low = b.emit(f"fcmp olt <8 x float> {mantissa}, {_const(SQRT_HALF)}")
    exponent = b.select(low, b.sub(exponent, one), exponent)
    x = b.sub(mantissa, one)
    x = b.select(low, b.add(x, mantissa), x)
    z = b.mul(x, x)
    y = _const(LOG_P[0])
    for p in LOG_P[1:]:
        y = b.fma(y, x, _const(p))
    y = b.fma(b.mul(y, x), z, b.mul(exponent, _const(LOG_Q1)))
    y = b.sub(y, b.mul(z, _const(0.5)))
    return b.fma(exponent, _const(LOG_Q2), b.add(x, y))


def _sincos(b: _Lines, theta: str) -> tuple[str, str]:
    from livegrad.sampling.boxmuller import COS_P, FOUR_OVER_PI, QUARTER_PI, SIN_P

    octant = b.emit(f"fptosi <8 x float> {b.mul(theta, _const(FOUR_OVER_PI))} to <8 x i32>")
    octant = b.int("and", b.int("add", octant, 1), -2)
    y, x = b.to_float(octant), theta
    for part in QUARTER_PI:
        x = b.fma(y, _const(-part), x)
    z = b.mul(x, x)
    half = b.mul(z, _const(0.5))
    c, s = (b.mul(b.fma(b.fma(_const(p[0]), z, _const(p[1])), z, _const(p[2])), z) for p in (COS_P, SIN_P))
    c = b.add(b.fma(c, z, b.neg(half)), _const(1.0))
    s = b.fma(s, x, x)
    swap = b.emit(f"icmp ne <8 x i32> {b.int('and', octant, 2)}, zeroinitializer")
    sin, cos = b.select(swap, c, s), b.select(swap, s, c)
    behind = b.int("xor", b.int("sub", octant, 2), -1)
    return b.flip_sign(sin, b.int("and", octant, 4)), b.flip_sign(cos, b.int("and", behind, 4))


def fill_normal_ir(word: str) -> str:
    """`fill_normal`, of words that lie in integers of that type. Those of 32 bits may lie where the result goes."""
    from livegrad.sampling.boxmuller import TWO_PI

    b = _Lines(word)
    log = _log(b, b.sub(_const(1.0), b.uniforms("%first")))
    radius = b.sqrt(b.mul(log, _const(-2.0)))
    sin, cos = _sincos(b, b.mul(b.uniforms("%second"), _const(TWO_PI)))
    cos = b.fma(b.mul(radius, cos), "%std", "%mean")
    sin = b.fma(b.mul(radius, sin), "%std", "%mean")
    body = "\n".join(b.lines)

    def splat(name: str) -> str:
        return (
            f"  %{name}.0 = insertelement <8 x float> poison, float %{name}.in, i32 0\n"
            f"  %{name} = shufflevector <8 x float> %{name}.0, <8 x float> poison, <8 x i32> zeroinitializer\n"
        )

    return f"""{_DECLARATIONS}
define void @fill_normal(ptr %words, ptr %out, i64 %blocks, float %mean.in, float %std.in) {{
entry:
{splat("mean")}{splat("std")}  %some = icmp sgt i64 %blocks, 0
  br i1 %some, label %loop, label %done
loop:
  %block = phi i64 [0, %entry], [%next, %loop]
  %start = shl i64 %block, 4
  %first = getelementptr {word}, ptr %words, i64 %start
  %second = getelementptr {word}, ptr %first, i64 8
  %low = getelementptr float, ptr %out, i64 %start
  %high = getelementptr float, ptr %low, i64 8
{body}
  store <8 x float> {cos}, ptr %low, align 4
  store <8 x float> {sin}, ptr %high, align 4
  %next = add i64 %block, 1
  %more = icmp slt i64 %next, %blocks
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""
