"""Row programs for GPUs (softmax, norms, class losses, their gradients): a team of threads has a row.

Rows of few elements for each lane are read from memory once and stay in registers from then on. Of longer ones every
stage reads the row again, and computes again what it needs of it.

Parameters: pointers of the results and of the leaves, the program's numbers, the leaves' Python numbers; the number of
rows and the length of a row; then the words of `space`, whose operands are the leaves and the results with elements.
"""

from __future__ import annotations

import struct
from typing import Any

from ...ops.rowprogram import RowReduction
from ...ops.scalar import Expr
from ..body import emit_body
from ..ir import Reg
from ..kernels import describe_code
from ..layout import REDUCTIONS, leaf_dtypes, param_formats
from ..lower import lower
from ..rowshape import Input
from .kernels import Kernel, Launch, of_reals
from .reductions import above
from .space import Layout, Leaves, Space, count_words, read_words
from .target import THREADS, entry, special
from .team import COLUMNS, ROWS, WARP, Team, when

HELD = 8  # elements for each lane that stay in registers at most

_kernels: dict[tuple, Kernel] = {}


def team_for(columns: bool, rows: int, length: int) -> tuple[int, int]:
    """How many lanes a team has, and how many elements of a row each lane holds; 0 if they do not stay in registers."""
    if columns:
        lanes = THREADS // min(WARP, above(rows))
    elif length <= WARP * HELD:
        lanes = min(WARP, above(length))
    else:
        lanes = THREADS
    held = above(-(-length // lanes))
    return lanes, held if held <= HELD else 0


class Form:
    """What a kernel is made for: everything but sizes.

    numbers: how many Python numbers the program takes. inputs: of the program (see `rowshape.Input`). results: their
    dtypes. compute: the dtype that is computed in.
    """

    def __init__(self, program: Any, compute: Any, inputs: tuple, results: tuple):
        self.program, self.compute, self.inputs, self.results = program, compute, inputs, results
        self.key = (program, compute, tuple((i.code, i.dtype, i.leaves) for i in inputs), results)
        number = "d" if compute.is_floating_point else "q"
        self.numbers = number * (len(program.parameters) - program.tensors)
        self.leaves = sum(i.leaves for i in inputs)
        self.formats = "q" * (len(results) + self.leaves) + self.numbers
        self.formats += "".join(param_formats(i.code) for i in inputs)

    def describe(self) -> tuple:
        inputs = tuple((describe_code(i.code), i.dtype.name, i.leaves) for i in self.inputs)
        return self.program.canonical(), self.compute.name, inputs, tuple(d.name for d in self.results)


def plan(form: Form, layout: Layout, columns: bool) -> Launch:
    """The launch of a row program. columns: the innermost dimension is kept."""
    lanes, held = team_for(columns, layout.rows, layout.length)
    how = COLUMNS if columns else ROWS
    place = (form.key, layout.key, how, lanes, held)
    kernel = _kernels.get(place)
    if kernel is None:
        words = len(form.formats) + 2 + count_words(layout.key)
        key = layout.key
        made = Kernel(
            lambda: ("row program", *form.describe(), key, how, lanes, held),
            lambda: _Emitter(form, key, how, lanes, held, words).emit(),
            form.formats,
            words,
        )
        read = (i.dtype for i in form.inputs)
        kernel = _kernels[place] = of_reals(made, (), form.compute, *read, *form.results)
        for i in form.inputs:
            of_reals(kernel, i.code)
    numbers = [layout.rows, layout.length, *layout.words()]
    blocks = -(-layout.rows // (THREADS // lanes))
    return Launch(kernel, blocks, struct.pack(f"={len(numbers)}q", *numbers))


class _Element:
    """One element of a row: its index, whether it exists, and what has been computed of it."""

    def __init__(self, e: Reg, there: Reg, coords: list[Reg]):
        self.e, self.there, self.coords = e, there, coords
        self.values: dict[int, Reg] = {}


class _Emitter:
    def __init__(self, form: Form, key: tuple, how: str, lanes: int, held: int, words: int):
        self.form, self.program, self.compute, self.held = form, form.program, form.compute, held
        self.module, self.b, self.args = entry(words)
        b, args = self.b, self.args
        self.kind = form.compute.compute_kind
        dtypes: list = []
        self.first_leaf = []
        for item in form.inputs:
            self.first_leaf.append(len(dtypes))
            dtypes += leaf_dtypes(item.code, item.leaves) if item.code else [item.dtype]
        self.outs = [args.pointer() for _ in form.results]
        given = read_words(args, dtypes, key[0])
        names = self.program.parameters[self.program.tensors :]
        self.numbers = {}
        for name, letter in zip(names, form.numbers):
            self.numbers[name] = b.convert(args.word("f64" if letter == "d" else "i64"), self.kind)
        self.params = [args.numbers(item.code) for item in form.inputs]
        self.rows, self.length = args.word(), args.word()
        self.space = Space(b, args, key)
        self.leaves = Leaves(b, given, dtypes, key[0])
        self.team = Team(b, how, lanes)

    def number(self, value: int) -> Reg:
        return self.b.const("i64", value, 1)

    def emit(self) -> str:
        b, team, program = self.b, self.team, self.program
        block = b.convert(special(b, "ctaid.x"), "i64", signed=False)
        row = b.add(b.mul(block, self.number(team.teams)), team.place)
        self.there = b.icmp("slt", row, self.rows)
        row = b.select(self.there, row, self.number(0))
        coords = self.space.coordinates(row, 0)
        self.at = self.leaves.row(self.space, coords)
        self.targets: list = []  # for each result with elements its row's pointer, and its place among the operands
        operand = len(self.leaves.kinds)
        for pointer, is_full, d in zip(self.outs, program.full, self.form.results):
            if is_full:
                self.targets.append((self.space.moved(pointer, d.kind, operand, coords, 0), operand))
                operand += 1
            else:
                self.targets.append(None)
        held = [self._element(b.add(team.lane, self.number(p * team.lanes))) for p in range(self.held)]
        known: dict[int, Reg] = {}
        for stage in range(program.stages):
            self._row_values(known, stage)
            reductions = program.reductions(stage)
            if reductions or self._writes(stage):
                sums = self._sweep(stage, reductions, known, held)
                combine = [lambda x, y, n=n: self._combine(n, x, y) for n in reductions]  # type: ignore[misc]
                for n, total in zip(reductions, team.gather(sums, combine)):
                    known[id(n)] = total
        self._row_values(known, program.stages)
        with when(b, b.and_(team.first(), self.there)):
            for k, (r, is_full) in enumerate(zip(program.results, program.full)):
                if not is_full:
                    self._store(known[id(r)], k, b.gep(self.outs[k], self.form.results[k].kind, row))
        return self.args.finish(self.module)

    def _element(self, e: Reg) -> _Element:
        """An element that may lie behind the end of the row; the first one is read in its place."""
        b = self.b
        there = b.and_(b.icmp("slt", e, self.length), self.there)
        e = b.select(there, e, self.number(0))
        return _Element(e, there, self.space.coordinates(e, 1))

    def _sweep(self, stage: int, reductions: list[Expr], known: dict, held: list[_Element]) -> list[Reg]:
        """One stage over the row; returns what this lane has of each reduction."""
        b = self.b
        start = [self._identity(n) for n in reductions]
        if held:
            columns: list[list[Reg]] = [[] for _ in reductions]
            for element in held:
                for parts, value in zip(columns, self._visit(stage, reductions, known, element, True)):
                    parts.append(value)
            sums = []
            for n, parts in zip(reductions, columns):
                while len(parts) > 1:
                    parts = [self._combine(n, x, y) for x, y in zip(parts[::2], parts[1::2])]
                sums.append(parts[0])
            return sums
        end = b.select(self.there, self.length, self.number(0))
        with b.loop(self.team.lane, end, self.team.lanes, start) as loop:
            element = _Element(loop.i, b.const("i1", True, 1), self.space.coordinates(loop.i, 1))
            values = self._visit(stage, reductions, known, element, False)
            loop.next(*(self._combine(n, x, y) for n, x, y in zip(reductions, loop.values, values)))
        return loop.values

    def _visit(
        self, stage: int, reductions: list[Expr], known: dict, element: _Element, guarded: bool
    ) -> list[Reg]:  # fmt: skip
        """One element: what is to be reduced; results are written. guarded: it may not exist."""
        b = self.b

        def value(node: Any) -> Any:
            if node.__class__ is not Expr:
                return node
            i = id(node)
            if i in known:
                return known[i]
            if i not in element.values:
                element.values[i] = fresh(node)
            return element.values[i]

        def fresh(node: Expr) -> Reg:
            if node.primitive is None:
                return b.convert(element.e, self.kind) if node.name == "#" else self._input(node.name, element)
            return lower(b, node.primitive.name, [value(a) for a in node.args], self.compute)

        parts = []
        for n in reductions:
            made = value(n.args[0])
            parts.append(b.select(element.there, made, self._identity(n)) if guarded else made)
        written = self._writes(stage)
        ready = [(k, value(self.program.results[k])) for k in written]
        if not written:
            return parts
        if guarded:
            with when(b, element.there):
                self._write(ready, element)
        else:
            self._write(ready, element)
        return parts

    def _write(self, ready: list, element: _Element) -> None:
        for k, made in ready:
            pointer, operand = self.targets[k]
            target = self.space.moved(pointer, self.form.results[k].kind, operand, element.coords, 1)
            self._store(made, k, target)

    def _writes(self, stage: int) -> list[int]:
        levels = self.program.levels
        both = enumerate(zip(self.program.results, self.program.full))
        return [k for k, (r, full) in both if full and levels[id(r)] == stage]

    def _row_values(self, known: dict[int, Reg], stage: int) -> None:
        """Everything with one value a row that is known before a stage."""
        for node in self.program.order:
            i = id(node)
            if i in known or i not in self.program.per_row or self.program.levels[i] > stage:
                continue
            if node.primitive is None:
                known[i] = self.numbers[node.name]
            elif not isinstance(node.primitive, RowReduction):
                args = [known[id(a)] if a.__class__ is Expr else a for a in node.args]
                known[i] = lower(self.b, node.primitive.name, args, self.compute)

    def _store(self, value: Reg, k: int, target: str) -> None:
        self.b.store(self.b.convert(value, self.form.results[k].kind, self.compute.is_signed), target)

    def _identity(self, n: Expr) -> Reg:
        return self.b.const(self.kind, REDUCTIONS[n.primitive.reduction].identity(self.compute), 1)  # type: ignore[union-attr]

    def _combine(self, n: Expr, x: Reg, y: Reg) -> Reg:
        return lower(self.b, REDUCTIONS[n.primitive.reduction].primitive, [x, y], self.compute)  # type: ignore[union-attr]

    def _input(self, name: str, element: _Element) -> Reg:
        """An input's value in the kind that is computed in."""
        k = self.program.parameters.index(name)
        item: Input = self.form.inputs[k]

        def leaf(j: int) -> Reg:
            return self.leaves.read(self.space, self.at, j + self.first_leaf[k], element.coords)

        made = emit_body(self.b, item.code, leaf, self.params[k])[-1] if item.code else leaf(0)
        signed = item.dtype.is_signed if item.dtype.category < 2 else self.compute.is_signed
        return self.b.convert(made, self.kind, signed)
