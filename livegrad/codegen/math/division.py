"""Division with whole quotients: remainders, and the floor of a quotient."""

from __future__ import annotations

import math

from ..ir import Module, Reg
from .lanes import V, each_lane, exact_fma, function, where


def _long_remainder_function(module: Module) -> str:
    """A function in the module that computes fmod of two finite positive float64 by long division on the mantissas."""
    name = "livegrad_long_remainder"
    if name in module.internal:
        return name
    module.internal.add(name)
    b = module.function(name, [("double", "%x"), ("double", "%y")], ret="double", kernel=False)

    def parts(text: str) -> tuple[V, V]:
        word = V(b, b.bitcast(Reg(text, "f64"), "i64"))
        exponent = word >> 52
        normal = exponent.ne(0)
        mantissa = (word & ((1 << 52) - 1)) | where(normal, 1 << 52, exponent.const(0))
        return mantissa, where(normal, exponent, 1)

    (mx, ex), (my, ey) = parts("%x"), parts("%y")
    difference = ex - ey
    rounds = V(b, b.smax(difference.r, difference.const(0).r))
    begin = V(b, b.urem(mx.r, my.r))
    with b.loop(0, rounds.r, 11, [begin.r]) as loop:
        left = rounds - V(b, loop.i)
        step = V(b, b.smin(left.r, left.const(11).r))
        loop.next(b.urem((V(b, loop.values[0]) << step).r, my.r))
    rest = V(b, loop.values[0])
    # rest * 2**(ey - 1075) in two steps, both of them exact.
    first = V(b, b.smax((ey - 52).r, ey.const(1).r))
    second = ey - 52 - first + 1023
    b.ret((rest.to("f64") * (first << 52).float() * (second << 52).float()).r)
    return name


def _fmod(x: V, y: V) -> V:
    b, f = x.b, x.f
    ax, ay = abs(x), abs(y)
    ratio = ax / ay
    quotient = ratio.trunc()
    rest = exact_fma(-quotient, ay, ax)
    rest = where(rest < 0.0, rest + ay, rest)
    rest = where(ax < ay, ax, rest)

    def long(scalars: list[Reg]) -> list[Reg]:
        function = _long_remainder_function(b.module)
        wide = [b.convert(s, "f64") for s in scalars]
        found = b.call(function, "f64", wide)
        assert found is not None
        return [b.convert(found, f.kind)]

    far = ratio >= 2.0 ** (f.fraction - 1)
    if not b.has_fma:  # the emulation must neither overflow nor underflow
        reach = 2.0 ** (90 if f.bits == 32 else 900)
        far = far | (ax > reach) | (ay < 1.0 / reach)
    far = far & (ax < math.inf) & (ay > 0.0) & (ax >= ay)
    # Lanes that are not concerned must not divide by zero there.
    divisor = where(far, ay, 1.0)
    rest = V(b, each_lane(b, far.r, [rest.r], [where(far, ax, 1.0).r, divisor.r], long)[0])
    rest = where(ax.eq(math.inf) | ay.eq(0.0) | ay.isnan(), math.nan, rest)
    return rest.signed(x)


@function
def fmod(x: V, y: V) -> V:
    """C's fmod: x minus the truncated quotient times y, exact, with the sign of x."""
    return _fmod(x, y)


@function
def remainder(x: V, y: V) -> V:
    """Python's ``%``: the remainder with the sign of y."""
    rest = _fmod(x, y)
    return where(rest.ne(0.0) & ((y < 0.0) ^ (rest < 0.0)), rest + y, rest)


@function
def floor_divide(x: V, y: V) -> V:
    """Python's ``//``: the floor of the exact quotient; x / y where y is zero."""
    rest = _fmod(x, y)
    quotient = x / y
    whole = (x - rest) / y
    whole = where(rest.ne(0.0) & ((y < 0.0) ^ (rest < 0.0)), whole - 1.0, whole)
    down = whole.floor()
    down = where((whole - down) > 0.5, down + 1.0, down)
    down = where(whole.eq(0.0), whole.const(0.0).signed(quotient), down)
    return where(y.eq(0.0), quotient, down)
