"""Symbolic traces against PyTorch's: graphs, code, results, changes, interpreters, errors."""

import copy

import pytest

import livegrad

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")


def net(m):
    nn, f = m.nn, m.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.param = nn.Parameter(m.ones(3, 4))
            self.linear = nn.Linear(4, 5)
            self.seq = nn.Sequential(nn.Linear(5, 5), nn.ReLU())
            self.register_buffer("b", m.zeros(1))

        def forward(self, x, scale=None):
            z = self.linear(x + self.param).clamp(min=0.0, max=1.0)
            z = self.seq(z) + self.b
            a, c = z.chunk(2, -1)
            joined = m.cat([f.relu(a, inplace=False), m.sigmoid(c[:, :1]), -z], dim=1)
            return joined.sum(dim=(0, 1)) * z.shape[0] + 2 ** self.param.sum()

    m.manual_seed(0)
    return Net()


FUNCTIONS = {
    "operators": lambda m: lambda x, y: (x + y) * 2 - y / x + 3**x % 2 // (1 - y) - (x @ y),
    "comparisons": lambda m: lambda x: (x > 1) & ~(x <= 0) | (x == 2) ^ (x != 3),
    "indices": lambda m: lambda x: x[0, 1:3, None, ...] + x[:, [0, 1]][..., ::2],
    "containers": lambda m: lambda x: {"a": [x, (x + 1, None)], "b": m.stack([x, x], dim=-1)},
    "attributes": lambda m: lambda x: x.T + x.shape[0] * x.size(1) + x.view(-1, x.size(0)).sum(),
    "defaults": lambda m: lambda x, k=2, name="n": x * k,
    "dtypes": lambda m: lambda x: x.to(m.float64).type(m.int64) + m.zeros_like(x, dtype=m.float32),
    "functional": lambda m: lambda x, w: m.softmax(x, dim=-1).flatten(1) + m.relu(w),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    mine, theirs = (m.fx.symbolic_trace(FUNCTIONS[name](m)) for m in (livegrad, torch))
    assert [(n.op, n.name) for n in mine.graph.nodes] == [(n.op, n.name) for n in theirs.graph.nodes]
    if name != "dtypes":
        assert mine.code == theirs.code
        assert str(mine.graph) == str(theirs.graph)


def test_modules():
    results = []
    for m in (livegrad, torch):
        original = net(m)
        traced = m.fx.symbolic_trace(original)
        x = m.arange(12.0).reshape(3, 4) / 10
        assert traced(x).tolist() == original(x).tolist()
        assert copy.deepcopy(traced)(x).tolist() == original(x).tolist()
        assert sorted(traced.state_dict()) == sorted(original.state_dict())
        traced(x).backward()
        results.append((traced.code, str(traced.graph), type(traced).__name__, m.fx.Interpreter(traced).run(x).item()))
    assert results[0][:3] == results[1][:3]
    assert results[0][3] == pytest.approx(results[1][3], rel=1e-5)


def test_graphs_are_changed():
    codes = []
    for m in (livegrad, torch):
        traced = m.fx.symbolic_trace(net(m))
        graph = traced.graph
        for node in graph.nodes:
            if node.op == "call_function" and node.target is m.sigmoid:
                with graph.inserting_after(node):
                    new = graph.call_function(m.tanh, node.args)
                node.replace_all_uses_with(new)
                graph.erase_node(node)
            elif node.op == "call_method" and node.target == "clamp":
                node.update_kwarg("max", 0.5)
                with graph.inserting_before(node):
                    graph.call_method("relu", (node.args[0],))  # which nothing uses
        graph.lint()
        traced.recompile()
        with_dead = traced.code
        assert graph.eliminate_dead_code()
        traced.recompile()
        codes.append((with_dead, traced.code))
        with pytest.raises(RuntimeError, match="still had 1 users"):
            graph.erase_node(next(iter(graph.nodes)))
    assert codes[0] == codes[1]


def test_graphs_are_built_by_hand():
    codes = []
    for m in (livegrad, torch):
        graph = m.fx.Graph()
        x = graph.placeholder("x")
        y = graph.call_module("linear", (x,))
        graph.output((y, graph.get_attr("w")))
        root = {"linear": m.nn.Linear(2, 1), "w": m.nn.Parameter(m.ones(1))}
        made = m.fx.GraphModule(root, graph)
        codes.append(made.code)
        assert made(m.ones(1, 2))[1].tolist() == [1.0]
        late = m.fx.Graph()
        a = late.placeholder("a")
        b = late.call_method("relu", (a,))
        b.append(a)
        late.output(b)
        with pytest.raises(RuntimeError, match="used before it has been defined"):
            late.lint()
    assert codes[0] == codes[1]


def test_transformers():
    codes = []
    for m in (livegrad, torch):

        class Change(m.fx.Transformer):
            def call_function(self, target, args, kwargs):
                return super().call_function(self._swap(target), args, kwargs)

            @staticmethod
            def _swap(target, m=m):
                return m.tanh if target is m.sigmoid else target

        codes.append(Change(m.fx.symbolic_trace(net(m))).transform().code)
    assert codes[0] == codes[1] and "torch.tanh" in codes[0]


def test_tracers_say_what_stays_whole():
    for m in (livegrad, torch):

        class Whole(m.fx.Tracer):
            def is_leaf_module(self, module, path):
                return path == "seq" or super().is_leaf_module(module, path)

        graph = Whole().trace(net(m))
        assert [n.target for n in graph.find_nodes(op="call_module")] == ["linear", "seq"]


def twice(x):
    return [x, x] if x is None else (x, x)


livegrad.fx.wrap("twice")


def test_wrapped_functions_stay_whole():
    traced = livegrad.fx.symbolic_trace(lambda x: twice(x)[0] + 1)
    assert [n.target for n in traced.graph.find_nodes(op="call_function")][0] is twice
    assert traced(livegrad.ones(1)).tolist() == [2.0]
    with pytest.raises(NotImplementedError, match="top level"):
        livegrad.fx.wrap("other")


@pytest.mark.parametrize("function, message", [
    (lambda x: x if x.sum() > 0 else -x, "control flow"),
    (lambda x: [y for y in x], "cannot be iterated"),  # noqa: C416
    (lambda x: len(x), "'len' is not supported"),
])  # fmt: skip
def test_what_cannot_be_traced(function, message):
    for m in (livegrad, torch):
        with pytest.raises((ValueError, RuntimeError), match=message):
            m.fx.symbolic_trace(function)
    assert livegrad.relu(livegrad.ones(1)).tolist() == [1.0]  # everything is as it was
    assert livegrad.nn.Linear(1, 1)(livegrad.ones(1)).shape == (1,)


def test_concrete_arguments():
    traced = livegrad.fx.symbolic_trace(lambda x, deep: x.exp() if deep else x, {"deep": True})
    assert "exp" in traced.code and traced(livegrad.zeros(1)).tolist() == [1.0]


def test_assertions_and_sequences_of_operands_are_steps():
    def traced(m):
        def f(x, y):
            m._assert(x.shape[-1] == 3, "not three")
            return m.einsum("ij,kj->ik", [x, y])

        return m.fx.symbolic_trace(f)

    ours, theirs = traced(livegrad), traced(torch)
    for a, b in zip(ours.graph.nodes, theirs.graph.nodes, strict=True):
        assert (a.op, a.name, len(a.args)) == (b.op, b.name, len(b.args))
    x = livegrad.arange(6.0).view(2, 3)
    assert ours(x, x).tolist() == (x @ x.T).tolist()
    with pytest.raises(AssertionError, match="not three"):
        ours(x.T, x)
