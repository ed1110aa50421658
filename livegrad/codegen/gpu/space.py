"""An index space split into kept and reduced dimensions, and how the operands of a kernel lie in it.

Words, after pointers and numbers: what divides by the sizes of the kept dimensions but the outermost, innermost first;
the same of the reduced ones; then for each operand that is strided its strides over the kept and over the reduced
dimensions, innermost first, in elements.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...runtime.array import numel
from ..ir import Builder, Reg, kind_bytes
from ..layout import SCALAR, STRIDED
from .maps import NUMBER, Divider, divider_words
from .plan import VECTOR_BYTES, WIDEST
from .target import Parameters


class Layout:
    """What a launch knows of the space.

    kept, reduced: sizes of the merged dimensions. strides: of each operand over the kept and the reduced ones, or None
    where an operand is passed as its bits. wide: indices or offsets need 64 bits.
    """

    def __init__(self, sizes: Sequence[int], labels: Sequence[str], strides: Sequence[Sequence[int] | None]):
        own = [d for d, label in enumerate(labels) if label == "k"]
        other = [d for d, label in enumerate(labels) if label == "r"]
        self.kept, self.reduced = [sizes[d] for d in own], [sizes[d] for d in other]
        self.strides = [s and ([s[d] for d in own], [s[d] for d in other]) for s in strides]
        self.classes = tuple(NUMBER if s is None else STRIDED if any(s) else SCALAR for s in strides)
        self.rows, self.length = numel(tuple(self.kept)), numel(tuple(self.reduced))
        reach = [sum(abs(m) * (n - 1) for m, n in zip(s, sizes)) for s in strides if s is not None]
        self.wide = max([self.rows * self.length, self.rows, *reach]) >= 1 << 31

    @property
    def key(self) -> tuple:
        """What a kernel is made for."""
        return self.classes, len(self.kept), len(self.reduced), self.wide

    def words(self) -> list[int]:
        """The words that `Space` reads."""
        found: list[int] = []
        for sizes in (self.kept, self.reduced):
            for n in sizes[:0:-1]:
                found += divider_words(n, self.wide)
        for s, c in zip(self.strides, self.classes):
            if c == STRIDED:
                found += [*reversed(s[0]), *reversed(s[1])]  # type: ignore[index]
        return found


# How operands lie along the elements of a group: side by side, all the same, or anyhow.
BESIDE, SAME, APART = "beside", "same", "apart"


def group_of(dtypes: Sequence) -> int:
    """How many neighbouring elements of a row a thread takes together: 16 bytes of the widest, at most 8."""
    return max(1, min(WIDEST, VECTOR_BYTES // max(d.itemsize for d in dtypes)))


def neighbours(layout: Layout, dtypes: Sequence, group: int, alignment: int, whole: bool) -> tuple[int, tuple]:
    """How the elements of a group are read: so many at a time, and how each operand lies along them.

    dtypes: of the operands. alignment: the largest power of two that divides all their addresses. whole: a row has
    to be a number of whole parts. What is computed does not depend on the answer, only how it is brought.
    """
    if not layout.reduced:
        return 1, ()
    ways = []
    width = group if layout.length > 1 else 1
    for s, c, d in zip(layout.strides, layout.classes, dtypes):
        if c != STRIDED:
            ways.append(SAME)
            continue
        kept, reduced = s  # type: ignore[misc]
        ways.append(BESIDE if reduced[-1] == 1 else APART if reduced[-1] else SAME)
        if ways[-1] == BESIDE:
            while any(m % width for m in (*kept, *reduced[:-1])) or width * d.itemsize > max(alignment, d.itemsize):
                width //= 2
    while (whole or len(layout.reduced) > 1) and layout.reduced[-1] % width:
        width //= 2
    return (width, tuple(ways)) if width > 1 and BESIDE in ways else (1, ())


def count_words(key: tuple) -> int:
    """How many words a `Space` reads."""
    classes, kept, reduced, wide = key
    dividers = (max(kept - 1, 0) + max(reduced - 1, 0)) * (1 if wide else 3)
    return dividers + sum(c == STRIDED for c in classes) * (kept + reduced)


class Space:
    """Where operands are, for a place in the index space. key: a `Layout`'s."""

    def __init__(self, b: Builder, args: Parameters, key: tuple):
        classes, kept, reduced, wide = key
        self.b = b
        self.kind = "i64" if wide else "i32"
        self.ranks = (kept, reduced)
        self.dividers = [[Divider(b, args, wide) for _ in range(rank - 1)] for rank in self.ranks]
        self.strides = [
            [[args.word(self.kind) for _ in range(rank)] for rank in self.ranks] if c == STRIDED else None
            for c in classes
        ]

    def coordinates(self, index: Reg, which: int) -> list[Reg]:
        """The coordinates of an i64 index, innermost first. which: 0 for the kept dimensions, 1 for the reduced."""
        if not self.ranks[which]:
            return []
        left = self.b.convert(index, self.kind)
        found = []
        for divider in self.dividers[which]:
            left, c = divider.split(left)
            found.append(c)
        return [*found, left]

    def offset(self, operand: int, coords: list[Reg], which: int) -> Reg | None:
        """How far coordinates are from an operand's beginning, in elements; None for not at all."""
        strides = self.strides[operand]
        if strides is None or not coords:
            return None
        b = self.b
        offset = b.mul(coords[0], strides[which][0])
        for c, s in zip(coords[1:], strides[which][1:]):
            offset = b.add(offset, b.mul(c, s))
        return b.convert(offset, "i64")

    def moved(self, pointer: str, kind: str, operand: int, coords: list[Reg], which: int) -> str:
        """An operand's pointer moved by coordinates."""
        offset = self.offset(operand, coords, which)
        return pointer if offset is None else self.b.gep(pointer, kind, offset)


