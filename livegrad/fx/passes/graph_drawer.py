"""Pictures of graphs in Graphviz's language, made with pydot where that is installed."""

from __future__ import annotations

from typing import Any

from livegrad.nn.module import Module

from ..graph_module import GraphModule
from ..node import qualified_name, shown

__all__ = ["FxGraphDrawer"]

_COLOURS = {
    "placeholder": "AliceBlue", "get_attr": "LightSkyBlue", "call_function": "CornflowerBlue",
    "call_method": "LightSteelBlue", "call_module": "LightBlue", "output": "LightGrey",
}  # fmt: skip


class FxGraphDrawer:
    """Draws a module's graph: ``get_dot_graph()`` is a `pydot.Dot`, which writes pictures (``write_svg(path)``).

    What `ShapeProp` has noted is shown. ignore_getattr, ignore_parameters_and_buffers: leave those nodes out.
    parse_stack_trace and the like change nothing. Raises RuntimeError where pydot is not installed.
    """

    def __init__(
        self,
        graph_module: GraphModule,
        name: str,
        ignore_getattr: bool = False,
        ignore_parameters_and_buffers: bool = False,
        skip_node_names_in_args: bool = True,
        parse_stack_trace: bool = False,
        dot_graph_shape: str | None = None,
        normalize_args: bool = False,
    ):
        try:
            import pydot
        except ModuleNotFoundError:
            raise RuntimeError(
                "FXGraphDrawer requires the pydot package to be installed. Please install pydot through your favorite "
                "Python package manager."
            ) from None
        self._pydot, self._name = pydot, name
        self._shape = dot_graph_shape or "record"
        self._without = {"get_attr"} if ignore_getattr or ignore_parameters_and_buffers else set()
        self._graphs = {name: self._drawn(graph_module, name)}
        for node in graph_module.graph.nodes:
            inner = dict(graph_module.named_modules()).get(node.target) if node.op == "call_module" else None
            if isinstance(inner, GraphModule):
                self._graphs[f"{name}_{node.target}"] = self._drawn(inner, f"{name}_{node.target}")

    def get_dot_graph(self, submod_name: str | None = None) -> Any:
        """The picture, or that of a module within."""
        return self.get_main_dot_graph() if submod_name is None else self.get_submod_dot_graph(submod_name)

    def get_main_dot_graph(self) -> Any:
        """The picture of the module."""
        return self._graphs[self._name]

    def get_submod_dot_graph(self, submod_name: str) -> Any:
        """The picture of a `GraphModule` within."""
        return self._graphs[f"{self._name}_{submod_name}"]

    def get_all_dot_graphs(self) -> dict[str, Any]:
        """All pictures, by name."""
        return self._graphs

    def _label(self, module: Module, node: Any) -> str:
        target = node.target if isinstance(node.target, str) else qualified_name(node.target)
        rows = [f"name=%{node.name}", f"op_code={node.op}"]
        if node.op == "call_module":
            inner = dict(module.named_modules())[node.target]
            rows.append(type(inner).__name__)
            rows += [f"{c}: {getattr(inner, c)}" for c in getattr(inner, "__constants__", ()) if hasattr(inner, c)]
        rows.append(f"target={target}")
        if node.op not in ("placeholder", "output"):
            rows.append(f"args={shown(node.args)}")
            rows += [f"{k}={shown(v)}" for k, v in node.kwargs.items()]
        rows.append(f"num_users={len(node.users)}")
        meta = node.meta.get("tensor_meta")
        if meta is not None and hasattr(meta, "shape"):
            rows += [f"dtype={meta.dtype}", f"shape={tuple(meta.shape)}", f"requires_grad={meta.requires_grad}"]
        text = "\\n".join(rows)
        for mark in "{}<>|":
            text = text.replace(mark, "\\" + mark)
        return "{" + text + "\\n}"

    def _drawn(self, module: GraphModule, name: str) -> Any:
        dot = self._pydot.Dot(name, rankdir="TB")
        nodes = [n for n in module.graph.nodes if n.op not in self._without]
        for node in nodes:
            dot.add_node(self._pydot.Node(
                node.name, label=self._label(module, node), shape=self._shape, fillcolor=_COLOURS[node.op],
                style='"filled,rounded"', fontcolor="#000000",
            ))  # fmt: skip
        for node in nodes:
            for user in node.users:
                dot.add_edge(self._pydot.Edge(node.name, user.name))
        return dot
