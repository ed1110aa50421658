"""Nodes: the steps of the recorded graph. A tensor's `grad_fn` is one.

A node knows the operator that made it, the edges to its inputs, the user's line, and exactly those values that its
gradient reads. Gradients run on bare values; only when the backward pass is itself recorded do they run on tensors.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from ..lazy.value import Value, pending
from ..native import hot, slotted
from ..ops.instruction import CASTS, IDENTITY, SCALAR_TYPE_NAMES, CastRule, GradientRule, Refusal
from ..runtime.refusal import no_copy
from ..site import Site, resolve

sequence = itertools.count(1)  # nodes are numbered in the order of their recording
next_seq = sequence.__next__


def wrap(v: Value) -> Any:
    """A tensor that holds a value; replaced by `livegrad.tensor`, which depends on this module."""
    raise RuntimeError("livegrad.tensor is not loaded")


def apply_instruction(instr: Any, tensors: tuple, params: tuple) -> Any:
    """An instruction applied to tensors; replaced by `ops.dispatch`, which depends on this module."""
    raise RuntimeError("livegrad.ops.dispatch is not loaded")


# Replaced by `saving`, which depends on this module.
run_packed: Any = None
unpack_operands: Any = None
unpack_saved: Any = None
saved_attribute: Any = None
saved_attributes: Any = None


FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
    "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
    "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
    "saved tensors after calling backward."
)


class Hooks:
    """Removable hooks of one node or tensor, in order."""

    def __init__(self) -> None:
        self.pre: dict[int, dict[int, Callable]] = {}  # output number -> hooks on the gradient of that output
        self.retain: dict[int, Any] = {}  # output number -> weak reference of the tensor that retains it
        self.prehooks: dict[int, Callable] = {}
        self.post: dict[int, Callable] = {}


class RemovableHandle:
    """Removes a hook: ``remove()``, or at the end of a ``with`` block."""

    _ids = itertools.count()

    def __init__(self, table: dict, hook: Callable):
        self.id = next(self._ids)
        self._table = weakref.ref(table) if not isinstance(table, dict) else (lambda: table)
        table[self.id] = hook

    def remove(self) -> None:
        table = self._table()
        if table is not None:
            table.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.remove()


class Node:
    """One step of the recorded graph.

    next: per differentiable input the node that it comes from, or None. nrs: which of that node's outputs, where it
    has several. shape, dtype: of the (first) result. seq: order of creation.
    """

    __slots__ = ("next", "nrs", "shape", "dtype", "seq", "code", "lasti", "module", "hooks", "__weakref__", "__dict__")
    outputs = 1
    is_leaf = False
    __reduce_ex__ = no_copy

    def name(self) -> str:
        raise NotImplementedError

    @property
    def op_name(self) -> str:
        return self.name()

    @property
    def next_functions(self) -> tuple:
        nrs = self.nrs or (0,) * len(self.next)
        return tuple((shown(n), nr) for n, nr in zip(self.next, nrs))

    @property
    def out_shape(self) -> tuple:
        return self.shape

    @property
    def out_dtype(self) -> Any:
        return self.dtype

    @property
    def out_device(self) -> Any:
        """The device of the result; None where nothing that is kept tells: then it is that of the operands."""
        for _, v in self.held():
            return v.device
        return None

    @property
    def module_path(self) -> str:
        return self.module or ""

    def site(self) -> Site | None:
        """The user's line that made this node."""
        return resolve(self.code, self.lasti)

    def inputs_info(self) -> tuple:
        return tuple(("node", i) for i in range(len(self.next)))

    def held(self) -> list[tuple[str, Value]]:
        """What is kept for the backward pass: names and values."""
        return []

    def kept(self) -> tuple:
        """The same as (name, shape, name of the dtype, bytes)."""
        return tuple((n, v.shape, v.dtype.name, v.numel() * v.dtype.itemsize) for n, v in self.held())

    def register_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(grad_inputs, grad_outputs)`` after this node ran; it may return new grad_inputs."""
        return RemovableHandle(hooks_of(self).post, hook)

    def register_prehook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(grad_outputs)`` before this node runs; it may return new grad_outputs."""
        return RemovableHandle(hooks_of(self).prehooks, hook)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    @property
    def metadata(self) -> dict:
        return self.__dict__.setdefault("_metadata", {})

    def __getattr__(self, name: str) -> Any:
        """``_saved_self``, ``_saved_result``, …: what an operator's node keeps for the backward pass."""
        if name.startswith("_saved_") and isinstance(self, (ElementwiseNode, OpNode)):
            return saved_attribute(self, name.removeprefix("_saved_"))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        names = list(super().__dir__())
        if isinstance(self, (ElementwiseNode, OpNode)):
            with contextlib.suppress(RuntimeError):  # freed
                names += [f"_saved_{name}" for name in saved_attributes(self)]
        return names

    def source_of(self, v: Value) -> tuple:
        """Which node, if any, made a value that this one keeps, and as which output."""
        return None, 0

    # What the engine calls:
    def run(self, g: Any, recording: bool, edges: tuple) -> tuple:
        """Gradients of the inputs. `g` is the gradient of the result (a list of them where there are several
        results, None for one that has none); values, or tensors if `recording`.

        edges: `next`, with None in the place of inputs whose gradients nobody wants."""
        raise NotImplementedError

    def release(self) -> None:
        """Drop what was kept for the backward pass."""


