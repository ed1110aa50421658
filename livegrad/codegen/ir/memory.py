"""Loads, stores and addresses."""

from __future__ import annotations

from .conversions import Conversions
from .registers import PART, Reg, kind_alignment, kind_bytes, memory_type, suffix_text


class Memory(Conversions):
    """Reading and writing memory."""

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
        align = kind_alignment(kind) if align is None else align
        tail = ", !invariant.load !1" if invariant else ""
        text = f"load {memory_type(kind, width)}, {self._pointer(ptr)}, align {align}{tail}"
        if kind != "i1":
            return self.op(kind, width, text)
        byte = self.op("i8", width, text)
        return self.icmp("ne", byte, self.like(byte, 0))

    def store(self, x: Reg, ptr: str, align: int | None = None, nontemporal: bool = False) -> None:
        """Write the lanes of ``x``; ``nontemporal`` bypasses the caches (and needs the alignment of the vector)."""
        align = kind_alignment(x.kind) if align is None else align
        if x.kind == "i1":
            x = self._cast("zext", x, "i8")
        tail = ", !nontemporal !0" if nontemporal else ""
        self.line(f"store {x.operand}, {self._pointer(ptr)}, align {align}{tail}")

    def load_some(self, ptr: str, kind: str, mask: Reg) -> Reg:
        """Read the neighbouring elements whose lane of ``mask`` is set; no memory is touched for the others (zero)."""
        if mask.width == 1:
            raise TypeError("load_some is for vectors")
        if kind in PART:
            return Reg(self.load_some(ptr, PART[kind], self._twice(mask)).name, kind, mask.width)
        element = "i8" if kind == "i1" else kind
        memory, suffix = memory_type(kind, mask.width), suffix_text(element, mask.width)
        self.declare(f"declare {memory} @llvm.masked.load.{suffix}.p0(ptr, i32, {mask.type}, {memory})")
        text = (
            f"call {memory} @llvm.masked.load.{suffix}.p0({self._pointer(ptr)}, i32 {kind_bytes(kind)}, "
            f"{mask.operand}, {memory} zeroinitializer)"
        )
        made = self.op(element, mask.width, text)
        return self.icmp("ne", made, self.like(made, 0)) if kind == "i1" else made

    def _twice(self, mask: Reg) -> Reg:
        """A mask of complex numbers for their parts."""
        return self.shuffle(mask, None, [lane for lane in range(mask.width) for _ in range(2)])

    def store_some(self, x: Reg, ptr: str, mask: Reg) -> None:
        """Write the lanes of ``x`` for which ``mask`` is set."""
        if x.kind in PART:
            x, mask = self.flat(x), self._twice(mask)
        align = kind_bytes(x.kind)
        if x.kind == "i1":
            x = self._cast("zext", x, "i8")
        memory, suffix = x.type, suffix_text(x.kind, x.width)
        self.declare(f"declare void @llvm.masked.store.{suffix}.p0({memory}, ptr, i32, {mask.type})")
        self.line(
            f"call void @llvm.masked.store.{suffix}.p0({x.operand}, {self._pointer(ptr)}, i32 {align}, {mask.operand})"
        )

    def gep(self, ptr: str, kind: str, index: Reg | str | int) -> str:
        """The pointer to element ``index``, signed and scalar; text is taken as an i64."""
        place = index.operand if isinstance(index, Reg) else f"i64 {index}"
        pointer = self._pointer(ptr)
        name = f"%p{next(self._names)}"
        self.lines.append(f"  {name} = getelementptr inbounds {memory_type(kind)}, {pointer}, {place}")
        space = pointer.rpartition(" ")[0]
        return name if space == "ptr" else f"{space} {name}"

    def opaque(self, x: Reg) -> Reg:
        """The scalar ``x``, of which the optimiser knows nothing any more."""
        if x.kind in PART:
            return self.paired(*map(self.opaque, self.parts(x)), x.kind)
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
