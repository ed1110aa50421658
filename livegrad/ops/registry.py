"""The registry: how an operator is declared, and what follows from its declaration.

`elementwise` takes a formula. From it come the kernel on every device, the reference, the gradient, broadcasting,
promotion, the function, the method, its in-place form and `out=`.

`operator` takes a function of values and, for each tensor, its gradient: a function whose parameter names say what has
to be kept: `g`, the operator's own tensors and arguments, `result`, and `NAME_shape` or `NAME_dtype`, which keep no
data. Gradients are written in the library's own operators, so they run on bare values and, to be differentiated
again, on tensors.

`composite` takes a Python function of other operators.

A new elementwise operator, complete:

>>> import livegrad
>>> from livegrad.ops.registry import elementwise
>>> from livegrad.ops.scalar import exp
>>> bump = elementwise("bump", lambda x: exp(-x * x))
>>> x = livegrad.tensor([0.0, 1.0], requires_grad=True)
>>> x.bump().sum().backward()
>>> x.grad
tensor([-0.0000, -0.7358])
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes
from ..autograd.mode import MODE
from ..autograd.node import OpNode, sequence
from ..devices import cpu
from ..lazy.value import Value, from_array
from ..native import HOT, front, held, hot, slotted
from ..observe import WATCH
from ..runtime import array as arrays
from ..tensor import Tensor, wrap
from . import dispatch
from .arguments import checked, explain, refuse_types, type_name
from .instruction import ElementwiseOp
from .parameters import parameters

_new = object.__new__

# Everything declared, by name.
REGISTRY: dict[str, Entry] = {}
# The bare elementwise operators, by the name they were declared under.
ELEMENTWISE: dict[str, ElementwiseOp] = {}
# Functions of the package's namespace, by name.
FUNCTIONS: dict[str, Callable] = {}


class Entry:
    """One operator: its kind, what calls it, and what its tests are made from.

    samples: a function that yields (args, kwargs) of NumPy arrays and numbers, or None for those of its kind.
    reference: PyTorch's name for it, dotted from `torch` ("nn.functional.silu"); empty where there is none.
    """

    __slots__ = ("name", "kind", "op", "function", "samples", "reference", "domain")

    def __init__(self, name: str, kind: str, op: Any, function: Callable, samples: Any, reference: str, domain: Any):
        self.name, self.kind, self.op, self.function = name, kind, op, function
        self.samples, self.reference, self.domain = samples, reference, domain


def elementwise(
    name: str,
    formula: Any,
    *,
    names: tuple | None = None,
    rule: str = "float",
    node: str | None = None,
    method: bool = True,
    function: bool = True,
    inplace: bool = True,
    differentiable: bool = True,
    bool_error: str | None = None,
    grads: dict[str, Any] | None = None,
    fixed: tuple = (),
    aside: tuple = (),
    not_complex: Exception | str | None = None,
    aliases: tuple = (),
    reference: str | None = None,
    domain: tuple = (-3.0, 3.0),
    samples: Callable | None = None,
) -> Callable:
    """Declare an elementwise operator by its formula; returns the function on tensors.

    formula: a function of scalars written with `livegrad.ops.scalar`, or one of its primitives.
    rule, grads, aside, not_complex: see `ElementwiseOp`. node: the graph node's name without "Backward0". domain: where
    the samples of its tests lie. reference: PyTorch's dotted name, the operator's own if not given.
    """
    op = ElementwiseOp(
        name, formula, names=names, rule=rule, node=node, differentiable=differentiable, bool_error=bool_error,
        grads=grads, fixed=fixed, aside=aside, not_complex=not_complex,
    )  # fmt: skip
    ELEMENTWISE[name] = op
    n = len(op.names)
    if n == 1:
        as_method = dispatch.unary(op)
    elif n == 2:
        as_method = dispatch.binary(op)
    else:

        def as_method(*args: Any) -> Tensor:  # type: ignore[misc]
            return dispatch.call(op, args)

    public = _function_form(op, as_method)
    for each in (name, *aliases):
        if method and not hasattr(Tensor, each):
            setattr(Tensor, each, _named(_method_form(op, as_method), each))
            if inplace:
                setattr(Tensor, each + "_", dispatch.in_place(_method_form(op, as_method), each + "_"))
        if not hasattr(Value, each):
            setattr(Value, each, dispatch.value_function(op))
        if function:
            FUNCTIONS[each] = public
    REGISTRY[name] = Entry(name, "elementwise", op, public, samples, name if reference is None else reference, domain)
    return public


def _named(function: Callable, name: str) -> Callable:
    with contextlib.suppress(AttributeError):
        function.__name__ = function.__qualname__ = name
    return function


def _method_form(op: ElementwiseOp, fast: Callable) -> Callable:
    """The method: like the fast form, but an operand that is no tensor or number is an error."""
    if len(op.names) == 1:
        return fast

    @hot
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if kwargs:
            args = _by_keyword(op, (self, *args), kwargs)[1:]
        if len(args) == 1 and len(op.names) == 2:
            made = fast(self, args[0])
            if made is not NotImplemented:
                return made
        return dispatch.call(op, (self, *args))

    return method


def _by_keyword(op: ElementwiseOp, args: tuple, kwargs: dict) -> tuple:
    """Positional arguments from positional and keyword ones; PyTorch calls the first two `input` and `other`."""
    names = list(op.names)
    spoken = {"input": 0, "self": 0, "other": 1, "exponent": 1}
    full: list = [*args, *([None] * (len(names) - len(args)))]
    for key, given in kwargs.items():
        place = names.index(key) if key in names else spoken.get(key)
        if place is None or place >= len(full):
            raise TypeError(f"{op.name}() got an unexpected keyword argument '{key}'")
        full[place] = given
    return tuple(full)


def _function_form(op: ElementwiseOp, fast: Callable) -> Callable:
    n = len(op.names)

    @hot
    def function(*args: Any, out: Tensor | None = None, **kwargs: Any) -> Tensor:
        if kwargs:
            args = _by_keyword(op, args, kwargs)
        if len(args) != n:
            raise TypeError(f"{op.name}() takes {n} arguments ({', '.join(op.names)}), got {len(args)}")
        if isinstance(args[0], Tensor) and n <= 2:
            made = fast(*args)
            if made is NotImplemented:
                made = dispatch.call(op, args)
        else:
            made = dispatch.call(op, args)
        if out is None:
            return made
        return write_out(out, made)

    function.__doc__ = f"{op.name}({', '.join(op.names)}, *, out=None): elementwise, with broadcasting."
    return _named(function, op.name)


def write_out(out: Tensor, made: Tensor) -> Tensor:
    """Put a result into the tensor given as `out=`. Its shape must be the result's, or empty."""
    if made._edge is not None or out._edge is not None:
        raise RuntimeError("functions with out=... arguments don't support automatic differentiation")
    if out._shape != made._shape and out.numel() == 0:
        if out.dtype is not made.dtype or made._s is not None:
            made = made.to(out.dtype).clone()
        out._ver = out._version + 1
        out._s, out._v = None, made._v
        made._v.owner = weakref.ref(out)
        return out
    return dispatch.assign_result(out, made)