def hooks_of(node: Node) -> Hooks:
    if node.hooks is None:
        node.hooks = Hooks()
    return node.hooks


def retain_from_here(t: Any, before: Node, nr: int) -> None:
    """A tensor was changed in place: the gradient that it retains is that of its new node from now on."""
    if before.hooks is not None and before.hooks.retain.pop(nr, None) is not None and t._edge is not None:
        hooks_of(t._edge).retain[t._nr] = weakref.ref(t)


@hot
def check_fresh(v: Value, node: Node) -> None:
    """Raise if an in-place operator has changed what this value was since it was recorded."""
    stale = v.stale
    if stale is None and v.lease is not None:
        stale = v.lease.stale
    if stale is not None:
        _refuse_stale(v, node, stale)


# The numbers of nodes between which changes in place are let pass: [first, one after the last, or None so far], ...
CHANGES_ALLOWED: list[list] = []


def _refuse_stale(v: Value, node: Node, stale: tuple) -> None:
    version_then, version, site, since = stale
    if node.seq >= since:
        return
    if any(first <= since and (last is None or since <= last) for first, last in CHANGES_ALLOWED):
        return  # the value is what it was: what changed the tensor has left it alone
    version_now = version()
    kind = f"torch.{SCALAR_TYPE_NAMES[v.dtype]}Tensor"
    source, nr = node.source_of(v)
    made_by = ""
    if source is not None:
        made_by = f", which is output {nr} of {source.name().removesuffix('0').replace('Backward', '')},"
    text = (
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{kind} {list(v.shape)}]{made_by} is at version {version_now}; expected version {version_then} instead. "
        "Hint: keep a copy with .clone() before changing it, or use an operator that is not in-place."
    )
    if site is not None:
        text += f"\n  changed here: {site}"
    needed = node.site()
    if needed is not None:
        text += f"\n  needed by {node.name()}, recorded here: {needed}"
    raise RuntimeError(text)


# The number at the end of a node's name where it is not 0, by operator and the pattern of tensors and numbers.
FORMS = {
    ("pow", "tt"): 1, ("pow", "st"): 2, ("_pow", "tt"): 1, ("_pow", "st"): 2, ("rsub", "ts"): 1,
    ("clamp", "tss"): 1, ("_clamp", "tss"): 1,
    ("_clamp_from", "ts"): 1, ("_clamp_up_to", "ts"): 1, ("_clamp_min", "tt"): 1, ("_clamp_max", "tt"): 1,
    ("masked_fill", "ttt"): 1, ("_fmod", "tt"): 1, ("_remainder", "tt"): 1, ("copysign", "ts"): 1,
    ("_lerp", "ttt"): 1, ("_floor_quotient", "tt"): 2, ("_floor_quotient", "ts"): 2, ("_trunc_divide", "tt"): 2,
    ("_trunc_divide", "ts"): 2, ("_round_places", "ts"): 1, ("_round_tens", "ts"): 1,
    **{(f"_{comparison}", "tt"): 1 for comparison in ("eq", "ne", "lt", "le", "gt", "ge")},
}  # fmt: skip
ARITHMETIC = frozenset(("add", "sub", "mul", "div", "_floor_quotient", "_trunc_divide"))


