"""Kernels of the weight's side of convolution: its gradient, and the order in which a product reads it.

With the input and the gradient of the result laid out as `codegen.conv_layout` says, places between rows holding zeros,

    gradient[o, k] = sum over places p of g[o, p] * x[offset[k] + p]

The wide form, for many outputs, lays `g` out with its channels next to each other, so that a vector holds a sum for
each of them. The narrow form keeps sums in vectors along the line and adds them across at the end. Each chunk of boxes
makes a partial result; chunks depend on sizes alone, so the tree of additions does too.
"""

from __future__ import annotations

from .conv_layout import (
    BOX_WORDS,
    LAYOUT_WORDS,
    SIGNATURE,
    Box,
    Chosen,
    Words,
    clamp_high,
    lanes_below,
    lay_out,
    madd,
    masked_load,
    number,
    scratch_slot,
    split,
    vector_width,
)  # fmt: skip
from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg, kind_bytes
from .product import transposed

# Bytes of `g` that a tile goes through before the next tile does: they stay in the nearest cache.
NEAR_BYTES = 16 << 10

GRADIENT_WORDS = (
    "slots", "slot_bytes", "g_at", "laid_out", "chunk_boxes", "boxes", "groups", "parts", "outputs_per_part", "outputs",
    "channel_parts", "channels_per_part", "channels", "window", "tap_rows", "tiles", *BOX_WORDS,
)  # fmt: skip
GRADIENT_POINTERS = ("x", "g", "partial", "offsets", "scratch")


def gradient_source(kind: str, block: int, across: int, wide: bool) -> str:
    """LLVM IR of the gradient by the weight, `block` outputs by `across` taps at a time.

    In the wide form `block` is a multiple of the vector's width, and rows of `g` are contiguous.

    A work item is (chunk of boxes, group, part of the outputs, part of the channels); parts are multiples of `block`
    and of `across`. partial: [chunk, group, tile of outputs, tap, output of the tile], with `tap_rows` taps, a multiple
    of `across`. window: taps of one channel.
    Arguments: GRADIENT_POINTERS, GRADIENT_WORDS, LAYOUT_WORDS of x, LAYOUT_WORDS of g.
    """
    module = Module("cpu")
    if wide:
        define_wide_tile(module, kind, block, across)
    b = module.function(NAME, SIGNATURE)
    args = Arguments(b)
    x, g, partial, offsets, scratch = (args.pointer() for _ in GRADIENT_POINTERS)
    s = Words(b, args, GRADIENT_WORDS)
    x_words, g_words = Words(b, args, LAYOUT_WORDS), Words(b, args, LAYOUT_WORDS)
    width = vector_width(kind)
    one, zero = number(b, 1), number(b, 0)
    with (
        scratch_slot(b, scratch, s.slots, s.slot_bytes) as slot,
        b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item,
    ):
        channel_part, rest = split(b, item.i, s.channel_parts)
        part, rest = split(b, rest, s.parts)
        group, chunk = split(b, rest, s.groups)
        first_output = b.mul(part, s.outputs_per_part)
        outputs = clamp_high(b, s.outputs_per_part, b.sub(s.outputs, first_output))
        first_channel = b.mul(channel_part, s.channels_per_part)
        channels = clamp_high(b, s.channels_per_part, b.sub(s.channels, first_channel))
        taps = b.mul(channels, s.window)
        first_box = b.mul(chunk, s.chunk_boxes)
        last_box = clamp_high(b, b.add(first_box, s.chunk_boxes), s.boxes)
        g_lines = b.gep(slot, "i8", s.g_at)
        result = madd(b, madd(b, chunk, s.groups, group), s.tiles, b.udiv(first_output, number(b, block)))
        result = madd(b, result, s.tap_rows, b.mul(first_channel, s.window))
        result_ptr = b.gep(partial, kind, b.mul(result, number(b, block)))
        with b.loop(first_box, last_box) as number_of_box:
            box = Box(b, s, x_words, number_of_box.i)
            images = box.images
            channel = madd(b, group, s.channels, first_channel)
            place = madd(b, channel, x_words.stride_c, b.mul(box.first_image, x_words.stride_n))
            source = b.gep(x, kind, place)
            as_it_is = b.gep(x, kind, b.add(place, box.corner()))
            fill, filled = b.fresh("fill"), b.fresh("filled")
            before = b.block
            b.cond_br(b.icmp("ne", s.laid_out, zero), fill, filled)
            b.label(fill)
            lay_out(b, kind, width, source, slot, box.layout(channels), images)
            after = b.block
            b.label(filled)
            base = b.fresh("base")
            b.line(f"%{base} = phi ptr [ {as_it_is}, %{before} ], [ {slot}, %{after} ]")
            channel = madd(b, group, s.outputs, first_output)
            place = madd(b, channel, g_words.stride_c, madd(b, box.first_image, g_words.stride_n, box.corner(g_words)))
            source = b.gep(g, kind, place)
            sizes = {f"size_{axis}": count for axis, count in box.count.items()}
            g_box = Chosen(g_words, channels=outputs, **sizes)
            if wide:
                with b.loop(0, outputs, block) as o:
                    there = clamp_high(b, number(b, block), b.sub(outputs, o.i))
                    first = b.gep(source, kind, b.mul(o.i, g_words.stride_c))
                    block_lines = b.gep(g_lines, kind, b.mul(o.i, g_words.plane))
                    _lay_across(b, kind, width, block, first, block_lines, g_box, images, there)
            else:
                lay_out(b, kind, width, source, g_lines, g_box, images)
            places = box.places(s.depth)
            stretch_places = NEAR_BYTES // (block * kind_bytes(kind))
            with b.loop(0, places, stretch_places) as stretch:
                stop = clamp_high(b, b.add(stretch.i, number(b, stretch_places)), places)
                begins = b.and_(b.icmp("eq", number_of_box.i, first_box), b.icmp("eq", stretch.i, zero))
                with b.loop(0, outputs, block) as o, b.loop(0, taps, across) as k:
                    reads = []
                    for c in range(across):
                        tap = clamp_high(b, b.add(k.i, number(b, c)), b.sub(taps, one))
                        reads.append(b.gep(f"%{base}", kind, b.load(b.gep(offsets, "i64", tap), "i64", width=1)))
                    target = madd(b, o.i, s.tap_rows, b.mul(k.i, number(b, block)))
                    target_ptr = b.gep(result_ptr, kind, target)
                    if wide:
                        lines = madd(b, o.i, g_words.plane, b.mul(stretch.i, number(b, block)))
                        pointers = [b.gep(g_lines, kind, lines), *(b.gep(r, kind, stretch.i) for r in reads)]
                        count = b.sub(stop, stretch.i)
                        b.call("wide", None, [*(f"ptr {p}" for p in pointers), count, f"ptr {target_ptr}", begins])
                    else:
                        last = b.sub(b.sub(outputs, one), o.i)
                        rows = []
                        for r in range(block):
                            place = b.add(o.i, clamp_high(b, number(b, r), last)) if r else o.i
                            rows.append(b.gep(g_lines, kind, b.mul(place, g_words.plane)))
                        sums = [_across(b, v) for v in _tile(b, kind, width, rows, reads, stretch.i, stop)]
                        _add_tile(b, kind, sums, block, target_ptr, begins)
    return module.text()


