"""What arrives at the same place brought together in one order, without atomics, for GPUs.

Words say what arrives where: the number of a place, then the number of the arrival. Sorted, they hold the arrivals of a
place side by side, in order. Words are all different, so any way of sorting them gives the same: blocks sort tiles of
them in shared memory, and each pass merges neighbouring runs, for which a thread finds by bisection how many words of
the other run come before its own.

Sorted words are cut into chunks. For each chunk and column a thread combines the arrivals of one place after the
other and puts the outcome into the place if it began in this chunk; what belongs to one that began in an earlier chunk
is carried over. What is carried is combined in the same way, in another launch, until a single chunk is left. The tree
follows from the number of arrivals, so a result repeats bit for bit.
"""

from __future__ import annotations

import struct
from typing import Any

from ... import dtypes
from ..ir import Reg
from ..layout import REDUCTIONS
from ..lower import lower
from .kernels import Kernel, Launch
from .places import MOVED_AS, number_bits
from .plan import blocks
from .space import Layout, Space, count_words
from .target import THREADS, entry, grid_stride, special
from .team import barrier

TILE = 2 * THREADS  # words that a block sorts
CHUNK = 32  # arrivals that a thread combines
LAST = (1 << 63) - 1  # behind every word

_kernels: dict[tuple, Kernel] = {}


def _kernel(place: tuple, formats: str, words: int, source: Any) -> Kernel:
    found = _kernels.get(place)
    if found is None:
        found = _kernels[place] = Kernel(lambda: place, lambda: source(words), formats, words)
    return found


# --- sorting --------------------------------------------------------------------------------------------------------


