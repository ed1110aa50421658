"""Convolution with a window of 3 x 3 in fewer multiplications: Winograd's F(2 x 2, 3 x 3).

The result is cut into tiles of 2 x 2 places, each of which depends on 4 x 4 places of the input. With the matrices

    B' = 1  0 -1  0      G = 1   0   0      A' = 1  1  1  0
         0  1  1  0          1/2  1/2 1/2        0  1 -1 -1
         0 -1  1  0          1/2 -1/2 1/2
         0  1  0 -1          0   0   1

a tile is A' [ sum over channels of (G w G') * (B' x B) ] A, where * multiplies place by place: 16 products for 36. So
there are 16 products of matrices, of weights and tiles, which take nearly all of the time. (A. Lavin and S. Gray, Fast
Algorithms for Convolutional Neural Networks, 2016.)

Infinities and NaN would spread over a tile, and sums of large numbers overflow; so what finds a result that is not
finite says so, and the convolution is then done the other way.
"""

from __future__ import annotations

from collections.abc import Callable

from .conv import UNROLLED, between, define_tile, packed_row, tile_sizes
from .conv_layout import (
    SIGNATURE,
    Words,
    clamp_high,
    gather_lanes,
    lanes_below,
    madd,
    number,
    scratch_slot,
    split,
    vector_width,
)  # fmt: skip
from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg

EDGE = 4  # places of a tile's input, along each dimension
PRODUCTS = EDGE * EDGE

WEIGHT_POINTERS = ("weight", "out")
WEIGHT_WORDS = (
    "blocks", "outputs", "channels", "stride_group", "stride_out", "stride_in", *(f"tap_{k}" for k in range(9))
)  # fmt: skip

FORWARD_POINTERS = ("x", "weight", "bias", "out", "scratch", "not_finite")
FORWARD_WORDS = (
    "slots", "slot_bytes", "sums_at", "step", "sums_step", "groups", "parts", "blocks_per_part", "blocks", "outputs",
    "channels", "chunk", "tiles", "tiles_h", "tiles_w", "stride_n", "stride_c", "stride_h", "size_h", "size_w",
    "pad_h", "pad_w", "out_stride_n", "out_stride_c", "out_stride_h", "out_h", "out_w",
)  # fmt: skip


# --- the weight ---------------------------------------------------------------------------------------------------


def weight_source(kind: str, block: int) -> str:
    """LLVM IR of G w G', as `forward_source` reads it: [group, product, block, channel, output of the block].

    A work item is a block of outputs of a group; missing outputs of the last one are zeros. tap_k: where tap k (row by
    row, as the input is read) is in the weight of one output and channel. Arguments: WEIGHT_POINTERS, WEIGHT_WORDS.
    """
    module = Module("cpu")
    b = module.function(NAME, SIGNATURE, block)
    args = Arguments(b)
    weight, out = (args.pointer() for _ in WEIGHT_POINTERS)
    s = Words(b, args, WEIGHT_WORDS)
    half = b.const(kind, 0.5)

    def transformed(x: list[Reg]) -> list[Reg]:
        """G x."""
        ends = b.fadd(x[0], x[2])
        return [x[0], b.fmul(half, b.fadd(ends, x[1])), b.fmul(half, b.fsub(ends, x[1])), x[2]]

    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item:
        blk, group = split(b, item.i, s.blocks)
        first = b.mul(blk, number(b, block))
        present = lanes_below(b, b.sub(s.outputs, first), block, kind)
        source = b.gep(weight, kind, madd(b, group, s.stride_group, b.mul(first, s.stride_out)))
        rows = b.mul(b.iota("i64"), b.splat(s.stride_out))
        with b.loop(0, s.channels) as c:
            here = b.gep(source, kind, b.mul(c.i, s.stride_in))
            taps = [gather_lanes(b, kind, b.gep(here, kind, getattr(s, f"tap_{k}")), rows, present) for k in range(9)]
            columns = [transformed([taps[i * 3 + j] for i in range(3)]) for j in range(3)]
            for i in range(EDGE):
                for j, value in enumerate(transformed([column[i] for column in columns])):
                    product = madd(b, group, number(b, PRODUCTS), number(b, i * EDGE + j))
                    place = madd(b, madd(b, product, s.blocks, blk), s.channels, c.i)
                    b.store(value, b.gep(out, kind, b.mul(place, number(b, block))))
    return module.text()


