"""The kernel of discrete Fourier transforms of rows: a vector's lanes are as many rows, which are transformed together.

What a work item takes of the rows is turned into scratch memory, so that a vector there is one number of each of its
rows: real and imaginary parts of a point are two vectors, one after the other. Nothing moves between lanes from then
on, and every length is done by the same few butterflies: Stockham's passes (Cochran and others, 1967), which go from
one half of the scratch memory to the other and leave the points in order.

A real row is half of the work of a complex one: two rows are transformed at once, as real and imaginary part, and what
belongs to each is told apart afterwards by its symmetry. The inverse transform is the same one with real and imaginary
parts in each other's place, before and after.

Arguments, 64 bits each: POINTERS, NUMBERS, and the factor of all results as a float64. Distances of rows are in
numbers, of which a complex one is two. `passes` has RADIX, GROUPS, STRIDE and TWIDDLES (where the pass's factors are,
in numbers) of each pass.
"""

from __future__ import annotations

import math

from .conv_layout import lanes_below, scratch_slot
from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg, type_text
from .product import lanes_of, transposed

POINTERS = ("x", "out", "passes", "twiddles", "scratch")
NUMBERS = ("rows", "x.row", "out.row", "n", "passes.count", "reads", "writes", "swap", "slots", "slot_bytes")
FORMATS = "q" * (len(POINTERS) + len(NUMBERS)) + "d"
RADICES = (2, 3, 4, 5, 7, 8, 11, 13)
# What rows are, as read and as written: complex numbers; real ones; or the half of a real row's transform that is not
# the conjugate of the other. The latter two are taken in pairs, but for real rows that become complex ones alone.
COMPLEX, REAL, HALF, REAL_ALONE = 0, 1, 2, 3

Point = tuple[Reg, Reg]


def source(kind: str) -> str:
    """LLVM IR of the kernel. A work item is as many rows as a vector has lanes, or twice as many if they are pairs."""
    module = Module("cpu")
    for radix in RADICES:
        _define_pass(module, kind, radix)
    _define_turn_in(module, kind)
    _define_turn_out(module, kind)
    k = _Transform(module, kind)
    k.write()
    return module.text()


