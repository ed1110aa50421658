"""The kernel of convolution: products of shifted planes.

Everything a convolution can be (strides, dilation, padding, one to three dimensions, its gradient by the input, the
transposed convolution) is one loop once the input lies right, as `conv_layout` says; the code depends on the block of
outputs and the number of vectors only.

Where rows are short, so that many places between them would be computed for nothing, and there are many outputs to
share the work, what a tile reads is packed first: for each tap the places of the tile, next to each other. The sums of
an output are the same, in the same order, either way.
"""

from __future__ import annotations

from .conv_layout import (
    BOX_WORDS,
    LAYOUT_WORDS,
    SIGNATURE,
    Box,
    Words,
    clamp_high,
    lanes_below,
    lay_out,
    madd,
    masked_store,
    number,
    scratch_slot,
    split,
    vector_width,
)  # fmt: skip
from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg
from .layout import CHAIN

UNROLLED = 4  # taps of a round of the innermost loop

FORWARD_WORDS = (
    "slots", "slot_bytes", "pack_at", "lines_at", "laid_out", "groups", "parts", "blocks_per_part", "blocks", "outputs",
    "chunk", "window", "w_stride_group", "w_stride_out", "w_step", "x_step",
    "out_stride_n", "out_stride_c", "out_stride_d", "out_stride_h", "out_stride_w", "line",
    *BOX_WORDS,
)  # fmt: skip
FORWARD_POINTERS = ("x", "weight", "bias", "out", "offsets", "table", "scratch")


