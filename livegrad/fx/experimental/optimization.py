"""Models for inference: normalisation by fixed numbers becomes part of the layer before it, dropout is taken out."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from livegrad import nn
from livegrad.nn.module import Module
from livegrad.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ..graph_module import GraphModule
from ..interpreter import Transformer
from ..node import Node
from ..tracer import symbolic_trace

__all__ = ["fuse", "matches_module_pattern", "remove_dropout", "replace_node_module"]

_PAIRS = (
    (nn.Conv1d, nn.BatchNorm1d, fuse_conv_bn_eval), (nn.Conv2d, nn.BatchNorm2d, fuse_conv_bn_eval),
    (nn.Conv3d, nn.BatchNorm3d, fuse_conv_bn_eval), (nn.Linear, nn.BatchNorm1d, fuse_linear_bn_eval),
)  # fmt: skip


def matches_module_pattern(pattern: Iterable[type], node: Node, modules: dict[str, Any]) -> bool:
    """Whether a node calls a module of the second type on the result of one of the first."""
    if not node.args or not isinstance(node.args[0], Node):
        return False
    for kind, current in zip(pattern, (node.args[0], node)):
        if current.op != "call_module" or type(modules.get(current.target)) is not kind:
            return False
    return True


def replace_node_module(node: Node, modules: dict[str, Any], new_module: Module) -> None:
    """Put another module where the one that a node calls is."""
    parent, _, name = node.target.rpartition(".")
    modules[node.target] = new_module
    setattr(modules[parent], name, new_module)


def fuse(model: Module, inplace: bool = False, no_trace: bool = False) -> GraphModule:
    """A copy of a model in evaluation mode in which convolutions and linear layers do the batch normalisation as well.

    inplace: the model itself is changed. no_trace: it is a `GraphModule` already.

    >>> from livegrad import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).eval()
    >>> [node.target for node in fuse(model).graph.nodes]
    ['input', '0', '2', 'output']
    """
    model = model if inplace else copy.deepcopy(model)
    traced: Any = model if no_trace and isinstance(model, GraphModule) else symbolic_trace(model)
    modules = dict(traced.named_modules())
    graph = copy.deepcopy(traced.graph)
    for first, second, fused in _PAIRS:
        for node in graph.nodes:
            if not matches_module_pattern((first, second), node, modules) or len(node.args[0].users) > 1:
                continue
            layer, norm = modules[node.args[0].target], modules[node.target]
            if norm.track_running_stats:
                replace_node_module(node.args[0], modules, fused(layer, norm))
                node.replace_all_uses_with(node.args[0])
                graph.erase_node(node)
    return GraphModule(traced, graph)


def remove_dropout(model: Module) -> Module:
    """The model without dropout, which does nothing in evaluation mode."""
    traced = symbolic_trace(model)

    class Remover(Transformer):
        def call_module(self, target: Any, args: tuple, kwargs: dict) -> Any:
            return (
                args[0]
                if isinstance(self.submodules[target], nn.Dropout)
                else super().call_module(target, args, kwargs)
            )

    return Remover(traced).transform()
