"""`library`: a program's own operators, by name: ``custom_op``, and ``Library`` with schemas.

An operator that is made here is a function, with a gradient if one is registered, and ``livegrad.ops.namespace.name``
finds it. One that fuses with others and needs no gradient written is declared as `livegrad.ops.registry` does it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from inspect import Signature
from inspect import signature as signature_of
from typing import Any

from .autograd.function import Function
from .schemas import complete, signature
from .tensor import Tensor

__all__ = [
    "CustomOpDef", "Library", "custom_op", "define", "impl", "register_autograd", "register_fake", "register_kernel",
]  # fmt: skip

_ANY_DEVICE = ("default", "CompositeExplicitAutograd", "CompositeImplicitAutograd")
_KEYS = {"CPU": "cpu", "CUDA": "cuda"}


class CustomOpDef:
    """A program's operator: calling it runs the kernel for its tensors' device, without recording what happens inside.

    Its gradient is what `register_autograd` was given; going backward through it without one raises RuntimeError.
    """

    def __init__(self, name: str, function: Callable | None = None, device_types: Any = None, schema: str = ""):
        self._name, self._recorded = name, False
        self._arguments: Signature | None = signature(schema)
        self._kernels: dict[str | None, Callable] = {}
        self._backward: Callable | None = None
        self._setup: Callable | None = None
        self._step: Any = type(f"GeneratedBackwardFor_{name.replace('::', '_')}_default", (_Step,), {})
        if function is not None:
            self.__doc__, self.__name__ = function.__doc__, getattr(function, "__name__", name)
            self.register_kernel(device_types)(function)

    @property
    def default(self) -> CustomOpDef:
        """The operator itself, which has no overloads."""
        return self

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._name})>"

    def register_kernel(self, device_types: Any = None, func: Callable | None = None, /) -> Callable:
        """Say how the operator is computed on some devices ("cpu", "cuda", or a list; None: on all)."""

        def register(function: Callable) -> Callable:
            for kind in (device_types,) if device_types is None or isinstance(device_types, str) else device_types:
                self._kernels[kind] = function
            if self._arguments is None:
                self._arguments = signature_of(function)
            return function

        return register if func is None else register(func)

    def register_fake(self, fn: Callable, /) -> Callable:
        """Accepts a function that gives the shape of the result alone. Nothing here computes without numbers."""
        return fn

    def register_autograd(self, backward: Callable, /, *, setup_context: Callable | None = None) -> None:
        """Register the gradient: ``setup_context(ctx, inputs, output)`` keeps what ``backward(ctx, *grads)`` needs.

        The inputs are all arguments that can be given by position, with their defaults, however they were given. If the
        operator has others, they reach setup_context as ``keyword_only_inputs``.
        """
        self._backward, self._setup = backward, setup_context

    def _kernel(self, args: tuple, kwargs: dict) -> Callable:
        kind = next((a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), "cpu")
        found = self._kernels.get(kind) or self._kernels.get(None)
        if found is None:
            raise NotImplementedError(
                f"Could not run '{self._name}' with arguments from the '{kind}' device: kernels are registered for "
                f"{sorted(map(str, self._kernels)) or 'no device'}"
            )
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kernel = self._kernel(args, kwargs)
        if self._recorded:
            return kernel(*args, **kwargs)
        args, kwargs = complete(self._arguments, args, kwargs)  # type: ignore[arg-type]  # set with the first kernel
        return self._step.apply(self, kernel, kwargs, *args)


class _Step(Function):
    """One call of an operator, as a node of the graph."""

    @staticmethod
    def forward(ctx: Any, op: CustomOpDef, kernel: Callable, kwargs: dict, *args: Any) -> Any:
        ctx.op = op
        made = kernel(*args, **kwargs)
        if op._setup is not None:
            more = {"keyword_only_inputs": kwargs} if kwargs else {}
            # What the user's code sees of the context is about its own inputs.
            needed, ctx.needs_input_grad = ctx.needs_input_grad, ctx.needs_input_grad[3:]
            op._setup(ctx=ctx, inputs=args, output=made, **more)
            ctx.needs_input_grad = needed
        return made

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple:
        if ctx.op._backward is None:
            raise RuntimeError(
                f"Trying to backward through {ctx.op._name} but no autograd formula was registered. "
                "Please use register_autograd to add one."
            )
        needed, ctx.needs_input_grad = ctx.needs_input_grad, ctx.needs_input_grad[3:]
        try:
            found = ctx.op._backward(ctx, *grads)
        finally:
            ctx.needs_input_grad = needed
        return (None, None, None, *(found if isinstance(found, tuple) else (found,)))


_OPS: dict[str, dict[str, CustomOpDef]] = {}


class _Namespace:
    """``livegrad.ops.name``: the operators that were registered under a name."""

    def __init__(self, name: str):
        self._name = name

    def __dir__(self) -> list[str]:
        return sorted(_OPS[self._name])

    def __getattr__(self, op: str) -> Any:
        found = _OPS.get(self._name, {}).get(op)
        if found is None:
            raise AttributeError(f"'_OpNamespace' '{self._name}' object has no attribute '{op}'")
        return found


def namespace(name: str) -> Any:
    """The operators under a name, or None where there are none."""
    return _Namespace(name) if name in _OPS else None


def _split(qualname: str) -> tuple[str, str]:
    space, colons, name = qualname.partition("::")
    if not colons or not space or not name:
        raise ValueError(f"expected the name of an operator as 'namespace::name', but got {qualname!r}")
    return space, name.partition(".")[0]


def _found(op: Any) -> CustomOpDef:
    if isinstance(op, CustomOpDef):
        return op
    space, name = _split(op)
    try:
        return _OPS[space][name]
    except KeyError:
        raise RuntimeError(f"operator {op} does not exist: make it with custom_op or define first") from None


def custom_op(
    name: str, fn: Callable | None = None, /, *, mutates_args: str | Sequence[str], device_types: Any = None,
    schema: str | None = None, tags: Any = None,
) -> Any:  # fmt: skip
    """Make an operator of a function, under a name; a decorator unless the function is given.

    Inside the function nothing is recorded; `CustomOpDef.register_autograd` gives it a gradient. `schema` lists the
    arguments where the function's own are others; `mutates_args` is accepted: what is written to is noted by the
    tensors themselves. Raises ValueError for a name without a namespace.

    >>> import livegrad
    >>> @livegrad.library.custom_op("shop::double", mutates_args=())
    ... def double(x: livegrad.Tensor) -> livegrad.Tensor:
    ...     return x * 2
    >>> double.register_autograd(lambda ctx, g: g * 2)
    >>> x = livegrad.ones(2, requires_grad=True)
    >>> livegrad.ops.shop.double(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """
    space, short = _split(name)

    def make(function: Callable) -> CustomOpDef:
        made = _OPS.setdefault(space, {})[short] = CustomOpDef(name, function, device_types, schema or "")
        return made

    return make if fn is None else make(fn)


def define(qualname: str, schema: str = "", *, lib: Any = None, tags: Any = None) -> None:
    """Make an operator without kernels, which `impl` or `register_kernel` give it."""
    space, name = _split(qualname)
    _OPS.setdefault(space, {})[name] = CustomOpDef(qualname, schema=schema)


def impl(qualname: str, types: Any, func: Callable | None = None, *, lib: Any = None) -> Any:
    """Register a kernel for devices; a decorator unless the function is given."""

    def register(function: Callable) -> Callable:
        op = _found(qualname)
        for key in (types,) if isinstance(types, str) else types:
            if key == "Meta":
                continue
            op._recorded = op._recorded or key == "CompositeImplicitAutograd"
            op.register_kernel(None if key in _ANY_DEVICE else _KEYS.get(key, key))(function)
        return function

    return register if func is None else register(func)


def register_kernel(op: Any, device_types: Any, func: Callable | None = None, /, *, lib: Any = None) -> Any:
    """Register a kernel of an operator for devices; a decorator unless the function is given."""
    return _found(op).register_kernel(device_types, func)


def register_fake(op: Any, func: Callable | None = None, /, **options: Any) -> Any:
    """Accepts a function that gives the shape of an operator's result; also as a decorator.

    An operator that is not there is no error: packages whose operators are compiled for PyTorch (`load_library` refuses
    those) register their shapes when they are imported, and are of use without them.
    """
    if func is None:
        return lambda function: register_fake(op, function)
    if not isinstance(op, CustomOpDef):
        space, name = _split(op)
        if name not in _OPS.get(space, {}):
            return func
    return _found(op).register_fake(func)


impl_abstract = register_fake


def register_autograd(
    op: Any, backward: Callable, /, *, setup_context: Callable | None = None, lib: Any = None
) -> None:
    """Register the gradient of an operator."""
    _found(op).register_autograd(backward, setup_context=setup_context)


class Library:
    """A namespace for operators: `define` takes ``"name(Tensor x) -> Tensor"``, `impl` a kernel for a dispatch key.

    kind: "DEF", "FRAGMENT" or "IMPL"; all three behave alike.
    """

    def __init__(self, ns: str, kind: str, dispatch_key: str = ""):
        if kind not in ("DEF", "FRAGMENT", "IMPL"):
            raise ValueError(f"Unsupported kind: {kind}")
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key

    def define(self, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> str:
        """Make an operator without kernels."""
        found = re.match(r"\s*([\w.]+)\s*\(", schema)
        if found is None:
            raise RuntimeError(f"expected a schema such as 'name(Tensor x) -> Tensor', but got {schema!r}")
        define(f"{self.ns}::{found.group(1)}", schema)
        return found.group(1)

    def impl(self, op_name: Any, fn: Callable, dispatch_key: str = "", **options: Any) -> None:
        """Register a kernel for a dispatch key: "CPU", "CUDA", "CompositeImplicitAutograd", …"""
        name = op_name if "::" in op_name else f"{self.ns}::{op_name}"
        impl(name, dispatch_key or self.dispatch_key or "CompositeImplicitAutograd", fn)


def load_library(path: Any) -> None:
    """Raises OSError: operators in machine code that were made for PyTorch cannot be loaded."""
    raise OSError(f"{path}: operators compiled for PyTorch cannot be loaded; register them with livegrad.library")
