"""What the functions are written with: a register with operators, sums and products in two parts, polynomials.

Double-length arithmetic is Dekker's (1971).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..ir import Builder, Reg
from .coefficients import F32, F64


class Format:
    """What there is to know about a floating-point format, and constants split for it."""

    def __init__(self, kind: str) -> None:
        single = kind == "f32"
        self.kind = kind
        self.table = F32 if single else F64
        self.int = "i32" if single else "i64"
        self.bits = 32 if single else 64
        self.fraction = 23 if single else 52
        self.bias = 127 if single else 1023
        self.tiny = 2.0**-126 if single else 2.0**-1022
        # x + magic has the integer nearest to x in its low bits, if |x| is below 2**(fraction - 1).
        self.magic = 1.5 * 2.0**self.fraction
        # The high part of ln 2 times any exponent is exact; likewise that of log10(2).
        self.ln2 = (0.693145751953125, 1.428606765330187e-06) if single else (0.6931471805592082, 7.371002565167799e-13)
        self.lg2 = (0.301025390625, 4.605039066518657e-06) if single else (0.30102999566361177, 3.694239077158931e-13)
        # Full precision, two parts: 1 / ln 2, 1 / ln 10.
        self.log2e = (1.4426950408889634, 2.0355273740931033e-17)
        self.log10e = (0.4342944819032518, 1.098319650216765e-17)
        if single:
            self.log2e = (1.4426950216293335, 1.925963033500011e-08)
            self.log10e = (0.4342944920063019, -1.0103049952192578e-08)
        self.exp_high = 89.0 if single else 710.0
        self.exp_low = -104.0 if single else -746.0
        # pi / 2 in three parts, each as long as the format allows.
        self.half_pi = (
            (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15)
            if single
            else (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
        )
        # Beyond this, where the quotient gets too coarse, angles take the long way.
        self.huge_angle = 2.0**17 if single else 2.0**30
        self.huge_angle_unfused = 2.0**16 if single else 2.0**30
        self.root_half = 0x3F3504F3 if single else 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)


_FORMATS: dict[str, Format] = {}


def format_of(kind: str) -> Format:
    if not _FORMATS:
        _FORMATS.update(f32=Format("f32"), f64=Format("f64"))
    return _FORMATS[kind]


class V:
    """A register with operators, so that formulas read as such.  Floats and integers beside it become constants."""

    __slots__ = ("b", "r")

    def __init__(self, b: Builder, r: Reg) -> None:
        self.b = b
        self.r = r

    @property
    def f(self) -> Format:
        return format_of(self.r.kind)

    def const(self, value: float) -> V:
        return V(self.b, self.b.const(self.r.kind, value, self.r.width))

    def _reg(self, other: Any) -> Reg:
        return other.r if isinstance(other, V) else self.b.const(self.r.kind, other, self.r.width)

    def _do(self, name: str, other: Any) -> V:
        prefix = "f" if self.r.kind[0] == "f" else ""
        return V(self.b, getattr(self.b, prefix + name)(self.r, self._reg(other)))

    def __add__(self, other: Any) -> V:
        return self._do("add", other)

    def __radd__(self, other: Any) -> V:
        return self.const(other)._do("add", self)

    def __sub__(self, other: Any) -> V:
        return self._do("sub", other)

    def __rsub__(self, other: Any) -> V:
        return self.const(other)._do("sub", self)

    def __mul__(self, other: Any) -> V:
        return self._do("mul", other)

    def __rmul__(self, other: Any) -> V:
        return self.const(other)._do("mul", self)

    def __truediv__(self, other: Any) -> V:
        return self._do("div", other)

    def __rtruediv__(self, other: Any) -> V:
        return self.const(other)._do("div", self)

    def __neg__(self) -> V:
        return V(self.b, self.b.fneg(self.r))

    def __abs__(self) -> V:
        return V(self.b, self.b.fabs(self.r))

    def __and__(self, other: Any) -> V:
        return V(self.b, self.b.and_(self.r, self._reg(other)))

    def __or__(self, other: Any) -> V:
        return V(self.b, self.b.or_(self.r, self._reg(other)))

    def __xor__(self, other: Any) -> V:
        return V(self.b, self.b.xor(self.r, self._reg(other)))

    def __invert__(self) -> V:
        return V(self.b, self.b.not_(self.r))

    def __lshift__(self, other: Any) -> V:
        return V(self.b, self.b.shl(self.r, self._reg(other)))

    def __rshift__(self, other: Any) -> V:
        """Zeros are shifted in."""
        return V(self.b, self.b.lshr(self.r, self._reg(other)))

    def _compare(self, ordered: str, integer: str, other: Any) -> V:
        if self.r.kind[0] == "f":
            return V(self.b, self.b.fcmp(ordered, self.r, self._reg(other)))
        return V(self.b, self.b.icmp(integer, self.r, self._reg(other)))

    def __lt__(self, other: Any) -> V:
        return self._compare("olt", "slt", other)

    def __le__(self, other: Any) -> V:
        return self._compare("ole", "sle", other)

    def __gt__(self, other: Any) -> V:
        return self._compare("ogt", "sgt", other)

    def __ge__(self, other: Any) -> V:
        return self._compare("oge", "sge", other)

    def eq(self, other: Any) -> V:
        return self._compare("oeq", "eq", other)

    def ne(self, other: Any) -> V:
        """Different; true for a NaN."""
        return self._compare("une", "ne", other)

    def isnan(self) -> V:
        return V(self.b, self.b.fcmp("uno", self.r, self.r))

    def at_most(self, limit: float) -> V:
        """The smaller of this and the limit; a NaN stays."""
        return V(self.b, self.b.fmin(self._reg(limit), self.r))

    def at_least(self, limit: float) -> V:
        """The larger of this and the limit; a NaN stays."""
        return V(self.b, self.b.fmax(self._reg(limit), self.r))

    def bits(self) -> V:
        """The bit pattern, as an integer."""
        return V(self.b, self.b.bitcast(self.r, self.f.int))

    def float(self) -> V:
        """The float with this bit pattern."""
        return V(self.b, self.b.bitcast(self.r, "f32" if self.r.kind == "i32" else "f64"))

    def to(self, kind: str, signed: bool = True) -> V:
        return V(self.b, self.b.convert(self.r, kind, signed))

    def sqrt(self) -> V:
        return V(self.b, self.b.sqrt(self.r))

    def scaled(self, n: V, where: V | None = None) -> V:
        """This times 2**floor(n); 0 where `where` does not hold; with AVX-512 only."""
        return V(self.b, self.b.scaled(self.r, n.r, None if where is None else where.r))

    def of(self, values: Sequence[float]) -> V:
        """values[self % len(values)] in float32, of 16 or 32; with AVX-512 only."""
        return V(self.b, self.b.looked_up(self.r, values))

    def floor(self) -> V:
        return V(self.b, self.b.floor(self.r))

    def rint(self) -> V:
        return V(self.b, self.b.rint(self.r))

    def trunc(self) -> V:
        return V(self.b, self.b.trunc(self.r))

    def signed(self, other: V) -> V:
        """This size with the sign of another number."""
        return V(self.b, self.b.copysign(self.r, other.r))


def where(condition: V, x: Any, y: Any) -> V:
    """condition ? x : y; one of the two may be a number."""
    if not isinstance(x, V):
        x = y.const(x)
    b = condition.b
    return V(b, b.select(condition.r, x.r, x._reg(y)))


def choose(condition: V, kind: str, x: float, y: float) -> V:
    """condition ? x : y for two constants."""
    b, width = condition.b, condition.r.width
    return V(b, b.select(condition.r, b.const(kind, x, width), b.const(kind, y, width)))


def fma(x: V, y: Any, z: Any) -> V:
    """x * y + z, rounded once where the machine can do it."""
    return V(x.b, x.b.fma(x.r, x._reg(y), x._reg(z)))


def exact_fma(x: V, y: Any, z: Any) -> V:
    """x * y + z with (nearly) one rounding on every machine, by double-length arithmetic if need be."""
    if x.b.has_fma:
        return fma(x, y, z)
    y, z = (v if isinstance(v, V) else x.const(v) for v in (y, z))
    split = 4097.0 if x.r.kind == "f32" else 134217729.0

    def parts(v: V) -> tuple[V, V]:
        big = v * split
        high = big - (big - v)
        return high, v - high

    product = x * y
    (xh, xl), (yh, yl) = parts(x), parts(y)
    low = ((xh * yh - product) + xh * yl + xl * yh) + xl * yl
    total, error = two_sum(product, z)
    return total + (error + low)


def reciprocal(x: V) -> V:
    """1 / x to within an ulp, for normal x whose reciprocal is normal.

    Where there is an instruction for a first guess, Newton's steps from there take a fraction of a division's time.
    """
    if not x.b.has_avx512:
        return 1.0 / x
    y = V(x.b, x.b.about_reciprocal(x.r))
    for _ in range(1 if x.f.bits == 32 else 2):
        y = fma(fma(-x, y, 1.0), y, y)
    return y


def two_sum(x: V, y: V) -> tuple[V, V]:
    """x + y and the error of that sum."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def quick_two_sum(x: V, y: V) -> tuple[V, V]:
    """x + y and the error of that sum, for |x| >= |y|."""
    total = x + y
    return total, (x - total) + y


