"""Operators with stated gradients: what is recorded when one is applied, and what its gradient formulas are given."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes, native
from ..autograd.mode import MODE
from ..autograd.node import OpNode, sequence
from ..autograd.saving import SAVING, pack_saved
from ..devices import SEVERAL, cpu
from ..lazy import backend
from ..lazy.value import Value, from_array
from ..native import held, hot, slotted
from ..observe import WATCH
from ..runtime import array as arrays
from ..tensor import Tensor, wrap
from . import dispatch
from .parameters import parameters

_new = object.__new__


def _any_floating(tensors: tuple) -> bool:
    return any(t.dtype.category >= dtypes.FLOATING for t in tensors)


def without_derivative(name: str) -> Callable:
    """The gradient formula of what has none: nothing wrong is computed silently, going backward through it raises."""

    def gradient(g: Any) -> Any:
        raise NotImplementedError(f"the derivative for '{name}' is not implemented.")

    return gradient


# Where a gradient formula finds what it reads.
G, ARGUMENT, KEPT, SHAPE, DTYPE = range(5)


@slotted
class Rule:
    """A gradient formula and the names that it reads."""

    __slots__ = ("function", "names", "_reads")

    def __init__(self, function: Callable):
        self.function = function
        held(self, "function")
        self.names = parameters(function)
        self._reads: tuple | None = None

    @hot
    def reads(self, tensors: tuple) -> tuple:
        """For each name where it is: (G, None), (ARGUMENT or KEPT, name), (SHAPE or DTYPE, number of the input)."""
        found = self._reads
        return self._find_reads(tensors) if found is None else found

    def _find_reads(self, tensors: tuple) -> tuple:
        places: dict[str, tuple] = {"g": (G, None)}
        for i, n in enumerate(tensors):
            places[n], places[n + "_shape"], places[n + "_dtype"] = (KEPT, n), (SHAPE, i), (DTYPE, i)
        results = {n: (KEPT, n) for n in self.names if n == "result" or n.startswith("result_")}
        self._reads = tuple((places | results).get(n, (ARGUMENT, n)) for n in self.names)
        return self._reads


def _host(a: Any) -> Any:
    """An argument of an operator, with the values in it on the CPU."""
    if a.__class__ is Value:
        return a if a.device is cpu else from_array(arrays.moved(a.ready(), cpu))
    if isinstance(a, Tensor):
        return a.to(cpu)  # type: ignore[attr-defined]
    return type(a)(map(_host, a)) if a.__class__ in (list, tuple) else a


def _zeros_for(a: Any) -> Any:
    """Zeros on the CPU in the place of what has no data."""
    if a.__class__ is Value:
        return from_array(arrays.full_on(cpu, a.shape, a.dtype, 0)) if a.device.type == "meta" else a
    if isinstance(a, Tensor):
        return wrap(_zeros_for(a._value()))
    return type(a)(map(_zeros_for, a)) if a.__class__ in (list, tuple) else a


@slotted
class Operator:
    """An operator given by a function of values.

    tensors: names of its tensor arguments; with variadic=True there is one name, for a whole sequence.
    forward: function (values..., **arguments) -> value, or a tuple of them.
    grads: tensor name -> gradient function (see the module's description); for a variadic operator the function
    returns a list. A tensor without an entry gets no gradient.
    through: tensor name -> name of a node that the graph shows between this one and that input.
    anywhere: whether forward takes values on any device. Else it runs on the CPU, with copies there and back.
    without_data: whether forward takes values on the device "meta". Else it gets zeros in their place, on the CPU.
    shape_of: function (values..., **arguments) -> the result's shape, of the first value's dtype: no zeros are needed.
    compares: whether gradients look for the result among the elements. So that both have the same bits, an operand that
    is still pending is then evaluated before, not once by this operator and once more going backward.
    holds: names of arguments that say where elements lie. Nodes whose gradients read one are freed by going backward.
    batch: how it is applied to whole batches (see `ops.batching`); without one, it is to one example after the other.
    """

    __slots__ = (
        "name",
        "label",
        "tensors",
        "forward",
        "grads",
        "variadic",
        "through",
        "anywhere",
        "without_data",
        "shape_of",
        "compares",
        "holds",
        "batch",
        "_plans",
    )

    def __init__(self, name: str, forward: Callable, tensors: tuple, grads: dict, label: str, variadic: bool):
        if "g" in tensors:
            raise ValueError(
                f"operator {name}: a tensor may not be called g, which is what gradients call the incoming one"
            )
        self.name = name
        self.label = label
        self.tensors = tensors
        self.forward = forward
        held(self, "forward")
        self.grads = {n: Rule(f) for n, f in grads.items()}
        self.variadic = variadic
        self.through: dict[str, str] = {}
        self.anywhere = False
        self.without_data = False
        self.shape_of: Callable | None = None
        self.compares = False
        self.holds: tuple = ()
        self.batch: Callable | None = None
        self._plans: dict[tuple, tuple] = {}

    def __repr__(self) -> str:
        return f"<operator {self.name}>"

    @hot
    def apply(self, tensors: Sequence[Tensor], label: str | None = None, **args: Any) -> Any:
        """Run on tensors, and record."""
        if WATCH.batcher is not None:
            return WATCH.batcher.operator(self, tensors, label, args)
        if WATCH.observer is not None:
            return WATCH.observer.operator(self, tensors, label, args)
        return self._apply(tensors, label, args)

    @hot
    def _apply(self, tensors: Sequence[Tensor], label: str | None, args: dict) -> Any:
        if native.Start.left:
            native.launched()
        values = []
        device = None
        for t in tensors:
            v = t._v
            if v is None:
                v = t._read()
            if v.device is not device:
                if device is not None:
                    dispatch.check_devices(tensors)
                device = v.device
            values.append(v)
        if device is not cpu and device is not None:
            if device.type == "meta" and not self.without_data:
                return self._on_meta(tensors, values, label, args)
            if not self.anywhere:
                return self._on_host(tensors, label, args, device)
        if self.compares and (MODE.off == 0 or MODE.grad):
            for t, v in zip(tensors, values):
                if t._edge is not None:
                    v.ready()
        if SEVERAL[0] and device is not None and not backend.is_current(device):
            made = self._forward_on(device, values, args)
        else:
            made = self.forward(values, **args) if self.variadic else self.forward(*values, **args)
        outs = tuple([wrap(v) for v in made]) if made.__class__ is tuple else (wrap(made),)
        if self.grads and (MODE.off == 0 or MODE.grad):
            for t in tensors:
                if t._edge is not None:
                    self.record(outs, values, tensors, label, args)
                    break
        return outs if made.__class__ is tuple else outs[0]

    def _on_meta(self, tensors: Sequence[Tensor], values: list, label: str | None, args: dict) -> Any:
        """The shapes and dtypes of the results for tensors without data, from what comes of zeros in their place."""
        where = values[0].device
        if self.shape_of is not None:
            shape = tuple(self.shape_of(*values, **args))
            outs: tuple = (wrap(from_array(arrays.empty_on(where, shape, values[0].dtype))),)
            if self.grads and MODE.grad and any(t._edge is not None for t in tensors):
                self.record(outs, values, tensors, label, args)
            return outs[0]
        zeros = [_zeros_for(v) for v in values]
        given = {name: _zeros_for(a) for name, a in args.items()}
        for name in self.holds:
            where_to = given.get(name)
            if isinstance(where_to, tuple):  # on the CPU that is NumPy's arrays
                places = [_zeros_for(i).native() if i.__class__ is Value else i for i in where_to]
                given[name] = where_to._make(places) if hasattr(where_to, "_make") else type(where_to)(places)
        made = self.forward(zeros, **given) if self.variadic else self.forward(*zeros, **given)
        results = made if made.__class__ is tuple else (made,)
        outs = tuple([wrap(from_array(arrays.empty_on(where, v.shape, v.dtype))) for v in results])
        if self.grads and MODE.grad and any(t._edge is not None for t in tensors):
            self.record(outs, values, tensors, label, args)
        return outs if made.__class__ is tuple else outs[0]

    def _forward_on(self, device: Any, values: list, args: dict) -> Any:
        with backend.on(device):
            return self.forward(values, **args) if self.variadic else self.forward(*values, **args)

    def _on_host(self, tensors: Sequence[Tensor], label: str | None, args: dict, device: Any) -> Any:
        """Run on the CPU for tensors on another device. The copies are recorded, so gradients take the same way."""
        here = [t.to(cpu) for t in tensors]  # type: ignore[attr-defined]
        made = self._apply(here, label, {name: _host(a) for name, a in args.items()})
        if made.__class__ is tuple:
            return tuple([t.to(device) for t in made])
        return made.to(device)

    @hot
    def record(
        self, outs: tuple, values: Sequence[Value], tensors: Sequence[Tensor], label: str | None, args: dict
    ) -> OpNode | None:
        """Add the node of results that this operator made of `tensors`."""
        first = outs[0]
        dtype = first.dtype
        if dtype.category < 2 and not _any_floating(outs):
            return None
        node = _new(OpNode)
        node.op = self
        node.label = label or self.label
        if self.variadic:
            node.next = edges = tuple([t._edge for t in tensors])
        else:
            edges = tuple([t._edge for t in tensors])
            if len(self.grads) < len(self.tensors):  # some inputs get no gradient
                edges = tuple([e if self.tensors[i] in self.grads else None for i, e in enumerate(edges)])
            node.next = edges
        node.nrs = None
        for t in tensors:
            if t._nr:
                node.nrs = tuple([t._nr for t in tensors])
                break
        node.seq = next(sequence)
        node.shape = first._shape
        node.dtype = dtype
        node.hooks = None
        node.args = args
        node.released = False
        node.outputs = len(outs)
        node.metas = tuple([(v.shape, v.dtype) for v in values])
        inputs, results, freed = self._kept(edges)
        node.saved = None
        if freed:
            saved = {}
            for name, i in inputs:
                v = values[i]
                v.kept += 1
                saved[name] = v
            for name, i in results:
                v = outs[i]._value()
                v.kept += 1
                saved[name] = v
            node.saved = saved
        dispatch.record_site(node)
        if SAVING.blocks:
            pack_saved(node)
        for nr, t in enumerate(outs):
            if t.dtype.category >= 2:  # floating point or complex
                t._edge = node
                t._nr = nr
        return node

    @hot
    def _kept(self, edges: tuple) -> tuple:
        """What the gradients that will run read: ((name, input number), ...) and ((name, output number), ...).

        Third, whether the node is freed by going backward: because of these, or because of an argument that it holds.
        """
        mask = () if self.variadic else tuple([e is not None for e in edges])
        plan = self._plans.get(mask)
        return self._plan(mask) if plan is None else plan

    def _plan(self, mask: tuple) -> tuple:
        if mask not in self._plans:
            wanted: set[str] = set()
            for n, needed in zip(self.tensors, (True,) if self.variadic else mask):
                if needed:
                    wanted.update(self.grads[n].names)
            inputs = () if self.variadic else tuple((n, i) for i, n in enumerate(self.tensors) if n in wanted)
            results = [("result", 0)] if "result" in wanted else []
            results += [(n, int(n[7:])) for n in sorted(wanted) if n.startswith("result_")]
            self._plans[mask] = inputs, tuple(results), bool(inputs or results or wanted.intersection(self.holds))
        return self._plans[mask]

    def _gradients_of_many(self, node: OpNode, g: Any, saved: dict) -> tuple:
        rule = self.grads[self.tensors[0]]
        known = {**node.args, "g": g, "shapes": tuple(s for s, _ in node.metas), **saved}
        return tuple(rule.function(*[known[n] for n in rule.names]))

    @hot
    def gradients(self, node: OpNode, g: Any, saved: dict, edges: tuple) -> tuple:
        """The gradients of those inputs of a recorded node that have an edge (see `Node.run`)."""
        if SEVERAL[0]:
            where = _device_of(g)
            if not backend.is_current(where):
                with backend.on(where):
                    return self.gradients(node, g, saved, edges)
        if self.variadic:
            return self._gradients_of_many(node, g, saved)
        out: list = []
        for k, edge in enumerate(edges):
            if edge is None:
                out.append(None)
                continue
            rule = self.grads[self.tensors[k]]
            given = []
            for place, key in rule.reads(self.tensors):
                if place == G:
                    given.append(g)
                elif place == KEPT:
                    given.append(saved[key])
                elif place == ARGUMENT:
                    given.append(node.args[key])
                else:
                    given.append(node.metas[key][0 if place == SHAPE else 1])
            out.append(rule.function(*given))
        return tuple(out)


def name_nodes(made: Any, label: str, *given: Any) -> Any:
    """What a function of several operators gives, with the name that PyTorch has for its node; returns it.

    made: a tensor, or several, of which those are named that an operator with stated gradients made last; not one that
    was `given`. label: without the number at its end, where that is 0.
    """
    for t in made if isinstance(made, tuple) else (made,):
        node = t._edge
        if node.__class__ is OpNode and all(node is not x._edge for x in given if isinstance(x, Tensor)):
            node.label = label
    return made


def shows(label: str) -> Callable:
    """Decorator for a function of several operators: what it gives shows `label` as the name of its node."""

    def decorate(f: Callable) -> Callable:
        @functools.wraps(f)
        def function(*args: Any, **options: Any) -> Any:
            return name_nodes(f(*args, **options), label, *args)

        return function

    return decorate


def there(function: Callable) -> Callable:
    """Decorator for a function of a tensor that calls the array library: its device is the current one meanwhile."""

    @functools.wraps(function)
    def on_its_device(x: Any, *args: Any, **options: Any) -> Any:
        if SEVERAL[0] and isinstance(x, Tensor) and not backend.is_current(x.device):
            with backend.on(x.device):
                return function(x, *args, **options)
        return function(x, *args, **options)

    return on_its_device


def _device_of(g: Any) -> Any:
    """The device of a gradient, or of those of a node with several outputs that there are."""
    return next(part for part in g if part is not None).device if g.__class__ is list else g.device


def on_either(op: Operator, x: Any, **args: Any) -> Any:
    """Apply a one-tensor operator to a tensor or to a bare value, whichever it is."""
    return op.forward(x, **args) if x.__class__ is Value else op.apply((x,), **args)
