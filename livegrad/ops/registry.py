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
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ..lazy.value import Unbatched, Value
from ..native import HOT, hot
from ..overriding import COMPUTE, OVERRIDES, Public, announced, foreign, overridden
from ..site import warn
from ..tensor import Tensor
from . import dispatch, writes
from .arguments import checked, explain, refuse_types, type_name
from .batch_loops import loop
from .instruction import ElementwiseOp, type_in_c
from .numpy_names import with_numpy_names
from .operator import Operator
from .parameters import parameters

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
    tensors: int = 0,
) -> Callable:
    """Declare an elementwise operator by its formula; returns the function on tensors.

    formula: a function of scalars written with `livegrad.ops.scalar`, or one of its primitives.
    rule, grads, aside, not_complex: see `ElementwiseOp`. node: the graph node's name without "Backward0". domain: where
    the samples of its tests lie. reference: PyTorch's dotted name, the operator's own if not given. tensors: how many
    of its first operands may not be numbers.
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

    public = _function_form(op, as_method, tensors)
    for each in (name, *aliases):
        if method and not hasattr(Tensor, each):
            setattr(Tensor, each, _named(_method_form(op, as_method, tensors), each))
            if inplace:
                setattr(Tensor, each + "_", writes.in_place(_method_form(op, as_method, tensors), each + "_"))
        if not hasattr(Value, each):
            setattr(Value, each, dispatch.value_function(op))
        if function:
            FUNCTIONS[each] = public
    REGISTRY[name] = Entry(name, "elementwise", op, public, samples, name if reference is None else reference, domain)
    return public


def _named(function: Callable, name: str) -> Callable:
    f: Any = function
    while f is not None:  # what a compiled function calls where arguments do not fit is its Python form, which raises
        with contextlib.suppress(AttributeError):
            f.__name__ = f.__qualname__ = name
        f = getattr(f, "__wrapped__", None)
    return function


def _refuse_numbers(op: ElementwiseOp, args: tuple, tensors: int) -> None:
    """TypeError for a number among the operands that have to be tensors; arrays are taken for tensors."""
    for place, given in enumerate(args[:tensors], 1):
        if not isinstance(given, (Tensor, np.ndarray)):
            which = "input" if place == 1 else "other"
            raise TypeError(
                f"{op.name}(): argument '{which}' (position {place}) must be Tensor, not {type_name(given)}"
            )


def _method_form(op: ElementwiseOp, fast: Callable, tensors: int) -> Callable:
    """The method: like the fast form, but an operand that is no tensor or number is an error."""
    if len(op.names) == 1:
        return fast

    @hot
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if kwargs:
            args = _by_keyword(op, (self, *args), kwargs)[1:]
        if len(args) == 1 and len(op.names) == 2:
            if tensors == 2 and not isinstance(args[0], Tensor):
                _refuse_numbers(op, (self, *args), tensors)
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


def _function_form(op: ElementwiseOp, fast: Callable, tensors: int) -> Callable:
    n = len(op.names)
    entry = Public()

    @hot
    def function(*args: Any, out: Tensor | None = None, **kwargs: Any) -> Tensor:
        if OVERRIDES.on:
            made = overridden(entry.function, args, kwargs if out is None else _with_result(kwargs, out))
            if made is not COMPUTE:
                return made
        if kwargs:
            args = _by_keyword(op, args, kwargs)
        if len(args) != n:
            raise TypeError(f"{op.name}() takes {n} arguments ({', '.join(op.names)}), got {len(args)}")
        if tensors and not (isinstance(args[0], Tensor) and (tensors == 1 or isinstance(args[1], Tensor))):
            _refuse_numbers(op, args, tensors)
        if isinstance(args[0], Tensor) and n <= 2:
            made = fast(*args)
            if made is NotImplemented:
                made = _computed(op, entry, args)
        else:
            made = _computed(op, entry, args)
        if out is None:
            return made
        check_out(op.name, out)
        check_result(op.name, out, made, args)
        return write_out(out, made)

    function.__doc__ = f"{op.name}({', '.join(op.names)}, *, out=None): elementwise, with broadcasting."
    return announced(_named(function, op.name), entry)


def _with_result(kwargs: dict, out: Any) -> dict:
    return {**kwargs, "out": out}


@hot
def _computed(op: ElementwiseOp, entry: Public, args: tuple) -> Any:
    """The result for arguments in any mixture; what one makes of it that is foreign, and overrides it."""
    made = foreign(entry, args, {})
    return dispatch.call(op, args) if made is COMPUTE else made


def check_out(name: str, out: Any) -> None:
    """TypeError for something else than a tensor as `out=`."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type_name(out)}")


# Functions whose `out=` has to have the result's dtype. Others convert, where that loses no kind of number.
_EXACT_OUT = frozenset(
    {"addmm", "amax", "amin", "argmax", "argmin", "argsort", "baddbmm", "bmm", "clamp", "diag", "dot", "gather"}
    | {"index_select", "log_softmax", "matmul", "mm", "msort", "mv", "nonzero", "searchsorted", "softmax"}
    | {"sort", "take", "topk", "tril", "triu", "vdot"}
)
# The same of functions with several results, where it is one of these.
_EXACT_OF_SEVERAL = frozenset(["max", "min"])
# Functions that write where others of their elements are still to be read, and those that never read in order.
_WRITES_EARLY = frozenset(["cumprod", "cumsum", "cummax", "cummin"])
_WRITES_ANYWHERE = frozenset(["cat", "gather", "index_select", "take"])


