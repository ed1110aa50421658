"""The pending work that feeds a kernel which is not elementwise, taken into it."""

from __future__ import annotations

from typing import Any

from ..codegen import kernels
from ..native import hot
from ..runtime.array import numel
from .evaluate import evaluate
from .program import linearize
from .value import Value

CHEAP = 8  # operations as fast as an addition


@hot
def _cheap(piece: Any, shape: tuple) -> bool:
    """Whether computing a piece takes no more than reading its result would: little arithmetic, one operand to read."""
    if len(piece.nodes) > 4:
        return False
    elements = numel(shape)
    read = 0
    for leaf in piece.leaves:
        if numel(leaf.shape) == elements:
            read += 1
    return read <= 1 and kernels.code_cost(piece.code) <= CHEAP


@hot
def fused_source(x: Value, reason: str, wider: bool = False) -> Any:
    """The pending work that makes `x`, to be taken into the kernel that reads it; None where x is in memory.

    It is not written then. If somebody asks for it later (whoever called this can), it is computed again, once.
    wider: see `linearize`.
    """
    if x.array is not None:
        return None
    piece = None
    if x.uses:
        # Something else reads it too: write it, then read what was written, unless making it again is no more work.
        piece = linearize(x, evaluate, False, wider)
        if x.array is not None:
            return None
        if piece.outputs or not _cheap(piece, x.shape):
            evaluate(x, reason)
            return None
    # A reduction does not write the intermediates that it computes. What one needs for the second time is written. So
    # a chain that goes through reductions (x = x - logsumexp(x), again and again) is not computed from its beginning in
    # each of them.
    if piece is None:
        piece = linearize(x, evaluate, False, wider, True)
        if x.array is not None:
            return None
    for j in piece.outputs:
        piece.nodes[j].passed = True
    x.uses += 1
    x.passed = True
    return piece
