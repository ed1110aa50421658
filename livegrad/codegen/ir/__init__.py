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

from ...llvm.machine import host_vector_bytes
from .builder import Builder, Loop
from .module import Module
from .registers import KINDS, Reg, kind_bits, kind_bytes, type_text

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