def _tile(b: Builder, kind: str, width: int, rows: list, reads: list, start: Reg, stop: Reg) -> list[list[Reg]]:
    """For each tap the vectors of sums of the outputs, over places from start to stop."""
    with b.at_width(width):
        whole = b.add(start, b.and_(b.sub(stop, start), number(b, -width)))
        empty = [b.const(kind, 0) for _ in range(len(rows) * len(reads))]

        def grow(i: Reg, sums: list, load: object) -> list:
            xs = [load(b.gep(p, kind, i)) for p in reads]  # type: ignore[operator]
            found = [[None] * len(rows) for _ in reads]
            for r, row in enumerate(rows):
                v = load(b.gep(row, kind, i))  # type: ignore[operator]
                for c, xv in enumerate(xs):
                    found[c][r] = b.fma(v, xv, sums[c * len(rows) + r])
            return [v for column in found for v in column]

        with b.loop(start, whole, width, empty) as p:
            p.next(*grow(p.i, p.values, lambda ptr: b.load(ptr, kind)))
        sums = list(p.values)
        rest = b.sub(stop, whole)
        before, yes, done = b.block, b.fresh("rest"), b.fresh("summed")
        b.cond_br(b.icmp("ne", rest, number(b, 0)), yes, done)
        b.label(yes)
        mask = lanes_below(b, rest, width, kind)
        more = grow(whole, sums, lambda ptr: masked_load(b, ptr, kind, mask))
        after = b.block
        b.label(done)
        sums = [b.phi(kind, [(u, before), (v, after)]) for u, v in zip(sums, more)]
    n = len(rows)
    return [sums[c * n : (c + 1) * n] for c in range(len(reads))]