def poly(x: V, coefficients: Sequence[float]) -> V:
    """A polynomial, lowest power first.

    Neighbouring terms are joined first, then pairs and so on (Estrin's scheme), except for the last two levels: a chain
    of dependent operations as long as Horner's, not the number of operations, would limit the speed.
    """
    terms: list[Any] = list(coefficients)
    power = x
    while len(terms) > 3:
        pairs = [fma(power, terms[i + 1], terms[i]) for i in range(0, len(terms) - 1, 2)]
        terms = pairs + terms[len(pairs) * 2 :]
        power = power * power
    total = terms[-1]
    for term in reversed(terms[:-1]):
        total = fma(power, total, term)
    return total


def horner(x: V, coefficients: Sequence[float]) -> V:
    """A polynomial by Horner's rule: a longer chain than that of :func:`poly`, but smaller errors."""
    total = fma(x, coefficients[-1], coefficients[-2])
    for c in reversed(coefficients[:-2]):
        total = fma(total, x, c)
    return total


def function(body: Callable[..., V]) -> Callable[..., Reg]:
    """Make a function of registers of one that is written with :class:`V`."""

    @functools.wraps(body)
    def wrapped(b: Builder, *args: Reg) -> Reg:
        kind, width = args[0].kind, args[0].width
        if kind not in ("f32", "f64") or any(a.kind != kind or a.width != width for a in args):
            raise TypeError(f"{body.__name__} takes f32 or f64 of one width, not {', '.join(map(repr, args))}")
        return body(*(V(b, a) for a in args)).r

    return wrapped


