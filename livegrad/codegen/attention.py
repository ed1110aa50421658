"""Kernels of attention: softmax(q @ k.T * scale + mask) @ v by blocks, without the matrix of all scores in memory.

A block of queries goes through the keys block by block. With the largest score so far and the sum of exponentials so
far the result is corrected as it grows; what backward needs is their logarithm, one number for a query, from which it
makes the scores again. The backward pass of a head is one work item, so that the gradients of its keys and values are
added up in one order.

Arguments, all 64 bits wide: pointers, then numbers (see `POINTERS` and `NUMBERS`). q, k, v and so on are (batch, head,
row, column) with a distance for each of the first three; columns are adjacent and their number is a multiple of the
vector's. `kt` and `vt` hold the keys and values of each head transposed, their rows padded to whole vectors with zeros.
The mask is added to the scores; its rows are padded as well.
"""

from __future__ import annotations

from . import math as functions
from .elementwise import NAME, Arguments
from .ir import Module, Reg, type_text
from .product import call_rows, define_rows, lanes_of, transposed, vectors_of_panel

QUERIES = {"forward": 32, "backward": 64}  # rows of a block
KEYS = {"forward": 128, "backward": 64}  # and its columns

_STRIDES = ("batch", "head", "row")
POINTERS = {
    "forward": ("q", "v", "kt", "mask", "out", "lse"),
    "backward": ("q", "k", "v", "kt", "vt", "mask", "out", "lse", "g", "dq", "dk", "dv"),
    "transpose": ("x", "out"),
}
STRIDED = {
    "forward": ("q", "v", "mask", "out"),
    "backward": ("q", "k", "mask", "out", "g", "dq", "dk", "dv"),
    "transpose": ("x",),
}
SIZES = ("heads", "queries", "keys", "padded", "columns", "causal")


def formats(what: str) -> str:
    """How the arguments are packed; the scale is the last."""
    return "q" * (len(POINTERS[what]) + len(SIZES) + 3 * len(STRIDED[what])) + "d"


