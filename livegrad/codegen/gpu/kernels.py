"""A program's kernel for GPUs: its PTX by architecture, kept in memory and on disk.

A kernel is made when it is first needed: CUDA's tier 0 has to compile as well, so waiting for it would gain nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ...llvm import cache, machine
from ..kernels import NoKernel, Policy
from ..layout import over_complex, packing
from . import target


class Kernel:
    """A program's kernel. Its only function is called `layout.NAME`.

    describe: what it is made from, for the name on disk. source: its LLVM IR. formats: how `pack` packs pointers and
    numbers (`struct`'s letters, 64 bits each). words: of its whole parameter block.
    loaded: for whoever launches it, its handle by device. together: the kernel that does several launches of this one
    (see `plan.join`), where there can be one.
    """

    __slots__ = ("describe", "source", "pack", "words", "loaded", "together", "error", "origin", "_texts")

    def __init__(self, describe: Callable[[], tuple], source: Callable[[], str], formats: str, words: int):
        self.describe = describe
        self.source = source
        self.pack = packing(formats)
        self.words = words
        self.loaded: dict[int | None, int] = {}
        self.together: Kernel | None = None
        self.error: Exception | None = None  # why it cannot be made
        self.origin = "hit"  # for the log: "compiled" or "from disk" until that has been told
        self._texts: dict[str, str] = {}

    def ptx(self, architecture: str) -> str:
        """Its PTX. Raises what goes wrong in making it."""
        found = self._texts.get(architecture)
        if found is None:
            name = cache.name_of(("ptx", architecture, *self.describe()))
            kept = cache.read(name)
            if kept is not None:
                self.origin = "from disk"
                found = kept.decode()
            else:
                found = machine.compile_ptx(self.source(), architecture)
                cache.write(name, found.encode())
                self.origin = "compiled"
            self._texts[architecture] = found
        return found

    def usable(self) -> bool:
        """Whether it is to be used: kernels are wanted, a compiler is there, and nothing went wrong before."""
        return Policy.mode != "never" and self.error is None and machine.compiler_available()

    def failed(self, error: Exception) -> None:
        """Remember why it cannot be used; raised where LIVEGRAD_STRICT is set, else tier 0 serves."""
        self.error = error
        if os.environ.get("LIVEGRAD_STRICT"):
            raise error


def of_reals(kernel: Kernel, code: tuple, *others: Any) -> Kernel:
    """A kernel that is just made; if it would read or make complex numbers, tier 0 serves."""
    if any(d.is_complex for d in others) or over_complex(code):
        kernel.error = NoKernel("kernels for GPUs compute real numbers")
    return kernel


class Launch:
    """A planned launch: how many blocks of how many threads, bytes of shared memory, and the last words of its
    parameters, which say sizes and strides."""

    __slots__ = ("kernel", "blocks", "threads", "shared", "tail")

    def __init__(self, kernel: Kernel, blocks: int, tail: bytes, threads: int = target.THREADS, shared: int = 0):
        self.kernel = kernel
        self.blocks = blocks
        self.threads = threads
        self.shared = shared
        self.tail = tail
