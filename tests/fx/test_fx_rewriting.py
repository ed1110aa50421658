"""Graphs that are extended, rewritten, cut and described, against PyTorch's."""

import importlib
import operator

import pytest

import livegrad

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")
BOTH = (livegrad, torch)


def part(m, name):
    return importlib.import_module(f"{m.__name__}.{name}")


def steps(graph):
    return [(n.op, n.name, [str(a) for a in n.args]) for n in graph.nodes]


def test_graphs_are_made_with_proxies():
    results = []
    for m in BOTH:
        fx = part(m, "fx")
        graph = fx.Graph()
        tracer = fx.proxy.GraphAppendingTracer(graph)
        x, y = (fx.Proxy(graph.placeholder(name), tracer) for name in "xy")
        z = m.neg(m.tanh(m.cat([x, y])))
        alone = fx.Proxy(z.node) + 1
        graph.output(alone.relu().node)
        module = fx.GraphModule(m.nn.Module(), graph)
        results.append((steps(graph), module(m.ones(2), m.zeros(1)).tolist(), module.code))
    assert results[0] == results[1]


def test_functions_are_traced_under_every_name():
    results = []
    for m in BOTH:
        relu, linear = m.nn.functional.relu, m.nn.functional.linear

        def made(m, relu, linear):
            def program(x, w):
                y = linear(relu(x), w) + m.zeros(2, 1)
                return m.Tensor.add(m.ones(1), y), m.linalg.norm(y), m.ones(2) * y, y.to(m.float64)

            return program

        traced = part(m, "fx").symbolic_trace(made(m, relu, linear))
        results.append([(n.op, n.name) for n in traced.graph.nodes])
    assert [op for op, _ in results[0]] == [op for op, _ in results[1]]
    assert len(results[0]) == len(results[1])


