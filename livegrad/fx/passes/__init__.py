"""Passes: functions and interpreters that find things out about a graph, or make other graphs of it."""

from . import graph_drawer, graph_manipulation, shape_prop, split_module, tools_common

__all__ = ["graph_drawer", "graph_manipulation", "shape_prop", "split_module", "tools_common"]
