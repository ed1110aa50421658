"""What tensors there are at each node, found by running a graph."""

from __future__ import annotations

import traceback
from typing import Any, NamedTuple

import livegrad
from livegrad.tensor import Tensor

from ..interpreter import Interpreter
from ..node import Node, map_aggregate

__all__ = ["ShapeProp", "TensorMetadata"]


class TensorMetadata(NamedTuple):
    """What is known of a tensor, but for its numbers."""

    shape: Any
    dtype: Any
    requires_grad: bool
    stride: tuple
    memory_format: Any
    is_quantized: bool
    qparams: dict


def _described(t: Any) -> TensorMetadata | None:
    if not isinstance(t, Tensor):
        return None
    formats = (livegrad.contiguous_format, livegrad.channels_last, livegrad.channels_last_3d)
    lies = next((f for f in formats if t.is_contiguous(memory_format=f)), None)
    return TensorMetadata(t.shape, t.dtype, t.requires_grad, t.stride(), lies, False, {})


class ShapeProp(Interpreter):
    """Runs a graph and notes in ``node.meta``: "tensor_meta", the `TensorMetadata` of what a node gives, and "type".

    >>> import livegrad
    >>> from livegrad import fx
    >>> traced = fx.symbolic_trace(lambda x: livegrad.relu(x).sum(0))
    >>> _ = ShapeProp(traced).propagate(livegrad.ones(2, 3))
    >>> [tuple(n.meta["tensor_meta"].shape) for n in traced.graph.nodes]
    [(2, 3), (2, 3), (3,), (3,)]
    """

    def __init__(self, gm: Any, fake_mode: Any = None):
        super().__init__(gm)

    def run_node(self, n: Node) -> Any:
        try:
            result = super().run_node(n)
        except Exception as error:
            traceback.print_exc()
            raise RuntimeError(f"ShapeProp error for: node={n.format_node()} with meta={n.meta}") from error
        found = []

        def described(x: Any) -> Any:
            if isinstance(x, Tensor):
                found.append(x)
                return _described(x)
            return x

        made = map_aggregate(result, described)
        if found:
            n.meta["tensor_meta"] = made
        n.meta["type"] = type(result)
        return result

    def propagate(self, *args: Any) -> Any:
        """Run the graph with these inputs; returns its result."""
        return self.run(*args)