def _across(b: Builder, vectors: list[Reg]) -> list[Reg]:
    """The sum of each vector's lanes, as the lanes of one vector or of several, in order."""
    segment = vectors[0].width
    while segment > 1:
        half = segment // 2
        joined = []
        pairs = list(zip(vectors[::2], vectors[1::2])) if len(vectors) > 1 else [(vectors[0], None)]
        for u, v in pairs:
            lanes = u.width * (1 if v is None else 2)
            low = [i + j for i in range(0, lanes, segment) for j in range(half)]
            joined.append(b.fadd(b.shuffle(u, v, low), b.shuffle(u, v, [i + half for i in low])))
        vectors, segment = joined, half
    return vectors


def _add_tile(b: Builder, kind: str, sums: list[list[Reg]], block: int, target: str, begins: Reg) -> None:
    """Write a tile's sums, or add them to what is there unless this `begins`."""
    for c, column in enumerate(sums):
        at = 0
        for v in column:
            place = b.gep(target, kind, c * block + at)
            with b.at_width(v.width):
                held = b.load(place, kind)
                b.store(b.select(begins, v, b.fadd(held, v)), place)
            at += v.width


# --- the wide form ----------------------------------------------------------------------------------------------


def _lay_across(
    b: Builder, kind: str, width: int, block: int, g: str, target: str, s: Chosen, images: Reg, there: Reg
) -> None:
    """Write `block` channels of `g`, of which `there` exist, with channels next to each other: [place, channel].

    Places between rows and missing channels are zeros. Behind the last place there must be room for a square.
    """
    zero = number(b, 0)
    with b.loop(0, images) as image, b.loop(0, s.rows_d) as d, b.loop(0, s.rows_h) as h:
        inside = b.and_(b.icmp("ult", d.i, s.size_d), b.icmp("ult", h.i, s.size_h))
        count = b.select(inside, s.size_w, zero)
        source = madd(b, d.i, s.stride_d, madd(b, h.i, s.stride_h, b.mul(image.i, s.stride_n)))
        row = madd(b, madd(b, d.i, s.rows_h, h.i), s.pitch, b.mul(image.i, s.image))
        all_there = b.icmp("sge", there, number(b, block))
        whole = b.select(all_there, b.and_(count, number(b, -width)), zero)

        def square(at: Reg, first: int, lines: list[Reg]) -> None:
            for lane, v in enumerate(transposed(b, lines)):
                place = b.add(b.add(row, at), number(b, lane))
                b.store(v, b.gep(target, kind, b.add(b.mul(place, number(b, block)), number(b, first))))

        with b.loop(0, whole, width) as j, b.at_width(width):
            start = b.add(source, j.i)
            for first in range(0, block, width):
                places = [madd(b, s.stride_c, number(b, c), start) for c in range(first, first + width)]
                square(j.i, first, [b.load(b.gep(g, kind, at), kind) for at in places])
        with b.loop(whole, s.pitch, width) as j:
            mask = lanes_below(b, b.sub(count, j.i), width, kind)
            start = b.add(source, j.i)
            for first in range(0, block, width):
                lines = []
                for c in range(first, first + width):
                    exists = b.icmp("sgt", there, number(b, c))
                    with b.at_width(width):
                        seen = b.and_(mask, b.splat(exists))
                    at = madd(b, s.stride_c, b.select(exists, number(b, c), zero), start)
                    lines.append(masked_load(b, b.gep(g, kind, at), kind, seen))
                square(j.i, first, lines)


def define_wide_tile(module: Module, kind: str, block: int, across: int) -> None:
    """Define `@wide`: add the products of `across` taps and `block` outputs, over %count places, to %target.

    It is a function of its own so that the sums have the registers to themselves. With %begins, %target is written.
    """
    width = vector_width(kind)
    reads = [f"%x{c}" for c in range(across)]
    parameters = [("ptr noalias readonly", "%lines"), *(("ptr noalias readonly", r) for r in reads)]
    parameters += [("i64", "%count"), ("ptr noalias", "%target"), ("i1", "%begins")]
    b = module.function("wide", parameters, width, kernel=False)
    n = block // width
    empty = [b.const(kind, 0) for _ in range(n * across)]
    with b.loop(0, Reg("%count", "i64"), 1, empty) as p:
        here = b.gep("%lines", kind, b.mul(p.i, number(b, block)))
        g = [b.load(b.gep(here, kind, i * width), kind) for i in range(n)]
        sums = []
        for c, read in enumerate(reads):
            x = b.splat(b.load(b.gep(read, kind, p.i), kind, width=1))
            sums += [b.fma(x, v, p.values[c * n + i]) for i, v in enumerate(g)]
        p.next(*sums)
    sums_by_tap = [p.values[c * n : (c + 1) * n] for c in range(across)]
    _add_tile(b, kind, sums_by_tap, block, "%target", Reg("%begins", "i1"))


