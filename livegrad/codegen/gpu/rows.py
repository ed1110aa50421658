"""Row programs for GPUs (softmax, norms, class losses, their gradients): a team of threads has a row.

Rows of few elements for each lane are read from memory once and stay in registers from then on. Of longer ones every
stage reads the row again, and computes again what it needs of it.

A lane takes neighbouring elements, a group at a time (`space.group_of`). Which elements a lane takes, and in which
order its reductions combine them, follows from dtypes and sizes alone; how many elements of a group one instruction
reads or writes follows from strides and addresses as well, and changes no result.

Parameters: pointers of the results and of the leaves, the program's numbers, the leaves' Python numbers; the number of
rows and the length of a row; then the words of `space`, whose operands are the leaves and the results with elements.
"""

from __future__ import annotations

import struct
from typing import Any

from ...ops.rowprogram import RowReduction
from ...ops.scalar import Expr
from ..body import emit_body
from ..ir import Reg, kind_bytes
from ..kernels import code_cost, describe_code
from ..layout import REDUCTIONS, leaf_dtypes, param_formats
from ..lower import lower
from ..rowshape import Input
from .kernels import Kernel, Launch, of_reals
from .reductions import above, narrowed
from .space import BESIDE, Layout, Leaves, Space, count_words, group_of, neighbours, read_words
from .target import THREADS, entry, special
from .team import COLUMNS, ROWS, WARP, Team

HELD = 8  # elements for each lane that stay in registers at most

_kernels: dict[tuple, Kernel] = {}


