"""Cutting a graph into parts, each a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livegrad.nn.module import Module

from ..graph import Graph
from ..graph_module import GraphModule
from ..node import Node, map_arg

__all__ = ["Partition", "split_module"]


class Partition:
    """A part: its nodes, what it takes from others and gives to them, and which parts it needs."""

    def __init__(self, name: str):
        self.name, self.submod_name = name, f"submod_{name}"
        self.node_names: list[str] = []
        self.nodes: list[Node] = []
        self.inputs: dict[Node, None] = {}
        self.outputs: dict[Node, None] = {}
        self.needs: set[str] = set()
        self.graph = Graph()
        self.environment: dict[Node, Any] = {}

    def __repr__(self) -> str:
        given = f" inputs: {list(self.inputs)},\n outputs: {list(self.outputs)}"
        return f"name: {self.name},\n nodes: {self.node_names},\n{given}"


def split_module(
    m: GraphModule,
    root_m: Module,
    split_callback: Callable[[Node], Any],
    qualname_map: dict[str, str] | None = None,
    keep_original_order: bool | None = False,
    keep_original_node_name: bool | None = False,
    keep_original_input_name: bool = True,
    **options: Any,
) -> GraphModule:
    """A module that calls parts of another one's graph.

    split_callback: says for a node which part it is in: ``submod_0`` for 0. root_m: what has the parameters and modules
    that the graph names. qualname_map: gets the old path for each new one.
    Raises RuntimeError where parts need each other.

    >>> import livegrad
    >>> from livegrad import fx
    >>> traced = fx.symbolic_trace(lambda x: livegrad.relu(x + 1) * 2)
    >>> split = split_module(traced, traced, lambda node: 0 if node.name in ("add", "relu") else 1)
    >>> [node.name for node in split.graph.nodes], split(livegrad.tensor(1.0))
    (['x', 'submod_0', 'submod_1', 'output'], tensor(4.))
    """
    parts: dict[str, Partition] = {}
    of: dict[Node, Partition] = {}
    for node in m.graph.nodes:
        if node.op in ("placeholder", "output", "get_attr"):
            continue
        name = str(split_callback(node))
        part = parts.setdefault(name, Partition(name))
        part.nodes.append(node)
        part.node_names.append(node.name)
        of[node] = part
    for node, part in of.items():
        for used in node.all_input_nodes:
            if used.op != "get_attr" and of.get(used) is not part:
                part.inputs.setdefault(used)
                if used in of:
                    of[used].outputs.setdefault(used)
                    part.needs.add(of[used].name)
    results: list[Node] = []
    map_arg(m.graph.output_node().args, results.append)
    for node in results:
        if node in of:
            of[node].outputs.setdefault(node)
    order = list(parts.values()) if keep_original_order else _ordered(parts)
    base: dict[str, Any] = {}
    graph = Graph()
    values: dict[Node, Any] = {}
    for node in m.graph.nodes:
        if node.op == "placeholder":
            values[node] = graph.node_copy(node)
        elif node.op == "get_attr" and any(u.op == "output" for u in node.users):
            values[node] = graph.node_copy(node)
            base[node.target] = _at(root_m, node.target)
    for part in order:
        base[part.submod_name] = _built(
            part, root_m, qualname_map, keep_original_input_name, bool(keep_original_node_name)
        )
        call = graph.call_module(part.submod_name, tuple(values[n] for n in part.inputs))
        outputs = list(part.outputs)
        if len(outputs) == 1:
            values[outputs[0]] = call
        for i, node in enumerate(outputs if len(outputs) > 1 else ()):
            values[node] = graph.call_function(_getitem(), (call, i))
    end = m.graph.output_node()
    graph.output(map_arg(end.args[0], lambda n: values[n]), end.type)
    return GraphModule(base, graph)


def _getitem() -> Callable:
    import operator

    return operator.getitem


def _ordered(parts: dict[str, Partition]) -> list[Partition]:
    """Parts after those that they need."""
    order: list[Partition] = []
    done: set[str] = set()
    while len(order) < len(parts):
        part = next((p for p in parts.values() if p.name not in done and p.needs - {p.name} <= done), None)
        if part is None:
            raise RuntimeError("cycle exists between partitions!")
        done.add(part.name)
        order.append(part)
    return order


def _at(module: Any, path: str) -> Any:
    for atom in path.split("."):
        module = getattr(module, atom)
    return module


def _built(
    part: Partition, root: Module, names: dict[str, str] | None, keep_inputs: bool, keep_nodes: bool
) -> GraphModule:
    """The module of a part."""
    inside, attributes = part.environment, {}
    for i, node in enumerate(part.inputs):
        inside[node] = part.graph.placeholder(node.name if keep_inputs else f"arg_{i}", node.type)
        inside[node].meta = dict(node.meta)
    for node in part.nodes:
        for used in node.all_input_nodes:
            if used.op == "get_attr" and used not in inside:
                attributes[_named(used.target)] = _at(root, used.target)
                inside[used] = part.graph.get_attr(_named(used.target), used.type)
                if names is not None:
                    names[f"{part.submod_name}.{_named(used.target)}"] = used.target
        args, kwargs = map_arg((node.args, node.kwargs), lambda n: inside[n])
        name = node.name if keep_nodes else None
        made = part.graph.create_node(node.op, node.target, args, kwargs, name, node.type)
        made.meta = dict(node.meta)
        if node.op == "call_module":
            made.target = _named(node.target)
            attributes[made.target] = _at(root, node.target)
            if names is not None:
                names[f"{part.submod_name}.{made.target}"] = node.target
        inside[node] = made
    outputs = [inside[n] for n in part.outputs]
    part.graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
    return GraphModule(attributes, part.graph)


def _named(path: str) -> str:
    """A path as one name."""
    return path.replace(".", "_")
