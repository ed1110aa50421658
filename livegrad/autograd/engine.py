"""The engine: walks recorded nodes from results to leaves, newest first, without recursion."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any

from ..lazy import value as values
from ..lazy.value import Value
from ..native import hot, slotted
from ..observe import WATCH
from .anomaly import Anomaly, look, tell
from .mode import MODE, _local
from .node import AccumulateGrad, ElementwiseNode, Node

_seq = attrgetter("seq")
# How many additions of gradients wait to be evaluated together with what comes after them.
LONGEST_SUM = 4


@hot
def run(
    roots: Sequence[tuple[Node, int, Any]],
    keep_graph: bool,
    recording: bool,
    capture: dict[tuple[Node, int], Any] | None = None,
    silent: bool = False,
) -> None:
    """Send gradients from `roots` (node, output number, gradient) through the graph.

    Gradients are values, or tensors if `recording`, with a history unless it is `silent`. Leaves accumulate, unless
    `capture` names the (node, output number) pairs whose gradients are wanted: then those are put there, nothing
    accumulates, and only nodes on the way to one of them run.

    A node is run when no newer one is left. All nodes that send it gradients are newer, so it has received them all.
    """
    useful = through = None
    if capture is not None:
        useful, through = _leading_to(roots, capture)
    early = _uses(roots) if capture is None and RUNNING.hurried else None
    place = Place()
    place.node = None
    before, own = MODE.grad, _local.own
    outer = own.blocks
    RUNNING.passes += 1
    beginnings, RUNNING.roots = RUNNING.roots, roots
    try:
        own.blocks = []  # those of this pass do not put back what was on in the middle of it
        MODE.grad = recording and not silent
        _walk(roots, keep_graph, recording, capture, useful, through, early, Anomaly.on and Anomaly.check_nan, place)
    except Exception as error:
        RUNNING.after.clear()
        if place.node is not None:
            if Anomaly.on:
                tell(place.node)
            _name_the_line(error, place.node)
        raise
    finally:
        RUNNING.passes -= 1
        RUNNING.roots = beginnings
        left, own.blocks = own.blocks, outer
        # `MODE.grad = before` without a call: Ctrl-C strikes where a function begins, and would leave it unset.
        if before:
            if not own.grad:
                own.grad = True
                MODE.off -= 1
        elif own.grad:
            MODE.off += 1
            own.grad = False
        MODE.off -= len(left)
    if RUNNING.after and RUNNING.passes == 0:
        _end_passes()


@slotted
class Running:
    """passes: how many backward passes are under way, which hold gradients that nobody else knows of.

    after: what is to be called when the last of them is over. hurried: who waits for gradients of leaves that are
    marked `soon`. roots: where the pass under way begins.
    """

    __slots__ = ("passes", "after", "hurried", "roots")

    def __init__(self) -> None:
        self.passes = 0
        self.hurried: set[int] = set()
        self.after: list[Any] = []
        self.roots: Any = ()


RUNNING = Running()


def after_pass(call: Any) -> None:
    """Call a function once the backward passes under way are over; never, if one fails."""
    RUNNING.after.append(call)


def _end_passes() -> None:
    calls, RUNNING.after = RUNNING.after, []
    for call in calls:
        call()


@slotted
class Place:
    """Where a walk is."""

    __slots__ = ("node",)
    node: Node | None


@hot
def _walk(
    roots: Any, keep_graph: bool, recording: bool, capture: Any, useful: Any, through: Any, early: Any, anomaly: bool,
    place: Place,
) -> None:  # fmt: skip
    pending: dict[Node, Any] = {}
    heap: list[tuple[int, int, Node]] = []
    leaves: dict[Node, Any] = {}  # what they have received; they come after all other nodes
    observer = WATCH.observer
    lane = None  # the next node where no other one waits but leaves: it needs no heap
    if len(roots) == 1 and roots[0][0].outputs == 1:
        lane, _, g = roots[0]
    else:
        for node, nr, g in roots:
            if node.__class__ is AccumulateGrad:
                _receive(node, nr, g, leaves, [])
            else:
                _receive(node, nr, g, pending, heap)
    while True:
        if lane is not None:
            node = lane
            lane = None
        elif heap:
            node = heappop(heap)[2]
            g = pending.pop(node)
            if g.__class__ is Value:
                g.uses -= 1
        elif leaves:
            node, g = leaves.popitem()
            if g.__class__ is Value:
                g.uses -= 1
        else:
            break
        place.node = node
        if node.__class__ is AccumulateGrad and capture is None:
            _arrive(node, g, recording)
            continue
        hooks = node.hooks
        if hooks is not None:
            g = _run_pre_hooks(node, hooks, g, recording)
        if capture is not None:
            _capture(node, g, capture)
        if node.__class__ is AccumulateGrad:
            continue
        if through is not None and node not in through:
            continue
        if hooks is not None and hooks.prehooks:
            g = _run_node_pre_hooks(hooks, g, recording)
        edges = node.next
        if useful is not None:
            edges = tuple([e if e in useful else None for e in edges])
        if observer is None:
            grads = node.run(g, recording, edges)
        else:
            grads = observer.node(node, g, recording, edges)
        if hooks is not None and hooks.post:
            grads = _run_post_hooks(hooks, grads, g, recording)
        if anomaly:
            look(node, grads)
        if not keep_graph:
            node.release()
        nrs = node.nrs
        for i, edge in enumerate(edges):
            if edge is None:
                continue
            part = grads[i]
            if part is None:
                continue
            if edge.__class__ is AccumulateGrad:
                held = leaves.get(edge)
                if held is None:
                    leaves[edge] = part
                    if part.__class__ is Value:
                        part.uses += 1
                else:
                    total = _added(held, part)
                    leaves[edge] = total
                    if total.__class__ is Value:
                        held.uses -= 1
                        total.uses += 1
                if early is not None and edge in early:
                    early[edge] -= 1
                    if early[edge] == 0:  # all that it will get
                        whole = leaves.pop(edge)
                        if whole.__class__ is Value:
                            whole.uses -= 1
                        place.node = edge
                        _arrive(edge, whole, recording)
                        place.node = node
                continue
            nr = nrs[i] if nrs else 0
            if lane is None and not heap and nr == 0 and (edge.__class__ is ElementwiseNode or edge.outputs == 1):
                lane = edge
                g = part
                continue
            if lane is not None:
                _receive(lane, 0, g, pending, heap)
                lane = None
            _receive(edge, nr, part, pending, heap)


@hot
def _arrive(leaf: Any, g: Any, recording: bool) -> None:
    """Add a gradient to a leaf's, and call whoever is to know."""
    hooks = leaf.hooks
    if hooks is not None:
        g = _run_pre_hooks(leaf, hooks, g, recording)
        if hooks.prehooks:
            g = _run_node_pre_hooks(hooks, g, recording)
    leaf.accumulate(g, recording)
    if hooks is not None and hooks.post:
        _run_post_hooks(hooks, (), g, recording)


