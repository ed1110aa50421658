"""Replacing what nodes call, and how many bytes they take."""

from __future__ import annotations

from typing import Any, NamedTuple

from livegrad.dtypes import finfo, iinfo

from ..node import Node

__all__ = ["get_size_of_all_nodes", "get_size_of_node", "get_tensor_meta", "replace_target_nodes_with", "size_bytes"]


class size_bytes(NamedTuple):
    """output_size: of a node's result; total_size: with the parameters of the module that it calls."""

    output_size: int
    total_size: int


def replace_target_nodes_with(fx_module: Any, old_op: str, old_target: Any, new_op: str, new_target: Any) -> None:
    """Let all nodes of a kind and a target be of another kind and target, with the arguments that they have."""
    for node in fx_module.graph.nodes:
        if node.op == old_op and node.target == old_target:
            node.op, node.target = new_op, new_target
    fx_module.recompile()


def get_size_of_all_nodes(fx_module: Any, args: list | None = None) -> None:
    """Note in ``node.size_bytes`` how many bytes each node takes. args: inputs to find the shapes with."""
    from .shape_prop import ShapeProp

    if args is not None:
        ShapeProp(fx_module).propagate(*args)
    for node in fx_module.graph.nodes:
        if node.op != "output":
            node.size_bytes = get_size_of_node(fx_module, node)


def get_tensor_meta(node: Node) -> Any:
    """What `ShapeProp` has noted. Raises RuntimeError where it has not run."""
    found = node.meta.get("tensor_meta")
    if not found:
        raise RuntimeError(
            f"Node {node} has no tensor metadata associated with it! Check that shape propagation has run."
        )
    return found


def _bytes(meta: Any) -> int:
    d = meta.dtype
    one = (
        finfo(d).bits if d.is_floating_point or d.is_complex else 8 if str(d) == "torch.bool" else iinfo(d).bits
    ) // 8
    return meta.shape.numel() * one


def get_size_of_node(fx_module: Any, node: Node) -> size_bytes:
    """How many bytes a node's result takes, and with the parameters of what it calls."""
    total = 0
    if node.op == "call_module":
        module = dict(fx_module.named_modules())[node.target]
        total += sum(t.numel() * t.element_size() for t in [*module.parameters(), *module.buffers()])
    sizes: list[int] = []
    found = get_tensor_meta(node)
    for meta in found if isinstance(found, (tuple, list)) and not hasattr(found, "shape") else (found,):
        sizes.append(_bytes(meta))
    return size_bytes(sum(sizes), total + sum(sizes))
