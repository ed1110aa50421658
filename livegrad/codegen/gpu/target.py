"""NVIDIA GPUs as a target: architectures, the frame of a kernel, and where a thread is.

module, b, args = entry(words)          # a kernel whose parameter block has that many words
out, x = args.pointer(), args.pointer() # in the order in which they were packed
n = args.word()
with grid_stride(b, n) as i:            # for every i below n, shared among all threads of the grid
    b.store(b.load(b.gep(x, "f32", i), "f32"), b.gep(out, "f32", i))
text = args.finish(module)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..ir import Builder, Module, Reg
from ..layout import NAME, number_kinds

# Architectures that PTX is made for, by the least compute capability: what a GPU between two of them takes is the
# lower one's, which its driver translates. LLVM asks for the oldest version of PTX that knows the architecture, so
# that drivers as old as the architecture take it.
ARCHITECTURES = (((10, 0), "sm_100"), ((9, 0), "sm_90"), ((8, 0), "sm_80"), ((7, 5), "sm_75"))
THREADS = 256  # in a block, unless a kernel wants another number
DIRECT_WORDS = 512  # of parameters: the 4096 bytes that every driver passes by value


def architecture(capability: tuple[int, int]) -> str | None:
    """The architecture to make PTX for; None for a GPU that is too old."""
    for least, name in ARCHITECTURES:
        if capability >= least:
            return name
    return None


class Parameters:
    """Reads the words of a kernel's parameter block in order."""

    def __init__(self, b: Builder, words: int, base: str):
        self.b = b
        self.words = words
        self.next = 0
        self._base = base

    def word(self, kind: str = "i64") -> Reg:
        """The next word; of a narrower kind its low bytes, which come first in memory."""
        if self.next >= self.words:
            raise ValueError(f"a kernel with {self.words} words of parameters reads one more")
        place = self.b.gep(self._base, "i64", self.next)
        self.next += 1
        return self.b.load(place, kind, align=8, width=1, invariant=self.words > DIRECT_WORDS)

    def pointer(self) -> str:
        """The next word as a pointer into the device's memory."""
        name = self.b.fresh("global")
        self.b.line(f"%{name} = inttoptr {self.word().operand} to ptr addrspace(1)")
        return f"ptr addrspace(1) %{name}"

    def numbers(self, code: tuple) -> list[Reg]:
        """The Python numbers of a program, already in the kinds that it computes in."""
        found = []
        for letter, kind in number_kinds(code):
            found.append(self.b.convert(self.word("f64" if letter == "d" else "i64"), kind))
        return found

    def finish(self, module: Module) -> str:
        """The module's text. Raises ValueError if words are left: then the two sides do not agree."""
        if self.next != self.words:
            raise ValueError(f"a kernel with {self.words} words of parameters reads {self.next}")
        return module.text()


def entry(words: int, threads: int = THREADS) -> tuple[Module, Builder, Parameters]:
    """Start the kernel of a module. threads: the most that a block will have."""
    module = Module("ptx")
    if words <= DIRECT_WORDS:
        b = module.function(NAME, [(f"ptr byval([{max(words, 1)} x i64]) align 8", "%args")], bounds=threads)
        return module, b, Parameters(b, words, "%args")
    b = module.function(NAME, [("ptr addrspace(1) noalias readonly", "%args")], bounds=threads)
    return module, b, Parameters(b, words, "ptr addrspace(1) %args")


def special(b: Builder, name: str) -> Reg:
    """A special register, an i32: tid, ntid, ctaid or nctaid, with its axis (``tid.x``), or laneid."""
    function = f"llvm.nvvm.read.ptx.sreg.{name}"
    b.declare(f"declare i32 @{function}()")
    return b.call(function, "i32", [])  # type: ignore[return-value]


@contextmanager
def grid_stride(
    b: Builder, items: Reg, threads: int = THREADS, block: Reg | None = None, blocks: Reg | None = None
) -> Iterator[Reg]:
    """For every i64 index below `items`, each in one thread of the grid. Blocks have exactly `threads` threads.

    block, blocks: this block's number and how many there are, unless they are the launch's.
    """
    size = b.const("i32", threads, 1)
    block = special(b, "ctaid.x") if block is None else block
    blocks = special(b, "nctaid.x") if blocks is None else blocks
    first = b.add(b.mul(block, size), special(b, "tid.x"))
    step = b.mul(blocks, size)
    with b.loop(b.convert(first, "i64", signed=False), items, b.convert(step, "i64", signed=False)) as loop:
        yield loop.i