def forward_source(kind: str, block: int, vectors: int, packed: bool, in_place: bool) -> str:
    """LLVM IR of out = conv(x, weight) + bias, `block` output channels and `vectors` vectors of places at a time.

    A work item is (images, box of places, group, part of the output channels). It goes through the channels of the
    input by the `chunk`, through the places by the tile, and through the output channels: what a tile reads of the
    input stays in the nearest cache meanwhile, and the weights of the chunk and the sums in the next one.
    weight: [group, chunk, block, tap, channel of the block]; or `in_place`, in whole blocks, where few tiles read it:
    then `table` says where the taps of all channels are in the weight of one output, or where nothing is packed, those
    taps are w_step apart, and x_step in the input. offsets: of the taps of a chunk. pack_at, lines_at: bytes from a
    slot's start to what is packed, and to the sums, for each output channel of a part `line` elements, of which the
    first tile is not used. Arguments: FORWARD_POINTERS, FORWARD_WORDS, LAYOUT_WORDS.
    """
    module = Module("cpu")
    for n in tile_sizes(vectors):
        define_tile(
            module,
            kind,
            block,
            n,
            packed_row(kind, vectors) if packed else 0,
            UNROLLED if n == vectors else 1,
            in_place,
        )
    b = module.function(NAME, SIGNATURE)
    args = Arguments(b)
    x, weight, bias, out, offsets, table, scratch = (args.pointer() for _ in FORWARD_POINTERS)
    s, layout = Words(b, args, FORWARD_WORDS), Words(b, args, LAYOUT_WORDS)
    width = vector_width(kind)
    tile = width * vectors
    zero, no, yes = number(b, 0), b.const("i1", False, 1), b.const("i1", True, 1)
    with (
        scratch_slot(b, scratch, s.slots, s.slot_bytes) as slot,
        b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item,
    ):
        part, rest = split(b, item.i, s.parts)
        group, rest = split(b, rest, s.groups)
        box = Box(b, s, layout, rest)
        source = madd(b, b.mul(group, layout.channels), layout.stride_c, b.mul(box.first_image, layout.stride_n))
        lines = b.gep(b.gep(slot, "i8", s.lines_at), kind, tile)
        places = box.outputs() if packed else box.places(s.depth)
        first_block = b.mul(part, s.blocks_per_part)
        blocks_here = clamp_high(b, s.blocks_per_part, b.sub(s.blocks, first_block))
        weights = b.mul(b.mul(b.mul(group, layout.channels), s.window), s.blocks)

        def blocks(read: str, at: Reg, channel: Reg, count: Reg, n: int) -> None:
            """The tile of n vectors at a place, for all blocks; count: how many taps."""
            if in_place:
                whole = madd(b, group, s.w_stride_group, b.mul(b.mul(first_block, number(b, block)), s.w_stride_out))
                if not packed:
                    whole = madd(b, b.mul(channel, s.window), s.w_step, whole)
                w, step = b.gep(weight, kind, whole), s.w_stride_out
            else:
                first = madd(b, b.mul(channel, s.window), s.blocks, madd(b, first_block, count, weights))
                w, step = b.gep(weight, kind, b.mul(first, number(b, block))), count
            of_chunk = b.gep(table, "i64", b.mul(channel, s.window))
            fresh = b.icmp("eq", channel, zero)
            with b.loop(0, blocks_here) as o:
                here = b.gep(w, kind, b.mul(b.mul(o.i, step), number(b, block)))
                target = b.gep(lines, kind, madd(b, b.mul(o.i, s.line), number(b, block), at))
                pointers = [f"ptr {p}" for p in (read, here, offsets, of_chunk)]
                steps = [s.w_stride_out, s.w_step, s.x_step]
                b.call(f"tile.{n}", None, [*pointers, *steps, count, f"ptr {target}", s.line, fresh])

        def tiles(base: str, first: Reg, back: Reg, channel: Reg, count: Reg) -> None:
            """All tiles from a place on, the last one of as few vectors as it needs; `back`: not over the end."""
            with b.loop(first, places, tile) as q:
                left = clamp_high(b, b.sub(places, q.i), number(b, tile))
                if packed:
                    panel = b.gep(slot, "i8", s.pack_at)
                    _pack(b, kind, vectors, base, panel, offsets, count, q.i, left, box, s.depth)
                fewer = 0
                for n in tile_sizes(vectors):
                    some = between(b, left, fewer, n, width)
                    fewer = n
                    with b.when(some):
                        at = b.select(back, b.sub(places, number(b, n * width)), q.i)
                        blocks(panel if packed else b.gep(base, kind, at), at, channel, count, n)

        is_laid = b.icmp("ne", s.laid_out, zero)
        with b.loop(0, layout.channels, s.chunk) as c:
            channels = clamp_high(b, s.chunk, b.sub(layout.channels, c.i))
            count = b.mul(channels, s.window)
            place = madd(b, c.i, layout.stride_c, source)
            fill, plain, done = b.fresh("fill"), b.fresh("plain"), b.fresh("done")
            b.cond_br(is_laid, fill, plain)
            b.label(fill)
            lay_out(b, kind, width, b.gep(x, kind, place), slot, box.layout(channels), box.images)
            tiles(slot, zero, no, c.i, count)
            b.br(done)
            b.label(plain)
            if not packed:
                whole = b.sub(places, b.urem(places, number(b, tile)))
                read = b.gep(x, kind, b.add(place, box.corner()))
                with b.loop(0, whole, tile) as q:
                    blocks(b.gep(read, kind, q.i), q.i, c.i, count, vectors)
            b.label(done)
        if not packed:
            # Where the input serves as it is nothing may be read behind its end. So the last tile lies across the one
            # before, and comes after it, with all channels.
            with b.when(b.not_(is_laid)), b.loop(0, layout.channels, s.chunk) as c:
                count = b.mul(clamp_high(b, s.chunk, b.sub(layout.channels, c.i)), s.window)
                read = b.gep(x, kind, b.add(madd(b, c.i, layout.stride_c, source), box.corner()))
                tiles(read, b.sub(places, b.urem(places, number(b, tile))), yes, c.i, count)
        first_channel = b.mul(first_block, number(b, block))
        many = clamp_high(b, b.mul(blocks_here, number(b, block)), b.sub(s.outputs, first_channel))
        # How far images, planes and rows are from the next in a line, and how long a row is.
        image_step, depth, pitch, rows, row = layout.image, s.depth, layout.pitch, box.count["h"], box.count["w"]
        if packed:  # without a gap; where they are so in the result too, rows are one
            one_row = b.and_(b.icmp("eq", s.out_stride_h, row), b.icmp("eq", s.out_stride_w, number(b, 1)))
            pitch, depth = row, b.mul(rows, row)
            image_step = b.mul(box.count["d"], depth)
            rows, row = b.select(one_row, number(b, 1), rows), b.select(one_row, depth, row)
        with b.loop(0, many) as o:
            channel = b.add(madd(b, group, s.outputs, first_channel), o.i)
            added = b.load(b.gep(bias, kind, channel), kind, width=1)
            line = b.mul(o.i, s.line)
            with b.loop(0, box.images) as image, b.loop(0, box.count["d"]) as d, b.loop(0, rows) as h:
                start = madd(b, image.i, image_step, madd(b, d.i, depth, madd(b, h.i, pitch, line)))
                target = madd(b, b.add(box.first_image, image.i), s.out_stride_n, b.mul(channel, s.out_stride_c))
                for axis, moved in (("d", d.i), ("h", h.i), ("w", zero)):
                    target = madd(b, b.add(box.first[axis], moved), getattr(s, f"out_stride_{axis}"), target)
                _write_row(
                    b, kind, width, b.gep(lines, kind, start), b.gep(out, kind, target), added, row, s.out_stride_w
                )
    return module.text()


