"""Node: one step of a graph, and the nodes among what it is called with."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from typing import Any

import livegrad

__all__ = ["Argument", "Node", "Target", "has_side_effect", "map_aggregate", "map_arg"]

Target = Callable[..., Any] | str  # what a node calls, or the name or path of it
Argument = Any  # nodes, Python's numbers, words and containers, dtypes, devices, tensors
_SIDE_EFFECTS: set[Any] = set()


def has_side_effect(fn: Callable) -> Callable:
    """Keep calls of a function in graphs though nothing uses their results; also as a decorator."""
    _SIDE_EFFECTS.add(fn)
    return fn


OPS = ("placeholder", "get_attr", "call_function", "call_method", "call_module", "output")


def map_aggregate(a: Any, fn: Callable[[Any], Any]) -> Any:
    """The same tuples, lists, dictionaries and slices, with `fn` of everything in them."""
    if isinstance(a, tuple):
        made = [map_aggregate(x, fn) for x in a]
        return type(a)(*made) if hasattr(a, "_fields") else tuple(made)
    if isinstance(a, list):
        return [map_aggregate(x, fn) for x in a]
    if isinstance(a, dict):
        return {k: map_aggregate(v, fn) for k, v in a.items()}
    if isinstance(a, slice):
        return slice(*(map_aggregate(x, fn) for x in (a.start, a.stop, a.step)))
    return fn(a)


def map_arg(a: Any, fn: Callable[[Node], Any]) -> Any:
    """The same with `fn` of every node in it."""
    return map_aggregate(a, lambda x: fn(x) if isinstance(x, Node) else x)


def qualified_name(function: Any) -> str:
    """The name by which code that is written out calls a function."""
    name = getattr(function, "__name__", type(function).__name__)
    if getattr(builtins, name, None) is function:
        return name
    if getattr(operator, name, None) is function:
        return f"operator.{name}"
    module = getattr(function, "__module__", None) or "torch"
    if getattr(livegrad, name, None) is function:
        module = "torch"
    elif getattr(livegrad.nn.functional, name, None) is function:
        module = "torch.nn.functional"
    elif module == "livegrad" or module.startswith("livegrad."):
        module = "torch" + module[len("livegrad") :]
    return f"{module}.{name}"


class Node:
    """A step: ``op`` says of what kind, ``target`` of what, ``args`` and ``kwargs`` with what; ``users`` use it.

    op: "placeholder" (an input; target is its name), "get_attr" (a parameter or buffer; its path), "call_function" (the
    function), "call_method" (a method's name; the first argument is what it is of), "call_module" (its path), "output".
    meta: a dictionary for whoever works with the graph.
    """

    def __init__(self, graph: Any, name: str, op: str, target: Any, args: tuple, kwargs: dict, type_expr: Any = None):
        if op not in OPS:
            raise AssertionError(f"op must be one of {', '.join(OPS)}, not {op!r}")
        self.graph, self.name, self.op, self.target, self.type = graph, name, op, target, type_expr
        self.meta: dict = {}
        self.users: dict[Node, None] = {}
        self._inputs: dict[Node, None] = {}
        self._args: tuple = ()
        self._kwargs: dict = {}
        self._erased = False
        self.stack_trace: str | None = None
        self._set(args, kwargs)

    def _set(self, args: Any, kwargs: Any) -> None:
        for old in self._inputs:
            old.users.pop(self, None)
        self._args, self._kwargs, self._inputs = tuple(args), dict(kwargs), {}
        map_arg((self._args, self._kwargs), lambda n: self._inputs.setdefault(n))
        for new in self._inputs:
            new.users.setdefault(self)

    @property
    def args(self) -> tuple:
        return self._args

    @args.setter
    def args(self, args: Any) -> None:
        self._set(args, self._kwargs)

    @property
    def kwargs(self) -> dict:
        return self._kwargs

    @kwargs.setter
    def kwargs(self, kwargs: dict) -> None:
        self._set(self._args, kwargs)

    @property
    def all_input_nodes(self) -> list[Node]:
        """The nodes among the arguments, each once."""
        return list(self._inputs)

    def _place(self) -> int:
        return self.graph._nodes.index(self)

    @property
    def next(self) -> Node:
        """The node after it."""
        return self.graph._nodes[self._place() + 1]

    @property
    def prev(self) -> Node:
        """The node before it."""
        return self.graph._nodes[self._place() - 1]

    def prepend(self, x: Node) -> None:
        """Move a node in front of this one."""
        self.graph._nodes.remove(x)
        self.graph._nodes.insert(self._place(), x)

    def append(self, x: Node) -> None:
        """Move a node behind this one."""
        self.graph._nodes.remove(x)
        self.graph._nodes.insert(self._place() + 1, x)

    def update_arg(self, idx: int, arg: Any) -> None:
        """Give one argument another value."""
        self.args = (*self._args[:idx], arg, *self._args[idx + 1 :])

    def insert_arg(self, idx: int, arg: Any) -> None:
        """Give it one argument more, in front of the one at a place."""
        if not 0 <= idx <= len(self._args):
            raise AssertionError("insert_args index must be between 0 and len(self.args)")
        self.args = (*self._args[:idx], arg, *self._args[idx:])

    def update_kwarg(self, key: str, arg: Any) -> None:
        """Give one keyword argument another value."""
        self.kwargs = {**self._kwargs, key: arg}

    def replace_input_with(self, old_input: Node, new_input: Any) -> None:
        """Use another node wherever this one uses `old_input`."""
        args, kwargs = map_arg((self._args, self._kwargs), lambda n: new_input if n is old_input else n)
        self._set(args, kwargs)

    def replace_all_uses_with(
        self, replace_with: Any, delete_user_cb: Callable[[Node], bool] = lambda user: True, **options: Any
    ) -> list[Node]:
        """Use another node wherever this one is used; returns those that used it."""
        users = [user for user in list(self.users) if delete_user_cb(user)]
        for user in users:
            user.replace_input_with(self, replace_with)
        return users

    def is_impure(self) -> bool:
        """Whether it is to be kept though nothing uses its result."""
        if self.op in ("placeholder", "output"):
            return True
        if self.op not in ("call_function", "call_method"):
            return False
        if self.target in _SIDE_EFFECTS:
            return True
        name = str(getattr(self.target, "__name__", self.target))
        return name.endswith("_") and not name.endswith("__")  # it changes something in place

    def format_node(self) -> str:
        """As a line of the graph's text."""
        if self.op == "placeholder":
            default = f"(default={self._args[0]})" if self._args else ""
            return f"%{self.name} : [num_users={len(self.users)}] = placeholder[target={self.target}]{default}"
        if self.op == "output":
            return f"return {self._args[0]!r}"
        target = self.target if isinstance(self.target, str) else qualified_name(self.target)
        if self.op == "call_function" and "." not in target:
            target = f"builtins.{target}"
        if self.op == "get_attr":
            return f"%{self.name} : [num_users={len(self.users)}] = get_attr[target={target}]"
        return (
            f"%{self.name} : [num_users={len(self.users)}] = {self.op}[target={target}]"
            f"(args = {shown(self._args)}, kwargs = {shown(self._kwargs)})"
        )

    def __repr__(self) -> str:
        return self.name


def shown(a: Any, mark: str = "%") -> str:
    """Arguments as text, nodes by their names."""
    if isinstance(a, Node):
        return mark + a.name
    if isinstance(a, tuple):
        return "(" + ", ".join(shown(x, mark) for x in a) + ("," if len(a) == 1 else "") + ")"
    if isinstance(a, list):
        return "[" + ", ".join(shown(x, mark) for x in a) + "]"
    if isinstance(a, dict):
        return "{" + ", ".join(f"{k}: {shown(v, mark)}" for k, v in a.items()) + "}"
    if isinstance(a, str):
        return a
    return repr(a) if not callable(a) or isinstance(a, type) else qualified_name(a)