ORDER_POINTERS = ("weight", "table", "out")
ORDER_WORDS = (
    "chunks", "chunk", "blocks", "outputs", "taps", "stride_group", "stride_out", "run", "falling"
)  # fmt: skip


def order_source(kind: str, block: int) -> str:
    """LLVM IR that writes a weight as `forward_source` reads it: [group, chunk, block, tap, channel of the block].

    A work item is a chunk of a group, of `chunk` taps. table: for each tap its place in the weight of one output. The
    places of so many taps as `run` says follow each other, upwards or `falling`; those of a run are turned by squares.
    Missing channels of the last block are zeros. Arguments: ORDER_POINTERS, ORDER_WORDS.
    """
    module = Module("cpu")
    b = module.function(NAME, SIGNATURE)
    args = Arguments(b)
    weight, table, out = (args.pointer() for _ in ORDER_POINTERS)
    s = Words(b, args, ORDER_WORDS)
    falls = b.icmp("ne", s.falling, number(b, 0))
    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item, b.loop(0, s.blocks) as blk:
        chunk, group = split(b, item.i, s.chunks)
        first_tap = b.mul(chunk, s.chunk)
        taps = clamp_high(b, s.chunk, b.sub(s.taps, first_tap))
        first = b.mul(blk.i, number(b, block))
        source = b.gep(weight, kind, madd(b, group, s.stride_group, b.mul(first, s.stride_out)))
        place = madd(b, madd(b, group, s.taps, first_tap), s.blocks, b.mul(blk.i, taps))
        target = b.gep(out, kind, b.mul(place, number(b, block)))
        of_chunk = b.gep(table, "i64", first_tap)
        count = b.sub(s.outputs, first)
        # An output that is not there reads the block's first, and has a zero written.
        there = [b.icmp("sgt", count, number(b, o)) for o in range(block)]
        rows = [
            b.gep(source, kind, b.mul(s.stride_out, b.select(is_there, number(b, o), number(b, 0))))
            for o, is_there in enumerate(there)
        ]

        def one_by_one(first: Reg, last: Reg) -> None:
            # Those of a tap lie near each other where the weight is turned: so they are taken together.
            with b.loop(first, last) as k:
                tap = b.load(b.gep(of_chunk, "i64", k.i), "i64", width=1)
                place = b.gep(target, kind, b.mul(k.i, number(b, block)))
                for o, row in enumerate(rows):
                    v = b.load(b.gep(row, kind, tap), kind, width=1)
                    b.store(b.select(there[o], v, b.const(kind, 0, 1)), b.gep(place, kind, o))

        def square(first: Reg) -> None:
            """`block` taps of a run, from the first on, of as many outputs."""
            last = b.add(first, number(b, block - 1))
            lowest = b.load(b.gep(of_chunk, "i64", b.select(falls, last, first)), "i64", width=1)
            with b.at_width(block):
                zeros = b.const(kind, 0)
                lines = [
                    b.select(b.splat(is_there), b.load(b.gep(row, kind, lowest), kind), zeros)
                    for row, is_there in zip(rows, there)
                ]
                for t, line in enumerate(transposed(b, lines)):
                    tap = b.select(falls, b.sub(last, number(b, t)), b.add(first, number(b, t)))
                    b.store(line, b.gep(target, kind, b.mul(tap, number(b, block))))

        def side_by_side() -> None:
            """Outputs that are adjacent in the weight."""
            present = lanes_below(b, count, block, kind)
            with b.loop(0, taps) as k, b.at_width(block):
                tap = b.load(b.gep(of_chunk, "i64", k.i), "i64", width=1)
                v = masked_load(b, b.gep(source, kind, tap), kind, present)
                b.store(v, b.gep(target, kind, b.mul(k.i, number(b, block))))

        def by_runs() -> None:
            with b.loop(0, taps, s.run) as run:
                end = clamp_high(b, b.add(run.i, s.run), taps)
                whole = b.add(run.i, b.and_(b.sub(end, run.i), number(b, -block)))
                with b.loop(run.i, whole, block) as k:
                    square(k.i)
                one_by_one(whole, end)

        if block < 4:
            one_by_one(number(b, 0), taps)
        else:
            adjacent, apart, done = b.fresh("adjacent"), b.fresh("apart"), b.fresh("ordered")
            b.cond_br(b.icmp("eq", s.stride_out, number(b, 1)), adjacent, apart)
            b.label(adjacent)
            side_by_side()
            b.br(done)
            b.label(apart)
            by_runs()
            b.br(done)
            b.label(done)
    return module.text()
