"""Arithmetic, comparison and choice, of floats and of integers."""

from __future__ import annotations

from ...llvm.machine import host_has_rounding
from .avx512 import Avx512
from .registers import Reg, type_text


class Arithmetic(Avx512):
    """One method for each operation, and what an operation needs where a machine lacks it."""

    def _binary(self, name: str, x: Reg, y: Reg) -> Reg:
        if x.kind != y.kind or x.width != y.width:
            raise TypeError(f"{name}: {x!r} and {y!r} differ in kind or width")
        return self.op(x.kind, x.width, f"{name} {type_text(x.kind, x.width)} {x.name}, {y.name}")

    def fadd(self, x: Reg, y: Reg) -> Reg:
        """x + y, of complex kinds too, as `fsub`"""
        return self._binary("fadd", x, y)

    def fsub(self, x: Reg, y: Reg) -> Reg:
        """x - y"""
        return self._binary("fsub", x, y)

    def fmul(self, x: Reg, y: Reg) -> Reg:
        """x * y"""
        return self._binary("fmul", x, y)

    def fdiv(self, x: Reg, y: Reg) -> Reg:
        """x / y"""
        return self._binary("fdiv", x, y)

    def fneg(self, x: Reg) -> Reg:
        """-x, the sign bit flipped"""
        return self.op(x.kind, x.width, f"fneg {x.operand}")

    def fma(self, x: Reg, y: Reg, z: Reg) -> Reg:
        """x * y + z, rounded once; rounded twice on a machine that has no such instruction."""
        if self.has_fma:
            return self.intrinsic("fma", x.kind, (x, y, z))
        return self.fadd(self.fmul(x, y), z)

    def sqrt(self, x: Reg) -> Reg:
        """The square root, correctly rounded."""
        return self.intrinsic("sqrt", x.kind, (x,))

    def fabs(self, x: Reg) -> Reg:
        """|x|"""
        return self.intrinsic("fabs", x.kind, (x,))

    def copysign(self, x: Reg, y: Reg) -> Reg:
        """|x| with the sign of y"""
        return self.intrinsic("copysign", x.kind, (x, y))

    def _rounding(self, name: str, x: Reg) -> Reg:
        if self.target == "cpu" and not host_has_rounding():
            return self._rounding_by_addition(name, x)
        return self.intrinsic(name, x.kind, (x,))

    def _rounding_by_addition(self, name: str, x: Reg) -> Reg:
        """Rounding where the machine has no instruction: adding and subtracting 2**23 or 2**52 rounds to even."""
        size = self.fabs(x)
        big = self.like(x, 2.0**23 if x.kind == "f32" else 2.0**52)
        even = self.fsub(self.fadd(size, big), big)
        if name == "trunc":
            even = self.select(self.fcmp("ogt", even, size), self.fsub(even, self.like(x, 1.0)), even)
        signed = self.copysign(even, x)
        if name == "floor":
            signed = self.select(self.fcmp("ogt", signed, x), self.fsub(signed, self.like(x, 1.0)), signed)
        elif name == "ceil":
            signed = self.select(self.fcmp("olt", signed, x), self.fadd(signed, self.like(x, 1.0)), signed)
        return self.select(self.fcmp("olt", size, big), self.copysign(signed, x), x)

    def floor(self, x: Reg) -> Reg:
        """The largest integer not above x."""
        return self._rounding("floor", x)

    def ceil(self, x: Reg) -> Reg:
        """The smallest integer not below x."""
        return self._rounding("ceil", x)

    def trunc(self, x: Reg) -> Reg:
        """x without its fraction."""
        return self._rounding("trunc", x)

    def rint(self, x: Reg) -> Reg:
        """The nearest integer, ties to even."""
        return self._rounding("rint", x)

    def fmin_ieee(self, x: Reg, y: Reg) -> Reg:
        """The smaller one; NaN if either is NaN."""
        smaller = self.select(self.fcmp("olt", x, y), x, y)
        return self.select(self.fcmp("uno", x, x), x, smaller)

    def fmax_ieee(self, x: Reg, y: Reg) -> Reg:
        """The larger one; NaN if either is NaN."""
        larger = self.select(self.fcmp("ogt", x, y), x, y)
        return self.select(self.fcmp("uno", x, x), x, larger)

    def fmin(self, x: Reg, y: Reg) -> Reg:
        """x < y ? x : y, one instruction on most machines; y where either is NaN."""
        return self.select(self.fcmp("olt", x, y), x, y)

    def fmax(self, x: Reg, y: Reg) -> Reg:
        """x > y ? x : y, one instruction on most machines; y where either is NaN."""
        return self.select(self.fcmp("ogt", x, y), x, y)

    def add(self, x: Reg, y: Reg) -> Reg:
        """x + y, wrapping"""
        return self._binary("add", x, y)

    def sub(self, x: Reg, y: Reg) -> Reg:
        """x - y, wrapping"""
        return self._binary("sub", x, y)

    def mul(self, x: Reg, y: Reg) -> Reg:
        """x * y, wrapping"""
        return self._binary("mul", x, y)

    def sdiv(self, x: Reg, y: Reg) -> Reg:
        """Signed x / y, truncated.  y must not be 0, nor x/y overflow: that stops the process on x86."""
        return self._binary("sdiv", x, y)

    def udiv(self, x: Reg, y: Reg) -> Reg:
        """Unsigned x / y; y must not be 0."""
        return self._binary("udiv", x, y)

    def srem(self, x: Reg, y: Reg) -> Reg:
        """Signed remainder with the sign of x; the conditions of :meth:`sdiv` hold."""
        return self._binary("srem", x, y)

    def urem(self, x: Reg, y: Reg) -> Reg:
        """Unsigned remainder; y must not be 0."""
        return self._binary("urem", x, y)

    def and_(self, x: Reg, y: Reg) -> Reg:
        """Bitwise and"""
        return self._binary("and", x, y)

    def or_(self, x: Reg, y: Reg) -> Reg:
        """Bitwise or"""
        return self._binary("or", x, y)

    def xor(self, x: Reg, y: Reg) -> Reg:
        """Bitwise exclusive or"""
        return self._binary("xor", x, y)

    def shl(self, x: Reg, y: Reg) -> Reg:
        """x << y; y must be below the number of bits."""
        return self._binary("shl", x, y)

    def lshr(self, x: Reg, y: Reg) -> Reg:
        """x >> y, zeros shifted in; y must be below the number of bits."""
        return self._binary("lshr", x, y)

    def ashr(self, x: Reg, y: Reg) -> Reg:
        """x >> y, the sign shifted in; y must be below the number of bits."""
        return self._binary("ashr", x, y)

    def neg(self, x: Reg) -> Reg:
        """-x, wrapping"""
        return self._binary("sub", self.like(x, 0), x)

    def not_(self, x: Reg) -> Reg:
        """Every bit flipped."""
        return self._binary("xor", x, self.like(x, -1 if x.kind != "i1" else 1))

    def smin(self, x: Reg, y: Reg) -> Reg:
        """The smaller signed integer."""
        return self.intrinsic("smin", x.kind, (x, y))

    def smax(self, x: Reg, y: Reg) -> Reg:
        """The larger signed integer."""
        return self.intrinsic("smax", x.kind, (x, y))

    def umin(self, x: Reg, y: Reg) -> Reg:
        """The smaller unsigned integer."""
        return self.intrinsic("umin", x.kind, (x, y))

    def umax(self, x: Reg, y: Reg) -> Reg:
        """The larger unsigned integer."""
        return self.intrinsic("umax", x.kind, (x, y))

    def fcmp(self, pred: str, x: Reg, y: Reg) -> Reg:
        """Compare floats: ``oeq ogt oge olt ole one ord`` are false with a NaN, ``ueq ... une uno`` true."""
        return self._compare("fcmp", pred, x, y)

    def icmp(self, pred: str, x: Reg, y: Reg) -> Reg:
        """Compare integers: ``eq ne``, signed ``sgt sge slt sle``, unsigned ``ugt uge ult ule``."""
        return self._compare("icmp", pred, x, y)

    def _compare(self, name: str, pred: str, x: Reg, y: Reg) -> Reg:
        if x.kind != y.kind or x.width != y.width:
            raise TypeError(f"{name} {pred}: {x!r} and {y!r} differ in kind or width")
        return self.op("i1", x.width, f"{name} {pred} {type_text(x.kind, x.width)} {x.name}, {y.name}")

    def select(self, c: Reg, x: Reg, y: Reg) -> Reg:
        """c ? x : y, lane by lane"""
        if x.kind != y.kind or x.width != y.width or c.kind != "i1" or c.width not in (1, x.width):
            raise TypeError(f"select: {c!r}, {x!r}, {y!r} do not go together")
        return self.op(x.kind, x.width, f"select {c.operand}, {x.operand}, {y.operand}")
