"""Kernels of recurrent layers: the whole loop over time in one kernel.

A work item is a sequence of the batch. Each thread takes some of them through all the steps, so that threads do not
wait for each other at every step. At a step, the state is multiplied by the recurrent weights, panel by panel, and what
the cell makes of the sums follows at once.

The products with the inputs have no order in time: they are one product over all the steps, done before. Its result,
with a row for each step of each sequence, is what the kernel works on, in place: there it leaves what its backward
needs.

Memory, in elements of one kind. H is the number of units, padded to whole vectors; there are S slots of H in a row:

* `gates` rows of S slots; `hidden` and `cell`, rows of H: the state before each step, kept for the backward pass
  (`kept` 0: rows by sequence, overwritten at every step).
* `h` and `c`: a row for each sequence; they go in with the first state and come out with the last.
* `y`: the states, a row for each step of each sequence, `y.row` apart.
* `weight`: packed by panels (`pack` in `ops.recurrent`) forward, as it is backward.
* `first` and `active`: for each step, the row of sequence 0, and how many sequences are that long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from . import math as functions
from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg
from .product import call_rows, define_rows, lanes_of, vectors_of_panel


class Cell(NamedTuple):
    """How a cell works on one vector of units.

    slots: how many slots a row of gates has. sums: for each slot that the recurrent product adds to, whether it starts
    from the input's product (which else is in another slot). has_c: whether there is a second state.
    forward(b, gates, biases, h, c) -> (what the slots keep, new h, new c).
    backward(b, kept, h, c, y, dh, dc) -> (gradients of the slots, of h beside those through the product, of c).
    """

    slots: int
    sums: tuple
    has_c: bool
    forward: Callable
    backward: Callable


def _one_minus(b: Builder, x: Reg) -> Reg:
    return b.fsub(b.like(x, 1.0), x)


def _lstm_forward(b: Builder, gates: list, biases: list, h: Reg, c: Reg) -> tuple:
    i, f, g, o = (b.fadd(x, bias) for x, bias in zip(gates, biases))
    i, f, g, o = functions.sigmoid(b, i), functions.sigmoid(b, f), functions.tanh(b, g), functions.sigmoid(b, o)
    now = b.fadd(b.fmul(f, c), b.fmul(i, g))
    return [i, f, g, o], b.fmul(o, functions.tanh(b, now)), now


def _lstm_backward(b: Builder, kept: list, h: Reg, c: Reg, y: Reg, dh: Reg, dc: Reg) -> tuple:
    i, f, g, o = kept
    t = functions.tanh(b, b.fadd(b.fmul(f, c), b.fmul(i, g)))
    dc = b.fadd(dc, b.fmul(b.fmul(dh, o), _one_minus(b, b.fmul(t, t))))
    through = [
        b.fmul(b.fmul(dc, g), b.fmul(i, _one_minus(b, i))),
        b.fmul(b.fmul(dc, c), b.fmul(f, _one_minus(b, f))),
        b.fmul(b.fmul(dc, i), _one_minus(b, b.fmul(g, g))),
        b.fmul(b.fmul(dh, t), b.fmul(o, _one_minus(b, o))),
    ]
    return through, b.like(dh, 0.0), b.fmul(dc, f)


def _gru_forward(b: Builder, gates: list, biases: list, h: Reg, c: Reg) -> tuple:
    r, z, hidden, inputs = (b.fadd(x, bias) for x, bias in zip(gates, biases))
    r, z = functions.sigmoid(b, r), functions.sigmoid(b, z)
    n = functions.tanh(b, b.fadd(inputs, b.fmul(r, hidden)))
    return [r, z, hidden, n], b.fadd(b.fmul(_one_minus(b, z), n), b.fmul(z, h)), c


def _gru_backward(b: Builder, kept: list, h: Reg, c: Reg, y: Reg, dh: Reg, dc: Reg) -> tuple:
    r, z, hidden, n = kept
    dn = b.fmul(b.fmul(dh, _one_minus(b, z)), _one_minus(b, b.fmul(n, n)))
    dr = b.fmul(b.fmul(dn, hidden), b.fmul(r, _one_minus(b, r)))
    dz = b.fmul(b.fmul(dh, b.fsub(h, n)), b.fmul(z, _one_minus(b, z)))
    return [dr, dz, b.fmul(dn, r), dn], b.fmul(dh, z), dc


def _tanh_forward(b: Builder, gates: list, biases: list, h: Reg, c: Reg) -> tuple:
    now = functions.tanh(b, b.fadd(gates[0], biases[0]))
    return [now], now, c


def _tanh_backward(b: Builder, kept: list, h: Reg, c: Reg, y: Reg, dh: Reg, dc: Reg) -> tuple:
    return [b.fmul(dh, _one_minus(b, b.fmul(kept[0], kept[0])))], b.like(dh, 0.0), dc


def _relu_forward(b: Builder, gates: list, biases: list, h: Reg, c: Reg) -> tuple:
    x = b.fadd(gates[0], biases[0])
    now = b.select(b.fcmp("ole", x, b.like(x, 0.0)), b.like(x, 0.0), x)  # NaN stays
    return [now], now, c


def _relu_backward(b: Builder, kept: list, h: Reg, c: Reg, y: Reg, dh: Reg, dc: Reg) -> tuple:
    zero = b.like(dh, 0.0)
    return [b.select(b.fcmp("ole", kept[0], zero), zero, dh)], zero, dc


CELLS = {
    "LSTM": Cell(4, (True,) * 4, True, _lstm_forward, _lstm_backward),
    "GRU": Cell(4, (True, True, False), False, _gru_forward, _gru_backward),
    "RNN_TANH": Cell(1, (True,), False, _tanh_forward, _tanh_backward),
    "RNN_RELU": Cell(1, (True,), False, _relu_forward, _relu_backward),
}

FORWARD_POINTERS = ("gates", "hidden", "cell", "h", "c", "y", "weight", "bias", "first", "active")
BACKWARD_POINTERS = ("gates", "hidden", "cell", "dh", "dc", "dy", "weight", "dgates", "first", "active")
NUMBERS = ("steps", "reverse", "units", "apart", "y.row", "kept")
FORMATS = "q" * (len(FORWARD_POINTERS) + len(NUMBERS))


def backward_vectors(units: int, kind: str) -> int:
    """How many vectors of units a panel of the backward product has."""
    return vectors_of_panel(units // lanes_of(kind))


class _Steps:
    """The arguments, and the loop over steps that both directions share."""

    def __init__(self, kind: str, cell: Cell, pointers: tuple):
        self.kind = kind
        self.width = lanes_of(kind)
        self.module = Module("cpu")
        self.cell = cell
        parameters = [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")]
        self.b = b = self.module.function(NAME, parameters, self.width)
        args = Arguments(b)
        self.p = {name: args.pointer() for name in pointers}
        self.n = {name: args.word() for name in NUMBERS}
        self.units = self.n["units"]
        self.begin = Reg("%begin", "i64")
        self.gates_row = self.number_times(cell.slots, self.units)
        kept = b.icmp("ne", self.n["kept"], self.number(0))
        self.kept_apart = b.select(kept, self.n["apart"], self.number(1))
        self.is_kept = kept

    def number(self, value: int) -> Reg:
        return self.b.const("i64", value, 1)

    def number_times(self, value: int, x: Reg) -> Reg:
        return self.b.mul(self.number(value), x)

    def at(self, name: str, row: Reg, length: Reg) -> str:
        return self.b.gep(self.p[name], self.kind, self.b.mul(row, length))

    def start(self, step: Reg, backwards: bool) -> None:
        """Work out which rows a step is about."""
        b = self.b
        last = b.sub(b.sub(self.n["steps"], self.number(1)), step)
        turned = b.icmp("ne", self.n["reverse"], self.number(1 if backwards else 0))
        t = b.select(turned, last, step)
        active = b.load(b.gep(self.p["active"], "i64", t), "i64", width=1)
        stop = b.smin(active, Reg("%end", "i64"))
        count = b.sub(stop, self.begin)
        self.count = b.smax(count, self.number(0))
        self.stop = stop
        self.base = b.load(b.gep(self.p["first"], "i64", t), "i64", width=1)

    def rows_of(self, sequence: Reg) -> tuple[Reg, Reg]:
        """A sequence's row at this step, and its row in what is kept."""
        b = self.b
        row = b.add(self.base, b.mul(sequence, self.n["apart"]))
        return row, b.select(self.is_kept, row, sequence)

    def load(self, pointer: str, place: Reg | str | int) -> Reg:
        return self.b.load(self.b.gep(pointer, self.kind, place), self.kind)

    def store(self, x: Reg, pointer: str, place: Reg | str | int) -> None:
        self.b.store(x, self.b.gep(pointer, self.kind, place))


