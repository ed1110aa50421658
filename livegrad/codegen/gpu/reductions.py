"""Reductions for GPUs, with the pending work that feeds them.

A team of threads takes a segment of a row. Of its rows, neighbouring elements in memory as a rule, a lane takes a group
at a time (`space.group_of`), and the lanes take groups in turn; several groups are on their way at once. Elements
at the same place of a lane's groups make a chain, and the team brings chains together. Where a row has several
segments their results lie as [segment, row] and are reduced again.

Team, groups and segments depend on sizes and dtypes alone, so a result does not depend on the GPU, and repeats bit for
bit. How many elements of a group are read by one instruction follows from strides and addresses as well
(`space.neighbours`); what is added to what does not.

Parameters: pointers of the result and the leaves, Python numbers; what a mean is divided by; the number of rows, the
length of a row and of a segment, blocks for a segment; then the words of `space`.
"""

from __future__ import annotations

import struct

from ... import dtypes
from ..body import emit_body
from ..ir import Reg
from ..kernels import code_cost, describe_code
from ..layout import REDUCTIONS, leaf_dtypes, param_formats
from ..lower import lower
from .kernels import Kernel, Launch, of_reals
from .plan import OPERAND_WORDS, WORK
from .space import Layout, Leaves, Space, count_words, group_of, neighbours, read_words
from .target import THREADS, entry, special
from .team import COLUMNS, ROWS, WARP, Team

UNROLL = 4  # groups that are on their way at once at most, and chains at least
AHEAD = 16  # elements on their way at once, if that is no fewer than a group
SHORT = 1024  # elements of a row that a part of a warp takes
# Elements of a segment by layout: where rows are few, and where there are many.
SEGMENTS = {ROWS: (1 << 14, 1 << 17), COLUMNS: (512, 4096)}
MANY = {ROWS: 256, COLUMNS: 1 << 14}

_kernels: dict[tuple, Kernel] = {}


