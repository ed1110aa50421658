"""The graph of tensors as the library really records it."""

import gc
import weakref

import pytest

import livegrad
from livegrad import nn
from livegrad.graph import Graph, graph


def article():
    x = livegrad.arange(3, dtype=livegrad.float32, requires_grad=True)
    a = x + 2
    b = a**2
    c = b + 3
    y = c.mean()
    return x, a, b, c, y


def test_article():
    x, a, b, c, y = article()
    line = article.__code__.co_firstlineno
    g = livegrad.graph(y)
    assert isinstance(g, Graph)
    assert [(node.op, node.name, node.label) for node in g.backward] == [
        ("mean", "MeanBackward0", "y"),
        ("add", "AddBackward0", "c"),
        ("pow", "PowBackward0", "b"),
        ("add", "AddBackward0", "a"),
        ("leaf", "AccumulateGrad", "x"),
    ]
    assert [node.site.lineno for node in g.ops] == [line + 2, line + 3, line + 4, line + 5]
    assert g.find(op="pow")[0].site.line.strip() == "b = a**2" and g.find(op="pow")[0].site.function == "article"
    assert [(node.label, number) for node, _, number in g.scalars] == [("a", 2), ("b", 2), ("c", 3)]
    assert [node.shape for node in g] == [(3,)] * 4 + [()]
    assert g[1].dtype == "float32" and g[1].device == "cpu"
    y.backward()
    assert livegrad.allclose(x.grad, livegrad.tensor([4 / 3, 2.0, 8 / 3]))


def test_reading_computes_nothing_and_keeps_backward_possible():
    x, a, b, c, y = article()
    for text in (str(graph(y)), graph(y).draw(), graph(y).tree(), graph(y).dot(source=True), graph(y).text("backward")):
        assert "test_graph_recorded.py" in text
    y.backward()
    assert livegrad.allclose(x.grad, 2 * (x + 2).detach() / 3)


def test_after_backward_the_graph_can_still_be_read():
    x, a, b, c, y = article()
    y.backward()
    assert "pow(%a, 2)" in str(graph(y)) and graph(y).totals["kept_bytes"] >= 0


def test_next_functions_are_those_recorded():
    x, a, b, c, y = article()
    g = graph(y)
    node = g.find(name="y")[0]
    assert node.grad_fn is y.grad_fn and node.next_functions[0][0] is c.grad_fn
    assert g.leaves[0].grad_fn.variable is x


def test_model():
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    data = livegrad.ones(8, 2)
    loss = (model(data) ** 2).mean()
    g = graph(loss, params=model)
    assert {node.label for node in g.leaves} == {name for name, _ in model.named_parameters()}
    assert {node.module for node in g.leaves} == {"0", "2"}
    assert g.find(op="tanh")[0].module == "1"
    assert all(node.module == "0" for node in g.find(module="0"))
    assert g.totals["flops"] >= 2 * 8 * (2 * 4 + 4 * 1)
    assert [node.shape for node in g.constants] == [(8, 2)]
    assert 'label="2"' in g.dot()
    assert {node.label for node in graph(loss).leaves} == {
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
    }  # found by itself


def test_repeated_blocks_fold():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.act = nn.Linear(4, 4), nn.ReLU()

        def forward(self, x):
            return x + self.act(self.linear(x))

    model = nn.Sequential(nn.Linear(3, 4), *[Block() for _ in range(6)], nn.Linear(4, 1))
    y = model(livegrad.ones(2, 3)).sum()
    folded = graph(y, params=model).fold()
    assert [node.op for node in folded if node.kind == "module"] == ["2 ... 6 (5 x 1)"]


def test_operators_of_many_kinds():
    x = livegrad.ones(2, 3, 4, requires_grad=True)
    y = livegrad.cat([x.transpose(0, 1).reshape(3, 8), x.sum(0).relu().view(3, 4)], dim=1).softmax(-1).exp()
    z = (y @ livegrad.ones(12, 5)).max(dim=1).values.var() + y[0].sum()
    g = graph(z)
    assert all(node.kind in ("op", "leaf") and (node.kind == "leaf" or node.site is not None) for node in g)
    assert {node.where.split(":")[0] for node in g.ops} == {"test_graph_recorded.py"}
    assert g.leaves[0].shape == (2, 3, 4)
    assert all(edge.producer.id < edge.consumer.id or edge.producer.kind == "constant" for edge in g.edges)
    assert g.draw() and g.tree() and g.dot()


def test_outputs_of_one_node():
    x = livegrad.ones(4, requires_grad=True)
    first, second = x.split(2)
    y = first * second
    assert sum(edge.consumer.label == "y" for edge in graph(y).edges) == 2


def test_in_place_and_views():
    x = livegrad.ones(4, requires_grad=True)
    a = x * 2
    a[1:3] *= 3
    y = (a.exp_() + 1).sum()
    g = graph(y)
    assert [node for node, _ in g.results] == [g[len(g) - 1]]
    assert all(edge.producer.id < edge.consumer.id for edge in g.edges if edge.producer.kind != "constant")


def test_nothing_is_kept_alive():
    x, a, b, c, y = article()
    g = graph(y)
    watch = weakref.ref(g)
    del g
    gc.collect()
    assert watch() is None


@pytest.mark.timeout(120)
def test_long_chain():
    x = y = livegrad.ones(2, requires_grad=True)
    for _ in range(30_000):
        y = y + 1
    g = graph(y)
    assert len(g) == 30_001 and "more nodes" in g.draw(max_nodes=5)
    del g, y
    assert x.is_leaf


def test_operations_are_those_that_a_profile_counts():
    from livegrad.profiler import profile

    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3, bias=False), nn.Conv1d(5, 2, 2), nn.ConvTranspose1d(2, 4, 2))
    x = livegrad.rand(5, 4)
    with profile(with_flops=True) as prof:
        g = livegrad.graph(model(x))
    linear, plain, conv, transposed = (g.find(op=name) for name in ("linear", "mm", "conv1d", "conv_transpose1d"))
    counts = [linear[0].flops, plain[-1].flops, conv[0].flops, transposed[0].flops]
    assert counts == [2 * 5 * 4 * 8 + 5 * 8, 2 * 5 * 8 * 3, 2 * 2 * 2 * 5 * 2 + 2 * 2, 2 * 2 * 2 * 4 * 2 + 3 * 4]
    assert [e.flops for e in prof.events() if e.kind == "operator" and e.flops > 0] == counts


def test_what_backward_has_freed_is_said():
    x = livegrad.rand(3, requires_grad=True)
    kept = x.exp()
    y = kept.sum()
    z = (kept * 2).sin().sum()
    assert str(graph(z)).splitlines()[0].endswith("36 B kept for backward")
    y.backward()
    g = graph(z)
    assert str(g).splitlines()[0].endswith("24 B kept for backward, the rest is freed")
    assert [node.op for node in g.ops if node.freed] == ["exp"] and g.totals["freed"] == 1
    assert str(graph(kept)).splitlines()[0].endswith("what backward needed is freed")
