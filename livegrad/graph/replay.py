"""Replaying a recorded graph to find where the first NaN or infinity came from: `livegrad.debug.find_nan`.

The record keeps what gradients read, not every operand. What is not kept is had from the leaves, by running the
recorded operators again; where that does not work either (an operand that needs no gradient and that no gradient reads,
a user's `Function`, a graph that backward has freed), the result says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..autograd.function import FunctionNode
from ..autograd.node import ElementwiseNode, OpNode, ShownNode
from ..devices import cpu
from ..lazy.value import Value, from_array, pending
from ..ops.copying import COPY, FILL
from ..ops.view_operators import AS_STRIDED, EXTRACT
from ..runtime import array as arrays

NOT_KEPT = "not kept"


class Numbers(NamedTuple):
    """What is in a tensor: the range of its finite numbers (None if there are none), and how many others."""

    low: Any
    high: Any
    nans: int
    infinities: int
    count: int
    first: tuple | None  # where the first number is that is not finite

    @property
    def finite(self) -> bool:
        return not self.nans and not self.infinities

    def __str__(self) -> str:
        parts = [] if self.low is None else [f"from {_shown(self.low)} to {_shown(self.high)}"]
        parts += [f"{n} {what}" for n, what in ((self.nans, "nan"), (self.infinities, "inf")) if n]
        return ", ".join(parts) or "empty"


def _shown(x: Any) -> str:
    return f"{x:.6g}" if isinstance(x, float) else str(x)


def numbers_of(v: Value) -> Numbers:
    """The numbers of a value. Complex ones are finite if both their parts are; their range is of absolute values."""
    array = np.asarray(arrays.moved(v.ready(), cpu).native())
    if array.dtype.kind not in "biufc":
        array = array.astype(np.float32)  # bfloat16
    if array.dtype.kind in "biu":
        low, high = (array.min().item(), array.max().item()) if array.size else (None, None)
        return Numbers(low, high, 0, 0, array.size, None)
    nan = np.isnan(array)
    bad = ~np.isfinite(array)
    good = np.abs(array[~bad]) if array.dtype.kind == "c" else array[~bad]
    nans = int(nan.sum())
    first = None if not bad.any() else tuple(int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
    low, high = (float(good.min()), float(good.max())) if good.size else (None, None)
    return Numbers(low, high, nans, int(bad.sum()) - nans, array.size, first)


class Operand(NamedTuple):
    """An operand of a step: its name, shape and dtype, the graph's node that made it (None for a constant), and its
    numbers; None, and why, where they cannot be had."""

    name: str
    shape: tuple
    dtype: str
    node: Any
    numbers: Numbers | None
    missing: str = ""

    def __str__(self) -> str:
        what = f"cannot be had: {self.missing}" if self.numbers is None else str(self.numbers)
        return f"{self.name}: {self.dtype} {list(self.shape)}, {what}"


class Finding:
    """The first step that made a NaN or an infinity; false if there is none.

    ========= ======================================================================================
    found     whether there is one
    kind      "nan" or "inf"
    phase     "forward" or "backward"
    node      the step, a node of `graph`; `site`, `name` and `module` are its line, its name, its module
    result    the `Numbers` of what it made
    operands  its operands, as `Operand`: names, shapes and ranges
    given     the one of them that came in so, as data with a NaN do; None if the step itself made it
    suspects  steps before it whose results cannot be had: if there are some, one of them may be the first
    unknown   all such steps, as pairs of node and reason
    graph     the recorded graph
    ========= ======================================================================================

    Printed, it says all that in words.
    """

    def __init__(self, graph: Any, unknown: list):
        self.graph = graph
        self.unknown = unknown
        self.found = False
        self.kind = self.phase = ""
        self.node: Any = None
        self.result: Numbers | None = None
        self.operands: list[Operand] = []
        self.given: Operand | None = None
        self.suspects: list = []

    def _is(self, phase: str, node: Any, kind: str, result: Numbers, operands: list, suspects: list) -> Finding:
        self.found = True
        self.phase, self.node, self.kind, self.result = phase, node, kind, result
        self.operands, self.suspects = operands, suspects
        return self

    @property
    def site(self) -> Any:
        return None if self.node is None else self.node.site

    @property
    def name(self) -> str:
        return "" if self.node is None else self.node.name

    @property
    def module(self) -> str:
        return "" if self.node is None else self.node.module

    def __bool__(self) -> bool:
        return self.found

    def __repr__(self) -> str:
        return f"<{self}>".replace("\n", "\n ")

    def __str__(self) -> str:
        lines = [self._first_line()]
        if self.found:
            site = self.site
            verb = "recorded here" if self.given is None else f"read by {self.name}, recorded here"
            if site is None and (readers := self.graph.consumers(self.node)):  # a leaf: no line has made it
                verb, site = "first read here", readers[0].site
            lines += [f"  {verb}: {site}"] if site is not None else []
            lines += [f"  in module {self.module}"] if self.module else []
            lines += [f"  {operand}" for operand in self.operands]
            if self.suspects:
                lines.append("  or one of these before it, whose results cannot be had:")
                lines += [f"    {_step(node)}" for node in self.suspects]
        elif self.unknown:
            lines.append(f"  {len(self.unknown)} of {len(self.graph.ops)} steps could not be looked at:")
            lines += [f"    {_step(node)}: {why}" for node, why in self.unknown[:10]]
            lines += ["    ..."] if len(self.unknown) > 10 else []
        return "\n".join(lines)

    def _first_line(self) -> str:
        if not self.found:
            return "no NaN and no infinity" + (" in what could be looked at" if self.unknown else "")
        numbers = self.result
        assert numbers is not None
        made = " and ".join(f"{n} {w}" for n, w in ((numbers.nans, "nan"), (numbers.infinities, "inf")) if n)
        what = "" if self.phase == "forward" else " of a gradient, in the backward pass"
        where = f"among {numbers.count} numbers{what}, the first at {list(numbers.first or ())}"
        if self.node.kind == "constant":
            why = "it has no graph to look at, as nothing that it is computed from requires a gradient"
            return f"{self.node.label or 'the result'} holds {made} {where}: {why}"
        if self.node.kind != "op" or self.given is not None:
            came = self.node.label or "a leaf" if self.given is None else self.given.name
            return f"{came} came in with {made} {where}"
        verb = "the first" if not self.suspects else "perhaps the first"
        return f"{self.name} made {made} {where}: {verb} that is not finite"


def _step(node: Any) -> str:
    label = f" ({node.label})" if node.label else ""
    return f"{node.name}{label}" + (f" {node.where}" if node.where else "")


def find(graph: Any, results: list, names: list, backward: bool) -> Finding:
    """See `livegrad.debug.find_nan`. names: pairs of name and tensor, for operands that are no nodes."""
    replay = _Replay(graph, results, names)
    finding = Finding(graph, replay.unknown)
    if replay.search(finding) or not backward:
        return finding
    return _Backward(replay, results).search(finding)


class _Replay:
    """Runs through the steps in the order in which they ran.

    values: (record, output number) -> value, for what is kept, is a result, or was computed again.
    """

    def __init__(self, graph: Any, results: list, names: Any = ()):
        self.graph = graph
        self.unmade = [(node, t._value()) for t, (node, _) in zip(results, graph.results) if node.kind != "op"]
        self.names = {id(t._value()): name for name, t in reversed(tuple(names)) if getattr(t, "_edge", t) is None}
        self.values: dict[tuple, Value] = {}
        self.numbers: dict[tuple, Numbers] = {}
        self.unknown: list[tuple[Any, str]] = []
        self.by_record = {id(node.grad_fn): node for node in graph.nodes if node.grad_fn is not None}
        for t in results:
            if t._edge is not None:
                self.values[t._edge, t._nr] = t._value()
        for node in graph.nodes:
            record = node.grad_fn
            variable = getattr(record, "variable", None)
            if variable is not None:
                self.values[record, 0] = variable._value()
            elif record is not None:
                self._take_kept(record)

    def _take_kept(self, record: Any) -> None:
        """What a node keeps is what others have made, too."""
        for _, v in record.held():
            if _stale(v):
                continue
            source, nr = record.source_of(v)
            if source is not None:
                self.values.setdefault((source, nr), v)

    def search(self, finding: Finding) -> bool:
        """Go through all steps; whether one made the first NaN or infinity."""
        events: list[tuple] = []
        infinite: list[tuple] = []  # what came in with infinities, as a mask does on purpose: if nothing else is found
        for node in self.graph.nodes:
            if node.kind != "op":
                numbers = self.look(node.grad_fn, 0) if node.grad_fn is not None else None
                if numbers is not None and not numbers.finite:
                    events.append((node, numbers, [], "nan" if numbers.nans else "inf", True, None))
                continue
            record = node.grad_fn
            operands = self.operands(node)
            for operand in operands:
                if operand.node is None and (came := operand.numbers) is not None and not came.finite:
                    kind = "nan" if came.nans else "inf"
                    (events if came.nans else infinite).append((node, came, operands, kind, False, operand))
            why = self.compute(record)
            if why:
                self.unknown.append((node, why))
                continue
            for nr in range(record.outputs):
                numbers = self.look(record, nr)
                if numbers is None or numbers.finite:
                    continue
                kind = _made(numbers, operands, record)
                if kind:
                    known = all(operand.numbers is not None for operand in operands)
                    events.append((node, numbers, operands, kind, known or kind == "nan", None))
        reach = self._not_finite_before(node for node, _ in self.graph.results)
        chosen = (
            next((e for e in events if id(e[0]) in reach), None)
            or next((e for e in events if e[4]), None)
            or next((e for e in infinite if id(e[0]) in reach), None)
        )
        if chosen is not None:
            node, numbers, operands, kind, _, finding.given = chosen
            finding._is("forward", node, kind, numbers, operands, self._suspects(node))
            return True
        for node, value in self.unmade:
            numbers = numbers_of(value)
            if not numbers.finite:
                finding._is("forward", node, "nan" if numbers.nans else "inf", numbers, [], [])
                return True
        return False

    def look(self, record: Any, nr: int) -> Numbers | None:
        """The numbers of an output, if it can be had."""
        key = record, nr
        if key not in self.numbers and key in self.values:
            self.numbers[key] = numbers_of(self.values[key])
        return self.numbers.get(key)

    def operands(self, node: Any) -> list[Operand]:
        """The operands of a step with their numbers."""
        found = []
        for name, shape, dtype, edge, nr, v, why in self._inputs(node.grad_fn):
            made_by = self.by_record.get(id(edge))
            numbers = None if v is None else numbers_of(v) if edge is None else self.look(edge, nr) or numbers_of(v)
            label = made_by.label if made_by is not None and made_by.label and nr == 0 else None
            if made_by is None and v is not None:
                label = self.names.get(id(v))
            found.append(Operand(label or name, tuple(shape), dtype.name, made_by, numbers, why))
        return found

    def _inputs(self, record: Any) -> Iterator[tuple]:
        """For each input: name, shape, dtype, its node and output number, its value, and why there is none."""
        kept = dict(record.held())
        names: tuple
        if isinstance(record, ElementwiseNode):
            letters = zip(record.instr.op.names, record.instr.pattern)
            names = tuple(n for n, letter in letters if letter == "t")
            metas: tuple = tuple((record._in_shape(i), d) for i, d in enumerate(record.instr.in_dtypes[: len(names)]))
        elif isinstance(record, OpNode):
            names = record.op.tensors if not record.op.variadic else tuple(str(i) for i in range(len(record.next)))
            metas = record.metas
        else:
            names = tuple(f"input {i}" for i in range(len(record.next)))
            metas = getattr(record, "metas", None) or ((record.shape, record.dtype),) * len(names)
        for i, (name, edge) in enumerate(zip(names, record.next)):
            nr = record.nrs[i] if record.nrs else 0
            v = kept.get(name)
            why = "" if v is not None else NOT_KEPT
            if v is not None and _stale(v):
                v, why = None, "changed in place since"
            if v is None and edge is not None:
                v = self.values.get((edge, nr))
            if v is None and getattr(record, "released", False):
                why = "the graph has been freed"
            yield name, *metas[i], edge, nr, v, "" if v is not None else why

    def compute(self, record: Any) -> str:
        """Have the results of a step; why not, if that fails."""
        if isinstance(record, ShownNode) or all((record, nr) in self.values for nr in range(record.outputs)):
            return ""
        if isinstance(record, FunctionNode):
            return "" if (record, 0) in self.values else "a user's Function is not run again"
        if not isinstance(record, (ElementwiseNode, OpNode)):
            return "it is no operator"
        values: list = []
        for name, shape, dtype, *_, v, why in self._inputs(record):
            if v is None and name == "x" and getattr(record, "op", None) in (COPY, FILL):
                v = from_array(arrays.full_on(cpu, shape, dtype, 0))  # it is written over
            if v is None:
                return f"operand {name}: {why}"
            values.append(v)
        try:
            if isinstance(record, ElementwiseNode):
                made: Any = pending(record.instr, tuple(values), record.params, record.shape)
            else:
                made = _run(record, values)
            for nr, v in zip(range(record.outputs), made if isinstance(made, tuple) else (made,)):
                v.ready()
                self.values.setdefault((record, nr), v)
        except Exception as error:  # what fails here has worked once; the search goes on without it
            return f"running it again failed ({type(error).__name__}: {error})"
        return ""

    def _not_finite_before(self, ends: Any) -> set[int]:
        """The nodes that a chain of numbers which are not finite leads from, to one of the results."""
        reach: set[int] = set()
        todo = list(ends)
        while todo:
            node = todo.pop()
            if id(node) in reach or node.grad_fn is None:
                continue
            known = [n for nr in range(node.grad_fn.outputs) if (n := self.look(node.grad_fn, nr)) is not None]
            if known and all(n.finite for n in known):
                continue
            reach.add(id(node))
            todo.extend(node.producers)
        return reach

    def _suspects(self, node: Any) -> list:
        """The steps before one that cannot be looked at, up to those that can be."""
        missing = {id(n) for n, _ in self.unknown}
        found, todo = [], list(node.producers)
        while todo:
            before = todo.pop()
            if id(before) in missing and before not in found:
                found.append(before)
                todo.extend(before.producers)
        return sorted(found, key=lambda n: n.id)


def _stale(v: Value) -> bool:
    return v.stale is not None or (v.lease is not None and v.lease.stale is not None)


def _made(result: Numbers, operands: list[Operand], record: Any) -> str:
    """What a step has made that its operands, and its Python numbers, did not have: "nan", "inf" or ""."""
    known = [o.numbers for o in operands if o.numbers is not None]
    if result.nans and not any(n.nans for n in known):
        return "nan"
    plain = getattr(record, "params", None) or tuple((getattr(record, "args", None) or {}).values())
    given = any(isinstance(n, (float, complex)) and not np.isfinite(n) for n in plain)
    if result.infinities and not given and all(n.finite for n in known):
        return "inf"
    return ""


def _run(record: Any, values: list) -> Any:
    """Run the operator of a node again."""
    op, args = record.op, record.args
    if op is AS_STRIDED:  # its numbers count in the memory of the base, which a value computed again may not share
        return EXTRACT.forward(values[0], args["base"], (args["start"], args["size"], args["stride"]))
    taken = _parameters(op.forward)
    if taken is not None:
        args = {name: value for name, value in args.items() if name in taken}  # the others are for the gradient
    return op.forward(values, **args) if op.variadic else op.forward(*values, **args)


def _parameters(function: Callable) -> set[str] | None:
    """The names of a function's parameters; None if it takes any."""
    found = inspect.signature(function).parameters.values()
    return None if any(p.kind is p.VAR_KEYWORD for p in found) else {p.name for p in found}


