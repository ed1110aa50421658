"""The body of a program as instructions, shared by every kind of kernel."""

from __future__ import annotations

from collections.abc import Callable

from .ir import Builder, Reg
from .layout import decode
from .lower import lower_formula


def emit_body(b: Builder, code: tuple, leaf: Callable[[int], Reg], params: list[Reg]) -> list[Reg]:
    """Emit every node. `leaf(k)` gives leaf k in its own kind; `params` are scalars already in 64-bit registers.

    Returns each node's result in the kind of its dtype.
    """
    results: list[Reg] = []
    converted: dict[tuple, Reg] = {}
    next_param = 0
    for instr, slots in decode(code):
        kind = instr.compute.compute_kind
        inputs: dict[str, Reg] = {}
        tensors = iter(zip(instr.in_dtypes, slots))
        for name, letter in zip(instr.op.names, instr.pattern):
            if letter == "s":
                number = params[next_param]
                next_param += 1
                inputs[name] = b.splat(b.convert(number, kind))
                continue
            dtype, slot = next(tensors)
            wanted = "i1" if name == "condition" else kind
            key = (slot, wanted)
            reg = converted.get(key)
            if reg is None:
                raw = leaf(slot) if slot >= 0 else results[-1 - slot]
                signed = dtype.is_signed if dtype.category < 2 else instr.compute.is_signed
                reg = converted[key] = b.convert(raw, wanted, signed)
            inputs[name] = reg
        made = lower_formula(b, instr.op.expr, inputs, instr.compute)
        out = instr.dtype
        signed = instr.compute.is_signed if instr.compute.category < 2 else out.is_signed
        results.append(b.convert(made, out.kind, signed))
    return results
