"""Trees of containers: what comes apart, how it is described, and which way leads to a leaf."""

import dataclasses
import doctest
import importlib
import time
from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

from livegrad.utils import _pytree as ours

Pair = namedtuple("Pair", "a b")
TREE = {"a": [1, (2, None)], "b": Pair(3, OrderedDict(x=4)), "c": (), "d": deque([5, [6]], maxlen=3)}


class Box:
    def __init__(self, parts, label):
        self.parts, self.label = parts, label

    def __eq__(self, other):
        return (self.parts, self.label) == (other.parts, other.label)


@pytest.fixture
def boxes():
    ours.register_pytree_node(
        Box,
        lambda box: (list(box.parts), box.label),
        lambda parts, label: Box(list(parts), label),
        flatten_with_keys_fn=lambda box: ([(ours.SequenceKey(i), x) for i, x in enumerate(box.parts)], box.label),
    )
    yield
    ours._deregister_pytree_node(Box)


def test_what_pytorch_makes_of_a_tree():
    theirs = pytest.importorskip("torch").utils._pytree
    leaves, spec = ours.tree_flatten(TREE)
    expected_leaves, expected = theirs.tree_flatten(TREE)
    assert leaves == expected_leaves and repr(spec) == repr(expected)
    for what in ("num_leaves", "num_nodes", "num_children", "type", "context"):
        assert getattr(spec, what) == getattr(expected, what), what
    assert ours.tree_unflatten(leaves, spec) == TREE
    ways = [ours.keystr(path) for path, _ in ours.tree_flatten_with_path(TREE)[0]]
    assert ways == [theirs.keystr(path) for path, _ in theirs.tree_flatten_with_path(TREE)[0]]
    for path, leaf in ours.tree_leaves_with_path(TREE):
        assert ours.key_get(TREE, path) is leaf
    doubled = ours.tree_map_only(int, lambda x: 2 * x, TREE)
    assert doubled == theirs.tree_map_only(int, lambda x: 2 * x, TREE) and doubled["d"].maxlen == 3


@pytest.mark.parametrize(
    "tree", [(1, [2, 3]), [0, 1], (1, 2), ({"x": 1}, 5), (1, [2]), 7, ("x", ["y", {"z": 1}])], ids=repr
)
def test_broadcasting_one_tree_to_another(tree):
    theirs = pytest.importorskip("torch").utils._pytree
    full = (0, [0, {"z": 0}])
    expected = theirs._broadcast_to_and_flatten(tree, theirs.tree_structure(full))
    assert ours._broadcast_to_and_flatten(tree, ours.tree_structure(full)) == expected


def test_registered_types(boxes):
    tree = [Box([1, {"k": 2}], "name"), 3]
    leaves, spec = ours.tree_flatten(tree)
    assert leaves == [1, 2, 3] and spec.child(0).type is Box and spec.child(0).context == "name"
    assert ours.tree_map(lambda x: x + 1, tree) == [Box([2, {"k": 3}], "name"), 4]
    assert [ours.keystr(path) for path, _ in ours.tree_leaves_with_path(tree)] == ["[0][0]", "[0][1]['k']", "[1]"]
    with pytest.raises(ValueError, match="already registered"):
        ours.register_pytree_node(Box, None, None)
    with pytest.raises(ValueError, match="context mismatch"):
        spec.flatten_up_to([Box([1, {"k": 2}], "another"), 3])

    class More(Box):
        pass

    assert ours.tree_is_leaf(More([], ""))


def test_what_is_registered_once_more_replaces_the_first(boxes):
    with pytest.warns(UserWarning, match="already registered"):
        ours._register_pytree_node(Box, lambda box: ([], None), lambda parts, context: "replaced")
    assert ours.tree_map(str, Box([1], "")) == "replaced"
    with pytest.raises(ValueError, match="flatten_with_keys_fn"):
        ours.tree_flatten_with_path([Box([1], "")])


def test_dataclasses():
    @dataclasses.dataclass
    class Point:
        x: int
        y: object = None

    with pytest.raises(ValueError, match="Missing fields"):
        ours.register_dataclass(Point, field_names=["x"])
    with pytest.raises(ValueError, match="Unexpected fields"):
        ours.register_dataclass(Point, field_names=["x", "y", "z"])
    with pytest.raises(ValueError, match="not a dataclass"):
        ours.register_dataclass(Box)
    ours.register_dataclass(Point)
    try:
        assert ours.tree_flatten([Point(1), Point(2, [3])])[0] == [1, 2, 3]
        assert ours.tree_map(lambda v: -v, Point(1)) == Point(-1)
        assert ours.keystr(ours.tree_leaves_with_path(Point(1, 2))[1][0]) == ".y"
    finally:
        ours._deregister_pytree_node(Point)


def test_constants():
    class Unit:
        def __eq__(self, other):
            return isinstance(other, Unit)

        def __hash__(self):
            return 1

    with pytest.raises(TypeError, match="__eq__"):
        ours.register_constant(type("Plain", (), {}))
    ours.register_constant(Unit)
    try:
        leaves, spec = ours.tree_flatten((Unit(), 2))
        assert leaves == [2] and spec == ours.tree_structure((Unit(), 3))
    finally:
        ours._deregister_pytree_node(Unit)


def test_trees_that_do_not_go_together():
    spec = ours.tree_structure({"a": 1, "b": [2]})
    assert spec.flatten_up_to(OrderedDict(b=[(4,)], a=3)) == [3, (4,)]
    assert spec.flatten_up_to(defaultdict(int, a=3, b=[4])) == [3, 4]
    for tree, why in (
        ({"a": 1}, "arity"), ({"a": 1, "c": [2]}, "keys"), ({"a": 1, "b": (2,)}, "Node type"), ([1, 2], "Node type"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=why):
            spec.flatten_up_to(tree)
    with pytest.raises(ValueError, match="length"):
        ours.tree_unflatten([1], spec)
    with pytest.raises(TypeError, match="PyTreeSpec"):
        ours.tree_unflatten([1], [2])


def test_leaves_by_a_predicate_and_by_type():
    assert ours.tree_leaves([(1, 2), 3], is_leaf=lambda x: isinstance(x, tuple)) == [(1, 2), 3]
    seen = []
    assert ours.tree_map_(lambda x, y: seen.append((x, y)), [1, 2], [3, [4]]) == [1, 2]
    assert seen == [(1, 3), (2, [4])]
    assert ours.tree_any_only(int, lambda x: x > 2, ["a", 3]) and not ours.tree_all_only(int, bool, [0, "a"])
    assert ours.arg_tree_leaves([1], 2, k=(3,)) == [1, 2, 3]
    assert hash(ours.tree_structure(TREE)) == hash(ours.tree_structure(TREE))


def test_named_sequences_of_the_interpreter_are_leaves():
    now = time.gmtime(0)
    assert ours.is_structseq_instance(now) and not ours.is_namedtuple_instance(now)
    assert ours.tree_is_leaf(now) and ours.is_namedtuple(Pair) and ours.is_namedtuple(Pair(1, 2))


@pytest.mark.parametrize("name", ["_pytree", "_pytree_nodes"])
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"livegrad.utils.{name}")).failed == 0