class _Transform:
    """The builder, and what its parts share."""

    def __init__(self, module: Module, kind: str):
        self.kind, self.width = kind, lanes_of(kind)
        parameters = [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")]
        self.b = b = module.function(NAME, parameters, self.width)
        args = Arguments(b)
        self.p = {name: args.pointer() for name in POINTERS}
        self.n = {name: args.word() for name in NUMBERS}
        self.factor = b.splat(b.convert(b.bitcast(args.word(), "f64"), kind))

    def number(self, value: int) -> Reg:
        return self.b.const("i64", value, 1)

    def is_(self, name: str, value: int) -> Reg:
        return self.b.icmp("eq", self.n[name], self.number(value))

    def vector(self, memory: str, index: Reg) -> str:
        """The address of a vector of scratch memory."""
        return self.b.gep(memory, self.kind, self.b.mul(index, self.number(self.width)))

    def write(self) -> None:
        b, n = self.b, self.n
        paired = b.or_(self.is_("reads", REAL), self.is_("reads", HALF))
        each = b.select(paired, self.number(2 * self.width), self.number(self.width))
        half = b.add(b.lshr(n["n"], self.number(1)), self.number(1))
        slots = scratch_slot(b, self.p["scratch"], n["slots"], n["slot_bytes"])
        with slots as slot, b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
            first = b.mul(items.i, each)
            room = b.add(b.mul(n["n"], self.number(2)), self.number(4))
            halves = [slot, self.vector(slot, room)]
            self.read(first, halves, half)
            current, other = self.passes(halves)
            self.give(first, current, other, half)

    def read(self, first: Reg, memory: list[str], half: Reg) -> None:
        """Turn the rows from the first one on into the first half of the memory."""
        b, n = self.b, self.n
        second = b.add(first, self.number(self.width))
        one, two, zero = self.number(1), self.number(2), self.number(0)
        with b.when(self.is_("reads", COMPLEX)):
            self.turn_in(first, b.mul(n["n"], two), memory[0], one, zero, n["swap"])
        with b.when(self.is_("reads", REAL)):
            self.turn_in(first, n["n"], memory[0], two, zero, n["swap"])
            self.turn_in(second, n["n"], memory[0], two, one, n["swap"])
        with b.when(self.is_("reads", REAL_ALONE)):
            self.turn_in(first, n["n"], memory[0], two, zero, n["swap"])
            with b.loop(0, n["n"]) as k:
                empty = b.xor(b.add(b.mul(k.i, two), one), n["swap"])
                b.store(b.const(self.kind, 0.0), self.vector(memory[0], empty))
        with b.when(self.is_("reads", HALF)):
            numbers = b.mul(half, two)
            self.turn_in(first, numbers, memory[1], one, zero, zero)
            self.turn_in(second, numbers, self.vector(memory[1], numbers), one, zero, zero)
            self.join(memory[1], memory[0], half)

    def passes(self, memory: list[str]) -> tuple[str, str]:
        """All passes; what follows is in the first half of the memory that is returned, the second one is free."""
        b, n = self.b, self.n
        head, body, done = b.fresh("head"), b.fresh("body"), b.fresh("passed")
        before = b.block
        b.label(head)
        i = b.phi("i64", [(self.number(0), before)], 1)
        odd = b.icmp("ne", b.and_(i, self.number(1)), self.number(0))
        names = [b.fresh("from"), b.fresh("to")]
        for name, (x, y) in zip(names, (memory, memory[::-1])):
            b.line(f"%{name} = select {odd.operand}, ptr {y}, ptr {x}")
        b.cond_br(b.icmp("slt", i, n["passes.count"]), body, done)
        b.label(body)
        place = b.gep(self.p["passes"], "i64", b.mul(i, self.number(4)))
        radix, groups, stride, at = (b.load(b.gep(place, "i64", k), "i64", width=1) for k in range(4))
        factors = b.gep(self.p["twiddles"], self.kind, at)
        labels, after = [b.fresh("radix") for _ in RADICES], b.fresh("after")
        cases = " ".join(f"i64 {r}, label %{label}" for r, label in zip(RADICES, labels))
        b.line(f"switch {radix.operand}, label %{labels[0]} [ {cases} ]")
        b.terminated = True
        for r, label in zip(RADICES, labels):
            b.label(label)
            pointers = [f"ptr %{names[0]}", f"ptr %{names[1]}", f"ptr {factors}"]
            b.call(f"pass.{r}", None, [*pointers, groups, stride])
            b.br(after)
        b.label(after)
        b.add_incoming(i, b.add(i, self.number(1)), b.block)
        b.br(head)
        b.label(done)
        return f"%{names[0]}", f"%{names[1]}"

    def give(self, first: Reg, current: str, other: str, half: Reg) -> None:
        """Turn what was computed into the rows of the result."""
        b, n = self.b, self.n
        second = b.add(first, self.number(self.width))
        one, two, zero = self.number(1), self.number(2), self.number(0)
        with b.when(self.is_("writes", COMPLEX)):
            self.turn_out(first, b.mul(n["n"], two), current, one, zero, n["swap"])
        with b.when(self.is_("writes", REAL)):
            self.turn_out(first, n["n"], current, two, zero, n["swap"])
            self.turn_out(second, n["n"], current, two, one, n["swap"])
        with b.when(self.is_("writes", HALF)):
            numbers = b.mul(half, two)
            self.tell_apart(current, other, half)
            self.turn_out(first, numbers, other, one, zero, zero)
            self.turn_out(second, numbers, self.vector(other, numbers), one, zero, zero)

    def turn_in(self, first: Reg, numbers: Reg, target: str, every: Reg, add: Reg, swap: Reg) -> None:
        """Number f of as many rows as there are lanes becomes vector (f * every + add) ^ swap."""
        n, pointers = self.n, [f"ptr {self.p['x']}", f"ptr {target}"]
        self.b.call("turn.in", None, [*pointers, first, n["rows"], n["x.row"], numbers, every, add, swap])

    def turn_out(self, first: Reg, numbers: Reg, memory: str, every: Reg, add: Reg, swap: Reg) -> None:
        """The other way round, times the factor."""
        n, pointers = self.n, [f"ptr {memory}", f"ptr {self.p['out']}", self.factor]
        self.b.call("turn.out", None, [*pointers, first, n["rows"], n["out.row"], numbers, every, add, swap])

    def point(self, memory: str, index: Reg) -> Point:
        """The complex number of each row."""
        at = self.vector(memory, self.b.mul(index, self.number(2)))
        return self.b.load(at, self.kind), self.b.load(self.b.gep(at, self.kind, self.width), self.kind)

    def put(self, value: Point, memory: str, index: Reg, swap: Reg | None = None) -> None:
        b = self.b
        for part, v in enumerate(value):
            at = b.add(b.mul(index, self.number(2)), self.number(part))
            b.store(v, self.vector(memory, at if swap is None else b.xor(at, swap)))

    def tell_apart(self, memory: str, target: str, half: Reg) -> None:
        """Of z = the transform of x + iy for real x and y: that of x, and behind it that of y; half of each."""
        b, n = self.b, self.n
        a_half = b.const(self.kind, 0.5)
        with b.loop(0, half) as k:
            opposite = b.urem(b.sub(n["n"], k.i), n["n"])
            z, w = self.point(memory, k.i), self.point(memory, opposite)
            x = b.fmul(b.fadd(z[0], w[0]), a_half), b.fmul(b.fsub(z[1], w[1]), a_half)
            y = b.fmul(b.fadd(z[1], w[1]), a_half), b.fmul(b.fsub(w[0], z[0]), a_half)
            self.put(x, target, k.i)
            self.put(y, target, b.add(half, k.i))

    def join(self, memory: str, target: str, half: Reg) -> None:
        """The reverse: of halves of the transforms of real x and y, behind each other, that of x + iy."""
        b, n = self.b, self.n
        zero = b.const(self.kind, 0.0)
        with b.loop(0, half) as k:
            x, y = self.point(memory, k.i), self.point(memory, b.add(half, k.i))
            opposite = b.urem(b.sub(n["n"], k.i), n["n"])
            # What is its own opposite is real; another number there is not looked at.
            is_own = b.icmp("eq", opposite, k.i)
            x = x[0], b.select(is_own, zero, x[1])
            y = y[0], b.select(is_own, zero, y[1])
            self.put((b.fsub(x[0], y[1]), b.fadd(x[1], y[0])), target, k.i, n["swap"])
            with b.when(b.not_(is_own)):
                self.put((b.fadd(x[0], y[1]), b.fsub(y[0], x[1])), target, opposite, n["swap"])


# --- rows to lanes and back ---------------------------------------------------------------------------------------

_TURN = ("first", "rows", "row", "numbers", "every", "add", "swap")
_TURN_PARAMETERS = [("i64", f"%{name}") for name in _TURN]


def _slots(b: Builder, kind: str, memory: str, indices: list[Reg]) -> list[str]:
    """Where in scratch memory numbers of the rows are."""
    every, add, swap = (Reg(f"%{name}", "i64") for name in ("every", "add", "swap"))
    size = b.const("i64", b.width, 1)
    return [b.gep(memory, kind, b.mul(b.xor(b.add(b.mul(i, every), add), swap), size)) for i in indices]


def _define_turn_in(module: Module, kind: str) -> None:
    """Define `@turn.in`: number f of each row becomes vector (f * every + add) ^ swap of %target."""
    width = lanes_of(kind)
    b = module.function(
        "turn.in", [("ptr noalias readonly", "%x"), ("ptr noalias", "%target"), *_TURN_PARAMETERS], width, kernel=False
    )
    first, count, row, numbers = (Reg(f"%{name}", "i64") for name in _TURN[:4])
    last = b.sub(count, b.const("i64", 1, 1))
    rows = []  # behind the last row that one stands in, of which nobody takes note
    for lane in range(width):
        rows.append(b.gep("%x", kind, b.mul(b.smin(b.add(first, b.const("i64", lane, 1)), last), row)))
    with b.loop(0, numbers, width) as across:
        mask = lanes_below(b, b.sub(numbers, across.i), width, kind)
        lines = [b.load_some(b.gep(each, kind, across.i), kind, mask) for each in rows]
        indices = [b.add(across.i, b.const("i64", k, 1)) for k in range(width)]
        for line, index, place in zip(transposed(b, lines), indices, _slots(b, kind, "%target", indices)):
            with b.when(b.icmp("slt", index, numbers)):
                b.store(line, place)


def _define_turn_out(module: Module, kind: str) -> None:
    """Define `@turn.out`: number f of each row is that of vector (f * every + add) ^ swap of %memory, times %factor."""
    width = lanes_of(kind)
    pointers = [("ptr noalias readonly", "%memory"), ("ptr noalias", "%out"), (type_text(kind, width), "%factor")]
    b = module.function("turn.out", [*pointers, *_TURN_PARAMETERS], width, kernel=False)
    first, count, distance, numbers = (Reg(f"%{name}", "i64") for name in _TURN[:4])
    last = b.sub(numbers, b.const("i64", 1, 1))
    with b.loop(0, numbers, width) as across:
        mask = lanes_below(b, b.sub(numbers, across.i), width, kind)
        indices = [b.smin(b.add(across.i, b.const("i64", k, 1)), last) for k in range(width)]
        lines = [b.load(place, kind) for place in _slots(b, kind, "%memory", indices)]
        for lane, line in enumerate(transposed(b, lines)):
            row = b.add(first, b.const("i64", lane, 1))
            with b.when(b.icmp("slt", row, count)):
                to = b.gep("%out", kind, b.add(b.mul(row, distance), across.i))
                b.store_some(b.fmul(line, Reg("%factor", kind, width)), to, mask)


# --- passes -------------------------------------------------------------------------------------------------------


def _define_pass(module: Module, kind: str, radix: int) -> None:
    """Define `@pass.radix`: y[q + s (radix p + k)] = w(p, k) * sum over j of x[q + s (p + m j)] e^(-2 pi i jk / radix).

    For p below m, q below s and k below radix. The factors w(p, k) of k from 1 on follow each other, p by p.
    """
    width = lanes_of(kind)
    parameters = [("ptr noalias readonly", "%x"), ("ptr noalias", "%y"), ("ptr noalias readonly", "%w")]
    b = module.function(f"pass.{radix}", [*parameters, ("i64", "%m"), ("i64", "%s")], width, kernel=False)
    m, s = Reg("%m", "i64"), Reg("%s", "i64")

    def number(value: int) -> Reg:
        return b.const("i64", value, 1)

    def place(memory: str, point: Reg) -> str:
        return b.gep(memory, kind, b.mul(point, number(2 * width)))

    with b.loop(0, m) as p:
        factors = b.gep("%w", kind, b.mul(p.i, number(2 * (radix - 1))))
        w = [b.splat(b.load(b.gep(factors, kind, k), kind, width=1)) for k in range(2 * (radix - 1))]
        sources = [place("%x", b.mul(s, b.add(p.i, b.mul(m, number(j))))) for j in range(radix)]
        targets = [place("%y", b.mul(s, b.add(b.mul(p.i, number(radix)), number(k)))) for k in range(radix)]
        with b.loop(0, s) as q:
            step = b.mul(q.i, number(2 * width))
            points = []
            for each in sources:
                at = b.gep(each, kind, step)
                points.append((b.load(at, kind, align=16), b.load(b.gep(at, kind, width), kind, align=16)))
            for k, value in enumerate(_butterfly(b, kind, points)):
                if k:
                    value = _times(b, value, (w[2 * k - 2], w[2 * k - 1]))
                at = b.gep(targets[k], kind, step)
                b.store(value[0], at, align=16)
                b.store(value[1], b.gep(at, kind, width), align=16)


def _times(b: Builder, x: Point, y: Point) -> Point:
    real = b.fma(x[0], y[0], b.fneg(b.fmul(x[1], y[1])))
    return real, b.fma(x[0], y[1], b.fmul(x[1], y[0]))


def _plus(b: Builder, x: Point, y: Point) -> Point:
    return b.fadd(x[0], y[0]), b.fadd(x[1], y[1])


def _minus(b: Builder, x: Point, y: Point) -> Point:
    return b.fsub(x[0], y[0]), b.fsub(x[1], y[1])


def _minus_i(b: Builder, x: Point) -> Point:
    """-i x"""
    return x[1], b.fneg(x[0])


def _butterfly(b: Builder, kind: str, x: list[Point]) -> list[Point]:
    """The transform of a few points."""
    n = len(x)
    if n == 2:
        return [_plus(b, *x), _minus(b, *x)]
    if n % 2:
        return _odd_butterfly(b, kind, x)
    even, odd = _butterfly(b, kind, x[::2]), _butterfly(b, kind, x[1::2])
    low, high = [], []
    for k, (e, o) in enumerate(zip(even, odd)):
        turned = _turned(b, kind, o, k, n)
        low.append(_plus(b, e, turned))
        high.append(_minus(b, e, turned))
    return low + high


def _turned(b: Builder, kind: str, x: Point, k: int, n: int) -> Point:
    """x e^(-2 pi i k / n), for n of 4 or 8."""
    if k == 0:
        return x
    if 4 * k == n:
        return _minus_i(b, x)
    root = b.const(kind, math.sqrt(0.5))
    if 8 * k == n:
        return b.fmul(b.fadd(x[0], x[1]), root), b.fmul(b.fsub(x[1], x[0]), root)
    return b.fmul(b.fsub(x[1], x[0]), root), b.fneg(b.fmul(b.fadd(x[0], x[1]), root))


def _odd_butterfly(b: Builder, kind: str, x: list[Point]) -> list[Point]:
    """Points and their opposites share cosines, and sines but for the sign."""
    n = len(x)
    pairs = range(1, n // 2 + 1)
    sums = {j: _plus(b, x[j], x[n - j]) for j in pairs}
    differences = {j: _minus(b, x[j], x[n - j]) for j in pairs}
    total = x[0]
    for j in pairs:
        total = _plus(b, total, sums[j])
    out: list = [total] + [None] * (n - 1)
    for k in pairs:
        even, odd = x[0], (b.const(kind, 0.0), b.const(kind, 0.0))
        for j in pairs:
            cosine = b.const(kind, math.cos(2 * math.pi * j * k / n))
            sine = b.const(kind, math.sin(2 * math.pi * j * k / n))
            even = tuple(b.fma(v, cosine, a) for v, a in zip(sums[j], even))  # type: ignore[assignment]
            odd = tuple(b.fma(v, sine, a) for v, a in zip(differences[j], odd))  # type: ignore[assignment]
        turned = _minus_i(b, odd)
        out[k], out[n - k] = _plus(b, even, turned), _minus(b, even, turned)
    return out
