"""Building LLVM IR as text. `llvm.machine` turns that text into machine code or PTX.

Kernels are written by appending lines: there is no object per instruction, so a kernel of some hundred instructions
is built in about a millisecond.  A :class:`Builder` hands out :class:`Reg` values, each of which knows its *kind*
(the element type) and its *width* (the number of lanes; 1 is a scalar).  The same calls serve scalars and vectors,
x86-64, AArch64 and NVPTX.

Conventions

* A kind says how many bits there are and whether they are a float; the operation says whether an integer is signed.
* ``f16`` and ``bf16`` are storage kinds: they travel as 16-bit integers, and arithmetic happens in ``f32``.
  No conversion ever calls a run-time library.
* ``i1`` is a truth value in a register and one byte, 0 or 1, in memory.
* Pointers are text: either a name (``%p``, ``@table``), which is a plain ``ptr``, or a full operand such as
  ``ptr addrspace(3) %p``.
* No fast-math flag is ever emitted, and nothing is contracted unless :meth:`Builder.fma` asks for it.
"""

from __future__ import annotations

import functools
import itertools
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from ..llvm.machine import host_has_f16c, host_has_fma, host_has_rounding, host_vector_bytes, is_x86

__all__ = [
    "KINDS",
    "Builder",
    "Loop",
    "Module",
    "Reg",
    "host_vector_bytes",
    "kind_bits",
    "kind_bytes",
    "type_text",
]

KINDS = ("f16", "bf16", "f32", "f64", "i1", "i8", "i16", "i32", "i64")

