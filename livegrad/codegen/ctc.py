"""Kernels of connectionist temporal classification, in logarithms of double precision.

States of a sequence are its labels with a blank before, between and after. `walk` adds up the alignments that begin
with each state at each step, and with all turned around those that end so; both are one recursion:

    a[t, s] = log(exp a[t-1, s] + exp a[t-1, s-1] + exp(a[t-1, s-2] + skip[s])) + log p[t, label of s]

with skip 0 where a blank may be left out, and else minus infinity. Lanes are states; in memory each row of states has a
vector of minus infinity before it.
"""

from __future__ import annotations

from .. import dtypes
from .conv_layout import gather_lanes
from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg
from .lower import lower
from .product import lanes_of

LOWEST = float("-inf")
# logs: [step, sequence, class]. states (int64), skips: [direction, sequence, state]. counts, lengths (int64): how many
# states and steps each sequence has. walked: [direction, sequence, step, state]. Distances are in elements.
WALK_POINTERS = ("logs", "states", "skips", "counts", "lengths", "walked")
WALK_WORDS = ("batch", "width", "steps", "pitch", "log_step", "log_sequence")
WALK_FORMATS = "q" * (len(WALK_POINTERS) + len(WALK_WORDS))
# losses, factors: of each sequence. row: [sequence, class], for its own use. out: [step, sequence, class].
GRADIENT_POINTERS = ("logs", "states", "counts", "lengths", "walked", "losses", "factors", "row", "out")
GRADIENT_WORDS = (*WALK_WORDS, "classes")
GRADIENT_FORMATS = "q" * (len(GRADIENT_POINTERS) + len(GRADIENT_WORDS))