def shown(node: Node | None) -> Node | None:
    """A node as somebody gets to see it: of a class that is called as the node is.

    Programs that draw graphs read `type(node).__name__`. Recording does not wait for that.
    """
    if node is not None and not node.is_leaf:
        kind, name = node.__class__, node.name()
        if kind.__name__ != name:
            node.__class__ = _class_called(name, kind)
    return node


@functools.cache
def _class_called(name: str, kind: type) -> type:
    return type(name, (kind,), {"__slots__": (), "__module__": kind.__module__})


@slotted
class ElementwiseNode(Node):
    """The node of an elementwise instruction. Its gradients are instructions derived from the formula."""

    __slots__ = ("instr", "operands", "params", "result", "in_shapes", "released")

    def name(self) -> str:
        op = self.instr.op
        return f"{op.node}Backward{FORMS.get((op.name, self.instr.pattern), 0)}"

    @property
    def next_functions(self) -> tuple:
        found = Node.next_functions.fget(self)  # type: ignore[attr-defined]
        if len(found) == 1 and self.params and self.instr.op.name in ARITHMETIC:
            return (*found, (None, 0))  # PyTorch makes a tensor of the number
        return found

    def source_of(self, v: Value) -> tuple:
        if v is self.result:
            return self, 0
        for i, o in enumerate(self.operands or ()):
            if o is v and self.next[i] is not None and not self.next[i].is_leaf:
                return self.next[i], self.nrs[i] if self.nrs else 0
        return None, 0

    @property
    def op_name(self) -> str:
        return self.instr.op.name

    def inputs_info(self) -> tuple:
        info: list = []
        tensors, numbers = itertools.count(), iter(self.params)
        for letter in self.instr.pattern:
            if letter == "s":
                info.append(("scalar", next(numbers)))
                continue
            i = next(tensors)
            if self.next[i] is not None:
                info.append(("node", i))
            else:
                info.append(("const", self._in_shape(i), self.instr.in_dtypes[i].name))
        info.extend(("scalar", number) for number in self.instr.op.fixed)
        return tuple(info)

    def _in_shape(self, i: int) -> tuple:
        return self.shape if self.in_shapes is None else self.in_shapes[i]

    def held(self) -> list[tuple[str, Value]]:
        names = [n for n, p in zip(self.instr.op.names, self.instr.pattern) if p == "t"]
        found = [(n, v) for n, v in zip(names, self.operands or ()) if v is not None]
        if self.result is not None:
            found.append(("result", self.result))
        return found

    @hot
    def release(self) -> None:
        if self.released:
            self._drop_packed()
        operands, result = self.operands, self.result
        if operands is not None:
            for v in operands:
                if v is not None:
                    v.kept -= 1
                    self.released = True
            self.operands = None
        if result is not None:
            result.kept -= 1
            self.released = True
            self.result = None

    def _drop_packed(self) -> None:
        self.__dict__.pop("_packed", None)
        self.released = True

    @hot
    def run(self, g: Any, recording: bool, edges: tuple) -> tuple:
        if self.released:
            return run_packed(self, unpack_operands, g, recording, edges)
        if recording:
            return self._run_recorded(g, edges)
        instr = self.instr
        rules = instr.rules if instr.rules_made else instr.all_rules()
        if len(edges) == 1:
            return (self._flow(g, 0, rules[0]),)
        return tuple([None if edge is None else self._flow(g, i, rules[i]) for i, edge in enumerate(edges)])

    @hot
    def _flow(self, g: Value, i: int, rule: Any) -> Value | None:
        """The gradient of input i, as a value."""
        if rule.__class__ is GradientRule:
            args = []
            for t in rule.tensors:
                if t == "g":
                    args.append(g)
                    continue
                o = self.result if t == "result" else self.operands[t]
                if o.stale is not None or o.lease is not None:
                    check_fresh(o, self)
                args.append(o)
            params = self.params
            if params:
                params = tuple([params[k] for k in rule.scalars])
            v = pending(rule.instr, tuple(args), params, g.shape)
        elif rule is IDENTITY:
            v = g
        elif rule is None:
            return None
        elif rule.__class__ is Refusal:
            return rule.refuse()
        else:
            v = cast_value(g, rule.dtype)
        if self.in_shapes is not None and self.in_shapes[i] != g.shape:
            v = v.sum_to_size(self.in_shapes[i])
        return v

    @hot
    def _run_recorded(self, g: Any, edges: tuple) -> tuple:
        out: list = []
        instr, params = self.instr, self.params
        for i, edge in enumerate(edges):
            rule = instr.gradient(i) if edge is not None else None
            if rule is None:
                out.append(None)
                continue
            if rule.__class__ is Refusal:
                rule.refuse()
            if rule is IDENTITY:
                t = g
            elif rule.__class__ is CastRule:
                t = apply_instruction(CASTS[g.dtype, rule.dtype], (g,), ())
            else:
                args = []
                for name in rule.tensors:
                    if name == "g":
                        args.append(g)
                    elif name == "result":
                        check_fresh(self.result, self)
                        args.append(saved_tensor(self.result, self, 0))
                    else:
                        check_fresh(self.operands[name], self)
                        nr = self.nrs[name] if self.nrs else 0
                        args.append(saved_tensor(self.operands[name], self.next[name], nr))
                t = apply_instruction(rule.instr, tuple(args), tuple([params[k] for k in rule.scalars]))
            if self.in_shapes is not None and self.in_shapes[i] != g._shape:
                t = t.sum_to_size(self.in_shapes[i])
            out.append(t)
        return tuple(out)