def _uses(roots: Sequence) -> dict[Node, int]:
    """How many gradients each leaf that is marked `soon` can get in a pass: with the last of them it is complete.

    One that gets fewer, as some gradients are None, is complete at the end of the pass, as all other leaves are.
    """
    counts: dict[Node, int] = {}
    stack = [node for node, _, _ in roots]
    seen = set(stack)
    while stack:
        for edge in stack.pop().next:
            if edge is None:
                continue
            if edge.__class__ is AccumulateGrad:
                if edge.soon:  # type: ignore[attr-defined]
                    counts[edge] = counts.get(edge, 0) + 1
            elif edge not in seen:
                seen.add(edge)
                stack.append(edge)
    return counts


def _name_the_line(error: Exception, node: Node) -> None:
    """Add to an error the user's line that recorded the node in which it came up."""
    site = node.site()
    if site is not None and not any(str(site) in note for note in (str(error), *getattr(error, "__notes__", ()))):
        error.add_note(f"In the backward pass of {node.name()}, recorded here: {site}")


@hot
def _added(held: Any, part: Any) -> Any:
    """The sum of two gradients.

    A weight that was used T times receives T gradients. Their sum is evaluated after every `LONGEST_SUM` additions;
    otherwise each T would have a kernel of its own.
    """
    total = held + part if part.__class__ is held.__class__ else _of_two_kinds(held, part)
    if total.__class__ is Value and total.array is None:
        length = 0
        v = total
        while length < LONGEST_SUM and v.array is None and v.instr is total.instr:
            v = v.operands[0]
            length += 1
        if length == LONGEST_SUM:
            values.evaluate_hook(total, "long sum of gradients")
    return total


def _of_two_kinds(held: Any, part: Any) -> Any:
    """The sum of a dense and a sparse gradient: the sparse one knows how."""
    return part + held if held.__class__ is Value else held + part