class _Backward:
    """Runs the gradients, node by node, without hooks and without changing any `.grad`."""

    def __init__(self, replay: _Replay, results: list):
        self.replay = replay
        self.given: dict[Any, Any] = {}
        for t in results:
            if t._edge is not None and t.dtype.category >= 2:
                self._receive(t._edge, t._nr, t.new_ones(t.shape)._value())

    def _receive(self, record: Any, nr: int, g: Value) -> None:
        slots = self.given.setdefault(record, [None] * record.outputs)
        slots[nr] = g if slots[nr] is None else slots[nr] + g

    def search(self, finding: Finding) -> Finding:
        """The first step whose gradients are not finite although what it received is."""
        for node in reversed([n for n in self.replay.graph.nodes if n.kind == "op"]):
            record = node.grad_fn
            slots = self.given.pop(record, None)
            if slots is None:
                continue
            if isinstance(record, FunctionNode) or getattr(record, "released", False):
                freed = getattr(record, "released", False)
                why = "the graph has been freed" if freed else "a user's Function is not run again"
                finding.unknown.append((node, f"its gradient: {why}"))
                continue
            grads = record.run(slots if record.outputs > 1 else slots[0], False, record.next)
            received = [numbers_of(g) for g in slots if g is not None]
            for i, g in enumerate(grads):
                edge = record.next[i]
                if g is None or edge is None:
                    continue
                numbers = numbers_of(g)
                if not numbers.finite and all(n.finite for n in received):
                    operands = [
                        Operand("g", tuple(s.shape), s.dtype.name, None, numbers_of(s)) for s in slots if s is not None
                    ]
                    operands += self.replay.operands(node)
                    return finding._is("backward", node, "nan" if numbers.nans else "inf", numbers, operands, [])
                self._receive(edge, record.nrs[i] if record.nrs else 0, g)
        return finding


__all__ = ["Finding", "Numbers", "Operand", "find"]
