"""Proxy: what stands for a value while a function is traced; whatever is done with it becomes a node."""

from __future__ import annotations

import dis
import inspect
import operator
from collections.abc import Iterator
from typing import Any

from .node import Node, map_aggregate

__all__ = ["Attribute", "Proxy", "TraceError"]


class TraceError(ValueError):
    """A program asks of a value what is only known when it runs."""


class Proxy:
    """Stands for the result of a node. Operators, methods and functions of it are recorded in the tracer's graph."""

    def __init__(self, node: Node, tracer: Any = None):
        self.node, self.tracer = node, tracer

    def __repr__(self) -> str:
        return f"Proxy({self.node.name})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Attribute(self, name)

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
