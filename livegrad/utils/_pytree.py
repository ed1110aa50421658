"""Nested containers as a flat list of leaves and a description of the nesting.

Which containers there are, and how to add one: `_pytree_nodes`.
"""

from __future__ import annotations

import functools
import types
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ._pytree_nodes import (
    BUILTIN_TYPES,
    STANDARD_DICT_TYPES,
    SUPPORTED_NODES,
    Context,
    GetAttrKey,
    MappingKey,
    NodeDef,
    PyTree,
    SequenceKey,
    _defaultdict_flatten,
    _defaultdict_flatten_with_keys,
    _defaultdict_unflatten,
    _deque_flatten,
    _deque_flatten_with_keys,
    _deque_unflatten,
    _deregister_pytree_node,
    _dict_flatten,
    _dict_flatten_with_keys,
    _dict_unflatten,
    _get_node_type,
    _list_flatten,
    _list_flatten_with_keys,
    _list_unflatten,
    _namedtuple_flatten,
    _namedtuple_flatten_with_keys,
    _namedtuple_unflatten,
    _ordereddict_flatten,
    _ordereddict_flatten_with_keys,
    _ordereddict_unflatten,
    _register_pytree_node,
    _tuple_flatten,
    _tuple_flatten_with_keys,
    _tuple_unflatten,
    is_namedtuple,
    is_namedtuple_class,
    is_namedtuple_instance,
    is_structseq_class,
    is_structseq_instance,
    register_constant,
    register_dataclass,
    register_pytree_node,
)  # fmt: skip


class TreeSpec:
    """How leaves are nested.

    type: what the outermost container is registered as, None for a leaf; context: its keys, or what else it needs;
    num_leaves, num_nodes, num_children: how many there are of each.
    """

    __slots__ = ("_children", "_context", "num_children", "num_leaves", "num_nodes", "type")

    def __init__(self, type: Any, context: Context, children_specs: list[TreeSpec]) -> None:
        self.type = type
        self._context = context
        self._children = children_specs
        self.num_children = len(children_specs)
        self.num_nodes: int = 1 + sum(child.num_nodes for child in children_specs)
        self.num_leaves: int = 1 if type is None else sum(child.num_leaves for child in children_specs)

    @property
    def context(self) -> Context:
        return self._context

    @property
    def children_specs(self) -> list[TreeSpec]:
        return self._children

    def is_leaf(self) -> bool:
        """Whether this describes a leaf."""
        return self.type is None

    def children(self) -> list[TreeSpec]:
        """The descriptions of the container's parts."""
        return self._children.copy()

    def child(self, index: int) -> TreeSpec:
        """The description of one part."""
        return self._children[index]

    def __repr__(self, indent: int = 0) -> str:
        if self.type is None:
            return "*"
        inner = f",\n{' ' * (indent + 2)}".join(child.__repr__(indent + 2) for child in self._children)
        return f"TreeSpec({self.type.__name__}, {self._context}, [{inner}])"

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, TreeSpec):
            return NotImplemented
        return (self.type, self._context, self._children) == (other.type, other._context, other._children)

    def __hash__(self) -> int:
        return hash((self.type, _hashable(self._context), tuple(self._children)))

    def flatten_up_to(self, tree: PyTree) -> list[PyTree]:
        """The subtrees of another tree at the places of this one's leaves. Raises ValueError if it is nested otherwise.

        Dictionaries of all kinds go with each other if their keys are the same.
        """
        if self.type is None:
            return [tree]
        return [x for spec, part in zip(self._children, self._parts(tree)) for x in spec.flatten_up_to(part)]

    def _parts(self, tree: PyTree) -> list:
        """A container's parts in the order of this description."""
        kind = _get_node_type(tree)
        dictionaries = self.type in STANDARD_DICT_TYPES and kind in STANDARD_DICT_TYPES
        if kind is not self.type and not dictionaries:
            what = "Node type" if self.type in BUILTIN_TYPES else "Type"
            raise ValueError(f"{what} mismatch; expected {self.type!r}, but got {kind!r}.")
        parts, context = SUPPORTED_NODES[kind].flatten_fn(tree)
        if len(parts) != self.num_children:
            raise ValueError(f"Node arity mismatch; expected {self.num_children}, but got {len(parts)}.")
        if dictionaries:
            keys = self._context[1] if self.type is defaultdict else self._context
            missing, extra = set(keys).difference(tree), set(tree).difference(keys)
            if missing or extra:
                text = f"; missing key(s): {missing}" if missing else ""
                text += f"; extra key(s): {extra}" if extra else ""
                raise ValueError(f"Node keys mismatch{text}.")
            return [tree[key] for key in keys]
        if kind is not deque and context != self._context:
            if self.type not in BUILTIN_TYPES:
                raise ValueError(f"Node context mismatch for custom node type {self.type!r}.")
            raise ValueError(
                f"Node context mismatch for node type {self.type!r}; expected {self._context!r}, but got {context!r}."
            )
        return parts

    def unflatten(self, leaves: Iterable) -> PyTree:
        """Leaves nested as this says. Raises ValueError if their number is another one."""
        leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            raise ValueError(
                f"treespec.unflatten(leaves): `leaves` has length {len(leaves)} but the spec refers to a pytree that "
                f"holds {self.num_leaves} items ({self})."
            )
        return self._built(iter(leaves))

    def _built(self, rest: Iterator) -> PyTree:
        if self.type is None:
            return next(rest)
        parts = [child._built(rest) for child in self._children]
        return SUPPORTED_NODES[self.type].unflatten_fn(parts, self._context)


