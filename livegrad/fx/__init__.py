"""`fx`: a module or function as a graph of its calls, made by running it with stand-ins, to look at and to change.

>>> import livegrad
>>> from livegrad import fx, nn
>>> traced = fx.symbolic_trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
>>> [node.target for node in traced.graph.nodes]
['input', '0', '1', 'output']
"""

from . import graph, graph_module, interpreter, node, proxy, subgraph_rewriter  # noqa: F401  programs import them by these names
from .graph import Graph
from .graph_module import GraphModule
from .interpreter import Interpreter, Transformer
from .node import Node, has_side_effect, map_arg
from .proxy import Proxy, TraceError
from .subgraph_rewriter import replace_pattern
from .tracer import Tracer, symbolic_trace, wrap

__all__ = [
    "Graph", "GraphModule", "Interpreter", "Node", "Proxy", "TraceError", "Tracer", "Transformer",
    "has_side_effect", "map_arg", "replace_pattern", "symbolic_trace", "wrap",
]  # fmt: skip