def vectors_of(columns: int, kind: str) -> int:
    """How many vectors of columns a panel of a product has."""
    return vectors_of_panel(columns // lanes_of(kind))


class _Head:
    """The arguments, and where the head of a work item lies."""

    def __init__(self, what: str, kind: str):
        self.kind, self.width = kind, lanes_of(kind)
        self.module = Module("cpu")
        parameters = [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")]
        self.b = b = self.module.function(NAME, parameters, self.width)
        args = Arguments(b)
        self.p = {name: args.pointer() for name in POINTERS[what]}
        self.n = {name: args.word() for name in SIZES}
        self.strides = {name: [args.word() for _ in _STRIDES] for name in STRIDED[what]}
        self.scale = b.convert(b.bitcast(args.word(), "f64"), kind)
        self.causal = b.icmp("ne", self.n["causal"], self.number(0))

    def number(self, value: int) -> Reg:
        return self.b.const("i64", value, 1)

    def scalar(self, value: float) -> Reg:
        return self.b.const(self.kind, value, 1)

    def scratch(self, name: str, count: int) -> str:
        self.b.line(f"%{name} = alloca {type_text(self.kind)}, i64 {count}, align 64")
        return "%" + name

    def choose(self, item: Reg) -> None:
        """Make `item` the head that `at` is about."""
        b = self.b
        batch, head = b.udiv(item, self.n["heads"]), b.urem(item, self.n["heads"])
        self.item = item
        self.base = {}
        for name, (by_batch, by_head, _) in self.strides.items():
            place = b.add(b.mul(batch, by_batch), b.mul(head, by_head))
            self.base[name] = b.gep(self.p[name], self.kind, place)

    def row_of(self, name: str) -> Reg:
        return self.strides[name][2]

    def at(self, name: str, row: Reg) -> str:
        """The address of a row of this head."""
        return self.b.gep(self.base[name], self.kind, self.b.mul(row, self.row_of(name)))

    def turned(self, name: str) -> str:
        """The address of this head's transposed matrix."""
        return self.b.gep(
            self.p[name], self.kind, self.b.mul(self.item, self.b.mul(self.n["columns"], self.n["padded"]))
        )

    def load(self, pointer: str, place: Reg | int) -> Reg:
        return self.b.load(self.b.gep(pointer, self.kind, place), self.kind)

    def store(self, x: Reg, pointer: str, place: Reg | int) -> None:
        self.b.store(x, self.b.gep(pointer, self.kind, place))

    def load_one(self, pointer: str, place: Reg) -> Reg:
        return self.b.load(self.b.gep(pointer, self.kind, place), self.kind, width=1)

    def up(self, n: Reg) -> Reg:
        """n rounded up to whole vectors."""
        return self.b.and_(self.b.add(n, self.number(self.width - 1)), self.number(-self.width))

    def clear(self, name: str, start: Reg, rows: Reg) -> None:
        with self.b.loop(0, rows) as r:
            row = self.at(name, self.b.add(start, r.i))
            with self.b.loop(0, self.n["columns"], self.width) as c:
                self.store(self.b.const(self.kind, 0.0), row, c.i)

    def scores(
        self, name: str, start: Reg, rows: Reg, turned: str, first: Reg, wide: Reg, out: str, out_row: int
    ) -> None:
        """out = rows of `name` times the transposed matrix's columns from `first` on, `wide` of them."""
        b = self.b
        most = vectors_of_panel()
        whole = b.mul(b.udiv(wide, self.number(most * self.width)), self.number(most * self.width))
        a = self.at(name, start)
        for vectors, low, high in ((most, self.number(0), whole), (1, whole, wide)):
            with b.loop(low, high, vectors * self.width) as panel:
                call_rows(
                    b, f"scores{vectors}", a, self.row_of(name), self.number(1),
                    b.gep(turned, self.kind, b.add(first, panel.i)), self.n["padded"],
                    b.gep(out, self.kind, panel.i), self.number(out_row), self.number(self.width), self.n["columns"],
                    rows,
                )  # fmt: skip

    def collect(
        self, left: str, left_row: Reg, left_k: Reg, name: str, start: Reg, out: str, out_start: Reg, k: Reg, rows: Reg,
        vectors: int,
    ) -> None:  # fmt: skip
        """Rows of `out` += left times k rows of `name`."""
        b = self.b
        right, target = self.at(name, start), self.at(out, out_start)
        with b.loop(0, self.n["columns"], vectors * self.width) as panel:
            call_rows(
                b, "collect", left, left_row, left_k, b.gep(right, self.kind, panel.i), self.row_of(name),
                b.gep(target, self.kind, panel.i), self.row_of(out), self.number(self.width), k, rows,
            )  # fmt: skip

    def limit(self, query: Reg, first: Reg, count: Reg) -> Reg:
        """How many keys of a block, `count` from `first` on, a query sees."""
        b = self.b
        seen = b.sub(b.add(query, self.number(1)), first)
        return b.select(self.causal, b.smin(seen, count), count)

    def inside(self, place: Reg, limit: Reg) -> Reg:
        """Which lanes from `place` on are below a limit."""
        b = self.b
        lanes = b.add(b.splat(place), b.iota("i64"))
        return b.icmp("slt", lanes, b.splat(limit))


def forward_source(kind: str, masked: bool, vectors: int) -> str:
    """LLVM IR of the forward kernel; work items are blocks of queries of all heads."""
    h = _Head("forward", kind)
    b, width = h.b, h.width
    block, across = QUERIES["forward"], KEYS["forward"]
    for v in (vectors_of_panel(), 1):
        define_rows(h.module, f"scores{v}", kind, (False,) * v)
    define_rows(h.module, "collect", kind, (True,) * vectors)
    scores = h.scratch("scores", block * across)
    # For each row of a block: the largest score so far, the sum of exponentials, and what this block of keys adds.
    tops, sums, shifts, alphas = (h.scratch(n, block) for n in ("tops", "sums", "shifts", "alphas"))
    queries = h.n["queries"]
    blocks = b.udiv(b.add(queries, h.number(block - 1)), h.number(block))
    nothing, zero = b.const(kind, float("-inf")), b.const(kind, 0.0)
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        h.choose(b.udiv(items.i, blocks))
        q0 = b.mul(b.urem(items.i, blocks), h.number(block))
        rows = b.smin(h.number(block), b.sub(queries, q0))
        keys = b.select(h.causal, b.smin(h.n["keys"], b.add(q0, rows)), h.n["keys"])
        h.clear("out", q0, rows)
        with b.loop(0, block, width) as r:
            h.store(nothing, tops, r.i)
            h.store(zero, sums, r.i)
            h.store(nothing, shifts, r.i)
        turned = h.turned("kt")
        with b.loop(0, keys, across) as blocks_of_keys:
            k0 = blocks_of_keys.i
            n = b.smin(h.number(across), b.sub(keys, k0))
            wide = h.up(n)
            h.scores("q", q0, rows, turned, k0, wide, scores, across)
            with b.loop(0, rows) as r:
                query = b.add(q0, r.i)
                row = b.gep(scores, kind, b.mul(r.i, h.number(across)))
                limit = b.smax(h.limit(query, k0, n), h.number(0))
                with b.loop(0, h.up(limit), width, [nothing]) as c:
                    s = _scaled(h, row, c.i, query, k0, masked)
                    s = b.select(h.inside(c.i, limit), s, nothing)
                    h.store(s, row, c.i)
                    c.next(b.fmax_ieee(s, c.values[0]))
                b.store(b.reduce(c.values[0], b.fmax_ieee), b.gep(shifts, kind, r.i))
            with b.loop(0, block, width) as r:  # rows beyond the last are no harm
                before = h.load(tops, r.i)
                top = b.fmax_ieee(h.load(shifts, r.i), before)
                shift = b.select(b.fcmp("oeq", top, nothing), zero, top)
                h.store(top, tops, r.i)
                h.store(shift, shifts, r.i)
                h.store(functions.exp(b, b.fsub(before, shift)), alphas, r.i)
            with b.loop(0, rows) as r:
                query = b.add(q0, r.i)
                row = b.gep(scores, kind, b.mul(r.i, h.number(across)))
                seen = h.up(b.smax(h.limit(query, k0, n), h.number(0)))
                shift = b.splat(h.load_one(shifts, r.i))
                with b.loop(0, seen, width, [zero]) as c:
                    e = functions.exp(b, b.fsub(h.load(row, c.i), shift))
                    h.store(e, row, c.i)
                    c.next(b.fadd(c.values[0], e))
                alpha = h.load_one(alphas, r.i)
                total = b.fadd(b.fmul(h.load_one(sums, r.i), alpha), b.reduce(c.values[0], b.fadd))
                b.store(total, b.gep(sums, kind, r.i))
                with b.loop(seen, wide, width) as c:
                    h.store(zero, row, c.i)
                later, done = b.fresh("later"), b.fresh("done")
                b.cond_br(b.icmp("sgt", k0, h.number(0)), later, done)
                b.label(later)
                _scale_row(h, h.at("out", query), alpha)
                b.label(done)
            h.collect(scores, h.number(across), h.number(1), "v", k0, "out", q0, n, rows, vectors)
        with b.loop(0, block, width) as r:
            total, top = h.load(sums, r.i), h.load(tops, r.i)
            empty = b.fcmp("oeq", total, zero)  # all keys masked: the result is 0
            h.store(b.select(empty, zero, b.fdiv(b.const(kind, 1.0), total)), alphas, r.i)
            h.store(b.select(empty, zero, b.fadd(top, functions.log(b, total))), shifts, r.i)
        with b.loop(0, rows) as r:
            query = b.add(q0, r.i)
            _scale_row(h, h.at("out", query), h.load_one(alphas, r.i))
            place = b.gep(h.p["lse"], kind, b.add(b.mul(h.item, queries), query))
            b.store(h.load_one(shifts, r.i), place)
    return h.module.text()


def _scaled(h: _Head, row: str, place: Reg, query: Reg, k0: Reg, masked: bool) -> Reg:
    """A vector of scores, scaled and with the mask added."""
    b = h.b
    s = b.fmul(h.load(row, place), b.splat(h.scale))
    return b.fadd(s, h.load(h.at("mask", query), b.add(k0, place))) if masked else s


def _scale_row(h: _Head, row: str, factor: Reg) -> None:
    b = h.b
    with b.loop(0, h.n["columns"], h.width) as c:
        h.store(b.fmul(h.load(row, c.i), b.splat(factor)), row, c.i)


def backward_source(kind: str, masked: bool, vectors: int) -> str:
    """LLVM IR of the backward kernel; work items are heads."""
    h = _Head("backward", kind)
    b, width = h.b, h.width
    block, across = QUERIES["backward"], KEYS["backward"]
    for v in (vectors_of_panel(), 1):
        define_rows(h.module, f"scores{v}", kind, (False,) * v)
    define_rows(h.module, "collect", kind, (True,) * vectors)
    p_block, d_block = h.scratch("p.block", block * across), h.scratch("d.block", block * across)
    queries, one, line = h.n["queries"], h.number(1), h.number(across)
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        h.choose(items.i)
        h.clear("dk", h.number(0), h.n["keys"])
        h.clear("dv", h.number(0), h.n["keys"])
        h.clear("dq", h.number(0), queries)
        kt, vt = h.turned("kt"), h.turned("vt")
        with b.loop(0, queries, block) as blocks:
            q0 = blocks.i
            rows = b.smin(h.number(block), b.sub(queries, q0))
            keys = b.select(h.causal, b.smin(h.n["keys"], b.add(q0, rows)), h.n["keys"])
            with b.loop(0, keys, across) as blocks_of_keys:
                k0 = blocks_of_keys.i
                n = b.smin(line, b.sub(keys, k0))
                wide = h.up(n)
                h.scores("q", q0, rows, kt, k0, wide, p_block, across)
                h.scores("g", q0, rows, vt, k0, wide, d_block, across)
                with b.loop(0, rows) as r:
                    query = b.add(q0, r.i)
                    lse = b.splat(h.load_one(h.p["lse"], b.add(b.mul(h.item, queries), query)))
                    g_row, out_row = h.at("g", query), h.at("out", query)
                    with b.loop(0, h.n["columns"], width, [b.const(kind, 0.0)]) as c:
                        c.next(b.fma(h.load(g_row, c.i), h.load(out_row, c.i), c.values[0]))
                    delta = b.splat(b.reduce(c.values[0], b.fadd))
                    offset = b.mul(r.i, line)
                    p_row, d_row = b.gep(p_block, kind, offset), b.gep(d_block, kind, offset)
                    limit = b.smax(h.limit(query, k0, n), h.number(0))
                    with b.loop(0, h.up(limit), width) as c:
                        seen = h.inside(c.i, limit)
                        s = _scaled(h, p_row, c.i, query, k0, masked)
                        p = b.select(seen, functions.exp(b, b.fsub(s, lse)), b.const(kind, 0.0))
                        ds = b.fmul(b.fmul(p, b.fsub(h.load(d_row, c.i), delta)), b.splat(h.scale))
                        h.store(p, p_row, c.i)
                        h.store(b.select(seen, ds, b.const(kind, 0.0)), d_row, c.i)
                    with b.loop(h.up(limit), wide, width) as c:
                        h.store(b.const(kind, 0.0), p_row, c.i)
                        h.store(b.const(kind, 0.0), d_row, c.i)
                h.collect(d_block, line, one, "k", k0, "dq", q0, n, rows, vectors)
                h.collect(p_block, one, line, "g", q0, "dv", k0, rows, n, vectors)
                h.collect(d_block, one, line, "q", q0, "dk", k0, rows, n, vectors)
    return h.module.text()


def transpose_source(kind: str) -> str:
    """LLVM IR of the kernel that transposes the matrix of each head, padding its rows with zeros; items are heads."""
    h = _Head("transpose", kind)
    b, width = h.b, h.width
    tile = h.scratch("tile", width * width)
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        h.choose(items.i)
        out = h.turned("out")
        with b.loop(0, h.n["padded"], width) as rows:
            count = b.smin(h.number(width), b.sub(h.n["keys"], rows.i))
            with b.loop(0, h.n["columns"], width) as columns:
                with b.loop(0, count) as r:
                    row = h.at("x", b.add(rows.i, r.i))
                    h.store(h.load(row, columns.i), tile, b.mul(r.i, h.number(width)))
                with b.loop(count, width) as r:
                    h.store(b.const(kind, 0.0), tile, b.mul(r.i, h.number(width)))
                lines = [h.load(tile, k * width) for k in range(width)]
                for k, line in enumerate(transposed(b, lines)):
                    place = b.add(b.mul(b.add(columns.i, h.number(k)), h.n["padded"]), rows.i)
                    h.store(line, out, place)
    return h.module.text()