class LeafSpec(TreeSpec):
    """The description of a leaf."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(None, None, [])


_LEAF = LeafSpec()


def _hashable(context: Context) -> Any:
    return tuple(map(_hashable, context)) if isinstance(context, (list, tuple)) else context


def treespec_leaf() -> LeafSpec:
    """The description of a leaf."""
    return _LEAF


def tree_is_leaf(tree: PyTree, is_leaf: Callable | None = None) -> bool:
    """Whether a tree is a leaf: no container that is registered, or something that `is_leaf` says is one.

    >>> from livegrad.utils._pytree import tree_is_leaf
    >>> tree_is_leaf(None), tree_is_leaf([1])
    (True, False)
    """
    return bool(is_leaf is not None and is_leaf(tree)) or _get_node_type(tree) not in SUPPORTED_NODES


def tree_flatten(tree: PyTree, is_leaf: Callable | None = None) -> tuple[list, TreeSpec]:
    """(leaves, spec): what is no registered container is a leaf, and what `is_leaf` says is one.

    >>> from livegrad.utils._pytree import tree_flatten, tree_unflatten
    >>> leaves, spec = tree_flatten({"a": 1, "b": (2, [3])})
    >>> leaves
    [1, 2, 3]
    >>> tree_unflatten([4, 5, 6], spec)
    {'a': 4, 'b': (5, [6])}
    """
    leaves: list = []

    def walk(tree: PyTree) -> TreeSpec:
        kind = _get_node_type(tree)
        node = SUPPORTED_NODES.get(kind)
        if node is None or (is_leaf is not None and is_leaf(tree)):
            leaves.append(tree)
            return _LEAF
        parts, context = node.flatten_fn(tree)
        return TreeSpec(kind, context, [walk(part) for part in parts])

    spec = walk(tree)
    return leaves, spec


def tree_unflatten(leaves: Iterable, treespec: TreeSpec) -> PyTree:
    """Leaves nested as a spec says. Raises ValueError if their number is another one."""
    if not isinstance(treespec, TreeSpec):
        if not isinstance(leaves, TreeSpec):
            raise TypeError(
                f"Expected `treespec` to be an instance of PyTreeSpec but got item of type {type(treespec)}."
            )
        leaves, treespec = treespec, leaves  # type: ignore[assignment]
    return treespec.unflatten(leaves)


def tree_iter(tree: PyTree, is_leaf: Callable | None = None) -> Iterator:
    """The leaves, one after the other."""
    if tree_is_leaf(tree, is_leaf):
        yield tree
        return
    for part in SUPPORTED_NODES[_get_node_type(tree)].flatten_fn(tree)[0]:
        yield from tree_iter(part, is_leaf)


def tree_leaves(tree: PyTree, is_leaf: Callable | None = None) -> list:
    """The leaves alone."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: PyTree, is_leaf: Callable | None = None) -> TreeSpec:
    """The description of the nesting alone."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: Callable | None = None) -> PyTree:
    """The tree of what a function makes of each leaf, and of the subtrees at the same places of further trees.

    >>> from livegrad.utils._pytree import tree_map
    >>> tree_map(lambda x, y: [x, *y], [5, 6], [[7, 9], [1, 2]])
    [[5, 7, 9], [6, 1, 2]]
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    return spec.unflatten(map(func, leaves, *[spec.flatten_up_to(rest) for rest in rests]))


