"""A matrix product written into a kernel, for kernels that multiply small matrices in a loop of their own.

A library's product costs a call, a look at its arguments and a packed copy of an operand, each time. Where the same
small weights are multiplied again at every step, that is as much as the product itself. Here a block of rows by a
panel of columns is held in registers while the sum runs; each element's sum runs in the order of its terms, so a
result does not depend on how the rows are shared among threads.
"""

from __future__ import annotations

from collections.abc import Sequence

from .ir import Builder, Module, Reg, host_vector_bytes, kind_bytes


def lanes_of(kind: str) -> int:
    """Elements in a vector register."""
    return host_vector_bytes() // kind_bytes(kind)


def rows_in_registers(vectors: int) -> int:
    """How many rows of `vectors` vectors each fit into the registers beside the operands."""
    registers = 32 if host_vector_bytes() in (64, 16) else 16
    return max(1, min(8, (registers - vectors - 1) // vectors))


def vectors_of_panel(whole: int = 0) -> int:
    """How many vectors a panel has, of 1 to 4 that divide `whole` if that is given.

    As many sums as fit into the registers, for the fewest loads: 4 where there are 32 registers, and where there are
    16 two with six rows, or else three with four rows.
    """
    order = (4, 3, 2, 1) if rows_in_registers(4) > 2 else (2, 3, 1)
    return next(v for v in order if whole % v == 0)


# Distances are in elements. A: from row to row, from k to k. B: from k to k. C: from row to row, from vector to vector.
# S, where sums start: from row to row. Then how many k, how many lanes of a vector exist, and how many rows there are.
_NUMBERS = ("a.row", "a.k", "b.row", "c.row", "c.vector", "s.row", "k", "lanes")
_PARAMETERS = [*(("ptr", f"%{p}") for p in "abcs"), *(("i64", f"%{n}") for n in _NUMBERS)]


def define_rows(module: Module, name: str, kind: str, from_start: Sequence[bool], partly: str = "") -> None:
    """Define `@name`: C[r, panel] = (S[r, panel] +) sum over k of A[r, k] * B[k, panel], for some number of rows.

    The panel has one vector for each item of `from_start`, which says whether the sum starts from S, and not from 0.
    The vectors of a row of B are adjacent; those of S are as far apart as C's. partly: which matrices, of "bsc", have
    only the first lanes of the last vector, as many as the call says. See `call_rows`.
    """
    most = rows_in_registers(len(from_start))
    for rows in range(1, most + 1):
        _define_block(module, f"{name}.{rows}", kind, from_start, partly, rows)
    b = module.function(name, [*_PARAMETERS, ("i64", "%count")], kernel=False)

    def number(value: int) -> Reg:
        return b.const("i64", value, 1)

    count = Reg("%count", "i64")
    head, body, done = b.fresh("head"), b.fresh("body"), b.fresh("done")
    before = b.block
    b.label(head)
    at = b.phi("i64", [(number(0), before)], 1)
    left = b.sub(count, at)
    b.cond_br(b.icmp("sgt", left, number(0)), body, done)
    b.label(body)
    # As few blocks as possible, and those of about the same size.
    blocks = b.udiv(b.add(left, number(most - 1)), number(most))
    take = b.udiv(b.sub(b.add(left, blocks), number(1)), blocks)
    moved = {p: b.gep(f"%{p}", kind, b.mul(at, Reg(f"%{p}.row", "i64"))) for p in "acs"}
    arguments: list[Reg | str] = [f"ptr {moved.get(p, '%b')}" for p in "abcs"]
    arguments += [Reg(f"%{n}", "i64") for n in _NUMBERS]
    labels = [b.fresh("rows") for _ in range(most)]
    after = b.fresh("after")
    cases = " ".join(f"i64 {rows}, label %{labels[rows - 1]}" for rows in range(2, most + 1))
    b.line(f"switch {take.operand}, label %{labels[0]} [ {cases} ]")
    b.terminated = True
    for rows in range(1, most + 1):
        b.label(labels[rows - 1])
        b.call(f"{name}.{rows}", None, arguments)
        b.br(after)
    b.label(after)
    b.add_incoming(at, b.add(at, take), b.block)
    b.br(head)
    b.label(done)


def _define_block(module: Module, name: str, kind: str, from_start: Sequence[bool], partly: str, rows: int) -> None:
    """A block of so many rows, its sums in registers."""
    width = lanes_of(kind)
    b = module.function(name, _PARAMETERS, width, kernel=False)
    vectors = range(len(from_start))
    mask = b.icmp("slt", b.iota("i64"), b.splat(Reg("%lanes", "i64"))) if partly else None
    a = [b.gep("%a", kind, b.mul(b.const("i64", r, 1), Reg("%a.row", "i64"))) for r in range(rows)]

    def place(matrix: str, r: int, v: int) -> str:
        row = b.gep(f"%{matrix}", kind, b.mul(b.const("i64", r, 1), Reg(f"%{matrix}.row", "i64")))
        return b.gep(row, kind, b.mul(b.const("i64", v, 1), Reg("%c.vector", "i64")))

    def loaded(matrix: str, place: str, v: int) -> Reg:
        if mask is not None and matrix in partly and v == len(from_start) - 1:
            return b.load_some(place, kind, mask)
        return b.load(place, kind)

    def start(r: int, v: int) -> Reg:
        return loaded("s", place("s", r, v), v) if from_start[v] else b.const(kind, 0.0)

    first = [start(r, v) for r in range(rows) for v in vectors]
    with b.loop(0, Reg("%k", "i64"), 1, first) as sums:
        row = b.gep("%b", kind, b.mul(sums.i, Reg("%b.row", "i64")))
        column = b.mul(sums.i, Reg("%a.k", "i64"))
        right = [loaded("b", b.gep(row, kind, v * width), v) for v in vectors]
        following: list[Reg] = []
        for r in range(rows):
            left = b.splat(b.load(b.gep(a[r], kind, column), kind, width=1))
            for v in vectors:
                following.append(b.fma(left, right[v], sums.values[r * len(vectors) + v]))
        sums.next(*following)
    for r in range(rows):
        for v in vectors:
            total = sums.values[r * len(vectors) + v]
            if mask is not None and "c" in partly and v == len(from_start) - 1:
                b.store_some(total, place("c", r, v), mask)
            else:
                b.store(total, place("c", r, v))


def call_rows(
    b: Builder, name: str, a: str, a_row: Reg, a_k: Reg, right: str, right_row: Reg, c: str, c_row: Reg, c_vector: Reg,
    k: Reg, count: Reg, start: str | None = None, start_row: Reg | None = None, lanes: Reg | None = None,
) -> None:  # fmt: skip
    """Call what `define_rows` defined. Sums start from C unless `start` says where else."""
    if start is None or start_row is None:
        start, start_row = c, c_row
    lanes = b.const("i64", 0, 1) if lanes is None else lanes
    numbers = [a_row, a_k, right_row, c_row, c_vector, start_row, k, lanes, count]
    b.call(name, None, [f"ptr {a}", f"ptr {right}", f"ptr {c}", f"ptr {start}", *numbers])


def moved(b: Builder, pointer: str, kind: str, *steps: tuple[Reg, Reg]) -> str:
    """An address: (number of steps, distance of a step) each, in elements."""
    place = None
    for count, distance in steps:
        term = b.mul(count, distance)
        place = term if place is None else b.add(place, term)
    return pointer if place is None else b.gep(pointer, kind, place)


def transposed(b: Builder, lines: list[Reg]) -> list[Reg]:
    """As many vectors as each has lanes, transposed: quarters change places, at every size of square."""
    n = len(lines)
    step = 1
    while step < n:
        following = list(lines)
        for k in range(n):
            if k & step:
                continue
            x, y = lines[k], lines[k + step]
            low = [i if not i & step else n + i - step for i in range(n)]
            high = [i + step if not i & step else n + i for i in range(n)]
            following[k], following[k + step] = b.shuffle(x, y, low), b.shuffle(x, y, high)
        lines = following
        step *= 2
    return lines
