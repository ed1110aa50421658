"""Tracer: calls a module with proxies and writes down what it does.

Functions of the library hand calls with a proxy among their arguments to it. Those that do not, Python's own of `math`,
and those that programs have named are wrapped while a trace runs.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import livegrad
from livegrad.nn.module import Module
from livegrad.overrides import is_overridable
from livegrad.tensor import Tensor

from .graph import Graph
from .graph_module import GraphModule
from .node import map_aggregate
from .proxy import Proxy, TraceError, TracerBase, has_proxy

__all__ = ["Tracer", "symbolic_trace", "wrap"]

_WRAPPED: list[tuple[dict, str]] = []  # globals of a program's module, and the name in them of a function to record


def wrap(fn_or_name: Any) -> Any:
    """Record calls of a function of the caller's module as they are, without looking inside; also as a decorator.

    Takes the function or its name, at the top level of a module. Raises RuntimeError for anything else.
    """
    if not callable(fn_or_name) and not isinstance(fn_or_name, str):
        raise RuntimeError("Unsupported type for global function! Must be either a callable or string name")
    name = fn_or_name if isinstance(fn_or_name, str) else fn_or_name.__name__
    frame = sys._getframe(1)
    if frame.f_code.co_name != "<module>":
        raise NotImplementedError("wrap must be called at the top level of a module")
    _WRAPPED.append((frame.f_globals, name))
    return fn_or_name


def _library() -> Iterator[tuple[Any, str, Callable]]:
    """The functions that programs find under the library's names, and that know nothing of proxies."""
    for module in (livegrad, livegrad.nn.functional, livegrad.linalg, livegrad.special, math):
        for name, value in list(vars(module).items()):
            plain = callable(value) and not isinstance(value, (type, ModuleType))
            if plain and not name.startswith("_") and not is_overridable(value):
                yield module, name, value


def _put_back(names: dict, name: str, value: Any) -> None:
    if value is None:
        del names[name]  # one of Python's own, which was not among the globals
    else:
        names[name] = value