def tree_map_(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: Callable | None = None) -> PyTree:
    """Call a function as `tree_map` does, for what it does to the leaves; the tree itself is returned."""
    leaves, spec = tree_flatten(tree, is_leaf)
    for parts in zip(leaves, *[spec.flatten_up_to(rest) for rest in rests]):
        func(*parts)
    return tree


def map_only(which: Any, /) -> Callable:
    """A decorator: the function is applied to arguments of a type (or types, or for which a predicate holds) only."""
    if isinstance(which, (type, tuple, types.UnionType)):

        def chosen(x: Any) -> bool:
            return isinstance(x, which)

    elif callable(which):
        chosen = which
    else:
        raise TypeError("Argument must be a type, a tuple of types, or a callable.")

    def wrap(func: Callable) -> Callable:
        @functools.wraps(func)
        def wrapped(x: Any) -> Any:
            return func(x) if chosen(x) else x

        return wrapped

    return wrap


def tree_map_only(which: Any, /, func: Callable, tree: PyTree, is_leaf: Callable | None = None) -> PyTree:
    """`tree_map` for leaves of a type, or of types, or for which a predicate holds; the others stay."""
    return tree_map(map_only(which)(func), tree, is_leaf=is_leaf)


def tree_map_only_(which: Any, /, func: Callable, tree: PyTree, is_leaf: Callable | None = None) -> PyTree:
    """`tree_map_` for leaves of a type, or of types, or for which a predicate holds."""
    return tree_map_(map_only(which)(func), tree, is_leaf=is_leaf)


def tree_any(pred: Callable, tree: PyTree, is_leaf: Callable | None = None) -> bool:
    """Whether a predicate holds for some leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


def tree_all(pred: Callable, tree: PyTree, is_leaf: Callable | None = None) -> bool:
    """Whether a predicate holds for every leaf."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any_only(types_: Any, /, pred: Callable, tree: PyTree, is_leaf: Callable | None = None) -> bool:
    """Whether a predicate holds for some leaf of a type."""
    return any(pred(x) for x in tree_leaves(tree, is_leaf) if isinstance(x, types_))


def tree_all_only(types_: Any, /, pred: Callable, tree: PyTree, is_leaf: Callable | None = None) -> bool:
    """Whether a predicate holds for every leaf of a type."""
    return all(pred(x) for x in tree_leaves(tree, is_leaf) if isinstance(x, types_))


def arg_tree_leaves(*args: PyTree, **kwargs: PyTree) -> list:
    """The leaves of arguments, those given by name after the others."""
    return [x for tree in (*args, *kwargs.values()) for x in tree_iter(tree)]


def _broadcast_to_and_flatten(tree: PyTree, treespec: TreeSpec, is_leaf: Callable | None = None) -> list | None:
    """The leaves of a tree that is cut off earlier than a spec, each as often as the spec has leaves there.

    None if it is nested otherwise.
    """
    leaves, own = tree_flatten(tree, is_leaf)
    try:
        below = own.flatten_up_to(treespec.unflatten([0] * treespec.num_leaves))
    except ValueError:
        return None
    return [x for x, part in zip(leaves, below) for _ in tree_iter(part, is_leaf)]


