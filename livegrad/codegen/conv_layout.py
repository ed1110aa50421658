"""How the input of a convolution lies for its kernels, and the pieces that kernels of windows are written with.

An input is laid out with its padding, one plane per channel and per residue of the position modulo the stride; in such
a plane the output positions are one long line, and what a tap (channel, place in the window) reads lies at a fixed
offset from the output's own place:

    out[o, p] = sum over taps k of weight[o, k] * x[offset[k] + p]

So a table of offsets is all that a kernel knows of a geometry. A line runs on over the ends of rows; the few places
between rows are computed and dropped. Where no padding and no stride is in the way the input serves as it is.

Kernels lay out what they need in scratch memory, one slot per thread, so that it is read while it is in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .elementwise import Arguments
from .ir import Builder, Loop, Reg, host_vector_bytes, kind_bytes, type_text

SIGNATURE = [("ptr noalias readonly", "%args"), ("i64", "%begin"), ("i64", "%end")]

# The words that describe how an input is laid out, in the order in which they are packed.
# source: sizes d h w and strides d h w; steps and rows and padding by dimension; `pitch` from row to row, `image` from
# image to image (elements); phases is the product of the steps.
LAYOUT_WORDS = (
    "channels", "stride_n", "stride_c", "stride_d", "stride_h", "stride_w", "size_d", "size_h", "size_w",
    "step_d", "step_h", "step_w", "rows_d", "rows_h", "pitch", "pad_d", "pad_h", "pad_w", "group_images", "image",
    "plane", "strip",
)  # fmt: skip
# plane: from channel to channel. strip: how many zeros follow the last image, for what its last taps read; those of the
# others read the upper padding of the next.


def vector_width(kind: str) -> int:
    """Lanes of one vector of this machine."""
    return max(1, host_vector_bytes() // kind_bytes(kind))


class Words:
    """Reads packed words by name."""

    def __init__(self, b: Builder, args: Arguments, names: tuple):
        self.b = b
        for name in names:
            setattr(self, name, args.word())

    def __getattr__(self, name: str) -> Reg:  # only for what __init__ has not set
        raise AttributeError(name)


class Chosen:
    """Words of which some are replaced."""

    def __init__(self, words: Words, **changed: Reg):
        self.__dict__.update(words.__dict__)
        self.__dict__.update(changed)


def number(b: Builder, value: int) -> Reg:
    return b.const("i64", value, 1)


def clamp_high(b: Builder, x: Reg, y: Reg) -> Reg:
    return b.select(b.icmp("slt", x, y), x, y)


def madd(b: Builder, x: Reg, y: Reg, z: Reg) -> Reg:
    """x * y + z on numbers."""
    return b.add(b.mul(x, y), z)


def lanes_below(b: Builder, count: Reg, width: int, kind: str) -> Reg:
    """A mask of the lanes, of elements of `kind`, whose number is below `count`.

    It is made of integers as wide as the elements, so that it is a comparison and nothing more.
    """
    lane = "i32" if kind_bytes(kind) == 4 else "i64"
    few = b.smin(b.smax(count, number(b, 0)), number(b, width))
    with b.at_width(width):
        return b.icmp("slt", b.iota(lane), b.splat(b.convert(few, lane)))


def masked_load(b: Builder, ptr: str, kind: str, mask: Reg) -> Reg:
    """Neighbouring elements where the mask holds, else zeros; what is masked is not touched."""
    return _guarded_load(b, ptr, kind, mask) if mask.width == 1 else b.load_some(ptr, kind, mask)


def _guarded_load(b: Builder, ptr: str, kind: str, mask: Reg) -> Reg:
    yes, done = b.fresh("yes"), b.fresh("done")
    before = b.block
    b.cond_br(mask, yes, done)
    b.label(yes)
    found = b.load(ptr, kind, width=1)
    b.label(done)
    return b.phi(kind, [(b.const(kind, 0, 1), before), (found, yes)], 1)


def masked_store(b: Builder, x: Reg, ptr: str, mask: Reg) -> None:
    """Write neighbouring elements where the mask holds."""
    if x.width == 1:
        with b.when(mask):
            b.store(x, ptr)
    else:
        b.store_some(x, ptr, mask)


def gather_lanes(b: Builder, kind: str, row: str, places: Reg, mask: Reg) -> Reg:
    """One element of a row for each lane of `places`, where the mask holds."""
    if places.width == 1:
        return masked_load(b, b.gep(row, kind, places), kind, mask)
    width, t = places.width, type_text(kind, places.width)
    pointers = b.fresh("pointers")
    b.line(f"%{pointers} = getelementptr {type_text(kind)}, ptr {row}, {places.operand}")
    name = f"llvm.masked.gather.v{width}{kind}.v{width}p0"
    b.declare(f"declare {t} @{name}(<{width} x ptr>, i32, <{width} x i1>, {t})")
    call = f"call {t} @{name}(<{width} x ptr> %{pointers}, i32 {kind_bytes(kind)}, {mask.operand}, {t} zeroinitializer)"
    return b.op(kind, width, call)


@contextmanager
def scratch_slot(b: Builder, memory: str, slots: Reg, slot_bytes: Reg) -> Iterator[str]:
    """A slot of the scratch memory that no other thread uses; `memory` starts with one flag of 64 bytes for each."""
    look, taken, again = b.fresh("look"), b.fresh("taken"), b.fresh("again")
    before = b.block
    b.label(look)
    i = b.phi("i64", [(number(b, 0), before)], 1)
    flag = b.gep(memory, "i64", b.shl(i, number(b, 3)))
    pair = b.fresh("pair")
    b.line(f"%{pair} = cmpxchg ptr {flag}, i64 0, i64 1 acquire monotonic")
    got = b.op("i1", 1, f"extractvalue {{ i64, i1 }} %{pair}, 1")
    b.cond_br(got, taken, again)
    b.label(again)
    following = b.add(i, number(b, 1))
    b.add_incoming(i, b.select(b.icmp("slt", following, slots), following, number(b, 0)), again)
    b.br(look)
    b.label(taken)
    yield b.gep(memory, "i8", madd(b, i, slot_bytes, b.shl(slots, number(b, 6))))
    b.line(f"store atomic i64 0, ptr {flag} release, align 8")


def lay_out(b: Builder, kind: str, width: int, x: str, target: str, s: Words | Chosen, images: Reg) -> None:
    """Write the planes of `images` images of `x` with their padding, one plane per channel and residue.

    Order in `target`: channel, residue by d h w, image, then places by d h w. Rows are written in rising order and may
    run over their end, which the next row then overwrites; behind the last one there must be room for a vector.
    """
    zero = number(b, 0)
    width_of_row = s.size_w
    phases = b.mul(b.mul(s.step_d, s.step_h), s.step_w)
    plain = b.icmp("eq", b.mul(s.stride_w, s.step_w), number(b, 1))
    step = b.mul(s.stride_w, s.step_w)
    with b.loop(0, s.channels) as channel, b.loop(0, phases) as phase:
        phase_w = b.urem(phase.i, s.step_w)
        rest = b.udiv(phase.i, s.step_w)
        phase_h, phase_d = b.urem(rest, s.step_h), b.udiv(rest, s.step_h)
        start = b.mul(madd(b, channel.i, phases, phase.i), s.plane)
        # Places j of a row for which j * step + phase - pad lies inside the source's row.
        shift = b.sub(phase_w, s.pad_w)
        low = b.sdiv(b.sub(b.add(b.neg(shift), s.step_w), number(b, 1)), s.step_w)
        low = clamp_high(b, b.select(b.icmp("sgt", shift, zero), zero, low), s.pitch)
        high = b.sdiv(b.sub(b.add(b.sub(width_of_row, shift), s.step_w), number(b, 1)), s.step_w)
        high = clamp_high(b, b.select(b.icmp("slt", b.sub(width_of_row, shift), zero), zero, high), s.pitch)

        def rows(image: Loop) -> None:
            with b.loop(0, s.rows_d) as d, b.loop(0, s.rows_h) as h:
                at_d = b.sub(madd(b, d.i, s.step_d, phase_d), s.pad_d)
                at_h = b.sub(madd(b, h.i, s.step_h, phase_h), s.pad_h)
                inside = b.and_(b.icmp("ult", at_d, s.size_d), b.icmp("ult", at_h, s.size_h))
                first = b.select(inside, low, zero)
                last = b.select(inside, high, zero)
                place = madd(b, image.i, s.stride_n, b.mul(channel.i, s.stride_c))
                place = madd(b, at_d, s.stride_d, madd(b, at_h, s.stride_h, place))
                place = madd(b, shift, s.stride_w, place)
                row = madd(b, madd(b, d.i, s.rows_h, h.i), s.pitch, madd(b, image.i, s.image, start))
                slow, fast, done = b.fresh("strided"), b.fresh("plain"), b.fresh("laid")
                b.cond_br(plain, fast, slow)
                b.label(fast)
                _copy_row(b, kind, width, b.gep(x, kind, place), b.gep(target, kind, row), first, last, s.pitch)
                b.br(done)
                b.label(slow)
                with b.loop(0, first) as j:
                    b.store(b.const(kind, 0, 1), b.gep(target, kind, b.add(row, j.i)))
                with b.loop(first, last) as j:
                    v = b.load(b.gep(x, kind, madd(b, j.i, step, place)), kind, width=1)
                    b.store(v, b.gep(target, kind, b.add(row, j.i)))
                with b.loop(b.select(b.icmp("sgt", first, last), first, last), s.pitch) as j:
                    b.store(b.const(kind, 0, 1), b.gep(target, kind, b.add(row, j.i)))
                b.label(done)

        with b.loop(0, images) as image:
            rows(image)
        end = madd(b, images, s.image, start)
        with b.loop(0, s.strip, width) as j, b.at_width(width):
            b.store(b.const(kind, 0), b.gep(target, kind, b.add(end, j.i)))


def _copy_row(b: Builder, kind: str, width: int, x: str, out: str, first: Reg, last: Reg, count: Reg) -> None:
    """out[j] = x[j] from first to last, and zeros up to there from 0, and from there to count; vectors may go on."""
    last = b.smax(first, last)
    with b.at_width(width):
        zeros = b.const(kind, 0)
        with b.loop(0, first, width) as j:
            b.store(zeros, b.gep(out, kind, j.i))
        whole = b.add(first, b.and_(b.sub(last, first), number(b, -width)))
        with b.loop(first, whole, width) as j:
            b.store(b.load(b.gep(x, kind, j.i), kind), b.gep(out, kind, j.i))
        rest = b.sub(last, whole)
        with b.when(b.icmp("ne", rest, number(b, 0))):
            some = masked_load(b, b.gep(x, kind, whole), kind, lanes_below(b, rest, width, kind))
            b.store(some, b.gep(out, kind, whole))
        with b.loop(last, count, width) as j:
            b.store(zeros, b.gep(out, kind, j.i))


def split(b: Builder, item: Reg, count: Reg) -> tuple[Reg, Reg]:
    """An item's number among `count`, which run fastest, and that of the rest."""
    return b.urem(item, count), b.udiv(item, count)


