"""Programs: the canonical, hashable form of a fused piece of the pending graph.

A program says which instructions run on which operands, what is written, and how each leaf is laid out. It knows no
size, no number and no name, so a step that differs from an earlier one only in those finds its kernel again.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from ..native import hot, slotted
from ..runtime.array import contiguous_strides, numel, view_strides
from .value import Value, from_array, take_memory

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
    relabels: nodes that somebody can ask for and that take the memory of an output, in another shape.
    """

    __slots__ = ("nodes", "leaves", "code", "outputs", "params", "relabels")


@hot
def linearize(
    root: Value, evaluate: Any, write_root: bool = True, wider: bool = False, passing: bool = False
) -> Piece:  # fmt: skip
    """The piece of the pending graph that computes `root`.

    An operand of another shape is evaluated first, unless it has one element and nobody else asks for it, or as many
    elements as the operator that reads it: then only the names of places differ, and they are those of the root.
    wider: the piece will be read over a shape that the root broadcasts to, so each leaf has to have the root's names.
    passing: the piece will be computed without being written; so what has been passed over before is evaluated first.
    """
    while True:
        if root.instr.relabels and root.operands[0].array is not None:
            take_memory(root)
            return Piece()  # there is nothing left to do
        for o in root.operands:
            if o.array is None:
                break
        else:
            return _alone(root, write_root)
        shape = root.shape
        cone = [root]
        counts = {root: 0}
        boundary = None
        reason = "operand of another shape"
        others = None  # shapes that are the root's under other names
        for v in cone:
            for o in v.operands:
                if o.array is None:
                    c = counts.get(o)
                    if c is not None:
                        counts[o] = c + 1
                    elif o.instr.relabels and o.operands[0].array is not None:
                        take_memory(o)
                    elif passing and o.passed:
                        boundary, reason = o, "needed again"
                        break
                    elif o.shape == shape or (others is not None and o.shape in others) or _inlined(o):
                        counts[o] = 1
                        cone.append(o)
                    elif (v.shape == shape or (others is not None and v.shape in others)) and _as_many(o, v):
                        if others is None:
                            others = set()
                        others.add(o.shape)
                        counts[o] = 1
                        cone.append(o)
                    else:
                        boundary = o
                        break
            if boundary is not None:
                break
        if boundary is not None:
            evaluate(boundary, reason)
            continue
        if len(cone) > 1:
            cone.sort(key=_weight)
            if len(cone) > MAX_NODES:
                evaluate(cone[len(cone) // 2], "bound: operators")
                continue
        stand_ins = None
        if others is not None:
            stand_ins = {}
            blocked = _lay_over(cone, shape, stand_ins, wider)
            if blocked is not None:
                evaluate(blocked, "operand of another shape")
                continue
            if not stand_ins:
                stand_ins = None
        piece = encode(cone, counts, write_root, stand_ins)
        if len(piece.leaves) > MAX_LEAVES and len(cone) > 1:
            evaluate(cone[len(cone) // 2 - 1 if len(cone) > 2 else 0], "bound: arguments")
            continue
        return piece


@hot
def _alone(root: Value, write_root: bool) -> Piece:
    """The piece of a single operator, whose operands are all ready: what `encode` would make, with less ado."""
    code = [root.instr.id]
    leaves: list[Value] = []
    for o in root.operands:
        k = 0
        for leaf in leaves:
            if leaf is o:
                break
            k += 1
        else:
            leaves.append(o)
        code.append(k)
    piece = Piece()
    piece.nodes = [root]
    piece.leaves = leaves
    piece.code = tuple(code)
    piece.outputs = _FIRST if write_root else ()
    piece.params = root.params
    piece.relabels = []
    return piece


_FIRST = (0,)


@hot
def _inlined(o: Value) -> bool:
    if numel(o.shape) != 1 or o.uses != 1:
        return False
    return o.owner is None or o.owner() is None


@hot
def _as_many(o: Value, v: Value) -> bool:
    """Whether an operand has as many elements as what is made of it."""
    return numel(o.shape) == numel(v.shape)


@hot
def _lay_over(cone: list[Value], shape: tuple, stand_ins: dict, wider: bool) -> Value | None:
    """Find how leaves that are read over a shape of another name are read over `shape`.

    Most are read in the order of their memory, by either name (see `flat`). stand_ins: gets for each of the others and
    its shape a window onto its memory. Returns what has to be evaluated first where there is none.
    """
    size = -1 if wider else numel(shape)
    for v in cone:
        own = v.shape
        if own == shape:
            continue
        for o in v.operands:
            a = o.array
            if a is None or (a.contiguous and numel(a.shape) == size):
                continue
            if (o, own) not in stand_ins:
                seen = _read_over(o, own, shape)
                if seen is None:
                    blocked = None
                    for w in cone:
                        if w.shape == own:
                            blocked = w
                    return blocked
                if seen is not o:
                    stand_ins[o, own] = seen
    return None


@hot
def _read_over(leaf: Value, own: tuple, shape: tuple) -> Value | None:
    """A leaf that broadcasts to `own` as it broadcasts to `shape`, or None if no strides walk it that way."""
    a = leaf.array
    n = numel(a.shape)
    if n == 1:
        return leaf if len(a.shape) <= len(shape) else from_array(a.view(a.offset, (), ()))
    if a.contiguous and n == numel(shape):
        return from_array(a.view(a.offset, shape, contiguous_strides(shape)))
    strides = view_strides(own, broadcast_strides(a, own), shape)
    return None if strides is None else from_array(a.view(a.offset, shape, strides))


@hot
def encode(cone: list[Value], counts: dict[Value, int], write_root: bool, stand_ins: Any = None) -> Piece:
    """The piece of these pending values, operands first. counts: how often each is an operand of another one.

    stand_ins: what is read instead of a leaf by operators of another shape than the root's (see `_lay_over`).
    """
    code: list[int] = []
    leaves: list[Value] = []
    slots: dict[Value, int] = {}
    params: tuple = ()
    j = -1  # node k has slot -1 - k
    for v in cone:
        code.append(v.instr.id)
        for o in v.operands:
            s = slots.get(o)
            if stand_ins is not None and o.array is not None:
                seen = stand_ins.get((o, v.shape))
                if seen is not None:
                    o = seen
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
    relabels = []
    for j, v in enumerate(cone):
        if v is root:
            wanted = write_root
        elif v.uses > 1 and v.uses > counts[v]:
            wanted = True
        else:
            owner = v.owner
            wanted = owner is not None and owner() is not None
        if wanted:
            if v.instr.relabels:
                relabels.append(v)
                source = -1 - slots[v.operands[0]]
                if source not in outputs:
                    outputs.append(source)
            else:
                outputs.append(j)
    piece = Piece()
    piece.nodes = cone
    piece.leaves = leaves
    piece.code = tuple(code)
    piece.outputs = tuple(outputs)
    piece.params = params
    piece.relabels = relabels
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


@hot
def flat(array: Any, shape: tuple) -> bool:
    """Whether `array` is read over `shape` in the order of its memory.

    What has as many elements as the index space is so, whatever the names of its places: see `linearize`.
    """
    return array.contiguous and (array.shape == shape or numel(array.shape) == numel(shape))


def broadcast_strides(array: Any, shape: tuple) -> tuple:
    """Strides with which `array` is read over the index space `shape` (0 along broadcast dimensions)."""
    own = array.shape
    if own != shape and flat(array, shape):
        return contiguous_strides(shape)
    missing = len(shape) - len(own)
    out = [0] * missing
    for n, s in zip(own, array.strides):
        out.append(0 if n == 1 else s)
    return tuple(out)