class Leaves:
    """The leaves of a program: their pointers, or what is the same everywhere.

    operands: for each leaf its place among the operands of the space.
    """

    def __init__(self, b: Builder, words: Sequence[Reg | str], dtypes: Sequence, classes: Sequence[int]):
        self.b = b
        self.kinds = [d.kind for d in dtypes]
        self.pointers = words
        self.once: dict[int, Reg] = {}
        for k, (word, kind, c) in enumerate(zip(words, self.kinds, classes)):
            if isinstance(word, Reg):
                self.once[k] = b.convert(word, "i1") if kind == "i1" else word
            elif c == SCALAR:
                self.once[k] = b.load(word, kind, width=1)

    def row(self, space: Space, coords: list[Reg]) -> list:
        """The pointers of a row."""
        return [
            p if k in self.once else space.moved(p, kind, k, coords, 0)
            for k, (p, kind) in enumerate(zip(self.pointers, self.kinds))
        ]

    def read(self, space: Space, row: list, k: int, coords: list[Reg], ways: tuple = ()) -> Reg:
        """A leaf's value at a place of a row; where the builder is wider, at as many places from there on.

        ways: how leaves lie along these (see `neighbours`).
        """
        b, kind, width = self.b, self.kinds[k], self.b.width
        if k in self.once:
            return b.splat(self.once[k])
        place = space.moved(row[k], kind, k, coords, 1)
        if width == 1 or ways[k] == SAME:
            return b.splat(b.load(place, kind, width=1))
        if ways[k] == BESIDE:
            return b.load(place, kind, align=width * kind_bytes(kind))
        step = b.convert(space.strides[k][1][0], "i64")  # type: ignore[index]
        made = Reg("poison", kind, width)
        for j in range(width):
            item = b.load(b.gep(place, kind, b.mul(step, b.const("i64", j, 1))), kind, width=1)
            made = b.insert(made, item, j)
        return made


def read_words(args: Parameters, dtypes: Sequence, classes: Sequence[int]) -> list:
    """A pointer, or the bits of a number, for each leaf."""
    return [
        args.word("i8" if d.kind == "i1" else d.kind) if c == NUMBER else args.pointer()
        for d, c in zip(dtypes, classes)
    ]
