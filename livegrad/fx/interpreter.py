"""Interpreter: runs a graph node by node, for subclasses to watch or to change what each does."""

from __future__ import annotations

from typing import Any

from .graph import Graph
from .graph_module import GraphModule
from .node import Node, map_arg
from .proxy import Proxy
from .tracer import Tracer

__all__ = ["Interpreter", "Transformer"]


class Interpreter:
    """Runs a `GraphModule`; override `run_node`, or `call_function` and its like."""

    def __init__(self, module: Any, garbage_collect_values: bool = True, graph: Graph | None = None):
        self.module, self.graph = module, graph or module.graph
        self.submodules = dict(module.named_modules())
        self.env: dict[Node, Any] = {}
        self.garbage_collect_values = garbage_collect_values

    def run(self, *args: Any, initial_env: dict | None = None, **options: Any) -> Any:
        """The result for these inputs."""
        self.env = dict(initial_env or {})
        self._inputs = iter(args)
        last = {used: node for node in self.graph.nodes for used in node.all_input_nodes}
        for node in self.graph.nodes:
            if node in self.env:
                continue
            self.env[node] = self.run_node(node)
            if node.op == "output":
                return self.env[node]
            if self.garbage_collect_values:
                for used in node.all_input_nodes:
                    if last.get(used) is node:
                        self.env.pop(used, None)
        return None

    def run_node(self, n: Node) -> Any:
        """The result of a node."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        return getattr(self, n.op)(n.target, args, kwargs)

    def map_nodes_to_values(self, args: Any, n: Node) -> Any:
        """Arguments with results in the place of nodes."""
        return map_arg(args, lambda node: self.env[node])

    def fetch_args_kwargs_from_env(self, n: Node) -> tuple:
        """A node's arguments, with results in the place of nodes."""
        return map_arg((n.args, n.kwargs), lambda node: self.env[node])

    def placeholder(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """The next input, or its default. Raises RuntimeError where there is neither."""
        try:
            return next(self._inputs)
        except StopIteration:
            if args:
                return args[0]
            raise RuntimeError(
                f"Expected positional argument for parameter {target}, but one was not passed in!"
            ) from None

    def fetch_attr(self, target: str) -> Any:
        """What the module has at a path."""
        found = self.module
        for atom in target.split("."):
            found = getattr(found, atom)
        return found

    def get_attr(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """A parameter or buffer."""
        return self.fetch_attr(target)

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """A function's result."""
        return target(*args, **kwargs)

    def call_method(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """A method's result."""
        return getattr(args[0], target)(*args[1:], **kwargs)

    def call_module(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """A module's result."""
        return self.fetch_attr(target)(*args, **kwargs)

    def output(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """What is returned."""
        return args[0]


class Transformer(Interpreter):
    """Makes another graph of a graph: its methods, given proxies, say what becomes of each node."""

    def __init__(self, module: Any):
        super().__init__(module)
        self.new_graph = Graph()
        self.tracer = Tracer()
        self.tracer.graph, self.tracer.root = self.new_graph, module

    def placeholder(self, target: Any, args: tuple, kwargs: dict) -> Any:
        return Proxy(self.new_graph.placeholder(target, default_value=args[0] if args else ...), self.tracer)

    def get_attr(self, target: Any, args: tuple, kwargs: dict) -> Any:
        return self.tracer.create_proxy("get_attr", target, args, kwargs)

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        return self.tracer.create_proxy("call_function", target, args, kwargs)

    def call_method(self, target: Any, args: tuple, kwargs: dict) -> Any:
        return self.tracer.create_proxy("call_method", target, args, kwargs)

    def call_module(self, target: Any, args: tuple, kwargs: dict) -> Any:
        return self.tracer.create_proxy("call_module", target, args, kwargs)

    def transform(self) -> GraphModule:
        """The module with the new graph."""
        result = super().run()
        if result is not None:
            self.new_graph.output(self.tracer.create_arg(result))
        return GraphModule(self.module, self.new_graph, type(self.module).__name__)
