"""What is known of a kernel before it is written: how leaves are read, how arguments are packed, what reductions do.

Planning a launch needs only this; the modules that write kernels are loaded when one has to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any

from .. import dtypes
from ..llvm.machine import host_vector_bytes
from ..ops.instruction import BY_ID, Instruction
from .parts import has_parts

NAME = "kernel"  # of the function in every kernel's module
# How a leaf is read along the innermost dimension.
CONTIGUOUS, SCALAR, STRIDED = 0, 1, 2
# A few contiguous elements that are read over and over, as those of a bias are in every row; flat programs only.
PERIODIC = 3
MAX_PERIOD = 64  # elements


# The instructions of a program


def decode(code: tuple) -> Iterator[tuple[Instruction, tuple]]:
    """(instruction, slots of its tensor operands) for each node."""
    i = 0
    while i < len(code):
        instr = BY_ID[code[i]]
        n = len(instr.in_dtypes)
        yield instr, code[i + 1 : i + 1 + n]
        i += 1 + n


def leaf_dtypes(code: tuple, leaves: int) -> list:
    """The dtype of each leaf, as the instructions that read it say."""
    found: list = [None] * leaves
    for instr, slots in decode(code):
        for d, s in zip(instr.in_dtypes, slots):
            if s >= 0:
                found[s] = d
    return found


def node_dtypes(code: tuple) -> list:
    """The dtype of each node's result."""
    return [instr.dtype for instr, _ in decode(code)]


# How a Python number is passed, by the category of the dtype that it is computed in: "d", a double; "q", a 64-bit
# integer; "D", two doubles, the parts of a complex number.
_FORMATS = {dtypes.BOOL: "q", dtypes.INTEGRAL: "q", dtypes.FLOATING: "d", dtypes.COMPLEX: "D"}


def param_formats(code: tuple) -> str:
    """How each Python number is passed."""
    return "".join(_FORMATS[instr.compute.category] * len(instr.scalar_positions) for instr, _ in decode(code))


def packing(formats: str) -> Callable:
    """The function that packs words, of these formats, into bytes."""
    plain = Struct("=" + formats.replace("D", "dd")).pack
    places = [k for k, letter in enumerate(formats) if letter == "D"]
    if not places:
        return plain

    def pack_one(result: int, operand: int, z: Any) -> bytes:  # most programs with a number are of one operator
        return plain(result, operand, z.real, z.imag)

    def pack(*words: Any) -> bytes:
        parts = [*words]
        for k in reversed(places):
            z = words[k]
            parts[k : k + 1] = z.real, z.imag
        return plain(*parts)

    return pack_one if formats == "qqD" else pack


def over_complex(code: tuple) -> bool:
    """Whether an instruction reads or computes complex numbers."""
    return any(d.is_complex for instr, _ in decode(code) for d in (instr.compute, *instr.in_dtypes))


def beyond_parts(code: tuple) -> bool:
    """Whether an instruction computes what there is no formula for over the parts of complex numbers."""
    return any(instr.compute.is_complex and not has_parts(instr.op.expr) for instr, _ in decode(code))


def number_kinds(code: tuple) -> list[tuple[str, str]]:
    """The same with the kind of register that each is computed in."""
    found = []
    for instr, _ in decode(code):
        letter = "d" if instr.compute.is_floating_point else "q"
        found += [(letter, instr.compute.compute_kind)] * len(instr.scalar_positions)
    return found


def lanes(all_dtypes: list[dtypes.dtype], vector_bytes: int) -> int:
    """How many elements one vector instruction takes: what fits of the widest dtype that is computed in.

    Complex numbers are computed in parts.
    """
    widest = max((dtypes.float32.itemsize if d.kind in ("f16", "bf16") else d.to_real().itemsize) for d in all_dtypes)
    return max(vector_bytes // max(widest, 4), 1)


# Reductions

COLUMN_BLOCK = 2048


class Reduction:
    """How values combine: the primitive, and the value that changes nothing.

    parts: the reduction that makes partial results, which this one then reduces. divides: whether the result is divided
    by a number at the end, which follows the arguments of what feeds it.
    """

    def __init__(
        self, name: str, primitive: str, identity: Callable[[dtypes.dtype], float | int | bool], parts: str = ""
    ):
        self.name = name
        self.primitive = primitive
        self.identity = identity
        self.parts = parts or name
        self.divides = self.parts != name


def _lowest(d: dtypes.dtype) -> float | int:
    return float("-inf") if d.is_floating_point else (False if d is dtypes.bool_ else dtypes.iinfo(d).min)


def _highest(d: dtypes.dtype) -> float | int:
    return float("inf") if d.is_floating_point else (True if d is dtypes.bool_ else dtypes.iinfo(d).max)


REDUCTIONS = {
    r.name: r
    for r in (
        Reduction("sum", "add", lambda d: 0),
        Reduction("mean", "add", lambda d: 0, parts="sum"),
        Reduction("prod", "mul", lambda d: 1),
        Reduction("amax", "maximum", _lowest),
        Reduction("amin", "minimum", _highest),
        # Of row programs alone, see `ops.rowprogram`: a NaN is passed over.
        Reduction("top", "larger", _lowest),
        Reduction("bottom", "smaller", _highest),
        Reduction("any", "or_", lambda d: False),
        Reduction("all", "and_", lambda d: True),
    )
}


# Running totals

# By name: the primitive, and the value that changes nothing, for a dtype that is carried.
SCANS: dict[str, tuple[str, Callable[[dtypes.dtype], float | int]]] = {
    "cumsum": ("add", lambda d: 0),
    "cumprod": ("mul", lambda d: 1),
    "cummax": ("maximum", _lowest),
    "cummin": ("minimum", _highest),
}
SCAN_COLUMNS = 8  # vectors of rows in a work item of a scan across them


def running_dtype(d: dtypes.dtype) -> dtypes.dtype:
    """The dtype in which running totals of `d` are carried: float64 for float32, so that errors do not pile up."""
    if d.category == dtypes.COMPLEX:
        return dtypes.complex128
    if d.category == dtypes.FLOATING:
        return dtypes.float64 if d.itemsize > 2 else dtypes.float32
    return dtypes.int64


def scan_width(code: tuple, leaves: int, source: dtypes.dtype, out: dtypes.dtype) -> int:
    """How many lanes a vector of a scan has."""
    used = [*(leaf_dtypes(code, leaves) if code else [source]), *node_dtypes(code), running_dtype(source), out]
    return max(2, lanes(used, host_vector_bytes()))


# Convolutions

# At most so many taps are summed up in registers before they are added to the rest: longer chains round more.
CHAIN = 128
