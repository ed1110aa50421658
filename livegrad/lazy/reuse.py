"""The memory of operands that an in-place operator has replaced, used again for a result."""

from __future__ import annotations

from typing import Any

from ..codegen.layout import CONTIGUOUS
from ..native import hot
from ..runtime.array import Array
from .value import Value


class Overwritten:
    """Stands for the owner of a value that an in-place operator has replaced: nobody can ask for it any more."""

    def __call__(self) -> None:
        return None


OVERWRITTEN = Overwritten()


class ValueLost(RuntimeError):
    """What a program would read has been given away."""


class Lost:
    """Stands for the instruction of a value whose memory was given to a result that then was not made."""

    relabels = False

    @property
    def id(self) -> int:
        raise ValueLost(
            "a value that this result needs was lost when an in-place update of it was interrupted; compute it again "
            "from its inputs"
        )


LOST = Lost()


@hot
def take(free: list[Value], itemsize: int) -> Array | None:
    """The memory of the first of these leaves whose items have that size, which leaves the list."""
    for leaf in free:
        if leaf.dtype.itemsize == itemsize:
            free.remove(leaf)
            return leaf.array
    return None


@hot
def reusable(piece: Any, classes: list) -> list[Value]:
    """Leaves that only this piece holds, so that a result may be written into their memory.

    Every unwritten node must be gone afterwards too, or it could not be computed again.
    """
    found = [
        leaf
        for leaf, c in zip(piece.leaves, classes)
        if leaf.owner is OVERWRITTEN and c == CONTIGUOUS and leaf.kept == 0 and leaf.lease is None
    ]
    for j, v in enumerate(piece.nodes):
        # What no tensor has had yet (owner None) may be in the hands of a gradient formula or of the engine.
        if v.kept or (v.owner is None and j not in piece.outputs):
            return []
    counts = dict.fromkeys(found, 0)
    for v in piece.nodes:
        for o in v.operands:
            if o in counts:
                counts[o] += 1
    return [leaf for leaf in found if leaf.uses == counts[leaf]]


@hot
def empty_reused(leaves: list[Value], targets: list[Array]) -> None:
    """Empty the leaves whose memory is about to be overwritten, so that nobody reads them by mistake."""
    for leaf in leaves:
        if leaf.owner is OVERWRITTEN:
            block = leaf.array.block  # type: ignore[union-attr]
            for a in targets:
                if a.block is block:
                    leaf.array = None
                    leaf.instr = LOST  # unless the result is made, which nothing but an interruption prevents
                    break
