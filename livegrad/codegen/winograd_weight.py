"""The gradient of a 3 x 3 convolution by its weight in fewer multiplications: Winograd's F(3 x 3, 2 x 2).

The result of the convolution is cut into tiles of 2 x 2 places, as in `winograd`, whose B' this shares. With

    G = 1    0       A' = 1  1  1  0
        1/2  1/2          0  1 -1  0
        1/2 -1/2          0  1  1  1
        0   -1

the gradient is A' [ sum over tiles of (G g G') * (B' x B) ] A, where g is a tile of the result's gradient: 16 products
for 36. So there are 16 products of matrices, of outputs and channels, summed over tiles.
"""

from __future__ import annotations

from .conv import packed_row
from .conv_layout import (
    SIGNATURE,
    Words,
    clamp_high,
    lanes_below,
    madd,
    number,
    scratch_slot,
    split,
    vector_width,
)  # fmt: skip
from .conv_weight import define_wide_tile
from .elementwise import NAME, Arguments
from .ir import Builder, Module, Reg
from .product import transposed
from .winograd import EDGE, PRODUCTS, every_second, put_zeros, read_tiles, segments

GRADIENT_POINTERS = ("x", "g", "partial", "scratch")
GRADIENT_WORDS = (
    "slots", "slot_bytes", "g_at", "step", "g_step", "chunk_runs", "runs", "groups", "parts", "outputs_per_part",
    "outputs", "channel_parts", "channels_per_part", "channels", "blocks", "rows",
    "tiles", "tiles_h", "tiles_w", "stride_n", "stride_c", "stride_h", "size_h", "size_w", "pad_h", "pad_w",
    "g_stride_n", "g_stride_c", "g_stride_h", "g_h", "g_w",
)  # fmt: skip
FINISH_POINTERS = ("partial", "out")
FINISH_WORDS = ("chunks", "groups", "blocks", "rows", "channels")


def gradient_source(kind: str, vectors: int, across: int) -> str:
    """LLVM IR of the 16 sums of products, `across` channels at a time, of runs of `vectors` vectors of tiles.

    A work item is (chunk of runs, group, part of the outputs, part of the channels); parts are multiples of a block of
    outputs, two vectors, and of `across`. partial: [chunk, group, product, block, channel, output of the block], with
    `rows` channels, a multiple of `across`. A slot has a row of zeros; the tiles of x [product, channel, tile], `step`
    elements from product to product; from byte g_at on those of g, [product, block, tile, output], g_step apart, and
    behind them room for four squares of vectors. Arguments: GRADIENT_POINTERS, GRADIENT_WORDS.
    """
    module = Module("cpu")
    width = vector_width(kind)
    block, run, row = 2 * width, vectors * width, packed_row(kind, vectors)
    define_wide_tile(module, kind, block, across)
    b = module.function(NAME, SIGNATURE, width)
    args = Arguments(b)
    x, g, partial, scratch = (args.pointer() for _ in GRADIENT_POINTERS)
    s = Words(b, args, GRADIENT_WORDS)
    one = number(b, 1)
    with (
        scratch_slot(b, scratch, s.slots, s.slot_bytes) as slot,
        b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item,
    ):
        of_x, of_g = put_zeros(b, kind, slot), b.gep(slot, "i8", s.g_at)
        channel_part, rest = split(b, item.i, s.channel_parts)
        part, rest = split(b, rest, s.parts)
        group, chunk = split(b, rest, s.groups)
        first_output = b.mul(part, s.outputs_per_part)
        outputs = clamp_high(b, s.outputs_per_part, b.sub(s.outputs, first_output))
        first_channel = b.mul(channel_part, s.channels_per_part)
        channels = clamp_high(b, s.channels_per_part, b.sub(s.channels, first_channel))
        source = b.gep(x, kind, b.mul(madd(b, group, s.channels, first_channel), s.stride_c))
        gradients = b.gep(g, kind, b.mul(madd(b, group, s.outputs, first_output), s.g_stride_c))
        first_run = b.mul(chunk, s.chunk_runs)
        last_run = clamp_high(b, b.add(first_run, s.chunk_runs), s.runs)
        products = b.mul(madd(b, chunk, s.groups, group), number(b, PRODUCTS))
        first_block = b.udiv(first_output, number(b, block))
        with b.loop(first_run, last_run) as r:
            first = b.mul(r.i, number(b, run))
            count = clamp_high(b, number(b, run), b.sub(s.tiles, first))
            begins = b.icmp("eq", r.i, first_run)
            read_tiles(b, kind, s, source, channels, first, count, slot, of_x, row)
            _read_gradient(b, kind, s, gradients, outputs, first, count, of_g, row)
            with b.loop(0, PRODUCTS) as f, b.loop(0, outputs, block) as o, b.loop(0, channels, across) as c:
                lines = b.gep(of_g, kind, madd(b, f.i, s.g_step, b.mul(o.i, number(b, row))))
                tiles = b.gep(of_x, kind, b.mul(f.i, s.step))
                last = b.sub(channels, one)
                reads = [
                    b.gep(tiles, kind, b.mul(clamp_high(b, b.add(c.i, number(b, k)), last), number(b, row)))
                    for k in range(across)
                ]
                at = madd(b, b.add(products, f.i), s.blocks, b.add(first_block, b.udiv(o.i, number(b, block))))
                place = madd(b, at, s.rows, b.add(first_channel, c.i))
                target = b.gep(partial, kind, b.mul(place, number(b, block)))
                b.call("wide", None, [*(f"ptr {p}" for p in (lines, *reads)), count, f"ptr {target}", begins])
    return module.text()