class Tracer(TracerBase):
    """Traces modules; subclasses say what stays whole (`is_leaf_module`) and how calls are written down.

    autowrap_functions: further functions to be recorded as they are.
    """

    def __init__(self, autowrap_modules: Any = (), autowrap_functions: Any = (), param_shapes_constant: bool = False):
        self._functions = tuple(autowrap_functions)
        self.root: Any = None
        self.graph: Any = None
        self._paths: dict[int, str] = {}
        self._attributes: dict[int, str] = {}
        self._proxies: dict[str, Proxy] = {}

    # --- what subclasses change -------------------------------------------------------------------------------------

    def is_leaf_module(self, m: Module, module_qualified_name: str) -> bool:
        """Whether a module's call is one node: those of the library's own layers are, but for `Sequential`."""
        own = type(m).__module__.startswith("livegrad.nn") and not isinstance(m, GraphModule)
        return own and not isinstance(m, livegrad.nn.Sequential)

    def path_of_module(self, mod: Module) -> str:
        """Where in the root a module is. Raises NameError for one that is not there."""
        found = self._paths.get(id(mod))
        if found is None:
            raise NameError("module is not installed as a submodule")
        return found

    def call_module(self, m: Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
        """A call of a module that is met: a node for a leaf, else what it does."""
        path = self.path_of_module(m)
        if self.is_leaf_module(m, path):
            return self.create_proxy("call_module", path, args, kwargs)
        return forward(*args, **kwargs)

    def create_arg(self, a: Any) -> Any:
        """An argument of a node: nodes for proxies, parameters and modules' tensors."""

        def each(x: Any) -> Any:
            if isinstance(x, Proxy):
                return x.node
            if isinstance(x, Tensor):
                path = self._attributes.get(id(x))
                if path is None:
                    there = object.__getattribute__(self.root, "__dict__")  # looked up otherwise, one would be a node
                    path = next(n for n in map("_tensor_constant{}".format, itertools.count()) if n not in there)
                    setattr(self.root, path, x)
                    self._attributes[id(x)] = path
                return self.create_node("get_attr", path, (), {})
            return x

        return map_aggregate(a, each)

    # --- the trace --------------------------------------------------------------------------------------------------

    def trace(self, root: Any, concrete_args: dict | None = None) -> Graph:
        """The graph of a module, or of a function. concrete_args: values of arguments that are no inputs."""
        is_module = isinstance(root, Module)
        self.root = root if is_module else Module()
        function = type(root).forward if is_module else root
        self.graph = Graph(tracer_cls=type(self))
        self._paths = {id(m): name for name, m in self.root.named_modules()}
        self._attributes = {id(t): name for name, t in [*self.root.named_buffers(), *self.root.named_parameters()]}
        self._proxies = {}
        args = [root] if is_module else []
        kwargs = {}
        names = list(inspect.signature(function).parameters.values())[len(args) :]
        for p in names:
            if concrete_args is not None and p.name in concrete_args:
                value = concrete_args[p.name]
            else:
                default = () if p.default is p.empty else (p.default,)
                star = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
                value = self.create_proxy("placeholder", star + p.name, default, {}, name=p.name)
                if star:
                    raise TraceError(f"arguments of any number ({star}{p.name}) cannot be traced; name them")
            if p.kind is p.KEYWORD_ONLY:
                kwargs[p.name] = value
            else:
                args.append(value)
        with self._recording():
            result = function(*args, **kwargs)
        self.create_node("output", "output", (self.create_arg(result),), {}, "output")
        return self.graph

    def _recorder(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            if has_proxy((args, kwargs)):
                return self.create_proxy("call_function", function, args, kwargs)
            return function(*args, **kwargs)

        return recorded

    @contextmanager
    def _recording(self) -> Iterator[None]:
        tracer, call = self, Module.__call__

        def module_call(module: Module, *args: Any, **kwargs: Any) -> Any:
            return tracer.call_module(module, functools.partial(call, module), args, kwargs)

        def lookup(module: Module, name: str) -> Any:
            return tracer._attribute(object.__getattribute__(module, name))

        with ExitStack() as undo:
            for place, name, function in _library():
                setattr(place, name, self._recorder(function))
                undo.callback(setattr, place, name, function)
            for names, name in _WRAPPED:
                undo.callback(_put_back, names, name, names.get(name))
                names[name] = self._recorder(names.get(name) or getattr(builtins, name))
            undo.callback(setattr, Module, "__call__", call)
            undo.callback(delattr, Module, "__getattribute__")
            Module.__call__ = module_call  # type: ignore[method-assign,assignment]
            Module.__getattribute__ = lookup  # type: ignore[method-assign,assignment]
            yield

    def _attribute(self, value: Any) -> Any:
        """A parameter or buffer of the root as a proxy; it is one node however often it is looked up."""
        path = self._attributes.get(id(value)) if isinstance(value, Tensor) else None
        if path is None:
            return value
        if path not in self._proxies:
            self._proxies[path] = self.create_proxy("get_attr", path, (), {})
        return self._proxies[path]


def symbolic_trace(root: Any, concrete_args: dict | None = None) -> GraphModule:
    """A module with the graph of a module or function, found by calling it with proxies.

    >>> import livegrad
    >>> from livegrad import fx
    >>> traced = fx.symbolic_trace(lambda x: livegrad.relu(x) + 1)
    >>> print(traced.code.strip())
    def forward(self, x):
        relu = torch.relu(x);  x = None
        add = relu + 1;  relu = None
        return add
    """
    tracer = Tracer()
    graph = tracer.trace(root, concrete_args)
    name = type(root).__name__ if isinstance(root, Module) else root.__name__
    return GraphModule(tracer.root, graph, name)
