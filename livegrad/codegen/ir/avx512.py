"""AVX-512's own instructions, on any number of lanes: where a `Builder` says that it has them (`has_avx512`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .lanes import Lanes
from .registers import Reg, kind_bits


class Avx512(Lanes):
    """Results have the same bits at every width: parts of registers are filled up."""

    def _in_registers(self, least: int, most: int, args: Sequence[Reg], make: Callable[[list[Reg]], Reg]) -> Reg:
        """What `make` makes of vectors of any width: in parts of at most `most` lanes and at least `least`."""
        width = args[0].width
        if width > most:
            pairs = [self.halves(a) for a in args]
            low, high = (self._in_registers(least, most, [p[k] for p in pairs], make) for k in (0, 1))
            return self.concat(low, high)
        if width >= least:
            return make(list(args))
        wide = []
        for a in args:
            out = Reg("zeroinitializer", a.kind, least)
            for lane in range(width):
                out = self.insert(out, self.extract(a, lane), lane)
            wide.append(out)
        made = make(wide)
        return self.shuffle(made, None, range(width)) if width > 1 else self.extract(made, 0)

    def _avx512(self, name: str, args: Sequence[Reg], masked: bool, rounded: bool) -> Reg:
        """One of AVX-512's own instructions on f32 or f64. A last argument of truth values: where not set, it is 0."""
        lanes = 16 if args[0].kind == "f32" else 8

        def make(args: list[Reg]) -> Reg:
            first = args[0]
            mask = "i16" if first.width == 16 else "i8"
            chosen = f"{mask} -1"
            if args[-1].kind == "i1":
                bits = args.pop()
                if bits.width < 8:
                    bits = self.shuffle(
                        bits,
                        Reg("zeroinitializer", "i1", bits.width),
                        [*range(bits.width), *[bits.width] * (8 - bits.width)],
                    )
                name_of = self.op("i1", 1, f"bitcast {bits.operand} to {mask}").name
                chosen = f"{mask} {name_of}"
            suffix = f"{'ps' if first.kind == 'f32' else 'pd'}.{first.width * kind_bits(first.kind)}"
            operands = [a.operand for a in args] + [f"{first.type} zeroinitializer", chosen]
            types = [first.type] * (len(args) + 1) + [mask]
            if rounded and first.width == lanes:
                operands.append("i32 4")
                types.append("i32")
            function = f"llvm.x86.avx512.{'mask.' if masked else ''}{name}.{suffix}"
            self.declare(f"declare {first.type} @{function}({', '.join(types)})")
            return self.op(first.kind, first.width, f"call {first.type} @{function}({', '.join(operands)})")

        return self._in_registers(lanes // 4, lanes, args, make)

    def scaled(self, x: Reg, n: Reg, where: Reg | None = None) -> Reg:
        """x * 2**floor(n), rounded once; 0 where `where` is not set; only where `has_avx512`."""
        return self._avx512("scalef", (x, n) if where is None else (x, n, where), masked=True, rounded=True)

    def about_reciprocal(self, x: Reg) -> Reg:
        """1 / x to about 14 bits; only where `has_avx512`."""
        return self._avx512("rcp14", (x,), masked=False, rounded=False)

    def looked_up(self, index: Reg, values: Sequence[float]) -> Reg:
        """values[index % len(values)] for i32 indices and 16 or 32 f32 values: one instruction, with `has_avx512`."""
        tables = [self.const_lanes("f32", values[k : k + 16]) for k in range(0, len(values), 16)]
        kind = tables[0].type

        def make(args: list[Reg]) -> Reg:
            places = args[0].operand
            if len(tables) == 1:
                function, types = "llvm.x86.avx512.permvar.sf.512", f"{kind}, <16 x i32>"
                operands = f"{tables[0].operand}, {places}"
            else:
                function, types = "llvm.x86.avx512.vpermi2var.ps.512", f"{kind}, <16 x i32>, {kind}"
                operands = f"{tables[0].operand}, {places}, {tables[1].operand}"
            self.declare(f"declare {kind} @{function}({types})")
            return self.op("f32", 16, f"call {kind} @{function}({operands})")

        return self._in_registers(16, 16, (index,), make)