# --- the way to a leaf --------------------------------------------------------------------------------------------


def tree_leaves_with_path(tree: PyTree, is_leaf: Callable | None = None) -> list[tuple[tuple, Any]]:
    """(path, leaf) for each leaf; a path is a tuple of keys.

    Raises ValueError for a container whose registration does not say what its parts are called.
    """
    found: list = []

    def walk(path: tuple, tree: PyTree) -> None:
        if tree_is_leaf(tree, is_leaf):
            found.append((path, tree))
            return
        kind = _get_node_type(tree)
        named = SUPPORTED_NODES[kind].flatten_with_keys_fn
        if named is None:
            raise ValueError(
                f"Did not find a flatten_with_keys_fn for type: {kind}. "
                "Please pass a flatten_with_keys_fn argument to register_pytree_node."
            )
        for key, part in named(tree)[0]:
            walk((*path, key), part)

    walk((), tree)
    return found


def tree_flatten_with_path(tree: PyTree, is_leaf: Callable | None = None) -> tuple[list, TreeSpec]:
    """(a (path, leaf) for each leaf, spec).

    >>> from livegrad.utils._pytree import keystr, tree_flatten_with_path
    >>> [(keystr(path), leaf) for path, leaf in tree_flatten_with_path({"a": [1, 2]})[0]]
    [("['a'][0]", 1), ("['a'][1]", 2)]
    """
    return tree_leaves_with_path(tree, is_leaf), tree_structure(tree, is_leaf)


def tree_map_with_path(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: Callable | None = None) -> PyTree:
    """`tree_map`, with the path of each leaf as the function's first argument."""
    leaves, spec = tree_flatten_with_path(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    return spec.unflatten(func(path, leaf, *parts) for (path, leaf), *parts in zip(leaves, *others))


def keystr(kp: tuple) -> str:
    """A path as text, such as ``['a'][0].weight``."""
    return "".join(map(str, kp))


def key_get(obj: Any, kp: tuple) -> Any:
    """What is at a path."""
    return functools.reduce(lambda found, key: key.get(found), kp, obj)


__all__ = [
    "BUILTIN_TYPES", "Context", "GetAttrKey", "LeafSpec", "MappingKey", "NodeDef", "PyTree", "STANDARD_DICT_TYPES",
    "SUPPORTED_NODES", "SequenceKey", "TreeSpec", "_broadcast_to_and_flatten", "_defaultdict_flatten",
    "_defaultdict_flatten_with_keys", "_defaultdict_unflatten", "_deque_flatten", "_deque_flatten_with_keys",
    "_deque_unflatten", "_deregister_pytree_node", "_dict_flatten", "_dict_flatten_with_keys", "_dict_unflatten",
    "_get_node_type", "_list_flatten", "_list_flatten_with_keys", "_list_unflatten", "_namedtuple_flatten",
    "_namedtuple_flatten_with_keys", "_namedtuple_unflatten", "_ordereddict_flatten",
    "_ordereddict_flatten_with_keys", "_ordereddict_unflatten", "_register_pytree_node", "_tuple_flatten",
    "_tuple_flatten_with_keys", "_tuple_unflatten", "arg_tree_leaves", "is_namedtuple", "is_namedtuple_class",
    "is_namedtuple_instance", "is_structseq_class", "is_structseq_instance", "key_get", "keystr", "map_only",
    "register_constant", "register_dataclass", "register_pytree_node", "tree_all", "tree_all_only", "tree_any",
    "tree_any_only", "tree_flatten", "tree_flatten_with_path", "tree_is_leaf", "tree_iter", "tree_leaves",
    "tree_leaves_with_path", "tree_map", "tree_map_", "tree_map_only", "tree_map_only_", "tree_map_with_path",
    "tree_structure", "tree_unflatten", "treespec_leaf",
]  # fmt: skip
