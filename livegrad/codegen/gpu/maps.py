"""Elementwise programs for GPUs: a thread computes some neighbouring elements at a time, `width` of them.

Parameters: pointers of the outputs, pointers of the leaves (or their number itself), Python numbers, and then

* flat program (all leaves lie as the outputs do, or have one element): the number of elements. What is left behind
  the last whole vector is computed one by one;
* strided program: the number of items (an item is `width` elements along the innermost dimension); for each dimension
  but the outermost, innermost first, what divides by its size; for each strided leaf its strides, innermost first,
  in elements an item.

Leaves may be overwritten by outputs: an element is read and written by the same thread, the reading comes first, and
nothing is loaded by the path that must not see writes.
"""

from __future__ import annotations

from collections.abc import Callable

from ..body import emit_body
from ..ir import Builder, Reg
from ..layout import CONTIGUOUS, SCALAR, STRIDED, leaf_dtypes, node_dtypes
from .target import DIRECT_WORDS, Parameters, entry, grid_stride, special

# Beside the classes of `layout`, how a leaf is read: a number that is among the parameters; or for items of several
# elements, along the innermost dimension of a strided leaf: neighbours in memory, or one element for all.
NUMBER, ROW, SAME = 3, 4, 5
STRIDED_CLASSES = (STRIDED, ROW, SAME)


class _Map:
    """What flat and strided programs have in common."""

    def __init__(self, b: Builder, args: Parameters, code: tuple, outputs: tuple, classes: tuple):
        self.b = b
        self.code = code
        self.outputs = outputs
        self.classes = classes
        self.kinds = [d.kind for d in leaf_dtypes(code, len(classes))]
        self.results = [d.kind for d in node_dtypes(code)]
        self.targets = [args.pointer() for _ in outputs]
        words = [args.word(kind) if c == NUMBER else args.pointer() for kind, c in zip(self._stored(), classes)]
        self.params = args.numbers(code)
        self.pointers: list[str] = []
        self.once: dict[int, Reg] = {}  # leaves that have one value for all
        for k, (word, c) in enumerate(zip(words, classes)):
            if isinstance(word, Reg):
                self.once[k] = b.convert(word, "i1") if self.kinds[k] == "i1" else word
            elif c == SCALAR:
                self.once[k] = b.load(word, self.kinds[k], width=1)
            self.pointers.append("" if isinstance(word, Reg) else word)

    def _stored(self) -> list[str]:
        return ["i8" if kind == "i1" else kind for kind in self.kinds]

    def step(self, first: Reg, width: int, strided: Callable[[int], Reg]) -> None:
        """Compute `width` elements of all outputs, from element `first` on. strided: a leaf that lies otherwise."""
        b = self.b
        with b.at_width(width):

            def leaf(k: int) -> Reg:
                if k in self.once:
                    return b.splat(self.once[k])
                if self.classes[k] == CONTIGUOUS:
                    return vector(b, b.gep(self.pointers[k], self.kinds[k], first), self.kinds[k])
                return strided(k)

            made = emit_body(b, self.code, leaf, self.params)
            for target, node in zip(self.targets, self.outputs):
                kind = self.results[node]
                b.store(made[node], b.gep(target, kind, first), align=width * _bytes(kind))


def _bytes(kind: str) -> int:
    return {"i1": 1, "i8": 1, "i16": 2, "f16": 2, "bf16": 2, "i32": 4, "f32": 4}.get(kind, 8)


def vector(b: Builder, place: str, kind: str) -> Reg:
    """As many neighbouring elements as the builder is wide, whose address is a multiple of their size together."""
    return b.load(place, kind, align=b.width * _bytes(kind))


def flat_words(code: tuple, outputs: tuple, classes: tuple, numbers: int) -> int:
    """How many words of parameters a flat program has."""
    return len(outputs) + len(classes) + numbers + 1


def flat_source(code: tuple, outputs: tuple, classes: tuple, width: int, words: int) -> str:
    """LLVM IR of a flat program."""
    module, b, args = entry(words)
    _flat(b, args, code, outputs, classes, width)
    return args.finish(module)


def _flat(
    b: Builder,
    args: Parameters,
    code: tuple,
    outputs: tuple,
    classes: tuple,
    width: int,
    block: Reg | None = None,
    blocks: Reg | None = None,
) -> None:
    program = _Map(b, args, code, outputs, classes)
    count = args.word()

    def none(k: int) -> Reg:
        raise ValueError(f"leaf {k} of a flat program is strided")

    many = b.const("i64", width, 1)
    items = count if width == 1 else b.udiv(count, many)
    with grid_stride(b, items, block=block, blocks=blocks) as i:
        program.step(b.mul(i, many), width, none)
    if width > 1:
        done = b.mul(items, many)
        with grid_stride(b, b.sub(count, done), block=block, blocks=blocks) as i:
            program.step(b.add(done, i), 1, none)