# --- the convolution ----------------------------------------------------------------------------------------------


def forward_source(kind: str, block: int, vectors: int) -> str:
    """LLVM IR of out = conv(x, weight) + bias, `block` outputs and `vectors` vectors of tiles at a time.

    A work item is (as many tiles as `vectors` hold, group, part of the output channels). Tiles are counted over all
    images, row by row. weight: as `weight_source` writes it. A slot has a row of zeros for the rows of the input that
    are padding; for each product and channel of a `chunk` the tiles, `step` elements from product to product; and from
    byte sums_at on the sums for each product and output, sums_step apart. Rows of the input and of the result are
    contiguous. not_finite: a word that is set where a result is not. Arguments: FORWARD_POINTERS, FORWARD_WORDS.
    """
    module = Module("cpu")
    width = vector_width(kind)
    tile, row = vectors * width, packed_row(kind, vectors)
    for n in tile_sizes(vectors):
        define_tile(module, kind, block, n, row, UNROLLED if n == vectors else 1, False)
    b = module.function(NAME, SIGNATURE, width)
    args = Arguments(b)
    x, weight, bias, out, scratch, not_finite = (args.pointer() for _ in FORWARD_POINTERS)
    s = Words(b, args, FORWARD_WORDS)
    zero = number(b, 0)
    with (
        scratch_slot(b, scratch, s.slots, s.slot_bytes) as slot,
        b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item,
    ):
        made, sums = put_zeros(b, kind, slot), b.gep(slot, "i8", s.sums_at)
        part, rest = split(b, item.i, s.parts)
        group, run = split(b, rest, s.groups)
        first = b.mul(run, number(b, tile))
        count = clamp_high(b, number(b, tile), b.sub(s.tiles, first))
        first_block = b.mul(part, s.blocks_per_part)
        blocks_here = clamp_high(b, s.blocks_per_part, b.sub(s.blocks, first_block))
        source = b.gep(x, kind, b.mul(b.mul(group, s.channels), s.stride_c))
        with b.loop(0, s.channels, s.chunk) as c:
            channels = clamp_high(b, s.chunk, b.sub(s.channels, c.i))
            read_tiles(b, kind, s, b.gep(source, kind, b.mul(c.i, s.stride_c)), channels, first, count, slot, made, row)
            fresh = b.icmp("eq", c.i, zero)
            with b.loop(0, PRODUCTS) as f, b.loop(0, blocks_here) as o:
                place = madd(b, madd(b, group, number(b, PRODUCTS), f.i), s.blocks, b.add(first_block, o.i))
                factors = b.gep(weight, kind, b.mul(madd(b, place, s.channels, c.i), number(b, block)))
                tiles = b.gep(made, kind, b.mul(f.i, s.step))
                target = b.gep(sums, kind, madd(b, f.i, s.sums_step, b.mul(o.i, number(b, block * tile))))
                fewer = 0
                for n in tile_sizes(vectors):
                    with b.when(between(b, count, fewer, n, width)):
                        pointers = [f"ptr {p}" for p in (tiles, factors, scratch, scratch)]
                        steps = [zero, zero, zero, channels]
                        b.call(f"tile.{n}", None, [*pointers, *steps, f"ptr {target}", number(b, tile), fresh])
                    fewer = n
        first_output = b.mul(first_block, number(b, block))
        many = clamp_high(b, b.mul(blocks_here, number(b, block)), b.sub(s.outputs, first_output))
        channel = madd(b, group, s.outputs, first_output)
        _write_tiles(b, kind, s, sums, tile, first, count, channel, many, bias, out, not_finite)
    return module.text()


