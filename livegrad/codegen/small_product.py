"""The kernel of stacks of small matrix products.

A library is made for large matrices: each call looks at its arguments and copies both operands, which for matrices of
16 x 16 takes ten times as long as the multiplications. Here A is read where it is, with any strides, and so is B where
its rows are contiguous; where its columns are, it is transposed in registers. A work item is a product of the stack,
whose matrices may be two distances apart (so that heads and batches of attention need not be copied).

Arguments, 64 bits each: the pointers and numbers below; distances are in elements. Product t is number t % inner of
group t / inner.
"""

from __future__ import annotations

from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg, type_text
from .product import call_rows, define_rows, lanes_of, moved, transposed, vectors_of_panel

POINTERS = ("a", "b", "c")
NUMBERS = (
    "m", "n", "k", "a.row", "a.k", "b.row", "turned", "c.row", "a.outer", "a.inner", "b.outer", "b.inner",
    "c.batch", "inner",
)  # fmt: skip
FORMATS = "q" * (len(POINTERS) + len(NUMBERS))
DEPTH = 256  # how many k there may be where B is given by its columns


def source(kind: str) -> str:
    """LLVM IR of the kernel. `b.row` is the distance of B's rows, or where `turned` is not 0 of its columns."""
    width, most = lanes_of(kind), vectors_of_panel()
    module = Module("cpu")
    parameters = [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")]
    b = module.function(NAME, parameters, width)
    args = Arguments(b)
    p = {name: args.pointer() for name in POINTERS}
    n = {name: args.word() for name in NUMBERS}
    for vectors in range(1, most + 1):
        define_rows(module, f"rows{vectors}", kind, (False,) * vectors, partly="bc")
    b.line(f"%b.block = alloca {type_text(kind)}, i64 {DEPTH * most * width}, align 64")

    def number(value: int) -> Reg:
        return b.const("i64", value, 1)

    is_turned = b.icmp("ne", n["turned"], number(0))
    right_row = b.select(is_turned, number(most * width), n["b.row"])
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        outer, inner = b.udiv(items.i, n["inner"]), b.urem(items.i, n["inner"])
        a = moved(b, p["a"], kind, (outer, n["a.outer"]), (inner, n["a.inner"]))
        all_of_b = moved(b, p["b"], kind, (outer, n["b.outer"]), (inner, n["b.inner"]))
        c = moved(b, p["c"], kind, (items.i, n["c.batch"]))
        with b.loop(0, n["n"], most * width) as panels:
            columns = b.smin(b.sub(n["n"], panels.i), number(most * width))
            last = b.udiv(b.sub(columns, number(1)), number(width))  # vectors but one
            lanes = b.sub(columns, b.mul(last, number(width)))
            with b.when(is_turned):
                first = moved(b, all_of_b, kind, (panels.i, n["b.row"]))
                _transpose(b, kind, first, n["b.row"], n["k"], columns, most * width)
            name = b.fresh("right")
            in_place = moved(b, all_of_b, kind, (panels.i, number(1)))
            b.line(f"%{name} = select {is_turned.operand}, ptr %b.block, ptr {in_place}")
            result = moved(b, c, kind, (panels.i, number(1)))
            labels, after = [b.fresh("vectors") for _ in range(most)], b.fresh("after")
            cases = " ".join(f"i64 {v}, label %{labels[v]}" for v in range(1, most))
            b.line(f"switch {last.operand}, label %{labels[0]} [ {cases} ]")
            b.terminated = True
            for v in range(most):
                b.label(labels[v])
                call_rows(
                    b, f"rows{v + 1}", a, n["a.row"], n["a.k"], f"%{name}", right_row, result, n["c.row"],
                    number(width), n["k"], n["m"], lanes=lanes,
                )  # fmt: skip
                b.br(after)
            b.label(after)
    return module.text()


def _transpose(b: Builder, kind: str, first: str, distance: Reg, k: Reg, columns: Reg, panel: int) -> None:
    """Write columns that are `distance` apart into the block, square by square; rows of it are a panel apart."""
    width = lanes_of(kind)

    def number(value: int) -> Reg:
        return b.const("i64", value, 1)

    final = b.sub(columns, number(1))
    with b.loop(0, columns, width) as across:
        lines = []
        for lane in range(width):  # past the end the last column stands in, of which nobody takes note
            column = b.smin(b.add(across.i, number(lane)), final)
            lines.append(moved(b, first, kind, (column, distance)))
        with b.loop(0, k, width) as down:
            mask = b.icmp("slt", b.iota("i64"), b.splat(b.sub(k, down.i)))
            square = [b.load_some(b.gep(line, kind, down.i), kind, mask) for line in lines]
            target = moved(b, b.gep("%b.block", kind, across.i), kind, (down.i, number(panel)))
            for lane, row in enumerate(transposed(b, square)):
                b.store(row, b.gep(target, kind, lane * panel), align=64)