def chain(m):
    class Chain(m.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = m.nn.Linear(3, 3)

        def forward(self, x, w1, w2):
            a = m.cat([m.neg(w1), w2]).sum()
            b = m.cat([m.neg(w1), w2]).sum()
            return self.linear(x) + m.max(a) + m.max(b)

    m.manual_seed(0)
    return Chain()


def negated(m):
    return lambda a, b: m.cat([m.neg(a), b]).sum(), lambda a, b: m.stack([a, b])


def test_patterns_are_replaced():
    results = []
    for m in BOTH:
        fx = part(m, "fx")
        traced = fx.symbolic_trace(chain(m))
        matches = fx.replace_pattern(traced, *negated(m))
        traced.graph.lint()
        x = m.ones(2, 3)
        results.append((steps(traced.graph), traced.code, len(matches), matches[0].anchor.name,
                        [round(v, 4) for v in traced(x, x, x * 2).flatten().tolist()]))  # fmt: skip
    assert results[0] == results[1]


def test_patterns_that_overlap_are_used_elsewhere_or_hold_numbers():
    programs = {
        "chain of the same": (lambda m: lambda x: m.relu(m.relu(m.relu(m.relu(x)))),
                              lambda m: (lambda x: m.relu(m.relu(x)), lambda x: m.neg(x))),
        "used elsewhere": (lambda m: lambda x: (m.neg(x) + 1) * m.neg(x),
                           lambda m: (lambda x: m.neg(x) + 1, lambda x: x - 1)),
        "an inner result is needed": (lambda m: lambda x: (lambda n: (n + 1) * n)(m.neg(x)),
                                      lambda m: (lambda x: m.neg(x) + 1, lambda x: x - 1)),
        "another number": (lambda m: lambda x: (x + 1) * (x + 2), lambda m: (lambda x: x + 2, lambda x: x - 7)),
        "methods": (lambda m: lambda x: x.view(-1).sum(dim=0) + x.sum(), lambda m: (
            lambda x: x.view(-1).sum(dim=0), lambda x: x.mean())),
        "the pattern is the whole": (lambda m: lambda x: m.exp(x), lambda m: (lambda x: m.exp(x), lambda x: m.log(x))),
        "a parameter twice": (lambda m: lambda x, y: (x + x) * (x + y), lambda m: (lambda a: a + a, lambda a: a * 3)),
    }  # fmt: skip
    for name, (program, patterns) in programs.items():
        results = []
        for m in BOTH:
            fx = part(m, "fx")
            traced = fx.symbolic_trace(program(m))
            matches = fx.replace_pattern(traced, *patterns(m))
            results.append((len(matches), traced.code))
        assert results[0] == results[1], name


def test_modules_in_patterns_come_from_the_replacement():
    for m in BOTH:
        fx = part(m, "fx")

        class Old(m.nn.Module):
            def __init__(self, m=m):
                super().__init__()
                self.act = m.nn.ReLU()

            def forward(self, x):
                return self.act(x) + 1

        class New(m.nn.Module):
            def __init__(self, m=m):
                super().__init__()
                self.tanh = m.nn.Tanh()

            def forward(self, x):
                return self.tanh(x)

        traced = fx.symbolic_trace(Old())
        fx.replace_pattern(traced, fx.symbolic_trace(Old()), fx.symbolic_trace(New()))
        assert [n.target for n in traced.graph.nodes] == ["x", "tanh", "output"] and not hasattr(traced, "act")
        assert abs(traced(m.ones(1)).item() - 0.7616) < 1e-4


def test_parameters_must_be_as_many():
    traced = livegrad.fx.symbolic_trace(lambda x: x + 1)
    with pytest.raises(ValueError, match="has 1 parameters, and what replaces it 2: give"):
        livegrad.fx.replace_pattern(traced, lambda x: x + 1, lambda x, y: x + y)


def sums(m):
    return lambda x: m.sum(x, 0) + m.sum(x, 1), lambda x: m.sum(x, 5), lambda x: m.neg(x)


def test_filters_and_literals():
    results = []
    for m in BOTH:
        rewriter = part(m, "fx.subgraph_rewriter")
        program, pattern, new = sums(m)
        traced = part(m, "fx").symbolic_trace(program)
        allows = [lambda match, graph, pattern: match.nodes_map[match.anchors[0]].args[1] == 1]
        made = rewriter.replace_pattern_with_filters(traced, pattern, new, allows, True)
        results.append((traced.code, [[n.name for n in one.replacements] for one in made]))
    assert results[0] == results[1]


def largest(m):
    return lambda x: m.relu(x).T.max(0)[0]


def test_shapes_are_noted():
    results = []
    for m in BOTH:
        traced = part(m, "fx").symbolic_trace(largest(m))
        got = part(m, "fx.passes.shape_prop").ShapeProp(traced).propagate(m.ones(2, 3))
        notes = []
        for n in traced.graph.nodes:
            meta = n.meta.get("tensor_meta")
            if meta is not None and hasattr(meta, "dtype"):
                meta = (tuple(meta.shape), str(meta.dtype), meta.requires_grad, tuple(meta.stride), meta.is_quantized)
            elif meta is not None:
                meta = [tuple(each.shape) for each in meta]
            notes.append((n.name, meta, n.meta["type"].__name__))
        results.append((notes, got.tolist()))
    assert results[0] == results[1]


def test_modules_are_cut():
    results = []
    for m in BOTH:
        fx, net = part(m, "fx"), chain(m)
        traced = fx.symbolic_trace(net)
        where = {}
        split = part(m, "fx.passes.split_module").split_module(
            traced, net, lambda n: 0 if n.name in ("neg", "cat", "sum_1", "linear") else 1, where
        )
        x = m.ones(2, 3)
        results.append(([(n.op, n.name, str(n.target).replace("<built-in function getitem>", "getitem"))
                         for n in split.graph.nodes], where, split.submod_0.code, split.submod_1.code,
                        [round(v, 4) for v in split(x, x, x).flatten().tolist()]))  # fmt: skip
        with pytest.raises(RuntimeError, match="cycle exists between partitions"):
            part(m, "fx.passes.split_module").split_module(traced, net, lambda n: n.name == "cat")
    assert results[0] == results[1]


def test_nodes_are_sized_sorted_and_retargeted():
    for m in BOTH:
        fx, tools = part(m, "fx"), part(m, "fx.passes.graph_manipulation")
        traced = fx.symbolic_trace(m.nn.Sequential(m.nn.Linear(3, 2), m.nn.ReLU()))
        tools.get_size_of_all_nodes(traced, [m.ones(4, 3)])
        sizes = [tuple(n.size_bytes) for n in traced.graph.nodes if n.op != "output"]
        assert sizes == [(48, 48), (32, 64), (32, 32)]
        adds = fx.symbolic_trace(lambda x: (x + 1) * 2)
        tools.replace_target_nodes_with(adds, "call_function", operator.add, "call_function", operator.sub)
        assert adds(m.tensor(3)).item() == 4
        first, second = [n for n in adds.graph.nodes if n.op == "call_function"]
        second.append(first)
        with pytest.raises(RuntimeError):
            adds.graph.lint()
        part(m, "fx.passes.tools_common").legalize_graph(adds)
        adds.graph.lint()


def test_what_has_side_effects_stays():
    for m in BOTH:
        fx = part(m, "fx")
        noted = []

        def note(x, noted=noted):
            noted.append(1)

        fx.node.has_side_effect(note)
        graph = fx.Graph()
        x = graph.placeholder("x")
        graph.call_function(note, (x,))
        graph.call_function(m.neg, (x,))
        graph.output(x)
        assert graph.eliminate_dead_code() and len(graph.nodes) == 3
        node = list(graph.nodes)[1]
        node.insert_arg(1, 5)
        assert node.args == (x, 5) and node in x.users


def test_normalisation_joins_the_layer_before():
    results = []
    for m in BOTH:
        m.manual_seed(3)
        nn, optimization = m.nn, part(m, "fx.experimental.optimization")
        model = nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(12, 2)
        )
        model(m.randn(8, 2, 4, 4))
        model.eval()
        x = m.randn(1, 2, 4, 4)
        fused = optimization.fuse(model)
        shorter = optimization.remove_dropout(fused)
        assert abs(fused(x) - model(x)).max().item() < 1e-5 and abs(shorter(x) - model(x)).max().item() < 1e-5
        results.append([[n.target for n in g.graph.nodes] for g in (fused, shorter)])
    assert results[0] == results[1]