def put_zeros(b: Builder, kind: str, slot: str) -> str:
    """Begin a slot with a row of zeros, as long as what a vector of tiles reads of one row; what follows it."""
    length = 4 * vector_width(kind)
    for at in range(0, length, vector_width(kind)):
        b.store(b.const(kind, 0), b.gep(slot, kind, at))
    return b.gep(slot, kind, length)


def every_second(b: Builder, kind: str, row: str, masks: list[Reg]) -> tuple[Reg, Reg]:
    """Two vectors of a row, where their masks hold, as one of the even and one of the odd places."""
    width = vector_width(kind)
    pair = [b.load_some(b.gep(row, kind, k * width), kind, mask) for k, mask in enumerate(masks)]
    return b.shuffle(*pair, range(0, 2 * width, 2)), b.shuffle(*pair, range(1, 2 * width, 2))


def segments(b: Builder, s: Words, first: Reg, count: Reg, width: int, visit: Callable) -> None:
    """Go through `count` tiles from the first one on, by the vector; rows of tiles start with a vector of their own.

    visit(place among them, how many, image, row, column)
    """
    end = b.add(first, count)
    last_row = b.udiv(b.sub(end, number(b, 1)), s.tiles_w)
    with b.loop(b.udiv(first, s.tiles_w), b.add(last_row, number(b, 1))) as r:
        start = b.mul(r.i, s.tiles_w)
        high = b.smin(end, b.add(start, s.tiles_w))
        row, image = split(b, r.i, s.tiles_h)
        with b.loop(b.smax(first, start), high, width) as t:
            some = clamp_high(b, number(b, width), b.sub(high, t.i))
            visit(b.sub(t.i, first), some, image, row, b.sub(t.i, start))


def read_tiles(
    b: Builder, kind: str, s: Words, x: str, channels: Reg, first: Reg, count: Reg, zeros: str, out: str, row: int
) -> None:
    """Write B' x B of `count` tiles of some channels: [product, channel, tile], `row` elements for a channel.

    x: the first of the channels, of all images. Vectors may go over the end of what is written, by less than one.
    """
    width = vector_width(kind)
    zero, two = number(b, 0), number(b, 2)

    def visit(place: Reg, some: Reg, image: Reg, tile_row: Reg, column: Reg) -> None:
        left = b.sub(b.mul(column, two), s.pad_w)
        # Of the places from `left` on those that exist: `before` of them do not, and those from `after` on.
        before, after = b.sub(zero, left), b.sub(s.size_w, left)
        masks = []
        for shift in (0, width, 2, width + 2):
            far = number(b, shift)
            high = lanes_below(b, b.sub(after, far), width, kind)
            low = lanes_below(b, b.sub(before, far), width, kind)
            masks.append(b.and_(high, b.not_(low)))
        lines = []
        for i in range(EDGE):
            at = b.add(b.sub(b.mul(tile_row, two), s.pad_h), number(b, i))
            inside = b.icmp("ult", at, s.size_h)
            there = b.gep(x, kind, madd(b, image, s.stride_n, madd(b, at, s.stride_h, left)))
            line = b.fresh("line")
            b.line(f"%{line} = select i1 {inside.name}, ptr {there}, ptr {zeros}")
            # Zeros are read in all lanes that are, so their row may start anywhere.
            moved = b.select(inside, zero, b.smax(before, zero))
            lines.append((b.gep(f"%{line}", kind, b.neg(moved)), b.select(inside, s.stride_c, zero)))
        target = b.gep(out, kind, place)
        with b.loop(0, channels) as c:
            rows = []
            for line, step in lines:
                here = b.gep(line, kind, b.mul(c.i, step))
                d = [*every_second(b, kind, here, masks[:2]), *every_second(b, kind, b.gep(here, kind, 2), masks[2:])]
                rows.append(_differences(b, d))
            for j in range(EDGE):
                for i, value in enumerate(_differences(b, [r[j] for r in rows])):
                    at = madd(b, s.step, number(b, i * EDGE + j), b.mul(c.i, number(b, row)))
                    b.store(value, b.gep(target, kind, at))

    segments(b, s, first, count, width, visit)


