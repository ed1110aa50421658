"""Angles reduced by multiples of pi/2.

Cody and Waite's reduction (1980), with fused multiply-adds; that of Payne and Hanek (1983) for huge angles.
"""

from __future__ import annotations

import functools
import math

from ..ir import Module, Reg
from .lanes import V, each_lane, exact_fma, fma, quick_two_sum, two_sum

_TWO_OVER_PI_WORDS = 40


@functools.cache
def _two_over_pi() -> tuple[int, ...]:
    """64 zero bits and then the bits of 2/pi, in words of 32, from Machin's formula in integer arithmetic."""
    guard = 64
    bits = 32 * _TWO_OVER_PI_WORDS + guard

    def arctan_inverse(n: int) -> int:
        term = (1 << bits) // n
        total, k, square = term, 1, n * n
        while term:
            term = -(abs(term) // square) if term > 0 else abs(term) // square
            k += 2
            total += term // k if term >= 0 else -(-term // k)
        return total

    pi = 4 * (4 * arctan_inverse(5) - arctan_inverse(239))
    digits = ((2 << (2 * bits)) // pi) >> guard
    whole = digits >> 64  # the leading zeros push the last bits out
    return tuple((whole >> (32 * i)) & 0xFFFFFFFF for i in reversed(range(_TWO_OVER_PI_WORDS)))


def _huge_angle_function(module: Module) -> str:
    """A function in the module that reduces one large float64 by multiples of pi/2 (Payne and Hanek).

    It returns the remainder in two parts, and which multiple it was, modulo 4.  The mantissa is multiplied with those
    192 bits of 2/pi that decide the result: bits before them contribute whole turns only.
    """
    name = "livegrad_huge_angle"
    if name in module.internal:
        return name
    module.internal.add(name)
    table = module.table("livegrad_two_over_pi", "i32", _two_over_pi())
    b = module.function(name, [("double", "%x")], ret="<4 x double>", kernel=False)
    x = V(b, Reg("%x", "f64"))
    word = x.bits()
    m = (word & ((1 << 52) - 1)) | (1 << 52)
    exponent = ((word >> 52) & 0x7FF) - 1075
    start = exponent + 62
    start = V(b, b.smin(b.smax(start.r, b.const("i64", 0)), b.const("i64", 32 * _TWO_OVER_PI_WORDS - 32 * 7 - 1)))
    first = start >> 5
    turn = start & 31

    def read(i: int) -> V:
        item = b.load(b.gep(table, "i32", (first + i).r), "i32")
        return V(b, b.convert(item, "i64", signed=False))

    mask = 0xFFFFFFFF
    words = [read(i) for i in range(7)]
    w = [(((words[i] << 32) | words[i + 1]) >> (32 - turn)) & mask for i in range(6)]
    m0, m1 = m & mask, m >> 32
    carry: V | None = None
    columns: list[V] = []
    for k in reversed(range(4)):
        total = ((m0 * w[k]) & mask) + ((m0 * w[k + 1]) >> 32) + ((m1 * w[k + 1]) & mask) + ((m1 * w[k + 2]) >> 32)
        if carry is not None:
            total = total + carry
        columns.append(total & mask)
        carry = total >> 32
    low, high = (columns[1] << 32) | columns[0], (columns[3] << 32) | columns[2]
    quadrant = (high + (1 << 61)) >> 62
    fraction = high - (quadrant << 62)
    lead = fraction.to("f64")
    rest = (fraction - lead.to("i64")).to("f64") + low.to("f64", signed=False) * 2.0**-64
    h, t = quick_two_sum(lead * 2.0**-62, rest * 2.0**-62)
    half_pi = x.f.half_pi
    r = h * half_pi[0]
    r_low = exact_fma(h, half_pi[0], -r) + fma(h, half_pi[1], t * half_pi[0])
    r, r_low = quick_two_sum(r, r_low)
    one = x.const(1.0).signed(x)
    out = Reg("zeroinitializer", "f64", 4)
    for lane, value in enumerate((r * one, r_low * one, quadrant.to("f64") * one)):
        out = b.insert(out, value.r, lane)
    b.ret(out)
    return name


def reduce_angle(x: V, precise: bool = True) -> tuple[V, V, V]:
    """x minus the nearest multiple of pi/2, as a sum of two, and that multiple in the low bits of an integer.

    If not ``precise``, the first one is right to an ulp and the second one is zero.
    """
    b, f = x.b, x.f
    shifted = fma(x, 2.0 / math.pi, f.magic)
    n = shifted - f.magic
    quadrant = shifted.bits()
    # The first difference is exact, as n is small enough; the second one is rounded, and the error may be recovered.
    first = exact_fma(n, -f.half_pi[0], x)
    if precise:
        product = n * -f.half_pi[1]
        second, lost = two_sum(first, product)
        lost = lost + exact_fma(n, -f.half_pi[1], -product)
        high, low = quick_two_sum(second, fma(n, -f.half_pi[2], lost))
    else:
        high = fma(n, -f.half_pi[2], exact_fma(n, -f.half_pi[1], first))
        low = high.const(0.0)
    size = abs(x)
    huge = (size > (f.huge_angle if b.has_fma else f.huge_angle_unfused)) & (size < math.inf)

    def far(scalars: list[Reg]) -> list[Reg]:
        function = _huge_angle_function(b.module)
        found = b.call(function, "f64", ["double " + b.convert(scalars[0], "f64").name], width=4)
        assert found is not None
        parts = [V(b, b.extract(found, lane)) for lane in range(3)]
        r, r_low = parts[0], parts[1]
        if f.bits == 32:
            single = r.to("f32")
            r, r_low = single, (r - single.to("f64")).to("f32")
        multiple = parts[2].to(f.int).r
        return [r.r, multiple, r_low.r] if precise else [r.r, multiple]

    out = each_lane(b, huge.r, [high.r, quadrant.r, *([low.r] if precise else [])], [x.r], far)
    return V(b, out[0]), V(b, out[2]) if precise else low, V(b, out[1])
