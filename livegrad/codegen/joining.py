"""The kernel that puts pieces of memory side by side, row after row of the result.

Each piece is contiguous, and has a part of each row. Work items are parts of the result of so many bytes, whatever
they are made of, so all threads have the same to do. Elements are copied as they are: the kernel knows bytes only.

Arguments, packed: pointer of the result; how many pieces, bytes of a row, of a work item and of the result; then for
each piece, none of which is empty, its address, its bytes in a row, and where in the row they are.
"""

from __future__ import annotations

import functools

from .kernels import Kernel
from .layout import NAME

_WORDS = 3  # of each piece


@functools.cache
def kernel() -> Kernel:
    """The kernel."""
    return Kernel(lambda: ("joining",), source, "q4q", 1)


def source() -> str:
    """LLVM IR of the kernel."""
    from .elementwise import Arguments  # what writes kernels is loaded when one is written
    from .ir import Module, Reg

    module = Module("cpu")
    b = module.function(NAME, [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")])
    b.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    args = Arguments(b)
    result = args.pointer()
    pieces, row_bytes, unit, total = args.word(), args.word(), args.word(), args.word()
    table = b.gep("%args", "i64", 5)
    zero, one = b.const("i64", 0, 1), b.const("i64", 1, 1)

    def words_of(piece: Reg) -> str:
        return b.gep(table, "i64", b.mul(piece, b.const("i64", _WORDS, 1)))

    def word(piece: Reg, k: int) -> Reg:
        return b.load(b.gep(words_of(piece), "i64", k), "i64", width=1)

    def address(piece: Reg) -> str:
        name = b.fresh("of")
        b.line(f"%{name} = load ptr, ptr {words_of(piece)}, align 8")
        return f"%{name}"

    def step(name: str, *values: Reg) -> list[Reg]:
        """The top of a loop, with values that change from round to round."""
        before = b.block
        b.label(b.fresh(name))
        return [b.phi("i64", [(v, before)], 1) for v in values]

    def again(top: str, changing: list[Reg], values: list[Reg]) -> None:
        for phi, value in zip(changing, values, strict=True):
            b.add_incoming(phi, value, b.block)
        b.br(top)

    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item:
        first = b.mul(item.i, unit)
        stop = b.smin(b.add(first, unit), total)
        row, place = b.udiv(first, row_bytes), b.urem(first, row_bytes)
        # Which piece the part begins in.
        (piece,) = step("search", zero)
        search, further, found = b.block, b.fresh("further"), b.fresh("found")
        b.cond_br(b.icmp("sle", b.add(word(piece, 1), word(piece, 2)), place), further, found)
        b.label(further)
        again(search, [piece], [b.add(piece, one)])
        b.label(found)
        state = step("copy", first, row, piece, b.sub(place, word(piece, 2)))
        at, row, piece, within = state
        copy = b.block
        bytes_in_row = word(piece, 1)
        n = b.smin(b.sub(bytes_in_row, within), b.sub(stop, at))
        of = b.gep(address(piece), "i8", b.add(b.mul(row, bytes_in_row), within))
        to = b.gep(result, "i8", at)
        b.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {of}, {n.operand}, i1 false)")
        following = b.add(piece, one)
        is_last = b.icmp("eq", following, pieces)
        at_next = b.add(at, n)
        more, done = b.fresh("more"), b.fresh("copied")
        b.cond_br(b.icmp("slt", at_next, stop), more, done)
        b.label(more)
        again(copy, state, [at_next, b.select(is_last, b.add(row, one), row), b.select(is_last, zero, following), zero])
        b.label(done)
    return module.text()