_ELEMENT = {
    "f16": "i16", "bf16": "i16", "f32": "float", "f64": "double",
    "i1": "i1", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64",
}  # fmt: skip
_BITS = {"f16": 16, "bf16": 16, "f32": 32, "f64": 64, "i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64}
_FLOATS = frozenset(("f16", "bf16", "f32", "f64"))


@functools.cache
def type_text(kind: str, width: int = 1) -> str:
    """The LLVM type of a register: ``float``, ``<8 x float>``, ..."""
    element = _ELEMENT[kind]
    return element if width == 1 else f"<{width} x {element}>"


@functools.cache
def _memory_type(kind: str, width: int = 1) -> str:
    return type_text("i8" if kind == "i1" else kind, width)


@functools.cache
def _suffix(kind: str, width: int = 1) -> str:
    """The mangled type in the name of an overloaded intrinsic: ``f32``, ``v8f32``, ..."""
    name = "i16" if kind in ("f16", "bf16") else kind
    return name if width == 1 else f"v{width}{name}"


def kind_bits(kind: str) -> int:
    """Bits of a kind in a register."""
    return _BITS[kind]


def kind_bytes(kind: str) -> int:
    """Bytes of a kind in memory; a truth value takes one."""
    return max(1, _BITS[kind] // 8)


@functools.lru_cache(maxsize=4096)
def _float_text(kind: str, bits: int) -> str:
    """The text of a floating-point constant, given the bit pattern of a double."""
    value = struct.unpack("<d", struct.pack("<Q", bits))[0]
    if kind == "f64":
        return f"0x{bits:016X}"
    if kind == "f32":
        if math.isnan(value):
            return "0x7FF8000000000000" if bits >> 63 == 0 else "0xFFF8000000000000"
        rounded = _to_f32(value)
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
    if kind == "f16":
        if math.isnan(value):
            return str(0x7E00)
        try:
            return str(struct.unpack("<h", struct.pack("<e", value))[0])
        except OverflowError:
            return str(0x7C00 if value > 0 else 0xFC00 - 0x10000)
    if math.isnan(value):  # bf16
        return str(0x7FC0)
    word = struct.unpack("<I", struct.pack("<f", _to_f32(value)))[0]
    word = (word + 0x7FFF + ((word >> 16) & 1)) >> 16
    return str(word - 0x10000 if word >= 0x8000 else word)


def _to_f32(value: float) -> float:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


class Reg:
    """A value in a kernel: the text that names it, its kind, and its number of lanes."""

    __slots__ = ("name", "kind", "width")

    def __init__(self, name: str, kind: str, width: int = 1) -> None:
        self.name = name
        self.kind = kind
        self.width = width

    @property
    def type(self) -> str:
        """The LLVM type, as text."""
        return type_text(self.kind, self.width)

    @property
    def operand(self) -> str:
        """Type and name, as an operand of a call or a store is written."""
        return f"{type_text(self.kind, self.width)} {self.name}"

    def __repr__(self) -> str:
        return f"Reg({self.operand})"


class Module:
    """Declarations, globals and functions of one compilation.

    ``target`` is ``"cpu"`` or ``"ptx"``.  ``fma`` says whether a fused multiply-add is one instruction there; by
    default the host is asked.
    """

    def __init__(self, target: str = "cpu", fma: bool | None = None, f16c: bool | None = None) -> None:
        if target not in ("cpu", "ptx"):
            raise ValueError(f"target must be 'cpu' or 'ptx', not {target!r}")
        self.target = target
        self.fma = (True if target == "ptx" else host_has_fma()) if fma is None else fma
        self.f16c = (True if target == "ptx" else host_has_f16c()) if f16c is None else f16c
        self.declares: set[str] = set()
        self.internal: set[str] = set()  # names of internal functions that are written already
        self.globals: dict[str, str] = {}
        self._functions: list[tuple[str, Builder]] = []

    def function(
        self,
        name: str,
        params: Sequence[tuple[str, str]],
        width: int = 1,
        ret: str = "void",
        kernel: bool = True,
        bounds: int | None = None,
    ) -> Builder:
        """Start a function and return the builder of its body, which stands in the block ``entry``.

        ``params`` holds (type with attributes, name) pairs such as ``("ptr noalias readonly align 64", "%x")``.
        ``kernel`` makes it a visible function (an entry point on a GPU); otherwise it is internal to the module.
        ``bounds`` is the largest number of threads in a block, for a GPU.
        """
        args = ", ".join(f"{kind} {arg}" for kind, arg in params)
        linkage = "" if kernel else "internal "
        convention = "ptx_kernel " if kernel and self.target == "ptx" else ""
        # One block at a time is enough: else the assembler spills a few registers to fit in more.
        extra = f' "nvvm.maxntid"="{bounds}" "nvvm.minctasm"="1"' if bounds and self.target == "ptx" else ""
        head = f"define {linkage}{convention}{ret} @{name}({args}) #0{extra} {{"
        builder = Builder(self, width)
        self._functions.append((head, builder))
        return builder

    def table(self, name: str, kind: str, values: Iterable[float | int], align: int = 64, space: int = 0) -> str:
        """A constant array; returns the pointer's text.  Defining the same name again is free."""
        if name not in self.globals:
            element = _memory_type(kind)
            items = [f"{element} {_constant(kind, value)}" for value in values]
            where = f"addrspace({space}) " if space else ""
            self.globals[name] = (
                f"@{name} = internal unnamed_addr {where}constant [{len(items)} x {element}] "
                f"[{', '.join(items)}], align {align}"
            )
        return f"ptr addrspace({space}) @{name}" if space else f"@{name}"

    def shared(self, name: str, kind: str, count: int, align: int = 16) -> str:
        """An array in the shared memory of a GPU block; returns the pointer's text."""
        self.globals[name] = (
            f"@{name} = internal addrspace(3) global [{count} x {_memory_type(kind)}] undef, align {align}"
        )
        return f"ptr addrspace(3) @{name}"

    def text(self) -> str:
        """The whole module."""
        parts: list[str] = []
        if self.target == "ptx":
            parts.append('target triple = "nvptx64-nvidia-cuda"')
        parts.extend(self.globals.values())
        for head, builder in self._functions:
            parts.append(head)
            parts.append("entry:")
            parts.extend(builder.lines)
            if not builder.terminated:
                parts.append("  ret void")
            parts.append("}")
        parts.extend(sorted(self.declares))
        wide = ' "prefer-vector-width"="512"' if self.target == "cpu" else ""
        parts.append(f"attributes #0 = {{ nounwind{wide} }}")
        parts.append("!0 = !{i32 1}")
        parts.append("!1 = !{}")
        return "\n".join(parts) + "\n"


def _constant(kind: str, value: float | int | bool) -> str:
    """The text of a scalar constant."""
    if kind in _FLOATS:
        return _float_text(kind, struct.unpack("<Q", struct.pack("<d", value))[0])
    if kind == "i1":
        return "true" if value else "false"
    bits = _BITS[kind]
    value = int(value) & ((1 << bits) - 1)
    return str(value - (1 << bits) if value >> (bits - 1) else value)


class Loop:
    """What :meth:`Builder.loop` yields: the counter ``i``, the carried values ``values``, and ``next`` to set them.

    After the ``with`` block, ``values`` are the final ones.
    """

    def __init__(self, i: Reg, values: list[Reg]) -> None:
        self.i = i
        self.values = values
        self.following: list[Reg] | None = None

    def next(self, *values: Reg) -> None:
        """The carried values of the next round."""
        self.following = list(values)


class Builder:
    """Appends instructions to one function body.

    ``width`` is the number of lanes of the constants it makes; every other operation takes its width from its operands.
    ``block`` is the label of the block being written: an operation may end one block and start another (the rare slow
    paths of some functions do), so a ``phi`` must name ``block`` as it was when the value was finished.
    """

    def __init__(self, module: Module, width: int = 1) -> None:
        self.module = module
        self.target = module.target
        self.width = width
        self.lines: list[str] = []
        self.block = "entry"
        self.terminated = False
        self.has_fma = module.fma
        # Whether to use AVX-512's own instructions, of which results of every width get the same bits.
        self.has_avx512 = module.fma and module.target == "cpu" and is_x86() and host_vector_bytes() == 64
        self._names = itertools.count()
        self._phis: dict[str, tuple[int, str, list[str]]] = {}

    # ---------------------------------------------------------------------------------------------- the basics

    @contextmanager
    def at_width(self, width: int) -> Iterator[Builder]:
        """Make constants of another number of lanes for a while."""
        before, self.width = self.width, width
        try:
            yield self
        finally:
            self.width = before

    def fresh(self, prefix: str = "v") -> str:
        """A name that is not in use, without a sigil: for labels, or after ``%``."""
        return f"{prefix}.{next(self._names)}"

    def line(self, text: str) -> None:
        """Append one instruction as it is."""
        self.lines.append("  " + text)

    def op(self, kind: str, width: int, text: str) -> Reg:
        """Append an instruction that has a result."""
        name = f"%t{next(self._names)}"
        self.lines.append(f"  {name} = {text}")
        return Reg(name, kind, width)

    def intrinsic(self, name: str, kind: str, args: Sequence[Reg], width: int | None = None) -> Reg:
        """Call ``llvm.<name>``, overloaded on the type of the first argument."""
        first = args[0]
        width = first.width if width is None else width
        full = f"llvm.{name}.{_suffix(first.kind, first.width)}"
        types = ", ".join(a.type for a in args)
        out = type_text(kind, width)
        self.module.declares.add(f"declare {out} @{full}({types})")
        return self.op(kind, width, f"call {out} @{full}({', '.join(a.operand for a in args)})")

    def call(self, function: str, kind: str | None, args: Sequence[Reg | str], width: int = 1) -> Reg | None:
        """Call ``@function``; declare it unless it is defined here (see :meth:`declare`).

        An argument is a register or the text of a typed operand (``"ptr %x"``).  ``kind`` None means no result.
        """
        texts = [a.operand if isinstance(a, Reg) else a for a in args]
        out = "void" if kind is None else type_text(kind, width)
        text = f"call {out} @{function}({', '.join(texts)})"
        if kind is None:
            self.line(text)
            return None
        return self.op(kind, width, text)

    def declare(self, text: str) -> None:
        """Add a declaration, such as ``declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()``."""
        self.module.declares.add(text)

    def const(self, kind: str, value: float | int | bool, width: int | None = None) -> Reg:
        """A constant in every lane."""
        width = self.width if width is None else width
        text = _constant(kind, value)
        if width != 1:
            text = f"splat ({_ELEMENT[kind]} {text})"
        return Reg(text, kind, width)

    def const_lanes(self, kind: str, values: Sequence[float | int]) -> Reg:
        """A constant vector with a value of its own in each lane."""
        if len(values) == 1:
            return self.const(kind, values[0], 1)
        element = _ELEMENT[kind]
        text = ", ".join(f"{element} {_constant(kind, v)}" for v in values)
        return Reg(f"<{text}>", kind, len(values))

    def like(self, x: Reg, value: float | int | bool) -> Reg:
        """A constant of the kind and width of ``x``."""
        return self.const(x.kind, value, x.width)

    # ---------------------------------------------------------------------------------------------- arithmetic

    def _binary(self, name: str, x: Reg, y: Reg) -> Reg:
        if x.kind != y.kind or x.width != y.width:
            raise TypeError(f"{name}: {x!r} and {y!r} differ in kind or width")
        return self.op(x.kind, x.width, f"{name} {type_text(x.kind, x.width)} {x.name}, {y.name}")

    def fadd(self, x: Reg, y: Reg) -> Reg:
        """x + y"""
        return self._binary("fadd", x, y)

    def fsub(self, x: Reg, y: Reg) -> Reg:
        """x - y"""
        return self._binary("fsub", x, y)

    def fmul(self, x: Reg, y: Reg) -> Reg:
        """x * y"""
        return self._binary("fmul", x, y)

    def fdiv(self, x: Reg, y: Reg) -> Reg:
        """x / y"""
        return self._binary("fdiv", x, y)

    def frem(self, x: Reg, y: Reg) -> Reg:
        """C's fmod, as inline code (the instruction of that name would call a library)."""
        from livegrad.codegen import math as functions

        return functions.fmod(self, x, y)

    def fneg(self, x: Reg) -> Reg:
        """-x, the sign bit flipped"""
        return self.op(x.kind, x.width, f"fneg {x.operand}")

    def fma(self, x: Reg, y: Reg, z: Reg) -> Reg:
        """x * y + z, rounded once; rounded twice on a machine that has no such instruction."""
        if self.has_fma:
            return self.intrinsic("fma", x.kind, (x, y, z))
        return self.fadd(self.fmul(x, y), z)

    def sqrt(self, x: Reg) -> Reg:
        """The square root, correctly rounded."""
        return self.intrinsic("sqrt", x.kind, (x,))

    def _avx512(self, name: str, args: Sequence[Reg], masked: bool, rounded: bool) -> Reg:
        """One of AVX-512's own instructions on any number of lanes of f32 or f64, in parts of at most a register."""
        first = args[0]
        lanes = 16 if first.kind == "f32" else 8
        if first.width > lanes:
            pairs = [self.halves(a) for a in args]
            low, high = (self._avx512(name, [p[k] for p in pairs], masked, rounded) for k in (0, 1))
            return self.concat(low, high)
        width = max(first.width, lanes // 4)
        if first.width < width:  # the smallest register, in part
            wide = []
            for a in args:
                out = Reg("zeroinitializer", a.kind, width)
                for lane in range(a.width):
                    out = self.insert(out, self.extract(a, lane), lane)
                wide.append(out)
            made = self._avx512(name, wide, masked, rounded)
            return self.shuffle(made, None, range(first.width)) if first.width > 1 else self.extract(made, 0)
        suffix = f"{'ps' if first.kind == 'f32' else 'pd'}.{width * kind_bits(first.kind)}"
        mask = "i16" if width == 16 else "i8"
        operands = [a.operand for a in args] + [f"{first.type} zeroinitializer", f"{mask} -1"]
        types = [first.type] * (len(args) + 1) + [mask]
        if rounded and width == lanes:
            operands.append("i32 4")
            types.append("i32")
        function = f"llvm.x86.avx512.{'mask.' if masked else ''}{name}.{suffix}"
        self.declare(f"declare {first.type} @{function}({', '.join(types)})")
        return self.op(first.kind, width, f"call {first.type} @{function}({', '.join(operands)})")

    def scaled(self, x: Reg, n: Reg) -> Reg:
        """x * 2**n, rounded once, for a float n that is whole; only where `has_avx512`."""
        return self._avx512("scalef", (x, n), masked=True, rounded=True)

    def about_reciprocal(self, x: Reg) -> Reg:
        """1 / x to about 14 bits; only where `has_avx512`."""
        return self._avx512("rcp14", (x,), masked=False, rounded=False)

    def fabs(self, x: Reg) -> Reg:
        """|x|"""
        return self.intrinsic("fabs", x.kind, (x,))

    def copysign(self, x: Reg, y: Reg) -> Reg:
        """|x| with the sign of y"""
        return self.intrinsic("copysign", x.kind, (x, y))

    def _rounding(self, name: str, x: Reg) -> Reg:
        if self.target == "cpu" and not host_has_rounding():
            return self._rounding_by_addition(name, x)
        return self.intrinsic(name, x.kind, (x,))

    def _rounding_by_addition(self, name: str, x: Reg) -> Reg:
        """Rounding where the machine has no instruction: adding and subtracting 2**23 or 2**52 rounds to even."""
        size = self.fabs(x)
        big = self.like(x, 2.0**23 if x.kind == "f32" else 2.0**52)
        even = self.fsub(self.fadd(size, big), big)
        if name == "trunc":
            even = self.select(self.fcmp("ogt", even, size), self.fsub(even, self.like(x, 1.0)), even)
        signed = self.copysign(even, x)
        if name == "floor":
            signed = self.select(self.fcmp("ogt", signed, x), self.fsub(signed, self.like(x, 1.0)), signed)
        elif name == "ceil":
            signed = self.select(self.fcmp("olt", signed, x), self.fadd(signed, self.like(x, 1.0)), signed)
        return self.select(self.fcmp("olt", size, big), self.copysign(signed, x), x)

    def floor(self, x: Reg) -> Reg:
        """The largest integer not above x."""
        return self._rounding("floor", x)

    def ceil(self, x: Reg) -> Reg:
        """The smallest integer not below x."""
        return self._rounding("ceil", x)

    def trunc(self, x: Reg) -> Reg:
        """x without its fraction."""
        return self._rounding("trunc", x)

    def rint(self, x: Reg) -> Reg:
        """The nearest integer, ties to even."""
        return self._rounding("rint", x)

    def fmin_ieee(self, x: Reg, y: Reg) -> Reg:
        """The smaller one; NaN if either is NaN."""
        smaller = self.select(self.fcmp("olt", x, y), x, y)
        return self.select(self.fcmp("uno", x, x), x, smaller)

    def fmax_ieee(self, x: Reg, y: Reg) -> Reg:
        """The larger one; NaN if either is NaN."""
        larger = self.select(self.fcmp("ogt", x, y), x, y)
        return self.select(self.fcmp("uno", x, x), x, larger)

    def fmin(self, x: Reg, y: Reg) -> Reg:
        """x < y ? x : y, one instruction on most machines; y where either is NaN."""
        return self.select(self.fcmp("olt", x, y), x, y)

    def fmax(self, x: Reg, y: Reg) -> Reg:
        """x > y ? x : y, one instruction on most machines; y where either is NaN."""
        return self.select(self.fcmp("ogt", x, y), x, y)

    def add(self, x: Reg, y: Reg) -> Reg:
        """x + y, wrapping"""
        return self._binary("add", x, y)

    def sub(self, x: Reg, y: Reg) -> Reg:
        """x - y, wrapping"""
        return self._binary("sub", x, y)

    def mul(self, x: Reg, y: Reg) -> Reg:
        """x * y, wrapping"""
        return self._binary("mul", x, y)

    def sdiv(self, x: Reg, y: Reg) -> Reg:
        """Signed x / y, truncated.  y must not be 0, nor x/y overflow: that stops the process on x86."""
        return self._binary("sdiv", x, y)

    def udiv(self, x: Reg, y: Reg) -> Reg:
        """Unsigned x / y; y must not be 0."""
        return self._binary("udiv", x, y)

    def srem(self, x: Reg, y: Reg) -> Reg:
        """Signed remainder with the sign of x; the conditions of :meth:`sdiv` hold."""
        return self._binary("srem", x, y)

    def urem(self, x: Reg, y: Reg) -> Reg:
        """Unsigned remainder; y must not be 0."""
        return self._binary("urem", x, y)

    def and_(self, x: Reg, y: Reg) -> Reg:
        """Bitwise and"""
        return self._binary("and", x, y)

    def or_(self, x: Reg, y: Reg) -> Reg:
        """Bitwise or"""
        return self._binary("or", x, y)

    def xor(self, x: Reg, y: Reg) -> Reg:
        """Bitwise exclusive or"""
        return self._binary("xor", x, y)

    def shl(self, x: Reg, y: Reg) -> Reg:
        """x << y; y must be below the number of bits."""
        return self._binary("shl", x, y)

    def lshr(self, x: Reg, y: Reg) -> Reg:
        """x >> y, zeros shifted in; y must be below the number of bits."""
        return self._binary("lshr", x, y)

    def ashr(self, x: Reg, y: Reg) -> Reg:
        """x >> y, the sign shifted in; y must be below the number of bits."""
        return self._binary("ashr", x, y)

    def neg(self, x: Reg) -> Reg:
        """-x, wrapping"""
        return self._binary("sub", self.like(x, 0), x)

    def not_(self, x: Reg) -> Reg:
        """Every bit flipped."""
        return self._binary("xor", x, self.like(x, -1 if x.kind != "i1" else 1))

    def smin(self, x: Reg, y: Reg) -> Reg:
        """The smaller signed integer."""
        return self.intrinsic("smin", x.kind, (x, y))

    def smax(self, x: Reg, y: Reg) -> Reg:
        """The larger signed integer."""
        return self.intrinsic("smax", x.kind, (x, y))

    def umin(self, x: Reg, y: Reg) -> Reg:
        """The smaller unsigned integer."""
        return self.intrinsic("umin", x.kind, (x, y))

    def umax(self, x: Reg, y: Reg) -> Reg:
        """The larger unsigned integer."""
        return self.intrinsic("umax", x.kind, (x, y))

    def fcmp(self, pred: str, x: Reg, y: Reg) -> Reg:
        """Compare floats: ``oeq ogt oge olt ole one ord`` are false with a NaN, ``ueq ... une uno`` true."""
        return self._compare("fcmp", pred, x, y)

    def icmp(self, pred: str, x: Reg, y: Reg) -> Reg:
        """Compare integers: ``eq ne``, signed ``sgt sge slt sle``, unsigned ``ugt uge ult ule``."""
        return self._compare("icmp", pred, x, y)

    def _compare(self, name: str, pred: str, x: Reg, y: Reg) -> Reg:
        if x.kind != y.kind or x.width != y.width:
            raise TypeError(f"{name} {pred}: {x!r} and {y!r} differ in kind or width")
        return self.op("i1", x.width, f"{name} {pred} {type_text(x.kind, x.width)} {x.name}, {y.name}")

    def select(self, c: Reg, x: Reg, y: Reg) -> Reg:
        """c ? x : y, lane by lane"""
        if x.kind != y.kind or x.width != y.width or c.kind != "i1" or c.width not in (1, x.width):
            raise TypeError(f"select: {c!r}, {x!r}, {y!r} do not go together")
        return self.op(x.kind, x.width, f"select {c.operand}, {x.operand}, {y.operand}")

    # --------------------------------------------------------------------------------------------- conversions

    def bitcast(self, x: Reg, kind: str) -> Reg:
        """The same bits as another kind of the same size."""
        if _BITS[x.kind] != _BITS[kind]:
            raise TypeError(f"bitcast of {x!r} to {kind}: sizes differ")
        if _ELEMENT[x.kind] == _ELEMENT[kind]:
            return Reg(x.name, kind, x.width)
        return self.op(kind, x.width, f"bitcast {x.operand} to {type_text(kind, x.width)}")

    def _cast(self, name: str, x: Reg, kind: str) -> Reg:
        return self.op(kind, x.width, f"{name} {x.operand} to {type_text(kind, x.width)}")

    def convert(self, x: Reg, kind: str, signed: bool = True) -> Reg:
        """Convert a number to another kind, as C and NumPy do.

        ``signed`` is the signedness of the integer involved: of the source, or of the result if the source is a float.
        Float to integer truncates (a value out of range gives some integer); anything to ``i1`` compares with zero.
        """
        if x.kind == kind:
            return x
        if kind == "i1":
            if x.kind in ("f16", "bf16"):  # all bits but the sign
                x = self.and_(Reg(x.name, "i16", x.width), self.const("i16", 0x7FFF, x.width))
            if x.kind in _FLOATS:
                return self.fcmp("une", x, self.like(x, 0.0))
            return self.icmp("ne", x, self.like(x, 0))
        if x.kind == "i1":
            if kind in _FLOATS:
                return self.select(x, self.const(kind, 1.0, x.width), self.const(kind, 0.0, x.width))
            return self._cast("zext", x, kind)
        if x.kind == "f16":
            return self.convert(self._from_f16(x), kind, signed)
        if x.kind == "bf16":
            return self.convert(self._from_bf16(x), kind, signed)
        if kind in ("f16", "bf16"):
            single = self.convert(x, "f32", signed)
            return self._to_f16(single) if kind == "f16" else self._to_bf16(single)
        if x.kind in _FLOATS:
            if kind in _FLOATS:
                return self._cast("fpext" if kind == "f64" else "fptrunc", x, kind)
            return self._float_to_int(x, kind, signed)
        if kind in _FLOATS:
            return self._cast("sitofp" if signed else "uitofp", x, kind)
        if _BITS[kind] < _BITS[x.kind]:
            return self._cast("trunc", x, kind)
        return self._cast("sext" if signed else "zext", x, kind)

    def _float_to_int(self, x: Reg, kind: str, signed: bool) -> Reg:
        # Small integers, and unsigned ones below 64 bits, go through a wider signed integer: out of range values then
        # wrap around as they do in NumPy on the usual machines.  The result of the conversion itself is frozen, since
        # out of range it would otherwise be an undefined value that may differ at each use.
        via = kind if _BITS[kind] == 64 or (signed and _BITS[kind] == 32) else ("i32" if _BITS[kind] < 32 else "i64")
        name = "fptosi" if signed or _BITS[kind] < 64 else "fptoui"
        raw = self._cast(name, x, via)
        fixed = self.op(via, x.width, f"freeze {raw.operand}")
        return fixed if via == kind else self._cast("trunc", fixed, kind)

    def _from_bf16(self, x: Reg) -> Reg:
        wide = self._cast("zext", x, "i32")
        return self.bitcast(self.shl(wide, self.like(wide, 16)), "f32")

    def _to_bf16(self, x: Reg) -> Reg:
        """Round to nearest even by adding just under half a unit; a NaN keeps its sign and leading bits, made quiet."""
        word = self.bitcast(x, "i32")
        sixteen = self.like(word, 16)
        odd = self.and_(self.lshr(word, sixteen), self.like(word, 1))
        rounded = self.add(word, self.add(odd, self.like(word, 0x7FFF)))
        quiet = self.or_(word, self.like(word, 0x400000))
        chosen = self.select(self.fcmp("uno", x, x), quiet, rounded)
        return Reg(self._cast("trunc", self.lshr(chosen, sixteen), "i16").name, "bf16", x.width)

    def _half_type(self, width: int) -> str:
        return "half" if width == 1 else f"<{width} x half>"

    def _from_f16(self, x: Reg) -> Reg:
        if self.module.f16c:
            half = self._half_type(x.width)
            name = self.op("i16", x.width, f"bitcast {x.operand} to {half}").name
            return self.op("f32", x.width, f"fpext {half} {name} to {type_text('f32', x.width)}")
        # Put exponent and fraction in place and multiply by 2**112, which corrects the bias and makes subnormals
        # normal; infinity and NaN need the largest exponent.
        word = self._cast("zext", x, "i32")
        body = self.shl(self.and_(word, self.like(word, 0x7FFF)), self.like(word, 13))
        scaled = self.bitcast(self.fmul(self.bitcast(body, "f32"), self.const("f32", 2.0**112, x.width)), "i32")
        special = self.icmp("uge", body, self.like(body, 0x7C00 << 13))
        scaled = self.select(special, self.or_(body, self.like(body, 0x7F800000)), scaled)
        sign = self.shl(self.and_(word, self.like(word, 0x8000)), self.like(word, 16))
        return self.bitcast(self.or_(scaled, sign), "f32")

    def _to_f16(self, x: Reg) -> Reg:
        if self.module.f16c:
            half = self._half_type(x.width)
            name = self.op("i16", x.width, f"fptrunc {x.operand} to {half}").name
            return self.op("f16", x.width, f"bitcast {half} {name} to {type_text('i16', x.width)}")
        word = self.bitcast(x, "i32")

        def c(value: int) -> Reg:
            return self.like(word, value)

        sign = self.and_(self.lshr(word, c(16)), c(0x8000))
        body = self.and_(word, c(0x7FFFFFFF))
        # Subnormal results: adding 0.5 leaves the value's multiple of 2**-24, rounded to even, in the low bits.
        shift = self.const("f32", 0.5, x.width)
        small = self.sub(self.bitcast(self.fadd(self.bitcast(body, "f32"), shift), "i32"), c(0x3F000000))
        odd = self.and_(self.lshr(body, c(13)), c(1))
        normal = self.lshr(self.add(body, self.add(odd, c(0xFFF - (112 << 23)))), c(13))
        out = self.select(self.icmp("ult", body, c(113 << 23)), small, normal)
        out = self.select(self.icmp("uge", body, c(0x477FF000)), c(0x7C00), out)
        nan = self.or_(c(0x7E00), self.and_(self.lshr(body, c(13)), c(0x3FF)))
        out = self.select(self.icmp("ugt", body, c(0x7F800000)), nan, out)
        return Reg(self._cast("trunc", self.or_(out, sign), "i16").name, "f16", x.width)

    # -------------------------------------------------------------------------------------------------- memory

    @staticmethod
    def _pointer(ptr: str) -> str:
        return ptr if ptr.startswith("ptr") else f"ptr {ptr}"

    def load(
        self, ptr: str, kind: str, align: int | None = None, width: int | None = None, invariant: bool = False
    ) -> Reg:
        """Read ``width`` neighbouring elements.

        Without ``align`` no more than the alignment of one element is assumed.  ``invariant`` promises that no one
        writes that memory while the function runs.
        """
        width = self.width if width is None else width
        align = kind_bytes(kind) if align is None else align
        tail = ", !invariant.load !1" if invariant else ""
        text = f"load {_memory_type(kind, width)}, {self._pointer(ptr)}, align {align}{tail}"
        if kind != "i1":
            return self.op(kind, width, text)
        byte = self.op("i8", width, text)
        return self.icmp("ne", byte, self.like(byte, 0))

    def store(self, x: Reg, ptr: str, align: int | None = None, nontemporal: bool = False) -> None:
        """Write the lanes of ``x``; ``nontemporal`` bypasses the caches (and needs the alignment of the vector)."""
        align = kind_bytes(x.kind) if align is None else align
        if x.kind == "i1":
            x = self._cast("zext", x, "i8")
        tail = ", !nontemporal !0" if nontemporal else ""
        self.line(f"store {x.operand}, {self._pointer(ptr)}, align {align}{tail}")

    def load_some(self, ptr: str, kind: str, mask: Reg) -> Reg:
        """Read the neighbouring elements whose lane of ``mask`` is set; no memory is touched for the others (zero)."""
        if mask.width == 1:
            raise TypeError("load_some is for vectors")
        element = "i8" if kind == "i1" else kind
        memory, suffix = _memory_type(kind, mask.width), _suffix(element, mask.width)
        self.declare(f"declare {memory} @llvm.masked.load.{suffix}.p0(ptr, i32, {mask.type}, {memory})")
        text = (
            f"call {memory} @llvm.masked.load.{suffix}.p0({self._pointer(ptr)}, i32 {kind_bytes(kind)}, "
            f"{mask.operand}, {memory} zeroinitializer)"
        )
        made = self.op(element, mask.width, text)
        return self.icmp("ne", made, self.like(made, 0)) if kind == "i1" else made

    def store_some(self, x: Reg, ptr: str, mask: Reg) -> None:
        """Write the lanes of ``x`` for which ``mask`` is set."""
        align = kind_bytes(x.kind)
        if x.kind == "i1":
            x = self._cast("zext", x, "i8")
        memory, suffix = x.type, _suffix(x.kind, x.width)
        self.declare(f"declare void @llvm.masked.store.{suffix}.p0({memory}, ptr, i32, {mask.type})")
        self.line(
            f"call void @llvm.masked.store.{suffix}.p0({x.operand}, {self._pointer(ptr)}, i32 {align}, {mask.operand})"
        )

    def gep(self, ptr: str, kind: str, index: Reg | str | int) -> str:
        """The pointer to element ``index``, signed and scalar; text is taken as an i64."""
        place = index.operand if isinstance(index, Reg) else f"i64 {index}"
        pointer = self._pointer(ptr)
        name = f"%p{next(self._names)}"
        self.lines.append(f"  {name} = getelementptr inbounds {_memory_type(kind)}, {pointer}, {place}")
        space = pointer.rpartition(" ")[0]
        return name if space == "ptr" else f"{space} {name}"

    def opaque(self, x: Reg) -> Reg:
        """The scalar ``x``, of which the optimiser knows nothing any more."""
        kind = {"f32": "i32", "f64": "i64"}.get(x.kind, x.kind)
        word = x if kind == x.kind else self.bitcast(x, kind)
        made = self.op(kind, 1, f'call {kind} asm "", "=r,0"({word.operand})')
        return made if kind == x.kind else self.bitcast(made, x.kind)

    def prefetch(self, ptr: str) -> None:
        """Have the cache fetch the line at ``ptr``, which need not be an address that exists."""
        self.declare("declare void @llvm.prefetch.p0(ptr, i32 immarg, i32 immarg, i32 immarg)")
        self.line(f"call void @llvm.prefetch.p0({self._pointer(ptr)}, i32 0, i32 3, i32 1)")

    def gather(self, ptr: str, kind: str, index: Reg) -> Reg:
        """Read one element for each lane of ``index``."""
        if index.width == 1:
            return self.load(self.gep(ptr, kind, index), kind, width=1)
        out = Reg("poison", kind, index.width)
        for lane in range(index.width):
            item = self.load(self.gep(ptr, kind, self.extract(index, lane)), kind, width=1)
            out = self.insert(out, item, lane)
        return out

    # --------------------------------------------------------------------------------------------------- lanes

    def extract(self, x: Reg, lane: int | Reg) -> Reg:
        """One lane as a scalar."""
        if x.width == 1:
            return x
        place = lane.operand if isinstance(lane, Reg) else f"i32 {lane}"
        return self.op(x.kind, 1, f"extractelement {x.operand}, {place}")

    def insert(self, x: Reg, s: Reg, lane: int | Reg) -> Reg:
        """``x`` with one lane replaced."""
        if x.width == 1:
            return s
        place = lane.operand if isinstance(lane, Reg) else f"i32 {lane}"
        return self.op(x.kind, x.width, f"insertelement {x.operand}, {s.operand}, {place}")

    def splat(self, s: Reg, width: int | None = None) -> Reg:
        """A scalar in every lane."""
        width = self.width if width is None else width
        if width == s.width:
            return s
        if s.width != 1:
            raise TypeError(f"splat of {s!r}: not a scalar")
        if s.name[0] != "%":
            return Reg(f"splat ({s.operand})", s.kind, width)
        first = self.insert(Reg("poison", s.kind, width), s, 0)
        whole = f"shufflevector {first.operand}, {first.type} poison, <{width} x i32> zeroinitializer"
        return self.op(s.kind, width, whole)

    def shuffle(self, x: Reg, y: Reg | None, lanes: Sequence[int]) -> Reg:
        """Choose lanes of x (numbered from 0) and y (numbered on from there)."""
        other = y.name if y is not None else "poison"
        mask = ", ".join(f"i32 {i}" for i in lanes)
        text = f"shufflevector {x.operand}, {x.type} {other}, <{len(lanes)} x i32> <{mask}>"
        out = self.op(x.kind, len(lanes), text)
        if len(lanes) == 1:
            return self.op(x.kind, 1, f"extractelement <1 x {_ELEMENT[x.kind]}> {out.name}, i32 0")
        return out

    def concat(self, x: Reg, y: Reg) -> Reg:
        """The lanes of x, then those of y (both of the same width)."""
        if x.width == 1:
            return self.insert(self.insert(Reg("poison", x.kind, 2), x, 0), y, 1)
        return self.shuffle(x, y, range(2 * x.width))

    def halves(self, x: Reg) -> tuple[Reg, Reg]:
        """The lower and the upper half of the lanes."""
        half = x.width // 2
        if half == 1:
            return self.extract(x, 0), self.extract(x, 1)
        return self.shuffle(x, None, range(half)), self.shuffle(x, None, range(half, x.width))

    def iota(self, kind: str, width: int | None = None) -> Reg:
        """0, 1, 2, ... over the lanes."""
        return self.const_lanes(kind, range(self.width if width is None else width))

    def reduce(self, x: Reg, combine: Callable[[Reg, Reg], Reg]) -> Reg:
        """Combine the lanes pairwise, halving the width until a scalar is left: always the same tree."""
        while x.width > 1:
            low, high = self.halves(x)
            x = combine(low, high)
        return x

    def any(self, c: Reg) -> Reg:
        """Whether any lane is true, as a scalar."""
        if c.width == 1:
            return c
        return self.intrinsic("vector.reduce.or", "i1", (c,), width=1)

    def all(self, c: Reg) -> Reg:
        """Whether every lane is true, as a scalar."""
        if c.width == 1:
            return c
        return self.intrinsic("vector.reduce.and", "i1", (c,), width=1)

    # -------------------------------------------------------------------------------------------- control flow

    def label(self, name: str) -> None:
        """Start a block; control falls into it if the block before has no end yet."""
        if not self.terminated:
            self.line(f"br label %{name}")
        self.lines.append(f"{name}:")
        self.block = name
        self.terminated = False

    def br(self, name: str) -> None:
        """Jump."""
        self.line(f"br label %{name}")
        self.terminated = True

    def cond_br(self, c: Reg, yes: str, no: str, likely: bool | None = None) -> None:
        """Jump to ``yes`` or ``no``.  ``likely`` tells the compiler which one to expect."""
        if likely is not None:
            expected = self.const("i1", likely, 1)
            c = self.intrinsic("expect", "i1", (c, expected))
        self.line(f"br {c.operand}, label %{yes}, label %{no}")
        self.terminated = True

    def ret(self, x: Reg | None = None) -> None:
        """Return."""
        self.line("ret void" if x is None else f"ret {x.operand}")
        self.terminated = True

    def phi(self, kind: str, incoming: Sequence[tuple[Reg | str, str]], width: int | None = None) -> Reg:
        """The value that goes with the block control came from; :meth:`add_incoming` adds pairs that come later."""
        width = self.width if width is None else width
        name = f"%t{next(self._names)}"
        pairs: list[str] = []
        self._phis[name] = (len(self.lines), type_text(kind, width), pairs)
        self.lines.append("")
        out = Reg(name, kind, width)
        for value, label in incoming:
            pairs.append(f"[ {value.name if isinstance(value, Reg) else value}, %{label} ]")
        self._write_phi(name)
        return out

    def add_incoming(self, phi: Reg, value: Reg | str, label: str) -> None:
        """Add a pair to a phi written before, such as a loop's back edge."""
        self._phis[phi.name][2].append(f"[ {value.name if isinstance(value, Reg) else value}, %{label} ]")
        self._write_phi(phi.name)

    def _write_phi(self, name: str) -> None:
        place, kind, pairs = self._phis[name]
        self.lines[place] = f"  {name} = phi {kind} {', '.join(pairs)}"

    @contextmanager
    def loop(self, start: Reg | int, stop: Reg | int, step: Reg | int = 1, carry: Sequence[Reg] = ()) -> Iterator[Loop]:
        """``for i in range(start, stop, step)`` over i64, with values carried along (see :class:`Loop`)."""

        def number(value: Reg | int) -> Reg:
            return value if isinstance(value, Reg) else self.const("i64", value, 1)

        head, body, done = self.fresh("loop"), self.fresh("body"), self.fresh("done")
        start, stop, step = number(start), number(stop), number(step)
        before = self.block
        self.label(head)
        i = self.phi("i64", [(start, before)], 1)
        values = [self.phi(v.kind, [(v, before)], v.width) for v in carry]
        self.cond_br(self.icmp("slt", i, stop), body, done)
        self.label(body)
        state = Loop(i, values)
        yield state
        following = values if state.following is None else state.following
        if len(following) != len(values):
            raise ValueError(f"the loop carries {len(values)} values, next() got {len(following)}")
        after = self.op("i64", 1, f"add nsw i64 {i.name}, {step.name}")
        for phi, value in zip([i, *values], [after, *following], strict=True):
            self.add_incoming(phi, value, self.block)
        self.br(head)
        self.label(done)

    def rarely(self, condition: Reg, usual: Sequence[Reg], slow: Callable[[], Sequence[Reg]]) -> list[Reg]:
        """``usual``, or what ``slow`` builds if any lane of ``condition`` is true.

        A real branch, for the rare arguments that need a long way round.  ``slow`` must itself choose, lane by lane,
        between its result and the usual one.
        """
        path, done = self.fresh("slow"), self.fresh("done")
        flag = self.any(condition)
        before = self.block
        self.cond_br(flag, path, done, likely=False)
        self.label(path)
        found = slow()
        after = self.block
        self.label(done)
        return [self.phi(u.kind, [(u, before), (v, after)], u.width) for u, v in zip(usual, found, strict=True)]
