"""Proxy: what stands for a value while a function is traced; whatever is done with it becomes a node.

Functions of the library hand calls with a proxy to it (`Proxy.__torch_function__`), so it does not matter under which
name a program found them.
"""

from __future__ import annotations

import dis
import inspect
import operator
from collections.abc import Callable, Iterator
from typing import Any

from livegrad.overrides import is_tensor_method_or_property
from livegrad.overriding import OVERRIDES

from .node import Node, map_aggregate

__all__ = ["Attribute", "GraphAppendingTracer", "Proxy", "TraceError", "TracerBase"]


class TraceError(ValueError):
    """A program asks of a value what is only known when it runs."""


class TracerBase:
    """What proxies ask of the tracer that they belong to: to write down steps in its `graph`."""

    graph: Any

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: Any = None, type_expr: Any = None
    ) -> Any:
        """Write down a step."""
        return self.graph.create_node(kind, target, args, kwargs, name, type_expr)

    def proxy(self, node: Any) -> Proxy:
        """What stands for a node's result."""
        return Proxy(node, self)

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: Any = None, type_expr: Any = None,
        proxy_factory_fn: Any = None,
    ) -> Any:  # fmt: skip
        """Write down a step with proxies among its arguments."""
        node = self.create_node(kind, target, self.create_arg(args), self.create_arg(kwargs), name, type_expr)
        return (proxy_factory_fn or self.proxy)(node)

    def create_arg(self, a: Any) -> Any:
        """An argument of a node: nodes for proxies."""
        return map_aggregate(a, lambda x: x.node if isinstance(x, Proxy) else x)

    def iter(self, obj: Proxy) -> Any:
        """Asked to go through a value: raises TraceError, as how many there are is not known."""
        raise TraceError(
            "Proxy object cannot be iterated. This can be attempted when the Proxy is used in a loop or as a *args or "
            "**kwargs function argument. See the torch.fx docs on pytorch.org for a more detailed explanation of what "
            "types of control flow can be traced, and check out the Proxy docstring for help troubleshooting Proxy "
            "iteration errors"
        )

    def to_bool(self, obj: Proxy) -> bool:
        """Asked whether a value is true: raises TraceError, as that is not known."""
        raise TraceError("symbolically traced variables cannot be used as inputs to control flow")

    def keys(self, obj: Proxy) -> Any:
        """Asked for a value's keys: a proxy for them."""
        return self.create_proxy("call_method", "keys", (obj,), {})


class GraphAppendingTracer(TracerBase):
    """Writes down what is done with proxies at the place where a graph is being extended.

    >>> import livegrad
    >>> from livegrad import fx
    >>> graph = fx.Graph()
    >>> tracer = GraphAppendingTracer(graph)
    >>> x = Proxy(graph.placeholder("x"), tracer)
    >>> _ = graph.output((livegrad.relu(x) + 1).node)
    >>> fx.GraphModule(livegrad.nn.Module(), graph)(livegrad.tensor([-1.0, 2.0]))
    tensor([1., 3.])
    """

    def __init__(self, graph: Any):
        self.graph = graph


class Proxy:
    """Stands for the result of a node. Operators, methods and functions of it are recorded in the tracer's graph.

    Without a tracer they are added to the graph of its node.
    """

    def __init__(self, node: Node, tracer: Any = None):
        OVERRIDES.on = True  # functions that asked only after they have failed would have left nodes
        self.node = node
        self.tracer = GraphAppendingTracer(node.graph) if tracer is None else tracer

    def __repr__(self) -> str:
        return f"Proxy({self.node.name})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Attribute(self, name)

    def __deepcopy__(self, memo: dict) -> Proxy:
        return Proxy(self.node, self.tracer)

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.tracer.create_proxy("call_method", "__call__", (self, *args), kwargs)

    def __iter__(self) -> Iterator:
        frame = inspect.currentframe()
        caller = frame.f_back if frame is not None else None
        if caller is not None:
            for each in dis.get_instructions(caller.f_code):
                if each.offset == caller.f_lasti and each.opname == "UNPACK_SEQUENCE":
                    return iter([self[i] for i in range(each.argval)])  # type: ignore[index]
        return self.tracer.iter(self)

    def __bool__(self) -> bool:
        return self.tracer.to_bool(self)

    def __len__(self) -> int:
        raise RuntimeError(
            "'len' is not supported in symbolic tracing by default. If you want this call to be recorded, please call "
            "torch.fx.wrap('len') at module scope"
        )

    def keys(self) -> Any:
        """Raises TraceError, unless the tracer knows the names."""
        return self.tracer.keys(self)

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """A call of a function of the library, or of a method of a tensor with a proxy among its arguments."""
        kwargs = kwargs or {}
        tracers: dict = {}
        map_aggregate((args, kwargs), lambda x: tracers.setdefault(id(x.tracer), x) if isinstance(x, Proxy) else None)
        if len(tracers) > 1:
            first, second, *_ = tracers.values()
            raise RuntimeError(
                f"Found multiple different tracers {[first.tracer, second.tracer]} while trying to trace operations "
                f"{func}"
            )
        (found,) = tracers.values()
        if is_tensor_method_or_property(func):
            return found.tracer.create_proxy("call_method", func.__name__, args, kwargs)
        return found.tracer.create_proxy("call_function", func, args, kwargs)


class Attribute(Proxy):
    """An attribute of a value: a node once it is used as a value; called, it is a method."""

    def __init__(self, root: Proxy, attr: str):
        self.root, self.attr, self.tracer = root, attr, root.tracer
        self._node: Node | None = None

    @property
    def node(self) -> Node:  # type: ignore[override]
        if self._node is None:
            self._node = self.tracer.create_proxy("call_function", getattr, (self.root, self.attr), {}).node
        return self._node

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.tracer.create_proxy("call_method", self.attr, (self.root, *args), kwargs)


def _forwards(name: str) -> Any:
    function = getattr(operator, name)

    def method(self: Proxy, *args: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, *args), {})

    return method


def _backwards(name: str) -> Any:
    function = getattr(operator, name)

    def method(self: Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (other, self), {})

    return method


_BOTH = ("add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "lshift", "rshift", "and_", "or_", "xor", "matmul")
for _name in (*_BOTH, "eq", "ne", "lt", "gt", "le", "ge", "getitem", "neg", "pos", "invert", "abs"):
    setattr(Proxy, f"__{_name.strip('_')}__", _forwards(_name))
for _name in _BOTH:
    setattr(Proxy, f"__r{_name.strip('_')}__", _backwards(_name))
Proxy.__hash__ = object.__hash__  # type: ignore[method-assign]


def has_proxy(a: Any) -> bool:
    """Whether there is a proxy in something."""
    found = []
    map_aggregate(a, lambda x: found.append(1) if isinstance(x, Proxy) else None)
    return bool(found)
