"""The kernel that copies an array whose innermost dimension is not the one whose elements are neighbours in memory.

Squares of elements are read along the dimension whose elements are neighbours there, the turned one, and written along
the innermost one, so that no line of the cache is touched more than once. A work item is a strip: as many indices of
the turned dimension as a line of the cache has elements, all of the innermost one. The last strip, and the last square
of a strip, overlap those before them, and write the same again.

Arguments, packed: pointers of the copy and the array; the inner size, the size of the turned dimension, the number of
strips, the outer sizes; strides of the copy, of the outer dimensions and the turned one (the innermost one's is 1);
strides of the array, of the outer dimensions and the innermost one (the turned one's is 1).
"""

from __future__ import annotations

from ..llvm.machine import host_vector_bytes
from .kernels import Kernel
from .layout import NAME

LINE = 64  # bytes of a line of the cache
KINDS = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}  # elements are copied as words of their size
WIDEST = 16  # lanes of a vector, as so many vectors are in registers at a time

_kernels: dict[tuple, Kernel] = {}


def edge(itemsize: int) -> int:
    """How many elements the side of a square has."""
    return min(host_vector_bytes() // itemsize, WIDEST)


def strip(itemsize: int) -> int:
    """How many indices of the turned dimension a strip has."""
    return max(LINE // itemsize, edge(itemsize))


def kernel(itemsize: int, rank: int) -> Kernel:
    """The kernel for elements of so many bytes in `rank` dimensions."""
    key = (itemsize, rank)
    found = _kernels.get(key)
    if found is None:
        found = _kernels[key] = Kernel(lambda: ("turned", *key), lambda: source(*key), "qq", 1)
    return found


def source(itemsize: int, rank: int) -> str:
    """LLVM IR of the kernel."""
    from .elementwise import Arguments, coordinates, offset_of  # what writes kernels is loaded when one is written
    from .ir import Module, Reg
    from .product import transposed

    module = Module("cpu")
    b = module.function(NAME, [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")])
    kind, n, wide = KINDS[itemsize], edge(itemsize), strip(itemsize)
    args = Arguments(b)
    target, array = args.pointer(), args.pointer()
    inner, turned, strips = args.word(), args.word(), args.word()
    outer = [args.word() for _ in range(rank - 2)]
    target_outer, target_step = [args.word() for _ in outer], args.word()
    array_outer, array_step = [args.word() for _ in outer], args.word()

    def number(value: int) -> Reg:
        return b.const("i64", value, 1)

    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as items:
        first = b.mul(b.urem(items.i, strips), number(wide))
        first = b.smin(first, b.sub(turned, number(wide)))
        coords = coordinates(b, b.udiv(items.i, strips), outer)
        to = b.gep(target, kind, b.add(offset_of(b, coords, target_outer), b.mul(first, target_step)))
        of = b.gep(array, kind, b.add(offset_of(b, coords, array_outer), first))
        with b.loop(number(0), inner, n) as squares:
            at = b.smin(squares.i, b.sub(inner, number(n)))
            for part in range(0, wide, n):
                lines = []
                for k in range(n):
                    line = b.gep(of, kind, b.mul(b.add(at, number(k)), array_step))
                    lines.append(b.load(b.gep(line, kind, part), kind, width=n))
                for k, line_made in enumerate(transposed(b, lines)):
                    row = b.gep(to, kind, b.mul(target_step, number(part + k)))
                    b.store(line_made, b.gep(row, kind, at))
    return module.text()