def team_for(columns: bool, rows: int, length: int, group: int) -> tuple[int, int, int]:
    """How many lanes a team has, how many elements of a row each lane holds, or 0 if they do not stay in registers;
    and how many of them are neighbours."""
    if columns:
        lanes = THREADS // min(WARP, above(rows))
    elif length <= WARP * HELD:
        lanes = min(WARP, above(-(-length // group)))
    else:
        lanes = THREADS
    held = above(-(-length // lanes))
    return (lanes, held, min(group, held)) if held <= HELD else (lanes, 0, group)


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
        self.read: list = []  # dtypes of the leaves
        for i in inputs:
            self.read += leaf_dtypes(i.code, i.leaves) if i.code else [i.dtype]
        self.written = [d for d, full in zip(results, program.full) if full]

    def describe(self) -> tuple:
        inputs = tuple((describe_code(i.code), i.dtype.name, i.leaves) for i in self.inputs)
        return self.program.canonical(), self.compute.name, inputs, tuple(d.name for d in self.results)


def plan(form: Form, layout: Layout, columns: bool, alignment: int) -> Launch:
    """The launch of a row program. columns: the innermost dimension is kept.

    alignment: the largest power of two that divides the addresses of leaves and results; 16 is as good as any above.
    """
    operands = [*form.read, *form.written]
    lanes, held, group = team_for(columns, layout.rows, layout.length, 1 if columns else group_of(operands))
    most = narrowed(group, max((code_cost(i.code) for i in form.inputs), default=0), operands)
    width, ways = neighbours(layout, operands, most, alignment, True)
    how = COLUMNS if columns else ROWS
    place = (form.key, layout.key, how, lanes, held, group, width, ways)
    kernel = _kernels.get(place)
    if kernel is None:
        words = len(form.formats) + 2 + count_words(layout.key)
        key = layout.key
        made = Kernel(
            lambda: ("row program", *form.describe(), *place[1:]),
            lambda: _Emitter(form, key, how, lanes, held, group, width, ways, words).emit(),
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
    """An element of a part: which one, and what has been computed of it."""

    def __init__(self, part: _Part, j: int):
        self.part, self.j = part, j
        self.values: dict[int, Reg] = {}


class _Part:
    """Neighbouring elements of a row that are read and written together.

    e: the index of the first. there: whether they exist. inputs: what has been read, for each element.
    """

    def __init__(self, e: Reg, there: Reg, coords: list[Reg], width: int):
        self.e, self.there, self.coords = e, there, coords
        self.inputs: dict[int, list[Reg]] = {}
        self.elements = [_Element(self, j) for j in range(width)]


class _Emitter:
    def __init__(
        self, form: Form, key: tuple, how: str, lanes: int, held: int, group: int, width: int, ways: tuple, words: int
    ):  # fmt: skip
        self.form, self.program, self.compute, self.held = form, form.program, form.compute, held
        self.group, self.width, self.ways = group, width, ways
        self.module, self.b, self.args = entry(words)
        b, args = self.b, self.args
        self.kind = form.compute.compute_kind
        self.first_leaf = [sum(item.leaves for item in form.inputs[:k]) for k in range(len(form.inputs))]
        self.outs = [args.pointer() for _ in form.results]
        given = read_words(args, form.read, key[0])
        names = self.program.parameters[self.program.tensors :]
        self.numbers = {}
        for name, letter in zip(names, form.numbers):
            self.numbers[name] = b.convert(args.word("f64" if letter == "d" else "i64"), self.kind)
        self.params = [args.numbers(item.code) for item in form.inputs]
        self.rows, self.length = args.word(), args.word()
        self.space = Space(b, args, key)
        self.leaves = Leaves(b, given, form.read, key[0])
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
        held = []
        if self.held:
            first = b.mul(team.lane, self.number(self.group))
            for p in range(0, self.held, self.group):
                held += self._elements(b.add(first, self.number(p * team.lanes)))
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
        with b.when(b.and_(team.first(), self.there)):
            for k, (r, is_full) in enumerate(zip(program.results, program.full)):
                if not is_full:
                    self._store(known[id(r)], k, b.gep(self.outs[k], self.form.results[k].kind, row))
        return self.args.finish(self.module)

    def _elements(self, first: Reg) -> list[_Part]:
        """A group of elements, which may lie behind the end of the row; the first ones are read in place of such."""
        b = self.b
        parts = []
        for j in range(0, self.group, self.width):
            e = b.add(first, self.number(j))
            there = b.and_(b.icmp("slt", e, self.length), self.there)
            e = b.select(there, e, self.number(0))
            parts.append(_Part(e, there, self.space.coordinates(e, 1), self.width))
        return parts

    def _sweep(self, stage: int, reductions: list[Expr], known: dict, held: list[_Part]) -> list[Reg]:
        """One stage over the row; returns what this lane has of each reduction."""
        b = self.b
        if held:
            return self._joined(reductions, self._visit(stage, reductions, known, held))
        chains = self.group
        start = [self._identity(n) for n in reductions for _ in range(chains)]
        end = b.select(self.there, self.length, self.number(0))
        first = b.mul(self.team.lane, self.number(chains))
        with b.loop(first, end, self.team.lanes * chains, start) as loop:
            columns = self._visit(stage, reductions, known, self._elements(loop.i))
            made = zip((n for n in reductions for _ in range(chains)), loop.values, (v for c in columns for v in c))
            loop.next(*(self._combine(n, x, y) for n, x, y in made))
        values = loop.values
        return self._joined(reductions, [values[k * chains : (k + 1) * chains] for k in range(len(reductions))])

    def _joined(self, reductions: list[Expr], columns: list[list[Reg]]) -> list[Reg]:
        """The values of each reduction combined pairwise; their number is a power of two."""
        sums = []
        for n, parts in zip(reductions, columns):
            while len(parts) > 1:
                parts = [self._combine(n, x, y) for x, y in zip(parts[::2], parts[1::2])]
            sums.append(parts[0])
        return sums

    def _visit(self, stage: int, reductions: list[Expr], known: dict, parts: list[_Part]) -> list[list[Reg]]:
        """Some elements: what is to be reduced, a list for each reduction; results are written."""
        b = self.b
        columns: list[list[Reg]] = [[] for _ in reductions]
        written = self._writes(stage)
        for part in parts:
            ready: list[list[Reg]] = [[] for _ in written]
            for element in part.elements:
                for column, n in zip(columns, reductions):
                    made = self._value(n.args[0], known, element)
                    column.append(b.select(part.there, made, self._identity(n)))
                for values, k in zip(ready, written):
                    values.append(self._value(self.program.results[k], known, element))
            if written:
                with b.when(part.there):
                    for values, k in zip(ready, written):
                        self._write(values, k, part)
        return columns

    def _value(self, node: Any, known: dict, element: _Element) -> Any:
        """A formula's value at an element."""
        if node.__class__ is not Expr:
            return node
        i = id(node)
        if i in known:
            return known[i]
        if i not in element.values:
            if node.primitive is None:
                made = self._index(element) if node.name == "#" else self._input(node.name, element)
            else:
                args = [self._value(a, known, element) for a in node.args]
                made = lower(self.b, node.primitive.name, args, self.compute)
            element.values[i] = made
        return element.values[i]

    def _index(self, element: _Element) -> Reg:
        """The place of an element in its row."""
        return self.b.convert(self.b.add(element.part.e, self.number(element.j)), self.kind)

    def _write(self, values: list[Reg], k: int, part: _Part) -> None:
        """Write a result's values, one for each element of a part."""
        b, kind = self.b, self.form.results[k].kind
        pointer, operand = self.targets[k]
        target = self.space.moved(pointer, kind, operand, part.coords, 1)
        made = [b.convert(x, kind, self.compute.is_signed) for x in values]
        if len(made) > 1 and self.ways[operand] == BESIDE:
            vector = Reg("poison", kind, len(made))
            for j, x in enumerate(made):
                vector = b.insert(vector, x, j)
            b.store(vector, target, align=len(made) * kind_bytes(kind))
            return
        strides = self.space.strides[operand]
        for j, x in enumerate(made):
            step = b.mul(b.convert(strides[1][0], "i64"), self.number(j)) if strides and j else None  # type: ignore[index]
            b.store(x, target if step is None else b.gep(target, kind, step))

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
        part = element.part
        if k not in part.inputs:
            part.inputs[k] = self._read(k, part.coords)
        return part.inputs[k][element.j]

    def _read(self, k: int, coords: list[Reg]) -> list[Reg]:
        """An input's values at the elements of a part."""
        b = self.b
        item: Input = self.form.inputs[k]

        def leaf(j: int) -> Reg:
            return self.leaves.read(self.space, self.at, j + self.first_leaf[k], coords, self.ways)

        with b.at_width(self.width):
            made = emit_body(b, item.code, leaf, self.params[k])[-1] if item.code else leaf(0)
            signed = item.dtype.is_signed if item.dtype.category < 2 else self.compute.is_signed
            made = b.splat(b.convert(made, self.kind, signed))
        return [b.extract(made, j) for j in range(self.width)]
