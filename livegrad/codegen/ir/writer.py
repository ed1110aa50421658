"""Appending lines to the body of a function: names, calls, constants."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from ...llvm.machine import host_vector_bytes, is_x86
from .registers import ELEMENT, PART, Reg, constant_text, suffix_text, type_text

if TYPE_CHECKING:
    from .module import Module


class Writer:
    """Appends instructions to one function body (see `Builder`)."""

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

    @contextmanager
    def at_width(self, width: int) -> Iterator[Self]:
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
        full = f"llvm.{name}.{suffix_text(first.kind, first.width)}"
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

    def const(self, kind: str, value: complex | float | int | bool, width: int | None = None) -> Reg:
        """A constant in every lane."""
        width = self.width if width is None else width
        if kind in PART:
            value = complex(value)
            return Reg(self.const_lanes(PART[kind], [value.real, value.imag] * width).name, kind, width)
        text = constant_text(kind, value)
        if width != 1:
            text = f"splat ({ELEMENT[kind]} {text})"
        return Reg(text, kind, width)

    def const_lanes(self, kind: str, values: Sequence[float | int]) -> Reg:
        """A constant vector with a value of its own in each lane."""
        if len(values) == 1:
            return self.const(kind, values[0], 1)
        element = ELEMENT[kind]
        text = ", ".join(f"{element} {constant_text(kind, v)}" for v in values)
        return Reg(f"<{text}>", kind, len(values))

    def like(self, x: Reg, value: complex | float | int | bool) -> Reg:
        """A constant of the kind and width of ``x``."""
        return self.const(x.kind, value, x.width)
