"""What is known of a row program's kernel before it is written: inputs, stages, and what is kept between them."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..llvm.machine import host_vector_bytes
from ..ops.rowprogram import COSTS, RowProgram
from ..ops.scalar import Expr, postorder
from .layout import SCALAR, decode, lanes, leaf_dtypes, node_dtypes, param_formats

# Vectors that a sweep works on at a time, so that their chains of dependent instructions overlap; fewer with AVX-512
# where an element takes so many operations that they overlap anyway.
UNROLL = 4
LONG = 80
# What the cheapest function costs whose instructions wait for each other.
TRANSCENDENTAL = 16
# What writing and reading a kept value costs, in the currency of COSTS.
KEEPING = 6


class Input:
    """One input: the program that makes it of leaves (empty: it is a leaf), and its dtype."""

    __slots__ = ("code", "dtype", "leaves", "cost")

    def __init__(self, code: tuple, dtype: dtypes.dtype, leaves: int):
        self.code, self.dtype, self.leaves = code, dtype, leaves
        self.cost = 1 + sum(formula_cost(instr.op.expr) for instr, _ in decode(code))


def formula_cost(expr: Any) -> int:
    """What evaluating a scalar expression costs."""
    return sum(COSTS.get(n.primitive.name, 1) for n in postorder(expr) if n.primitive is not None)


class Shape:
    """What a kernel is made for: everything but sizes. Hashable by `key`."""

    __slots__ = ("program", "compute", "inputs", "results", "classes", "kept", "outer", "across", "key")

    def __init__(
        self, program: RowProgram, compute: dtypes.dtype, inputs: tuple, results: tuple, classes: tuple, kept: int,
        outer: int, across: bool,
    ):  # fmt: skip
        self.program, self.compute, self.inputs, self.results = program, compute, inputs, results
        self.classes, self.kept, self.outer, self.across = classes, kept, outer, across
        self.key = (
            program, compute, tuple((i.code, i.dtype, i.leaves) for i in inputs), results, classes, kept, outer, across
        )  # fmt: skip

    def formats(self) -> str:
        number = "d" if self.compute.is_floating_point else "q"
        own = number * (len(self.program.parameters) - self.program.tensors)
        pointers = "q" * (len(self.results) + len(self.classes))
        return pointers + own + "".join(param_formats(i.code) for i in self.inputs)

    def cost(self) -> int:
        """What one element costs, over all stages."""
        kept = keep(self)
        # Where all is the same along a row, an element costs nothing but its place.
        return max(1, sum(Stage(self, s, kept[s - 1] if s else None).cost for s in range(self.program.stages)))


def uniform(shape: Shape) -> frozenset[int]:
    """Nodes with a value an element that is the same all along the innermost dimension (by id).

    Such are another program's results with one value a row, and what is made of them.
    """
    if shape.across:
        return frozenset()
    program, found, first = shape.program, set(), 0
    same: dict[str, bool] = {}
    for name, item in zip(program.parameters, shape.inputs):
        same[name] = all(c == SCALAR for c in shape.classes[first : first + item.leaves])
        first += item.leaves
    for node in program.order:
        if id(node) in program.per_row:
            continue
        args = [id(a) for a in node.args if a.__class__ is Expr]
        if (
            same.get(node.name, False)
            if node.primitive is None
            else all(a in found or a in program.per_row for a in args)
        ):
            found.add(id(node))
    return frozenset(found)


class Stage:
    """The nodes with a value an element that a stage computes, given what is kept, and what that costs."""

    __slots__ = ("nodes", "targets", "cost")

    def __init__(self, shape: Shape, stage: int, kept: Expr | None):
        program = shape.program
        self.targets = [n.args[0] for n in program.reductions(stage)]
        for r, full in zip(program.results, program.full):
            if full and program.levels[id(r)] == stage:
                self.targets.append(r)
        self.nodes: dict[int, Expr] = {}
        self.cost = 0
        known = program.per_row | uniform(shape)
        stack = list(self.targets)
        while stack:
            node = stack.pop()
            if node.__class__ is not Expr or id(node) in self.nodes or id(node) in known:
                continue
            self.nodes[id(node)] = node
            if node is kept:
                self.cost += 1
            elif node.primitive is None:
                self.cost += 1 if node.name == "#" else shape.inputs[program.parameters.index(node.name)].cost
            else:
                self.cost += COSTS.get(node.primitive.name, 1)
                stack.extend(node.args)


def slot(shape: Shape) -> int | None:
    """The result in whose row values may be kept meanwhile: one written last, in the kind that is computed in."""
    program = shape.program
    for k, (r, full) in enumerate(zip(program.results, program.full)):
        if (
            full
            and not program.is_added(k)
            and program.levels[id(r)] == program.stages - 1
            and shape.results[k].kind == shape.compute.compute_kind
        ):
            return k
    return None


def keep(shape: Shape) -> list[Expr | None]:
    """For each stage the value that is kept when it ends: the one that saves the later stages most."""
    program = shape.program
    held: list[Expr | None] = []
    current: Expr | None = None
    place = slot(shape)

    def later(stage: int, kept: Expr | None) -> int:
        return sum(Stage(shape, s, kept).cost for s in range(stage + 1, program.stages))

    for stage in range(program.stages):
        if place is not None and stage < program.stages - 1:
            best, choice = later(stage, current), current
            for node in Stage(shape, stage, held[-1] if held else None).nodes.values():
                saved = later(stage, node) + KEEPING
                if node is not current and saved < best:
                    best, choice = saved, node
            current = choice
        held.append(current)
    return held


def together(code: tuple) -> int:
    """How many vectors an elementwise kernel works on at a time: their chains of dependent instructions overlap.

    A processor with AVX-512 sees far enough ahead to overlap long ones with those of the next step; others do not.
    """
    cost = sum(formula_cost(instr.op.expr) for instr, _ in decode(code))
    return 4 if cost >= TRANSCENDENTAL and host_vector_bytes() < 64 else 2


def unroll(shape: Shape) -> int:
    """How many vectors a sweep works on at a time.

    With AVX-512, one where rows are swept along again: they wait for memory anyway, and more of them cost registers.
    """
    if host_vector_bytes() == 64 and shape.program.stages > 1 and not shape.across:
        return 1
    kept = keep(shape)
    costs = [Stage(shape, s, kept[s - 1] if s else None).cost for s in range(shape.program.stages)]
    return UNROLL if max(costs) < LONG or host_vector_bytes() < 64 else UNROLL // 2


def fetching(shape: Shape) -> int | None:
    """The sweep that fetches the next row while it computes: the longest of those that find their row in the cache.

    Without it, memory would have nothing to do then: the processor looks ahead a few lines only.
    """
    if shape.across or shape.program.stages < 2:
        return None
    kept = keep(shape)
    return max(range(1, shape.program.stages), key=lambda s: Stage(shape, s, kept[s - 1]).cost)


def vector_width(shape: Shape) -> int:
    """How many lanes a vector has."""
    # Along a row, results with one value a row are scalars.
    vectors = [d for d, full in zip(shape.results, shape.program.full) if full or shape.across]
    used: list = [shape.compute, *vectors]
    leaf = 0
    for item in shape.inputs:
        if item.code:
            used += node_dtypes(item.code) + leaf_dtypes(item.code, item.leaves)
        elif shape.across or shape.classes[leaf] != SCALAR:
            used.append(item.dtype)
        leaf += item.leaves
    return max(2, lanes(used, host_vector_bytes()))