def forward_source(mode: str, kind: str) -> str:
    """LLVM IR of the forward kernel of a mode."""
    cell = CELLS[mode]
    s = _Steps(kind, cell, FORWARD_POINTERS)
    b, units, width = s.b, s.units, s.width
    panel_vectors = len(cell.sums)
    define_rows(s.module, "rows", kind, cell.sums)
    panel_size = s.number_times(panel_vectors, units)  # elements of packed weights for each unit
    with b.loop(0, s.n["steps"]) as steps:
        s.start(steps.i, False)
        with b.loop(s.begin, s.stop) as copied:
            _, kept_row = s.rows_of(copied.i)
            source, target = s.at("h", copied.i, units), s.at("hidden", kept_row, units)
            with b.loop(0, units, width) as lanes:
                s.store(s.load(source, lanes.i), target, lanes.i)
        first_row, first_kept = s.rows_of(s.begin)
        hidden = s.at("hidden", first_kept, units)
        gates = s.at("gates", first_row, s.gates_row)
        with b.loop(0, units, width) as panel:
            packed = b.gep(s.p["weight"], kind, b.mul(panel.i, panel_size))
            call_rows(
                b, "rows", hidden, b.mul(s.kept_apart, units), s.number(1), packed, s.number(panel_vectors * width),
                b.gep(gates, kind, panel.i), b.mul(s.n["apart"], s.gates_row), units, units, s.count,
            )  # fmt: skip
            biases = [s.load(b.gep(s.p["bias"], kind, s.number_times(k, units)), panel.i) for k in range(cell.slots)]
            with b.loop(s.begin, s.stop) as sequences:
                row, kept_row = s.rows_of(sequences.i)
                here = s.at("gates", row, s.gates_row)
                slots = [b.gep(here, kind, s.number_times(k, units)) for k in range(cell.slots)]
                state = s.at("h", sequences.i, units)
                h = s.load(state, panel.i)
                c = h
                if cell.has_c:
                    c_state = s.at("c", sequences.i, units)
                    c = s.load(c_state, panel.i)
                    s.store(c, s.at("cell", kept_row, units), panel.i)
                kept, new_h, new_c = cell.forward(b, [s.load(p, panel.i) for p in slots], biases, h, c)
                for pointer, value in zip(slots, kept):
                    s.store(value, pointer, panel.i)
                s.store(new_h, state, panel.i)
                s.store(new_h, s.at("y", row, s.n["y.row"]), panel.i)
                if cell.has_c:
                    s.store(new_c, c_state, panel.i)
    return s.module.text()