def _read_gradient(
    b: Builder, kind: str, s: Words, g: str, outputs: Reg, first: Reg, count: Reg, out: str, row: int
) -> None:
    """Write G g G' of `count` tiles of some outputs: [product, block, tile, output of the block].

    Outputs that do not exist are zeros. g: the first of the outputs, of all images.
    """
    width = vector_width(kind)
    block = 2 * width
    zero, one, two = number(b, 0), number(b, 1), number(b, 2)
    squares = b.gep(out, kind, b.mul(s.g_step, number(b, PRODUCTS)))
    half = b.const(kind, 0.5)

    def transformed(y: list[Reg]) -> list[Reg]:
        """G y."""
        return [y[0], b.fmul(half, b.fadd(*y)), b.fmul(half, b.fsub(*y)), b.fneg(y[1])]

    def visit(place: Reg, some: Reg, image: Reg, tile_row: Reg, column: Reg) -> None:
        top, left = b.mul(tile_row, two), b.mul(column, two)
        second = b.icmp("slt", b.add(top, one), s.g_h)
        masks = [lanes_below(b, b.sub(s.g_w, b.add(left, number(b, k * width))), width, kind) for k in range(2)]
        corner = b.gep(g, kind, madd(b, image, s.g_stride_n, madd(b, top, s.g_stride_h, left)))
        # The part has whole blocks of outputs in `out`, of which the last may be missing.
        whole = b.mul(b.udiv(b.add(outputs, number(b, block - 1)), number(b, block)), number(b, block))
        with b.loop(0, whole, width) as o:
            planes: list[list[Reg]] = [[] for _ in range(4)]
            for k in range(width):
                output = b.add(o.i, number(b, k))
                exists = b.icmp("slt", output, outputs)
                line = b.gep(corner, kind, b.mul(b.select(exists, output, zero), s.g_stride_c))
                for i, there in enumerate((exists, b.and_(exists, second))):
                    here = b.gep(line, kind, b.mul(s.g_stride_h, b.select(there, one, zero))) if i else line
                    seen = [b.and_(m, b.splat(there)) for m in masks]
                    for plane, v in zip(planes[2 * i :], every_second(b, kind, here, seen)):
                        plane.append(v)
            for n, plane in enumerate(planes):
                for t, v in enumerate(transposed(b, plane)):
                    b.store(v, b.gep(squares, kind, (n * width + t) * width))
            at = b.udiv(o.i, number(b, block))
            lanes = b.urem(o.i, number(b, block))
            target = b.gep(out, kind, madd(b, madd(b, at, number(b, row), place), number(b, block), lanes))
            with b.loop(0, some) as t:
                here = b.gep(squares, kind, b.mul(t.i, number(b, width)))
                y = [b.load(b.gep(here, kind, n * width * width), kind) for n in range(4)]
                columns = [transformed([y[j], y[2 + j]]) for j in range(2)]
                spot = b.gep(target, kind, b.mul(t.i, number(b, block)))
                for i in range(EDGE):
                    for j, v in enumerate(transformed([column[i] for column in columns])):
                        b.store(v, b.gep(spot, kind, b.mul(s.g_step, number(b, i * EDGE + j))))

    segments(b, s, first, count, width, visit)


def finish_source(kind: str) -> str:
    """LLVM IR of A' m A, of the sums of all chunks: [group, block, channel, tap, output of the block].

    A work item is (group, block, channel). Arguments: FINISH_POINTERS, FINISH_WORDS.
    """
    module = Module("cpu")
    width = vector_width(kind)
    block = 2 * width
    b = module.function(NAME, SIGNATURE, width)
    args = Arguments(b)
    partial, out = (args.pointer() for _ in FINISH_POINTERS)
    s = Words(b, args, FINISH_WORDS)

    def collected(m: list[Reg]) -> list[Reg]:
        """A' m."""
        both = b.fadd(m[1], m[2])
        return [b.fadd(m[0], both), b.fsub(m[1], m[2]), b.fadd(both, m[3])]

    with b.loop(Reg("%begin", "i64"), Reg("%end", "i64")) as item, b.loop(0, block, width) as lanes:
        channel, rest = split(b, item.i, s.channels)
        blk, group = split(b, rest, s.blocks)
        from_product = b.mul(s.blocks, s.rows)
        first = madd(b, b.mul(group, number(b, PRODUCTS)), from_product, madd(b, blk, s.rows, channel))
        from_chunk = b.mul(b.mul(s.groups, number(b, PRODUCTS)), from_product)
        zeros = [b.const(kind, 0) for _ in range(PRODUCTS)]
        with b.loop(0, s.chunks, 1, zeros) as chunk:
            here = madd(b, chunk.i, from_chunk, first)
            found = []
            for f, total in enumerate(chunk.values):
                at = b.mul(madd(b, from_product, number(b, f), here), number(b, block))
                found.append(b.fadd(total, b.load(b.gep(partial, kind, b.add(at, lanes.i)), kind)))
            chunk.next(*found)
        m = chunk.values
        columns = [collected([m[i * EDGE + j] for i in range(EDGE)]) for j in range(EDGE)]
        target = b.gep(out, kind, madd(b, item.i, number(b, 9 * block), lanes.i))
        for i in range(3):
            for j, v in enumerate(collected([column[i] for column in columns])):
                b.store(v, b.gep(target, kind, (i * 3 + j) * block))
    return module.text()
