"""Evaluating a single operator on ready operands: most of what a program reads one by one.

It is what `evaluate` does with a piece of one node, where everything but the addresses is known from before: the plan
is found by the instruction, the shape and how the operands lie, and nothing is made but the result.
"""

from __future__ import annotations

from typing import Any

from ..codegen import kernels
from ..devices import cpu
from ..native import hot, slotted
from ..observe import WATCH
from ..runtime import pool
from ..runtime.array import Array
from ..runtime.memory import allocate
from ..runtime.refusal import out_of_memory_for
from .plans import finish_outside, layouts
from .reuse import OVERWRITTEN
from .value import Value, settle

MAX_SHAPES = 1024  # of one instruction, and ways in which operands lie


@slotted
class Single:
    """How an instruction is launched over a shape, on operands that lie in one way."""

    __slots__ = ("kernel", "total", "grain", "nbytes", "strides", "tail")


@hot
def _key(operands: tuple, shape: tuple) -> tuple:
    """What a launch is known by: the shape, and how operands lie, unless all are row-major and of that shape."""
    for o in operands:
        a = o.array
        if not a.contiguous or (a.shape is not shape and a.shape != shape):
            return shape, layouts(operands, shape)
    return shape


def remember(piece: Any, plan: Any) -> None:
    """Note the plan of a piece of one node, if `run` may evaluate the like of it from now on."""
    root = piece.nodes[-1]
    instr = root.instr
    if any(o.array is None for o in root.operands):
        return  # its memory was used again
    plan.noted = True
    if not plan.total or len(piece.leaves) != len(root.operands):
        return  # there is nothing to do, or some operand comes twice
    if any(leaf is not o for leaf, o in zip(piece.leaves, root.operands)):
        return
    made = Single()
    made.tail = plan.tail
    made.kernel, made.total, made.grain = plan.kernel, plan.total, plan.grain
    made.nbytes, made.strides = plan.sizes[0], plan.strides
    if len(instr.singles) >= MAX_SHAPES:
        instr.singles.clear()
    instr.singles[_key(root.operands, root.shape)] = made


@hot
def run(root: Value) -> bool:
    """Evaluate `root`, which is pending; False where that is not for this module, and nothing was done."""
    singles = root.instr.singles
    if not singles or WATCH.observer is not None or root.device is not cpu or kernels.Policy.mode == "never":
        return False
    operands = root.operands
    before = None
    for o in operands:
        if o.array is None or o is before or o.owner is OVERWRITTEN:
            return False
        before = o
    shape = root.shape
    single = singles.get(_key(operands, shape))
    if single is None:
        return False
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
    if single.tail:
        args = args + single.tail
    pool.enqueue(single.kernel.address, args, single.total, single.grain)
    finish_outside(operands)
    settle(root, made)
    return True
