"""Reading and writing at places that index tensors name, for GPUs.

An index space has an array that is indexed and one that is not: for reading the result, for writing the source. The
indexed array lies in it with strides of its own, as far as its dimensions are walked through, and is moved further by
what each index tensor says, times a stride.

An index that names no place is taken for 0, and reported: the least of (number of the report, index) is kept in a word
that the host looks at when it next waits (see `runtime.cuda.checks`), so that nothing waits for the check.

Parameters: pointers of the indexed array, of the other one, of the index tensors and of that word; for each index
tensor the size that it indexes, the stride, and its report; then what each kernel says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..ir import Builder, Reg
from .kernels import Kernel, Launch
from .plan import blocks
from .space import Layout, Space, count_words
from .target import Parameters, entry, grid_stride

_kernels: dict[tuple, Kernel] = {}

# What elements are moved as, by their size.
MOVED_AS = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}


def within(b: Builder, i: Reg, size: Reg, good: Reg, word: str, report: Reg) -> Reg:
    """The index where it is good, else 0, and then it is reported. All but `good` (i1) are i64."""
    with b.when(b.not_(good)):
        text = b.or_(report, b.and_(i, b.const("i64", 0xFFFFFFFF, 1)))
        b.line(f"%{b.fresh('before')} = atomicrmw umin {word}, {text.operand} monotonic, align 8")
    return b.select(good, i, b.const("i64", 0, 1))


class Indices:
    """The index tensors of a kernel. kinds: of their elements. wraps: negative ones count from the end."""

    def __init__(self, b: Builder, args: Parameters, kinds: tuple, wraps: bool):
        self.b, self.kinds, self.wraps = b, kinds, wraps
        self.pointers = [args.pointer() for _ in kinds]
        self.word = args.pointer()
        self.numbers = [(args.word(), args.word(), args.word()) for _ in kinds]

    def offset(self, read: Callable[[int, str], str]) -> Reg:
        """How far they move the indexed array, in elements. read: where the k-th one's index is, by k and pointer."""
        b = self.b
        total = b.const("i64", 0, 1)
        for k, (pointer, kind, (size, stride, report)) in enumerate(zip(self.pointers, self.kinds, self.numbers)):
            i = b.convert(b.load(read(k, pointer), kind, width=1), "i64")
            if self.wraps:
                negative = b.icmp("slt", i, b.const("i64", 0, 1))
                good = b.icmp("ult", b.select(negative, b.add(i, size), i), size)
                i = within(b, i, size, good, self.word, report)
                i = b.select(b.icmp("slt", i, b.const("i64", 0, 1)), b.add(i, size), i)
            else:
                i = within(b, i, size, b.icmp("ult", i, size), self.word, report)
            total = b.add(total, b.mul(i, stride))
        return total


def move(kind: str, kinds: tuple, wraps: bool, puts: bool, width: int, layout: Layout, multiprocessors: int) -> Launch:
    """The launch that reads at places, or, with `puts`, writes there, where no place is named twice.

    kind: what elements are moved as, `width` of them at a time. layout: of the indexed array, the other one and the
    index tensors, over a space of such items, all of it kept.
    """
    place = ("move", kind, kinds, wraps, puts, width, layout.key)
    kernel = _kernels.get(place)
    if kernel is None:
        formats = "q" * (3 + 4 * len(kinds))
        words = len(formats) + 1 + count_words(layout.key)
        kernel = _kernels[place] = Kernel(
            lambda: place, lambda: _move_source(kind, kinds, wraps, puts, width, place[-1], words), formats, words
        )
    numbers = [layout.rows, *layout.words()]
    return Launch(kernel, blocks(layout.rows, multiprocessors), struct.pack(f"={len(numbers)}q", *numbers))


def _move_source(kind: str, kinds: tuple, wraps: bool, puts: bool, width: int, key: tuple, words: int) -> str:
    module, b, args = entry(words)
    indexed, other = args.pointer(), args.pointer()
    indices = Indices(b, args, kinds, wraps)
    items = args.word()
    space = Space(b, args, key)
    with grid_stride(b, items) as i:
        coords = space.coordinates(i, 0)

        def read(k: int, pointer: str) -> str:
            return space.moved(pointer, kinds[k], 2 + k, coords, 0)

        there = b.gep(space.moved(indexed, kind, 0, coords, 0), kind, indices.offset(read))
        here = space.moved(other, kind, 1, coords, 0)
        source, target = (here, there) if puts else (there, here)
        align = width * {"i8": 1, "i16": 2, "i32": 4, "i64": 8}[kind]
        b.store(b.load(source, kind, align=align, width=width), target, align=align)
    return args.finish(module)


def name(kinds: tuple, wraps: bool, layout: Layout, multiprocessors: int) -> Launch:
    """The launch that writes a word for each element of the index tensors: the place's number, then the element's own.

    layout: of the indexed array and the index tensors. Its strides, and those of the index tensors, count places. The
    two arrays of the parameters are the words, and nothing (0); the last ones are the number of elements and how many
    bits an element's number has.
    """
    place = ("name places", kinds, wraps, layout.key)
    kernel = _kernels.get(place)
    if kernel is None:
        formats = "q" * (2 + 4 * len(kinds))
        words = len(formats) + 2 + count_words(layout.key)
        kernel = _kernels[place] = Kernel(
            lambda: place, lambda: _name_source(kinds, wraps, place[-1], words), formats, words
        )
    bits = number_bits(layout.rows)
    numbers = [layout.rows, bits, *layout.words()]
    return Launch(kernel, blocks(layout.rows, multiprocessors), struct.pack(f"={len(numbers)}q", *numbers))


def number_bits(count: int) -> int:
    """How many bits the numbers below `count` need."""
    return max(count - 1, 1).bit_length()


def _name_source(kinds: tuple, wraps: bool, key: tuple, words: int) -> str:
    module, b, args = entry(words)
    out = args.pointer()
    indices = Indices(b, args, kinds, wraps)
    items, bits = args.word(), args.word()
    space = Space(b, args, key)
    with grid_stride(b, items) as i:
        coords = space.coordinates(i, 0)

        def read(k: int, pointer: str) -> str:
            return space.moved(pointer, kinds[k], 1 + k, coords, 0)

        place = indices.offset(read)
        start = space.offset(0, coords, 0)
        if start is not None:
            place = b.add(place, start)
        b.store(b.or_(b.shl(place, bits), i), b.gep(out, "i64", i))
    return args.finish(module)


def check(kind: str, multiprocessors: int, count: int) -> Launch:
    """The launch that looks whether the elements of a row-major index tensor name places, or are one number besides.

    Parameters: the tensor, the report's word, the size, the report, the number besides, the number of elements.
    """
    place = ("check", kind)
    kernel = _kernels.get(place)
    if kernel is None:
        kernel = _kernels[place] = Kernel(lambda: place, lambda: _check_source(kind), "qqqqq", 6)
    return Launch(kernel, blocks(count, multiprocessors), struct.pack("=q", count))


def _check_source(kind: str) -> str:
    module, b, args = entry(6)
    pointer, word = args.pointer(), args.pointer()
    size, report, besides, items = (args.word() for _ in range(4))
    with grid_stride(b, items) as i:
        index = b.convert(b.load(b.gep(pointer, kind, i), kind, width=1), "i64")
        good = b.or_(b.icmp("ult", index, size), b.icmp("eq", index, besides))
        within(b, index, size, good, word, report)
    return args.finish(module)
