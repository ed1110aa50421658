"""Evaluating a single operator on ready operands of its own shape: most of what a program reads one by one.

It is what `evaluate` does with a piece of one node, where everything but the addresses is known from before: the plan
is found by instruction and shape alone, and nothing is made but the result.
"""

from __future__ import annotations

from typing import Any

from ..codegen import kernels
from ..codegen.layout import CONTIGUOUS
from ..devices import cpu
from ..native import hot, slotted
from ..observe import WATCH
from ..runtime import pool
from ..runtime.array import Array
from ..runtime.memory import allocate
from ..runtime.refusal import out_of_memory_for
from .plans import finish_outside
from .reuse import OVERWRITTEN
from .value import Value, settle

MAX_SHAPES = 256  # of one instruction


@slotted
class Single:
    """How an instruction is launched over a shape, each operand in row-major memory of its own."""

    __slots__ = ("kernel", "total", "grain", "nbytes", "strides")


def remember(piece: Any, plan: Any) -> None:
    """Note the plan of a piece of one node, if `run` may evaluate the like of it from now on."""
    plan.noted = True
    root = piece.nodes[-1]
    instr = root.instr
    if len(piece.leaves) != len(root.operands) or plan.tail or not plan.total:
        return  # some operand comes twice, or is read over and over
    if plan.classes is None or any(c != CONTIGUOUS for c in plan.classes):
        return
    made = Single()
    made.kernel, made.total, made.grain = plan.kernel, plan.total, plan.grain
    made.nbytes, made.strides = plan.sizes[0], plan.strides
    if len(instr.singles) >= MAX_SHAPES:
        instr.singles.clear()
    instr.singles[root.shape] = made


@hot
def run(root: Value) -> bool:
    """Evaluate `root`, which is pending; False where that is not for this module, and nothing was done."""
    shape = root.shape
    single = root.instr.singles.get(shape)
    if single is None or WATCH.observer is not None or root.device is not cpu or kernels.Policy.mode == "never":
        return False
    operands = root.operands
    before = None
    for o in operands:
        a = o.array
        if a is None or o is before or not a.contiguous or o.owner is OVERWRITTEN:
            return False
        if a.shape is not shape and a.shape != shape:
            return False
        before = o
    n = len(operands)
    params = root.params
    try:
        block = allocate(single.nbytes)
    except MemoryError as refused:
        raise out_of_memory_for(refused, shape, root.dtype)  # noqa: B904  (hot functions know no `from`)
    made = Array(block, 0, shape, single.strides, root.dtype, True)
    pack = single.kernel.pack
    if n == 1:
        if params:
            args = pack(made.ptr, operands[0].array.ptr, *params)  # type: ignore[union-attr]
        else:
            args = pack(made.ptr, operands[0].array.ptr)  # type: ignore[union-attr]
    elif n == 2 and not params:
        args = pack(made.ptr, operands[0].array.ptr, operands[1].array.ptr)  # type: ignore[union-attr]
    elif n == 3 and operands[0] is operands[2]:
        return False
    else:
        args = pack(made.ptr, *[o.array.ptr for o in operands], *params)  # type: ignore[union-attr]
    pool.enqueue(single.kernel.address, args, single.total, single.grain)
    finish_outside(operands)
    settle(root, made)
    return True
