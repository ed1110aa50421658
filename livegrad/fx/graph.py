"""Graph: the steps of a function in order, how to change them, and the Python code that does them."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import livegrad

from .node import Node, map_arg, qualified_name, shown

__all__ = ["Graph", "PythonCode"]

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@",
    "eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">=", "and_": "&", "or_": "|", "xor": "^",
    "lshift": "<<", "rshift": ">>",
}  # fmt: skip
_PREFIX = {"neg": "-", "invert": "~", "pos": "+"}


class PythonCode(NamedTuple):
    """src: the code of a function ``forward(self, …)``. globals: the names that it reads."""

    src: str
    globals: dict[str, Any]


class Graph:
    """Nodes in the order in which they run.

    >>> from livegrad import fx
    >>> g = fx.Graph()
    >>> x = g.placeholder("x")
    >>> _ = g.output(g.call_method("relu", (x,)))
    >>> print(g)
    graph():
        %x : [num_users=1] = placeholder[target=x]
        %relu : [num_users=1] = call_method[target=relu](args = (%x,), kwargs = {})
        return relu
    """

    def __init__(self, owning_module: Any = None, tracer_cls: Any = None, **options: Any):
        self.owning_module, self._tracer_cls = owning_module, tracer_cls
        self._nodes: list[Node] = []
        self._names: set[str] = set()
        self._cursor: int | None = None  # where the next node goes; None: at the end

    @property
    def nodes(self) -> list[Node]:
        """All nodes, in order; a copy, so that the graph can change meanwhile."""
        return list(self._nodes)

    def find_nodes(self, *, op: str, target: Any = None, sort: bool = True) -> list[Node]:
        """The nodes of a kind, and of a target."""
        return [n for n in self._nodes if n.op == op and (target is None or n.target == target)]

    def output_node(self) -> Node:
        """The node that returns."""
        return self._nodes[-1]

    def _name(self, wanted: str) -> str:
        base = re.sub(r"[^0-9a-zA-Z_]+", "_", wanted) or "_"
        base = f"_{base}" if base[0].isdigit() else base
        match = re.match(r"(.*)_(\d+)$", base)
        stem, number = (match.group(1), int(match.group(2))) if match else (base, 0)
        name = base
        while name in self._names or keyword.iskeyword(name) or hasattr(builtins, name):
            number += 1
            name = f"{stem}_{number}"
        self._names.add(name)
        return name

    def create_node(
        self, op: str, target: Any, args: Any = None, kwargs: Any = None, name: str | None = None, type_expr: Any = None
    ) -> Node:
        """Add a node where the graph is being extended."""
        if name is None:
            name = target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)
        node = Node(self, self._name(name), op, target, args or (), kwargs or {}, type_expr)
        if self._cursor is None:
            self._nodes.append(node)
        else:
            self._nodes.insert(self._cursor, node)
            self._cursor += 1
        return node

    def placeholder(self, name: str, type_expr: Any = None, default_value: Any = ...) -> Node:
        """An input."""
        args = () if default_value is ... else (default_value,)
        return self.create_node("placeholder", name, args, name=name.lstrip("*"), type_expr=type_expr)

    def get_attr(self, qualified_name: str, type_expr: Any = None) -> Node:
        """A parameter or buffer, by its path."""
        return self.create_node("get_attr", qualified_name, type_expr=type_expr)

    def call_function(
        self, the_function: Callable, args: Any = None, kwargs: Any = None, type_expr: Any = None
    ) -> Node:
        """A call of a function."""
        return self.create_node("call_function", the_function, args, kwargs, type_expr=type_expr)

    def call_method(self, method_name: str, args: Any = None, kwargs: Any = None, type_expr: Any = None) -> Node:
        """A call of a method of the first argument."""
        return self.create_node("call_method", method_name, args, kwargs, type_expr=type_expr)

    def call_module(self, module_name: str, args: Any = None, kwargs: Any = None, type_expr: Any = None) -> Node:
        """A call of a module, by its path."""
        return self.create_node("call_module", module_name, args, kwargs, type_expr=type_expr)

    def output(self, result: Any, type_expr: Any = None) -> Node:
        """The end."""
        return self.create_node("output", "output", (result,), name="output", type_expr=type_expr)

    @contextmanager
    def _at(self, place: int) -> Iterator[None]:
        before, self._cursor = self._cursor, place
        try:
            yield
        finally:
            self._cursor = before

    def inserting_before(self, n: Node | None = None) -> Any:
        """Context manager in which new nodes go in front of one (of the first, without one)."""
        return self._at(0 if n is None else n._place())

    def inserting_after(self, n: Node | None = None) -> Any:
        """Context manager in which new nodes go behind one (at the end, without one)."""
        return self._at(len(self._nodes) if n is None else n._place() + 1)

    def erase_node(self, to_erase: Node) -> None:
        """Take out a node. Raises RuntimeError while others use it."""
        if to_erase.users:
            raise RuntimeError(
                f"Tried to erase Node {to_erase} but it still had {len(to_erase.users)} users in the graph: "
                f"{to_erase.users}!"
            )
        place = to_erase._place()
        self._nodes.remove(to_erase)
        if self._cursor is not None and place < self._cursor:
            self._cursor -= 1
        to_erase._set((), {})
        to_erase._erased = True

    def node_copy(self, node: Node, arg_transform: Callable[[Node], Any] = lambda x: x) -> Node:
        """Add a node like one of another graph, its arguments given by a function of those nodes."""
        args, kwargs = map_arg((node.args, node.kwargs), arg_transform)
        made = self.create_node(node.op, node.target, args, kwargs, node.name, node.type)
        made.meta = dict(node.meta)
        return made

    def graph_copy(self, g: Graph, val_map: dict, return_output_node: bool = False) -> Any:
        """Add all of another graph's nodes; gives what that returns. `val_map` has, and gets, what stands for them."""
        for node in g._nodes:
            if node in val_map:
                continue
            if node.op == "output":
                found = map_arg(node.args[0], lambda n: val_map[n])
                return (found, node) if return_output_node else found
            val_map[node] = self.node_copy(node, lambda n: val_map[n])
        return None

    def eliminate_dead_code(self, is_impure_node: Callable[[Node], bool] | None = None) -> bool:
        """Take out what nothing uses; whether there was anything."""
        impure = is_impure_node or Node.is_impure
        changed = False
        for node in reversed(self.nodes):
            if not node.users and not impure(node):
                self.erase_node(node)
                changed = True
        return changed

    def lint(self) -> None:
        """Raise RuntimeError where a node is used before it is there, or a name appears twice."""
        seen: set[Node] = set()
        names: set[str] = set()
        for node in self._nodes:
            for used in node.all_input_nodes:
                if used.graph is not self:
                    raise RuntimeError(f"Argument '{used}' of Node '{node}' does not belong to this Graph")
                if used not in seen:
                    raise RuntimeError(
                        f"Argument '{used}' of Node '{node}' was used before it has been defined! Please check that "
                        f"Nodes in the graph are topologically ordered\n{self}"
                    )
            if node.name in names:
                raise RuntimeError(f"Node redefined name {node.name}!")
            names.add(node.name)
            seen.add(node)
            if self.owning_module is not None and node.op in ("get_attr", "call_module"):
                found = self.owning_module
                for atom in node.target.split("."):
                    if not hasattr(found, atom):
                        raise RuntimeError(f"Node {node} target {node.target} references nonexistent attribute {atom}")
                    found = getattr(found, atom)

    # --- code -------------------------------------------------------------------------------------------------------

    def _argument(self, a: Any, names: dict) -> str:
        if isinstance(a, Node):
            return a.name
        if isinstance(a, (tuple, list)) and not hasattr(a, "_fields"):
            inner = ", ".join(self._argument(x, names) for x in a)
            return f"[{inner}]" if isinstance(a, list) else f"({inner}{',' if len(a) == 1 else ''})"
        if isinstance(a, dict):
            return "{" + ", ".join(f"{k!r}: {self._argument(v, names)}" for k, v in a.items()) + "}"
        if isinstance(a, slice):
            return f"slice({', '.join(self._argument(x, names) for x in (a.start, a.stop, a.step))})"
        if a is None or a is ... or isinstance(a, (bool, int, str)) or (isinstance(a, float) and a - a == 0):
            return repr(a)
        return self._global(a, repr(a) if not callable(a) else qualified_name(a), names)

    def _global(self, value: Any, name: str, names: dict) -> str:
        """A name in the code for a value that is not written out."""
        short = re.sub(r"\W+", "_", name)
        while short in names and names[short] is not value:
            short += "_"
        names[short] = value
        return short

    def _call(self, node: Node, names: dict) -> str:
        given = [self._argument(a, names) for a in node.args]
        keywords = [f"{k} = {self._argument(v, names)}" for k, v in node.kwargs.items()]
        if node.op == "call_method":
            return f"{given[0]}.{node.target}({', '.join(given[1:] + keywords)})"
        if node.op in ("call_module", "get_attr"):
            path = "self"
            for atom in node.target.split("."):
                path += f".{atom}" if atom.isidentifier() else ""
                path = path if atom.isidentifier() else f'getattr({path}, "{atom}")'
            return path if node.op == "get_attr" else f"{path}({', '.join(given + keywords)})"
        name = qualified_name(node.target)
        short = name.partition("operator.")[2]
        if short in _INFIX and len(given) == 2 and not keywords:
            return f"{given[0]} {_INFIX[short]} {given[1]}"
        if short in _PREFIX and len(given) == 1 and not keywords:
            return f"{_PREFIX[short]}{given[0]}"
        if short == "getitem" and len(given) == 2:
            return f"{given[0]}[{given[1]}]"
        if name == "getattr" and len(given) == 2 and isinstance(node.args[1], str) and node.args[1].isidentifier():
            return f"{given[0]}.{node.args[1]}"
        if not name.startswith("torch.") and "." not in name:
            return f"{name}({', '.join(given + keywords)})"
        found: Any = livegrad
        for atom in name.split(".")[1:]:
            found = getattr(found, atom, None)
        if not name.startswith("torch.") or found is not node.target:
            name = self._global(node.target, name, names)
        return f"{name}({', '.join(given + keywords)})"

    def python_code(self, root_module: str = "self", **options: Any) -> PythonCode:
        """The code as `GraphModule` runs it."""
        source, names = self.code()
        return PythonCode(source, names)

    def code(self) -> tuple[str, dict]:
        """The code of a function ``forward(self, …)`` that does what the graph does, and the globals that it needs.

        Values are let go of after the step that uses them last.
        """
        names: dict[str, Any] = {"torch": livegrad}
        gone: dict[Node, list[str]] = {}  # what a node is the last to use
        kept: set[Node] = set()
        for node in reversed(self._nodes):
            for used in node.all_input_nodes:
                if used not in kept:
                    kept.add(used)
                    gone.setdefault(node, []).append(used.name)
        parameters, lines = [], []
        for node in self._nodes:
            if node.op == "placeholder":
                default = f" = {self._argument(node.args[0], names)}" if node.args else ""
                parameters.append(f"{node.target}{default}")
                if node.name != node.target:
                    lines.append(f"{node.name} = {node.target}")
                continue
            if node.op == "output":
                lines.append(f"return {self._argument(node.args[0], names)}")
                continue
            line = f"{node.name} = {self._call(node, names)}"
            dead = [*gone.get(node, ()), *([] if node.users else [node.name])]
            lines.append(line + (f";  {' = '.join(dead)} = None" if dead else ""))
        body = "\n    ".join(lines) or "pass"
        return f"\n\n\ndef forward({', '.join(['self', *parameters])}):\n    {body}\n    ", names

    def print_tabular(self) -> None:
        """Print the nodes as a table."""
        rows = [("opcode", "name", "target", "args", "kwargs")]
        for n in self._nodes:
            target = n.target if isinstance(n.target, str) else qualified_name(n.target)
            rows.append((n.op, n.name, target, shown(n.args, ""), shown(n.kwargs, "")))
        widths = [max(len(r[i]) for r in rows) for i in range(5)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows]
        print("\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]]))

    def __deepcopy__(self, memo: Any = None) -> Graph:
        made = Graph(tracer_cls=self._tracer_cls)
        result = made.graph_copy(self, {}, return_output_node=True)
        if result is not None:
            made.output(result[0], result[1].type)
        return made

    def __str__(self) -> str:
        return "\n    ".join(["graph():", *(n.format_node() for n in self._nodes)])