def backward_source(mode: str, kind: str, vectors: int) -> str:
    """LLVM IR of the backward kernel; a panel of its product has so many vectors of units."""
    cell = CELLS[mode]
    s = _Steps(kind, cell, BACKWARD_POINTERS)
    b, units, width = s.b, s.units, s.width
    define_rows(s.module, "rows", kind, (True,) * vectors)
    with b.loop(0, s.n["steps"]) as steps:
        s.start(steps.i, True)
        with b.loop(s.begin, s.stop) as sequences:
            row, kept_row = s.rows_of(sequences.i)
            gates, dgates = s.at("gates", row, s.gates_row), s.at("dgates", row, s.gates_row)
            offsets = [s.number_times(k, units) for k in range(cell.slots)]
            dh_row, dy_row = s.at("dh", sequences.i, units), s.at("dy", row, s.n["y.row"])
            hidden = s.at("hidden", kept_row, units)
            if cell.has_c:
                dc_row, cell_row = s.at("dc", sequences.i, units), s.at("cell", kept_row, units)
            with b.loop(0, units, width) as lanes:
                j = lanes.i
                kept = [s.load(gates, b.add(o, j)) for o in offsets]
                h = s.load(hidden, j)
                dh = b.fadd(s.load(dh_row, j), s.load(dy_row, j))
                c = s.load(cell_row, j) if cell.has_c else h
                dc = s.load(dc_row, j) if cell.has_c else dh
                through, dh, dc = cell.backward(b, kept, h, c, h, dh, dc)
                for o, value in zip(offsets, through):
                    s.store(value, dgates, b.add(o, j))
                s.store(dh, dh_row, j)
                if cell.has_c:
                    s.store(dc, dc_row, j)
        first_row, _ = s.rows_of(s.begin)
        with b.loop(0, units, width * vectors) as panel:
            call_rows(
                b, "rows", s.at("dgates", first_row, s.gates_row), b.mul(s.n["apart"], s.gates_row), s.number(1),
                b.gep(s.p["weight"], kind, panel.i), units,
                b.gep(s.at("dh", s.begin, units), kind, panel.i), units, s.number(width),
                s.number_times(len(cell.sums), units), s.count,
            )  # fmt: skip
    return s.module.text()