class _Kernel:
    """The builder, the arguments by name, and what both kernels read."""

    def __init__(self, kind: str, pointers: tuple, words: tuple):
        self.kind, self.lanes = kind, lanes_of("f64")
        self.module = Module("cpu")
        signature = [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")]
        self.b = self.module.function(NAME, signature, self.lanes)
        args = Arguments(self.b)
        self.p = {name: args.pointer() for name in pointers}
        self.n = {name: args.word() for name in words}

    def number(self, value: int) -> Reg:
        return self.b.const("i64", value, 1)

    def place(self, *terms: tuple[Reg, Reg]) -> Reg:
        """The sum of products."""
        b, found = self.b, None
        for x, y in terms:
            found = b.mul(x, y) if found is None else b.add(found, b.mul(x, y))
        return found  # type: ignore[return-value]

    def of_sequence(self, name: str, sequence: Reg, kind: str = "i64") -> Reg:
        return self.b.load(self.b.gep(self.p[name], kind, sequence), kind, width=1)

    def row_of_logs(self, step: Reg, sequence: Reg) -> str:
        place = self.place((step, self.n["log_step"]), (sequence, self.n["log_sequence"]))
        return self.b.gep(self.p["logs"], self.kind, place)

    def emitted(self, row: str, states: str, s: Reg) -> Reg:
        """Of the labels of a vector of states, the logarithms that a row of `logs` has."""
        b = self.b
        labels = b.load(b.gep(states, "i64", s), "i64")
        return b.convert(gather_lanes(b, self.kind, row, labels, b.const("i1", True)), "f64")


def _sum_of_three(b: Builder, x: Reg, y: Reg, z: Reg) -> Reg:
    """log(exp x + exp y + exp z)."""
    most = b.fmax(b.fmax(x, y), z)
    most = b.select(b.fcmp("ogt", most, b.like(most, LOWEST)), most, b.like(most, 0.0))
    parts = [lower(b, "exp", [b.fsub(v, most)], dtypes.float64) for v in (x, y, z)]
    total = b.fadd(b.fadd(parts[0], parts[1]), parts[2])
    return b.fadd(most, lower(b, "log", [total], dtypes.float64))


def walk_source(kind: str) -> str:
    """LLVM IR of the recursion. A work item is a sequence in one direction: all forwards, then all turned around."""
    k = _Kernel(kind, WALK_POINTERS, WALK_WORDS)
    b, n, zero, one = k.b, k.n, k.number(0), k.number(1)
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        sequence = b.urem(items.i, n["batch"])
        turned = b.icmp("sge", items.i, n["batch"])
        length, count = k.of_sequence("lengths", sequence), k.of_sequence("counts", sequence)
        at = b.mul(items.i, n["width"])
        states, skips = b.gep(k.p["states"], "i64", at), b.gep(k.p["skips"], "f64", at)
        first_row = k.place((b.mul(items.i, n["steps"]), n["pitch"]))
        with b.loop(0, length) as t:
            step = b.select(turned, b.sub(b.sub(length, one), t.i), t.i)
            row = k.row_of_logs(step, sequence)
            target = b.gep(k.p["walked"], "f64", b.add(first_row, b.mul(t.i, n["pitch"])))
            b.store(b.const("f64", LOWEST), target)
            target = b.gep(target, "f64", k.lanes)
            start, go_on, done = b.fresh("start"), b.fresh("go.on"), b.fresh("walked")
            b.cond_br(b.icmp("eq", t.i, zero), start, go_on)
            b.label(start)
            begins = b.splat(b.smin(count, k.number(2)))  # with the first blank, or with the first label
            with b.loop(0, n["width"], k.lanes) as s:
                is_first = b.icmp("slt", b.add(b.splat(s.i), b.iota("i64")), begins)
                found = b.select(is_first, k.emitted(row, states, s.i), b.const("f64", LOWEST))
                b.store(found, b.gep(target, "f64", s.i))
            b.br(done)
            b.label(go_on)
            before = b.gep(target, "f64", b.sub(zero, n["pitch"]))
            with b.loop(0, n["width"], k.lanes) as s:
                came = [b.load(b.gep(before, "f64", b.sub(s.i, k.number(d))), "f64") for d in range(3)]
                came[2] = b.fadd(came[2], b.load(b.gep(skips, "f64", s.i), "f64"))
                found = b.fadd(_sum_of_three(b, *came), k.emitted(row, states, s.i))
                b.store(found, b.gep(target, "f64", s.i))
            b.br(done)
            b.label(done)
    return k.module.text()


def gradient_source(kind: str) -> str:
    """LLVM IR of the gradient by the logarithms, of softmax's; a work item is a sequence.

    out[t, c] = factor * (p[t, c] - sum over s of label c of exp(begins[t, s] + ends[t, s] - log p[t, c] + loss)),
    and 0 after the sequence's last step. `walked` is overwritten.
    """
    k = _Kernel(kind, GRADIENT_POINTERS, GRADIENT_WORDS)
    b, n, zero, one = k.b, k.n, k.number(0), k.number(1)
    backwards = list(range(k.lanes - 1, -1, -1))
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        sequence, classes = items.i, n["classes"]
        length, count = k.of_sequence("lengths", sequence), k.of_sequence("counts", sequence)
        loss, factor = (k.of_sequence(name, sequence, "f64") for name in ("losses", "factors"))
        states = b.gep(k.p["states"], "i64", b.mul(sequence, n["width"]))
        table = b.mul(n["steps"], n["pitch"])
        begins = b.gep(k.p["walked"], "f64", b.add(b.mul(sequence, table), k.number(k.lanes)))
        ends = b.gep(begins, "f64", b.mul(n["batch"], table))
        own = b.gep(k.p["row"], "f64", b.mul(sequence, classes))
        whole = b.and_(classes, k.number(-k.lanes))

        def out_row(step: Reg) -> str:
            return b.gep(k.p["out"], kind, b.mul(b.add(b.mul(step, n["batch"]), sequence), classes))

        with b.loop(0, length) as t:
            row = k.row_of_logs(t.i, sequence)
            from_start = b.gep(begins, "f64", b.mul(t.i, n["pitch"]))
            from_end = b.gep(ends, "f64", b.mul(b.sub(b.sub(length, one), t.i), n["pitch"]))
            with b.loop(0, count, k.lanes) as s:
                # The last states first: before the first one there is minus infinity.
                mirrored = b.sub(b.sub(count, k.number(k.lanes)), s.i)
                end = b.shuffle(b.load(b.gep(from_end, "f64", mirrored), "f64"), None, backwards)
                both = b.fadd(b.load(b.gep(from_start, "f64", s.i), "f64"), end)
                power = b.fadd(b.fsub(both, k.emitted(row, states, s.i)), b.splat(loss))
                b.store(lower(b, "exp", [power], dtypes.float64), b.gep(from_start, "f64", s.i))
            for width, low, high in ((k.lanes, zero, whole), (1, whole, classes)):
                with b.at_width(width), b.loop(low, high, width) as c:
                    x = b.convert(b.load(b.gep(row, kind, c.i), kind), "f64")
                    b.store(lower(b, "exp", [x], dtypes.float64), b.gep(own, "f64", c.i))
            with b.at_width(1), b.loop(0, count) as s:
                place = b.gep(own, "f64", b.load(b.gep(states, "i64", s.i), "i64"))
                b.store(b.fsub(b.load(place, "f64"), b.load(b.gep(from_start, "f64", s.i), "f64")), place)
            target = out_row(t.i)
            for width, low, high in ((k.lanes, zero, whole), (1, whole, classes)):
                with b.at_width(width), b.loop(low, high, width) as c:
                    made = b.fmul(b.load(b.gep(own, "f64", c.i), "f64"), b.splat(factor))
                    b.store(b.convert(made, kind), b.gep(target, kind, c.i))
        with b.at_width(1), b.loop(length, n["steps"]) as t:
            target = out_row(t.i)
            with b.loop(0, classes) as c:
                b.store(b.const(kind, 0.0), b.gep(target, kind, c.i))
    return k.module.text()
