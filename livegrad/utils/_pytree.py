"""Nested tuples, lists and dictionaries as a flat list of leaves and a description of the nesting."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TreeSpec:
    """How leaves are nested. kind: the container's type, None for a leaf; context: its keys, or what else it needs."""

    kind: Any = None
    context: Any = None
    children: tuple = field(default=())

    @property
    def num_leaves(self) -> int:
        return 1 if self.kind is None else sum(child.num_leaves for child in self.children)

    def unflatten(self, leaves: Any) -> Any:
        return tree_unflatten(leaves, self)


def _parts(tree: Any) -> tuple | None:
    """(context, the parts) of a container; None for a leaf."""
    kind = type(tree)
    if kind in (list, tuple) or (isinstance(tree, tuple) and hasattr(tree, "_fields")):
        return None, list(tree)
    if kind in (dict, OrderedDict):
        return tuple(tree), list(tree.values())
    if kind is defaultdict:
        return (tree.default_factory, tuple(tree)), list(tree.values())
    return None


def _container(spec: TreeSpec, parts: list) -> Any:
    kind = spec.kind
    if kind is list:
        return parts
    if kind is tuple:
        return tuple(parts)
    if kind in (dict, OrderedDict):
        return kind(zip(spec.context, parts))
    if kind is defaultdict:
        factory, keys = spec.context
        return defaultdict(factory, zip(keys, parts))
    return kind(*parts)  # a named tuple


def tree_flatten(tree: Any, is_leaf: Callable | None = None) -> tuple[list, TreeSpec]:
    """(leaves, spec): everything that is not a tuple, list or dictionary is a leaf, and what `is_leaf` says is one.

    >>> from livegrad.utils._pytree import tree_flatten, tree_unflatten
    >>> leaves, spec = tree_flatten({"a": 1, "b": (2, [3])})
    >>> leaves
    [1, 2, 3]
    >>> tree_unflatten([4, 5, 6], spec)
    {'a': 4, 'b': (5, [6])}
    """
    found = None if is_leaf is not None and is_leaf(tree) else _parts(tree)
    if found is None:
        return [tree], TreeSpec()
    context, parts = found
    leaves: list = []
    children = []
    for part in parts:
        inner, spec = tree_flatten(part, is_leaf)
        leaves += inner
        children.append(spec)
    return leaves, TreeSpec(type(tree), context, tuple(children))


def tree_unflatten(leaves: Any, treespec: TreeSpec) -> Any:
    """Leaves nested as a spec says. Raises ValueError if their number is another one."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(leaves)} but the spec refers to a pytree that "
            f"holds {treespec.num_leaves} items ({treespec})."
        )
    rest = iter(leaves)

    def build(spec: TreeSpec) -> Any:
        return next(rest) if spec.kind is None else _container(spec, [build(child) for child in spec.children])

    return build(treespec)


def tree_leaves(tree: Any, is_leaf: Callable | None = None) -> list:
    """The leaves alone."""
    return tree_flatten(tree, is_leaf)[0]


def tree_map(func: Callable, tree: Any, *rests: Any, is_leaf: Callable | None = None) -> Any:
    """The tree of what a function makes of each leaf, and of those at the same places of further trees."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [tree_leaves(rest, is_leaf) for rest in rests]
    if any(len(other) != len(leaves) for other in others):
        raise ValueError(f"tree_map: the trees have {[len(leaves), *map(len, others)]} leaves")
    return tree_unflatten(map(func, leaves, *others), spec)


def tree_map_only(kind: Any, func: Callable, tree: Any) -> Any:
    """`tree_map` for leaves of a type; the others stay."""
    return tree_map(lambda leaf: func(leaf) if isinstance(leaf, kind) else leaf, tree)


def tree_any(pred: Callable, tree: Any) -> bool:
    """Whether a predicate holds for some leaf."""
    return any(map(pred, tree_leaves(tree)))


def tree_all(pred: Callable, tree: Any) -> bool:
    """Whether a predicate holds for every leaf."""
    return all(map(pred, tree_leaves(tree)))


__all__ = [
    "TreeSpec", "tree_all", "tree_any", "tree_flatten", "tree_leaves", "tree_map", "tree_map_only", "tree_unflatten",
]  # fmt: skip