@hot
def cast_value(v: Value, dtype: Any) -> Value:
    if v.dtype is dtype:
        return v
    return pending(CASTS[v.dtype, dtype], (v,), (), v.shape)


@hot
def saved_tensor(v: Value, edge: Any, nr: int) -> Any:
    """A tensor over a kept value, connected to the graph where it came from."""
    t = wrap(v)
    t._edge = edge
    t._nr = nr
    return t


# Threads may go backward into the same leaves.
_accumulating = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_accumulating._at_fork_reinit)  # type: ignore[attr-defined]


@slotted
class AccumulateGrad(Node):
    """The end of the graph at a leaf: adds what arrives to the leaf's gradient, which lives here."""

    __slots__ = ("grad", "variable_ref", "post_accumulate", "soon")
    is_leaf = True

    @hot
    def __init__(self, variable: Any):
        self.next = ()
        self.nrs = None
        self.seq = -1
        self.code = None
        self.lasti = 0
        self.module = None
        self.hooks = None
        self.grad = None
        self.post_accumulate: dict | None = None
        self.soon = False  # whoever hooks on to it wants its gradient before the backward pass is over
        self.shape = variable._shape
        self.dtype = variable.dtype
        self.variable_ref = weakref.ref(variable)

    def name(self) -> str:
        return "AccumulateGrad"

    @property
    def out_device(self) -> Any:
        variable = self.variable
        return None if variable is None else variable.device

    @property
    def variable(self) -> Any:
        return self.variable_ref()

    @hot
    def accumulate(self, g: Any, recording: bool) -> None:
        """Add a gradient (a value, or a tensor if recording) to the leaf's."""
        with _accumulating:
            if self.grad is None:
                # A copy of its own where it is recorded: the tensor may be a view, or another leaf's gradient as well.
                self.grad = g.clone() if recording or g.__class__ is not Value else wrap(g)
            elif recording or g.__class__ is not Value:  # which is a sparse gradient
                self.grad = self.grad + g
            else:
                changed = self.grad._accumulate(g)
                if changed is not None:  # by a sparse gradient, or one that was sparse
                    self.grad = changed
        if self.post_accumulate:
            variable = self.variable_ref()
            for hook in list(self.post_accumulate.values()):
                hook(variable)


class ShownNode(Node):
    """A step that an operator takes within itself, shown in the graph between its node and an input's."""

    __slots__ = ("label",)

    def __init__(self, label: str, node: Node, i: int):
        self.label = label
        self.next = (node.next[i],)
        self.nrs = None if node.nrs is None else (node.nrs[i],)
        self.shape, self.dtype = node.metas[i]  # type: ignore[attr-defined]
        if label == "TBackward0":
            self.shape = self.shape[::-1]
        self.seq, self.code, self.lasti, self.module = node.seq, node.code, node.lasti, node.module
        self.hooks = None

    def name(self) -> str:
        return self.label

    @property
    def op_name(self) -> str:
        return self.label.partition("Backward")[0].lower()


