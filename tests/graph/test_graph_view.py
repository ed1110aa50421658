"""Reading recorded nodes into a graph, and asking it."""

import sys
from types import SimpleNamespace

import pytest
from graph_fakes import FakeNode, FakeTensor, Parameter, article, blocks, const, leaf, op

from livegrad.graph import Graph, graph
from livegrad.graph.structure import itemsize


def test_article():
    x, a, b, c, y = article()
    g = graph(y)
    assert [node.op for node in g] == ["leaf", "add", "mul", "add", "mean"]
    names = ["MeanBackward0", "AddBackward0", "MulBackward0", "AddBackward0", "AccumulateGrad"]
    assert [node.name for node in g.backward] == names
    assert [node.label for node in g] == ["x", "a", "b", "c", "y"]
    assert len(g) == 5
    assert [node.id for node in g] == list(range(5))
    edges = [(0, 1, 0), (1, 2, 0), (1, 2, 1), (2, 3, 0), (3, 4, 0)]
    assert [(e.producer.id, e.consumer.id, e.position) for e in g.edges] == edges
    assert [(node.id, place, number) for node, place, number in g.scalars] == [(1, 1, 2), (3, 1, 3.0)]
    assert [node.label for node in g.leaves] == ["x"]
    assert g.constants == []
    assert g.results == [(g[4], 0)]
    assert g[4].grad_fn is y.grad_fn
    assert g[4].next_functions == ((c.grad_fn, 0),)
    assert (g[1].shape, g[1].dtype, g[1].device, g[1].bytes, g[1].where) == ((3,), "float32", "cpu", 12, "app.py:11")
    assert g[2].kept == (("self", (3,), "float32", 12), ("other", (3,), "float32", 12))
    assert g[2].kept_bytes == 24
    assert g.totals == {
        "nodes": 5, "ops": 4, "leaves": 1, "leaf_bytes": 12, "bytes": 40, "kept_bytes": 24, "freed": 0, "flops": 12, "uncounted": 0,
    }  # fmt: skip
    assert g[3] in g and Graph([], [], []).nodes == []


def test_find():
    y = blocks(2)
    g = graph(y)
    assert [node.module for node in g.find(op="relu")] == ["blocks.0.act", "blocks.1.act"]
    assert len(g.find(module="blocks.1")) == 6
    assert g.find(module="blocks.1", op="add")[0].where == "app.py:23"
    assert g.find(line=21) == g.find(op="relu") == g.find(line="app.py:21") == g.find(line="/src/app.py:21")
    assert g.find(line='relu "') == g.find(op="relu")
    assert g.find(name="SumBackward0") == g.find(name="y") == [g[len(g) - 1]]
    assert g.find(op="relu_") == g.find(op="relu")
    assert g.find(op="softmax") == []
    with pytest.raises(ValueError, match="no operator is called 'rleu'; this graph has relu$"):
        g.find(op="rleu")
    assert g.consumers(g.find(op="relu")[0])[0].op == "mul"


def test_constants_and_parameters():
    weight = Parameter(4, 2)
    y = op("mm", const(3, 4, dtype="float64"), weight, shape=(3, 2), module="net.0")
    del weight
    g = graph(y)
    assert [(node.shape, node.dtype, node.requires_grad) for node in g.constants] == [((3, 4), "float64", False)]
    assert g.leaves[0].module == "net.0"
    assert [(e.producer.kind, e.position) for e in g.edges] == [("constant", 0), ("leaf", 1)]
    assert g[g.constants[0].id] is g.constants[0]


def test_names():
    w, v = leaf(2), leaf(2)
    y = op("mul", w, v)
    assert [node.label for node in graph(y, params={"net.weight": w}).leaves] == ["net.weight", "v"]
    module = SimpleNamespace(named_parameters=lambda: iter([("0.weight", w), ("0.bias", v)]))
    g = graph(y, params=module)
    assert [(node.label, node.module) for node in g.leaves] == [("0.weight", "0"), ("0.bias", "0")]
    assert [node.label for node in graph(y, params=[("same", w), ("same", v)]).leaves] == ["same", "same_2"]


def test_inputs_stop_reading():
    x, a, b, c, y = article()
    g = graph(y, inputs={"here": b})
    assert [node.kind for node in g] == ["input", "op", "op"]
    assert [node.label for node in g.inputs] == ["here"]
    assert graph(y, inputs={"x": x}).inputs[0].label == "x"