# --- operators with stated gradients ----------------------------------------------------------------------------


def _any_floating(tensors: tuple) -> bool:
    return any(t.dtype.category >= dtypes.FLOATING for t in tensors)


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


@slotted
class Operator:
    """An operator given by a function of values.

    tensors: names of its tensor arguments; with variadic=True there is one name, for a whole sequence.
    forward: function (values..., **arguments) -> value, or a tuple of them.
    grads: tensor name -> gradient function (see the module's description); for a variadic operator the function
    returns a list. A tensor without an entry gets no gradient.
    through: tensor name -> name of a node that the graph shows between this one and that input.
    anywhere: whether forward takes values on any device. Else it runs on the CPU, with copies there and back.
    holds: names of arguments that say where elements lie. Nodes whose gradients read one are freed by going backward.
    """

    __slots__ = ("name", "label", "tensors", "forward", "grads", "variadic", "through", "anywhere", "holds", "_plans")

    def __init__(self, name: str, forward: Callable, tensors: tuple, grads: dict, label: str, variadic: bool):
        self.name = name
        self.label = label
        self.tensors = tensors
        self.forward = forward
        held(self, "forward")
        self.grads = {n: Rule(f) for n, f in grads.items()}
        self.variadic = variadic
        self.through: dict[str, str] = {}
        self.anywhere = False
        self.holds: tuple = ()
        self._plans: dict[tuple, tuple] = {}

    def __repr__(self) -> str:
        return f"<operator {self.name}>"

    @hot
    def apply(self, tensors: Sequence[Tensor], label: str | None = None, **args: Any) -> Any:
        """Run on tensors, and record."""
        if WATCH.observer is not None:
            return WATCH.observer.operator(self, tensors, label, args)
        return self._apply(tensors, label, args)

    @hot
    def _apply(self, tensors: Sequence[Tensor], label: str | None, args: dict) -> Any:
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
        if device is not cpu and device is not None and not self.anywhere:
            return self._on_host(tensors, label, args, device)
        made = self.forward(values, **args) if self.variadic else self.forward(*values, **args)
        outs = tuple([wrap(v) for v in made]) if made.__class__ is tuple else (wrap(made),)
        if self.grads and (MODE.off == 0 or MODE.grad):
            for t in tensors:
                if t._edge is not None:
                    self.record(outs, values, tensors, label, args)
                    break
        return outs if made.__class__ is tuple else outs[0]

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