BOX_WORDS = (
    "images", "out_d", "out_h", "out_w", "box_d", "box_h", "box_w", "boxes_d", "boxes_h", "boxes_w", "depth"
)  # fmt: skip


class Box:
    """A box of outputs, of some images: what a work item computes, or goes through.

    `words` has BOX_WORDS: how many images and outputs there are, the sizes of a box (the last ones may be smaller), how
    many there are, and how far a plane is from the next in a line (elements).
    """

    def __init__(self, b: Builder, words: Words, layout: Words, item: Reg):
        self.b, self.words, self.whole = b, words, layout
        self.first, self.count = {}, {}
        for axis in "whd":
            at, item = split(b, item, getattr(words, f"boxes_{axis}"))
            size = getattr(words, f"box_{axis}")
            self.first[axis] = b.mul(at, size)
            self.count[axis] = clamp_high(b, size, b.sub(getattr(words, f"out_{axis}"), self.first[axis]))
        self.first_image = b.mul(item, layout.group_images)
        self.images = clamp_high(b, layout.group_images, b.sub(words.images, self.first_image))

    def layout(self, channels: Reg) -> Chosen:
        """The layout of some channels of what its outputs read."""
        b, moved = self.b, {}
        for axis, first in self.first.items():
            name = f"pad_{axis}"
            moved[name] = b.sub(getattr(self.whole, name), b.mul(first, getattr(self.whole, f"step_{axis}")))
        return Chosen(self.whole, channels=channels, **moved)

    def corner(self, words: Words | None = None) -> Reg:
        """How far its first place is from the first of an image, in an array of which `words` has the strides."""
        words = self.whole if words is None else words
        place = self.b.const("i64", 0, 1)
        for axis, first in self.first.items():
            place = madd(self.b, first, getattr(words, f"stride_{axis}"), place)
        return place

    def outputs(self) -> Reg:
        """How many they are."""
        b = self.b
        return b.mul(b.mul(self.images, self.count["d"]), b.mul(self.count["h"], self.count["w"]))

    def places(self, depth: Reg) -> Reg:
        """From its first place to its last one, in a line."""
        b, one = self.b, number(self.b, 1)
        found = madd(b, b.sub(self.images, one), self.whole.image, b.mul(b.sub(self.count["d"], one), depth))
        return b.add(madd(b, b.sub(self.count["h"], one), self.whole.pitch, found), self.count["w"])