def packed_row(kind: str, vectors: int) -> int:
    """Elements from tap to tap of what is packed: a tile, and room for a vector that goes over its end."""
    return vector_width(kind) * (vectors + 1)


def _pack(
    b: Builder, kind: str, vectors: int, base: str, panel: str, offsets: str, taps: Reg, first: Reg, count: Reg,
    box: Box, depth: Reg,
) -> None:  # fmt: skip
    """Write what `count` outputs from the `first` one on read: for each tap their places, next to each other."""
    width = vector_width(kind)
    row, rows, planes = box.count["w"], box.count["h"], box.count["d"]
    end = b.add(first, count)
    last_row = b.udiv(b.sub(end, number(b, 1)), row)
    with b.loop(b.udiv(first, row), b.add(last_row, number(b, 1))) as r:
        start = b.mul(r.i, row)
        low, high = b.smax(first, start), b.smin(end, b.add(start, row))
        h, rest = split(b, r.i, rows)
        d, image = split(b, rest, planes)
        place = madd(b, image, box.whole.image, madd(b, d, depth, madd(b, h, box.whole.pitch, b.sub(low, start))))
        source, target = b.gep(base, kind, place), b.gep(panel, kind, b.sub(low, first))
        # Rows come in rising order: what goes over the end of one is written again.
        for n in range(1, vectors + 1):
            with b.when(between(b, b.sub(high, low), n - 1, n, width)), b.loop(0, taps) as k, b.at_width(width):
                read = b.gep(source, kind, b.load(b.gep(offsets, "i64", k.i), "i64", width=1))
                write = b.gep(target, kind, b.mul(k.i, number(b, packed_row(kind, vectors))))
                found = [b.load(b.gep(read, kind, v * width), kind) for v in range(n)]
                for v, x in enumerate(found):
                    b.store(x, b.gep(write, kind, v * width))