def operator(
    name: str,
    forward: Callable,
    *,
    tensors: tuple,
    grads: dict[str, Callable] | None = None,
    node: str | None = None,
    variadic: bool = False,
    through: dict[str, str] | None = None,
    anywhere: bool = False,
    holds: tuple = (),
) -> Operator:
    """Declare an operator by a function of values and its gradients; returns the `Operator`."""
    label = (node or "".join(p.capitalize() for p in name.split("_"))) + "Backward"
    made = Operator(name, forward, tensors, grads or {}, label, variadic)
    made.through = through or {}
    made.anywhere = anywhere
    made.holds = holds
    return made


def public(
    name: str,
    *,
    kind: str = "composite",
    method: bool = True,
    function: bool = True,
    inplace: bool = False,
    aliases: tuple = (),
    op: Operator | None = None,
    reference: str | None = None,
    samples: Callable | None = None,
    number_first: Callable | None = None,
    keywords: dict[str, str] | None = None,
) -> Callable:
    """Decorator: make a Python function of tensors a method and a function of the package, and enter it.

    The decorated function's first parameter is the tensor. number_first: what the function calls instead where its
    first argument is a Python number. keywords: other names of parameters, to those that they have here.
    """

    def enter(f: Callable) -> Callable:
        shown = with_numpy_names(f, keywords)
        exported = with_out(shown, number_first)
        as_method = _checked_method(shown, f)
        for each in (name, *aliases):
            if method:
                setattr(Tensor, each, as_method)
                if inplace:
                    setattr(Tensor, each + "_", dispatch.in_place(as_method, each + "_"))
            if function:
                FUNCTIONS[each] = exported
        REGISTRY[name] = Entry(name, kind, op, exported, samples, name if reference is None else reference, None)
        return f

    return enter


def named(name: str, *, method: bool = True, aliases: tuple = ()) -> Callable:
    """Decorator: a Python function of tensors as a method and a function of the package, without an entry.

    For names of what is an operator elsewhere, and for what the generated tests cannot sample.
    """

    def enter(f: Callable) -> Callable:
        for each in (name, *aliases):
            if method:
                setattr(Tensor, each, checked(f, method=True))
            FUNCTIONS[each] = with_out(f)
        return f

    return enter


def function(f: Callable) -> Callable:
    """Decorator: a Python function as one of the package, and nothing else. It takes `out=` itself, if at all."""
    FUNCTIONS[f.__name__] = checked(f)
    return f


def _checked_method(shown: Callable, f: Callable) -> Callable:
    """The form for methods. What is hot and takes numbers only is called as it is: they are converted, or refused."""
    annotations = list(f.__annotations__.values())
    return shown if f.__code__ in HOT and "Tensor" not in annotations[1:-1] else checked(shown, method=True)


NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def with_numpy_names(f: Callable, more: dict[str, str] | None = None) -> Callable:
    """The function, that also takes NumPy's names of the parameters that it has, and more: name -> its own."""
    names = parameters(f)
    both = NUMPY_NAMES if more is None else {**NUMPY_NAMES, **more}
    known = {other: own for other, own in both.items() if own in names and other not in names}
    if not known:
        return f

    @functools.wraps(f)
    @hot
    def function(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            for other, own in known.items():
                if other in kwargs:
                    if own in kwargs:
                        raise TypeError(f"{f.__name__}() got both {own!r} and {other!r}, which name one argument")
                    kwargs[own] = kwargs.pop(other)
        return f(*args, **kwargs)

    if f.__code__ in HOT:
        front(function, f)
    return function


def with_out(f: Callable, number_first: Callable | None = None) -> Callable:
    """The function form: checks that the first argument is a tensor, and takes `input=` and `out=`."""
    first = parameters(f)[0]

    @hot
    def function(*args: Any, **kwargs: Any) -> Any:
        if "input" in kwargs and first != "input":
            args = (kwargs.pop("input"), *args)
        chosen = f
        if args and not isinstance(args[0], Tensor):
            if number_first is not None and isinstance(args[0], (int, float)):
                chosen = number_first
            else:
                refuse_types(f, args, kwargs)
                raise TypeError(
                    f"{f.__name__}(): argument 'input' (position 1) must be Tensor, not {type_name(args[0])}"
                )
        out = kwargs.pop("out", None) if "out" in kwargs else None
        try:
            made = chosen(*args, **kwargs)
        except Exception as error:
            explain(error, chosen, args, kwargs)
            raise
        if out is None:
            return made
        if isinstance(made, tuple):
            for o, m in zip(out, made):
                write_out(o, m)
            return out
        return write_out(out, made)

    function.__doc__ = f.__doc__
    function.__wrapped__ = f  # type: ignore[attr-defined]
    return _named(function, f.__name__)