def _differences(b: Builder, d: list[Reg]) -> list[Reg]:
    """B' d."""
    return [b.fsub(d[0], d[2]), b.fadd(d[1], d[2]), b.fsub(d[2], d[1]), b.fsub(d[1], d[3])]


def _write_tiles(
    b: Builder, kind: str, s: Words, sums: str, tile: int, first: Reg, count: Reg, channel: Reg, many: Reg, bias: str,
    out: str, not_finite: str,
) -> None:  # fmt: skip
    """Write A' m A + bias of `count` tiles, for `many` outputs from `channel` on."""
    width = vector_width(kind)
    one, two = number(b, 1), number(b, 2)
    low = [i // 2 + i % 2 * width for i in range(width)]
    high = [i + width // 2 for i in low]

    def collected(m: list[Reg]) -> list[Reg]:
        """A' m."""
        return [b.fadd(b.fadd(m[0], m[1]), m[2]), b.fsub(b.fsub(m[1], m[2]), m[3])]

    def visit(place: Reg, some: Reg, image: Reg, tile_row: Reg, column: Reg) -> None:
        top, left = b.mul(tile_row, two), b.mul(column, two)
        across = clamp_high(b, b.mul(some, two), b.sub(s.out_w, left))
        second = b.icmp("slt", b.add(top, one), s.out_h)
        whole = b.and_(b.icmp("eq", across, number(b, 2 * width)), second)
        masks = [lanes_below(b, across, width, kind), lanes_below(b, b.sub(across, number(b, width)), width, kind)]
        below = [b.and_(m, b.splat(second)) for m in masks]
        corner = madd(b, image, s.out_stride_n, madd(b, top, s.out_stride_h, left))
        source = b.gep(sums, kind, place)

        def each(masked: bool) -> None:
            with b.loop(0, many, 1, [b.const(kind, 0)]) as k:
                here = b.gep(source, kind, b.mul(k.i, number(b, tile)))
                m = [b.load(b.gep(here, kind, b.mul(s.sums_step, number(b, f))), kind) for f in range(PRODUCTS)]
                columns = [collected([m[i * EDGE + j] for i in range(EDGE)]) for j in range(EDGE)]
                at = b.add(channel, k.i)
                added = b.splat(b.load(b.gep(bias, kind, at), kind, width=1))
                lines = b.gep(out, kind, madd(b, at, s.out_stride_c, corner))
                seen = k.values[0]
                for i in range(2):
                    pair = [b.fadd(y, added) for y in collected([column[i] for column in columns])]
                    line = b.gep(lines, kind, s.out_stride_h) if i else lines
                    for half, lanes in enumerate((low, high)):
                        y = b.shuffle(*pair, lanes)
                        target = b.gep(line, kind, half * width)
                        if masked:
                            mask = (below if i else masks)[half]
                            b.store_some(y, target, mask)
                            y = b.select(mask, y, b.const(kind, 0))
                        else:
                            b.store(y, target)
                        # Zero, or NaN once there was anything that is not finite.
                        seen = b.fma(y, b.const(kind, 0), seen)
                k.next(seen)
            with b.when(b.any(b.fcmp("uno", k.values[0], k.values[0]))):
                b.store(one, not_finite)

        full, partly, done = b.fresh("full"), b.fresh("partly"), b.fresh("written")
        b.cond_br(whole, full, partly)
        b.label(full)
        each(False)
        b.br(done)
        b.label(partly)
        each(True)
        b.label(done)

    segments(b, s, first, count, width, visit)
