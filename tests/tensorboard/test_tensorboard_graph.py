"""add_graph, as TensorBoard's own graph plugin shows it."""

import numpy as np
import pytest

pytest.importorskip("tensorboard")
from google.protobuf import text_format  # noqa: E402
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402
from tensorboard.compat.proto import graph_pb2, types_pb2  # noqa: E402
from tensorboard.context import RequestContext  # noqa: E402
from tensorboard.plugins import base_plugin  # noqa: E402
from tensorboard.plugins.graph import graphs_plugin  # noqa: E402

import livegrad  # noqa: E402
from livegrad import nn  # noqa: E402
from livegrad.utils.tensorboard import SummaryWriter  # noqa: E402


def shown(directory):
    """The nodes that TensorBoard's graph page is sent, by name."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(directory))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(directory))
    context = base_plugin.TBContext(logdir=str(directory), multiplexer=multiplexer, data_provider=provider)
    plugin = graphs_plugin.GraphsPlugin(context)
    (run, info), *rest = plugin.info_impl(RequestContext(), experiment="").items()
    assert info["run_graph"] and not rest
    text, kind = plugin.graph_impl(
        RequestContext(), run, None, False, experiment="", limit_attr_size=1024, large_attrs_key="l"
    )
    assert kind == "text/x-protobuf"
    graph = text_format.Parse(text, graph_pb2.GraphDef())
    nodes = {node.name: node for node in graph.node}
    assert len(nodes) == len(graph.node), "names are unique"
    scopes = {"/".join(name.split("/")[:n]) for name in nodes for n in range(1, len(name.split("/")))}
    assert not scopes & set(nodes), "no node is named as a module"
    for node in graph.node:
        assert {name.split(":")[0] for name in node.input} <= set(nodes), "every input exists"
    return nodes


def shape(node):
    return tuple(dim.size for dim in node.attr["_output_shapes"].list.shape[0].dim)


def write(tmp_path, *args, **kwargs):
    with SummaryWriter(tmp_path) as writer:
        writer.add_graph(*args, **kwargs)
    return shown(tmp_path)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(2, 4), nn.Tanh())
        self.out = nn.Linear(4, 1)

    def forward(self, points, scale=None):
        y = self.out(self.hidden(points))
        return y if scale is None else y * scale


def upstream(nodes, name):
    """All nodes that ``name`` depends on."""
    found, todo = set(), [name]
    while todo:
        for source in nodes[todo.pop()].input:
            source = source.split(":")[0]
            if source not in found:
                found.add(source)
                todo.append(source)
    return found


def test_model(tmp_path):
    nodes = write(tmp_path, Net(), livegrad.zeros(3, 2))
    parameters = {"hidden/0/weight", "hidden/0/bias", "out/weight", "out/bias"}
    assert {name for name, node in nodes.items() if node.op == "parameter"} == parameters
    assert nodes["input/points"].op == "input" and shape(nodes["input/points"]) == (3, 2)
    assert nodes["output"].op == "output" and shape(nodes["output"]) == (3, 1)
    tanh = nodes["hidden/1/tanh"]
    assert tanh.op == "tanh" and shape(tanh) == (3, 4)
    assert tanh.attr["dtype"].type == types_pb2.DT_FLOAT
    assert tanh.attr["backward"].s == b"TanhBackward0"
    assert (
        b"self.out(self.hidden(points))" in tanh.attr["source"].s
        and b"test_tensorboard_graph.py" in tanh.attr["file"].s
    )
    assert tanh.device == "/device:CPU:0"
    assert upstream(nodes, "hidden/1/tanh") >= {"hidden/0/weight", "hidden/0/bias", "input/points"}
    assert not upstream(nodes, "hidden/1/tanh") & {"out/weight", "out/bias"}
    assert upstream(nodes, "output") == set(nodes) - {"output"}


def test_event_accumulator_reads_it(tmp_path):
    nodes = write(tmp_path, Net(), livegrad.zeros(3, 2))
    found = EventAccumulator(str(tmp_path)).Reload()
    assert found.Tags()["graph"] is True
    assert {node.name for node in found.Graph().node} == set(nodes)


def test_tensor(tmp_path):
    x = livegrad.arange(3.0, requires_grad=True)
    a = x + 2
    b = a * a
    c = b + 3
    y = c.mean()
    with SummaryWriter(tmp_path) as writer:
        writer.add_graph(y)
    nodes = shown(tmp_path)
    chain = {
        "output": ["y.mean"],
        "y.mean": ["c.add"],
        "c.add": ["b.mul"],
        "b.mul": ["a.add", "a.add"],
        "a.add": ["x"],
        "x": [],
    }
    assert {name: list(node.input) for name, node in nodes.items()} == chain
    assert shape(nodes["x"]) == (3,) and shape(nodes["y.mean"]) == ()


def test_several_arguments_and_keywords(tmp_path):
    inputs = (livegrad.zeros(3, 2), livegrad.ones(3, 1))
    positional = write(tmp_path / "a", Net(), inputs)
    assert set(write(tmp_path / "b", Net(), dict(zip(("points", "scale"), inputs)))) == set(positional)
    assert {"input/points", "input/scale"} <= set(positional)
    assert "input/scale" in positional["mul"].input


def test_branches_reuse_and_several_results(tmp_path):
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.Linear(2, 2)

        def forward(self, x):
            h = self.shared(x)
            return {"twice": self.shared(h) + x, "once": [h, None]}

    nodes = write(tmp_path, Branches(), livegrad.ones(1, 2))
    assert {"output/0", "output/1"} <= set(nodes)
    assert [name for name, node in nodes.items() if node.op == "parameter"].sort() == [
        "shared/bias",
        "shared/weight",
    ].sort()
    assert sum("shared/weight" in upstream(nodes, name) for name in ("output/0", "output/1")) == 2
    assert upstream(nodes, "output/1") < upstream(nodes, "output/0")


def test_integer_input(tmp_path):
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
    nodes = write(tmp_path, model, livegrad.tensor([[1, 2]]))
    (name,) = [name for name, node in nodes.items() if node.op == "input"]
    assert nodes[name].attr["dtype"].type == types_pb2.DT_INT64
    assert name in upstream(nodes, "output") and "0/weight" in upstream(nodes, "output")


def test_frozen_model_is_recorded_from_its_input(tmp_path):
    model = Net().requires_grad_(False)
    nodes = write(tmp_path, model, livegrad.zeros(3, 2))
    assert "hidden/1/tanh" in nodes and "input/points" in upstream(nodes, "output")


def test_running_leaves_the_model_and_its_input_alone(tmp_path):
    model, x = Net().eval(), livegrad.zeros(3, 2)
    with livegrad.no_grad():
        write(tmp_path, model, x)
    assert not model.training and not x.requires_grad and x.grad is None
    assert all(p.grad is None for p in model.parameters())


def test_in_place_change_of_the_input(tmp_path):
    class InPlace(nn.Module):
        def forward(self, x):
            x += 1
            return x.exp()

    x = livegrad.zeros(2)
    nodes = write(tmp_path, InPlace(), x)
    assert "input/x" in upstream(nodes, "output")
    assert np.array_equal(x.numpy(), np.zeros(2))


def test_nothing_recorded_is_said(tmp_path):
    class Index(nn.Module):
        def forward(self, x):
            return x.argmax()

    with SummaryWriter(tmp_path) as writer, pytest.raises(RuntimeError, match="Index recorded no graph"):
        writer.add_graph(Index(), livegrad.zeros(3))


def test_verbose_prints_the_listing(tmp_path, capsys):
    write(tmp_path, Net(), livegrad.zeros(3, 2), verbose=True)
    assert "%out.weight = leaf()" in capsys.readouterr().out


def test_tensors_are_accepted_as_values(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar("loss", livegrad.tensor(2.5, requires_grad=True), 1)
        writer.add_histogram("h", livegrad.ones(10, dtype=livegrad.bfloat16))
        writer.add_image("i", livegrad.zeros(1, 4, 4))
    found = EventAccumulator(str(tmp_path)).Reload()
    assert found.Scalars("loss")[0].value == 2.5 and found.Histograms("h")[0].histogram_value.sum == 10


def test_integer_input_of_an_elementwise_operator(tmp_path):
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(livegrad.ones(3))

        def forward(self, counts):
            return self.weight * counts

    nodes = write(tmp_path, Scale(), livegrad.tensor([1, 2, 3]))
    assert nodes["mul"].op == "mul" and "input/counts" in upstream(nodes, "mul")
    assert nodes["input/counts"].attr["dtype"].type == types_pb2.DT_INT64
