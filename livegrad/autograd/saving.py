"""What happens to the values that nodes keep for the backward pass: pairs of functions that pack and unpack them.

A node that is recorded in a block of such functions keeps what they make of its values, and not the values. Its
`released` is `PACKED` then, so that running one without costs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..blocks import over
from ..lazy.value import Value
from ..native import slotted
from . import node as nodes
from .mode import no_grad

PACKED = "packed"


@slotted
class _Saving:
    """blocks: how many blocks with such functions are open, in all threads, or more."""

    __slots__ = ("blocks",)

    def __init__(self) -> None:
        self.blocks = 0


SAVING = _Saving()


class _Local(threading.local):
    """open: the blocks that this thread is in, or has left since somebody last looked, and their pairs of functions.

    refused: why there may be none, or None.
    """

    def __init__(self) -> None:
        self.open: list[tuple[Any, tuple[Callable, Callable]]] = []
        self.refused: str | None = None

    @property
    def pair(self) -> tuple[Callable, Callable] | None:
        """The innermost functions."""
        while self.open:
            block, pair = self.open[-1]
            if not over(block):
                return pair
            self.open.pop()
            SAVING.blocks -= 1
        return None


LOCAL = _Local()


class Packed:
    """What a function made of a value, and the function that makes a tensor of it again."""

    __slots__ = ("made", "unpack", "shape", "dtype")

    def __init__(self, v: Value, pack: Callable, unpack: Callable):
        with no_grad():
            self.made = pack(nodes.wrap(v))
        self.unpack, self.shape, self.dtype = unpack, v.shape, v.dtype

    def value(self) -> Value:
        """The value again. Raises TypeError if the function gives no tensor, RuntimeError for one of another shape."""
        t = self.unpack(self.made)
        if not hasattr(t, "_value"):
            raise TypeError(
                f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(t).__name__}"
            )
        v = t._value()
        if v.shape != self.shape or v.dtype is not self.dtype:
            raise RuntimeError(
                f"Output of saved tensor unpack_hook has shape {list(v.shape)} and dtype {v.dtype}; what was packed "
                f"had {list(self.shape)} and {self.dtype}"
            )
        return v


def pack(v: Any) -> Any:
    """What this thread's innermost functions make of a value; the value itself where there are none."""
    pair = LOCAL.pair if v.__class__ is Value else None
    return v if pair is None else Packed(v, *pair)


def pack_operands(node: Any) -> None:
    """Pack what the node of an elementwise operator keeps, which has just been recorded."""
    if LOCAL.pair is None or (node.operands is None and node.result is None):
        return
    kept = (node.operands or (), node.result)
    node.release()  # nothing is kept from here on
    operands, result = kept
    packed = tuple([None if v is None else pack(v) for v in operands])
    node.__dict__["_packed"] = packed, None if result is None else pack(result)
    node.released = PACKED


def unpack_operands(node: Any) -> None:
    """Let the node of an elementwise operator keep its values again, for as long as it runs."""
    operands, result = node.__dict__["_packed"]
    node.operands = tuple([None if p is None else p.value() for p in operands])
    node.result = None if result is None else result.value()
    for v in (*node.operands, node.result):
        if v is not None:
            v.kept += 1
    node.released = False


def pack_saved(node: Any) -> None:
    """Pack what the node of an operator with stated gradients keeps, which has just been recorded."""
    if LOCAL.pair is None or not node.saved:
        return
    kept = dict(node.saved)
    node.release()
    node.__dict__["_packed"] = {name: pack(v) for name, v in kept.items()}
    node.released = PACKED


def unpack_saved(node: Any) -> None:
    """Let the node of an operator with stated gradients keep its values again, for as long as it runs."""
    found = {}
    for name, p in node.__dict__["_packed"].items():
        v = found[name] = p.value() if p.__class__ is Packed else p
        if v.__class__ is Value:
            v.kept += 1
    node.saved = found
    node.released = False


def run_packed(node: Any, unpack: Callable, g: Any, recording: bool, edges: tuple) -> tuple:
    """Run a node whose values are packed. Raises RuntimeError if they have been freed."""
    if node.released is not PACKED:
        raise RuntimeError(nodes.FREED)
    unpack(node)
    try:
        return node.run(g, recording, edges)
    finally:
        node.release()
        node.released = PACKED


# PyTorch's names for what a node keeps, where the operators here have others.
PYTORCH_NAMES = {"x": "self", "input": "self", "a": "self", "b": "mat2"}
OTHER_NAMES = {"input": "self", "mat1": "self", "weight": "mat2"}


def saved_attributes(node: Any) -> dict[str, Any]:
    """What a node keeps, by PyTorch's names: values, packed values, and an elementwise operator's numbers.

    Raises RuntimeError if a backward pass has freed it.
    """
    if node.released and node.released is not PACKED:
        raise RuntimeError(nodes.FREED)
    packed = node.__dict__.get("_packed") if node.released else None
    if not isinstance(node, nodes.ElementwiseNode):
        kept = node.saved if packed is None else packed
        return {PYTORCH_NAMES.get(name, name): v for name, v in (kept or {}).items()}
    found = {}
    operands, result = (node.operands, node.result) if packed is None else packed
    tensors, numbers = iter(operands or ()), iter(node.params)
    for name, letter in zip(node.instr.op.names, node.instr.pattern):
        v = next(tensors, None) if letter == "t" else next(numbers)
        if v is not None or letter == "t":
            found[PYTORCH_NAMES.get(name, name)] = v
    if node.instr.op.fixed:
        found["exponent"] = node.instr.op.fixed[0]  # of powers whose formula has it built in: nothing else has
    if result is not None:
        found["result"] = result
    return found


def saved_attribute(node: Any, name: str) -> Any:
    """What is kept under a name, as ``node._saved_self`` asks for it.

    A tensor: the leaf itself where it is one, else a new tensor that is connected to the graph where it came from.
    Raises AttributeError if the node keeps nothing under this name, RuntimeError if a backward pass has freed it.
    """
    found = saved_attributes(node)
    if name not in found and OTHER_NAMES.get(name) in found:
        name = OTHER_NAMES[name]
    if name not in found:
        kept = ", ".join(f"_saved_{n}" for n in found) or "nothing"
        raise AttributeError(f"{node.name()} has no attribute '_saved_{name}'; it keeps {kept}")
    v = found[name]
    if v.__class__ is Packed:
        return v.unpack(v.made)
    if v.__class__ is not Value:
        return v
    for edge in node.next:
        if edge is not None and edge.is_leaf:
            leaf = edge.variable
            if leaf is not None and leaf._value() is v:
                return leaf
    nodes.check_fresh(v, node)
    source, nr = node.source_of(v)
    t = nodes.wrap(v)
    return t if source is None else nodes.saved_tensor(v, source, nr)


nodes.run_packed, nodes.unpack_operands, nodes.unpack_saved = run_packed, unpack_operands, unpack_saved
nodes.saved_attribute, nodes.saved_attributes = saved_attribute, saved_attributes

__all__ = ["LOCAL", "PACKED", "SAVING", "Packed", "pack", "pack_operands", "pack_saved"]
