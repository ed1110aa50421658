"""From one kind of number to another, the half kinds included."""

from __future__ import annotations

from .arithmetic import Arithmetic
from .registers import BITS, ELEMENT, FLOATS, PART, Reg, type_text


class Conversions(Arithmetic):
    """Conversions: NumPy's results, and no call of a run-time library."""

    def bitcast(self, x: Reg, kind: str) -> Reg:
        """The same bits as another kind of the same size."""
        if BITS[x.kind] != BITS[kind]:
            raise TypeError(f"bitcast of {x!r} to {kind}: sizes differ")
        if ELEMENT[x.kind] == ELEMENT[kind]:
            return Reg(x.name, kind, x.width)
        return self.op(kind, x.width, f"bitcast {x.operand} to {type_text(kind, x.width)}")

    def _cast(self, name: str, x: Reg, kind: str) -> Reg:
        return self.op(kind, x.width, f"{name} {x.operand} to {type_text(kind, x.width)}")

    def convert(self, x: Reg, kind: str, signed: bool = True) -> Reg:
        """Convert a number to another kind, as C and NumPy do.

        ``signed`` is the signedness of the integer involved: of the source, or of the result if the source is a float.
        Float to integer truncates (a value out of range gives some integer); anything to ``i1`` compares with zero.
        Of complex numbers real kinds take the real part, and real numbers become complex ones on the real axis.
        """
        if x.kind == kind:
            return x
        if x.kind in PART:
            if kind in PART:
                return Reg(self.convert(self.flat(x), PART[kind]).name, kind, x.width)
            real, imag = self.parts(x)
            if kind == "i1":
                return self.or_(self.convert(real, kind), self.convert(imag, kind))
            return self.convert(real, kind, signed)
        if kind in PART:
            return self.paired(self.convert(x, PART[kind], signed), self.const(PART[kind], 0.0, x.width), kind)
        if kind == "i1":
            if x.kind in ("f16", "bf16"):  # all bits but the sign
                x = self.and_(Reg(x.name, "i16", x.width), self.const("i16", 0x7FFF, x.width))
            if x.kind in FLOATS:
                return self.fcmp("une", x, self.like(x, 0.0))
            return self.icmp("ne", x, self.like(x, 0))
        if x.kind == "i1":
            if kind in FLOATS:
                return self.select(x, self.const(kind, 1.0, x.width), self.const(kind, 0.0, x.width))
            return self._cast("zext", x, kind)
        if x.kind == "f16":
            return self.convert(self._from_f16(x), kind, signed)
        if x.kind == "bf16":
            return self.convert(self._from_bf16(x), kind, signed)
        if kind in ("f16", "bf16"):
            single = self.convert(x, "f32", signed)
            return self._to_f16(single) if kind == "f16" else self._to_bf16(single)
        if x.kind in FLOATS:
            if kind in FLOATS:
                return self._cast("fpext" if kind == "f64" else "fptrunc", x, kind)
            return self._float_to_int(x, kind, signed)
        if kind in FLOATS:
            return self._cast("sitofp" if signed else "uitofp", x, kind)
        if BITS[kind] < BITS[x.kind]:
            return self._cast("trunc", x, kind)
        return self._cast("sext" if signed else "zext", x, kind)

    def _float_to_int(self, x: Reg, kind: str, signed: bool) -> Reg:
        # Small integers, and unsigned ones below 64 bits, go through a wider signed integer: out of range values then
        # wrap around as they do in NumPy on the usual machines.  The result of the conversion itself is frozen, since
        # out of range it would otherwise be an undefined value that may differ at each use.
        via = kind if BITS[kind] == 64 or (signed and BITS[kind] == 32) else ("i32" if BITS[kind] < 32 else "i64")
        name = "fptosi" if signed or BITS[kind] < 64 else "fptoui"
        raw = self._cast(name, x, via)
        fixed = self.op(via, x.width, f"freeze {raw.operand}")
        return fixed if via == kind else self._cast("trunc", fixed, kind)

    def _from_bf16(self, x: Reg) -> Reg:
        wide = self._cast("zext", x, "i32")
        return self.bitcast(self.shl(wide, self.like(wide, 16)), "f32")

    def _to_bf16(self, x: Reg) -> Reg:
        """Round to nearest even by adding just under half a unit; a NaN keeps its sign and leading bits, made quiet."""
        word = self.bitcast(x, "i32")
        sixteen = self.like(word, 16)
        odd = self.and_(self.lshr(word, sixteen), self.like(word, 1))
        rounded = self.add(word, self.add(odd, self.like(word, 0x7FFF)))
        quiet = self.or_(word, self.like(word, 0x400000))
        chosen = self.select(self.fcmp("uno", x, x), quiet, rounded)
        return Reg(self._cast("trunc", self.lshr(chosen, sixteen), "i16").name, "bf16", x.width)

    def _half_type(self, width: int) -> str:
        return "half" if width == 1 else f"<{width} x half>"

    def _from_f16(self, x: Reg) -> Reg:
        if self.module.f16c:
            half = self._half_type(x.width)
            name = self.op("i16", x.width, f"bitcast {x.operand} to {half}").name
            return self.op("f32", x.width, f"fpext {half} {name} to {type_text('f32', x.width)}")
        # Put exponent and fraction in place and multiply by 2**112, which corrects the bias and makes subnormals
        # normal; infinity and NaN need the largest exponent.
        word = self._cast("zext", x, "i32")
        body = self.shl(self.and_(word, self.like(word, 0x7FFF)), self.like(word, 13))
        scaled = self.bitcast(self.fmul(self.bitcast(body, "f32"), self.const("f32", 2.0**112, x.width)), "i32")
        special = self.icmp("uge", body, self.like(body, 0x7C00 << 13))
        scaled = self.select(special, self.or_(body, self.like(body, 0x7F800000)), scaled)
        sign = self.shl(self.and_(word, self.like(word, 0x8000)), self.like(word, 16))
        return self.bitcast(self.or_(scaled, sign), "f32")

    def _to_f16(self, x: Reg) -> Reg:
        if self.module.f16c:
            half = self._half_type(x.width)
            name = self.op("i16", x.width, f"fptrunc {x.operand} to {half}").name
            return self.op("f16", x.width, f"bitcast {half} {name} to {type_text('i16', x.width)}")
        word = self.bitcast(x, "i32")

        def c(value: int) -> Reg:
            return self.like(word, value)

        sign = self.and_(self.lshr(word, c(16)), c(0x8000))
        body = self.and_(word, c(0x7FFFFFFF))
        # Subnormal results: adding 0.5 leaves the value's multiple of 2**-24, rounded to even, in the low bits.
        shift = self.const("f32", 0.5, x.width)
        small = self.sub(self.bitcast(self.fadd(self.bitcast(body, "f32"), shift), "i32"), c(0x3F000000))
        odd = self.and_(self.lshr(body, c(13)), c(1))
        normal = self.lshr(self.add(body, self.add(odd, c(0xFFF - (112 << 23)))), c(13))
        out = self.select(self.icmp("ult", body, c(113 << 23)), small, normal)
        out = self.select(self.icmp("uge", body, c(0x477FF000)), c(0x7C00), out)
        nan = self.or_(c(0x7E00), self.and_(self.lshr(body, c(13)), c(0x3FF)))
        out = self.select(self.icmp("ugt", body, c(0x7F800000)), nan, out)
        return Reg(self._cast("trunc", self.or_(out, sign), "i16").name, "f16", x.width)
