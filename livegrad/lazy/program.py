"""Programs: the canonical, hashable form of a fused piece of the pending graph.

A program says which instructions run on which operands, what is written, and how each leaf is laid out. It knows no
size, no number and no name, so a step that differs from an earlier one only in those finds its kernel again.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from ..native import hot, slotted
from ..runtime.array import numel
from .value import Value

# One kernel takes at most this many operators and arguments; a larger piece is evaluated from its middle first.
MAX_NODES = 160
MAX_LEAVES = 48

_weight = attrgetter("weight")


@slotted
class Piece:
    """A linearised piece of the pending graph.

    nodes: pending values, operands first, the root last. leaves: ready values that they read.
    code: for each node the instruction's id, then a slot per tensor operand: leaf k is k, node j is -1 - j.
    outputs: indices of the nodes that are written. params: all Python numbers, in order.
    """

    __slots__ = ("nodes", "leaves", "code", "outputs", "params", "counts")


@hot
def linearize(root: Value, evaluate: Any, write_root: bool = True) -> Piece:
    """The piece of the pending graph that computes `root`.

    An operand of another shape is evaluated first, unless it has one element and nobody else asks for it.
    """
    while True:
        shape = root.shape
        cone = [root]
        counts = {root: 0}
        boundary = None
        for v in cone:
            for o in v.operands:
                if o.array is None:
                    c = counts.get(o)
                    if c is not None:
                        counts[o] = c + 1
                    elif o.shape == shape or _inlined(o):
                        counts[o] = 1
                        cone.append(o)
                    else:
                        boundary = o
                        break
            if boundary is not None:
                break
        if boundary is not None:
            evaluate(boundary, "operand of another shape")
            continue
        if len(cone) > 1:
            cone.sort(key=_weight)
            if len(cone) > MAX_NODES:
                evaluate(cone[len(cone) // 2], "bound: operators")
                continue
        piece = encode(cone, counts, write_root)
        if len(piece.leaves) > MAX_LEAVES and len(cone) > 1:
            evaluate(cone[len(cone) // 2 - 1 if len(cone) > 2 else 0], "bound: arguments")
            continue
        return piece


@hot
def _inlined(o: Value) -> bool:
    if numel(o.shape) != 1 or o.uses != 1:
        return False
    return o.owner is None or o.owner() is None


@hot
def encode(cone: list[Value], counts: dict[Value, int], write_root: bool) -> Piece:
    """The piece of these pending values, operands first. counts: how often each is an operand of another one."""
    code: list[int] = []
    leaves: list[Value] = []
    slots: dict[Value, int] = {}
    params: tuple = ()
    j = -1  # node k has slot -1 - k
    for v in cone:
        code.append(v.instr.id)
        for o in v.operands:
            s = slots.get(o)
            if s is None:
                if o.array is None:
                    raise RuntimeError(
                        "a value that this result needs was lost when an in-place update was interrupted; "
                        "compute it again"
                    )
                s = slots[o] = len(leaves)
                leaves.append(o)
            code.append(s)
        if v.params:
            params = params + v.params if params else v.params
        slots[v] = j
        j -= 1
    root = cone[-1]
    outputs = []
    for j, v in enumerate(cone):
        if v is root:
            if write_root:
                outputs.append(j)
        elif v.uses > 1 and v.uses > counts[v]:
            outputs.append(j)
        else:
            owner = v.owner
            if owner is not None and owner() is not None:
                outputs.append(j)
    piece = Piece()
    piece.nodes = cone
    piece.leaves = leaves
    piece.code = tuple(code)
    piece.outputs = tuple(outputs)
    piece.params = params
    piece.counts = counts
    return piece


def merged_dims(
    shape: tuple, strides: list[tuple], kinds: tuple | None = None
) -> tuple[list[int], list[list[int]], list]:
    """Drop dimensions of size 1 and merge neighbours that every operand walks through evenly.

    kinds: optionally a label per dimension; only neighbours with the same label merge.
    Returns sizes, and for each operand its strides, and the labels.
    """
    sizes: list[int] = []
    merged: list[list[int]] = [[] for _ in strides]
    labels: list = []
    for d, n in enumerate(shape):
        if n == 1:
            continue
        label = kinds[d] if kinds is not None else None
        if sizes and labels[-1] == label and all(m[-1] == s[d] * n for m, s in zip(merged, strides)):
            sizes[-1] *= n
            for m, s in zip(merged, strides):
                m[-1] = s[d]
        else:
            sizes.append(n)
            labels.append(label)
            for m, s in zip(merged, strides):
                m.append(s[d])
    return sizes, merged, labels


def broadcast_strides(array: Any, shape: tuple) -> tuple:
    """Strides with which `array` is read over the index space `shape` (0 along broadcast dimensions)."""
    own = array.shape
    missing = len(shape) - len(own)
    out = [0] * missing
    for n, s in zip(own, array.strides):
        out.append(0 if n == 1 else s)
    return tuple(out)