@hot
def _receive(node: Node, nr: int, g: Any, pending: dict, heap: list) -> None:
    """Add a gradient to what a node has received."""
    if node.outputs == 1:
        held = pending.get(node)
        if held is None:
            heappush(heap, (-node.seq, id(node), node))
            total = g
        else:
            total = _added(held, g)
            if held.__class__ is Value:
                held.uses -= 1
        if total.__class__ is Value:
            total.uses += 1
        pending[node] = total
        return
    slots = pending.get(node)
    if slots is None:
        slots = pending[node] = _empty_slots(node)
        heappush(heap, (-node.seq, id(node), node))
    total = g if slots[nr] is None else _added(slots[nr], g)
    slots[nr] = total
    if total.__class__ is Value:
        total.uses += 1


def _empty_slots(node: Node) -> list:
    return [None] * node.outputs


@hot
def _leading_to(roots: Sequence, capture: dict) -> tuple[set[Node], set[Node]]:
    """The nodes from which a captured node is reached, captured ones included; and those of them that have to run."""
    useful: set[Node] = set()
    for node, _ in capture:
        useful.add(node)
    through: set[Node] = set()
    order: list[Node] = []
    seen: set[Node] = set()
    stack = [node for node, _, _ in roots]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        order.append(node)
        for e in node.next:
            if e is not None:
                stack.append(e)
    order.sort(key=_seq)
    for node in order:
        for e in node.next:
            if e is not None and e in useful:
                useful.add(node)
                through.add(node)
                break
    return useful, through


def _as_tensor(g: Any, recording: bool) -> Any:
    from ..tensor import wrap

    return wrap(g) if not recording and g.__class__ is Value else g


def _as_given(t: Any, recording: bool) -> Any:
    return t if recording or t is None or t.is_sparse else t._value()


def _checked(t: Any, g: Any) -> Any:
    if t is not None and (tuple(t.shape) != tuple(g.shape) or t.dtype is not g.dtype):
        raise RuntimeError(
            f"a hook returned a gradient of shape {list(t.shape)} and dtype {t.dtype}; "
            f"expected {list(g.shape)} and {g.dtype}"
        )
    return t


def _run_node_pre_hooks(hooks: Any, g: Any, recording: bool) -> Any:
    """Hooks registered on a node, which see the gradients of all its results, just before it runs."""
    given = tuple(_as_tensor(x, recording) for x in (g if isinstance(g, list) else [g]))
    for hook in list(hooks.prehooks.values()):
        got = hook(given)
        if got is not None:
            given = tuple(got) if isinstance(got, (tuple, list)) else (got,)
    grads = [_as_given(t, recording) for t in given]
    return grads if isinstance(g, list) else grads[0]


def _run_pre_hooks(node: Node, hooks: Any, g: Any, recording: bool) -> Any:
    """Hooks registered on the tensors that a node made, and their retained gradients."""
    grads = list(g) if isinstance(g, list) else [g]
    for nr, table in hooks.pre.items():
        if grads[nr] is None:
            continue
        for hook in list(table.values()):
            t = _as_tensor(grads[nr], recording)
            got = _checked(hook(t), t)
            grads[nr] = _as_given(t if got is None else got, recording)
    for nr, tensor_ref in hooks.retain.items():
        tensor = tensor_ref()
        if tensor is not None and grads[nr] is not None:
            held = tensor._retained_grad()
            fresh = _as_tensor(grads[nr], recording)
            tensor._set_retained_grad(fresh if held is None else held + fresh)
    return grads if isinstance(g, list) else grads[0]


def _run_post_hooks(hooks: Any, grads: tuple, g: Any, recording: bool) -> tuple:
    inputs = tuple(_as_tensor(x, recording) for x in grads)
    outputs = tuple(_as_tensor(x, recording) for x in (g if isinstance(g, list) else [g]))
    for hook in list(hooks.post.values()):
        got = hook(inputs, outputs)
        if got is not None:
            inputs = tuple(got) if isinstance(got, (tuple, list)) else (got,)
    return tuple(_as_given(t, recording) for t in inputs)


@hot
def _capture(node: Node, g: Any, capture: dict) -> None:
    if g.__class__ is list:
        for nr, part in enumerate(g):
            if (node, nr) in capture:
                capture[node, nr] = part
    elif (node, 0) in capture:
        capture[node, 0] = g


__all__ = ["AccumulateGrad", "run"]
