"""The lanes of vectors: taking apart, putting together, choosing, combining."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .registers import ELEMENT, PART, Reg, type_text
from .writer import Writer


class Lanes(Writer):
    """Instructions that look at single lanes. A lane of a complex kind is both of its parts."""

    def flat(self, x: Reg) -> Reg:
        """Complex numbers as twice as many lanes, of their parts."""
        return Reg(x.name, PART[x.kind], 2 * x.width)

    def parts(self, x: Reg) -> tuple[Reg, Reg]:
        """The real and the imaginary parts of the lanes of a complex kind."""
        flat = self.flat(x)
        if x.width == 1:
            return self.extract(flat, 0), self.extract(flat, 1)
        return self.shuffle(flat, None, range(0, flat.width, 2)), self.shuffle(flat, None, range(1, flat.width, 2))

    def paired(self, real: Reg, imag: Reg, kind: str) -> Reg:
        """Complex numbers of their parts."""
        if real.width == 1:
            flat = self.concat(real, imag)
        else:
            w = real.width
            flat = self.shuffle(real, imag, [lane for k in range(w) for lane in (k, w + k)])
        return Reg(flat.name, kind, real.width)

    def _words(self, x: Reg) -> Reg:
        """Complex numbers of 64 bits as words, which are moved as one."""
        return self.op("i64", x.width, f"bitcast {x.operand} to {type_text('i64', x.width)}")

    def extract(self, x: Reg, lane: int | Reg) -> Reg:
        """One lane as a scalar."""
        if x.width == 1:
            return x
        if x.kind == "c64":
            word = self.extract(self._words(x), lane)
            return self.op(x.kind, 1, f"bitcast {word.operand} to {type_text(x.kind)}")
        if x.kind in PART:
            real, imag = self.parts(x)
            return self.paired(self.extract(real, lane), self.extract(imag, lane), x.kind)
        place = lane.operand if isinstance(lane, Reg) else f"i32 {lane}"
        return self.op(x.kind, 1, f"extractelement {x.operand}, {place}")

    def insert(self, x: Reg, s: Reg, lane: int | Reg) -> Reg:
        """``x`` with one lane replaced."""
        if x.width == 1:
            return s
        if x.kind == "c64":
            words = self.insert(self._words(x), self._words(s), lane)
            return self.op(x.kind, x.width, f"bitcast {words.operand} to {x.type}")
        if x.kind in PART:
            pairs = zip(self.parts(x), self.parts(s))
            real, imag = (self.insert(whole, part, lane) for whole, part in pairs)
            return self.paired(real, imag, x.kind)
        place = lane.operand if isinstance(lane, Reg) else f"i32 {lane}"
        return self.op(x.kind, x.width, f"insertelement {x.operand}, {s.operand}, {place}")

    def splat(self, s: Reg, width: int | None = None) -> Reg:
        """A scalar in every lane."""
        width = self.width if width is None else width
        if width == s.width:
            return s
        if s.width != 1:
            raise TypeError(f"splat of {s!r}: not a scalar")
        if s.kind in PART:
            return Reg(self.shuffle(self.flat(s), None, [0, 1] * width).name, s.kind, width)
        if s.name[0] != "%":
            return Reg(f"splat ({s.operand})", s.kind, width)
        first = self.insert(Reg("poison", s.kind, width), s, 0)
        whole = f"shufflevector {first.operand}, {first.type} poison, <{width} x i32> zeroinitializer"
        return self.op(s.kind, width, whole)

    def shuffle(self, x: Reg, y: Reg | None, lanes: Sequence[int]) -> Reg:
        """Choose lanes of x (numbered from 0) and y (numbered on from there)."""
        if x.kind in PART:
            places = [part for k in lanes for part in (2 * k, 2 * k + 1)]
            chosen = self.shuffle(self.flat(x), None if y is None else self.flat(y), places)
            return Reg(chosen.name, x.kind, len(lanes))
        other = y.name if y is not None else "poison"
        mask = ", ".join(f"i32 {i}" for i in lanes)
        text = f"shufflevector {x.operand}, {x.type} {other}, <{len(lanes)} x i32> <{mask}>"
        out = self.op(x.kind, len(lanes), text)
        if len(lanes) == 1:
            return self.op(x.kind, 1, f"extractelement <1 x {ELEMENT[x.kind]}> {out.name}, i32 0")
        return out

    def concat(self, x: Reg, y: Reg) -> Reg:
        """The lanes of x, then those of y (both of the same width)."""
        if x.width == 1 and x.kind not in PART:
            return self.insert(self.insert(Reg("poison", x.kind, 2), x, 0), y, 1)
        return self.shuffle(x, y, range(2 * x.width))

    def halves(self, x: Reg) -> tuple[Reg, Reg]:
        """The lower and the upper half of the lanes."""
        half = x.width // 2
        if half == 1:
            return self.extract(x, 0), self.extract(x, 1)
        return self.shuffle(x, None, range(half)), self.shuffle(x, None, range(half, x.width))

    def iota(self, kind: str, width: int | None = None) -> Reg:
        """0, 1, 2, ... over the lanes."""
        return self.const_lanes(kind, range(self.width if width is None else width))

    def reduce(self, x: Reg, combine: Callable[[Reg, Reg], Reg]) -> Reg:
        """Combine the lanes pairwise, halving the width until a scalar is left: always the same tree."""
        while x.width > 1:
            low, high = self.halves(x)
            x = combine(low, high)
        return x

    def any(self, c: Reg) -> Reg:
        """Whether any lane is true, as a scalar."""
        if c.width == 1:
            return c
        return self.intrinsic("vector.reduce.or", "i1", (c,), width=1)

    def all(self, c: Reg) -> Reg:
        """Whether every lane is true, as a scalar."""
        if c.width == 1:
            return c
        return self.intrinsic("vector.reduce.and", "i1", (c,), width=1)