def test_several_results_and_containers():
    x, a, b, c, y = article()
    g = graph({"y": y, "rest": [b, (x,)]})
    assert [node.label for node, _ in g.results] == ["y", "b", "x"]
    assert len(g) == len(graph(y)) == len(graph(b, y))
    with pytest.raises(TypeError, match="expects tensors.*got int"):
        graph(y, 3)
    with pytest.raises(ValueError, match="at least one"):
        graph([])


def test_results_without_a_record():
    x, k = leaf(3), const(2)
    g = graph(x)
    assert [node.kind for node in g] == ["leaf"] and g.results == [(g[0], 0)]
    g = graph(k)
    assert len(g) == 0 and [node.label for node in g.constants] == ["k"]
    for text in (str(g), g.draw(), g.tree(), g.dot()):
        assert "k" in text


def test_second_output():
    node = FakeNode("split", (leaf(4),), (2,), "float32", "", 1, ())
    first, second = (FakeTensor((2,), True, grad_fn=node, output_nr=n) for n in range(2))
    y = op("sub", second, first)
    g = graph(y)
    assert [(e.consumer.op, e.position, e.output) for e in g.edges] == [("split", 0, 0), ("sub", 0, 1), ("sub", 1, 0)]
    assert "sub(%first:1, %first)" in str(g)


def test_order_follows_dependence_where_creation_does_not():
    late = op("add", leaf(2), 1)
    early = op("mul", leaf(2), 2)
    late.grad_fn.next_functions = ((early.grad_fn, 0),)  # as an in-place change of a view rewires its base
    y = op("exp", late)
    assert [node.op for node in graph(y).ops] == ["mul", "add", "exp"]


def test_operands_that_are_not_described_are_not_lost():
    x = leaf(2)
    y = op("cat", x, x, shape=(4,))
    y.grad_fn._inputs = []
    assert [e.position for e in graph(y).edges] == [0, 1]


def test_long_chain_does_not_recurse():
    x = y = leaf(2)
    for _ in range(20_000):
        y = op("add", y, 1)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        g = graph(y)
        assert len(g) == 20_001
        assert g.totals["flops"] == 40_000
        assert len(str(g).splitlines()) == 1003
        assert "19,998 more nodes" in g.draw(max_nodes=3) and "19,998 more nodes" in g.tree(max_nodes=3)
        assert g.dot().count("->") == 20_000
        assert len(g.fold()) == 20_001
    finally:
        sys.setrecursionlimit(limit)
    assert x.grad_fn is None


def test_module_is_callable():
    _, _, _, _, y = article()
    assert len(sys.modules["livegrad.graph"](y)) == 5


@pytest.mark.parametrize(
    "name, size",
    [("float32", 4), ("bfloat16", 2), ("bool", 1), ("complex64", 8), ("uint8", 1), ("float8_e4m3fn", 1), ("int64", 8)],
)
def test_itemsize(name, size):
    assert itemsize(name) == size


@pytest.mark.parametrize(
    "node, expected",
    [
        (op("mm", leaf(3, 4), leaf(4, 5), shape=(3, 5)), 120),
        (op("bmm", leaf(2, 3, 4), leaf(2, 4, 5), shape=(2, 3, 5)), 240),
        (op("matmul", leaf(4), leaf(4), shape=()), 8),
        (op("addmm", leaf(5), leaf(3, 4), leaf(4, 5), shape=(3, 5)), 135),
        (op("linear", leaf(5), leaf(3, 4), leaf(4, 5), shape=(3, 5)), 135),
        (op("conv2d", leaf(1, 3, 8, 8), leaf(6, 3, 3, 3), shape=(1, 6, 6, 6)), 2 * 216 * 27),
        (op("sum", leaf(3, 4), shape=()), 12),
        (op("max", leaf(3, 4), shape=()), 12),
        (op("max", leaf(3, 4), leaf(4)), 12),
        (op("add", leaf(3, 1), leaf(4), shape=(3, 4)), 12),
        (op("add_", leaf(3), 2), 3),
        (op("view", leaf(3, 4), shape=(12,)), 0),
        (op("sort_of_thing", leaf(3, 4), shape=(7,)), None),
    ],
)
def test_flops(node, expected):
    assert graph(node).ops[0].flops == expected


def test_a_leaf_that_is_gone_is_still_shown():
    y = op("exp", leaf(3))
    accumulate = y.grad_fn.next_functions[0][0]
    accumulate.variable = None
    accumulate.out_shape, accumulate.out_dtype, accumulate.out_device = (3,), y.dtype, "cpu"
    assert [(node.kind, node.shape, node.dtype) for node in graph(y)] == [
        ("leaf", (3,), "float32"),
        ("op", (3,), "float32"),
    ]
