"""The order of nodes."""

from __future__ import annotations

from typing import Any

from ..node import Node

__all__ = ["legalize_graph", "stable_topological_sort"]


def stable_topological_sort(gm: Any) -> Any:
    """Bring a module's nodes into an order in which each comes after what it uses, changing as little as can be.

    Raises RuntimeError where nodes use each other in a circle.
    """
    done: set[Node] = set()
    order: list[Node] = []
    waiting = gm.graph.nodes
    while waiting:
        left = []
        for node in waiting:
            if all(used in done for used in node.all_input_nodes):
                done.add(node)
                order.append(node)
            else:
                left.append(node)
        if len(left) == len(waiting):
            raise RuntimeError(f"Input graph has cycles, unable to add {left}")
        waiting = left
    gm.graph._nodes[:] = order
    return gm


legalize_graph = stable_topological_sort
