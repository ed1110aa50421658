"""A module: declarations, globals, functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...llvm.machine import host_has_f16c, host_has_fma
from .builder import Builder
from .registers import constant_text, memory_type


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
            element = memory_type(kind)
            items = [f"{element} {constant_text(kind, value)}" for value in values]
            where = f"addrspace({space}) " if space else ""
            self.globals[name] = (
                f"@{name} = internal unnamed_addr {where}constant [{len(items)} x {element}] "
                f"[{', '.join(items)}], align {align}"
            )
        return f"ptr addrspace({space}) @{name}" if space else f"@{name}"

    def shared(self, name: str, kind: str, count: int, align: int = 16) -> str:
        """An array in the shared memory of a GPU block; returns the pointer's text."""
        self.globals[name] = (
            f"@{name} = internal addrspace(3) global [{count} x {memory_type(kind)}] undef, align {align}"
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