def in_double(body: Callable[..., V]) -> Callable[..., V]:
    """Compute float32 in float64."""

    @functools.wraps(body)
    def wrapped(*args: V) -> V:
        if args[0].r.kind == "f64":
            return body(*args)
        return body(*(a.to("f64") for a in args)).to("f32")

    return wrapped


def each_lane(
    b: Builder, flag: Reg, state: Sequence[Reg], inputs: Sequence[Reg], compute: Callable[[list[Reg]], Sequence[Reg]]
) -> list[Reg]:
    """``state`` with the lanes where ``flag`` is set replaced by ``compute`` of the scalars of ``inputs``."""

    def one(i: Reg | int, old: list[Reg]) -> list[Reg]:
        scalars = [b.extract(v, i) for v in inputs]
        with b.at_width(1):
            found = compute(scalars)
        chosen = [b.select(b.extract(flag, i), new, b.extract(v, i)) for new, v in zip(found, old, strict=True)]
        return [b.insert(v, s, i) for v, s in zip(old, chosen, strict=True)]

    def slow() -> list[Reg]:
        if flag.width == 1:
            return one(0, list(state))
        with b.loop(0, flag.width, 1, list(state)) as loop:
            loop.next(*one(loop.i, loop.values))
        return loop.values

    return b.rarely(flag, state, slow)