def above(n: int) -> int:
    """The least power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def team_for(layout: str, rows: int, length: int, group: int) -> int:
    """How many lanes a team has."""
    if layout == COLUMNS:
        return THREADS // min(WARP, above(rows))
    return min(WARP, above(-(-length // max(group, UNROLL)))) if length <= SHORT else THREADS


def narrowed(width: int, cost: int, dtypes: list) -> int:
    """How many elements are computed at a time, as far as registers allow. cost: of what feeds a reduction."""
    words = sum(max(1, d.itemsize // 4) for d in dtypes)
    while width > 1 and (width * words > OPERAND_WORDS or width * cost > WORK):
        width //= 2
    return width


def segment_of(layout: str, rows: int, length: int) -> int:
    """How long a segment is."""
    size = SEGMENTS[layout][rows >= MANY[layout]]
    return size if length >= 2 * size else length


class Plan:
    """A launch, and how many segments rows have: with more than one, results have to be reduced again."""

    __slots__ = ("launch", "segments")

    def __init__(self, launch: Launch, segments: int):
        self.launch, self.segments = launch, segments


def plan(
    name: str, acc: dtypes.dtype, code: tuple, source: dtypes.dtype, layout: Layout, columns: bool, count: int,
    alignment: int,
) -> Plan:  # fmt: skip
    """The launch of a reduction of at least one element.

    name: one of `layout.REDUCTIONS`. acc: dtype of accumulation and result. source: of what is reduced. columns: the
    innermost dimension is kept. count: what the result is divided by, if it is. alignment: the largest power of two
    that divides the addresses of the leaves; 16 is as good as any above.
    """
    how = COLUMNS if columns else ROWS
    own = leaf_dtypes(code, len(layout.classes)) if code else [source]
    group = 1 if columns else group_of(own)
    most = narrowed(group, code_cost(code), own)
    lanes = team_for(how, layout.rows, layout.length, group)
    width, ways = neighbours(layout, own, most, alignment, False)
    size = segment_of(how, layout.rows, layout.length)
    segments = -(-layout.length // size)
    blocks = -(-layout.rows // (THREADS // lanes))
    words = [layout.rows, layout.length, size, blocks, *layout.words()]
    if segments > 1:
        name = REDUCTIONS[name].parts
    divisor = struct.pack("=d", count) if REDUCTIONS[name].divides else b""
    kernel = _kernel(name, acc, code, source, layout.key, how, lanes, group, width, ways)
    tail = divisor + struct.pack(f"={len(words)}q", *words)
    return Plan(Launch(kernel, blocks * segments, tail), segments)


def _kernel(
    name: str, acc: dtypes.dtype, code: tuple, source: dtypes.dtype, key: tuple, how: str, lanes: int, group: int,
    width: int, ways: tuple,
) -> Kernel:  # fmt: skip
    place = (name, acc, code, source, key, how, lanes, group, width, ways)
    found = _kernels.get(place)
    if found is None:
        numbers = param_formats(code)
        formats = "q" * (1 + len(key[0])) + numbers
        words = len(formats) + REDUCTIONS[name].divides + 4 + count_words(key)

        def describe() -> tuple:
            return ("reduction", name, acc.name, describe_code(code), source.name, *place[4:])

        made = Kernel(describe, lambda: _source(*place, words), formats, words)
        found = _kernels[place] = of_reals(made, code, acc, source)
    return found


def _source(
    name: str, acc: dtypes.dtype, code: tuple, source: dtypes.dtype, key: tuple, how: str, lanes: int, group: int,
    width: int, ways: tuple, words: int,
) -> str:  # fmt: skip
    """LLVM IR of the kernel."""
    module, b, args = entry(words)
    classes = key[0]
    own = leaf_dtypes(code, len(classes)) if code else [source]
    out = args.pointer()
    given = read_words(args, own, classes)
    numbers = args.numbers(code)
    reduction = REDUCTIONS[name]
    kind = acc.compute_kind
    divisor = b.convert(args.word("f64"), kind) if reduction.divides else None
    rows, length, size, blocks = (args.word() for _ in range(4))
    space = Space(b, args, key)
    leaves = Leaves(b, given, own, classes)

    def combine(x: Reg, y: Reg) -> Reg:
        return lower(b, reduction.primitive, [x, y], acc)

    team = Team(b, how, lanes)
    block = b.convert(special(b, "ctaid.x"), "i64", signed=False)
    segment = b.udiv(block, blocks)
    first = b.mul(b.sub(block, b.mul(segment, blocks)), b.const("i64", team.teams, 1))
    row = b.add(first, team.place)
    there = b.icmp("slt", row, rows)
    row = b.select(there, row, b.const("i64", 0, 1))
    begin = b.mul(segment, size)
    end = b.add(begin, size)
    end = b.select(b.icmp("slt", end, length), end, length)
    end = b.select(there, end, begin)
    at = leaves.row(space, space.coordinates(row, 0))
    signed = source.is_signed if source.category < 2 else acc.is_signed

    def values(e: Reg, width: int) -> list[Reg]:
        """The elements from one on."""
        coords = space.coordinates(e, 1)

        def leaf(k: int) -> Reg:
            return leaves.read(space, at, k, coords, ways)

        with b.at_width(width):
            made = emit_body(b, code, leaf, numbers)[-1] if code else leaf(0)
            made = b.splat(b.convert(made, kind, signed))
        return [b.extract(made, j) for j in range(width)]

    def whole_group(e: Reg) -> list[Reg]:
        return [x for j in range(0, group, width) for x in values(b.add(e, b.const("i64", j, 1)), width)]

    def added(sums: list[Reg], parts: list[Reg]) -> list[Reg]:
        return [*map(combine, sums, parts), *sums[len(parts) :]]

    chains = max(group, UNROLL)
    ahead = UNROLL if group < UNROLL else max(1, AHEAD // group)  # where it decides about chains: by the group alone
    while group >= UNROLL and ahead > 1 and ahead * group * code_cost(code) > WORK:
        ahead //= 2
    sums = [b.const(kind, reduction.identity(acc), 1)] * chains
    start = b.add(begin, b.mul(team.lane, b.const("i64", group, 1)))
    last = b.sub(end, b.const("i64", lanes * group * (ahead - 1) + group - 1, 1))
    with b.loop(start, last, lanes * group * ahead, sums) as loop:
        parts = [x for u in range(ahead) for x in whole_group(b.add(loop.i, b.const("i64", u * lanes * group, 1)))]
        sums = loop.values
        for first_part in range(0, len(parts), chains):
            sums = added(sums, parts[first_part : first_part + chains])
        loop.next(*sums)
    last = b.sub(end, b.const("i64", group - 1, 1))
    with b.loop(loop.i, last, lanes * group, loop.values) as rest:
        rest.next(*added(rest.values, whole_group(rest.i)))
    sums = rest.values
    if group > 1:  # the last group of a segment may be a part of one
        with b.loop(rest.i, end, 1, sums[:1]) as single:
            single.next(combine(single.values[0], *values(single.i, 1)))
        sums = [*single.values, *sums[1:]]
    while len(sums) > 1:
        sums = [combine(x, y) for x, y in zip(sums[::2], sums[1::2])]
    (total,) = team.gather(sums, [combine])
    if divisor is not None:
        total = lower(b, "div", [total, divisor], acc)
    with b.when(b.and_(team.first(), there)):
        b.store(total, b.gep(out, kind, b.add(b.mul(segment, rows), row)))
    return args.finish(module)