def check_result(name: str, out: Tensor, made: Tensor, args: tuple, several: bool = False) -> None:
    """RuntimeError where a result, one of several or the only one, may not be written to the tensor given as `out=`."""
    name = name.rstrip("_")
    entry = REGISTRY.get(name)
    elementwise = entry is not None and entry.kind == "elementwise"
    exact = name in _EXACT_OUT or (several and name in _EXACT_OF_SEVERAL)
    if exact and out.dtype is not made.dtype:
        wanted, given = type_in_c(made.dtype), type_in_c(out.dtype)
        raise RuntimeError(f"Expected out tensor to have dtype {wanted}, but got {given} instead, in {name}()")
    writes.check_in_place(out, False)
    whole = name in _WRITES_ANYWHERE
    if elementwise or whole or name in _WRITES_EARLY:
        for given in args:
            for t in given if isinstance(given, (list, tuple)) else (given,):
                if isinstance(t, Tensor):
                    writes.check_overlap(out, t, whole)


def write_out(out: Tensor, made: Tensor) -> Tensor:
    """Put a result into the tensor given as `out=`, which takes its shape: with a warning if it had elements."""
    if made._edge is not None or out._edge is not None:
        raise RuntimeError("functions with out=... arguments don't support automatic differentiation")
    if out._shape != made._shape:
        writes.check_cast(made.dtype, out.dtype)
        if out.numel():
            warn(
                f"An output with one or more elements was resized since it had shape {list(out._shape)}, which does "
                f"not match the required output shape {list(made._shape)}: give a tensor of that shape as out=, or an "
                "empty one."
            )
        if out.dtype is not made.dtype or made._s is not None:
            made = made.to(out.dtype).clone()
        out._ver = out._version + 1
        out._s, out._v = None, made._v
        made._v.owner = weakref.ref(out)
        return out
    return writes.assign_result(out, made)


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
    batch: Callable | None = None,
    shape_of: Callable | None = None,
) -> Operator:
    """Declare an operator by a function of values and its gradients; returns the `Operator`.

    shape_of: the result's shape, by the same arguments, for values without data.
    batch: how it is applied to a batch whose dimension is hidden: a rule of `ops.batching`. Without one, `func.vmap`
    applies it to one example after the other.
    """
    label = (node or "".join(p.capitalize() for p in name.split("_"))) + "Backward"
    made = Operator(name, forward, tensors, grads or {}, label, variadic)
    made.through = through or {}
    made.anywhere = anywhere
    made.holds = holds
    made.batch = batch
    made.shape_of = shape_of
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
        if f.__name__.rstrip("_") == name:
            exported.__name__ = exported.__qualname__ = name
        as_method = _checked_method(shown, f)
        for each in (name, *aliases):
            if method:
                setattr(Tensor, each, as_method)
                if inplace:
                    setattr(Tensor, each + "_", writes.in_place(as_method, each + "_"))
            if function:
                FUNCTIONS[each] = exported
        REGISTRY[name] = Entry(name, kind, op, exported, samples, name if reference is None else reference, None)
        return f

    return enter


def known_as(f: Any, name: str) -> None:
    """Give a function that was made by another one, or has a name of its own inside, the name that errors tell."""
    while f is not None and hasattr(f, "__qualname__"):
        if "<" in f.__qualname__ or f.__name__.startswith("_"):
            _named(f, name)
        f = getattr(f, "__wrapped__", None)


def named(name: str, *, method: bool = True, aliases: tuple = ()) -> Callable:
    """Decorator: a Python function of tensors as a method and a function of the package, without an entry.

    For names of what is an operator elsewhere, and for what the generated tests cannot sample.
    """

    def enter(f: Callable) -> Callable:
        shown = with_numpy_names(f)
        for each in (name, *aliases):
            if method:
                setattr(Tensor, each, checked(shown, method=True))
            FUNCTIONS[each] = with_out(shown)
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


def with_out(f: Callable, number_first: Callable | None = None) -> Callable:
    """The function form: checks that the first argument is a tensor, and takes `input=` and `out=`."""
    first = parameters(f)[0]
    entry = Public()
    if number_first is not None:
        known_as(number_first, f.__name__)

    @hot
    def function(*args: Any, **kwargs: Any) -> Any:
        if OVERRIDES.on:
            made = overridden(entry.function, args, kwargs)
            if made is not COMPUTE:
                return made
        if "input" in kwargs and first != "input":
            args = (kwargs.pop("input"), *args)
        chosen = f
        if args and not isinstance(args[0], Tensor):
            if number_first is not None and isinstance(args[0], (int, float, complex)):
                chosen = number_first
            else:
                made = foreign(entry, args, kwargs)
                if made is not COMPUTE:
                    return made
                refuse_types(f, args, kwargs)
                raise TypeError(
                    f"{f.__name__}(): argument 'input' (position 1) must be Tensor, not {type_name(args[0])}"
                )
        out = kwargs.pop("out", None) if "out" in kwargs else None
        try:
            made = chosen(*args, **kwargs)
        except Exception as error:
            if isinstance(error, Unbatched):
                made = loop(chosen, args, kwargs)
            else:
                made = foreign(entry, args, kwargs)
                if made is not COMPUTE:
                    return made
                explain(error, chosen, args, kwargs)
                raise
        if out is None:
            return made
        if isinstance(made, tuple):
            if not isinstance(out, (tuple, list)):
                raise TypeError(f"{f.__name__}(): argument 'out' must be tuple of Tensors, not {type_name(out)}")
            for o, m in zip(out, made):
                check_out(f.__name__, o)
                check_result(f.__name__, o, m, args, True)
                write_out(o, m)
            return out
        check_out(f.__name__, out)
        check_result(f.__name__, out, made, args)
        return write_out(out, made)

    function.__doc__ = f.__doc__
    function.__wrapped__ = f  # type: ignore[attr-defined]
    return announced(_named(function, f.__name__), entry)