def test_named_stretches_are_calls():
    for m in BOTH:
        fx, ops = part(m, "fx"), m.ops.profiler
        graph = fx.Graph()
        x = graph.placeholder("x")
        handle = graph.call_function(ops._record_function_enter, ("inner",))
        y = graph.call_function(m.relu, (x,))
        graph.call_function(ops._record_function_exit, (handle,))
        graph.output(y)
        module = fx.GraphModule(m.nn.Module(), graph)
        with m.autograd.profiler.profile() as prof:
            module(m.ones(3)).sum().item()
        assert "inner" in str(prof)
        assert not graph.eliminate_dead_code() or m is torch


def test_pictures_need_pydot():
    pydot = pytest.importorskip("pydot", reason="draws with pydot, which is not installed")
    traced = livegrad.fx.symbolic_trace(livegrad.nn.Sequential(livegrad.nn.Linear(3, 2), livegrad.nn.ReLU()))
    part(livegrad, "fx.passes.shape_prop").ShapeProp(traced).propagate(livegrad.ones(1, 3))
    dot = part(livegrad, "fx.passes.graph_drawer").FxGraphDrawer(traced, "net").get_dot_graph()
    assert isinstance(dot, pydot.Dot) and len(dot.get_nodes()) == 4 and len(dot.get_edges()) == 3
    assert "shape=(1, 2)" in dot.to_string()