def jobs_of(words: int) -> int:
    """How many launches of a flat program with so many words fit into one (see `batch_source`)."""
    return (DIRECT_WORDS - 1) // (words + 1)


def batch_source(code: tuple, outputs: tuple, classes: tuple, width: int, words: int) -> str:
    """LLVM IR of a flat program for several launches at a time, such as an optimizer's for many parameters.

    Parameters: for each of `jobs_of(words)` jobs the number of its first block, and once more the number of all
    blocks; then the parameters of each. Jobs that are not there begin behind the last block.
    """
    jobs = jobs_of(words)
    total = jobs * (words + 1) + 1
    module, b, _ = entry(total)

    def start(job: Reg) -> Reg:
        return b.load(b.gep("%args", "i64", job), "i32", align=8, width=1)

    here = special(b, "ctaid.x")
    job = b.const("i64", 0, 1)  # the last one that does not begin behind this block
    for step in [1 << k for k in reversed(range((jobs - 1).bit_length()))]:
        later = b.add(job, b.const("i64", step, 1))
        inside = b.icmp("slt", later, b.const("i64", jobs, 1))
        asked = b.select(inside, later, job)
        job = b.select(b.icmp("ule", start(asked), here), asked, job)
    first = start(job)
    last = start(b.add(job, b.const("i64", 1, 1)))
    place = b.add(b.mul(job, b.const("i64", words, 1)), b.const("i64", jobs + 1, 1))
    args = Parameters(b, words, b.gep("%args", "i64", place))
    _flat(b, args, code, outputs, classes, width, b.sub(here, first), b.sub(last, first))
    return args.finish(module)


class Divider:
    """Division of an index by a size that the launch knows: see `divider_words`."""

    def __init__(self, b: Builder, args: Parameters, wide: bool):
        self.b = b
        self.size = args.word("i64" if wide else "i32")
        if not wide:
            self.factor, self.shift = args.word("i32"), args.word("i32")
        self.wide = wide

    def split(self, i: Reg) -> tuple[Reg, Reg]:
        """Quotient and remainder."""
        b = self.b
        if self.wide:
            q = b.udiv(i, self.size)
        else:
            product = b.mul(b.convert(i, "i64", signed=False), b.convert(self.factor, "i64", signed=False))
            high = b.convert(b.lshr(product, b.const("i64", 32, 1)), "i32")
            q = b.lshr(b.add(high, i), self.shift)
        return q, b.sub(i, b.mul(q, self.size))


def divider_words(size: int, wide: bool) -> list[int]:
    """What a `Divider` reads. Indices below 2**31 are multiplied instead of divided (Granlund and Montgomery, 1994)."""
    if wide:
        return [size]
    shift = (size - 1).bit_length()
    return [size, (((1 << shift) - size) << 32) // size + 1, shift]


def strided_words(code: tuple, outputs: tuple, classes: tuple, numbers: int, rank: int, wide: bool) -> int:
    """How many words of parameters a strided program has."""
    strided = sum(c in STRIDED_CLASSES for c in classes)
    return len(outputs) + len(classes) + numbers + 1 + (rank - 1) * (1 if wide else 3) + strided * rank


def strided_source(code: tuple, outputs: tuple, classes: tuple, width: int, words: int, rank: int, wide: bool) -> str:
    """LLVM IR of a strided program of `rank` merged dimensions; wide: indices need 64 bits."""
    module, b, args = entry(words)
    program = _Map(b, args, code, outputs, classes)
    items = args.word()
    dividers = [Divider(b, args, wide) for _ in range(rank - 1)]
    number = "i64" if wide else "i32"
    strides = {k: [args.word(number) for _ in range(rank)] for k, c in enumerate(classes) if c in STRIDED_CLASSES}
    with grid_stride(b, items) as i:
        coords = []
        left = b.convert(i, number)
        for divider in dividers:
            left, c = divider.split(left)
            coords.append(c)
        coords.append(left)

        def strided(k: int) -> Reg:
            offset = b.mul(coords[0], strides[k][0])
            for c, s in zip(coords[1:], strides[k][1:]):
                offset = b.add(offset, b.mul(c, s))
            place = b.gep(program.pointers[k], program.kinds[k], b.convert(offset, "i64"))
            if classes[k] == ROW:
                return vector(b, place, program.kinds[k])
            return b.splat(b.load(place, program.kinds[k], width=1))

        program.step(b.mul(i, b.const("i64", width, 1)), width, strided)
    return args.finish(module)