def tile_sizes(vectors: int) -> list[int]:
    """How many vectors tiles have: rising, each the half of the next."""
    return [*tile_sizes(-(-vectors // 2)), vectors] if vectors > 1 else [1]


def between(b: Builder, count: Reg, fewer: int, n: int, width: int) -> Reg:
    """Whether so many elements take more than `fewer` vectors, and no more than n."""
    return b.and_(b.icmp("sgt", count, number(b, fewer * width)), b.icmp("sle", count, number(b, n * width)))


def define_tile(module: Module, kind: str, block: int, vectors: int, step: int, unrolled: int, in_place: bool) -> None:
    """Define `@tile.n`: the sums of a tile, `block` lines of n = `vectors` vectors, added to %target, or written there.

    step: from tap to tap of what is packed; 0: the offsets say where they are. unrolled: taps of a round, a power of 2.
    in_place: %w.row from output to output, and the taps where the table says, or without a step, %w.step apart and
    %x.step in the input.

    It is a function of its own so that the sums have the registers to themselves: there is not one to spare, and
    a vector that the caller holds would cost the innermost loop a way through memory at each step.
    """
    width = vector_width(kind)
    parameters = [("ptr noalias readonly", f"%{name}") for name in ("x", "w", "offsets", "table")]
    parameters += [
        ("i64", "%w.row"),
        ("i64", "%w.step"),
        ("i64", "%x.step"),
        ("i64", "%taps"),
        ("ptr noalias", "%target"),
        ("i64", "%line"),
        ("i1", "%fresh"),
    ]
    b = module.function(f"tile.{vectors}", parameters, width, kernel=False)
    taps, line = Reg("%taps", "i64"), Reg("%line", "i64")
    w_row = Reg("%w.row", "i64")
    w_rows = [b.gep("%w", kind, b.mul(w_row, number(b, o))) for o in range(block)] if in_place else []
    with b.loop(0, taps, CHAIN) as chain:
        stop = clamp_high(b, b.add(chain.i, number(b, CHAIN)), taps)
        sums = [b.const(kind, 0) for _ in range(block * vectors)]

        def add(k: Reg, sums: list[Reg]) -> list[Reg]:
            if step or in_place:
                offset = b.mul(k, number(b, step) if step else Reg("%x.step", "i64"))
            else:
                offset = b.load(b.gep("%offsets", "i64", k), "i64", width=1)
            start = b.gep("%x", kind, offset)
            read = [b.load(b.gep(start, kind, v * width), kind) for v in range(vectors)]
            if in_place:
                packed = step != 0
                in_table = b.gep("%table", "i64", k)
                place = b.load(in_table, "i64", width=1) if packed else b.mul(k, Reg("%w.step", "i64"))
                weights = [b.gep(row, kind, place) for row in w_rows]
            else:
                together = b.gep("%w", kind, b.mul(k, number(b, block)))
                weights = [b.gep(together, kind, o) for o in range(block)]
            found = []
            for o in range(block):
                factor = b.splat(b.load(weights[o], kind, width=1))
                found += [b.fma(factor, read[v], sums[o * vectors + v]) for v in range(vectors)]
            return found

        # A loop of few rounds, whose end the processor foresees.
        whole = b.sub(stop, b.and_(b.sub(stop, chain.i), number(b, unrolled - 1)))
        with b.loop(chain.i, whole, unrolled, sums) as k:
            sums = k.values
            for n in range(unrolled):
                sums = add(b.add(k.i, number(b, n)), sums)
            k.next(*sums)
        sums = k.values
        if unrolled > 1:
            with b.loop(whole, stop, 1, sums) as k:
                k.next(*add(k.i, k.values))
            sums = k.values
        places = []
        for o in range(block):
            row = b.gep("%target", kind, b.mul(line, number(b, o))) if o else "%target"
            places += [b.gep(row, kind, v * width) for v in range(vectors)]
        fresh, more, done = b.fresh("fresh"), b.fresh("more"), b.fresh("stored")
        b.cond_br(b.and_(Reg("%fresh", "i1"), b.icmp("eq", chain.i, number(b, 0))), fresh, more)
        b.label(fresh)
        for total, place in zip(sums, places):
            b.store(total, place)
        b.br(done)
        b.label(more)
        for total, place in zip(sums, places):
            b.store(b.fadd(b.load(place, kind), total), place)
        b.label(done)


def _write_row(b: Builder, kind: str, width: int, x: str, out: str, added: Reg, count: Reg, step: Reg) -> None:
    """out[j * step] = x[j] + added, for j below count."""
    plain, strided, done = b.fresh("plain"), b.fresh("strided"), b.fresh("written")
    b.cond_br(b.icmp("eq", step, number(b, 1)), plain, strided)
    b.label(plain)
    with b.at_width(width):
        many = b.splat(added)
        whole = b.and_(count, number(b, -width))
        with b.loop(0, whole, width) as j:
            b.store(b.fadd(b.load(b.gep(x, kind, j.i), kind), many), b.gep(out, kind, j.i))
        rest = b.sub(count, whole)
        with b.when(b.icmp("ne", rest, number(b, 0))):
            across, part, end = b.fresh("across"), b.fresh("part"), b.fresh("end")
            b.cond_br(b.icmp("ne", whole, number(b, 0)), across, part)
            b.label(across)  # the last vector lies across the one before: masked stores are slow on some processors
            at = b.sub(count, number(b, width))
            b.store(b.fadd(b.load(b.gep(x, kind, at), kind), many), b.gep(out, kind, at))
            b.br(end)
            b.label(part)
            v = b.fadd(b.load(x, kind), many)
            masked_store(b, v, out, lanes_below(b, rest, width, kind))
            b.label(end)
    b.br(done)
    b.label(strided)
    with b.loop(0, count) as j:
        v = b.load(b.gep(x, kind, j.i), kind, width=1)
        b.store(b.fadd(v, added), b.gep(out, kind, b.mul(j.i, step)))
    b.label(done)