@slotted
class OpNode(Node):
    """The node of an operator with stated gradients (see `ops.operator.Operator`)."""

    __slots__ = ("op", "label", "args", "saved", "metas", "released", "outputs")

    def name(self) -> str:
        return self.label + "0" if self.label.endswith("Backward") else self.label

    @property
    def op_name(self) -> str:
        return self.op.name

    @property
    def next_functions(self) -> tuple:
        through = self.op.through
        if not through:
            return super().next_functions
        found = self.__dict__.get("_shown")
        if found is None:
            every = list(super().next_functions)
            for i, n in enumerate(self.op.tensors):
                if n in through and every[i][0] is not None:
                    every[i] = (shown(ShownNode(through[n], self, i)), 0)
            found = self.__dict__["_shown"] = tuple(every)
        return found

    def inputs_info(self) -> tuple:
        info: list = []
        for i, edge in enumerate(self.next):
            if edge is not None:
                info.append(("node", i))
            else:
                shape, dtype = self.metas[i]
                info.append(("const", shape, dtype.name))
        for value in self.args.values():
            for item in value if isinstance(value, tuple) else (value,):
                if hasattr(item, "dtype") and hasattr(item, "shape"):  # integer tensors that say where to read or write
                    info.append(("const", tuple(item.shape), str(item.dtype)))
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                info.append(("scalar", value))
        return tuple(info)

    @property
    def out_device(self) -> Any:
        moved_to = self.args.get("device")
        return Node.out_device.__get__(self) if moved_to is None else moved_to

    def held(self) -> list[tuple[str, Value]]:
        return [(n, v) for n, v in (self.saved or {}).items() if v.__class__ is Value]

    @hot
    def release(self) -> None:
        if self.released:
            self._drop_packed()
        saved = self.saved
        if saved is not None:
            for v in saved.values():
                if v.__class__ is Value:
                    v.kept -= 1
            self.released = True
        self.saved = None

    def source_of(self, v: Value) -> tuple:
        for name, kept in (self.saved or {}).items():
            if kept is v:
                if name.startswith("result"):
                    return self, int(name[7:] or 0)
                i = self.op.tensors.index(name)
                source, nr = self.next[i], self.nrs[i] if self.nrs else 0
                return (None, 0) if source is None or source.is_leaf else (source, nr)
        return None, 0

    def _drop_packed(self) -> None:
        self.__dict__.pop("_packed", None)
        self.released = True

    @hot
    def run(self, g: Any, recording: bool, edges: tuple) -> tuple:
        if self.released:
            return run_packed(self, unpack_saved, g, recording, edges)
        saved = self.saved or {}
        if saved and edges is not self.next:
            saved = self._kept_for(edges)
        for v in saved.values():
            if v.__class__ is Value and (v.stale is not None or v.lease is not None):
                check_fresh(v, self)
        if recording:
            saved = self._kept_tensors(saved)
        return self.op.gradients(self, g, saved, edges)

    @hot
    def _kept_for(self, edges: tuple) -> dict:
        """What the gradients of the inputs that have an edge here read."""
        inputs, results, _ = self.op._kept(edges)
        saved = self.saved
        found = {}
        for name, _ in inputs:
            found[name] = saved[name]
        for name, _ in results:
            found[name] = saved[name]
        return found

    @hot
    def _kept_tensors(self, saved: dict) -> dict:
        made = {}
        for name, v in saved.items():
            made[name] = self._as_tensor(name, v)
        return made

    @hot
    def _as_tensor(self, name: str, v: Any) -> Any:
        """A kept value as a tensor, connected to the graph where it came from."""
        if v.__class__ is not Value:
            return v
        if name == "result" or name.startswith("result_"):
            return saved_tensor(v, self, int(name[7:] or 0))
        i = self.op.tensors.index(name)
        return saved_tensor(v, self.next[i], self.nrs[i] if self.nrs else 0)
