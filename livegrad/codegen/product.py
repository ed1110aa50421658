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


def define_rows(module: Module, name: str, kind: str, from_result: Sequence[bool]) -> None:
    """Define `@name`: C[r, panel] = (C[r, panel] +) sum over k of A[r, k] * B[k, panel], for `count` rows.

    The panel has one vector for each item of `from_result`, which says whether the sum starts from what C holds.
    Parameters: A, its distances from row to row and from k to k; B, its distance from k to k; C, its distances from row
    to row and from vector to vector; how many k; how many rows. Distances are in elements; B's vectors are adjacent.
    """
    most = rows_in_registers(len(from_result))
    for rows in range(1, most + 1):
        _define_block(module, f"{name}.{rows}", kind, from_result, rows)
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
    a = b.gep("%a", kind, b.mul(at, Reg("%a.row", "i64")))
    c = b.gep("%c", kind, b.mul(at, Reg("%c.row", "i64")))
    labels = [b.fresh("rows") for _ in range(most)]
    after = b.fresh("after")
    cases = " ".join(f"i64 {rows}, label %{labels[rows - 1]}" for rows in range(2, most + 1))
    b.line(f"switch {take.operand}, label %{labels[0]} [ {cases} ]")
    b.terminated = True
    for rows in range(1, most + 1):
        b.label(labels[rows - 1])
        b.call(
            f"{name}.{rows}", None,
            [
                f"ptr {a}", "i64 %a.row", "i64 %a.k", "ptr %b", "i64 %b.row", f"ptr {c}", "i64 %c.row",
                "i64 %c.vector", "i64 %k",
            ],
        )  # fmt: skip
        b.br(after)
    b.label(after)
    b.add_incoming(at, b.add(at, take), b.block)
    b.br(head)
    b.label(done)


_PARAMETERS = [
    ("ptr", "%a"), ("i64", "%a.row"), ("i64", "%a.k"), ("ptr", "%b"), ("i64", "%b.row"),
    ("ptr", "%c"), ("i64", "%c.row"), ("i64", "%c.vector"), ("i64", "%k"),
]  # fmt: skip


def _define_block(module: Module, name: str, kind: str, from_result: Sequence[bool], rows: int) -> None:
    """A block of so many rows, its sums in registers."""
    width = lanes_of(kind)
    b = module.function(name, _PARAMETERS, width, kernel=False)
    vectors = range(len(from_result))
    a = [b.gep("%a", kind, b.mul(b.const("i64", r, 1), Reg("%a.row", "i64"))) for r in range(rows)]
    places = [
        [
            b.gep(
                b.gep("%c", kind, b.mul(b.const("i64", r, 1), Reg("%c.row", "i64"))),
                kind, b.mul(b.const("i64", v, 1), Reg("%c.vector", "i64")),
            )
            for v in vectors
        ]
        for r in range(rows)
    ]  # fmt: skip
    first = [b.load(places[r][v], kind) if from_result[v] else b.const(kind, 0.0) for r in range(rows) for v in vectors]
    with b.loop(0, Reg("%k", "i64"), 1, first) as sums:
        row = b.gep("%b", kind, b.mul(sums.i, Reg("%b.row", "i64")))
        column = b.mul(sums.i, Reg("%a.k", "i64"))
        right = [b.load(b.gep(row, kind, v * width), kind) for v in vectors]
        following: list[Reg] = []
        for r in range(rows):
            left = b.splat(b.load(b.gep(a[r], kind, column), kind, width=1))
            for v in vectors:
                following.append(b.fma(left, right[v], sums.values[r * len(from_result) + v]))
        sums.next(*following)
    for r in range(rows):
        for v in vectors:
            b.store(sums.values[r * len(from_result) + v], places[r][v])


def call_rows(
    b: Builder, name: str, a: str, a_row: Reg, a_k: Reg, right: str, right_row: Reg, c: str, c_row: Reg, c_vector: Reg,
    k: Reg, count: Reg,
) -> None:  # fmt: skip
    """Call what `define_rows` defined."""
    b.call(name, None, [f"ptr {a}", a_row, a_k, f"ptr {right}", right_row, f"ptr {c}", c_row, c_vector, k, count])