def sort_tiles(count: int) -> Launch:
    """The launch that sorts each tile of 64-bit words in place. Parameters: the words, how many."""
    kernel = _kernel(("sort tiles",), "q", 2, _sort_source)
    return Launch(kernel, -(-count // TILE), struct.pack("=q", count))


def _sort_source(words: int) -> str:
    """Batcher's bitonic sorting network; a thread compares two words a step."""
    module, b, args = entry(words)
    memory, count = args.pointer(), args.word()
    tile = module.shared("tile", "i64", TILE)
    thread = b.convert(special(b, "tid.x"), "i64", signed=False)
    block = b.convert(special(b, "ctaid.x"), "i64", signed=False)
    first = b.mul(block, b.const("i64", TILE, 1))

    def number(value: int) -> Reg:
        return b.const("i64", value, 1)

    mine = [b.add(thread, number(k * THREADS)) for k in range(TILE // THREADS)]
    for place in mine:
        b.store(number(LAST), b.gep(tile, "i64", place))
        with b.when(b.icmp("slt", b.add(first, place), count)):
            b.store(b.load(b.gep(memory, "i64", b.add(first, place)), "i64", width=1), b.gep(tile, "i64", place))
    run = 2
    while run <= TILE:
        distance = run // 2
        while distance:
            barrier(b)
            low = b.add(thread, b.and_(thread, number(-distance)))  # the thread's number with a 0 put in
            up = b.icmp("eq", b.and_(low, number(run)), number(0))
            places = [b.gep(tile, "i64", at) for at in (low, b.add(low, number(distance)))]
            x, y = (b.load(p, "i64", width=1) for p in places)
            swap = b.xor(b.icmp("slt", y, x), b.not_(up))
            b.store(b.select(swap, y, x), places[0])
            b.store(b.select(swap, x, y), places[1])
            distance //= 2
        run *= 2
    barrier(b)
    for place in mine:
        with b.when(b.icmp("slt", b.add(first, place), count)):
            b.store(b.load(b.gep(tile, "i64", place), "i64", width=1), b.gep(memory, "i64", b.add(first, place)))
    return args.finish(module)


def merge(count: int, run: int, multiprocessors: int) -> Launch:
    """The launch that merges sorted runs of `run` words, a power of two, two by two.

    Parameters: the merged words, the words, how many, the run, and its bits.
    """
    kernel = _kernel(("merge runs",), "qq", 5, _merge_source)
    tail = struct.pack("=3q", count, run, run.bit_length())
    return Launch(kernel, blocks(count, multiprocessors), tail)


def _merge_source(words: int) -> str:
    module, b, args = entry(words)
    out, memory = args.pointer(), args.pointer()
    count, run, bits = (args.word() for _ in range(3))
    one = b.const("i64", 1, 1)
    with grid_stride(b, count) as i:
        word = b.load(b.gep(memory, "i64", i), "i64", width=1)
        start = b.and_(i, b.neg(run))  # of this run
        other = b.xor(start, run)
        end = b.smin(b.add(other, run), count)
        low, high = other, b.smax(end, other)
        with b.loop(0, bits, 1, [low, high]) as search:
            low, high = search.values
            middle = b.ashr(b.add(low, high), one)
            open_ = b.icmp("slt", low, high)
            there = b.load(b.gep(memory, "i64", b.select(open_, middle, i)), "i64", width=1)
            below = b.and_(open_, b.icmp("slt", there, word))
            search.next(b.select(below, b.add(middle, one), low), b.select(b.and_(open_, b.not_(below)), middle, high))
        before = b.sub(search.values[0], other)
        place = b.add(b.add(b.smin(start, other), b.sub(i, start)), before)
        b.store(word, b.gep(out, "i64", place))
    return args.finish(module)


# --- combining ------------------------------------------------------------------------------------------------------


class Arrivals:
    """What arrives at places: how it lies.

    layout: of the array of places, whose kept dimensions are the columns of a place, and of the source, whose reduced
    ones are the arrivals. unit: how many elements lie from a place to the next.
    """

    def __init__(self, layout: Layout, unit: int):
        self.layout, self.unit = layout, unit
        self.columns, self.count = layout.rows, layout.length
        self.bits = number_bits(self.count)


def accumulating(d: dtypes.dtype) -> dtypes.dtype:
    """What elements of a dtype are combined in."""
    return dtypes.float32 if d.kind in ("f16", "bf16") else d


def combine(name: str, d: dtypes.dtype, arrivals: Arrivals, level: int, multiprocessors: int) -> Launch:
    """The launch that combines arrivals (level 0), or what has been carried `level` times, into their places.

    name: one of `layout.REDUCTIONS`. d: dtype of places and source. Parameters: the places; the source, or what was
    carried before; the sorted words; what is carried now, [chunk, column], in the dtype of accumulation.
    """
    count = carried(arrivals.count, level)
    key = arrivals.layout.key
    place = ("combine arrivals", name, d.name, key, level > 0)
    words = 4 + 6 + count_words(key)
    kernel = _kernel(place, "qqqq", words, lambda words: _combine_source(name, d, key, level > 0, words))
    numbers = [count, CHUNK**level, arrivals.bits, arrivals.columns, arrivals.unit, carried(arrivals.count, level + 1)]
    numbers += arrivals.layout.words()
    threads = numbers[5] * arrivals.columns
    return Launch(kernel, blocks(threads, multiprocessors), struct.pack(f"={len(numbers)}q", *numbers))


def carried(count: int, level: int) -> int:
    """How many chunks there are of so many arrivals after `level` launches."""
    for _ in range(level):
        count = -(-count // CHUNK)
    return count


def _combine_source(name: str, d: dtypes.dtype, key: tuple, again: bool, words: int) -> str:
    module, b, args = entry(words)
    places, source, sorted_words, carry = (args.pointer() for _ in range(4))
    count, step, bits, columns, unit, chunks = (args.word() for _ in range(6))
    space = Space(b, args, key)
    acc = accumulating(d)
    kind = acc.compute_kind
    neutral = b.const(kind, -0.0 if name == "sum" and acc.is_floating_point else REDUCTIONS[name].identity(acc), 1)

    def number(value: int) -> Reg:
        return b.const("i64", value, 1)

    def together(x: Reg, y: Reg) -> Reg:
        return lower(b, REDUCTIONS[name].primitive, [x, y], acc)

    def word(i: Reg) -> Reg:
        return b.load(b.gep(sorted_words, "i64", b.mul(i, step)), "i64", width=1)

    with grid_stride(b, b.mul(chunks, columns)) as i:
        chunk = b.udiv(i, columns)
        column = b.sub(i, b.mul(chunk, columns))
        coords = space.coordinates(column, 0)
        base = space.moved(places, d.kind, 0, coords, 0)
        row = source if again else space.moved(source, d.kind, 1, coords, 0)
        begin = b.mul(chunk, number(CHUNK))
        end = b.smin(b.add(begin, number(CHUNK)), count)
        some = b.icmp("sgt", begin, number(0))
        before = b.lshr(word(b.select(some, b.sub(begin, number(1)), begin)), bits)
        before = b.select(some, before, number(-1))

        def put(condition: Reg, place: Reg, value: Reg) -> None:
            with b.when(condition):
                target = b.gep(base, d.kind, b.mul(place, unit))
                there = b.convert(b.load(target, d.kind, width=1), kind, acc.is_signed)
                b.store(b.convert(together(there, value), d.kind, acc.is_signed), target)

        with b.loop(begin, end, 1, [number(-1), neutral, neutral]) as loop:
            place, value, over = loop.values
            this = word(loop.i)
            here = b.lshr(this, bits)
            if again:
                x = b.load(b.gep(row, kind, b.add(b.mul(loop.i, columns), column)), kind, width=1)
            else:
                arrival = b.sub(this, b.shl(here, bits))
                where = space.moved(row, d.kind, 1, space.coordinates(arrival, 1), 1)
                x = b.convert(b.load(where, d.kind, width=1), kind, acc.is_signed)
            fresh = b.icmp("ne", here, place)
            own = b.icmp("ne", place, before)
            known = b.icmp("sge", place, number(0))
            put(b.and_(fresh, b.and_(own, known)), place, value)
            over = b.select(b.and_(fresh, b.and_(known, b.not_(own))), value, over)
            loop.next(here, b.select(fresh, x, together(value, x)), over)
        place, value, over = loop.values
        own = b.icmp("ne", place, before)
        put(own, place, value)
        over = b.select(own, over, value)
        b.store(over, b.gep(carry, kind, i))
    return args.finish(module)


def put_last(itemsize: int, arrivals: Arrivals, multiprocessors: int) -> Launch:
    """The launch that puts the last arrival of each place there. Parameters: the places, the source, sorted words."""
    key = arrivals.layout.key
    kind = MOVED_AS[itemsize]
    words = 3 + 4 + count_words(key)
    kernel = _kernel(("last arrivals", kind, key), "qqq", words, lambda words: _last_source(kind, key, words))
    numbers = [arrivals.count, arrivals.bits, arrivals.columns, arrivals.unit, *arrivals.layout.words()]
    threads = arrivals.count * arrivals.columns
    return Launch(kernel, blocks(threads, multiprocessors), struct.pack(f"={len(numbers)}q", *numbers))


def _last_source(kind: str, key: tuple, words: int) -> str:
    module, b, args = entry(words)
    places, source, sorted_words = (args.pointer() for _ in range(3))
    count, bits, columns, unit = (args.word() for _ in range(4))
    space = Space(b, args, key)
    one = b.const("i64", 1, 1)
    with grid_stride(b, b.mul(count, columns)) as i:
        at = b.udiv(i, columns)
        coords = space.coordinates(b.sub(i, b.mul(at, columns)), 0)
        this = b.load(b.gep(sorted_words, "i64", at), "i64", width=1)
        place = b.lshr(this, bits)
        more = b.icmp("slt", b.add(at, one), count)
        following = b.load(b.gep(sorted_words, "i64", b.select(more, b.add(at, one), at)), "i64", width=1)
        with b.when(b.or_(b.not_(more), b.icmp("ne", b.lshr(following, bits), place))):
            arrival = b.sub(this, b.shl(place, bits))
            row = space.moved(source, kind, 1, coords, 0)
            where = space.moved(row, kind, 1, space.coordinates(arrival, 1), 1)
            target = b.gep(space.moved(places, kind, 0, coords, 0), kind, b.mul(place, unit))
            b.store(b.load(where, kind, width=1), target)
    return args.finish(module)
